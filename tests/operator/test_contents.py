"""What the user's Secrets and ConfigMaps hold rolls the pods that read it, whichever field of the spec names them."""

from dataclasses import replace
from pathlib import Path

import pytest
import yaml

from assistant_operator import desired
from assistant_operator.rooms.facts import ContentFacts, Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.reference import Reference
from assistant_operator.spec.parsing import parse
from tests.operator.assistants import FACTS, resource
from tests.operator.test_reconcile import Bench

AUTHORITIES = Path(__file__).parent / "golden/runtime/authorities.input.yaml"
"""Every server elsewhere, each with certificates of its own, of a Secret or of a ConfigMap."""

ASSISTANT = parse({**resource(), "spec": yaml.safe_load(AUTHORITIES.read_text())["spec"]})
REFERENCES = desired.references(ASSISTANT, FACTS)
PROVIDERS = {
    "items": [
        {
            "name": "local",
            "baseURL": "https://model.example.com/v1",
            "model": "m",
            "caFrom": {"name": "bundle", "kind": "ConfigMap"},
        }
    ]
}


def config_hash(objects: list[Object]) -> str:
    runtime = next(o for o in objects if (o["kind"], o["metadata"]["name"]) == ("Deployment", "demo-runtime"))
    return str(runtime["spec"]["template"]["metadata"]["annotations"]["aiassistant.dev/config-hash"])


def knowing(reference: Reference, digest: str) -> Facts:
    """FACTS with one key of the object that a reference names."""
    named = reference.named
    contents = {named.name: ContentFacts({named.key: digest})}
    if named.source == "ConfigMap":
        return replace(FACTS, config_maps=contents)
    return replace(FACTS, secrets=contents)


def config_map(name: str, **data: str) -> Object:
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data}


@pytest.mark.parametrize("reference", REFERENCES, ids=lambda reference: reference.field)
def test_a_change_of_whatever_is_named_rolls_the_runtime(reference: Reference) -> None:
    hashes = [config_hash(desired.desired(ASSISTANT, knowing(reference, digest)).objects) for digest in ("one", "two")]
    assert hashes[0] != hashes[1]


def test_every_server_elsewhere_is_among_them() -> None:
    servers = {f"{component.block}.external" for component in desired.COMPONENTS if component.block != "spec"}
    servers -= {"spec.ui.external"}
    servers |= {"spec.providers.items[0]", "spec.providers.items[1]", "spec.security.oidc", "spec.tracing"}
    servers |= {"spec.tools.mcpServers[0]", "spec.tools.mcpServers[1]"}
    authorities = {reference.field for reference in REFERENCES if reference.field.endswith(".caFrom")}
    assert authorities == {f"{server}.caFrom" for server in servers}


def test_a_secret_and_a_config_map_of_one_name_are_two() -> None:
    secret, config_map = (
        next(reference for reference in REFERENCES if reference.named.source == source)
        for source in ("Secret", "ConfigMap")
    )
    same = replace(config_map, named=config_map.named.model_copy(update={"name": secret.named.name}))
    assert FACTS.config_hash([secret.named]) != FACTS.config_hash([same.named])


async def test_a_missing_config_map_is_told_with_the_command_that_makes_it() -> None:
    bench = Bench(providers=PROVIDERS)
    await bench.reconcile()
    ready = bench.condition("Ready")
    assert ready["reason"] == "ConfigMapNotFound"
    assert ready["message"] == (
        "spec.providers.items[0].caFrom: there is no ConfigMap bundle in namespace default. Create it with: "
        "kubectl -n default create configmap bundle --from-file=ca.crt=FILE"
    )
    bench.place_config_map(config_map("bundle", other="certificate"))
    await bench.reconcile()
    assert bench.condition("Ready")["reason"] == "ConfigMapKeyNotFound"
    assert (
        "ConfigMap bundle in namespace default has no key ca.crt, or nothing in it; it has other."
        in bench.condition("Ready")["message"]
    )


async def test_a_changed_config_map_rolls_the_pods_that_read_it_and_costs_one_read() -> None:
    bench = Bench(providers=PROVIDERS)
    bench.place_config_map(config_map("bundle", **{"ca.crt": "one"}))
    await bench.reconcile()
    before = config_hash([*bench.client.objects.values()])
    await bench.reconcile()
    assert bench.client.calls == []
    bench.place_config_map(config_map("bundle", **{"ca.crt": "two"}))
    await bench.reconcile()
    assert config_hash([*bench.client.objects.values()]) != before
    assert [call for call in bench.client.calls if call[0] in ("get", "apply")] == [
        ("get", "ConfigMap", "bundle"),
        ("apply", "Deployment", "demo-runtime"),
    ]
