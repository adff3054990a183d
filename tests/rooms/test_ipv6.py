"""What the operator renders serves a cluster of IPv6 alone: each server runs where there is no IPv4 but the loopback's.

A thread enters a network namespace of its own, and the programs that it starts are in there with it.
"""

import ctypes
import os
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from assistant_operator import desired
from assistant_operator.servers import redis
from tests.contract.test_environment import pod_of
from tests.operator.assistants import FACTS, assistant
from tests.rooms import test_redis_cluster
from tests.support.kube import eventually
from tests.support.mongodb import MongoServer
from tests.support.redis import redis_program
from tests.support.runtime import clean_environment
from tests.support.searxng import SearxngServer
from tests.support.server import running

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="a network namespace needs root")

ADDRESS = "fd00::1"
CLONE_NEWNET = 0x40000000
Process = subprocess.Popen[bytes]


@pytest.fixture
def ipv6_only() -> Iterator[Callable[..., Any]]:
    """Give a function that calls another one where there is no IPv4."""
    with ThreadPoolExecutor(1, initializer=_enter) as network:
        yield lambda function, *arguments: network.submit(function, *arguments).result()


def _enter() -> None:
    if ctypes.CDLL(None, use_errno=True).unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "unshare")
    for words in ("link set lo up", f"-6 addr add {ADDRESS}/128 dev lo nodad"):
        subprocess.run(["ip", *words.split()], check=True)


@contextmanager
def _process(log: Path, command: list[str], environment: Mapping[str, str]) -> Iterator[Process]:
    with log.open("wb") as output, subprocess.Popen(command, env=environment, stdout=output, stderr=output) as process:
        try:
            yield process
        finally:
            process.terminate()


def _wait(server: Process, answers: Callable[[], bool], log: Path) -> None:
    eventually(lambda: answers() or server.poll() is not None, "it answers", last=log.read_text)
    assert server.poll() is None, log.read_text()


def _serves(url: str) -> bool:
    with suppress(OSError), urllib.request.urlopen(url, timeout=5) as answer:
        return bool(answer.status == 200)
    return False


def _variables(part: str) -> dict[str, str]:
    """Return a pod's variables, as the kubelet would fill them in."""
    container = pod_of(assistant(ui={"enabled": True}), part)["containers"][0]
    pod_ip = {"fieldRef": {"fieldPath": "status.podIP"}}
    return {
        variable["name"]: ADDRESS if variable.get("valueFrom") == pod_ip else variable.get("value", "geheim" * 8)
        for variable in container["env"]
    }


@pytest.mark.parametrize("workers", ["1", "2"])
def test_the_runtime(ipv6_only: Callable[..., None], tmp_path: Path, workers: str) -> None:
    nowhere = {"REDIS_URL": "redis://[::1]:9/0", "MONGODB_URL": "mongodb://[::1]:9/a", "MILVUS_URL": "http://[::1]:9"}
    environment = {**clean_environment(), **_variables("runtime"), **nowhere, "WORKERS": workers}
    urls = [f"http://[{ADDRESS}]:8000/health", "http://127.0.0.1:8000/health", f"http://[{ADDRESS}]:9000/metrics"]

    def check() -> None:
        command = [sys.executable, "-m", "assistant_runtime", "serve"]
        with _process(tmp_path / "log", command, {**environment, "PROMETHEUS_PORT": "9000"}) as server:
            for url in urls:
                _wait(server, partial(_serves, url), tmp_path / "log")

    ipv6_only(check)


def test_the_chat_page(ipv6_only: Callable[..., None], tmp_path: Path) -> None:
    environment = {**clean_environment(), **_variables("ui")}
    url = f"http://[{ADDRESS}]:{environment['GRADIO_PORT']}/robots.txt"

    def check() -> None:
        command = [sys.executable, "-m", "assistant_runtime", "page"]
        with _process(tmp_path / "log", command, environment) as server:
            _wait(server, partial(_serves, url), tmp_path / "log")

    ipv6_only(check)


def test_redis(ipv6_only: Callable[..., None], tmp_path: Path) -> None:
    text = redis.configuration().replace("include /etc/redis/auth/auth.conf", "requirepass geheim")
    (tmp_path / "redis.conf").write_text(text.replace("dir /data", f"dir {tmp_path}"))
    ask = ["redis-cli", "-h", ADDRESS, "ping"]
    environment = {**os.environ, "REDISCLI_AUTH": "geheim"}

    def answers() -> bool:
        return subprocess.run(ask, env=environment, capture_output=True, check=False).stdout == b"PONG\n"

    def check() -> None:
        command = [redis_program("redis-server"), str(tmp_path / "redis.conf")]
        with _process(tmp_path / "log", command, os.environ) as server:
            _wait(server, answers, tmp_path / "log")

    ipv6_only(check)


class _Pod(test_redis_cluster.Pod):
    def new_address(self, number: int) -> str:
        subprocess.run(["ip", "-6", "addr", "add", f"fd00::1:{number:x}/128", "dev", "lo", "nodad"], check=True)
        return f"fd00::1:{number:x}"


def test_a_redis_cluster(ipv6_only: Callable[..., None], tmp_path: Path) -> None:
    pods: list[test_redis_cluster.Pod] = [_Pod(tmp_path / str(number)) for number in range(6)]

    def check() -> None:
        for pod in pods:
            pod.start()
        test_redis_cluster.setup(pods)
        eventually(lambda: test_redis_cluster.whole(pods), "the cluster is whole")

    try:
        ipv6_only(check)
    finally:
        for pod in pods:
            pod.kill()


def test_searxng(ipv6_only: Callable[..., None]) -> None:
    class AsRendered(SearxngServer):
        @property
        def url(self) -> str:
            return f"http://[{ADDRESS}]:{self.port}"

        def environment(self) -> Mapping[str, str]:
            return {**super().environment(), **_variables("searxng")}

    def check() -> None:
        with running(lambda folder: AsRendered(folder, "http://[::1]:9")) as server:
            assert server.answers()

    ipv6_only(check)


def test_mongodb(ipv6_only: Callable[..., None]) -> None:
    objects = desired.desired(assistant(), FACTS).objects
    (server,) = (
        body for body in objects if (body["kind"], body["metadata"]["name"]) == ("StatefulSet", "demo-mongodb")
    )
    (container,) = server["spec"]["template"]["spec"]["containers"]
    arguments = [word.replace("$(POD_IP)", ADDRESS) for word in container["args"]]

    class AsRendered(MongoServer):
        @property
        def url(self) -> str:
            return f"mongodb://[{ADDRESS}]:{self.port}"

        def argv(self) -> list[str]:
            argv = super().argv()
            del argv[argv.index("--bind_ip") : argv.index("--bind_ip") + 2]
            return argv + arguments[1:]

    def check() -> None:
        with running(AsRendered) as server:
            assert server.answers()

    ipv6_only(check)
