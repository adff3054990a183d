"""POST /v1/responses: OpenAI's Responses API over the same turns as the chat.

`request` makes a chat of a request, `answer` and `events` make OpenAI's objects and events of what the chat gives,
`memory` finds what a response follows, and `endpoint` serves.
"""
