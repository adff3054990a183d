"""Answers that are whole, and streams, in forms of their own: what the client gets, and what the runtime reads."""

import json
from typing import Any

from tests.runtime.provider_forms.form import Answered, Form, answer, chunks, ended, said

CLOCK = ("clock", {"zone": "CET"})
TWO = (CLOCK, ("clock", {"zone": "JST"}))
DONE = b"data: [DONE]\n\n"
THINKING = {"type": "thinking", "thinking": [{"type": "text", "text": "Hm."}]}
TEXT = {"type": "text", "text": "Noon."}
USAGE = {"prompt_tokens": 14, "completion_tokens": 6, "total_tokens": 20}


def call(arguments: Any = '{"zone":"CET"}', **more: Any) -> dict[str, Any]:
    return {"id": "c1", "type": "function", "function": {"name": "clock", "arguments": arguments}, **more}


def piece(index: Any = None, call_id: Any = None, name: Any = None, arguments: Any = None, **more: Any) -> Any:
    """Give a delta of one piece of a call; what is None is left out."""
    function = {key: value for key, value in (("name", name), ("arguments", arguments)) if value is not None}
    found = {key: value for key, value in (("index", index), ("id", call_id)) if value is not None}
    return said(tool_calls=[{**found, "function": function, **more}])


def utf8_cut_in_two() -> bytes:
    """Cut a character between two events, so that neither is UTF-8."""
    first, second, rest = chunks(said(content="N@"), said(content="@n."), ended()).split(b"@")
    return first + "ö".encode()[:1] + second + "ö".encode()[1:] + rest


WHOLE: tuple[Form, ...] = (
    Answered(
        "plain",
        "OpenAI: Chat Completions reference",
        answer({"content": "Noon."}, usage=USAGE),
        text="Noon.",
        tokens=14,
    ),
    Answered(
        "content-parts",
        "Mistral: content as a list of parts",
        answer({"content": [THINKING, TEXT]}),
        text="Noon.",
        thoughts="Hm.",
    ),
    Answered("content-object", "gateways: one part without its list", answer({"content": TEXT}), text="Noon."),
    Answered(
        "reasoning-content",
        "DeepSeek, Qwen, Kimi, GLM: reasoning_content",
        answer({"content": "Noon.", "reasoning_content": "Hm."}),
        text="Noon.",
        thoughts="Hm.",
    ),
    Answered(
        "reasoning",
        "Groq, Cerebras, vLLM: reasoning",
        answer({"content": "Noon.", "reasoning": "Hm."}),
        text="Noon.",
        thoughts="Hm.",
    ),
    Answered(
        "reasoning-details",
        "OpenRouter: reasoning_details",
        answer(
            {
                "content": "Noon.",
                "reasoning_details": [
                    {"type": "reasoning.summary", "summary": "Hm.", "format": "anthropic-claude-v1", "index": 0}
                ],
            }
        ),
        text="Noon.",
        thoughts="Hm.",
    ),
    Answered(
        "thinking", "Ollama: thinking", answer({"content": "Noon.", "thinking": "Hm."}), text="Noon.", thoughts="Hm."
    ),
    Answered(
        "thinking-blocks",
        "LiteLLM: thinking_blocks",
        answer({"content": "Noon.", "thinking_blocks": [{"type": "thinking", "thinking": "Hm.", "signature": "s"}]}),
        text="Noon.",
        thoughts="Hm.",
    ),
    Answered(
        "arguments-object",
        "Ollama and gateways: BerriAI/litellm pull request 24095",
        answer({"content": None, "tool_calls": [call({"zone": "CET"})]}, "tool_calls"),
        calls=(CLOCK,),
    ),
    Answered(
        "call-without-id",
        "Ollama: no id, no type",
        answer({"content": "", "tool_calls": [{"function": {"name": "clock", "arguments": {"zone": "CET"}}}]}, "stop"),
        calls=(CLOCK,),
    ),
    Answered(
        "call-ids-repeated",
        "gateways: one id for all calls",
        answer({"content": None, "tool_calls": [call(), call('{"zone":"JST"}')]}, "tool_calls"),
        calls=TWO,
    ),
    Answered(
        "call-with-signature",
        "Gemini 3: extra_content.google.thought_signature",
        answer(
            {"content": None, "tool_calls": [call(extra_content={"google": {"thought_signature": "x"}})]}, "tool_calls"
        ),
        calls=(CLOCK,),
    ),
    Answered(
        "function-call",
        "before November 2023: function_call",
        answer({"content": None, "function_call": {"name": "clock", "arguments": '{"zone":"CET"}'}}, "function_call"),
        calls=(CLOCK,),
    ),
    Answered(
        "calls-and-stop",
        "Gemini and Ollama: calls with finish_reason stop",
        answer({"content": "", "tool_calls": [call()]}, "stop"),
        calls=(CLOCK,),
    ),
    Answered("finish-eos", "Together: finish_reason eos", answer({"content": "Noon."}, "eos"), text="Noon."),
    Answered(
        "finish-eos-token",
        "Text Generation Inference: eos_token",
        answer({"content": "Noon."}, "eos_token"),
        text="Noon.",
    ),
    Answered(
        "finish-stop-sequence",
        "TGI and Anthropic behind gateways: stop_sequence",
        answer({"content": "Noon."}, "stop_sequence"),
        text="Noon.",
    ),
    Answered(
        "finish-end-turn", "Anthropic behind gateways: end_turn", answer({"content": "Noon."}, "end_turn"), text="Noon."
    ),
    Answered(
        "finish-max-tokens",
        "Anthropic behind gateways: max_tokens",
        answer({"content": "Noon."}, "max_tokens"),
        text="Noon.",
        status="incomplete",
    ),
    Answered(
        "finish-upper-case",
        "Gemini behind gateways: MAX_TOKENS",
        answer({"content": "Noon."}, "MAX_TOKENS"),
        text="Noon.",
        status="incomplete",
    ),
    Answered(
        "finish-window",
        "GLM: model_context_window_exceeded",
        answer({"content": "Noon."}, "model_context_window_exceeded"),
        text="Noon.",
        status="incomplete",
    ),
    Answered(
        "finish-sensitive",
        "GLM: sensitive",
        answer({"content": "Noon."}, "sensitive"),
        text="Noon.",
        status="incomplete",
    ),
    Answered("finish-safety", "Gemini behind gateways: SAFETY", answer({"content": ""}, "SAFETY"), status="incomplete"),
    Answered("finish-null", "LM Studio: finish_reason null", answer({"content": "Noon."}, None), text="Noon."),
    Answered("finish-empty", "gateways: an empty finish_reason", answer({"content": "Noon."}, ""), text="Noon."),
    Answered(
        "minimax-ok",
        "MiniMax: base_resp beside an answer",
        answer({"content": "Noon."}, base_resp={"status_code": 0, "status_msg": ""}),
        text="Noon.",
    ),
    Answered(
        "error-null", "gateways: error null beside an answer", answer({"content": "Noon."}, error=None), text="Noon."
    ),
    Answered(
        "surrogates",
        "JavaScript servers: half a character",
        json.dumps(answer({"content": "No\ud83d\ude00on \ud83d"})).encode(),
        text="No\N{GRINNING FACE}on \N{REPLACEMENT CHARACTER}",
    ),
    Answered(
        "minus-infinity",
        "vLLM and Python servers: -Infinity in logprobs",
        json.dumps(answer({"content": "Noon."}))
        .replace('"index": 0', '"index": 0, "logprobs": {"x": -Infinity}')
        .encode(),
        text="Noon.",
    ),
    Answered(
        "finish-abort",
        "vLLM and SGLang: abort, with a part of the answer",
        answer({"content": "No"}, "abort"),
        text="No",
        status="failed",
    ),
    Answered(
        "stream-unasked",
        "gateways that stream whatever they are asked for",
        chunks(
            said(role="assistant", content="", reasoning_content="Hm."),
            said(content="No"),
            said(content="on."),
            ended(),
        ),
        text="Noon.",
        thoughts="Hm.",
        passed=b'{"id":"c","object":"chat.completion","created":1,"model":"fake-1","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":"Noon.","reasoning_content":"Hm."},"finish_reason":"stop"}]}',
    ),
    Answered(
        "stream-of-calls-unasked",
        "gateways that stream whatever they are asked for: calls",
        chunks(piece(0, "c1", "clock", '{"zone":'), piece(0, None, None, '"CET"}'), ended("tool_calls")),
        calls=(CLOCK,),
        passed=b'{"id":"c","object":"chat.completion","created":1,"model":"fake-1","choices":[{"index":0,"message":'
        b'{"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"clock",'
        b'"arguments":"{\\"zone\\":\\"CET\\"}"}}]},"finish_reason":"tool_calls"}]}',
    ),
    Answered(
        "lines-before-json",
        "DeepSeek: empty lines keep the connection open",
        b"\n\n\n" + json.dumps(answer({"content": "Noon."})).encode(),
        text="Noon.",
    ),
    Answered("finish-complete", "Cohere: COMPLETE", answer({"content": "Noon."}, "COMPLETE"), text="Noon."),
    Answered(
        "usage-groq",
        "Groq: x_groq.usage",
        answer({"content": "Noon."}, x_groq={"usage": USAGE}),
        text="Noon.",
        tokens=14,
    ),
    Answered(
        "usage-floats",
        "gateways in JavaScript: tokens as floats",
        answer({"content": "Noon."}, usage={"prompt_tokens": 14.0, "completion_tokens": 6.0}),
        text="Noon.",
    ),
)

STREAMS: tuple[Form, ...] = (
    Answered(
        "stream-plain",
        "OpenAI: streaming reference",
        stream=chunks(said(role="assistant", content=""), said(content="Noon."), ended()),
        text="Noon.",
    ),
    Answered(
        "stream-crlf",
        "ASP.NET and Java servers: CRLF",
        stream=chunks(said(content="Noon."), ended()).replace(b"\n", b"\r\n"),
        text="Noon.",
    ),
    Answered(
        "stream-no-space",
        "DashScope and Spark: data: without a space",
        stream=chunks(said(content="Noon."), ended()).replace(b"data: ", b"data:"),
        text="Noon.",
    ),
    Answered(
        "stream-fields",
        "DashScope: id and event before data",
        stream=b"id:1\nevent:result\n:HTTP_STATUS/200\n" + chunks(said(content="Noon."), ended()),
        text="Noon.",
    ),
    Answered(
        "stream-comments",
        "OpenRouter: ': OPENROUTER PROCESSING'",
        stream=chunks(said(content="Noon."), end=b"") + b": OPENROUTER PROCESSING\n\n" + chunks(ended()),
        text="Noon.",
    ),
    Answered(
        "stream-lines-of-data",
        "the standard: one event in several lines of data",
        stream=b'data: {"choices": [{"index": 0,\ndata: "delta": {"content": "Noon."}}]}\n\n' + chunks(ended()),
        text="Noon.",
    ),
    Answered(
        "stream-no-done",
        "Azure, Gemini and gateways: no [DONE]",
        stream=chunks(said(content="Noon."), ended(), end=b""),
        text="Noon.",
        passed=chunks(said(content="Noon."), ended()),
    ),
    Answered(
        "stream-done-alone-ends",
        "OpenCode Zen: no finish_reason before [DONE]",
        stream=chunks(said(content="Noon.")),
        text="Noon.",
    ),
    Answered(
        "stream-azure",
        "Azure: the first chunk has no choice",
        stream=chunks({"choices": [], "prompt_filter_results": []}, said(content="Noon."), ended()),
        text="Noon.",
    ),
    Answered(
        "stream-usage-everywhere",
        "vLLM continuous_usage_stats, xAI: tokens in every chunk",
        stream=chunks(
            {"choices": [{"index": 0, **said(content="Noon.")}], "usage": USAGE},
            {"choices": [{"index": 0, **ended()}], "usage": USAGE},
        ),
        text="Noon.",
        tokens=14,
    ),
    Answered(
        "stream-usage-moonshot",
        "Moonshot: tokens in the choice",
        stream=chunks(said(content="Noon."), {**ended(), "usage": USAGE}),
        text="Noon.",
        tokens=14,
    ),
    Answered(
        "stream-usage-groq",
        "Groq: tokens in x_groq",
        stream=chunks(said(content="Noon."), {"choices": [{"index": 0, **ended()}], "x_groq": {"usage": USAGE}}),
        text="Noon.",
        tokens=14,
    ),
    Answered(
        "stream-parts",
        "Mistral: delta.content as a list, BerriAI/litellm issue 16272",
        stream=chunks(said(role="assistant", content=""), said(content=[THINKING]), said(content=[TEXT]), ended()),
        text="Noon.",
        thoughts="Hm.",
    ),
    Answered(
        "stream-reasoning",
        "DeepSeek: content null while it thinks",
        stream=chunks(
            said(role="assistant", content=None, reasoning_content="H"),
            said(content=None, reasoning_content="m."),
            said(content="Noon.", reasoning_content=None),
            ended(),
        ),
        text="Noon.",
        thoughts="Hm.",
    ),
    Answered(
        "stream-message",
        "gateways: message where delta should be",
        stream=chunks({"message": {"role": "assistant", "content": "Noon."}, "finish_reason": "stop"}),
        text="Noon.",
    ),
    Answered(
        "stream-delta-and-message",
        "Perplexity: delta, and the message so far",
        stream=chunks(
            {"delta": {"content": "No"}, "message": {"role": "assistant", "content": "No"}},
            {
                "delta": {"content": "on."},
                "message": {"role": "assistant", "content": "Noon."},
                "finish_reason": "stop",
            },
        ),
        text="Noon.",
    ),
    Answered(
        "stream-surrogates",
        "JavaScript servers: a character in two chunks",
        stream=chunks(said(content="\ud83d"), said(content="\ude00"), ended()),
        text="\N{GRINNING FACE}",
    ),
    Answered(
        "stream-utf8-cut",
        "byte-level tokenizers: a character in two events",
        stream=utf8_cut_in_two(),
        text="N\N{REPLACEMENT CHARACTER}\N{REPLACEMENT CHARACTER}n.",
    ),
    Answered(
        "stream-infinity",
        "vLLM and Python servers: -Infinity in logprobs",
        stream=chunks({**said(content="Noon."), "logprobs": {"x": 1}}, ended()).replace(b'"x": 1', b'"x": -Infinity'),
        text="Noon.",
    ),
    Answered(
        "stream-plain-json",
        "gateways: JSON where a stream was asked for",
        stream=json.dumps(answer({"content": "Noon."})).encode(),
        text="Noon.",
        passed=b'data: {"id":"c","object":"chat.completion.chunk","created":1,"model":"fake-1","choices":[{"index":0,'
        b'"finish_reason":"stop","delta":{"role":"assistant","content":"Noon."}}]}\n\n' + DONE,
    ),
    Answered(
        "stream-byte-order-mark",
        "the standard: a byte order mark before the first event",
        stream=b"\xef\xbb\xbf" + chunks(said(content="Noon."), ended()),
        text="Noon.",
    ),
    Answered(
        "stream-calls",
        "OpenAI: pieces of calls by index",
        stream=chunks(
            piece(0, "c1", "clock", ""),
            piece(0, None, None, '{"zone":'),
            piece(0, None, None, '"CET"}'),
            piece(1, "c2", "clock", '{"zone":"JST"}'),
            ended("tool_calls"),
        ),
        calls=TWO,
    ),
    Answered(
        "stream-call-no-index",
        "Gemini behind proxies: AstrBotDevs/AstrBot pull request 6692",
        stream=chunks(piece(None, "c1", "clock", '{"zone":'), piece(None, None, None, '"CET"}'), ended("tool_calls")),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-calls-no-index",
        "goose: jin-bo/agentao pull request 117",
        stream=chunks(
            piece(None, "c1", "clock", '{"zone":"CET"}'),
            piece(None, "c2", "clock", '{"zone":"JST"}'),
            ended("tool_calls"),
        ),
        calls=TWO,
    ),
    Answered(
        "stream-calls-index-0",
        "Gemini, Dynamo: ai-dynamo/dynamo pull request 4723",
        stream=chunks(
            piece(0, "c1", "clock", '{"zone":"CET"}'), piece(0, "c2", "clock", '{"zone":"JST"}'), ended("tool_calls")
        ),
        calls=TWO,
    ),
    Answered(
        "stream-calls-no-ids",
        "Ollama before 0.5: index 0 and no id",
        stream=chunks(
            piece(0, None, "clock", '{"zone":"CET"}'), piece(0, None, "clock", '{"zone":"JST"}'), ended("tool_calls")
        ),
        calls=TWO,
    ),
    Answered(
        "stream-call-id-repeated",
        "vLLM 0.6 and LiteLLM: the id in every piece",
        stream=chunks(piece(0, "c1", "clock", '{"zone":'), piece(0, "c1", "clock", '"CET"}'), ended("tool_calls")),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-call-empty-id",
        "Qwen by DashScope: an empty id in later pieces",
        stream=chunks(piece(0, "c1", "clock", ""), piece(0, "", "", '{"zone":"CET"}'), ended("tool_calls")),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-call-name-in-pieces",
        "Fireworks and SGLang: a name in pieces",
        stream=chunks(
            piece(0, "c1", "clo"), piece(0, None, "ck"), piece(0, None, None, '{"zone":"CET"}'), ended("tool_calls")
        ),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-call-string-index",
        "gateways in PHP: an index as text",
        stream=chunks(piece("0", "c1", "clock", '{"zone":'), piece("0", None, None, '"CET"}'), ended("tool_calls")),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-call-object",
        "gateways: arguments as an object",
        stream=chunks(piece(0, "c1", "clock", {"zone": "CET"}), ended("tool_calls")),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-call-null-arguments",
        "gateways: arguments null at first",
        stream=chunks(
            said(tool_calls=[{"index": 0, "id": "c1", "function": {"name": "clock", "arguments": None}}]),
            piece(0, None, None, '{"zone":"CET"}'),
            ended("tool_calls"),
        ),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-function-call",
        "before November 2023: function_call in pieces",
        stream=chunks(
            said(function_call={"name": "clock", "arguments": ""}),
            said(function_call={"arguments": '{"zone":"CET"}'}),
            ended("function_call"),
        ),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-calls-no-end",
        "NVIDIA NIM with GLM 5.1: earendil-works/pi issue 6226",
        stream=chunks(piece(0, "c1", "clock", '{"zone":"CET"}')),
        calls=(CLOCK,),
    ),
    Answered(
        "stream-finish-length",
        "TGI: finish_reason length in a chunk with text",
        stream=chunks(ended("length", content="Noon.")),
        text="Noon.",
        status="incomplete",
    ),
    Answered(
        "stream-finish-after",
        "gateways: an empty finish_reason in every chunk",
        stream=chunks({"delta": {"content": "Noon."}, "finish_reason": ""}, ended("stop")),
        text="Noon.",
    ),
)

ANSWERS = (*WHOLE, *STREAMS)
