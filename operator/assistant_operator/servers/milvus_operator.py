"""What a `Milvus` of the Milvus operator says: where it is, whether it wants TLS and a password, and whether it serves.

Names follow its version 1.3, in https://github.com/zilliztech/milvus-operator: Service and status in
pkg/controllers/conditions.go and apis/milvus.io/v1beta1/milvus_types.go; `spec.config` is Milvus' own configuration,
with the certificates mounted as config/samples/external_tls.yaml shows. The operator keeps no account: the users are in
Milvus, and whoever made them has their passwords.
"""

from dataclasses import replace
from pathlib import PurePosixPath
from typing import Any

from assistant_operator import conditions
from assistant_operator.health.workload import Health
from assistant_operator.rooms.binding import Binding
from assistant_operator.servers.fields import Body, name, part, service
from assistant_operator.spec.base import SecretKeyRef
from assistant_operator.spec.milvus import MilvusRef

GROUP = "milvus.io"
KIND = "Milvus"
PLURAL = "milvuses"
OPERATOR = "Milvus Operator"

_PORT = 19530
_MUTUAL_TLS = 2
"""Value of common.security.tlsMode with which clients need certificates too; 1 is TLS, 0 none."""


def binding(milvus: Body) -> Binding:
    """Return how it is reached: as its status says, or by the Service that its operator will make."""
    host = part(milvus, "status").get("endpoint") or f"{service(milvus, 'milvus')}:{_PORT}"
    if not _tls_mode(milvus):
        return Binding(url=f"http://{host}")
    return Binding(url=f"https://{host}", ca=_authority(milvus))


def completed(bound: Binding, ref: MilvusRef) -> Binding:
    """Return a binding with what the reference gives: the account, and the certificates to trust where TLS is on."""
    tls = isinstance(bound.url, str) and bound.url.startswith("https://")
    authority = (ref.ca_from or bound.ca) if tls else None
    return replace(bound, username=ref.username_from, password=ref.password_from, ca=authority)


def problem(milvus: Body, ref: MilvusRef) -> str | None:
    """Say what keeps it from being used: a password that nobody names, or certificates of clients."""
    if _tls_mode(milvus) >= _MUTUAL_TLS:
        return (
            f"{KIND} {name(milvus)} asks every client for a certificate, which the assistant's runtime has not. Set "
            "its spec.config.common.security.tlsMode to 1."
        )
    if _is_true(_security(milvus).get("authorizationEnabled")) and ref.password_from is None:
        return (
            f"{KIND} {name(milvus)} asks for a password (spec.config.common.security.authorizationEnabled), and has no "
            "Secret to read it from. Put user and password into one, and name its keys by usernameFrom and "
            "passwordFrom beside the object's name."
        )
    return None


def health(milvus: Body) -> Health:
    """Return what the status says, with the first failing condition."""
    status = part(milvus, "status")
    state = status.get("status") or "Pending"
    if state == "Healthy":
        return Health(True, conditions.READY, f"{KIND} {name(milvus)} is Healthy.")
    failing = (entry for entry in status.get("conditions") or [] if entry.get("status") == "False")
    detail = next((f": {entry.get('type')}: {entry.get('message')}" for entry in failing), ".")
    return Health(
        False, conditions.PROGRESSING if state == "Pending" else state, f"{KIND} {name(milvus)} is {state}{detail}"
    )


def _authority(milvus: Body) -> SecretKeyRef | None:
    """Return the Secret key that is mounted where Milvus finds its authority, or else its own certificate.

    None where no Secret is mounted there: such a certificate must be one that the runtime's image trusts.
    """
    # As Milvus documents it, or where the sample of its operator has it.
    config = part(milvus, "spec", "config")
    files = part(config, "tls") or part(config, "common", "tls")
    path = files.get("caPemPath") or files.get("serverPemPath")
    components = part(milvus, "spec", "components")
    volumes = {volume["name"]: volume for volume in components.get("volumes") or []}
    for mount in components.get("volumeMounts") or []:
        secret = part(volumes.get(mount["name"]) or {}, "secret")
        if path and secret.get("secretName") and (key := _mounted_key(secret, mount, PurePosixPath(path))):
            return SecretKeyRef(name=secret["secretName"], key=key)
    return None


def _mounted_key(secret: Body, mount: Body, path: PurePosixPath) -> str | None:
    """Return the key of a Secret volume that a mount shows as the file at `path`, None where it shows no such file."""
    folder = PurePosixPath(mount["mountPath"])
    if mount.get("subPath"):
        file = mount["subPath"] if folder == path else None
    else:
        file = str(path.relative_to(folder)) if path.is_relative_to(folder) and path != folder else None
    keys = {item["path"]: item["key"] for item in secret.get("items") or []}
    return keys.get(file) if keys and file else file


def _tls_mode(milvus: Body) -> int:
    try:
        return int(_security(milvus).get("tlsMode") or 0)
    except (TypeError, ValueError):
        return 0


def _is_true(value: Any) -> bool:
    """Read a value as Milvus reads it from its file: the word may be quoted."""
    return value is True or str(value).lower() == "true"


def _security(milvus: Body) -> Body:
    return part(milvus, "spec", "config", "common", "security")
