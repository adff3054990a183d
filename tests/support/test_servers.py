"""Do the servers of the tests keep what they acknowledged, stand still when told, and come back?"""

from tests.support.mongodb import MongoServer, run_mongodb
from tests.support.postgresql import run_postgresql


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
