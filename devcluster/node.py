"""Bring up one node: its namespaces, its own /run and /var, its container runtime, its kubelet and its kube-proxy.

With /run and /var of its own a node uses every program's default folders, as on a machine that it has to itself:
nodes don't meet, and this machine's own containers are out of sight.
"""

import subprocess
from pathlib import Path

from devcluster import archive, cgroups, components, config, namespaces, network, pki
from devcluster.api import wait
from devcluster.errors import DevclusterError
from devcluster.namespaces import Namespaces
from devcluster.state import Files, Record

PAUSE_PROGRAM = "pause"
RUNTIME_TIMEOUT_SECONDS = 30.0

CTR = ("ctr", "--namespace", "k8s.io")
"""containerd's own client, for the images that Kubernetes sees."""

KERNEL_SETTINGS = {
    "kernel/keys/root_maxbytes": 25000000,
    "kernel/keys/root_maxkeys": 1000000,
    "kernel/panic": 10,
    "kernel/panic_on_oops": 1,
    "vm/overcommit_memory": 1,
    "vm/panic_on_oom": 0,
}
"""What a kubelet sets on its machine when it starts. A node shows it files that say so, as this machine is not its
own to set."""

OWN_FOLDERS = """
folder=$1 name=$2 binaries=$3
mount -t tmpfs -o mode=0755 tmpfs "$folder/run"
mkdir "$folder/run/$name"
mount --bind "$folder" "$folder/run/$name"
mount --bind "$binaries" "$folder/run/$name/bin"
mount --bind "$folder/var" "$folder/run/$name/var"
mount --rbind "$folder/run" /run
mount --bind "/run/$name/var" /var
cd "/run/$name/sysctl"
for setting in */*/* */*; do
    [ ! -f "$setting" ] || mount --bind "$setting" "/proc/sys/$setting"
done
"""
"""Shell, with a node's folder, the name that it has in the node, and the folder of the programs as arguments."""


def name(number: int) -> str:
    """Return the name of a node, counted from 0."""
    return f"node-{number}"


def prepare(files: Files, record: Record, number: int) -> None:
    """Write everything that a node reads when it starts."""
    node, plan = name(number), record.plan
    folder = files.node(node)
    for sub in ("bin", "cni", "pki", "run", "var/lib", "var/log", "var/tmp"):
        (folder / sub).mkdir(parents=True, exist_ok=True)
    (folder / "var" / "run").symlink_to("/run")
    for setting, value in KERNEL_SETTINGS.items():
        shown = folder / "sysctl" / setting
        shown.parent.mkdir(parents=True, exist_ok=True)
        shown.write_text(f"{value}\n")
    for file in ("ca.crt", f"{node}.crt", f"{node}.key"):
        (folder / "pki" / file).write_bytes((files.pki / file).read_bytes())
    inside = config.NODE_FILES
    cgroup = cgroups.path(plan.index, node)
    texts = {
        "resolv.conf": f"nameserver {plan.dns_service}\n",
        "containerd.toml": config.containerd(),
        "cni/10-pods.conflist": config.pod_network(plan, number),
        "kubelet.yaml": config.kubelet(plan, number, name=node, cgroup=cgroup, pki=inside / "pki"),
        "kube-proxy.yaml": config.kube_proxy(plan, number, name=node, kubeconfig=inside / "kube-proxy.kubeconfig"),
        "kubelet.kubeconfig": _kubeconfig(files, record, node),
        "kube-proxy.kubeconfig": _kubeconfig(files, record, "kube-proxy"),
    }
    for path, text in texts.items():
        (folder / path).write_text(text)
    archive.write_pause(Path(record.binaries) / PAUSE_PROGRAM, config.PAUSE_IMAGE, folder / "pause.tar")


def isolate(files: Files, record: Record, number: int, switch: Namespaces) -> None:
    """Make the namespaces of a node, with its folders and its network."""
    node = name(number)
    pause = Path(record.binaries) / PAUSE_PROGRAM
    inside = namespaces.hold(files, node, pause, kinds=components.EVERYTHING)
    folders = [str(files.node(node)), config.NODE_FILES.name, record.binaries]
    inside.run(["mount"], ["/bin/sh", "-ec", OWN_FOLDERS, "sh", *folders])
    network.connect_node(record.plan, switch, inside, number, len(record.nodes))
    cgroups.make(cgroups.path(record.plan.index, node))


def start_runtime(files: Files, node: str) -> None:
    """Start the container runtime of a node; it needs no control plane."""
    namespaces.start(files, components.containerd(node))


def start_agents(files: Files, record: Record, number: int) -> None:
    """Start what joins a node to the cluster, when its runtime is up."""
    node = name(number)
    wait(
        lambda: _runtime_answers(files, node),
        what=f"the container runtime of {node}",
        files=files,
        components=[f"{node}-containerd"],
        timeout_seconds=RUNTIME_TIMEOUT_SECONDS,
    )
    load(files, node, files.node(node) / "pause.tar")
    namespaces.start(files, components.kubelet(node, str(record.plan.node(number))))
    namespaces.start(files, components.kube_proxy(node))


def load(files: Files, node: str, images: Path) -> bool:
    """Import an archive into a node.

    Returns
    -------
    bool
        False when the node had all its images already.
    """
    inside = namespaces.find(files, node)
    if inside is None:
        raise DevclusterError(f"{node} is not up")
    if _has_all(inside, images):
        return False
    # Given as standard input: the node may not see the folder that the archive is in.
    with images.open("rb") as stream:
        command = inside.enter(components.EVERYTHING, [*CTR, "images", "import", "-"])
        result = subprocess.run(
            command, stdin=stream, check=False, capture_output=True, text=True, env=namespaces.environment()
        )
    if result.returncode != 0:
        raise DevclusterError(f"{images} could not be loaded into {node}: {result.stderr.strip()}")
    return True


def _has_all(inside: Namespaces, images: Path) -> bool:
    """Tell whether every tag of an archive stands for the archive's image on a node.

    The runtime lists each image under its tags and under its identity: the digest beside both is then the same.
    """
    listing = inside.run(["mount"], [*CTR, "images", "list"]).splitlines()[1:]
    digests = {fields[0]: fields[2] for fields in (line.split() for line in listing)}
    return all(
        image.tags
        and image.identity in digests
        and all(digests.get(tag) == digests[image.identity] for tag in image.tags)
        for image in archive.images(images)
    )


def _runtime_answers(files: Files, node: str) -> bool:
    """Tell whether the container runtime of a node is up."""
    inside = namespaces.find(files, node)
    if inside is None:
        return False
    command = inside.enter(["mount"], [*CTR, "version"])
    result = subprocess.run(command, check=False, capture_output=True, env=namespaces.environment())
    return result.returncode == 0


def _kubeconfig(files: Files, record: Record, user: str) -> str:
    return pki.kubeconfig(files.pki, user, server=record.server, cluster=record.name)
