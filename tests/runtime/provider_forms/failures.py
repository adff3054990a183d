"""Failures: whose they are, what the client hears, and whether another provider is asked."""

from tests.runtime.provider_forms.form import Broken, Failed, answer, chunks, ended, said
from tests.runtime.provider_forms.refusals import openai, unsupported

FAILURES = (
    Broken(
        "stream-tgi",
        "Text Generation Inference: an error as an event",
        stream=b'data:{"error":"Request failed during generation","error_type":"generation"}\n\n',
    ),
    Failed(
        "validation-tgi",
        "Text Generation Inference: validation",
        422,
        {
            "error": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096",
            "error_type": "validation",
        },
        422,
        "max_new_tokens",
        next=False,
    ),
    Failed(
        "a-clients-words",
        "validators that quote what they refuse: nobody's words turn a provider off",
        400,
        openai("Input should be 'a' or 'b', got 'api key not valid, insufficient balance'"),
        400,
        "Input should be",
        next=False,
    ),
    Failed(
        "content-in-a-failure",
        "any server: a failure that names a field by chance",
        500,
        {"error": {"message": "could not store content"}},
        502,
        "could not store",
        asked={"messages": [{"role": "user", "content": [{"type": "text", "text": "Hi"}]}], "store": False},
    ),
    Failed(
        "moderation-openrouter",
        "OpenRouter: errors, 403 moderation",
        403,
        {
            "error": {
                "code": 403,
                "message": "openai/gpt-5 requires moderation on OpenAI. Your input was flagged.",
                "metadata": {"reasons": ["violence"], "flagged_input": "...", "provider_name": "OpenAI"},
            }
        },
        403,
        "flagged",
        next=False,
    ),
    Failed(
        "moderation-xai",
        "xAI: UKGovernmentBEIS/inspect_ai pull request 2267",
        403,
        {
            "code": "The caller does not have permission to execute the specified operation",
            "error": "Content violates usage guidelines. Team: x, API key ID: y, Failed check: SAFETY_CHECK_TYPE_BIO",
        },
        403,
        "usage guidelines",
        next=False,
    ),
    Failed(
        "moderation-azure",
        "Azure: content filter",
        400,
        openai(
            "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
            param="prompt",
            code="content_filter",
            status=400,
        ),
        400,
        "filtered",
        next=False,
        code="content_filter",
    ),
    Failed(
        "moderation-zhipu",
        "Zhipu GLM: error code 1301",
        400,
        {
            "contentFilter": [{"level": 1, "role": "user"}],
            "error": {"code": "1301", "message": "系统检测到输入或生成内容可能包含不安全或敏感内容"},
        },
        400,
        next=False,
    ),
    Failed(
        "permission-xai",
        "xAI: decolua/9router issue 2559",
        403,
        {
            "code": "permission-denied",
            "error": "Access to the chat endpoint is denied. Please ensure you're using the correct credentials.",
        },
        502,
        "refused the runtime's key",
        code="provider_auth_error",
    ),
    Failed(
        "permission-page",
        "nginx and Cloudflare: a page",
        403,
        "<html><h1>403 Forbidden</h1></html>",
        502,
        "refused the runtime's key",
        code="provider_auth_error",
    ),
    Failed(
        "country-openai",
        "OpenAI: error codes, 403",
        403,
        openai("Country, region, or territory not supported", code="unsupported_country_region_territory"),
        502,
        "refused the runtime's key",
    ),
    Failed(
        "forbidden-for-a-reason",
        "any server: 403 with a reason of its own",
        403,
        {"error": {"message": "input tokens exceed what this tier allows"}},
        403,
        "exceed",
    ),
    Failed(
        "key-gemini",
        "Gemini API: a bad key is a 400",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        502,
        "refused the runtime's key",
        code="provider_auth_error",
    ),
    Failed(
        "key-dashscope",
        "Alibaba DashScope: InvalidApiKey",
        401,
        {"code": "InvalidApiKey", "message": "Invalid API-key provided.", "request_id": "1"},
        502,
        code="provider_auth_error",
    ),
    Failed(
        "arrears-dashscope",
        "Alibaba DashScope: Arrearage",
        400,
        {"code": "Arrearage", "message": "Access denied, please make sure your account is in good standing."},
        502,
        code="provider_quota_exceeded",
    ),
    Failed(
        "balance-deepseek",
        "DeepSeek: error codes, 402",
        402,
        openai("Insufficient Balance"),
        502,
        "Insufficient Balance",
        code="provider_quota_exceeded",
    ),
    Failed(
        "quota-openai",
        "OpenAI: error codes, 429 insufficient_quota",
        429,
        openai("You exceeded your current quota, please check your plan.", code="insufficient_quota"),
        429,
    ),
    Failed(
        "budget-litellm",
        "LiteLLM proxy: budget_exceeded is a 400",
        400,
        openai("Budget has been exceeded! Current cost: 1.2, Max budget: 1.0", type="budget_exceeded", code="400"),
        502,
        code="provider_quota_exceeded",
    ),
    Failed(
        "limit-zhipu",
        "Zhipu GLM: error code 1302",
        429,
        {"error": {"code": "1302", "message": "rate limit"}},
        429,
        "rate limit",
        headers={"retry-after": "2"},
    ),
    Failed(
        "overloaded-anthropic",
        "Anthropic: errors, 529",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        503,
        "Overloaded",
    ),
    Failed("capacity-groq", "Groq: error codes, 498 flex tier", 498, openai("Flex tier capacity exceeded"), 503),
    Failed("timeout-cloudflare", "Cloudflare: error 524", 524, "<html>524</html>", 504),
    Failed("template-500", "any server: 500 in plain text", 500, "Internal Server Error", 502, "Internal Server Error"),
    Failed(
        "problem-json",
        "NVIDIA NIM: problem details",
        404,
        {"status": 404, "title": "Not Found", "detail": "Function '9': Not found for account"},
        404,
        "Not found",
        next=False,
        code="model_not_found",
    ),
    Failed(
        "json-schema",
        "DeepSeek: response_format",
        400,
        openai("This response_format type is unavailable now"),
        400,
        "response_format",
        next=False,
        asked={"response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {}}}},
    ),
    Failed(
        "stop",
        "OpenAI, o3: what a client builds on is not left out",
        400,
        unsupported("stop"),
        400,
        "stop",
        next=False,
        asked={"stop": ["x"]},
    ),
    Failed(
        "out-of-range",
        "Anthropic: a value that no model takes",
        400,
        openai("temperature: range: 0..1", param="temperature"),
        400,
        "range",
        next=False,
        asked={"temperature": 1.5},
    ),
    Failed(
        "too-long",
        "OpenAI: context_length_exceeded",
        400,
        openai("This model's maximum context length is 8192 tokens.", param="messages", code="context_length_exceeded"),
        400,
        "maximum",
        next=False,
        code="context_length_exceeded",
    ),
    Broken(
        "error-in-200",
        "OpenRouter: errors after the head was sent",
        {"error": {"code": 502, "message": "Provider returned error", "metadata": {"raw": "x"}}},
    ),
    Broken("code-and-msg", "Chinese clouds: a code and a message", {"code": 500, "msg": "system busy", "data": None}),
    Broken(
        "code-and-message", "SiliconFlow: 200 with an error's code", {"code": 20012, "message": "Model does not exist"}
    ),
    Broken(
        "base-resp",
        "MiniMax: adrianlyjak/obsidian-aloud-tts pull request 114",
        {"id": "1", "choices": None, "base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
    ),
    Broken(
        "choices-null", "gateways: theopenco/llmgateway pull request 3904", {"id": "1", "model": "m", "choices": None}
    ),
    Broken("choices-empty", "gateways: an empty list", {"id": "1", "model": "m", "choices": []}),
    Broken("body-null", "gateways: theopenco/llmgateway pull request 3904, a body that is null", b"null"),
    Broken(
        "errors-list",
        "Cloudflare Workers AI: errors in a list",
        {"success": False, "errors": [{"code": 7003, "message": "Could not route"}], "result": {}},
    ),
    Broken("vllm-object-error", "vLLM: object error", {"object": "error", "message": "boom", "code": 500}),
    Broken(
        "choice-error",
        "OpenRouter: an error in a choice",
        {
            "choices": [
                {
                    "message": {"role": "assistant", "content": ""},
                    "finish_reason": "error",
                    "error": {"code": 502, "message": "Upstream error"},
                }
            ]
        },
    ),
    Broken(
        "no-resources",
        "DeepSeek: insufficient_system_resource with nothing said",
        answer({"content": ""}, "insufficient_system_resource"),
    ),
    Broken(
        "stream-role-then-error",
        "OpenRouter: a role alone, and then an error",
        stream=chunks(said(role="assistant", content=""), end=b'data: {"error":{"code":502,"message":"x"}}\n\n'),
    ),
    Broken(
        "stream-role-then-end",
        "proxies: a role alone, and then the end",
        stream=chunks(said(role="assistant"), end=b""),
    ),
    Broken("stream-done-alone", "gateways: [DONE] and nothing before it", stream=b"data: [DONE]\n\n"),
    Broken("stream-role-then-done", "gateways: a role, and [DONE]", stream=chunks(said(role="assistant", content=""))),
    Broken(
        "stream-code-and-msg",
        "Chinese clouds: an event with a code and a message",
        stream=b'data: {"code":500,"msg":"system busy"}\n\n',
    ),
    Broken(
        "stream-event-error",
        "DashScope: event: error",
        stream=b'id:1\nevent:error\ndata:{"code":"InvalidParameter","message":"bad"}\n\n',
    ),
    Broken(
        "stream-vllm-error",
        "vLLM: an error as an event",
        stream=b'data: {"object":"error","message":"boom","type":"InternalServerError","code":500}\n\ndata: [DONE]\n\n',
    ),
    Broken(
        "stream-plain-error",
        "llama.cpp: JSON where a stream was asked for",
        stream=b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
    ),
    Broken(
        "stream-plain-error-with-end", "gateways: JSON and a blank line", stream=b'{"error":{"message":"busy"}}\n\n'
    ),
    Broken("stream-page", "proxies: a page where a stream was asked for", stream=b"<html>busy</html>\n\n"),
    Broken(
        "stream-failed-end",
        "GLM: finish_reason network_error before anything was said",
        stream=chunks(said(role="assistant", content=""), ended("network_error")),
    ),
)
