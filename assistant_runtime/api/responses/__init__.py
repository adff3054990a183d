"""POST /v1/responses: OpenAI's Responses API over the same turns as the chat, and stored responses by id.

`request` makes a chat of a request, with `items` for its input and `tools` for its tools. `answer`, `events` and
`open_items` make OpenAI's objects and events of what the chat gives; `reasoning` and `logprobs` are parts of these.
`memory` finds what a response follows, `stored` gives and deletes stored ones, with `given` for their input, and `ids`
has the form of all ids. `endpoint` serves the first route, `routes` the others.
"""
