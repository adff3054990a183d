"""The network of a cluster: a switch that nodes and this machine are plugged into, and the routes to all it has.

The switch has a namespace to itself. On this machine's own bridge, a firewall such as Docker's would see, and drop,
what nodes send to each other. Nothing routes to the outside: a cluster reaches its nodes and this machine.
"""

import subprocess
from contextlib import suppress
from pathlib import Path

from devcluster.addresses import AddressPlan
from devcluster.errors import DevclusterError
from devcluster.namespaces import Namespaces, environment

SWITCH = "switch"
"""Name under which the switch's namespace is on record."""

BRIDGE_SETTINGS = Path("/proc/sys/net/bridge")
"""There while the kernel's module br_netfilter is loaded."""

SWITCH_LINES = (
    "link add switch type bridge",
    "link set switch up",
    "link set host master switch",
    "link set host up",
)

FORWARDING = (
    "echo 1 > /proc/sys/net/ipv4/ip_forward",
    # A pod's request to a Service that ends at a pod of the same node is rewritten; its answer must be, too,
    # although it only crosses the bridge of the pods.
    "echo 1 > /proc/sys/net/bridge/bridge-nf-call-iptables",
)


def interface(plan: AddressPlan) -> str:
    """Return the name of this machine's interface to a cluster."""
    return f"devcluster{plan.index}"


def load_bridge_filter() -> None:
    """Load the kernel's module that shows bridged packets to kube-proxy's rules, unless it is there.

    Raises
    ------
    DevclusterError
        It can't be loaded from here, as inside a container.
    """
    if BRIDGE_SETTINGS.exists():
        return
    with suppress(FileNotFoundError):  # a container has no modprobe
        subprocess.run(["modprobe", "br_netfilter"], check=False, capture_output=True, env=environment())
    if not BRIDGE_SETTINGS.exists():
        raise DevclusterError(
            "nodes need the kernel's module br_netfilter, which can't be loaded from here: "
            "run `modprobe br_netfilter` on the host"
        )


def connect_host(plan: AddressPlan, switch: Namespaces, nodes: int) -> None:
    """Plug this machine into the switch, and route to a cluster's nodes, pods and Services."""
    name = interface(plan)
    _ip([f"link add {name} type veth peer name host netns {switch.init.pid}"])
    switch.run(["net"], ["ip", "-batch", "-"], text="\n".join(SWITCH_LINES))
    routes = [f"route add {plan.services} via {plan.node(0)} src {plan.host}"]
    routes += [f"route add {plan.node_pods(n)} via {plan.node(n)} src {plan.host}" for n in range(nodes)]
    _ip([f"addr add {plan.host}/{plan.lan.prefixlen} dev {name}", f"link set {name} up", *routes])


def connect_node(plan: AddressPlan, switch: Namespaces, node: Namespaces, number: int, nodes: int) -> None:
    """Plug a node into the switch, and let it forward between pods, Services and the other nodes."""
    port = f"node{number}"
    plug = [
        f"link add {port} type veth peer name eth0 netns {node.init.pid}",
        f"link set {port} master switch",
        f"link set {port} up",
    ]
    switch.run(["net"], ["ip", "-batch", "-"], text="\n".join(plug))
    others = [n for n in range(nodes) if n != number]
    inside = [
        "link set lo up",
        f"addr add {plan.node(number)}/{plan.lan.prefixlen} dev eth0",
        "link set eth0 up",
        # A packet to a Service is looked up before kube-proxy's rules rewrite it: it needs some route.
        "link add services type bridge",
        "link set services up",
        f"route add {plan.services} dev services src {plan.node(number)}",
        *(f"route add {plan.node_pods(n)} via {plan.node(n)}" for n in others),
    ]
    node.run(["net"], ["ip", "-batch", "-"], text="\n".join(inside))
    node.run(["net"], ["/bin/sh", "-ec", "\n".join(FORWARDING)])


def disconnect_host(plan: AddressPlan) -> None:
    """Remove this machine's interface to a cluster, and its routes with it.

    The kernel removes it, too, a moment after the switch has ended: it may go at any time.
    """
    name = interface(plan)
    if not _is_there(name):
        return
    try:
        _ip([f"link delete {name}"])
    except DevclusterError:
        if _is_there(name):
            raise


def _is_there(name: str) -> bool:
    listed = subprocess.run(["ip", "link", "show", name], check=False, capture_output=True, env=environment())
    return listed.returncode == 0


def _ip(lines: list[str]) -> None:
    result = subprocess.run(
        ["ip", "-batch", "-"],
        input="\n".join(lines),
        check=False,
        capture_output=True,
        text=True,
        env=environment(),
    )
    if result.returncode != 0:
        raise DevclusterError(f"the network could not be changed: {result.stderr.strip()}")
