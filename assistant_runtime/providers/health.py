"""Who answers, and with which models: one background probe a provider.

Listing models costs no tokens, needs the key, and is part of the API, so it is both the readiness check and the source
of GET /v1/models. Because it runs in the background, /ready and /v1/models answer from memory and never wait for a
provider. A failed chat wakes the probe, so that readiness follows within moments.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import structlog

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Provider
from assistant_runtime.supervisor import Work

UP_INTERVAL_SECONDS = 30.0
"""Often enough to notice a new model; a failing chat is noticed at once anyway."""

DOWN_INTERVAL_SECONDS = 2.0
"""Short, because nobody is served meanwhile."""

MIN_INTERVAL_SECONDS = 1.0
"""A burst of failing chats is one reason to probe, not many."""


@dataclass(slots=True)
class ProviderHealth:
    """What is known of one provider."""

    provider: Provider
    status: str = "starting"
    detail: str = "not asked yet"
    models: tuple[Mapping[str, Any], ...] = ()
    names: frozenset[str] = frozenset()
    wake: asyncio.Event = field(default_factory=asyncio.Event)


class ProviderWatch:
    """Probe every provider until closed.

    Parameters
    ----------
    providers
        The preferred one first.
    """

    def __init__(self, providers: Sequence[Provider]) -> None:
        self._health = {provider.name: ProviderHealth(provider) for provider in providers}
        self._log = structlog.get_logger(__name__)

    def works(self) -> dict[str, Work]:
        """Give what probes each provider until cancelled, by name."""
        return {f"provider-{name}": partial(self._probe_forever, health) for name, health in self._health.items()}

    def report_failure(self, provider: str) -> None:
        """Probe a provider now: a request to it failed."""
        self._health[provider].wake.set()

    def has_model(self, provider: str, model: str) -> bool:
        """Whether the provider lists the model."""
        return model in self._health[provider].names

    def may_have_model(self, provider: str, model: str) -> bool:
        """Whether the provider's list leaves it open: there is none, or the model is in it under another tag.

        Lists name `vendor/model` where OpenRouter takes `vendor/model:online` as well, and `model:latest` where Ollama
        takes `model`.
        """
        names = self._health[provider].names
        return not names or f"{model}:latest" in names or model.rpartition(":")[0] in names

    def refresh(self) -> None:
        """List every provider's models now; those that were just listed wait a moment."""
        for health in self._health.values():
            health.wake.set()

    def models(self) -> list[dict[str, Any]]:
        """List every model under the name a client uses; the preferred provider's need no prefix."""
        return [
            entry
            for position, health in enumerate(self._health.values())
            for entry in _entries(health, prefix="" if position == 0 else f"{health.provider.name}/")
        ]

    def check(self) -> dict[str, Any]:
        """Give the readiness check `provider`: up while anyone answers."""
        if not self._health:
            return {
                "status": "missing",
                "required": True,
                "detail": "none is configured: set OPENAI_COMPATIBLE_BASE_URL and OPENAI_COMPATIBLE_DEFAULT_MODEL",
            }
        each = {name: _told(health) for name, health in self._health.items()}
        statuses = {health.status for health in self._health.values()}
        status = "up" if "up" in statuses else min(statuses)
        return {
            "status": status,
            "required": True,
            "degraded": status == "up" and len(statuses) > 1,
            "providers": each,
        }

    async def _probe_forever(self, health: ProviderHealth) -> None:
        while True:
            health.wake.clear()
            await self._probe(health)
            await asyncio.sleep(MIN_INTERVAL_SECONDS)
            pause = UP_INTERVAL_SECONDS if health.status == "up" else DOWN_INTERVAL_SECONDS
            with suppress(TimeoutError):
                async with asyncio.timeout(pause):
                    await health.wake.wait()

    async def _probe(self, health: ProviderHealth) -> None:
        before = health.status
        try:
            listed = await health.provider.models()
        except ProviderError as error:
            health.status, health.detail = "down", error.message
        except Exception:  # noqa: BLE001 - a bug with one provider must not end the probes of the others
            self._log.exception("provider_probe_failed", provider=health.provider.name)
            health.status, health.detail = "down", "the probe failed; the log says why"
        else:
            health.status, health.detail = "up", listed.remark
            # No list, as with a 429, says nothing against the one that is known.
            health.models = listed.models or health.models
            health.names = frozenset(str(model.get("id")) for model in health.models)
        if health.status != before:
            self._log.info("provider_status", provider=health.provider.name, status=health.status, detail=health.detail)


def _told(health: ProviderHealth) -> dict[str, str]:
    told = {"status": health.status}
    return told | {"detail": health.detail} if health.detail else told


def _entries(health: ProviderHealth, prefix: str) -> list[dict[str, Any]]:
    listed = health.models or ({"id": health.provider.default_model},)
    return [
        {
            "id": f"{prefix}{model.get('id')}",
            "object": "model",
            "created": model.get("created") if isinstance(model.get("created"), int) else 0,
            "owned_by": health.provider.name,
        }
        for model in listed
    ]
