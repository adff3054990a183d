"""Real nodes: pods that run, names and Services between nodes, volumes, and nothing left when they are taken down."""

import json
import os
import subprocess
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from devcluster import archive, blocks, cgroups, cluster, components, images, namespaces, network, node, process, state
from devcluster.addons import FIXED_STORAGE_CLASS
from devcluster.cluster import Cluster
from devcluster.process import Process
from devcluster.progress import Terminal
from tests.devcluster.support import eventually, kubectl, processes

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

NAMESPACE = "strict"
PORT = 8080


@pytest.fixture(scope="module")
def image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An archive of an image that has Python."""
    folder = tmp_path_factory.mktemp("image")
    (folder / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\n")
    return images.build("localhost/devcluster-test:1", folder / "Dockerfile", folder, progress=Terminal())


@pytest.fixture(scope="module")
def two_nodes(image: Path) -> Iterator[Cluster]:
    """Two nodes, with a web server on each that serves its volume, in a namespace with restricted pod security."""
    up = cluster.up(f"t{os.getpid()}-nodes", nodes=2)
    try:
        up.load(image)
        kubectl(up, "create", "namespace", NAMESPACE)
        kubectl(up, "label", "namespace", NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")
        kubectl(up, "apply", "-f", "-", text=yaml.safe_dump_all(web_servers()))
        kubectl(up, "-n", NAMESPACE, "rollout", "status", "statefulset/web", "--timeout=120s")
        yield up
    finally:
        up.down()


def web_servers() -> list[dict[str, Any]]:
    """Two pods that can't be on one node, a Service for both and a headless one for each."""
    labels = {"app": "web"}
    apart = {"labelSelector": {"matchLabels": labels}, "topologyKey": "kubernetes.io/hostname"}
    serve = f"hostname > /data/name; exec python3 -m http.server {PORT} --directory /data"
    container = {
        "name": "web",
        "image": "localhost/devcluster-test:1",
        "command": ["sh", "-c", serve],
        "ports": [{"containerPort": PORT}],
        "readinessProbe": {"httpGet": {"path": "/name", "port": PORT}, "periodSeconds": 1},
        "resources": {"limits": {"cpu": "500m", "memory": "64Mi"}},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "capabilities": {"drop": ["ALL"]},
            "readOnlyRootFilesystem": True,
        },
        "volumeMounts": [{"name": "data", "mountPath": "/data"}, {"name": "fixed", "mountPath": "/fixed"}],
    }
    pod = {
        "affinity": {"podAntiAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": [apart]}},
        "containers": [container],
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": 10001,
            "fsGroup": 10001,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
        "terminationGracePeriodSeconds": 0,
    }
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Mi"}}}
    claims = [
        {"metadata": {"name": "data"}, "spec": claim},
        {"metadata": {"name": "fixed"}, "spec": {**claim, "storageClassName": FIXED_STORAGE_CLASS}},
    ]
    stateful_set = {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "web", "namespace": NAMESPACE},
        "spec": {
            "serviceName": "each",
            "replicas": 2,
            "podManagementPolicy": "Parallel",
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
            "volumeClaimTemplates": claims,
        },
    }
    return [stateful_set, service("web", labels), service("each", labels, clusterIP="None")]


def service(name: str, labels: dict[str, str], **spec: str) -> dict[str, Any]:
    ports = [{"port": 80, "targetPort": PORT}]
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": name, "namespace": NAMESPACE},
        "spec": {"selector": labels, "ports": ports, **spec},
    }


def run_in(target: Cluster, pod: str, *command: str) -> str:
    return kubectl(target, "-n", NAMESPACE, "exec", pod, "--", *command)


def fetch(url: str) -> str:
    """Return what a server answers to this machine."""
    with urllib.request.urlopen(url, timeout=10) as answer:
        return str(answer.read().decode().strip())


def get(target: Cluster, *what: str) -> Any:
    return json.loads(kubectl(target, "-n", NAMESPACE, "get", *what, "-o", "json"))


def test_pods_with_a_restricted_security_context_are_ready_on_both_nodes(two_nodes: Cluster) -> None:
    pods = get(two_nodes, "pods", "-l", "app=web")["items"]
    assert {pod["spec"]["nodeName"] for pod in pods} == {"node-0", "node-1"}
    status = run_in(two_nodes, "web-0", "cat", "/proc/1/status")
    assert "Seccomp:\t2" in status
    assert "Uid:\t10001" in status


def test_a_claim_is_bound_and_written_by_a_user_that_is_not_root(two_nodes: Cluster) -> None:
    claim = get(two_nodes, "pvc", "data-web-0")
    assert claim["status"]["phase"] == "Bound"
    assert run_in(two_nodes, "web-0", "cat", "/data/name") == "web-0\n"


def test_a_volume_outlives_its_pod(two_nodes: Cluster) -> None:
    run_in(two_nodes, "web-1", "sh", "-c", "echo kept > /data/kept")
    kubectl(two_nodes, "-n", NAMESPACE, "delete", "pod", "web-1")
    kubectl(two_nodes, "-n", NAMESPACE, "wait", "--for=condition=Ready", "pod/web-1", "--timeout=120s")
    assert run_in(two_nodes, "web-1", "cat", "/data/kept") == "kept\n"


def ask_for_more(target: Cluster, claim: str) -> str:
    patch = '{"spec":{"resources":{"requests":{"storage":"2Mi"}}}}'
    return kubectl(target, "-n", NAMESPACE, "patch", "pvc", claim, f"--patch={patch}", check=False)


def test_a_volume_grows_under_its_pod(two_nodes: Cluster) -> None:
    pod = get(two_nodes, "pod", "web-0")["metadata"]["uid"]
    ask_for_more(two_nodes, "data-web-0")
    eventually(
        lambda: get(two_nodes, "pvc", "data-web-0")["status"]["capacity"]["storage"] == "2Mi",
        "a claim that has what it asks for",
    )
    volume = get(two_nodes, "pv", get(two_nodes, "pvc", "data-web-0")["spec"]["volumeName"])
    assert volume["spec"]["capacity"]["storage"] == "2Mi"
    assert get(two_nodes, "pod", "web-0")["metadata"]["uid"] == pod
    assert run_in(two_nodes, "web-0", "cat", "/data/name") == "web-0\n"


def test_a_volume_of_a_class_that_does_not_let_it_stays_as_it_is(two_nodes: Cluster) -> None:
    assert "the storageclass that provisions the pvc must support resize" in ask_for_more(two_nodes, "fixed-web-0")


def test_names_of_services_and_pods_resolve_and_others_are_unknown_at_once(two_nodes: Cluster) -> None:
    address = get(two_nodes, "service", "web")["spec"]["clusterIP"]
    assert address in run_in(two_nodes, "web-0", "getent", "hosts", "web")
    assert run_in(two_nodes, "web-0", "getent", "hosts", "web-1.each").split()[0].startswith("198.")
    assert "kubernetes" in run_in(two_nodes, "web-0", "getent", "hosts", "kubernetes.default")
    unknown = "getent hosts name.example || echo unknown"
    assert run_in(two_nodes, "web-0", "sh", "-c", unknown) == "unknown\n"


def test_a_service_reaches_pods_on_both_nodes_from_each_of_them(two_nodes: Cluster) -> None:
    ask = "import urllib.request as r; print(*{r.urlopen('http://web/name').read() for _ in range(40)})"
    for pod in ("web-0", "web-1"):
        answers = run_in(two_nodes, pod, "python3", "-c", ask)
        assert "web-0" in answers
        assert "web-1" in answers


def test_this_machine_reaches_services_and_pods(two_nodes: Cluster) -> None:
    address = get(two_nodes, "service", "web")["spec"]["clusterIP"]
    assert {fetch(f"http://{address}/name") for _ in range(40)} == {"web-0", "web-1"}
    for pod in get(two_nodes, "pods", "-l", "app=web")["items"]:
        assert fetch(f"http://{pod['status']['podIP']}:{PORT}/name") == pod["metadata"]["name"]


def test_a_pod_reaches_the_api_server_with_its_service_account(two_nodes: Cluster) -> None:
    ask = (
        "import ssl, urllib.request as r; d = '/var/run/secrets/kubernetes.io/serviceaccount/';"
        "h = {'Authorization': 'Bearer ' + open(d + 'token').read()};"
        "u = r.Request('https://kubernetes.default/version', headers=h);"
        "print(r.urlopen(u, context=ssl.create_default_context(cafile=d + 'ca.crt')).status)"
    )
    assert run_in(two_nodes, "web-0", "python3", "-c", ask) == "200\n"


def test_logs_of_a_pod_are_read(two_nodes: Cluster) -> None:
    fetch_log = ["-n", NAMESPACE, "logs", "web-0"]
    eventually(lambda: "GET /name" in kubectl(two_nodes, *fetch_log), "a line in the log")


def test_nothing_leaves_the_cluster(two_nodes: Cluster) -> None:
    connect = (
        "import socket; s = socket.socket(); s.settimeout(5); "
        "print(s.connect_ex(('192.0.2.1', 80)))"  # an address for documentation, which nobody has
    )
    assert int(run_in(two_nodes, "web-0", "python3", "-c", connect)) != 0
    record = state.read(two_nodes.name)
    assert record is not None
    inside = namespaces.find(state.files(two_nodes.name), "node-0")
    assert inside is not None
    assert "default" not in inside.run(["net"], ["ip", "route"])


def test_images_that_a_node_has_are_not_loaded_again(two_nodes: Cluster, image: Path, tmp_path: Path) -> None:
    files = state.files(two_nodes.name)
    assert not node.load(files, "node-0", image)
    program = tmp_path / "changed"
    program.write_bytes(b"another program")
    [loaded] = archive.images(image)
    archive.write_pause(program, "localhost/devcluster-test:2", tmp_path / "other.tar")
    assert node.load(files, "node-0", tmp_path / "other.tar")
    # A tag that now stands for another image is loaded again although the image itself is there.
    archive.write_pause(program, loaded.tags[0], tmp_path / "same-tag.tar")
    assert node.load(files, "node-0", tmp_path / "same-tag.tar")
    assert node.load(files, "node-0", image)


def test_a_restarted_kubelet_leaves_pods_running(two_nodes: Cluster) -> None:
    pod = get(two_nodes, "pod", "web-0")
    worker, address = pod["spec"]["nodeName"], pod["status"]["hostIP"]
    files = state.files(two_nodes.name)
    wrapper = files.process(f"{worker}-kubelet")
    assert wrapper is not None
    kubelet = process.only_child(wrapper)
    assert kubelet is not None
    assert process.kill(kubelet)
    namespaces.start(files, components.kubelet(worker, address))
    ask = ["-n", NAMESPACE, "exec", "web-0", "--", "cat", "/data/name"]
    eventually(lambda: kubectl(two_nodes, *ask, check=False) == "web-0\n", "the kubelet")
    same = get(two_nodes, "pod", "web-0")["status"]["containerStatuses"][0]
    assert same["containerID"] == pod["status"]["containerStatuses"][0]["containerID"]
    assert same["restartCount"] == 0


def everything_in(name: str) -> set[Process]:
    """Return every process in the process namespaces of a cluster's nodes, those of containers too."""
    record, files = state.read(name), state.files(name)
    assert record is not None
    held = [namespaces.find(files, worker) for worker in record.nodes]
    inside = {Path(f"/proc/{each.init.pid}/ns/pid").readlink() for each in held if each is not None}
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if (folder / "ns" / "pid").readlink() in inside:
                found.add(process.parse_stat((folder / "stat").read_text())[0])
        except OSError:
            continue
    return found | set(processes(name))


def interfaces() -> str:
    return subprocess.run(["ip", "-brief", "link"], check=True, capture_output=True, text=True).stdout


def run_pause_pod(target: Cluster) -> None:
    kubectl(target, "run", "p", "--image=localhost/devcluster-pause:1", "--image-pull-policy=Never")
    kubectl(target, "wait", "--for=condition=Ready", "pod/p", "--timeout=120s")


def test_down_leaves_no_process_mount_interface_cgroup_or_file(names: Callable[[], str]) -> None:
    name = names()
    up = cluster.up(name)
    run_pause_pod(up)
    files, record = state.files(name), state.read(name)
    assert record is not None
    running, cgroup = everything_in(name), cgroups.path(record.plan.index, "")
    assert len(running) > len(files.components()) + 2  # the shim and both containers of the pod
    assert network.interface(record.plan) in interfaces()
    up.down()
    assert not [each for each in running if process.is_alive(each)]
    assert str(files.folder) not in Path("/proc/self/mountinfo").read_text()
    assert network.interface(record.plan) not in interfaces()
    assert not [root for root in cgroups.hierarchies() if (root / cgroup.lstrip("/")).exists()]
    assert blocks.held_by(files.folder) == []
    assert not files.folder.exists()


def test_nodes_come_up_again_after_everything_was_killed(names: Callable[[], str]) -> None:
    name = names()
    run_pause_pod(cluster.up(name))
    before = everything_in(name)
    for each in before:
        process.kill(each)
    assert cluster.get(name) is None
    again = cluster.up(name)
    assert not [each for each in before if process.is_alive(each)]
    run_pause_pod(again)


def test_a_node_has_the_kernel_settings_that_a_kubelet_wants_without_setting_those_of_this_machine(
    two_nodes: Cluster,
) -> None:
    inside = namespaces.find(state.files(two_nodes.name), "node-0")
    assert inside is not None
    mounts = Path(f"/proc/{inside.init.pid}/mounts").read_text()
    for setting, value in node.KERNEL_SETTINGS.items():
        assert f" /proc/sys/{setting} " in mounts
        assert int(inside.run(["mount"], ["cat", f"/proc/sys/{setting}"])) == value
