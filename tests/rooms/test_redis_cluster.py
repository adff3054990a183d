"""The script that forms and mends a Redis Cluster, run against real servers on addresses of the loopback network."""

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

import pytest

from assistant_operator.servers import scripts
from assistant_operator.servers.redis_cluster import OPTIONS
from tests.support.redis import redis_program

PASSWORD = "pass-word"
PORT = 6379


class Pod:
    """One server with a volume; it may come back with another address, as a pod does."""

    addresses = iter(range(2, 250))

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.address = ""
        self._process: subprocess.Popen[bytes] | None = None

    def new_address(self, number: int) -> str:
        return f"127.77.{os.getpid() % 250}.{number}"

    @property
    def server(self) -> str:
        return f"{self.address}:{PORT}"

    def start(self) -> None:
        self.folder.mkdir(exist_ok=True)
        self.address = self.new_address(next(self.addresses))
        lines = [option.replace("/data", str(self.folder)) for option in OPTIONS]
        lines += [f"bind {self.address}", f"port {PORT}", f"dir {self.folder}", "appendonly yes"]
        lines += [f"requirepass {PASSWORD}", f"masterauth {PASSWORD}", f"cluster-announce-ip {self.address}"]
        config = self.folder / "redis.conf"
        config.write_text("\n".join(lines))
        self._process = subprocess.Popen([redis_program("redis-server"), str(config)], stdout=subprocess.DEVNULL)

    def kill(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGKILL)
            self._process.wait()
            self._process = None

    def lose_volume(self) -> None:
        shutil.rmtree(self.folder)

    def ask(self, *words: str) -> str:
        command = ["redis-cli", "-c", "-h", self.address, "-p", str(PORT), *words]
        return subprocess.run(command, env=_environment(), capture_output=True, text=True, check=False).stdout.strip()


def _environment() -> dict[str, str]:
    return {**os.environ, "REDISCLI_AUTH": PASSWORD}


@pytest.fixture
def pods(tmp_path: Path) -> Iterator[list[Pod]]:
    made = [Pod(tmp_path / str(number)) for number in range(6)]
    for pod in made:
        pod.start()
    yield made
    for pod in made:
        pod.kill()


def run_setup(pods: list[Pod]) -> subprocess.CompletedProcess[str]:
    command = ["sh", "-s", "--", *(pod.server for pod in pods)]
    return subprocess.run(
        command,
        input=scripts.read("redis-cluster.sh"),
        env=_environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=200,
    )


def setup(pods: list[Pod]) -> str:
    done = run_setup(pods)
    assert done.returncode == 0, done.stdout + done.stderr
    assert PASSWORD not in done.stdout + done.stderr
    return done.stdout


def eventually(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.2)


def whole(pods: list[Pod]) -> bool:
    """Three masters with all slots and a replica each, in the view of every server."""
    for pod in pods:
        nodes = [line.split() for line in pod.ask("cluster", "nodes").splitlines()]
        masters = {node[0] for node in nodes if "master" in node[2] and len(node) > 8}
        followed = [node[3] for node in nodes if "slave" in node[2]]
        known = {node[1].partition("@")[0] for node in nodes}
        if len(nodes) != 6 or len(masters) != 3 or set(followed) != masters or known != {p.server for p in pods}:
            return False
        if any("fail" in node[2] for node in nodes) or "cluster_state:ok" not in pod.ask("cluster", "info"):
            return False
    return True


def is_master(pod: Pod) -> bool:
    return pod.ask("role").startswith("master")


def _is_set(pod: Pod, key: int) -> bool:
    return pod.ask("set", f"key-{key}", str(key)) == "OK"


def write(pods: list[Pod]) -> None:
    for key in range(100):
        eventually(partial(_is_set, pods[0], key), "a key is written")
    for pod in pods:
        if is_master(pod):
            pod.ask("wait", "1", "5000")


def all_there(pods: list[Pod]) -> bool:
    return all(pods[0].ask("get", f"key-{key}") == str(key) for key in range(100))


def test_forms_and_leaves_alone_what_is_formed(pods: list[Pod]) -> None:
    setup(pods)
    eventually(lambda: whole(pods), "the cluster is whole")
    before = sorted(line.split()[0] for line in pods[0].ask("cluster", "nodes").splitlines())
    write(pods)
    setup(pods)
    assert sorted(line.split()[0] for line in pods[0].ask("cluster", "nodes").splitlines()) == before
    assert whole(pods)
    assert all_there(pods)


def test_an_interrupted_forming_begins_anew(pods: list[Pod]) -> None:
    pods[0].ask("cluster", "addslots", "0", "1", "2")
    pods[1].ask("cluster", "meet", pods[0].address, str(PORT))
    setup(pods)
    eventually(lambda: whole(pods), "the cluster is whole")


def test_servers_that_only_know_each_other_form_a_cluster(pods: list[Pod]) -> None:
    """What a forming leaves that was interrupted after its resets: a greeting came late, and no slot is assigned."""
    pods[1].ask("cluster", "meet", pods[0].address, str(PORT))
    eventually(lambda: len(pods[0].ask("cluster", "nodes").splitlines()) == 2, "two servers know each other")
    setup(pods)
    eventually(lambda: whole(pods), "the cluster is whole")


def test_greetings_while_it_forms_do_no_harm(pods: list[Pod]) -> None:
    """On a busy machine a greeting of before a reset arrives long after it."""
    pods[0].ask("cluster", "addslots", "0", "1", "2")

    def greet() -> None:
        for _ in range(40):
            pods[1].ask("cluster", "meet", pods[0].address, str(PORT))

    with ThreadPoolExecutor() as greeter:
        greeting = greeter.submit(greet)
        setup(pods)
        greeting.result()
    eventually(lambda: whole(pods), "the cluster is whole")


def test_servers_with_data_and_without_slots_keep_their_data(pods: list[Pod]) -> None:
    pods[0].ask("cluster", "addslotsrange", "0", "16383")
    eventually(partial(_is_set, pods[0], 1), "a key is written")
    pods[0].ask("cluster", "delslotsrange", "0", "16383")
    done = run_setup(pods)
    assert done.returncode != 0
    assert "hold data and no slots" in done.stderr
    assert pods[0].ask("dbsize") == "1"


def test_a_master_that_is_killed_is_replaced_and_comes_back_as_a_replica(pods: list[Pod]) -> None:
    setup(pods)
    write(pods)
    lost = next(pod for pod in pods if is_master(pod))
    others = [pod for pod in pods if pod is not lost]
    lost.kill()
    eventually(lambda: sum(is_master(pod) for pod in others) == 3, "a replica takes over")
    lost.start()
    setup(pods)
    eventually(lambda: whole(pods) and not is_master(lost), "it follows its successor")
    assert all_there(pods)


def test_all_come_back_with_other_addresses(pods: list[Pod]) -> None:
    setup(pods)
    write(pods)
    for pod in pods:
        pod.kill()
    for pod in pods:
        pod.start()
    setup(pods)
    eventually(lambda: whole(pods), "they know each other again")
    assert all_there(pods)


def test_a_server_without_its_volume_is_a_replica_again(pods: list[Pod]) -> None:
    setup(pods)
    write(pods)
    lost = next(pod for pod in pods if is_master(pod))
    others = [pod for pod in pods if pod is not lost]
    lost.kill()
    lost.lose_volume()
    eventually(lambda: sum(is_master(pod) for pod in others) == 3, "a replica takes over")
    lost.start()
    setup(pods)
    eventually(lambda: whole(pods), "the cluster is whole, and the lost server forgotten")
    assert all_there(pods)


def test_most_masters_lost_with_their_volumes(pods: list[Pod]) -> None:
    setup(pods)
    write(pods)
    for pod in [pod for pod in pods if is_master(pod)][:2]:
        pod.kill()
        pod.lose_volume()
        pod.start()
    setup(pods)
    eventually(lambda: whole(pods), "their replicas took over without a vote")
    assert all_there(pods)
