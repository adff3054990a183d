"""Requests that providers refuse, and take in another form."""

from typing import Any

from tests.runtime.provider_forms.form import FUNCTION, OWN, Refused

USER = {"role": "user", "content": "Hi"}
CALL = {"id": "call_1", "type": "function", "function": {"name": "clock", "arguments": "{}"}}
RESULT = {"role": "tool", "tool_call_id": "call_1", "content": "noon"}
CALLED: list[dict[str, Any]] = [USER, {"role": "assistant", "content": None, "tool_calls": [CALL]}, RESULT]
THOUGHT: list[dict[str, Any]] = [USER, {"role": "assistant", "content": "Ho", "reasoning_content": "Hm."}, USER]
DEVELOPER: list[dict[str, Any]] = [{"role": "developer", "content": "Be kind."}, USER]
SYSTEM: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}, USER]
LATE: list[dict[str, Any]] = [
    *SYSTEM,
    {"role": "assistant", "content": "Ho"},
    {"role": "system", "content": "Now."},
    USER,
]
PARTS: list[dict[str, Any]] = [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}]
NAMED: list[dict[str, Any]] = [{**USER, "name": "ann"}]
QWEN_TEMPLATE = (
    "\n------------\nWhile executing CallExpression at line 85, column 32 in source:\n...first %}"
    "\nError: Jinja Exception: System message must be at the beginning."
)


def openai(message: str, **more: Any) -> dict[str, Any]:
    """Write an error as OpenAI does."""
    return {"error": {"message": message, "type": "invalid_request_error", "param": None, "code": None, **more}}


def unsupported(name: str) -> dict[str, Any]:
    message = f"Unsupported parameter: '{name}' is not supported with this model."
    return openai(message, param=name, code="unsupported_parameter")


def forbidden(*loc: Any) -> dict[str, Any]:
    """Write an error as pydantic's validation does, which Mistral and many servers in Python pass on."""
    return {"detail": [{"type": "extra_forbidden", "loc": ["body", *loc], "msg": "Extra inputs are not permitted"}]}


def roles(body: dict[str, Any]) -> list[str]:
    return [message["role"] for message in body["messages"]]


def one_system_first(body: dict[str, Any]) -> bool:
    return roles(body)[0] == "system" and roles(body).count("system") == 1


def no_thoughts(body: dict[str, Any]) -> bool:
    return not any("reasoning_content" in message for message in body["messages"])


def has_thoughts(body: dict[str, Any]) -> bool:
    return all("reasoning_content" in message for message in body["messages"] if message.get("tool_calls"))


def has_short_ids(body: dict[str, Any]) -> bool:
    ids = {body["messages"][1]["tool_calls"][0]["id"], body["messages"][2]["tool_call_id"]}
    return len(ids) == 1 and all(len(each) == 9 and each.isalnum() for each in ids)


def without(name: str) -> Any:
    return lambda body: name not in body


def no_own_tools(body: dict[str, Any]) -> bool:
    return OWN not in str(body.get("tools"))


FIELDS = (
    Refused(
        "max-tokens",
        "OpenAI, o-series and gpt-5: Chat Completions reference",
        400,
        openai(
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
            param="max_tokens",
            code="unsupported_parameter",
        ),
        {"max_tokens": 9},
        lambda body: body.get("max_completion_tokens") == 9 and "max_tokens" not in body,
    ),
    Refused(
        "max-completion-tokens",
        "Mistral: editor-code-assistant/eca issue 231",
        422,
        {"object": "error", "message": forbidden("max_completion_tokens"), "type": "invalid_request_error"},
        {"max_completion_tokens": 9},
        lambda body: body.get("max_tokens") == 9 and "max_completion_tokens" not in body,
    ),
    Refused(
        "two-fields-at-once",
        "Mistral: Gitlawb/openclaude issue 739",
        422,
        {"detail": [*forbidden("store")["detail"], *forbidden("max_completion_tokens")["detail"]]},
        {"store": False, "max_completion_tokens": 9},
        lambda body: body.get("max_tokens") == 9 and "store" not in body,
        ignored="store",
    ),
    Refused(
        "json-in-the-message",
        "Mistral: mistralai/platform-docs-public issue 7",
        422,
        {
            "object": "error",
            "message": '{"detail":[{"type":"extra_forbidden","loc":["body","frequency_penalty"],'
            '"msg":"Extra inputs are not permitted","input":0.0}]}',
            "type": "internal_error_proxy",
            "code": "1000",
        },
        {"frequency_penalty": 0.5},
        without("frequency_penalty"),
        ignored="frequency_penalty",
    ),
    Refused(
        "temperature",
        "OpenAI, gpt-5: QwenLM/qwen-code issue 921",
        400,
        openai(
            "Unsupported value: 'temperature' does not support 0.2 with this model. "
            "Only the default (1) value is supported.",
            param="temperature",
            code="unsupported_value",
        ),
        {"temperature": 0.2},
        without("temperature"),
        ignored="temperature",
    ),
    Refused(
        "temperature-and-top-p",
        "Anthropic, Claude Opus 4.1 and later: migration guide",
        400,
        {
            "type": "error",
            "error": {
                "type": "invalid_request_error",
                "message": "`temperature` and `top_p` cannot both be specified for this model. Please use only one.",
            },
        },
        {"temperature": 0.2, "top_p": 0.9},
        without("top_p"),
        ignored="top_p",
    ),
    Refused(
        "parallel-tool-calls",
        "OpenAI, o3-mini: Chat Completions reference",
        400,
        unsupported("parallel_tool_calls"),
        {"tools": [FUNCTION], "parallel_tool_calls": False},
        without("parallel_tool_calls"),
        ignored="parallel_tool_calls",
    ),
    Refused(
        "unknown-name",
        "Gemini's OpenAI endpoint: fields that its proto does not have",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": 'Invalid JSON payload received. Unknown name "store": Cannot find field.',
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        {"store": False},
        without("store"),
        ignored="store",
    ),
    Refused(
        "seed-by-field-violation",
        "Gemini's OpenAI endpoint: google.rpc.BadRequest",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Invalid value: not supported.",
                    "status": "INVALID_ARGUMENT",
                    "details": [
                        {
                            "@type": "type.googleapis.com/google.rpc.BadRequest",
                            "fieldViolations": [{"field": "seed", "description": "not supported"}],
                        }
                    ],
                }
            }
        ],
        {"seed": 7},
        without("seed"),
        ignored="seed",
    ),
    Refused(
        "reasoning-effort",
        "Groq and others: models that do not reason",
        400,
        openai("`reasoning_effort` is not supported with this model"),
        {"reasoning_effort": "low"},
        without("reasoning_effort"),
        ignored="reasoning_effort",
    ),
    Refused(
        "verbosity",
        "Cerebras: unknown fields",
        400,
        {
            "message": "body.verbosity: property 'body.verbosity' is unsupported",
            "type": "invalid_request_error",
            "param": "validation_error",
            "code": "wrong_api_format",
        },
        {"verbosity": "low"},
        without("verbosity"),
        ignored="verbosity",
    ),
    Refused(
        "stream-options",
        "servers of before June 2024, such as vLLM 0.4",
        400,
        openai(
            "[{'type': 'extra_forbidden', 'loc': ('body', 'stream_options'), 'msg': 'Extra inputs are not permitted'}]"
        ),
        {"stream": True},
        without("stream_options"),
    ),
    Refused(
        "include-usage",
        "Azure: Error: stream_options.include_usage with data sources",
        400,
        openai("Unrecognized request argument supplied: stream_options.include_usage"),
        {"stream": True, "stream_options": {"include_usage": True}},
        without("stream_options"),
        ignored="stream_options",
    ),
    Refused(
        "tool-choice-auto",
        "servers that take tools and no choice: ikawrakow/ik_llama.cpp pull request 677",
        400,
        openai("tool_choice param is not supported yet"),
        {"tools": [FUNCTION], "tool_choice": "auto"},
        without("tool_choice"),
    ),
    Refused(
        "user-in-a-path",
        "JSON Schema validators: /body/user",
        400,
        openai("/body/user must NOT have additional properties"),
        {"user": "ann"},
        without("user"),
        ignored="user",
    ),
    Refused(
        "camel-case",
        "xAI: n8n-io/n8n issue 14581",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Argument not supported on this model: presencePenalty",
        },
        {"presence_penalty": 0.5},
        without("presence_penalty"),
        ignored="presence_penalty",
    ),
    Refused(
        "camel-case-effort",
        "xAI: BerriAI/litellm pull request 16265",
        400,
        {
            "code": "Client specified an invalid argument",
            "error": "Model grok-4-latest does not support parameter reasoningEffort.",
        },
        {"reasoning_effort": "low"},
        without("reasoning_effort"),
        ignored="reasoning_effort",
    ),
    Refused(
        "penalty",
        "Gemini's OpenAI endpoint: models without penalties",
        400,
        [{"error": {"code": 400, "message": "Penalty is not enabled for models/gemini-2.5-pro", "status": "INVALID"}}],
        {"frequency_penalty": 0.5},
        without("frequency_penalty"),
        ignored="frequency_penalty",
    ),
    Refused(
        "field-in-quotes",
        "Fireworks: extra inputs, with the field in words",
        400,
        openai("Extra inputs are not permitted, field: 'store', value: False"),
        {"store": False},
        without("store"),
        ignored="store",
    ),
    Refused(
        "strict",
        "servers with an older schema of functions",
        422,
        forbidden("tools", 0, "function", "strict"),
        {
            "tools": [
                {"type": "function", "function": {"name": "clock", "strict": True, "parameters": {"type": "object"}}}
            ]
        },
        lambda body: "strict" not in body["tools"][0]["function"],
        ignored="tools.strict",
    ),
)

MESSAGES = (
    Refused(
        "developer-deepseek",
        "DeepSeek: num-scope/pix issue 34",
        400,
        openai(
            "Failed to deserialize the JSON body into the target type: messages[0].role: unknown variant `developer`, "
            "expected one of `system`, `user`, `assistant`, `tool`, `latest_reminder` at line 1 column 60"
        ),
        {"messages": DEVELOPER},
        one_system_first,
    ),
    Refused(
        "developer-qwen",
        "Alibaba DashScope: haru/redmine_ai_helper issue 242",
        400,
        openai("developer is not one of ['system', 'assistant', 'user', 'tool', 'function'] - 'messages.['0].role'"),
        {"messages": DEVELOPER},
        one_system_first,
    ),
    Refused(
        "developer-zod",
        "Vercel's AI gateway: egoist/chatwise-releases issue 971",
        400,
        openai(
            "Invalid enum value. Expected 'system' | 'user' | 'assistant' | 'tool', received 'developer'",
            param="messages.0.role",
            code="invalid_request_error",
        ),
        {"messages": DEVELOPER},
        one_system_first,
    ),
    Refused(
        "developer-unexpected-role",
        "vLLM with Llama's template: 'Unexpected message role.'",
        400,
        {
            "object": "error",
            "message": "Unexpected message role.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        {"messages": [USER, {"role": "assistant", "content": "Ho"}, *DEVELOPER]},
        one_system_first,
    ),
    Refused(
        "system-first-500",
        "llama.cpp with Qwen 3.5's template: ollama/ollama issue 18241",
        500,
        {"error": {"code": 500, "message": QWEN_TEMPLATE, "type": "server_error"}},
        {"messages": LATE},
        one_system_first,
    ),
    Refused(
        "system-first-400",
        "vLLM with Qwen 3.5's template: vllm-project/vllm pull request 46976",
        400,
        {
            "object": "error",
            "message": "System message must be at the beginning.",
            "type": "BadRequestError",
            "code": 400,
        },
        {"messages": LATE},
        one_system_first,
    ),
    Refused(
        "system-unsupported",
        "vLLM with Gemma's template: 'System role not supported'",
        400,
        {
            "object": "error",
            "message": "System role not supported",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        {"messages": SYSTEM},
        lambda body: roles(body) == ["user"] and "Be kind." in body["messages"][0]["content"],
    ),
    Refused(
        "system-o1",
        "OpenAI, o1-mini: openai-python discussions",
        400,
        openai(
            "Unsupported value: 'messages[0].role' does not support 'system' with this model.",
            param="messages[0].role",
            code="unsupported_value",
        ),
        {"messages": SYSTEM},
        lambda body: roles(body) == ["user"],
    ),
    Refused(
        "system-minimax",
        "MiniMax: BigPizzaV3/CodexPlusPlus issue 267",
        400,
        {
            "type": "error",
            "error": {
                "type": "bad_request_error",
                "http_code": "400",
                "message": "invalid params, chat content has invalid message role: system (2013)",
            },
        },
        {"messages": SYSTEM},
        lambda body: roles(body) == ["user"],
    ),
    Refused(
        "system-gemma",
        "Gemini API, Gemma 3: 'Developer instruction is not enabled'",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Developer instruction is not enabled for models/gemma-3-27b-it",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        {"messages": SYSTEM},
        lambda body: roles(body) == ["user"],
    ),
    Refused(
        "alternating-roles",
        "Mistral's and Gemma's templates: nomic-ai/gpt4all pull request 3325",
        400,
        openai(
            "After the optional system message, conversation roles must alternate user/assistant/user/assistant/..."
        ),
        {"messages": [USER, USER]},
        lambda body: roles(body) == ["user"],
    ),
    Refused(
        "reasoning-cerebras",
        "Cerebras: Kilo-Org/kilocode issue 10375",
        400,
        {
            "message": "messages.1.assistant.reasoning_content: property 'messages.1.assistant.reasoning_content' is "
            "unsupported",
            "type": "invalid_request_error",
            "param": "validation_error",
            "code": "wrong_api_format",
        },
        {"messages": THOUGHT},
        no_thoughts,
    ),
    Refused(
        "reasoning-groq",
        "Groq: janhq/jan issue 8136",
        400,
        openai(
            "'messages.1' : for 'role:assistant' the following must be satisfied[('messages.1' : "
            "property 'reasoning_content' is unsupported)]"
        ),
        {"messages": THOUGHT},
        no_thoughts,
    ),
    Refused(
        "reasoning-mistral",
        "Mistral: OpenMinis/OpenMinis issue 87",
        422,
        forbidden("messages", 1, "assistant", "reasoning_content"),
        {"messages": THOUGHT},
        no_thoughts,
    ),
    Refused(
        "reasoning-wanted-deepseek",
        "DeepSeek V4: QwenLM/qwen-code issue 3724",
        400,
        openai(
            "The `reasoning_content` in the thinking mode must be passed back to the API.", code="invalid_request_error"
        ),
        {"messages": CALLED, "tools": [FUNCTION]},
        has_thoughts,
    ),
    Refused(
        "reasoning-wanted-in-param",
        "DeepSeek by a gateway: suyiiyii/AutoGLM-GUI issue 396",
        400,
        {
            "error": {
                "code": "400",
                "message": "Param Incorrect",
                "type": "",
                "param": "The reasoning_content in the thinking mode must be passed back to the API.",
            }
        },
        {"messages": CALLED, "tools": [FUNCTION]},
        has_thoughts,
    ),
    Refused(
        "reasoning-wanted-kimi",
        "Moonshot by SiliconFlow: agentscope-ai/QwenPaw issue 433",
        400,
        {
            "code": 20015,
            "data": None,
            "message": "thinking is enabled but reasoning_content is missing in assistant tool call message at index 1",
        },
        {"messages": CALLED, "tools": [FUNCTION]},
        has_thoughts,
    ),
    Refused(
        "parts-deepseek",
        "serde: 'invalid type: sequence, expected a string'",
        400,
        openai("Failed to deserialize the JSON body: messages[0].content: invalid type: sequence, expected a string"),
        {"messages": PARTS},
        lambda body: body["messages"][0]["content"] == "Hi",
    ),
    Refused(
        "parts-azure",
        "Azure: danny-avila/LibreChat issue 3111",
        400,
        openai(
            "Invalid type for 'messages[0].content': expected a string, but got an array instead",
            param="messages[0].content",
            code="invalid_type",
        ),
        {"messages": PARTS},
        lambda body: body["messages"][0]["content"] == "Hi",
    ),
    Refused(
        "null-content",
        "pydantic servers: 'none is not an allowed value'",
        422,
        {
            "detail": [
                {
                    "loc": ["body", "messages", 1, "content"],
                    "msg": "none is not an allowed value",
                    "type": "type_error.none.not_allowed",
                }
            ]
        },
        {"messages": CALLED, "tools": [FUNCTION]},
        lambda body: body["messages"][1]["content"] == "",
    ),
    Refused(
        "names-mistral",
        "Mistral: Gage-Technologies/mistral-go pull request 2",
        422,
        {"object": "error", "message": forbidden("messages", 0, "user", "name"), "type": "invalid_request_error"},
        {"messages": NAMED},
        lambda body: "name" not in body["messages"][0],
        ignored="messages.name",
    ),
    Refused(
        "names-groq",
        "Groq: 'property name is unsupported'",
        400,
        openai(
            "'messages.0' : for 'role:user' the following must be satisfied[('messages.0' : property 'name' is unsupported)]"
        ),
        {"messages": NAMED},
        lambda body: "name" not in body["messages"][0],
        ignored="messages.name",
    ),
    Refused(
        "ids-mistral",
        "Mistral: nearai/ironclaw issue 1241",
        400,
        {
            "object": "error",
            "message": "Tool call id was call_1 but must be a-z, A-Z, 0-9, with a length of 9.",
            "type": "invalid_function_call",
            "param": None,
            "code": "3280",
        },
        {"messages": CALLED, "tools": [FUNCTION]},
        has_short_ids,
    ),
    Refused(
        "ids-openai",
        "OpenAI: ids of at most 40 characters",
        400,
        openai(
            "Invalid 'messages[1].tool_calls[0].id': string too long. Expected a string with maximum length 40.",
            param="messages[1].tool_calls[0].id",
            code="string_above_max_length",
        ),
        {"messages": CALLED, "tools": [FUNCTION]},
        has_short_ids,
    ),
    Refused(
        "thought-signature",
        "Gemini 3: BigPizzaV3/CodexPlusPlus issue 332",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Function call is missing a thought_signature in functionCall parts. This is required "
                    "for tools to work correctly. Additional data, function call `default_api:clock` , position 2.",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        {"messages": CALLED, "tools": [FUNCTION]},
        lambda body: "extra_content" in body["messages"][1]["tool_calls"][0],
    ),
    Refused(
        "calls-without-tools",
        "LiteLLM before Anthropic and Bedrock: UnsupportedParamsError",
        400,
        openai("litellm.UnsupportedParamsError: Anthropic expects the `tools=` param to be passed in."),
        {"messages": CALLED},
        lambda body: not any(message.get("tool_calls") or message["role"] == "tool" for message in body["messages"]),
    ),
)


def tools(name: str, source: str, status: int, body: Any, *, lasting: bool = True, **asked: Any) -> Refused:
    """A refusal of the tool that the runtime has added."""
    return Refused(name, source, status, body, asked, no_own_tools, tooled=True, lasting=lasting)


TOOLS = (
    tools(
        "tools-gemini",
        "Gemini API: MakerSuite, models without functions",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Function calling is not enabled for models/gemma-3-27b-it",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
    ),
    tools(
        "tools-json-gemini",
        "Gemini API: symfony/ai issue 803",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "Function calling with a response mime type: 'application/json' is unsupported",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        response_format={"type": "json_object"},
    ),
    tools(
        "tools-json-groq",
        "Groq: 'json mode cannot be combined with tool/function calling'",
        400,
        openai("json mode cannot be combined with tool/function calling"),
        response_format={"type": "json_object"},
    ),
    tools(
        "tools-openai",
        "OpenAI, gpt-5-chat-latest: sbintuitions/flexeval pull request 242",
        400,
        openai(
            "tools is not supported in this model. For a list of supported models, refer to "
            "https://platform.openai.com/docs/guides/function-calling",
            param="tools",
        ),
    ),
    tools(
        "tools-azure",
        "Azure: MicrosoftDocs/azure-docs issue 121504",
        400,
        {"error": {"requestid": "9", "code": 400, "message": "Functions are not supported for this API version"}},
    ),
    tools(
        "tools-dashscope",
        "Alibaba DashScope: spring-ai-alibaba/website issue 39",
        400,
        {
            "code": "InvalidParameter",
            "request_id": "5",
            "message": "<400> InternalError.Algo.InvalidParameter: The tool call is not supported.",
        },
    ),
    tools(
        "tools-vllm",
        "vLLM: langchain4j/langchain4j issue 3475",
        400,
        {
            "object": "error",
            "message": '"auto" tool choice requires --enable-auto-tool-choice and --tool-call-parser to be set',
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
    ),
    tools(
        "tools-llama-cpp",
        "llama.cpp: defilantech/LLMKube issue 126",
        500,
        {"error": {"code": 500, "message": "tools param requires --jinja flag", "type": "server_error"}},
    ),
    tools(
        "tools-llama-cpp-older",
        "llama.cpp: ggml-org/llama.cpp issue 10920",
        500,
        {"code": 500, "message": "Unsupported param: tools", "type": "server_error"},
    ),
    tools(
        "tools-ollama",
        "Ollama: 'does not support tools'",
        400,
        {"error": {"message": "registry.ollama.ai/library/gemma3:latest does not support tools", "type": "api_error"}},
    ),
    tools(
        "tools-openrouter",
        "OpenRouter: no provider of the model takes tools",
        404,
        {"error": {"message": "No endpoints found that support tool use.", "code": 404}},
    ),
    tools(
        "tools-openrouter-raw",
        "OpenRouter: the provider's error in metadata.raw",
        400,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": '{"detail":"tool_choice is not supported"}', "provider_name": "Chutes"},
            }
        },
    ),
    tools(
        "tools-mistral",
        "Mistral: partITech/php-mistral issue 76",
        422,
        {"object": "Error", **forbidden("tools"), "message": forbidden("tools")["detail"], "code": 3001},
    ),
    tools("tools-in-no-words", "any server: 400 without a body", 400, ""),
    tools("tools-in-other-words", "any server: the reason in another language", 400, openai("该模型暂不支持此功能")),
    tools(
        "tools-schema",
        "OpenAI: an object schema without properties",
        400,
        openai(
            "Invalid schema for function 'fetch_page': In context=(), object schema missing properties.",
            param="tools[0].function.parameters",
            code="invalid_function_parameters",
        ),
    ),
    tools(
        "tools-too-long",
        "any server: the tools are what is too much",
        400,
        openai("This model's maximum context length is 8192 tokens.", code="context_length_exceeded"),
        lasting=False,
    ),
    tools(
        "tools-failed-generation",
        "Groq: 'Failed to call a function'",
        400,
        openai(
            "Failed to call a function. Please adjust your prompt. See 'failed_generation' for more details.",
            code="tool_use_failed",
            failed_generation="<function=x>",
        ),
    ),
    tools(
        "tools-reasoning",
        "OpenAI, gpt-5.2: functions and reasoning in Chat Completions",
        400,
        openai(
            "Function tools with reasoning_effort are not supported for this model in /v1/chat/completions.",
            param="reasoning_effort",
        ),
        reasoning_effort="low",
    ),
)

REFUSALS = (*FIELDS, *MESSAGES, *TOOLS)
