"""Lists of models, and what else is said where they are asked for."""

from tests.runtime.provider_forms.form import Form, Listed
from tests.support.upstream import MODEL

LISTS: tuple[Form, ...] = (
    Listed("list", "OpenAI: models reference", 200, {"object": "list", "data": [{"id": "a", "created": 1}]}, ("a",)),
    Listed("list-bare", "Together: songquanpeng/one-api issue 128", 200, [{"id": "a"}, {"id": "b"}], ("a", "b")),
    Listed(
        "list-prefix",
        "Gemini's OpenAI endpoint: models/ before each name",
        200,
        {"object": "list", "data": [{"id": "models/gemini-2.5-flash"}]},
        ("gemini-2.5-flash",),
    ),
    Listed(
        "list-names",
        "Gemini API and Cohere: models with names",
        200,
        {"models": [{"name": "models/a"}, {"name": "b"}]},
        ("a", "b"),
    ),
    Listed(
        "list-both", "llama.cpp: models beside data", 200, {"models": [{"name": "x"}], "data": [{"id": "a"}]}, ("a",)
    ),
    Listed("list-texts", "small servers: names alone", 200, {"data": ["a", "b"]}, ("a", "b")),
    Listed(
        "list-aliases",
        "Mistral and xAI: aliases",
        200,
        {"data": [{"id": "a-2508", "aliases": ["a-latest"]}, {"id": "a-latest", "aliases": ["a-2508"]}]},
        ("a-2508", "a-latest"),
    ),
    Listed("list-null", "gateways: data null", 200, {"object": "list", "data": None}, (MODEL,)),
    Listed("list-page", "proxies: a page", 200, "<html></html>", (MODEL,)),
    Listed("list-missing", "servers without a list", 404, {"detail": "Not Found"}, (MODEL,)),
    Listed(
        "list-401",
        "OpenAI: restricted keys",
        401,
        {"error": {"message": "Missing scopes: api.model.read"}},
        (MODEL,),
        degraded=True,
    ),
    Listed(
        "list-403",
        "OpenAI: restricted keys of projects",
        403,
        {"error": {"message": "insufficient permissions"}},
        (MODEL,),
        degraded=True,
    ),
    Listed(
        "list-400",
        "Azure: no api-version",
        400,
        {"error": {"code": "BadRequest", "message": "Missing api-version"}},
        (MODEL,),
        degraded=True,
    ),
)
