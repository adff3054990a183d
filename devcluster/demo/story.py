"""What the demo does, in order: read this first.

A cluster, images, the operator by its chart, a model server and an AIAssistant from the samples, with nothing added but
the demo's label; then it watches the assistant come up and asks it a question through its Service, from a pod, as an
application would.
Every step may find its work done already, and then says so: running it again repairs or updates what is there.
"""

import time
from pathlib import Path
from typing import Any

import yaml
from rich.console import Console

from devcluster.demo import ownership, question
from devcluster.demo.checklist import Checklist
from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.recipes import CHART, LOCAL, ROOT, References
from devcluster.demo.targets import DEFINITION, DEMO_LABEL, DEMO_SELECTOR, NAMESPACE, RELEASE, SYSTEM_NAMESPACE, Target
from devcluster.demo.waiting import wait_for_assistant, wait_for_deployment

SAMPLES = ROOT / "manifests" / "samples"
MINIMAL = SAMPLES / "minimal.yaml"
MODEL_SERVER = SAMPLES / "model-server.yaml"

QUESTION = "In one sentence, why is the sky blue?"


def up(target: Target, console: Console) -> None:
    """Bring the demo up on a target, ask its question, and say where to look next.

    Raises
    ------
    DevclusterError
        A step failed; with what is known about why, and what to do.
    """
    started = time.monotonic()
    with Checklist(console) as checklist:
        kubernetes = target.start(checklist)
        ownership.refuse_what_is_the_users(kubernetes, [*_documents(MINIMAL), *_documents(MODEL_SERVER)])
        references = target.deliver(checklist)
        _install_operator(kubernetes, references, checklist)
        _start_model_server(kubernetes, references, checklist)
        name = _create_assistant(kubernetes, checklist)
    question.ask(kubernetes, NAMESPACE, name, QUESTION, image=references.runtime, console=console)
    console.print()
    console.print(kubernetes.kubectl("--namespace", NAMESPACE, "get", "aia"), end="", markup=False)
    console.print(_next_steps(kubernetes, target, name, time.monotonic() - started), markup=False)


def _documents(manifest: Path) -> list[dict[str, Any]]:
    return list(yaml.safe_load_all(manifest.read_text()))


def _install_operator(kubernetes: Kubernetes, references: References, checklist: Checklist) -> None:
    with checklist.step("Operator (helm upgrade --install)"):
        _ensure_namespace(kubernetes, SYSTEM_NAMESPACE)
        _clear_interrupted_release(kubernetes, checklist)
        repository, _, tag = references.operator.rpartition(":")
        values = {"image.repository": repository, "image.tag": tag, "defaultImages.runtime": references.runtime}
        values |= {f"defaultImages.{name}": reference for name, reference in references.servers.items()}
        settings = [f"--set-string={key}={value}" for key, value in values.items()]
        where = ["--namespace", SYSTEM_NAMESPACE]
        kubernetes.helm("upgrade", "--install", RELEASE, str(CHART), "--labels", DEMO_SELECTOR, *where, *settings)
        wait_for_deployment(kubernetes, SYSTEM_NAMESPACE, RELEASE, checklist)


def _clear_interrupted_release(kubernetes: Kubernetes, checklist: Checklist) -> None:
    """Remove a release that was interrupted in the middle: helm refuses to touch it. Its assistants stay."""
    pending = kubernetes.helm("list", "--namespace", SYSTEM_NAMESPACE, "--pending", "--short")
    if RELEASE in pending.split():
        checklist.note("an earlier installation was interrupted: installing anew")
        kubernetes.helm("uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--wait")


def _start_model_server(kubernetes: Kubernetes, references: References, checklist: Checklist) -> None:
    with checklist.step("Model server (a real, very small language model)"):
        _ensure_namespace(kubernetes, NAMESPACE)
        local = f"{LOCAL}/model-server:{references.model_server.rpartition(':')[2]}"
        manifest = MODEL_SERVER.read_text().replace(local, references.model_server)
        kubernetes.apply(*map(ownership.mark, yaml.safe_load_all(manifest)), namespace=NAMESPACE)
        wait_for_deployment(kubernetes, NAMESPACE, "model-server", checklist)


def _create_assistant(kubernetes: Kubernetes, checklist: Checklist) -> str:
    """Apply the minimal sample with the demo's label, and wait until it is Ready; return its name."""
    (resource,) = _documents(MINIMAL)
    name = str(resource["metadata"]["name"])
    with checklist.step(f"AIAssistant {name} (kubectl apply -f {MINIMAL.relative_to(ROOT)})"):
        before = _generation(kubernetes, name)
        kubernetes.apply(ownership.mark(resource), namespace=NAMESPACE)
        after = _generation(kubernetes, name)
        checklist.note("created" if not before else "already there" if before == after else "updated")
        wait_for_assistant(kubernetes, NAMESPACE, name, checklist)
    return name


def _generation(kubernetes: Kubernetes, name: str) -> int:
    """Return the generation of the assistant's spec, 0 when there is none.

    What `kubectl apply` prints is no answer: it says "configured" whenever a default was added to a list's entry.
    """
    found = kubernetes.get(DEFINITION, name, "--namespace", NAMESPACE)
    return int(found["metadata"]["generation"]) if found else 0


def _ensure_namespace(kubernetes: Kubernetes, name: str) -> None:
    """Make a namespace that only takes restricted pods; one that is there already is the user's and stays as it is."""
    if kubernetes.get("namespace", name):
        return
    labels = {"pod-security.kubernetes.io/enforce": "restricted", DEMO_LABEL: "true"}
    kubernetes.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": name, "labels": labels}})


def _next_steps(kubernetes: Kubernetes, target: Target, name: str, seconds: float) -> str:
    return f"""
The demo took {seconds:.0f} s. Where to look next:
  {kubernetes.shell_setup}
  kubectl -n {NAMESPACE} get aia,pods,services
  kubectl -n {NAMESPACE} describe aia {name}
  kubectl -n {NAMESPACE} logs -f -l app.kubernetes.io/instance={name},app.kubernetes.io/name=runtime --prefix
  kubectl -n {SYSTEM_NAMESPACE} logs -f deployment/{RELEASE}

Ask it something yourself:
  kubectl -n {NAMESPACE} port-forward service/{name} 8000:80 &
  KEY=$(kubectl -n {NAMESPACE} get secret {name}-api-keys -o jsonpath='{{.data.api-key}}' | base64 -d)
  curl http://localhost:8000/v1/chat/completions -H "Authorization: Bearer $KEY" \\
    -H 'Content-Type: application/json' -d '{{"messages": [{{"role": "user", "content": "What is gravity?"}}]}}'

Change it (kubectl -n {NAMESPACE} edit aia {name}; kubectl explain aia.spec), or take it all down:
  {target.down_command}"""
