"""Which addresses a cluster uses: its own block of the benchmark range, so that clusters never meet.

198.18.0.0/15 is set aside for tests of network devices (RFC 2544): no local network uses it.
"""

from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network

BENCHMARK_RANGE = IPv4Network("198.18.0.0/15")
BLOCK_PREFIX = 20
BLOCKS = 2 ** (BLOCK_PREFIX - BENCHMARK_RANGE.prefixlen)
"""How many clusters fit side by side on one machine."""

MAX_NODES = 8
"""Half of a block divided by a /24 of pods for each node."""

UNROUTED_SERVICES = IPv4Network("198.19.0.0/16")
"""Service addresses of a control plane alone: enough for benchmarks with thousands of assistants."""

FIRST_NODE = 10
API_PORT = 6443


@dataclass(frozen=True)
class AddressPlan:
    """The addresses of the cluster with block number `index`."""

    index: int
    routed: bool = True
    """Whether anything is routed. A control plane alone has Services, and nothing that connects to them."""

    @property
    def block(self) -> IPv4Network:
        """Everything of this cluster."""
        size = 2 ** (32 - BLOCK_PREFIX)
        return IPv4Network((int(BENCHMARK_RANGE.network_address) + self.index * size, BLOCK_PREFIX))

    @property
    def lan(self) -> IPv4Network:
        """The network between the nodes and this machine."""
        return IPv4Network((self.block.network_address, 24))

    @property
    def host(self) -> IPv4Address:
        """The machine itself, in the cluster's network."""
        return self.lan[1]

    @property
    def services(self) -> IPv4Network:
        """The range of Service addresses: a thousand, and more where no other cluster's routes can meet them."""
        if not self.routed:
            return UNROUTED_SERVICES
        return IPv4Network((self.block.network_address + 1024, 22))

    @property
    def kubernetes_service(self) -> IPv4Address:
        """The address of the Service `kubernetes`: always the first of the range."""
        return self.services[1]

    @property
    def dns_service(self) -> IPv4Address:
        """The address of the Service `kube-dns`."""
        return self.services[10]

    @property
    def pods(self) -> IPv4Network:
        """The range that holds the pods of all nodes."""
        return list(self.block.subnets(prefixlen_diff=1))[1]

    def node(self, number: int) -> IPv4Address:
        """Return the address of a node, counted from 0."""
        return self.lan[FIRST_NODE + number]

    def node_pods(self, number: int) -> IPv4Network:
        """Return the range of the pods of a node, counted from 0."""
        return list(self.pods.subnets(new_prefix=24))[number]
