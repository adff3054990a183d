"""SearXNG's settings.yml: its own defaults, JSON answers, and what the spec adds."""

from typing import Any

import pytest
import yaml

from assistant_operator.components import searxng
from assistant_operator.errors import StalledError
from assistant_operator.spec.parsing import parse
from tests.operator.assistants import FACTS, assistant, resource


def _settings(**given: Any) -> dict[str, Any]:
    found = assistant(searxng={"enabled": True, "managed": {"settings": given}})
    config_map = searxng.COMPONENT.objects(found, FACTS, {})[0]
    settings: dict[str, Any] = yaml.safe_load(config_map["data"]["settings.yml"])
    return settings


def test_tools_can_read_its_answers() -> None:
    settings = _settings()
    assert "json" in settings["search"]["formats"]
    assert settings["server"]["limiter"] is False


def test_what_is_given_is_merged_key_by_key() -> None:
    settings = _settings(search={"safe_search": 2}, outgoing={"request_timeout": 3.0})
    assert settings["search"] == {"formats": ["html", "json"], "safe_search": 2}
    assert settings["outgoing"] == {"request_timeout": 3.0}


def test_no_secret_key_is_written_into_a_config_map() -> None:
    given = {"enabled": True, "managed": {"settings": {"server": {"secret_key": "s3cret"}}}}
    with pytest.raises(StalledError, match=r"settings\.server\.secret_key: leave it out, it is generated") as refused:
        parse(resource(searxng=given))
    assert "s3cret" not in str(refused.value)
