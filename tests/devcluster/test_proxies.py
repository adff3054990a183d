"""No request to a development cluster goes to a proxy."""

from devcluster.proxies import without_proxies


def test_only_the_proxies_are_left_out_in_either_case() -> None:
    proxies = {"HTTP_PROXY": "p", "https_proxy": "p", "ALL_PROXY": "p", "all_proxy": "p"}
    assert without_proxies({**proxies, "PATH": "/bin", "NO_PROXY": "localhost"}) == {
        "PATH": "/bin",
        "NO_PROXY": "localhost",
    }
