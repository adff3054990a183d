"""Documents and their retrieval: the vector store, what embeds, how texts are cut."""

from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, SecretStr

from assistant_runtime.processors import has_avx2
from assistant_runtime.settings.values import CertificatesFile, Group, http_url, lower


def _milvus_url(value: Any) -> Any:
    return http_url(value, "http://milvus:19530")


class RetrievalGroup(Group):
    """Documents: where their passages are kept, and how they are found."""

    milvus_url: Annotated[str, BeforeValidator(_milvus_url)] | None = Field(
        None,
        description=(
            "Milvus for documents, as http(s)://host:19530. Empty: Milvus Lite with a file below DATA_DIR, if "
            "the extra `local` is installed; otherwise no documents."
        ),
    )
    milvus_username: str | None = Field(None, description="User of Milvus.")
    milvus_password: SecretStr | None = Field(None, description="Password of Milvus.")
    milvus_api_key: SecretStr | None = Field(None, description="Key of Milvus, instead of user and password.")
    milvus_ca_file: CertificatesFile = Field(None, description="Certificates (PEM) to trust for Milvus; needs https.")
    milvus_collection: str = Field(
        "assistant",
        pattern=r"^[A-Za-z][A-Za-z0-9_]{0,99}$",
        description="Prefix of the collections' names. A new prefix starts empty, as a new embedding model requires.",
    )
    embedding_provider: Annotated[Literal["provider", "local"], BeforeValidator(lower)] | None = Field(
        None,
        description=(
            "What embeds documents and queries: `provider` uses EMBEDDING_MODEL; `local` runs "
            "multilingual-e5-small beside the runtime. Empty: `provider` if EMBEDDING_MODEL is set, else "
            "`local`."
        ),
    )
    retrieval_tool_enabled: bool = Field(
        default=True, description="Offer `search_documents` to the model, if documents can be stored."
    )
    retrieval_limit: int = Field(5, ge=1, le=50, description="Passages returned by a search that sets no limit.")
    retrieval_chunk_characters: int = Field(
        1000, ge=100, le=8000, description="Longest passage in characters; 1000 are about 250 tokens of English."
    )
    retrieval_chunk_overlap: int = Field(
        100, ge=0, le=2000, description="Characters that a passage may share with the one before it."
    )
    retrieval_max_documents: int = Field(1000, ge=1, le=8000, description="Documents that each client may keep.")

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        if (self.milvus_username is None) != (self.milvus_password is None):
            yield "MILVUS_USERNAME, MILVUS_PASSWORD: set both, or neither"
        if self.milvus_api_key and self.milvus_username:
            yield "MILVUS_API_KEY: set it, or user and password, not both"
        if self.milvus_ca_file and not (self.milvus_url or "").startswith("https://"):
            yield "MILVUS_CA_FILE: write MILVUS_URL as https://..., or leave it out"
        if self.retrieval_chunk_overlap * 2 > self.retrieval_chunk_characters:
            yield "RETRIEVAL_CHUNK_OVERLAP: at most half of RETRIEVAL_CHUNK_CHARACTERS"
        if self.embedding_provider == "local" and not has_avx2():
            yield "EMBEDDING_PROVIDER: the processor has no AVX2, which the local model needs; set `provider`"
