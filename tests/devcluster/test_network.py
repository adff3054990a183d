"""The network of a cluster is taken down whatever the kernel removes meanwhile, and says what it lacks."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from devcluster import network
from devcluster.addresses import BLOCKS, AddressPlan
from devcluster.errors import DevclusterError

PLAN = AddressPlan(BLOCKS - 1)
"""Of an interface that is not there: blocks are taken from the first."""


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[bool]]:
    """Whether the interface is there each time it is looked for."""
    answers: list[bool] = []
    monkeypatch.setattr(network, "_is_there", lambda _: answers.pop(0))
    yield answers
    assert answers == []


def test_an_interface_that_goes_while_it_is_removed_is_no_error(seen: list[bool]) -> None:
    seen += [True, False]
    network.disconnect_host(PLAN)


def test_an_interface_that_can_not_be_removed_is_an_error(seen: list[bool]) -> None:
    seen += [True, True]
    with pytest.raises(DevclusterError, match="the network could not be changed"):
        network.disconnect_host(PLAN)


def test_a_kernel_that_shows_no_bridged_packets_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(network, "BRIDGE_SETTINGS", tmp_path / "bridge")
    with pytest.raises(DevclusterError, match="modprobe br_netfilter"):
        network.load_bridge_filter()
