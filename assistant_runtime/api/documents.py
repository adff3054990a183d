"""/v1/documents and /v1/search: a client's own documents."""

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from starlette.datastructures import FormData, UploadFile
from starlette.formparsers import MultiPartException, MultiPartParser

from assistant_runtime.api.context import context_of
from assistant_runtime.api.request_body import parse
from assistant_runtime.api.retrieval_schemas import (
    DocumentAnswer,
    DocumentDeleted,
    DocumentList,
    DocumentRequest,
    PassageAnswer,
    PassageDocument,
    SearchAnswer,
    SearchRequest,
)
from assistant_runtime.api.schemas import ErrorAnswer
from assistant_runtime.errors import ApiError
from assistant_runtime.rag.documents import Document, Findings, Upload
from assistant_runtime.rag.extraction import charset_of, media_type_of
from assistant_runtime.rag.library import Library

AT_ONCE_BYTES = 32 * 1024
"""Uploads up to this, about 35 passages, are answered when they can be found; others are read in the background."""

MAX_NAME_CHARACTERS = 500
MAX_SOURCE_CHARACTERS = 2000

NOT_CONFIGURED = (
    "This assistant keeps no documents. Set MILVUS_URL, or install the extra `local` and set DATA_DIR; and set "
    "EMBEDDING_MODEL where EMBEDDING_PROVIDER is `provider`, or where the processor has no AVX2 for the local model."
)

ERRORS: dict[int | str, dict[str, Any]] = {
    400: {"model": ErrorAnswer, "description": "The request is malformed; `param` names the field."},
    409: {"model": ErrorAnswer, "description": "Too many documents, or the embedding model has changed."},
    501: {"model": ErrorAnswer, "description": "No vector store or embedding model is configured."},
    502: {"model": ErrorAnswer, "description": "The embedding model's provider failed."},
    503: {"model": ErrorAnswer, "description": "Milvus is down, or too many documents are being read."},
    504: {"model": ErrorAnswer, "description": "The embedding model's provider did not answer in time."},
}
NOT_FOUND: dict[int | str, dict[str, Any]] = {404: {"model": ErrorAnswer, "description": "No such document."}}
UNREADABLE: dict[int | str, dict[str, Any]] = {
    202: {"model": DocumentAnswer, "description": "The document is being read; its status says when it is ready."},
    200: {"model": DocumentAnswer, "description": "The document already has this content; nothing was changed."},
    413: {"model": ErrorAnswer, "description": "The request is larger than MAX_REQUEST_BYTES."},
    415: {"model": ErrorAnswer, "description": "The type of file is not supported."},
    422: {"model": ErrorAnswer, "description": "The file can't be read, or has no text."},
}

BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {"schema": DocumentRequest.model_json_schema()},
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["file"],
                    "properties": {
                        "file": {"type": "string", "format": "binary"},
                        "name": {"type": "string", "description": "Empty: the file's name."},
                        "source": {"type": "string"},
                    },
                }
            },
        },
    }
}


class InMemoryParser(MultiPartParser):
    """Keeps a file in memory, whose size MAX_REQUEST_BYTES bounds: a pod's file system may be read-only."""

    spool_max_size = 2**31


def documents_router(library: Library | None) -> APIRouter:
    """Give the routes; without a library they say what is missing."""
    router = APIRouter(prefix="/v1/documents", tags=["documents"])

    def needed() -> Library:
        return needed_library(library)

    @router.post("", status_code=201, summary="Store a document", responses=ERRORS | UNREADABLE, openapi_extra=BODY)
    async def create_document(request: Request, response: Response) -> DocumentAnswer:
        upload = await _upload(request)
        background = len(upload.content) > AT_ONCE_BYTES
        document, record, changed = await needed().add(
            _tenant(request), upload, context_of(request.scope).account, background=background
        )
        response.status_code = 200 if not changed else 201 if record.status == "ready" else 202
        return described(document, record)

    @router.get("", summary="List the client's documents, last upload first", responses=ERRORS)
    async def list_documents(
        request: Request,
        limit: Annotated[int, Query(ge=1, le=1000)] = 100,
        after: Annotated[str, Query(max_length=64, description="Last id of the previous page.")] = "",
    ) -> DocumentList:
        page, has_more = await needed().documents(_tenant(request), limit, after)
        return DocumentList(data=[described(*each) for each in page.items()], has_more=has_more)

    @router.get("/{document_id}", summary="Get a document", responses=ERRORS | NOT_FOUND)
    async def get_document(request: Request, document_id: str) -> DocumentAnswer:
        return described(document_id, await needed().get(_tenant(request), document_id))

    @router.delete("/{document_id}", summary="Delete a document", responses=ERRORS | NOT_FOUND)
    async def delete_document(request: Request, document_id: str) -> DocumentDeleted:
        await needed().delete(_tenant(request), document_id)
        return DocumentDeleted(id=document_id)

    return router


def search_router(library: Library | None, default_limit: int) -> APIRouter:
    """Give the route of searches."""
    router = APIRouter(tags=["documents"])

    @router.post(
        "/v1/search",
        summary="Search the client's documents for passages",
        responses=ERRORS,
        openapi_extra={
            "requestBody": {
                "required": True,
                "content": {"application/json": {"schema": SearchRequest.model_json_schema()}},
            }
        },
    )
    async def search(request: Request) -> SearchAnswer:
        asked = SearchRequest.model_validate(parse(await request.body(), SearchRequest))
        findings = await needed_library(library).search(
            _tenant(request),
            asked.query,
            asked.limit or default_limit,
            context_of(request.scope).account,
            asked.documents,
        )
        return found(findings)

    return router


def needed_library(library: Library | None) -> Library:
    """Give the library; raises ApiError 501 with the remedy where there is none."""
    if library is None:
        raise ApiError(501, NOT_CONFIGURED, error_type="server_error", code="documents_not_configured")
    return library


def described(document: str, record: Document) -> DocumentAnswer:
    """Give a document's record as a client sees it."""
    return DocumentAnswer.model_validate(
        {
            "id": document,
            "name": record.name,
            "title": record.title,
            "media_type": record.media_type,
            "source": record.source,
            "bytes": record.size,
            "created_at": record.created,
            "updated_at": record.updated,
            "status": record.status,
            "error": record.error or None,
            "passages": record.passages,
        }
    )


def found(findings: Findings) -> SearchAnswer:
    """Give what a search found as a client sees it."""
    data = [
        PassageAnswer(
            document=PassageDocument(
                id=each.document, name=each.record.name, title=each.record.title, source=each.record.source
            ),
            span=(each.start, each.end),
            text=each.text,
            score=each.score,
        )
        for each in findings.passages
    ]
    return SearchAnswer.model_validate(
        {
            "data": data,
            "retrieval": findings.retrieval,
            "reranked": findings.reranked,
            "remark": findings.remark or None,
        }
    )


async def _upload(request: Request) -> Upload:
    """Read a document from JSON or a form."""
    if not (request.headers.get("content-type") or "").lower().startswith("multipart/form-data"):
        asked = DocumentRequest.model_validate(parse(await request.body(), DocumentRequest))
        return Upload(asked.name, asked.media_type, asked.text.encode(), asked.source, "utf-8")
    try:
        form = await InMemoryParser(request.headers, request.stream(), max_files=1, max_fields=4).parse()
    except (MultiPartException, KeyError, UnicodeDecodeError, ValueError) as error:
        raise ApiError(400, f"The form can't be read: {error}", code="invalid_form") from None
    try:
        return await _uploaded(form)
    finally:
        await form.close()


async def _uploaded(form: FormData) -> Upload:
    file = form.get("file")
    if not isinstance(file, UploadFile):
        raise ApiError(400, "file: send the document's file.", code="missing_required_parameter", param="file")
    name = str(form.get("name") or file.filename or "")[:MAX_NAME_CHARACTERS]
    if not name:
        raise ApiError(400, "name: the file has no name.", code="missing_required_parameter", param="name")
    content = await file.read()
    media_type = media_type_of(file.filename or name, file.content_type or "", content)
    source = str(form.get("source") or "")[:MAX_SOURCE_CHARACTERS]
    return Upload(name, media_type, content, source, charset_of(file.content_type or ""))


def _tenant(request: Request) -> str:
    return context_of(request.scope).tenant
