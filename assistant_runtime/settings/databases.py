"""MongoDB and the SQL database. Without their URLs, what they keep is in a file below DATA_DIR, or in this process."""

import re
from collections.abc import Iterable
from urllib.parse import parse_qs, urlsplit

from pydantic import Field, SecretStr

from assistant_runtime.settings.values import CertificatesFile, Group

DATABASE_URL_OPTIONS = frozenset({"application_name", "sslmode", "sslrootcert"})
"""What DATABASE_URL may ask for after its `?`: what both libpq and our driver understand."""

SSL_MODES = frozenset({"disable", "allow", "prefer", "require", "verify-ca", "verify-full"})
"""libpq's."""


def _mongodb_url_problem(url: str) -> str | None:
    """Say what is wrong, without the password in it; options are checked by the driver."""
    if re.match(r"^mongodb(\+srv)?://([^/?#@]*@)?[^/?#@\s]+(/[^/?#\s]*)?(\?\S*)?$", url):
        return None
    return "write mongodb://[user:password@]host[:port][,host...]/database; escape special characters, as @ by %40"


def _database_url_problem(url: str) -> str | None:
    remedy = "write postgresql://[user:password@]host:5432/database, or sqlite:////path/to/file"
    if re.match(r"^sqlite:////?[^/?#]+", url):
        return None
    if not re.match(r"^postgres(ql)?(\+asyncpg)?://", url):
        return remedy
    try:
        parts = urlsplit(url)
        usable = parts.port != 0 and bool(parts.hostname) and len(parts.path) > 1
    except ValueError:
        usable = False
    if not usable:
        return remedy
    options = parse_qs(parts.query, keep_blank_values=True)
    unknown = sorted(set(options) - DATABASE_URL_OPTIONS)
    if unknown:
        return f"the options {', '.join(unknown)} are unknown; there are {', '.join(sorted(DATABASE_URL_OPTIONS))}"
    if not set(options.get("sslmode", ())) <= SSL_MODES:
        return f"sslmode is one of {', '.join(sorted(SSL_MODES))}"
    return None


class DatabasesGroup(Group):
    """Where conversations, keys and usage are kept."""

    mongodb_url: SecretStr | None = Field(
        None,
        description=(
            "MongoDB for conversations and the audit log; the database is the URL's path, or `ai_assistant`. "
            "Empty: they are in DATABASE_URL, else in a file below DATA_DIR, else in this process."
        ),
    )
    mongodb_username: str | None = Field(None, description="User of MongoDB, instead of one in MONGODB_URL.")
    mongodb_password: SecretStr | None = Field(None, description="Password of MongoDB, instead of one in MONGODB_URL.")
    mongodb_ca_file: CertificatesFile = Field(
        None, description="File of certificates (PEM) to trust for MongoDB; turns TLS on."
    )
    database_url: SecretStr | None = Field(
        None,
        description=(
            "PostgreSQL for users, API keys and usage, as postgresql://user:password@host:5432/database. Empty: a "
            "SQLite file below DATA_DIR."
        ),
    )
    database_username: str | None = Field(None, description="User of PostgreSQL, instead of one in DATABASE_URL.")
    database_password: SecretStr | None = Field(
        None, description="Password of PostgreSQL, instead of one in DATABASE_URL."
    )
    database_ca_file: CertificatesFile = Field(
        None,
        description=(
            "File of certificates (PEM) to trust for PostgreSQL; turns TLS on, and the server's name is checked too."
        ),
    )
    database_pool_size: int = Field(20, ge=1, le=1000, description="Connections to PostgreSQL that are kept open.")
    database_max_overflow: int = Field(
        30, ge=0, le=1000, description="Additional connections to PostgreSQL at peak load."
    )
    data_dir: str | None = Field(
        None,
        description=(
            "Folder for data that no server keeps: one SQLite file with conversations, keys and usage, for "
            "one replica. Empty: conversations stay in this process, and keys and usage are not stored."
        ),
    )

    def problems(self) -> Iterable[str]:
        """Say which URL can't be used."""
        if self.mongodb_url and (problem := _mongodb_url_problem(self.mongodb_url.get_secret_value())):
            yield f"MONGODB_URL: {problem}"
        if self.database_url and (problem := _database_url_problem(self.database_url.get_secret_value())):
            yield f"DATABASE_URL: {problem}"
        if (self.mongodb_username is None) != (self.mongodb_password is None):
            yield "MONGODB_USERNAME, MONGODB_PASSWORD: set both, or have both in MONGODB_URL"
