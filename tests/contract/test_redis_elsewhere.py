"""What the operator says of sentinels that it does not run lets the runtime reach the master behind them."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from assistant_runtime.settings import Settings
from assistant_runtime.stores.redis_client import redis_connection
from tests.contract.test_environment import variables_of
from tests.operator.assistants import assistant
from tests.support.redis_topologies import RedisSentinels, run_redis_sentinels

OF_REDIS, OF_SENTINELS = "of-redis", "of-sentinels"


@pytest.fixture
def sentinels() -> Iterator[RedisSentinels]:
    """Servers with a password, and sentinels without one."""
    with run_redis_sentinels() as found:
        for server in found.servers:
            server.command("CONFIG", "SET", "masterauth", OF_REDIS, "requirepass", OF_REDIS)
        for sentinel in found.sentinels:
            sentinel.command("SENTINEL", "SET", found.master_name, "auth-pass", OF_REDIS)
        yield found


@pytest.mark.parametrize(
    ("password", "given"),
    [
        (OF_SENTINELS, {"sentinelPasswordFrom": {"name": "sentinels"}}),
        (OF_REDIS, {}),
        ("", {"sentinelAuthEnabled": False}),
    ],
    ids=["of their own", "that of Redis", "none"],
)
async def test_sentinels_are_asked_with_their_password(
    sentinels: RedisSentinels,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    password: str,
    given: dict[str, object],
) -> None:
    if password:
        for sentinel in sentinels.sentinels:
            sentinel.command("ACL", "SETUSER", "default", "resetpass", f">{password}")
    behind = {"urlFrom": {"name": "redis"}, "topology": "sentinel", "sentinelMaster": sentinels.master_name}
    found = assistant(redis={"external": {**behind, **given}})
    secrets = {"REDIS_URL": f"redis://:{OF_REDIS}@127.0.0.1:{sentinels.sentinels[0].port}/0"}
    variables = variables_of(found, tmp_path) | secrets
    if "REDIS_SENTINEL_PASSWORD" in variables:
        variables["REDIS_SENTINEL_PASSWORD"] = OF_SENTINELS
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    connection = redis_connection(Settings.load())
    await connection.probe()
    check = connection.check()
    await connection.aclose()
    assert check["status"] == "up", check
