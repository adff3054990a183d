"""Do the servers of the tests keep what they acknowledged, stand still when told, and come back?"""

import json
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import pytest
from pymilvus import MilvusClient

from tests.support.firecrawl import KEY, Firecrawl, run_firecrawl
from tests.support.kube import eventually
from tests.support.milvus import MilvusLiteServer, MilvusServer, run_milvus, run_milvus_lite
from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.postgresql import run_postgresql
from tests.support.redis_topologies import run_redis_cluster, run_redis_sentinels
from tests.support.searxng import PAGES, run_searxng
from tests.support.server import serving_folder

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
        eventually(lambda: sentinels.master() is not first, "there is another master")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a site of three pages."""
    folder: Path = tmp_path_factory.mktemp("site")
    links = (
        '<nav>Menu</nav><a href="/one.html">One</a> <a href="/two.html">Two</a> <a href="https://example.org/">Away</a>'
    )
    (folder / "index.html").write_text(f"<html lang=en><title>Home</title><h1>Hello</h1>{links}</html>")
    (folder / "one.html").write_text("<title>One</title><p>The <b>first</b>.</p>")
    (folder / "two.html").write_text("<title>Two</title><p>The second.</p>")
    with serving_folder(folder) as url:
        yield url


@pytest.fixture(scope="module")
def firecrawl() -> Iterator[Firecrawl]:
    with run_searxng() as search, run_firecrawl(search.url) as running:
        yield running


def _firecrawl(firecrawl: Firecrawl, path: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(f"{firecrawl.api.url}{path}", data)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_firecrawls_stand_in_reads_maps_and_searches(firecrawl: Firecrawl, site: str, version: str) -> None:
    page = _firecrawl(firecrawl, f"/{version}/scrape", {"url": f"{site}/"})["data"]
    assert page["markdown"].startswith("# Hello")
    assert "Menu" not in page["markdown"]
    assert (page["metadata"]["title"], page["metadata"]["language"]) == ("Home", "en")
    links = _firecrawl(firecrawl, f"/{version}/map", {"url": f"{site}/", "search": "one"})["links"]
    assert links == ([{"url": f"{site}/one.html"}] if version == "v2" else [f"{site}/one.html"])
    found = _firecrawl(firecrawl, f"/{version}/search", {"query": "capital france"})["data"]
    (result,) = found["web"] if version == "v2" else found
    assert result["url"] == PAGES[1]["url"]


def test_firecrawls_stand_in_walks_through_a_site_though_its_workers_die(firecrawl: Firecrawl, site: str) -> None:
    firecrawl.page_worker.kill()
    crawl = _firecrawl(firecrawl, "/v2/crawl", {"url": f"{site}/", "limit": 10})["id"]
    firecrawl.site_worker.kill()
    firecrawl.page_worker.start()
    firecrawl.site_worker.start()
    done = eventually(
        lambda: told if (told := _firecrawl(firecrawl, f"/v2/crawl/{crawl}"))["status"] == "completed" else None,
        "the crawl is over",
        last=lambda: _firecrawl(firecrawl, f"/v2/crawl/{crawl}"),
    )
    assert [page["metadata"]["title"] for page in done["data"]] == ["Home", "One", "Two"]
    assert _firecrawl(firecrawl, f"/admin/{KEY}/queues") == {"sites": 0}


def test_firecrawls_stand_in_names_what_it_can_not_do(firecrawl: Firecrawl, site: str) -> None:
    for path, body, status in (
        ("/v2/extract", {}, 404),
        ("/admin/wrong/queues", None, 404),
        ("/v2/crawl/unknown", None, 404),
        ("/v2/scrape", {"url": "file:///etc/passwd"}, 400),
        ("/v2/scrape", {"url": f"{site}/missing.html"}, 500),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            _firecrawl(firecrawl, path, body)
        with refused.value as answer:
            assert (answer.status, json.load(answer)["success"]) == (status, False)
