"""The API group and every label and annotation key.

The `app.kubernetes.io` keys are Kubernetes' recommended labels:
https://kubernetes.io/docs/concepts/overview/working-with-objects/common-labels/
"""

GROUP = "aiassistant.dev"
VERSION = "v1alpha1"
API_VERSION = f"{GROUP}/{VERSION}"
KIND = "AIAssistant"
PLURAL = "aiassistants"

NAME = "app.kubernetes.io/name"
INSTANCE = "app.kubernetes.io/instance"
COMPONENT = "app.kubernetes.io/component"
PART_OF = "app.kubernetes.io/part-of"
MANAGED_BY = "app.kubernetes.io/managed-by"

JOB = "batch.kubernetes.io/job-name"
"""Label that Kubernetes puts on the pods of a Job."""

REVISION = "controller-revision-hash"
"""Label that Kubernetes puts on the pods of a StatefulSet: which template they were made from."""

MANAGER = "assistant-operator"
"""Value of `managed-by`, the field manager of every apply, and the reporting controller of events."""

APPLIED_HASH = f"{GROUP}/applied-hash"
"""Annotation: hash of the object as last applied; what makes a no-op recognisable after an operator restart."""

CONFIG_HASH = f"{GROUP}/config-hash"
"""Pod template annotation: hash of the Secrets and ConfigMaps that the pod reads, so that a change rolls it."""

KEPT = {
    "argocd.argoproj.io/sync-options": "Prune=false,Delete=false",
    "argocd.argoproj.io/compare-options": "IgnoreExtraneous",
}
"""Annotations of what outlives the AIAssistant.

Argo CD takes an object whose instance label is the name of an Application for that Application's, and would delete one
that has no owner and is not in its repository.
"""

VOLUME_SIZES = f"{GROUP}/volume-sizes"
"""Annotation of a StatefulSet whose volumes grew: their sizes as asked for last, by claim template, as JSON."""


def selector(assistant: str, component: str) -> dict[str, str]:
    """Labels that pick a component's pods. They never change: selectors are immutable."""
    return {NAME: component, INSTANCE: assistant}


def template(assistant: str, component: str) -> dict[str, str]:
    """Labels of the pods and volume claims of a component.

    They are the same in every version of the operator: another label in a pod's template restarts every pod of every
    assistant, and one in a claim's template is never taken by Kubernetes. What is new goes into `standard`.
    """
    return {
        **selector(assistant, component),
        COMPONENT: component,
        PART_OF: "ai-assistant",
        MANAGED_BY: MANAGER,
    }


def standard(assistant: str, component: str) -> dict[str, str]:
    """Labels of every object of a component."""
    return template(assistant, component)


OPERATOR_VERSION = f"{GROUP}/operator-version"
"""Annotation of the operator's Lease: version of its holder."""

CANDIDATE_VERSION = f"{GROUP}/candidate-version"
"""Annotation of the operator's Lease: version of an operator that is newer than the holder, and waits for it."""
