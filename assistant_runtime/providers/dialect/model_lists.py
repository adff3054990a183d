"""Read a list of models in the forms that providers give it."""

from collections.abc import Iterator, Mapping
from typing import Any

from assistant_runtime import json_text

LISTS = ("data", "models", "model_list", "items")
"""Where a list is: OpenAI's name, Gemini's and Ollama's, LiteLLM's."""

NAMES = ("id", "name", "model", "model_name")
PREFIX = "models/"
"""Before Gemini's names, which are asked for without it as well."""

MAX_MODELS = 10_000
"""Far above any list."""


def models_in(body: bytes) -> tuple[Mapping[str, Any], ...]:
    """Give the models, each with an `id`, and its other names after it; none where there is no list."""
    try:
        payload = json_text.loads(body)
    except ValueError:
        return ()
    listed = payload if isinstance(payload, list) else _listed(payload)
    found: dict[str, Mapping[str, Any]] = {}
    for entry in listed[:MAX_MODELS]:
        for model in _models(entry):
            found.setdefault(model["id"], model)
    return tuple(found.values())


def _listed(payload: Any) -> list[Any]:
    if not isinstance(payload, dict):
        return []
    return next((payload[name] for name in LISTS if isinstance(payload.get(name), list)), [])


def _models(entry: Any) -> Iterator[Mapping[str, Any]]:
    """Yield a model under its name, and under each alias."""
    model: dict[str, Any] = entry if isinstance(entry, dict) else {"id": entry}
    name = next((model[key] for key in NAMES if isinstance(model.get(key), str) and model[key]), "")
    if not name:
        return
    yield {**model, "id": name.removeprefix(PREFIX)}
    aliases = model.get("aliases")
    for alias in aliases if isinstance(aliases, list) else ():
        if isinstance(alias, str) and alias:
            yield {**model, "id": alias.removeprefix(PREFIX)}
