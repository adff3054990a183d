"""A password that a person writes into a generated Secret opens the server, whatever characters it has."""

from urllib.parse import unquote, urlsplit

import pytest

from assistant_operator import desired
from assistant_operator.servers import redis
from assistant_runtime.settings import Settings
from assistant_runtime.stores.redis_client import redis_connection
from tests.operator.assistants import assistant
from tests.support.redis import RedisServer
from tests.support.server import running

PASSWORDS = ["plain", "p@ss:w/rd?#%", "two words", '"quoted" and \\n', "пароль"]
ASSISTANT = assistant(
    firecrawl={"enabled": True}, mongodb={"enabled": True}, postgresql={"enabled": True}, redis={"enabled": True}
)


class _Server(RedisServer):
    """A Redis that includes what the operator writes for it."""

    auth = ""

    def argv(self) -> list[str]:
        (self.folder / "auth.conf").write_text(self.auth)
        return [*super().argv(), "--include", str(self.folder / "auth.conf")]

    def answers(self) -> bool:
        try:
            return self.command("PING").startswith(b"-NOAUTH")
        except OSError:
            return False


@pytest.mark.parametrize("password", PASSWORDS)
async def test_redis_takes_it(password: str, monkeypatch: pytest.MonkeyPatch) -> None:
    credential = next(found for found in desired.credentials(ASSISTANT) if found.name == "demo-redis")
    written = credential.changes({"password": password})
    monkeypatch.setattr(_Server, "auth", written["auth.conf"])
    with running(_Server) as server:
        url = written["url"].replace(f"demo-redis:{redis.PORT}", f"127.0.0.1:{server.port}")
        monkeypatch.setenv("REDIS_URL", url)
        connection = redis_connection(Settings.load())
        await connection.open()
        check = connection.check()
        await connection.aclose()
    assert check["status"] == "up", check


@pytest.mark.parametrize("password", PASSWORDS)
def test_every_url_has_it(password: str) -> None:
    urls = [
        url
        for credential in desired.credentials(ASSISTANT)
        for key, url in ({"password": password} | credential.changes({"password": password})).items()
        if key.endswith("url")
    ]
    assert len(urls) == 6
    parts = [urlsplit(url) for url in urls]
    assert {unquote(part.password or "") for part in parts} == {password}
    assert all(part.netloc.rpartition("@")[2].startswith("demo-") for part in parts)
