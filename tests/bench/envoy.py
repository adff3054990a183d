"""Envoy as the runtime's benchmark runs it: a reverse proxy, with what it has of what the runtime does for a request.

On are an API key, a rate limit with its headers, a log line of JSON for each request, request ids, and the counters
that it keeps of itself.
"""

from collections.abc import Mapping
from typing import Any

LOG_LINE = {
    "time": "%START_TIME%",
    "method": "%REQ(:METHOD)%",
    "path": "%REQ(:PATH)%",
    "status": "%RESPONSE_CODE%",
    "duration_ms": "%DURATION%",
    "request_id": "%REQ(X-REQUEST-ID)%",
    "client": "%DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT%",
}
"""What the runtime's line tells, as far as one knows it who does not read the body."""


def configuration(port: int, upstream_port: int, key: str, rate: int) -> dict[str, Any]:
    """Give a proxy between two loopback ports, which asks for a key and lets `rate` requests a second through."""
    manager = {
        "stat_prefix": "bench",
        "access_log": [_part("access_loggers.stream.v3.StdoutAccessLog", log_format={"json_format": LOG_LINE})],
        "route_config": {"virtual_hosts": [{"name": "all", "domains": ["*"], "routes": [_route()]}]},
        "http_filters": [_ready(), _api_key(key), _rate_limit(rate), _part("filters.http.router.v3.Router")],
    }
    connections = _part("filters.network.http_connection_manager.v3.HttpConnectionManager", **manager)
    listener = {"address": _address(port), "filter_chains": [{"filters": [connections]}]}
    return {"static_resources": {"listeners": [listener], "clusters": [_cluster(upstream_port)]}}


def _part(kind: str, **settings: Any) -> dict[str, Any]:
    """Give an extension with its settings."""
    return {"name": kind, "typed_config": {"@type": f"type.googleapis.com/envoy.extensions.{kind}", **settings}}


def _address(port: int) -> dict[str, Any]:
    return {"socket_address": {"address": "127.0.0.1", "port_value": port}}


def _route() -> dict[str, Any]:
    # A model's answer may take longer than the 15 seconds that a route waits by default.
    return {"match": {"prefix": "/"}, "route": {"cluster": "provider", "timeout": "120s"}}


def _cluster(port: int) -> dict[str, Any]:
    endpoints = [{"lb_endpoints": [{"endpoint": {"address": _address(port)}}]}]
    return {
        "name": "provider",
        "type": "STATIC",
        "load_assignment": {"cluster_name": "provider", "endpoints": endpoints},
    }


def _ready() -> dict[str, Any]:
    """Answer /ready, without a key, once the proxy serves."""
    path = {"name": ":path", "string_match": {"exact": "/ready"}}
    return _part("filters.http.health_check.v3.HealthCheck", pass_through_mode=False, headers=[path])


def _api_key(key: str) -> dict[str, Any]:
    credentials = [{"key": key, "client": "bench"}]
    return _part(
        "filters.http.api_key_auth.v3.ApiKeyAuth", credentials=credentials, key_sources=[{"header": "Authorization"}]
    )


def _rate_limit(rate: int) -> dict[str, Any]:
    always: Mapping[str, Any] = {"default_value": {"numerator": 100}}
    return _part(
        "filters.http.local_ratelimit.v3.LocalRateLimit",
        stat_prefix="bench",
        token_bucket={"max_tokens": rate, "tokens_per_fill": rate, "fill_interval": "1s"},
        filter_enabled=always,
        filter_enforced=always,
        enable_x_ratelimit_headers="DRAFT_VERSION_03",
    )
