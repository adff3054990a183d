"""What the blocks of the spec share: the base of every model, and the fields that many blocks have."""

import json
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.alias_generators import to_camel, to_snake
from pydantic.config import JsonDict

from assistant_operator.spec.rules import Rule
from assistant_operator.spec.values import ApiVersion, Kind, ObjectName, Quantity, Repository, SecretKey, Size, Tag

Mode = Literal["Managed", "OperatorRef", "External"]
"""Who runs a backend: this operator, another operator, or somebody elsewhere."""


def map_list(key: str) -> JsonDict:
    """Schema of a list whose entries are told apart by `key`, so that appliers merge it entry by entry."""
    return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key]}


_DEEPEST = 32
"""Levels of an overlay: some three times those of a pod template with affinities and hooks."""
_LARGEST = 64 * 1024
"""Bytes of an overlay as JSON: an object has 1.5 MiB for all of them, and a ConfigMap 1 MiB."""


def _bounded(overlay: Any) -> Any:
    """Refuse what nests too deep or is too large to be worked on. The CRD can't: CEL sees nothing without a schema."""
    level: list[Any] = [overlay]
    for _ in range(_DEEPEST + 1):
        level = [
            child
            for value in level
            if isinstance(value, dict | list)
            for child in (value.values() if isinstance(value, dict) else value)
        ]
    if level:
        raise ValueError(f"nests deeper than {_DEEPEST} levels; leave out what no pod template or configuration has")
    size = len(json.dumps(overlay, ensure_ascii=False, separators=(",", ":"), default=str).encode(errors="replace"))
    if size > _LARGEST:
        raise ValueError(
            f"has {size // 1024} KiB, and may have {_LARGEST // 1024}: put files into a ConfigMap, and mount that"
        )
    return overlay


Overlay = Annotated[
    dict[str, Any],
    Field(json_schema_extra={"x-kubernetes-preserve-unknown-fields": True}),
    BeforeValidator(_bounded),
]
"""What is merged into something rendered. Its content has no schema here, only a bound of depth and size."""


class Model(BaseModel):
    """Base of every block: camelCase outside, snake_case inside, frozen, unknown fields refused, rules checked."""

    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        extra="forbid",
        frozen=True,
        use_attribute_docstrings=True,
    )
    rules: ClassVar[tuple[Rule, ...]] = ()

    @model_validator(mode="after")
    def _check_rules(self) -> Self:
        for rule in self.rules:
            if not rule.holds(self):
                raise ValueError(rule.message)
        return self

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Return the very block: nothing changes it, and pydantic copies every default of every resource."""
        return self


Source = Literal["Secret", "ConfigMap"]
"""Kind of an object that holds what pods read."""


class KeyRef(Model):
    """One key of an object in the AIAssistant's namespace that holds what pods read."""

    name: ObjectName
    key: SecretKey

    @property
    def source(self) -> Source:
        """Kind of the object."""
        return "Secret"


class SecretKeyRef(KeyRef):
    """One key of a Secret in the AIAssistant's namespace."""

    name: ObjectName
    """Name of the Secret."""
    key: SecretKey = "api-key"
    """Key within the Secret's data."""


def _repository(reference: str) -> str:
    """Strip tag and digest from an image reference; the colon of a registry's port stays."""
    path, _, name = reference.partition("@")[0].rpartition("/")
    return f"{path}/{name.partition(':')[0]}".lstrip("/")


class Image(Model):
    """A container image."""

    rules = (
        Rule(
            cel="!has(self.repository) || has(self.tag) || has(self.digest)",
            message="image.tag: give a tag or a digest beside the repository, so that what runs is known",
            holds=lambda image: not image.repository or bool(image.tag or image.digest),
        ),
    )

    repository: Repository | None = None
    """Image name without tag, such as registry.example.com/ai/runtime. Default: the operator's own default image."""
    tag: Tag | None = None
    """Image tag; without `repository`, another tag of the operator's default image."""
    digest: Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$", max_length=71)] | None = None
    """Image digest, such as sha256:…; it wins over the tag."""
    pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """When the kubelet pulls the image. Default: Kubernetes' own rule (Always for `latest`, else IfNotPresent)."""
    pull_secrets: Annotated[list[ObjectName], Field(max_length=8)] = []
    """Names of Secrets of type kubernetes.io/dockerconfigjson to pull with."""

    def reference(self, default: str) -> str:
        """Return the image reference to run: `default`, with what is given here put in its place."""
        repository = self.repository or _repository(default)
        if self.digest:
            return f"{repository}@{self.digest}"
        return f"{repository}:{self.tag}" if self.tag else default


class Resources(Model):
    """Compute resources, as in core/v1."""

    requests: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Amounts the scheduler reserves, by resource name."""
    limits: Annotated[dict[str, Quantity], Field(max_length=16)] | None = None
    """Amounts the container may not exceed, by resource name."""


class Storage(Model):
    """A persistent volume."""

    size: Size = "1Gi"
    """Capacity of the volume."""
    storage_class_name: ObjectName | None = None
    """StorageClass of the volume. Default: the cluster's default class."""


class ManagedServer(Model):
    """A server that the operator runs, with a volume. Subclasses give each field the server's own default."""

    image: Image = Image()
    """Image of the server."""
    resources: Resources = Resources()
    """Compute resources of the server."""
    storage: Storage = Storage()
    """Volume of the server. It stays when the AIAssistant is deleted, unless `deletionPolicy` is Delete."""
    pod_template: Overlay = {}
    """Overlay on the pods' template (metadata and spec), merged as Kubernetes merges: scheduling, sidecars."""


class URLKeyRef(SecretKeyRef):
    """The key of a Secret that holds a connection URL."""

    key: SecretKey = "url"
    """Key within the Secret's data."""


class PasswordKeyRef(SecretKeyRef):
    """The key of a Secret that holds a password."""

    key: SecretKey = "password"
    """Key within the Secret's data."""


class CertificateKeyRef(KeyRef):
    """The key of a Secret or a ConfigMap that holds certificates as PEM."""

    name: ObjectName
    """Name of the Secret or ConfigMap."""
    key: SecretKey = "ca.crt"
    """Key within its data."""
    kind: Source = "Secret"
    """Whether it is a Secret or a ConfigMap."""

    @property
    def source(self) -> Source:
        """Kind of the object."""
        return self.kind


def certificates_need_tls(url: str, written: str) -> Rule:
    """Return the rule that certificates to trust are given for https alone.

    Parameters
    ----------
    url
        Field of the block that has the server's address, as in the resource.
    written
        The same as a person would say it, such as external.url.
    """

    def holds(block: Any) -> bool:
        address = getattr(block, to_snake(url), None)
        return not (block.ca_from and address) or str(address).startswith("https://")

    return Rule(
        cel=f"!has(self.caFrom) || !has(self.{url}) || self.{url}.startsWith('https://')",
        message=f"{written}: write https://, or leave caFrom out: certificates are for TLS",
        holds=holds,
    )


def named_keys(block: Model) -> Iterator[tuple[str, KeyRef]]:
    """Yield the fields that name a key of a Secret or ConfigMap, as the resource writes them, and what they name."""
    for name in type(block).model_fields:
        if isinstance(value := getattr(block, name), KeyRef):
            yield to_camel(name), value


class OperatorRef(Model):
    """An object of another operator, in the AIAssistant's namespace, that stands for a server."""

    api_version: ApiVersion
    """API group and version of the object, such as postgresql.cnpg.io/v1."""
    kind: Kind
    """Kind of the object."""
    name: ObjectName
    """Name of the object."""

    @property
    def group(self) -> str:
        """API group of the object."""
        return self.api_version.partition("/")[0]

    def references(self) -> Iterator[tuple[str, KeyRef]]:
        """Yield the fields that name a key of a Secret or ConfigMap of the user's, and what they name."""
        return named_keys(self)


class External(Model):
    """A server that runs elsewhere. Subclasses add `url`, each with the schemes that its server speaks."""

    rules: ClassVar[tuple[Rule, ...]] = (
        Rule(
            cel="has(self.url) != has(self.urlFrom)",
            message="external: give url, or urlFrom (a key of a Secret, for a URL that holds a password), and not both",
            holds=lambda external: bool(external.url) != bool(external.url_from),
        ),
    )

    url_from: URLKeyRef | None = None
    """Secret key that holds the URL. That of Redis, MongoDB and PostgreSQL may have a user and a password in it."""
    ca_from: CertificateKeyRef | None = None
    """Key with the certificates (PEM) to trust. Default: those that the runtime's image trusts."""

    def references(self) -> Iterator[tuple[str, KeyRef]]:
        """Yield the fields that name a key of a Secret or ConfigMap, and what they name."""
        return named_keys(self)


class Backend(Model):
    """A server of the stack, run in one of several ways. Subclasses add `managed`, `operator_ref` and `external`."""

    @property
    def mode(self) -> Mode:
        """Who runs it."""
        if getattr(self, "external", None) is not None:
            return "External"
        return "OperatorRef" if getattr(self, "operator_ref", None) is not None else "Managed"


def one_mode(*fields: str) -> Rule:
    """Return the rule that at most one of a backend's modes is given; `fields` as written in the resource."""
    given = ", ".join(f"has(self.{field})" for field in fields)
    names = {to_snake(field): field for field in fields}
    return Rule(
        cel=f"[{given}].filter(given, given).size() <= 1",
        message=f"give at most one of {', '.join(fields)}; none means managed",
        holds=lambda backend: sum(getattr(backend, name) is not None for name in names) <= 1,
    )


def accepted_kinds(*kinds: tuple[str, str]) -> Rule:
    """Return the rule that `operatorRef` names one of these API groups and kinds."""
    known = [
        f"(self.operatorRef.apiVersion.startsWith('{group}/') && self.operatorRef.kind == '{kind}')"
        for group, kind in kinds
    ]
    return Rule(
        cel=f"!has(self.operatorRef) || {' || '.join(known)}",
        message=f"operatorRef: must name one of {', '.join(f'{kind} ({group})' for group, kind in kinds)}",
        holds=lambda backend: (
            backend.operator_ref is None or (backend.operator_ref.group, backend.operator_ref.kind) in kinds
        ),
        field_path=".operatorRef",
    )
