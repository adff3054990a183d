"""Do the servers of the tests keep what they acknowledged, stand still when told, and come back?"""

import json
import urllib.request
from collections.abc import Callable
from contextlib import AbstractContextManager

import pytest
from pymilvus import MilvusClient

from tests.support.kube import eventually
from tests.support.milvus import MilvusLiteServer, MilvusServer, run_milvus, run_milvus_lite
from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.postgresql import run_postgresql
from tests.support.redis_topologies import run_redis_cluster, run_redis_sentinels
from tests.support.searxng import PAGES, run_searxng

Milvus = MilvusServer | MilvusLiteServer


def test_mongodb_keeps_what_it_acknowledged_through_a_kill() -> None:
    with run_mongodb() as server:
        with server.client() as client:
            client.assistant.sessions.insert_one({"_id": "one", "turns": 3})
        server.kill()
        assert not server.answers()
        server.start()
        with server.client() as client:
            assert client.assistant.sessions.find_one() == {"_id": "one", "turns": 3}


def test_mongodb_asks_for_the_password() -> None:
    with run_mongodb() as server:
        stranger = MongoServer(server.folder)
        stranger.port, stranger.password = server.port, "wrong"
        assert not stranger.answers()


def test_a_frozen_server_answers_nothing_until_it_is_thawed() -> None:
    with run_mongodb() as server:
        server.freeze()
        assert not server.answers()
        server.thaw()
        assert server.answers()


def test_postgresql_keeps_what_it_acknowledged_through_a_kill() -> None:
    with run_postgresql() as server:
        server.psql("CREATE TABLE usage (tokens int); INSERT INTO usage VALUES (3)")
        server.kill()
        assert not server.answers()
        server.start()
        assert server.psql("SELECT tokens FROM usage") == "3"
        server.password = "wrong"
        assert not server.answers()


@pytest.mark.parametrize("run", [run_milvus, run_milvus_lite])
def test_milvus_keeps_what_it_acknowledged_through_a_kill(run: Callable[[], AbstractContextManager[Milvus]]) -> None:
    with run() as server:
        client = _milvus_client(server)
        client.create_collection("chunks", dimension=2)
        client.insert("chunks", [{"id": 1, "vector": [0.0, 1.0], "text": "kept"}])
        client.close()
        server.kill()
        assert not server.answers()
        server.start()
        client = _milvus_client(server)
        client.load_collection("chunks")
        found = client.get("chunks", ids=[1], output_fields=["text"], consistency_level="Strong")
        client.close()
        assert [each["text"] for each in found] == ["kept"]


def _milvus_client(server: Milvus) -> MilvusClient:
    given = {"user": server.username, "password": server.password} if isinstance(server, MilvusServer) else {}
    return MilvusClient(server.url, timeout=60, **given)


def test_searxng_finds_what_its_index_has() -> None:
    with run_searxng() as server:
        with urllib.request.urlopen(f"{server.url}/search?q=capital+france&format=json") as answer:
            found = json.load(answer)["results"]
        assert [each["url"] for each in found] == [PAGES[1]["url"]]


def test_a_redis_cluster_makes_a_replica_the_master_of_a_dead_one() -> None:
    with run_redis_cluster() as cluster:
        cluster.masters()[0].kill()
        cluster.wait()
        assert len([node for node in cluster.nodes if node.answers()]) == 5


def test_sentinels_make_the_replica_the_master_when_that_is_gone() -> None:
    with run_redis_sentinels() as sentinels:
        first = sentinels.master()
        first.kill()
        eventually(lambda: sentinels.master() is not first, "there is another master", timeout=60)
