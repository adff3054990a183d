"""Clusters, and the parts of each, never share an address."""

from itertools import combinations

import pytest

from devcluster.addresses import BENCHMARK_RANGE, BLOCKS, MAX_NODES, AddressPlan


def test_blocks_fill_the_benchmark_range_without_overlap() -> None:
    blocks = [AddressPlan(index).block for index in range(BLOCKS)]
    assert all(block.subnet_of(BENCHMARK_RANGE) for block in blocks)
    assert not any(a.overlaps(b) for a, b in combinations(blocks, 2))


@pytest.mark.parametrize("index", [0, 1, BLOCKS - 1])
def test_nodes_services_and_pods_of_a_cluster_are_apart_and_inside_its_block(index: int) -> None:
    plan = AddressPlan(index)
    ranges = [plan.lan, plan.services, *(plan.node_pods(node) for node in range(MAX_NODES))]
    assert all(each.subnet_of(plan.block) for each in ranges)
    assert not any(a.overlaps(b) for a, b in combinations(ranges, 2))


def test_the_pods_of_every_node_are_in_the_range_that_kube_proxy_takes_for_the_cluster() -> None:
    plan = AddressPlan(3)
    assert all(plan.node_pods(node).subnet_of(plan.pods) for node in range(MAX_NODES))


def test_the_host_and_the_nodes_share_a_network_and_no_address() -> None:
    plan = AddressPlan(2)
    addresses = [plan.host, *(plan.node(number) for number in range(MAX_NODES))]
    assert all(address in plan.lan for address in addresses)
    assert len(set(addresses)) == len(addresses)


def test_a_control_plane_alone_has_addresses_for_the_services_of_3000_assistants() -> None:
    plan = AddressPlan(0, routed=False)
    assert plan.services.num_addresses > 3000 * 6
    assert plan.node(0) not in plan.services
    assert plan.kubernetes_service in plan.services


def test_the_first_cluster_has_the_documented_addresses() -> None:
    plan = AddressPlan(0)
    assert str(plan.node(0)) == "198.18.0.10"
    assert str(plan.kubernetes_service) == "198.18.4.1"
    assert str(plan.dns_service) == "198.18.4.10"
    assert str(plan.node_pods(1)) == "198.18.9.0/24"
