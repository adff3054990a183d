"""The schema is the manual: every field described, every rule explained, no field without effect."""

from collections.abc import Iterator
from typing import Any

import pytest

from assistant_operator import desired
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.crd import definition
from tests.operator.assistants import FACTS, PROVIDERS, assistant
from tests.operator.strategies import MILVUS, RERANKER

SCHEMA = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]


def _fields(schema: Object, path: str = "") -> Iterator[tuple[str, Object]]:
    """Every field below a schema with its path; list entries as `[]`."""
    for name, child in schema.get("properties", {}).items():
        yield f"{path}.{name}".lstrip("."), child
        yield from _fields(child, f"{path}.{name}")
    if "items" in schema:
        yield from _fields(schema["items"], f"{path}[]")


SPEC_FIELDS = dict(_fields(SCHEMA["properties"]["spec"]))
LEAVES = {
    path
    for path, schema in SPEC_FIELDS.items()
    if not any(other.startswith((f"{path}.", f"{path}[]")) for other in SPEC_FIELDS)
}


@pytest.mark.parametrize(("path", "schema"), [*SPEC_FIELDS.items(), *_fields(SCHEMA["properties"]["status"])])
def test_every_field_is_described(path: str, schema: Object) -> None:
    assert schema.get("description"), f"{path} has no description"
    assert schema["description"].endswith(".")


def test_a_volume_of_another_class_keeps_the_size_of_its_server() -> None:
    sizes = {path: schema for path, schema in SPEC_FIELDS.items() if path.endswith("storage")}
    assert sizes
    for path, schema in sizes.items():
        assert schema["default"]["size"] == schema["properties"]["size"]["default"], path


def test_the_schema_is_structural() -> None:
    text = str(SCHEMA)
    for word in ("$ref", "$defs", "anyOf", "'title'", ": None"):
        assert word not in text


def test_every_string_and_list_of_the_spec_has_a_limit() -> None:
    # Rules on unbounded values make the API server refuse the CRD for its cost.
    for path, schema in SPEC_FIELDS.items():
        if schema.get("type") == "array":
            assert "maxItems" in schema, path
        if schema.get("type") == "string" and "enum" not in schema:
            assert "maxLength" in schema, path


def test_every_rule_has_a_message() -> None:
    def rules(node: Any) -> Iterator[Object]:
        if isinstance(node, dict):
            yield from node.get("x-kubernetes-validations", [])
            for child in node.values():
                yield from rules(child)

    found = list(rules(SCHEMA))
    assert found
    assert all(rule.get("message") for rule in found)


DATABASE: Object = {"enabled": True}
CLUSTER: Object = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "main"}
REDIS_OBJECT: Object = {"apiVersion": "redis.redis.opstreelabs.in/v1beta2", "kind": "RedisCluster", "name": "main"}
MONGODB_OBJECT: Object = {
    "apiVersion": "mongodbcommunity.mongodb.com/v1",
    "kind": "MongoDBCommunity",
    "name": "main",
}
ON: Object = {"enabled": True, "host": "a.example.com"}
WRITERS: Object = {"enabled": True}
MCP: Object = {"name": "desk", "url": "http://desk/mcp"}
AGENT: Object = {"name": "helper", "prompt": "Help."}
ITEM: Object = PROVIDERS["items"][0]
KEYED: Object = {**ITEM, "apiKeyFrom": {"name": "provider"}}
FIRECRAWL_URL = "https://firecrawl.example.com"
RERANKER_URL = "https://reranker.example.com"
MILVUS_URL = "https://milvus.example.com:19530"
SEARXNG_URL = "https://searxng.example.com"

BLOCKS: dict[str, Object] = {
    "": {},
    "ui": {"enabled": True},
    "redis.managed": {},
    "redis.external": {"url": "rediss://redis.example.com:6379/0"},
    "mongodb.managed": {},
    "mongodb.external": {"url": "mongodb://mongodb.example.com:27017/ai_assistant"},
    "postgresql.managed": {},
    "postgresql.external": {"url": "postgresql://postgresql.example.com:5432/ai_assistant"},
    "milvus.managed": {},
    "milvus.external": {"url": MILVUS_URL},
    "searxng.managed": {},
    "firecrawl.managed": {},
    "firecrawl.managed.worker": {},
    "firecrawl.managed.nuqWorker": {},
    "firecrawl.managed.browser": {},
    "firecrawl.managed.redis": {},
    "firecrawl.managed.postgresql": {},
    "firecrawl.external": {"url": FIRECRAWL_URL},
    "reranker.managed": {"image": RERANKER},
    "reranker.external": {"url": RERANKER_URL},
    "searxng.external": {"url": SEARXNG_URL},
}
"""The blocks that have the fields below, each with what must be given for them to count."""

NAMED: Object = {"name": "given"}


def _account(**other: Object) -> Object:
    return {"usernameFrom": NAMED, "passwordFrom": NAMED, **other}


KEYED_URL: Object = {"url": FIRECRAWL_URL, "apiKeyFrom": NAMED}
SHARED: dict[str, tuple[Object, Object]] = {
    "image.repository": ({}, {"image": {"repository": "b.example.com/image", "tag": "1.0.0"}}),
    "image.tag": ({}, {"image": {"tag": "2"}}),
    "image.digest": ({}, {"image": {"digest": f"sha256:{'0' * 64}"}}),
    "image.pullPolicy": ({}, {"image": {"pullPolicy": "Always"}}),
    "image.pullSecrets": ({}, {"image": {"pullSecrets": ["registry"]}}),
    "resources.requests": ({}, {"resources": {"requests": {"cpu": 1}}}),
    "resources.limits": ({}, {"resources": {"limits": {"cpu": 1}}}),
    "podTemplate": ({}, {"podTemplate": {"spec": {"nodeSelector": {"a": "b"}}}}),
    "storage.size": ({}, {"storage": {"size": "77Gi"}}),
    "storage.storageClassName": (
        {"storage": {"size": "77Gi"}},
        {"storage": {"size": "77Gi", "storageClassName": "fast"}},
    ),
    "urlFrom.name": ({"url": None, "urlFrom": NAMED}, {"url": None, "urlFrom": {"name": "other"}}),
    "urlFrom.key": ({"url": None, "urlFrom": NAMED}, {"url": None, "urlFrom": {**NAMED, "key": "other"}}),
    "caFrom.name": ({}, {"caFrom": NAMED}),
    "caFrom.key": ({"caFrom": NAMED}, {"caFrom": {**NAMED, "key": "other"}}),
    "caFrom.kind": ({"caFrom": NAMED}, {"caFrom": {**NAMED, "kind": "ConfigMap"}}),
}
"""Fields that many blocks have: what is in the block before, and after."""


ACCOUNT: dict[str, tuple[Object, Object]] = {
    "usernameFrom.name": (_account(), _account(usernameFrom={"name": "other"})),
    "usernameFrom.key": (_account(), _account(usernameFrom={**NAMED, "key": "other"})),
    "passwordFrom.name": (_account(), _account(passwordFrom={"name": "other"})),
    "passwordFrom.key": (_account(), _account(passwordFrom={**NAMED, "key": "other"})),
    "caFrom.name": ({}, {"caFrom": NAMED}),
    "caFrom.key": ({"caFrom": NAMED}, {"caFrom": {**NAMED, "key": "other"}}),
    "caFrom.kind": ({"caFrom": NAMED}, {"caFrom": {**NAMED, "kind": "ConfigMap"}}),
}
"""What an operatorRef to a Milvus has beside its name."""


def _nested(block: str, fields: Object) -> Object:
    """Put fields at the path of a block; a backend is on, whatever its default."""
    backend, _, rest = block.partition(".")
    for name in reversed(rest.split(".") if rest else []):
        fields = {name: fields}
    if rest:
        fields = {"enabled": True, **fields}
    return {backend: fields} if block else fields


def _external(block: str, before: Object, after: Object) -> tuple[Object, Object]:
    return _nested(f"{block}.external", before), _nested(f"{block}.external", after)


def _references(block: str, named: Object, other: Object) -> dict[str, tuple[Object, Object]]:
    """The fields of an operatorRef, the kind's with an object of another kind."""
    before = _nested(f"{block}.operatorRef", named)
    changed = {
        "apiVersion": {"apiVersion": f"{named['apiVersion'].partition('/')[0]}/v2"},
        "kind": other,
        "name": {"name": "other"},
    }
    return {
        f"{block}.operatorRef.{field}": (before, _nested(f"{block}.operatorRef", named | after))
        for field, after in changed.items()
    }


def _milvus_account(username: Object, password: Object) -> Object:
    return {"url": MILVUS_URL, "usernameFrom": username, "passwordFrom": password}


def _over(given: Object, after: Object) -> Object:
    """Lay fields over a block; what a block must have of its image stays."""
    image = {**given["image"], **after["image"]} if "image" in given and "image" in after else None
    return given | after | ({"image": image} if image else {})


def _shared() -> dict[str, tuple[Object, Object]]:
    return {
        f"{block}.{field}".lstrip("."): (_nested(block, given | before), _nested(block, _over(given, after)))
        for block, given in BLOCKS.items()
        for field, (before, after) in SHARED.items()
    }


# For each field of the spec: a spec with a value, and the same with another one.
def _oidc(**more: Any) -> Object:
    return {"security": {"oidc": {"issuer": "https://login.example.com", "audience": "a", **more}}}


OIDC = _oidc()


def _provider(**more: Any) -> Object:
    return {"providers": {"items": [{**ITEM, "baseURL": "https://b.example.com/v1", **more}]}}


def _sentinels(**more: Any) -> Object:
    return {"redis": {"external": {"url": "redis://a", "topology": "sentinel", "sentinelMaster": "one", **more}}}


def _mcp(**more: Any) -> Object:
    return {"tools": {"mcpServers": [{**MCP, "url": "https://a/mcp", **more}]}}


TRACED: Object = {"tracing": {"endpoint": "https://collector:4318"}}


def _traced(**more: Any) -> Object:
    return {"tracing": {**TRACED["tracing"], **more}}


EFFECTS: dict[str, tuple[Object, Object]] = _shared() | {
    "redis.external.url": ({}, {"redis": {"external": {"url": "redis://redis.example.com:6379/0"}}}),
    "environment": ({}, {"environment": "staging"}),
    "providers.preferred": (
        {"providers": {"items": [ITEM, {**ITEM, "name": "b"}]}},
        {"providers": {"items": [ITEM, {**ITEM, "name": "b"}], "preferred": "b"}},
    ),
    "providers.fallback": ({}, {"providers": {**PROVIDERS, "fallback": False}}),
    "providers.items[].name": ({}, {"providers": {"items": [{**ITEM, "name": "other"}]}}),
    "providers.items[].baseURL": ({}, {"providers": {"items": [{**ITEM, "baseURL": "https://b.example.com/v1"}]}}),
    "providers.items[].model": ({}, {"providers": {"items": [{**ITEM, "model": "other"}]}}),
    "providers.items[].timeout": ({}, {"providers": {"items": [{**ITEM, "timeout": "5s"}]}}),
    "providers.items[].apiKeyFrom.name": ({}, {"providers": {"items": [KEYED]}}),
    "providers.items[].apiKeyFrom.key": (
        {"providers": {"items": [KEYED]}},
        {"providers": {"items": [{**ITEM, "apiKeyFrom": {"name": "provider", "key": "other"}}]}},
    ),
    "providers.items[].caFrom.name": (_provider(), _provider(caFrom=NAMED)),
    "providers.items[].caFrom.key": (_provider(caFrom=NAMED), _provider(caFrom={**NAMED, "key": "other"})),
    "providers.items[].caFrom.kind": (_provider(caFrom=NAMED), _provider(caFrom={**NAMED, "kind": "ConfigMap"})),
    "providers.items[].weight": ({}, {"providers": {"items": [{**ITEM, "weight": 3}]}}),
    "providers.items[].retries": ({}, {"providers": {"items": [{**ITEM, "retries": 0}]}}),
    "providers.items[].anyModel": ({}, {"providers": {"items": [{**ITEM, "anyModel": True}]}}),
    "providers.circuitBreaker.failures": ({}, {"providers": {**PROVIDERS, "circuitBreaker": {"failures": 3}}}),
    "providers.circuitBreaker.pause": ({}, {"providers": {**PROVIDERS, "circuitBreaker": {"pause": "1m"}}}),
    "providers.embeddingModel": ({}, {"providers": {**PROVIDERS, "embeddingModel": "embedder"}}),
    **{
        f"{block}.{name}": ({}, {block: {name: value}})
        for block, name, value in (
            ("capacity", "maxConcurrentRequests", 50),
            ("capacity", "maxEventLoopLag", "5s"),
            ("capacity", "maxRequestSize", "8Mi"),
            ("sessions", "historyMessages", 20),
            ("sessions", "maxMessages", 500),
            ("sessions", "maxSessions", 5),
            ("retention", "sessionsDays", 90),
            ("retention", "responsesDays", 0),
            ("retention", "auditDays", 90),
            ("retention", "usageDays", 90),
            ("retention", "jobsDays", 90),
            ("retrieval", "embeddingProvider", "local"),
            ("retrieval", "collection", "second"),
            ("retrieval", "chunkCharacters", 500),
            ("retrieval", "chunkOverlap", 50),
            ("retrieval", "limit", 3),
            ("retrieval", "maxDocuments", 10),
            ("retrieval", "toolEnabled", False),
        )
    },
    "tracing.endpoint": ({}, TRACED),
    "tracing.serviceName": (TRACED, _traced(serviceName="other")),
    "tracing.headersFrom.name": (TRACED, _traced(headersFrom=NAMED)),
    "tracing.headersFrom.key": (_traced(headersFrom=NAMED), _traced(headersFrom={**NAMED, "key": "other"})),
    "tracing.caFrom.name": (TRACED, _traced(caFrom=NAMED)),
    "tracing.caFrom.key": (_traced(caFrom=NAMED), _traced(caFrom={**NAMED, "key": "other"})),
    "tracing.caFrom.kind": (_traced(caFrom=NAMED), _traced(caFrom={**NAMED, "kind": "ConfigMap"})),
    "replicas": ({}, {"replicas": 4}),
    "commonLabels": ({}, {"commonLabels": {"team": "search"}}),
    "commonAnnotations": ({}, {"commonAnnotations": {"example.com/owner": "search"}}),
    "suspend": ({}, {"suspend": True}),
    "cache.enabled": ({}, {"cache": {"enabled": False}}),
    "cache.ttl": ({}, {"cache": {"ttl": "5m"}}),
    "cache.compression": ({}, {"cache": {"compression": False}}),
    "rateLimit.enabled": ({}, {"rateLimit": {"enabled": False}}),
    "rateLimit.requests": ({}, {"rateLimit": {"requests": 5}}),
    "rateLimit.window": ({}, {"rateLimit": {"window": "5m"}}),
    "rateLimit.tokensPerMinute": ({}, {"rateLimit": {"tokensPerMinute": 100_000}}),
    "rateLimit.maxParallelRequests": ({}, {"rateLimit": {"maxParallelRequests": 20}}),
    "security.apiKeysFrom.name": ({}, {"security": {"apiKeysFrom": {"name": "clients"}}}),
    "security.apiKeysFrom.key": (
        {"security": {"apiKeysFrom": {"name": "clients"}}},
        {"security": {"apiKeysFrom": {"name": "clients", "key": "other"}}},
    ),
    "security.audit.enabled": ({}, {"security": {"audit": {"enabled": True}}}),
    "security.oidc.issuer": (OIDC, _oidc(issuer="https://other.example.com")),
    "security.oidc.audience": (OIDC, _oidc(audience="other")),
    "security.oidc.tenantClaim": (OIDC, _oidc(tenantClaim="org")),
    "security.oidc.scopesClaim": (OIDC, _oidc(scopesClaim="scope")),
    "security.oidc.caFrom.name": (OIDC, _oidc(caFrom=NAMED)),
    "security.oidc.caFrom.key": (_oidc(caFrom=NAMED), _oidc(caFrom={**NAMED, "key": "other"})),
    "security.oidc.caFrom.kind": (_oidc(caFrom=NAMED), _oidc(caFrom={**NAMED, "kind": "ConfigMap"})),
    "tokenBudget.daily": ({}, {"tokenBudget": {"daily": 1}}),
    "tokenBudget.monthly": ({}, {"tokenBudget": {"monthly": 1}}),
    "security.corsOrigins": ({}, {"security": {"corsOrigins": ["https://a.example.com"]}}),
    "security.behindProxy": ({}, {"security": {"behindProxy": True}}),
    "logging.level": ({}, {"logging": {"level": "DEBUG"}}),
    "logging.format": ({}, {"logging": {"format": "console"}}),
    "redis.enabled": ({}, {"redis": {"enabled": False}}),
    "mongodb.enabled": ({}, {"mongodb": {"enabled": False}}),
    "mongodb.managed.topology": (
        {"mongodb": {"enabled": True}},
        {"mongodb": {"enabled": True, "managed": {"topology": "replicaSet"}}},
    ),
    "mongodb.external.url": (
        {"mongodb": {"enabled": True, "external": {"url": "mongodb://one.example.com/db"}}},
        {"mongodb": {"enabled": True, "external": {"url": "mongodb://other.example.com/db"}}},
    ),
    "postgresql.enabled": ({}, {"postgresql": {"enabled": True}}),
    "postgresql.managed.maxConnections": (
        {"postgresql": DATABASE},
        {"postgresql": {**DATABASE, "managed": {"maxConnections": 50}}},
    ),
    "postgresql.external.url": (
        {"postgresql": {**DATABASE, "external": {"url": "postgresql://one.example.com/db"}}},
        {"postgresql": {**DATABASE, "external": {"url": "postgresql://other.example.com/db"}}},
    ),
    "postgresql.operatorRef.apiVersion": (
        {"postgresql": {**DATABASE, "operatorRef": CLUSTER}},
        {"postgresql": {**DATABASE, "operatorRef": {**CLUSTER, "apiVersion": "postgresql.cnpg.io/v2"}}},
    ),
    "postgresql.operatorRef.kind": (
        {"postgresql": DATABASE},
        {"postgresql": {**DATABASE, "operatorRef": CLUSTER}},
    ),
    "postgresql.operatorRef.name": (
        {"postgresql": {**DATABASE, "operatorRef": CLUSTER}},
        {"postgresql": {**DATABASE, "operatorRef": {**CLUSTER, "name": "other"}}},
    ),
    "postgresql.pool.size": ({"postgresql": DATABASE}, {"postgresql": {**DATABASE, "pool": {"size": 5}}}),
    "postgresql.pool.maxOverflow": ({"postgresql": DATABASE}, {"postgresql": {**DATABASE, "pool": {"maxOverflow": 0}}}),
    "redis.managed.topology": ({}, {"redis": {"managed": {"topology": "cluster"}}}),
    "redis.external.topology": (
        {"redis": {"external": {"url": "redis://a"}}},
        {"redis": {"external": {"url": "redis://a", "topology": "cluster"}}},
    ),
    "redis.external.sentinelMaster": (_sentinels(), _sentinels(sentinelMaster="other")),
    "redis.external.sentinelPasswordFrom.name": (_sentinels(), _sentinels(sentinelPasswordFrom=NAMED)),
    "redis.external.sentinelPasswordFrom.key": (
        _sentinels(sentinelPasswordFrom=NAMED),
        _sentinels(sentinelPasswordFrom={**NAMED, "key": "other"}),
    ),
    "redis.external.sentinelAuthEnabled": (_sentinels(), _sentinels(sentinelAuthEnabled=False)),
    "redis.managed.maxMemory": ({}, {"redis": {"managed": {"maxMemory": "256Mi"}}}),
    "tools.enabled": ({}, {"tools": {"enabled": False}}),
    "tools.maxPerQuery": ({}, {"tools": {"maxPerQuery": 5}}),
    "tools.timeout": ({}, {"tools": {"timeout": "10s"}}),
    "tools.totalTimeout": ({}, {"tools": {"totalTimeout": "1m"}}),
    "tools.totalSize": ({}, {"tools": {"totalSize": "64Ki"}}),
    "tools.fetchPages": ({}, {"tools": {"fetchPages": True}}),
    "tools.allowedHosts": ({}, {"tools": {"allowedHosts": ["docs.corp.example"]}}),
    "tools.mcpServers": ({}, {"tools": {"mcpServers": [MCP]}}),
    "tools.mcpServers[].name": ({"tools": {"mcpServers": [MCP]}}, {"tools": {"mcpServers": [MCP | {"name": "b"}]}}),
    "tools.mcpServers[].url": (
        {"tools": {"mcpServers": [MCP]}},
        {"tools": {"mcpServers": [MCP | {"url": "http://b/mcp"}]}},
    ),
    "tools.mcpServers[].tools": (
        {"tools": {"mcpServers": [MCP]}},
        {"tools": {"mcpServers": [MCP | {"tools": ["add"]}]}},
    ),
    "tools.mcpServers[].tokenFrom.name": (
        {"tools": {"mcpServers": [MCP]}},
        {"tools": {"mcpServers": [MCP | {"tokenFrom": {"name": "desk"}}]}},
    ),
    "tools.mcpServers[].acceptDefaults": (_mcp(), _mcp(acceptDefaults=True)),
    "tools.mcpServers[].caFrom.name": (_mcp(), _mcp(caFrom=NAMED)),
    "tools.mcpServers[].caFrom.key": (_mcp(caFrom=NAMED), _mcp(caFrom={**NAMED, "key": "other"})),
    "tools.mcpServers[].caFrom.kind": (_mcp(caFrom=NAMED), _mcp(caFrom={**NAMED, "kind": "ConfigMap"})),
    "tools.mcpServers[].tokenFrom.key": (
        {"tools": {"mcpServers": [MCP | {"tokenFrom": {"name": "desk"}}]}},
        {"tools": {"mcpServers": [MCP | {"tokenFrom": {"name": "desk", "key": "token"}}]}},
    ),
    "agents": ({}, {"agents": [AGENT]}),
    **{
        f"agents[].{name}": ({"agents": [AGENT]}, {"agents": [AGENT | {name: value}]})
        for name, value in (
            ("name", "b"),
            ("description", "Helps."),
            ("prompt", "Other."),
            ("model", "m2"),
            ("tools", []),
            ("handoffs", ["helper"]),
            ("maxSteps", 3),
        )
    },
    "multiWriter.enabled": ({}, {"multiWriter": {"enabled": True}}),
    "multiWriter.writers": ({"multiWriter": WRITERS}, {"multiWriter": {**WRITERS, "writers": ["a", "b"]}}),
    "multiWriter.checkers": ({"multiWriter": WRITERS}, {"multiWriter": {**WRITERS, "checkers": ["a"]}}),
    "multiWriter.maxRevisions": ({"multiWriter": WRITERS}, {"multiWriter": {**WRITERS, "maxRevisions": 3}}),
    "multiWriter.passScore": ({"multiWriter": WRITERS}, {"multiWriter": {**WRITERS, "passScore": 9}}),
    "multiWriter.maxConcurrentJobs": (
        {"multiWriter": WRITERS},
        {"multiWriter": {**WRITERS, "maxConcurrentJobs": 2}},
    ),
    "milvus.enabled": ({}, {"milvus": {"enabled": False}}),
    "milvus.managed.config": ({}, _nested("milvus.managed", {"config": {"log": {"level": "warn"}}})),
    **_references("redis", REDIS_OBJECT, {**REDIS_OBJECT, "kind": "RedisReplication"}),
    **_references("mongodb", MONGODB_OBJECT, {"apiVersion": "psmdb.percona.com/v1", "kind": "PerconaServerMongoDB"}),
    **{
        f"milvus.operatorRef.{field}": (
            _nested("milvus.operatorRef", MILVUS | before),
            _nested("milvus.operatorRef", MILVUS | after),
        )
        for field, (before, after) in ACCOUNT.items()
    },
    "milvus.operatorRef.apiVersion": ({}, _nested("milvus.operatorRef", MILVUS)),
    "milvus.operatorRef.kind": ({}, _nested("milvus.operatorRef", MILVUS)),
    "milvus.operatorRef.name": (
        _nested("milvus.operatorRef", MILVUS),
        _nested("milvus.operatorRef", {**MILVUS, "name": "other"}),
    ),
    "milvus.external.url": _external("milvus", {"url": MILVUS_URL}, {"url": "http://milvus.example.com:19530"}),
    "milvus.external.usernameFrom.name": _external(
        "milvus", _milvus_account(NAMED, NAMED), _milvus_account({"name": "other"}, NAMED)
    ),
    "milvus.external.usernameFrom.key": _external(
        "milvus", _milvus_account(NAMED, NAMED), _milvus_account({**NAMED, "key": "other"}, NAMED)
    ),
    "milvus.external.passwordFrom.name": _external(
        "milvus", _milvus_account(NAMED, NAMED), _milvus_account(NAMED, {"name": "other"})
    ),
    "milvus.external.passwordFrom.key": _external(
        "milvus", _milvus_account(NAMED, NAMED), _milvus_account(NAMED, {**NAMED, "key": "other"})
    ),
    "milvus.external.apiKeyFrom.name": _external(
        "milvus", {"url": MILVUS_URL}, {"url": MILVUS_URL, "apiKeyFrom": NAMED}
    ),
    "milvus.external.apiKeyFrom.key": _external(
        "milvus", {"url": MILVUS_URL, "apiKeyFrom": NAMED}, {"url": MILVUS_URL, "apiKeyFrom": {**NAMED, "key": "other"}}
    ),
    "firecrawl.enabled": ({}, {"firecrawl": {"enabled": True}}),
    "firecrawl.managed.replicas": ({}, _nested("firecrawl.managed", {"replicas": 2})),
    "firecrawl.managed.worker.replicas": ({}, _nested("firecrawl.managed.worker", {"replicas": 2})),
    "firecrawl.managed.nuqWorker.replicas": ({}, _nested("firecrawl.managed.nuqWorker", {"replicas": 2})),
    "firecrawl.managed.browser.replicas": ({}, _nested("firecrawl.managed.browser", {"replicas": 2})),
    "firecrawl.external.url": _external("firecrawl", {"url": FIRECRAWL_URL}, {"url": "https://pages.example.com"}),
    "firecrawl.external.mode": _external("firecrawl", KEYED_URL, {**KEYED_URL, "mode": "cloud"}),
    "firecrawl.external.apiKeyFrom.name": _external("firecrawl", {"url": FIRECRAWL_URL}, KEYED_URL),
    "firecrawl.external.apiKeyFrom.key": _external(
        "firecrawl", KEYED_URL, {**KEYED_URL, "apiKeyFrom": {**NAMED, "key": "other"}}
    ),
    "reranker.enabled": ({}, _nested("reranker.managed", {"image": RERANKER})),
    "reranker.model": (
        _nested("reranker.managed", {"image": RERANKER}),
        {"reranker": {"enabled": True, "model": "other", "managed": {"image": RERANKER}}},
    ),
    "reranker.managed.replicas": (
        _nested("reranker.managed", {"image": RERANKER}),
        _nested("reranker.managed", {"image": RERANKER, "replicas": 2}),
    ),
    "reranker.managed.args": (
        _nested("reranker.managed", {"image": RERANKER}),
        _nested("reranker.managed", {"image": RERANKER, "args": ["serve"]}),
    ),
    "reranker.managed.healthPath": (
        _nested("reranker.managed", {"image": RERANKER}),
        _nested("reranker.managed", {"image": RERANKER, "healthPath": "/ready"}),
    ),
    "reranker.external.url": _external("reranker", {"url": RERANKER_URL}, {"url": "https://api.jina.ai"}),
    "reranker.external.apiKeyFrom.name": _external(
        "reranker", {"url": RERANKER_URL}, {"url": RERANKER_URL, "apiKeyFrom": NAMED}
    ),
    "reranker.external.apiKeyFrom.key": _external(
        "reranker",
        {"url": RERANKER_URL, "apiKeyFrom": NAMED},
        {"url": RERANKER_URL, "apiKeyFrom": {**NAMED, "key": "other"}},
    ),
    "searxng.enabled": ({}, {"searxng": {"enabled": False}}),
    "searxng.managed.replicas": ({}, _nested("searxng.managed", {"replicas": 2})),
    "searxng.managed.settings": ({}, _nested("searxng.managed", {"settings": {"search": {"safe_search": 1}}})),
    "searxng.external.url": _external("searxng", {"url": SEARXNG_URL}, {"url": "https://search.example.com"}),
    "ui.enabled": ({}, {"ui": {"enabled": True}}),
    "ui.host": (
        {"ingress": ON, "ui": {"enabled": True}},
        {"ingress": ON, "ui": {"enabled": True, "host": "chat.example.com"}},
    ),
    "ingress.enabled": ({}, {"ingress": ON}),
    "ingress.className": ({"ingress": ON}, {"ingress": {**ON, "className": "nginx"}}),
    "ingress.host": ({"ingress": ON}, {"ingress": {**ON, "host": "b.example.com"}}),
    "ingress.annotations": ({"ingress": ON}, {"ingress": {**ON, "annotations": {"a": "b"}}}),
    "ingress.tls.secretName": ({"ingress": ON}, {"ingress": {**ON, "tls": {"secretName": "wildcard"}}}),
    "ingress.tls.issuerRef.name": ({"ingress": ON}, {"ingress": {**ON, "tls": {"issuerRef": {"name": "a"}}}}),
    "ingress.tls.issuerRef.kind": (
        {"ingress": {**ON, "tls": {"issuerRef": {"name": "a"}}}},
        {"ingress": {**ON, "tls": {"issuerRef": {"name": "a", "kind": "Issuer"}}}},
    ),
    "podDisruptionBudget.minAvailable": ({}, {"podDisruptionBudget": {"minAvailable": 1}}),
    "podDisruptionBudget.maxUnavailable": ({}, {"podDisruptionBudget": {"maxUnavailable": 2}}),
}


@pytest.mark.parametrize("path", sorted(LEAVES - {"deletionPolicy"}))  # which says who owns what is not rendered
def test_every_field_changes_what_is_rendered_or_read(path: str) -> None:
    before, after = (assistant(**spec) for spec in EFFECTS[path])
    rendered = [desired.desired(found, FACTS).objects for found in (before, after)]
    read = [desired.referenced_objects(found) for found in (before, after)]
    assert (rendered[0], read[0]) != (rendered[1], read[1])
