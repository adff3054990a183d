"""Hypothesis strategies that draw any valid AIAssistant."""

from typing import Any

from hypothesis import strategies as st

from assistant_operator.spec.assistant import AIAssistant

NAMES = st.from_regex(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?", fullmatch=True)
QUANTITIES = st.sampled_from(["512Mi", "1Gi", 2**30, "1000000000"])
OVERLAYS = st.sampled_from([{}, {"spec": {"nodeSelector": {"disk": "ssd"}}}])
DURATIONS = st.sampled_from(["30s", "5m", "30m30s", "3600s"])
RESOURCES = st.fixed_dictionaries(
    {}, optional={k: st.dictionaries(st.sampled_from(["cpu", "memory"]), QUANTITIES) for k in ("requests", "limits")}
)
IMAGES = st.fixed_dictionaries(
    {}, optional={"tag": st.just("1.2.3"), "pullSecrets": st.just(["registry"]), "pullPolicy": st.just("Always")}
)
REFERENCES = st.fixed_dictionaries({"name": st.sampled_from(["one", "two"])}, optional={"key": st.just("token")})
AUTHORITIES = REFERENCES | st.fixed_dictionaries({"name": st.just("bundle"), "kind": st.just("ConfigMap")})
PROVIDERS = st.lists(
    st.fixed_dictionaries(
        {
            "name": NAMES.map(lambda n: n[:20].rstrip("-")),
            "baseURL": st.just("https://a.example.com/v1"),
            "model": st.just("m"),
        },
        optional={
            "apiKeyFrom": REFERENCES,
            "caFrom": AUTHORITIES,
            "timeout": DURATIONS,
            "weight": st.integers(0, 1000),
            "retries": st.integers(0, 10),
            "anyModel": st.booleans(),
        },
    ),
    min_size=1,
    max_size=3,
    unique_by=lambda provider: provider["name"],
)
BREAKERS = st.fixed_dictionaries({}, optional={"failures": st.integers(0, 1000), "pause": DURATIONS})


def _operator_ref(api_version: str, kind: str) -> st.SearchStrategy[dict[str, Any]]:
    """The `operatorRef` block of a backend."""
    return st.just({"apiVersion": api_version, "kind": kind, "name": "main"})


def _external(url: str) -> st.SearchStrategy[dict[str, Any]]:
    """The `external` block of a backend."""
    authority = {"caFrom": AUTHORITIES}
    return st.fixed_dictionaries({"url": st.just(url)}, optional=authority) | st.fixed_dictionaries(
        {"urlFrom": REFERENCES}, optional=authority
    )


POD = {"image": IMAGES, "resources": RESOURCES, "podTemplate": OVERLAYS}
"""What the `managed` block of every backend may have."""
SERVER = {**POD, "storage": st.fixed_dictionaries({"size": st.sampled_from(["1Gi", 2**30])})}
"""What that of every backend with a volume may have."""
REDIS_KINDS = ("RedisCluster", "RedisReplication", "RedisSentinel")
MONGODB_KINDS = {"PerconaServerMongoDB": "psmdb.percona.com/v1", "MongoDBCommunity": "mongodbcommunity.mongodb.com/v1"}
MILVUS = {"apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "name": "vectors"}
ACCOUNT = {"usernameFrom": {"name": "one"}, "passwordFrom": {"name": "two", "key": "token"}}
AUTHORITY = {"caFrom": {"name": "one"}}

RERANKER = {"repository": "registry.example.com/reranker", "tag": "1.2.3"}
_RERANKERS = st.fixed_dictionaries(
    {
        "enabled": st.booleans(),
        "managed": st.fixed_dictionaries(
            {"image": st.just(RERANKER)},
            optional={"resources": RESOURCES, "replicas": st.integers(1, 3), "args": st.just(["serve"])},
        ),
    },
    optional={"model": st.just("m")},
) | st.fixed_dictionaries({"enabled": st.booleans(), "external": _external("https://reranker.example.com")})

SPECS = st.fixed_dictionaries(
    {
        "providers": st.fixed_dictionaries(
            {"items": PROVIDERS}, optional={"embeddingModel": st.just("embedder"), "circuitBreaker": BREAKERS}
        )
    },
    optional={
        "environment": st.sampled_from(["development", "staging", "production"]),
        "image": IMAGES,
        "replicas": st.integers(0, 10),
        "resources": RESOURCES,
        "suspend": st.booleans(),
        "podTemplate": OVERLAYS,
        "deletionPolicy": st.sampled_from(["Retain", "Delete"]),
        "cache": st.fixed_dictionaries({}, optional={"enabled": st.booleans(), "ttl": DURATIONS}),
        "rateLimit": st.fixed_dictionaries(
            {},
            optional={
                "requests": st.integers(1, 1000),
                "window": DURATIONS,
                "tokensPerMinute": st.integers(1, 1000),
                "maxParallelRequests": st.integers(1, 1000),
            },
        ),
        "tokenBudget": st.fixed_dictionaries({}, optional={"daily": st.integers(1, 10**15), "monthly": st.just(1)}),
        "security": st.fixed_dictionaries(
            {},
            optional={
                "apiKeysFrom": REFERENCES,
                "behindProxy": st.booleans(),
                "audit": st.fixed_dictionaries({"enabled": st.booleans()}),
                "oidc": st.fixed_dictionaries(
                    {
                        "issuer": st.sampled_from(["https://a.example.com", "https://b.example.com/"]),
                        "audience": st.just("a"),
                    },
                    optional={"scopesClaim": st.just("scope"), "tenantClaim": st.just("org"), "caFrom": AUTHORITIES},
                ),
            },
        ),
        "redis": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "managed": st.fixed_dictionaries(
                    {"maxMemory": st.sampled_from(["64Mi", "100Mi"])},
                    optional={**SERVER, "topology": st.sampled_from(["standalone", "cluster"])},
                )
            },
        )
        | st.fixed_dictionaries({"external": _external("redis://redis.example.com:6379/0")})
        | st.sampled_from(REDIS_KINDS)
        .flatmap(lambda kind: _operator_ref("redis.redis.opstreelabs.in/v1beta2", kind))
        .map(lambda ref: {"operatorRef": ref}),
        "capacity": st.fixed_dictionaries(
            {},
            optional={
                "maxConcurrentRequests": st.integers(1, 100_000),
                "maxEventLoopLag": st.sampled_from(["1s", "1m"]),
                "maxRequestSize": st.sampled_from(["1Mi", "1.5Mi", 2**30]),
            },
        ),
        "sessions": st.fixed_dictionaries(
            {},
            optional={
                "historyMessages": st.integers(1, 1000),
                "maxMessages": st.integers(2, 10**6),
                "maxSessions": st.integers(1, 10**7),
            },
        ),
        "retention": st.fixed_dictionaries(
            {},
            optional={
                f"{kind}Days": st.integers(0, 36_500) for kind in ("sessions", "responses", "audit", "usage", "jobs")
            },
        ),
        "retrieval": st.fixed_dictionaries(
            {},
            optional={
                "collection": st.from_regex(r"[A-Za-z][A-Za-z0-9_]{0,99}", fullmatch=True),
                "chunkCharacters": st.integers(200, 8000),
                "chunkOverlap": st.integers(0, 100),
                "limit": st.integers(1, 50),
                "maxDocuments": st.integers(1, 8000),
                "toolEnabled": st.booleans(),
            },
        ),
        "tracing": st.fixed_dictionaries(
            {}, optional={"endpoint": st.just("http://collector:4318"), "serviceName": st.just("a")}
        ),
        "tools": st.fixed_dictionaries(
            {},
            optional={
                "totalSize": st.sampled_from(["1Ki", "16Mi", 2048]),
                "enabled": st.booleans(),
                "maxPerQuery": st.integers(1, 9),
                "timeout": DURATIONS,
                "allowedHosts": st.just(["docs.corp.example", "*.wiki.example", "10.1.0.0/16"]),
                "mcpServers": st.just(
                    [
                        {"name": "desk", "url": "http://desk:8000/mcp", "tokenFrom": {"name": "one"}},
                        {"name": "shop", "url": "https://shop/mcp", "caFrom": {"name": "one", "kind": "ConfigMap"}},
                    ]
                ),
            },
        ),
        "agents": st.just(
            [
                {"name": "helper", "prompt": "€ " * 8192, "handoffs": ["editor"]},
                {"name": "editor", "prompt": "Edit.", "tools": [], "model": "m", "maxSteps": 3},
            ]
        ),
        "multiWriter": st.fixed_dictionaries(
            {"enabled": st.booleans()}, optional={"writers": st.just(["a", "b/c"]), "passScore": st.integers(0, 10)}
        ),
        "ui": st.fixed_dictionaries(
            {"enabled": st.booleans()}, optional={"image": IMAGES, "resources": RESOURCES, "podTemplate": OVERLAYS}
        ),
        "mongodb": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "managed": st.fixed_dictionaries(
                    {}, optional={**SERVER, "topology": st.sampled_from(["standalone", "replicaSet"])}
                )
            },
        )
        | st.fixed_dictionaries({"external": _external("mongodb://mongodb.example.com:27017/ai_assistant")})
        | st.sampled_from(sorted(MONGODB_KINDS))
        .flatmap(lambda kind: _operator_ref(MONGODB_KINDS[kind], kind))
        .map(lambda ref: {"enabled": True, "operatorRef": ref}),
        "postgresql": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={"managed": st.fixed_dictionaries({}, optional={**SERVER, "maxConnections": st.just(50)})},
        )
        | st.fixed_dictionaries(
            {"enabled": st.booleans(), "operatorRef": _operator_ref("postgresql.cnpg.io/v1", "Cluster")}
        )
        | st.fixed_dictionaries({"external": _external("postgresql://postgresql.example.com:5432/ai_assistant")}),
        "milvus": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "managed": st.fixed_dictionaries({}, optional={**SERVER, "config": st.just({"log": {"level": "warn"}})})
            },
        )
        | st.fixed_dictionaries(
            {"enabled": st.booleans(), "operatorRef": st.sampled_from([MILVUS, MILVUS | ACCOUNT, MILVUS | AUTHORITY])}
        )
        | st.fixed_dictionaries({"enabled": st.booleans(), "external": _external("https://milvus.example.com:19530")}),
        "firecrawl": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "managed": st.fixed_dictionaries(
                    {},
                    optional={
                        **POD,
                        "replicas": st.integers(1, 3),
                        "worker": st.fixed_dictionaries({}, optional={"resources": RESOURCES, "podTemplate": OVERLAYS}),
                        "nuqWorker": st.fixed_dictionaries({}, optional={"replicas": st.integers(1, 3)}),
                        "browser": st.fixed_dictionaries({}, optional={**POD, "replicas": st.integers(1, 3)}),
                        "redis": st.fixed_dictionaries({}, optional=SERVER),
                        "postgresql": st.fixed_dictionaries({}, optional=SERVER),
                    },
                )
            },
        )
        | st.fixed_dictionaries({"enabled": st.booleans(), "external": _external("https://firecrawl.example.com")})
        | st.just({"enabled": True, "external": {"mode": "cloud", "apiKeyFrom": {"name": "one"}}}),
        "reranker": _RERANKERS,
        "searxng": st.fixed_dictionaries(
            {"enabled": st.booleans()},
            optional={
                "managed": st.fixed_dictionaries(
                    {},
                    optional={
                        **POD,
                        "replicas": st.integers(1, 3),
                        "settings": st.just({"search": {"safe_search": 1}}),
                    },
                )
            },
        )
        | st.fixed_dictionaries({"enabled": st.booleans(), "external": _external("https://searxng.example.com")}),
        "ingress": st.fixed_dictionaries(
            {"enabled": st.booleans(), "host": st.just("a.example.com")},
            optional={"tls": st.just({"secretName": "wildcard"}), "className": st.just("nginx")},
        ),
        "podDisruptionBudget": st.sampled_from([{}, {"minAvailable": 1}, {"maxUnavailable": "25%"}]),
    },
)


def _assistant(name: str, spec: dict[str, Any]) -> AIAssistant:
    return AIAssistant.model_validate({"metadata": {"name": name, "namespace": "ns", "uid": "u"}, "spec": spec})


ASSISTANTS = st.builds(_assistant, NAMES, SPECS)
