"""Labels and annotations that a cluster's policies ask for reach every object and every pod."""

from assistant_operator import desired
from tests.operator.assistants import assistant, facts
from tests.operator.test_reconcile import Bench

LABELS = {"team": "search"}
ANNOTATIONS = {"example.com/owner": "search@example.com"}


def test_they_are_on_every_object_and_in_every_pod_template() -> None:
    ingress = {"enabled": True, "host": "assistant.example.com", "annotations": {"example.com/mine": "too"}}
    found = assistant(commonLabels=LABELS, commonAnnotations=ANNOTATIONS, ui={"enabled": True}, ingress=ingress)
    objects = desired.desired(found, facts(found)).objects
    assert "Ingress" in {body["kind"] for body in objects}
    for body in objects:
        template = body.get("spec", {}).get("template") or body
        for metadata in (body["metadata"], template["metadata"]):
            assert metadata["labels"].items() >= LABELS.items()
            assert metadata["annotations"].items() >= ANNOTATIONS.items()


def test_selectors_and_claims_stay_as_they_are_for_they_can_not_change() -> None:
    plain, dressed = assistant(), assistant(commonLabels=LABELS)
    before, after = (desired.desired(found, facts(found)).objects for found in (plain, dressed))
    for old, new in zip(before, after, strict=True):
        for field in ("selector", "volumeClaimTemplates"):
            assert new.get("spec", {}).get(field) == old.get("spec", {}).get(field)


async def test_they_are_on_generated_secrets() -> None:
    bench = Bench(commonLabels=LABELS, commonAnnotations=ANNOTATIONS)
    await bench.reconcile()
    secrets = [body["metadata"] for body in bench.client.objects.values() if body["kind"] == "Secret"]
    assert len(secrets) == 6
    for metadata in secrets:
        assert metadata["labels"].items() >= LABELS.items()
        assert metadata["annotations"].items() >= ANNOTATIONS.items()
