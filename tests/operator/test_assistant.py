"""Bad input gets a message that names the field and says what to write, without a cluster too."""

from typing import Any

import pytest

from assistant_operator.errors import StalledError
from assistant_operator.spec.base import Image
from assistant_operator.spec.parsing import parse
from assistant_operator.spec.values import quantity, seconds
from tests.operator.assistants import PROVIDERS, resource
from tests.operator.bad_input import BAD_NAMES, BAD_SPECS


@pytest.mark.parametrize(("spec", "message"), BAD_SPECS.values(), ids=BAD_SPECS)
def test_bad_spec(spec: dict[str, Any], message: str) -> None:
    with pytest.raises(StalledError) as caught:
        parse(resource(**spec))
    assert caught.value.reason == "InvalidSpec"
    assert message in caught.value.message


@pytest.mark.parametrize("name", BAD_NAMES)
def test_bad_name(name: str) -> None:
    with pytest.raises(StalledError, match=r"metadata\.name: must be at most 52 characters"):
        parse(resource(name))


def test_the_longest_name() -> None:
    assert parse(resource("a" * 52)).name == "a" * 52


@pytest.mark.parametrize(
    ("image", "reference"),
    [
        ({}, "host:5000/redis:7"),
        ({"tag": "8"}, "host:5000/redis:8"),
        ({"digest": f"sha256:{'a' * 64}"}, f"host:5000/redis@sha256:{'a' * 64}"),
        ({"repository": "b/redis", "tag": "8"}, "b/redis:8"),
        ({"repository": "b/redis", "tag": "8", "digest": f"sha256:{'a' * 64}"}, f"b/redis@sha256:{'a' * 64}"),
    ],
)
def test_image_reference(image: dict[str, Any], reference: str) -> None:
    assert Image.model_validate(image).reference("host:5000/redis:7") == reference


def test_an_image_without_a_registry() -> None:
    assert Image(tag="8").reference("redis:7@sha256:0") == "redis:8"


def test_units() -> None:
    assert seconds("1h30m") == 5400
    assert quantity("512Mi") == 512 * 1024**2
    assert quantity("500m") * 2 == 1


def test_providers_need_names_of_their_own() -> None:
    twice = {"items": PROVIDERS["items"] * 2}
    with pytest.raises(StalledError, match="every provider needs a name of its own"):
        parse(resource(providers=twice))
