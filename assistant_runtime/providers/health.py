"""Who answers, and with which models: one background probe a provider.

Listing models costs no tokens, needs the key, and is part of the API, so it is both the readiness check and the source
of GET /v1/models. Because it runs in the background, /ready and /v1/models answer from memory and never wait for a
provider. A failed chat wakes the probe, so that readiness follows within moments.

Some providers refuse the list to keys that may chat. Then a chat that is answered is the proof, and the refusal is a
remark. As a pod that is not ready gets no chat, the probe itself asks for one token where nobody else has asked yet.
A list that fails with a 5xx is a remark as well, for some minutes after an answered chat.
"""

import asyncio
import re
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from math import inf
from typing import Any

import orjson
import structlog

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import ModelList, Provider
from assistant_runtime.providers.dialect.model_lists import PREFIX
from assistant_runtime.supervisor import Work

UP_INTERVAL_SECONDS = 30.0
"""Often enough to notice a new model; a failing chat is noticed at once anyway."""

DOWN_INTERVAL_SECONDS = 2.0
"""Short, because nobody is served meanwhile."""

MIN_INTERVAL_SECONDS = 1.0
"""A burst of failing chats is one reason to probe, not many."""

RECENT_SECONDS = 300.0
"""How long an answered chat is proof that a provider works whose list of models fails with a 5xx."""

PROOF_SECONDS = 30.0
"""For an answer of one token, for which a local server may have to load its model first."""

LIST_REFUSED = "chats are answered, but not its list of models: {reason}"

VERSION = re.compile(r"[-@:](v?\d{2,}[\d.-]*|latest|preview([-.\d]*)|exp([-.\d]*)|stable)$")
"""What tells one version of a model from another, at the end of its name: `-2024-08-06`, `-0613`, `-latest`."""


@dataclass(slots=True)
class ProviderHealth:
    """What is known of one provider."""

    provider: Provider
    status: str = "starting"
    detail: str = "not asked yet"
    models: tuple[Mapping[str, Any], ...] = ()
    names: frozenset[str] = frozenset()
    families: frozenset[str] = frozenset()
    """The names without their versions."""
    unlisted: bool = False
    """It works, but its list of models can't be had."""
    proven: bool = False
    """A chat was answered, and none has failed since."""
    answered: bool = False
    """A chat was answered since the last probe."""
    answered_at: float = -inf
    """When a chat was last answered, on the monotonic clock; none has failed since."""
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
        health = self._health[provider]
        health.proven = health.answered = False
        health.answered_at = -inf
        health.wake.set()

    def report_success(self, provider: str) -> None:
        """Note that a provider has answered a chat, which is proof that it works whatever its list says."""
        health = self._health[provider]
        health.proven = health.answered = True
        health.answered_at = time.monotonic()
        if health.status == "down":
            self._works_unlisted(health, health.detail)

    def has_model(self, provider: str, model: str) -> bool:
        """Whether the provider lists the model."""
        return model in self._health[provider].names

    def may_have_model(self, provider: str, model: str) -> bool:
        """Whether the provider may have a model that its list does not name.

        A provider that is set so, or is the only one, decides itself. Otherwise the list leaves it open: there is
        none, or the model is in it in another version or under another tag. Lists name `vendor/model` where
        OpenRouter takes `vendor/model:online` as well, and `model:latest` where Ollama takes `model`.
        """
        health = self._health[provider]
        if health.provider.any_model or len(self._health) == 1 or not health.names:
            return True
        name = model.removeprefix(PREFIX)
        return name in health.names or name.rpartition(":")[0] in health.names or _family(name) in health.families

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
            "degraded": status == "up"
            and (len(statuses) > 1 or any(health.unlisted for health in self._health.values())),
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
        try:
            listed = await health.provider.models()
        except ProviderError as error:
            await self._unlisted(health, error)
        except Exception:  # noqa: BLE001 - a bug with one provider must not end the probes of the others
            self._log.exception("provider_probe_failed", provider=health.provider.name)
            self._set(health, "down", "the probe failed; the log says why")
        else:
            self._listed(health, listed)
        health.answered = False

    def _listed(self, health: ProviderHealth, listed: ModelList) -> None:
        health.unlisted = False
        # No list, as with a 429, says nothing against the one that is known.
        health.models = listed.models or health.models
        health.names = frozenset(str(model.get("id")) for model in health.models)
        health.families = frozenset(map(_family, health.names))
        self._set(health, "up", listed.remark)

    async def _unlisted(self, health: ProviderHealth, error: ProviderError) -> None:
        """Find out whether a provider works that does not list its models."""
        refused = 400 <= error.provider_status < 500  # noqa: PLR2004 - HTTP's number
        problem = error.message
        if refused and not health.proven:
            problem = await self._prove(health, problem)
        # A list that fails for ever says little of chats, and a chat that fails ends this at once.
        failing = error.provider_status >= 500  # noqa: PLR2004 - HTTP's number
        recent = failing and time.monotonic() - health.answered_at < RECENT_SECONDS
        if (refused and health.proven) or health.answered or recent:
            self._works_unlisted(health, error.message)
        else:
            self._set(health, "down", problem)

    async def _prove(self, health: ProviderHealth, reason: str) -> str:
        """Ask for one token; gives what is wrong if none comes."""
        provider = health.provider
        body = {"model": provider.default_model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1}
        try:
            async with asyncio.timeout(PROOF_SECONDS):
                await provider.complete(orjson.dumps(body), "probe")
        except ProviderError as error:
            # One that refuses this very request has accepted the key.
            health.proven = not error.at_fault
            reason = error.message
        except TimeoutError:
            reason = f"{reason}; and a chat was not answered within {PROOF_SECONDS:g} seconds"
        else:
            health.proven = True
        return reason

    def _works_unlisted(self, health: ProviderHealth, reason: str) -> None:
        health.unlisted = True
        self._set(health, "up", LIST_REFUSED.format(reason=reason))

    def _set(self, health: ProviderHealth, status: str, detail: str) -> None:
        if health.status != status:
            self._log.info("provider_status", provider=health.provider.name, status=status, detail=detail)
        health.status, health.detail = status, detail


def _family(name: str) -> str:
    """Give a model's name without its version."""
    return VERSION.sub("", name)


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
