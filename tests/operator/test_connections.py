"""Every place that a rendered pod is given the address of has a Connection, so that a network policy can allow it."""

import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from hypothesis import given

from assistant_operator import desired, labels
from assistant_operator.rooms.connection import Connection, to_url
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant
from tests.operator.assistants import facts
from tests.operator.strategies import ASSISTANTS

NAMESPACE = "ns"
URL = re.compile(r"[a-z][a-z0-9+]*://[^\s\"',]+")


def _containers(rendered: list[Object]) -> Iterator[tuple[str, Object]]:
    """Yield each container with the label value of its pods."""
    for found in rendered:
        if template := found.get("spec", {}).get("template"):
            for container in template["spec"]["containers"]:
                yield template["metadata"]["labels"][labels.NAME], container


def _services(rendered: list[Object]) -> dict[str, str]:
    """Return the part behind each Service, by the Service's name."""
    services = (found for found in rendered if found["kind"] == "Service")
    return {found["metadata"]["name"]: found["spec"]["selector"][labels.NAME] for found in services}


def _parts_of_secrets(assistant: AIAssistant) -> dict[str, str]:
    """Return the part whose address a generated Secret has, by the Secret's name."""
    return {credential.name: credential.component for credential in desired.credentials(assistant)}


def _covers(connection: Connection, host: str, services: dict[str, str]) -> bool:
    part = services.get(host.removesuffix(f".{NAMESPACE}.svc"))
    return connection.part == part if part else connection.host == host


def _names(connection: Connection, secret: Object) -> bool:
    named = connection.secret
    return named is not None and (named.name, named.key) == (secret["name"], secret["key"])


def _uncovered(assistant: AIAssistant, known: Facts) -> Iterator[tuple[str, str]]:
    """Yield part and address of what is called without a Connection."""
    rendered = desired.desired(assistant, known).objects
    services, secrets = _services(rendered), _parts_of_secrets(assistant)
    declared = desired.connections(assistant, known)
    for part, container in _containers(rendered):
        own = [connection for connection in declared if connection.source == part]
        for variable in container["env"]:
            for url in URL.findall(variable.get("value", "")):
                host = urlsplit(url).hostname or ""
                if not any(_covers(connection, host, services) for connection in own):
                    yield part, url
            secret = variable.get("valueFrom", {}).get("secretKeyRef")
            if secret and variable["name"].endswith("_URL"):
                target = secrets.get(secret["name"])
                if not any(c.part == target if target else _names(c, secret) for c in own):
                    yield part, f"{variable['name']} of {secret['name']}"


@given(ASSISTANTS)
def test_every_url_of_the_environment_has_a_connection(assistant: AIAssistant) -> None:
    assert list(_uncovered(assistant, facts(assistant))) == []


@given(ASSISTANTS)
def test_every_connection_begins_and_ends_at_pods_that_are_rendered(assistant: AIAssistant) -> None:
    known = facts(assistant)
    parts = dict(_containers(desired.desired(assistant, known).objects))
    for connection in desired.connections(assistant, known):
        # A Job is there only once all of its servers are.
        assert connection.source.removesuffix("-setup") in parts
        assert sum(bool(end) for end in (connection.part, connection.host, connection.secret)) == 1
        if connection.part:
            ports = [port["containerPort"] for port in parts[connection.part]["ports"]]
            assert connection.port in ports


def test_an_address_of_several_hosts_is_a_connection_to_each() -> None:
    found = to_url("runtime", "mongodb://one.example.com:27018,two.example.com/db?replicaSet=rs0")
    assert [(way.host, way.port) for way in found] == [("one.example.com", 27018), ("two.example.com", 27017)]


def test_a_user_of_an_address_is_no_part_of_its_host() -> None:
    (found,) = to_url("runtime", "https://user:pass@api.example.com/v1")
    assert (found.host, found.port) == ("api.example.com", 443)
