"""However a secret is written, a quoted text does not show it."""

import base64
import json
from urllib.parse import quote

import pytest

from assistant_operator.health.redaction import redacted

SECRET = 'pa"ss wörd/\\+%4-of-the-server'


@pytest.mark.parametrize(
    "written",
    [
        SECRET,
        quote(SECRET, safe=""),
        json.dumps(SECRET),
        json.dumps({"password": SECRET}, ensure_ascii=False),
        base64.b64encode(SECRET.encode()).decode(),
        base64.urlsafe_b64encode(SECRET.encode()).decode(),
        base64.b64encode(SECRET.encode()).decode().rstrip("="),
        "Authorization: Basic " + base64.b64encode(f"root:{SECRET}".encode()).decode(),
    ],
    ids=["plain", "in a URL", "JSON", "JSON in UTF-8", "base64", "base64 for URLs", "without padding", "Basic"],
)
def test_no_form_of_a_secret_is_left(written: str) -> None:
    text = redacted(f"cannot connect with {written}: refused", [SECRET])
    assert written.removeprefix("Authorization: Basic ") not in text
    assert "***" in text
    assert text.startswith("cannot connect with ")
    assert text.endswith(": refused")


def test_each_word_of_a_value_is_hidden() -> None:
    assert redacted("requirepass geheim1", ["requirepass geheim1\nmasterauth geheim1"]) == "*** ***"


def test_what_is_no_secret_is_quoted_as_it_is() -> None:
    text = "connect ECONNREFUSED 10.96.12.7:27017 at TCPConnectWrap.afterConnect"
    assert redacted(text, ["geheimnis", "short"]) == text
