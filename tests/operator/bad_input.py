"""Bad AIAssistants, each with a part of the message that the API server's CEL rules and Python must give."""

from typing import Any

from tests.operator.assistants import PROVIDERS

ITEM = PROVIDERS["items"][0]
CLUSTER = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "name": "main"}
MILVUS = {"apiVersion": "milvus.io/v1beta1", "kind": "Milvus", "name": "vectors"}
REDIS = {"apiVersion": "redis.redis.opstreelabs.in/v1beta2", "kind": "RedisCluster", "name": "main"}
PERCONA = {"apiVersion": "psmdb.percona.com/v1", "kind": "PerconaServerMongoDB", "name": "main"}
LATEST = {"repository": "registry.example.com/runtime", "tag": "latest"}


def _provider(**fields: Any) -> dict[str, Any]:
    return {"providers": {"items": [{**ITEM, **fields}]}}


def _redis(**fields: Any) -> dict[str, Any]:
    return {"redis": {"managed": fields}}


BAD_SPECS: dict[str, tuple[dict[str, Any], str]] = {
    "no provider": ({"providers": None}, "spec.providers.items: name at least one server that speaks OpenAI's API"),
    "a label of the operator's own": (
        {"commonLabels": {"app.kubernetes.io/name": "mine"}},
        "spec.commonLabels: leave out the labels that the operator sets itself",
    ),
    "provider url": (_provider(baseURL="ftp://a"), "must be an http or https URL without user, query or fragment"),
    "provider url with a password": (_provider(baseURL="https://u:p@a/v1"), "must be an http or https URL"),
    "provider name": (_provider(name="Open AI"), "must begin with a letter and hold only lower-case letters"),
    "provider timeout": (
        _provider(timeout="soon"),
        "must be a duration from 1s to 1h: whole numbers",
    ),
    "provider secret": (_provider(apiKeyFrom={"name": "A_b"}), "must be an object's name: lower-case letters"),
    "provider secret key": (_provider(apiKeyFrom={"name": "a", "key": "a b"}), "must be a key of that Secret's data"),
    "preferred": (
        {"providers": {"items": [ITEM], "preferred": "other"}},
        "spec.providers.preferred: must be the name of one of spec.providers.items",
    ),
    "provider certificates without tls": (
        _provider(baseURL="http://a/v1", caFrom={"name": "a"}),
        "spec.providers.items.baseURL: write https://, or leave caFrom out",
    ),
    "documents embedded by no model": (
        {"retrieval": {"embeddingProvider": "provider"}},
        "spec.providers.embeddingModel: name the model that retrieval.embeddingProvider: provider asks for",
    ),
    "passages that overlap too much": (
        {"retrieval": {"chunkCharacters": 150}},
        "spec.retrieval.chunkOverlap: at most half of chunkCharacters",
    ),
    "tool that no model sees": ({"agents": [{"name": "a", "prompt": "A", "tools": ["a.b"]}]}, "should match"),
    "handoff to nobody": (
        {"agents": [{"name": "a", "prompt": "A", "handoffs": ["b"]}]},
        "spec.agents.handoffs: must be names of spec.agents",
    ),
    "too much text of tools": ({"tools": {"totalSize": "17Mi"}}, "must be a Kubernetes quantity from 1Ki to 16Mi"),
    "too little text of tools": ({"tools": {"totalSize": 1023}}, "must be a Kubernetes quantity from 1Ki to 16Mi"),
    "lag too long": ({"capacity": {"maxEventLoopLag": "61s"}}, "must be a duration from 1s to 1m"),
    "origin with a path": (
        {"security": {"corsOrigins": ["https://a.example.com/"]}},
        "must be an origin as browsers send it, in lower case and without a slash at its end",
    ),
    "origin without a scheme": (
        {"security": {"corsOrigins": ["a.example.com"]}},
        "must be an origin as browsers send it",
    ),
    "collector's address": ({"tracing": {"endpoint": "collector:4318"}}, "must be an http or https URL without user"),
    "collector's certificates without tls": (
        {"tracing": {"endpoint": "http://collector:4318", "caFrom": {"name": "a"}}},
        "spec.tracing.endpoint: write https://, or leave caFrom out",
    ),
    "cpu": (
        {"resources": {"limits": {"cpu": "1 core"}}},
        "must be a Kubernetes quantity, such as 500m, 2, 512Mi or 1Gi",
    ),
    "volume size": (_redis(storage={"size": "big"}), "must be a Kubernetes quantity"),
    "redis memory": (_redis(maxMemory="512MB"), "must be a Kubernetes quantity"),
    "image without a tag": (
        {"image": {"repository": "registry.example.com/runtime"}},
        "image.tag: give a tag or a digest beside the repository",
    ),
    "image whose name has a tag": (
        {"image": {"repository": "registry.example.com:5000/runtime:1", "tag": "2"}},
        "must be an image's name without tag and digest",
    ),
    "image with a tag that is none": (_redis(image={"tag": "7 alpine"}), "must be an image's tag alone"),
    "latest in production": ({"image": LATEST}, "pin a version or a digest instead of `latest`"),
    "latest redis in production": (_redis(image=LATEST), "pin a version or a digest instead of `latest`"),
    "latest chat page in production": ({"ui": {"image": LATEST}}, "pin a version or a digest instead of `latest`"),
    "chat page's host without an ingress": (
        {"ui": {"enabled": True, "host": "chat.example.com"}},
        "spec.ui.host: the page has a DNS name only with an Ingress",
    ),
    "redis memory without a limit": (_redis(maxMemory=0), "must be a Kubernetes quantity of at least 1Mi"),
    "redis memory in thousandths": (_redis(maxMemory="100m"), "must be a Kubernetes quantity of at least 1Mi"),
    "redis memory below zero": (_redis(maxMemory="-1Gi"), "must be a Kubernetes quantity of at least 1Mi"),
    "redis memory as large as its container": (_redis(maxMemory="1Gi"), "maxMemory: must be less than"),
    "volume below zero": (_redis(storage={"size": "-1Gi"}), "must be a Kubernetes quantity of at least 1Mi"),
    "cpu below zero": ({"resources": {"limits": {"cpu": "-1"}}}, "must be a Kubernetes quantity"),
    "two modes": (
        {"redis": {"managed": {}, "external": {"url": "redis://a"}}},
        "give at most one of managed, operatorRef, external; none means managed",
    ),
    "redis by another kind": (
        {"redis": {"operatorRef": {**REDIS, "kind": "Redis"}}},
        "operatorRef: must name one of RedisCluster (redis.redis.opstreelabs.in), RedisReplication",
    ),
    "redis by a mongodb": ({"redis": {"operatorRef": PERCONA}}, "operatorRef: must name one of RedisCluster"),
    "mongodb by a redis": (
        {"mongodb": {"operatorRef": REDIS}},
        "must name one of PerconaServerMongoDB (psmdb.percona.com), MongoDBCommunity (mongodbcommunity.mongodb.com)",
    ),
    "mongodb in two modes": (
        {"mongodb": {"managed": {}, "operatorRef": PERCONA}},
        "give at most one of managed, operatorRef, external; none means managed",
    ),
    "external without a url": ({"redis": {"external": {}}}, "external: give url, or urlFrom"),
    "external with two urls": (
        {"redis": {"external": {"url": "redis://a", "urlFrom": {"name": "a"}}}},
        "external: give url, or urlFrom",
    ),
    "external url with a password": (
        {"redis": {"external": {"url": "redis://:pw@a:6379/0"}}},
        "without a user or password: for one with them, use urlFrom",
    ),
    "external url of another server": ({"redis": {"external": {"url": "http://a"}}}, "must be a URL such as redis://"),
    "sentinels without a name": (
        {"redis": {"external": {"url": "redis://a", "topology": "sentinel"}}},
        "sentinelMaster: with topology sentinel, give the name",
    ),
    "sentinels' password without sentinels": (
        {"redis": {"external": {"url": "redis://a", "sentinelPasswordFrom": {"name": "a"}}}},
        "sentinelPasswordFrom, sentinelAuthEnabled: leave them out with any topology but sentinel",
    ),
    "sentinels with a password that they don't ask for": (
        {
            "redis": {
                "external": {
                    "url": "redis://a",
                    "topology": "sentinel",
                    "sentinelMaster": "a",
                    "sentinelPasswordFrom": {"name": "a"},
                    "sentinelAuthEnabled": False,
                }
            }
        },
        "sentinelPasswordFrom: leave it out, or sentinelAuthEnabled: false",
    ),
    "redis cluster's second database": (
        {"redis": {"external": {"url": "redis://a:6379/1", "topology": "cluster"}}},
        "external.url: a Redis Cluster has database 0 alone; end the URL with /0",
    ),
    "redis cluster's second database as an option": (
        {"redis": {"external": {"url": "rediss://a/?db=2", "topology": "cluster"}}},
        "external.url: a Redis Cluster has database 0 alone; end the URL with /0",
    ),
    "latest mongodb in production": (
        {"mongodb": {"managed": {"image": LATEST}}},
        "pin a version or a digest instead of `latest`",
    ),
    "mongodb url with a password": (
        {"mongodb": {"external": {"url": "mongodb://u:pw@a/b"}}},
        "without a user or password: for one with them, use urlFrom",
    ),
    "latest postgresql in production": (
        {"postgresql": {"managed": {"image": LATEST}}},
        "pin a version or a digest instead of `latest`",
    ),
    "postgresql url of another server": (
        {"postgresql": {"external": {"url": "mysql://a/b"}}},
        "must be a URL such as postgresql://",
    ),
    "operatorRef beside another mode": (
        {"postgresql": {"managed": {}, "operatorRef": CLUSTER}},
        "give at most one of managed, operatorRef, external; none means managed",
    ),
    "operatorRef of an unknown kind": (
        {"postgresql": {"operatorRef": {**CLUSTER, "kind": "Postgres"}}},
        "operatorRef: must name one of Cluster (postgresql.cnpg.io)",
    ),
    "operatorRef of another operator's group": (
        {"postgresql": {"operatorRef": {**CLUSTER, "apiVersion": "postgresql.cnpg.io.example.com/v1"}}},
        "operatorRef: must name one of Cluster (postgresql.cnpg.io)",
    ),
    "operatorRef without a version": (
        {"postgresql": {"operatorRef": {**CLUSTER, "apiVersion": "postgresql.cnpg.io"}}},
        "must be an API group and a version, such as postgresql.cnpg.io/v1",
    ),
    "postgresql volume size": (
        {"postgresql": {"managed": {"storage": {"size": "10 GB"}}}},
        "must be a Kubernetes quantity",
    ),
    "latest milvus in production": (
        {"milvus": {"enabled": True, "managed": {"image": LATEST}}},
        "pin a version or a digest instead of `latest`",
    ),
    "latest searxng in production": (
        {"searxng": {"enabled": True, "managed": {"image": LATEST}}},
        "pin a version or a digest instead of `latest`",
    ),
    "milvus in three modes": (
        {"milvus": {"managed": {}, "operatorRef": MILVUS, "external": {"url": "http://a:19530"}}},
        "give at most one of managed, operatorRef, external; none means managed",
    ),
    "milvus by another kind": (
        {"milvus": {"operatorRef": {**MILVUS, "kind": "MilvusCluster"}}},
        "operatorRef: must name one of Milvus (milvus.io)",
    ),
    "milvus object's password without a user": (
        {"milvus": {"operatorRef": {**MILVUS, "passwordFrom": {"name": "a"}}}},
        "operatorRef: give usernameFrom and passwordFrom together, or neither",
    ),
    "milvus password without a user": (
        {"milvus": {"external": {"url": "http://a:19530", "passwordFrom": {"name": "a"}}}},
        "external: give usernameFrom and passwordFrom together, or apiKeyFrom",
    ),
    "milvus certificates without tls": (
        {"milvus": {"external": {"url": "http://a:19530", "caFrom": {"name": "a"}}}},
        "external.url: write https://, or leave caFrom out",
    ),
    "searxng certificates without tls": (
        {"searxng": {"external": {"url": "http://a", "caFrom": {"name": "a"}}}},
        "external.url: write https://, or leave caFrom out",
    ),
    "firecrawl certificates without tls": (
        {"firecrawl": {"external": {"url": "http://a", "caFrom": {"name": "a"}}}},
        "external.url: write https://, or leave caFrom out",
    ),
    "reranker certificates without tls": (
        {"reranker": {"external": {"url": "http://a", "caFrom": {"name": "a"}}}},
        "external.url: write https://, or leave caFrom out",
    ),
    "issuer's certificates without tls": (
        {"security": {"oidc": {"issuer": "http://a", "audience": "a", "caFrom": {"name": "a"}}}},
        "spec.security.oidc.issuer: write https://, or leave caFrom out",
    ),
    "mcp server's certificates without tls": (
        {"tools": {"mcpServers": [{"name": "a", "url": "http://a/mcp", "caFrom": {"name": "a"}}]}},
        "spec.tools.mcpServers.url: write https://, or leave caFrom out",
    ),
    "milvus token beside a password": (
        {
            "milvus": {
                "external": {
                    "url": "http://a:19530",
                    "usernameFrom": {"name": "a"},
                    "passwordFrom": {"name": "a"},
                    "apiKeyFrom": {"name": "a"},
                }
            }
        },
        "external: give usernameFrom and passwordFrom together, or apiKeyFrom",
    ),
    "searxng in two modes": (
        {"searxng": {"managed": {}, "external": {"url": "http://a"}}},
        "give at most one of managed, external; none means managed",
    ),
    "latest firecrawl browser in production": (
        {"firecrawl": {"enabled": True, "managed": {"browser": {"image": LATEST}}}},
        "pin a version or a digest instead of `latest`",
    ),
    "latest reranker in production": (
        {"reranker": {"enabled": True, "managed": {"image": LATEST}}},
        "pin a version or a digest instead of `latest`",
    ),
    "firecrawl's cloud without a key": (
        {"firecrawl": {"enabled": True, "external": {"mode": "cloud"}}},
        "external.apiKeyFrom: mode cloud needs the Secret key",
    ),
    "firecrawl elsewhere without a url": (
        {"firecrawl": {"enabled": True, "external": {"mode": "docker"}}},
        "external: give url or urlFrom",
    ),
    "firecrawl with two urls": (
        {"firecrawl": {"external": {"url": "http://a", "urlFrom": {"name": "a"}}}},
        "external: give url or urlFrom",
    ),
    "reranker without an image": ({"reranker": {"enabled": True}}, "give managed.image (a server that answers"),
    "searxng without pods": ({"searxng": {"managed": {"replicas": 0}}}, "greater than or equal to 1"),
    "cache ttl": ({"cache": {"ttl": "1 hour"}}, "must be a duration"),
    "window": ({"rateLimit": {"window": "60"}}, "must be a duration"),
    "no tokens a minute": ({"rateLimit": {"tokensPerMinute": 0}}, "greater than or equal to 1"),
    "no parallel requests": ({"rateLimit": {"maxParallelRequests": 0}}, "greater than or equal to 1"),
    "window of nothing": ({"rateLimit": {"window": "0s"}}, "must be a duration from 1s to 24h"),
    "cache for too long": ({"cache": {"ttl": "9999h"}}, "must be a duration from 1s to 720h"),
    "timeout too long": (_provider(timeout="61m"), "must be a duration from 1s to 1h"),
    "ingress without a host": (
        {"ingress": {"enabled": True}},
        "spec.ingress.host: an enabled Ingress needs the DNS name",
    ),
    "host with a scheme": (
        {"ingress": {"enabled": True, "host": "https://a.example.com"}},
        "must be a DNS name in lower case without scheme, port or path",
    ),
    "host in capitals": ({"ingress": {"enabled": True, "host": "A.example.com"}}, "must be a DNS name in lower case"),
    "tls without a source": (
        {"ingress": {"enabled": True, "host": "a.example.com", "tls": {}}},
        "spec.ingress.tls: give secretName (a TLS Secret that exists) or issuerRef (a cert-manager issuer)",
    ),
    "two budgets": (
        {"podDisruptionBudget": {"minAvailable": 1, "maxUnavailable": 1}},
        "spec.podDisruptionBudget: give minAvailable or maxUnavailable, not both",
    ),
    "budget": ({"podDisruptionBudget": {"minAvailable": "half"}}, "must be a number of pods or a percentage"),
}

BAD_NAMES = ["a" * 53, "1demo", "my.demo"]
