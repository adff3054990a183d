"""A development cluster is on this machine: a proxy of this machine's network can't reach it."""

from collections.abc import Mapping

PROXY_VARIABLES = {"HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY"}


def without_proxies(environment: Mapping[str, str]) -> dict[str, str]:
    """Return an environment without the variables, in either case, that send a client's requests to a proxy."""
    return {name: value for name, value in environment.items() if name.upper() not in PROXY_VARIABLES}
