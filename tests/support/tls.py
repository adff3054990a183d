"""A certificate authority of a test's own, and TLS before a server that has none."""

import asyncio
import datetime as dt
import ipaddress
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """Signs certificates of loopback servers, as plain as OpenSSL's commands make them: without identifiers of keys.

    Parameters
    ----------
    folder
        Takes its own certificate.
    name
        Its name, and that of its file.
    days
        How long the servers' certificates are valid from now on; less than 0: they have expired.
    """

    def __init__(self, folder: Path, name: str, days: float = 1) -> None:
        self._days = days
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _name(name)
        usage = x509.KeyUsage(*(index in {5, 6} for index in range(9)))  # signs certificates and revocations
        self.certificate = folder / f"{name}.crt"
        own = _builder(self._name, self._name, self._key.public_key())
        made = own.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).add_extension(
            usage, critical=True
        )
        self.certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def issue(self, folder: Path) -> tuple[Path, Path]:
        """Write a certificate of 127.0.0.1 and its key into a folder; give both."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        made = _builder(_name("server"), self._name, key.public_key(), self._days).add_extension(names, critical=False)
        certificate, private = folder / "tls.crt", folder / "tls.key"
        certificate.write_bytes(made.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        private.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        private.chmod(0o600)
        return certificate, private

    def issue_in_one_file(self, folder: Path) -> Path:
        """Write a certificate of 127.0.0.1 with its key into one file, as some servers want it."""
        certificate, private = self.issue(folder)
        together = folder / "tls.pem"
        together.write_bytes(certificate.read_bytes() + private.read_bytes())
        together.chmod(0o600)
        return together


def strict_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let this Python's contexts check what those of Python 3.13 check by default."""
    create = ssl.create_default_context

    def create_strict(*arguments: Any, **options: Any) -> ssl.SSLContext:
        context = create(*arguments, **options)
        context.verify_flags |= ssl.VERIFY_X509_STRICT
        return context

    monkeypatch.setattr(ssl, "create_default_context", create_strict)


def _name(name: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, days: float = 1
) -> x509.CertificateBuilder:
    now = dt.datetime.now(dt.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(days=2))
        .not_valid_after(now + dt.timedelta(days=days))
    )


@asynccontextmanager
async def tls_front(authority: Authority, folder: Path, port: int) -> AsyncIterator[int]:
    """Speak TLS on a loopback port, and pass what is said there on to another port; give the first one's number."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(folder))

    async def pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        behind_reader, behind_writer = await asyncio.open_connection("127.0.0.1", port)
        await asyncio.gather(_copy(reader, behind_writer), _copy(behind_reader, writer))

    async with await asyncio.start_server(pass_on, "127.0.0.1", 0, ssl=context) as server:
        yield server.sockets[0].getsockname()[1]


async def _copy(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    writer.close()
