"""Scalar types of the AIAssistant schema: quantities, durations, hosts and names, each with its rule's message.

A CEL rule carries each check rather than `pattern`: for a pattern the API server's message shows the expression, for a
rule it says what to write.
"""

import re
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal
from typing import Annotated, Any

from kubernetes.utils.duration import parse_duration
from kubernetes.utils.quantity import parse_quantity
from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema

_DNS_LABEL = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"
_KIBIBYTE = 1024
_MEBIBYTE = 1024**2
_PERCENT = "^[0-9]{1,3}%$"

QUANTITY_MESSAGE = "must be a Kubernetes quantity, such as 500m, 2, 512Mi or 1Gi"
SIZE_MESSAGE = "must be a Kubernetes quantity of at least 1Mi, such as 512Mi or 1Gi"
TEXT_SIZE_MESSAGE = "must be a Kubernetes quantity from 1Ki to 16Mi, such as 128Ki"
AMOUNT_MESSAGE = "must be a number of pods or a percentage, such as 1 or 25%"


def seconds(duration: str) -> int:
    """Convert a duration such as `1h30m` to seconds."""
    parsed: timedelta = parse_duration(duration)
    return int(parsed.total_seconds())


_QUANTITY = re.compile(r"[+-]?[0-9.]+([eE][+-]?[0-9]+|[KMGTPE]i|[numkMGTPE])?")
"""The form of a quantity; the library's parser would also take `NaN` and `Infinity`."""


def quantity(value: str | int) -> Decimal:
    """Convert a Kubernetes quantity to its number: `500m` is 0.5, `1Gi` is 1073741824.

    Raises
    ------
    ValueError
        The text is no quantity.
    """
    if not _QUANTITY.fullmatch(str(value)):
        raise ValueError(QUANTITY_MESSAGE)
    number: Decimal = parse_quantity(value)
    return number


def _text(pattern: str, message: str, max_length: int) -> tuple[AfterValidator, WithJsonSchema]:
    """Build the Python check and the schema of a string that must match `pattern` (anchored, without backslashes)."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if len(value) > max_length or not compiled.fullmatch(value):
            raise ValueError(message)
        return value

    rule = {"rule": f"self.matches('{pattern}')", "message": message}
    schema = {"type": "string", "maxLength": max_length, "x-kubernetes-validations": [rule]}
    return AfterValidator(check), WithJsonSchema(schema)


def _duration(longest: str) -> tuple[AfterValidator, WithJsonSchema]:
    """Build the Python check and the schema of a duration from one second to `longest`.

    The form is the Gateway API's, without milliseconds: https://gateway-api.sigs.k8s.io/geps/gep-2257/
    """
    pattern = "^([0-9]{1,5}(h|m|s)){1,4}$"
    message = f"must be a duration from 1s to {longest}: whole numbers with the units h, m or s, such as 30s or 1h30m"

    def check(value: str) -> str:
        if not re.fullmatch(pattern, value) or not 1 <= seconds(value) <= seconds(longest):
            raise ValueError(message)
        return value

    limits = f"duration(self) >= duration('1s') && duration(self) <= duration('{longest}')"
    rule = {"rule": f"self.matches('{pattern}') && {limits}", "message": message}
    schema = {"type": "string", "maxLength": 24, "x-kubernetes-validations": [rule]}
    return AfterValidator(check), WithJsonSchema(schema)


def _int_or_string(
    check: Callable[[str | int], object], rule: str, message: str, max_length: int
) -> tuple[BeforeValidator, WithJsonSchema]:
    """Build the Python check and the schema of a value that Kubernetes reads as a whole number or as text."""

    def validate(value: Any) -> str | int:
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise ValueError(message)
        try:
            check(value)
        except ValueError:
            raise ValueError(message) from None
        return value

    schema = {
        "x-kubernetes-int-or-string": True,
        "maxLength": max_length,
        "x-kubernetes-validations": [{"rule": rule, "message": message}],
    }
    return BeforeValidator(validate), WithJsonSchema(schema)


def _check_quantity(value: str | int) -> None:
    if quantity(value) < 0:
        raise ValueError(QUANTITY_MESSAGE)


def _check_size(value: str | int) -> None:
    if quantity(value) < _MEBIBYTE:
        raise ValueError(SIZE_MESSAGE)


def _check_text_size(value: str | int) -> None:
    if not _KIBIBYTE <= quantity(value) <= 16 * _MEBIBYTE:
        raise ValueError(TEXT_SIZE_MESSAGE)


def _check_amount(value: str | int) -> None:
    if (isinstance(value, int) and value < 0) or (isinstance(value, str) and not re.fullmatch(_PERCENT, value)):
        raise ValueError(AMOUNT_MESSAGE)


def _server_url(*schemes: str, example: str) -> tuple[AfterValidator, WithJsonSchema]:
    """Build the Python check and the schema of a server's URL without a password, whose place is a Secret."""
    message = f"must be a URL such as {example}, without a user or password: for one with them, use urlFrom"
    return _text(f"^({'|'.join(schemes)})://[^/?#@ ]+(/[^# @]*)?$", message, 2048)


Timeout = Annotated[str, *_duration("1h")]
Lag = Annotated[str, *_duration("1m")]
Window = Annotated[str, *_duration("24h")]
TimeToLive = Annotated[str, *_duration("720h")]
Host = Annotated[
    str,
    *_text(
        f"^([*][.])?{_DNS_LABEL}([.]{_DNS_LABEL})*$",
        "must be a DNS name in lower case without scheme, port or path, such as assistant.example.com",
        253,
    ),
]
URL = Annotated[
    str,
    *_text(
        "^https?://[^/?#@ ]+(/[^?# ]*)?$",
        "must be an http or https URL without user, query or fragment, such as https://api.openai.com/v1",
        2048,
    ),
]
Origin = Annotated[
    str,
    *_text(
        "^([*]|null|[a-z][-+.a-z0-9]*://[^/?#@A-Z ]+)$",
        "must be an origin as browsers send it, in lower case and without a slash at its end, such as "
        "https://chat.example.com",
        253,
    ),
]
RedisURL = Annotated[str, *_server_url("redis", "rediss", example="redis://redis.example.com:6379/0")]
MongoDBURL = Annotated[
    str, *_server_url("mongodb", "mongodb[+]srv", example="mongodb://mongodb.example.com:27017/ai_assistant")
]
PostgreSQLURL = Annotated[
    str, *_server_url("postgresql", "postgres", example="postgresql://postgresql.example.com:5432/ai_assistant")
]
Repository = Annotated[
    str,
    *_text(
        "^([^/:@ ]+(:[0-9]+)?/)?([^/:@ ]+/)*[^/:@ ]+$",
        "must be an image's name without tag and digest, such as registry.example.com:5000/team/redis",
        512,
    ),
]
Tag = Annotated[
    str, *_text("^[A-Za-z0-9_][-A-Za-z0-9_.]*$", "must be an image's tag alone, such as 7.4.11-alpine", 128)
]
ObjectName = Annotated[
    str,
    *_text(
        "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?$",
        "must be an object's name: lower-case letters, digits, dashes and dots, such as provider-key",
        253,
    ),
]
SecretKey = Annotated[
    str,
    *_text("^[-._a-zA-Z0-9]+$", "must be a key of that Secret's data, such as api-key", 253),
]
ProviderName = Annotated[
    str,
    *_text(
        "^[a-z]([-a-z0-9]*[a-z0-9])?$",
        "must begin with a letter and hold only lower-case letters, digits and dashes, such as openai",
        32,
    ),
]
ApiVersion = Annotated[
    str,
    *_text(
        "^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/v[0-9]+((alpha|beta)[0-9]+)?$",
        "must be an API group and a version, such as postgresql.cnpg.io/v1",
        253,
    ),
]
Kind = Annotated[str, *_text("^[A-Z][A-Za-z0-9]*$", "must be a kind as the API writes it, such as Cluster", 63)]
Quantity = Annotated[
    str | int,
    *_int_or_string(
        _check_quantity,
        "type(self) == int ? self >= 0 : isQuantity(self) && sign(quantity(self)) >= 0",
        QUANTITY_MESSAGE,
        32,
    ),
]
Size = Annotated[
    str | int,
    *_int_or_string(
        _check_size,
        f"type(self) == int ? self >= {_MEBIBYTE} : isQuantity(self) && quantity(self).compareTo(quantity('1Mi')) >= 0",
        SIZE_MESSAGE,
        32,
    ),
]
TextSize = Annotated[
    str | int,
    *_int_or_string(
        _check_text_size,
        f"type(self) == int ? self >= {_KIBIBYTE} && self <= {16 * _MEBIBYTE} : isQuantity(self) && "
        "quantity(self).compareTo(quantity('1Ki')) >= 0 && quantity(self).compareTo(quantity('16Mi')) <= 0",
        TEXT_SIZE_MESSAGE,
        32,
    ),
]
Amount = Annotated[
    int | str,
    *_int_or_string(_check_amount, f"type(self) == int ? self >= 0 : self.matches('{_PERCENT}')", AMOUNT_MESSAGE, 4),
]

LabelValue = Annotated[str, Field(max_length=63, pattern="^(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?$")]
"""Value of a label."""
AnnotationValue = Annotated[str, Field(max_length=4096)]
"""Value of an annotation."""
