"""The fields and indexes of the collections, for Milvus with and without full-text search."""

import re
from typing import Any

from assistant_runtime.rag.milvus import CALL_SECONDS

HYBRID_SINCE = (2, 5)
"""Milvus has full-text search (BM25) since this release."""

PARTITIONS = 16
"""Milvus's default for partition keys, in every release."""


def create(client: Any, name: str, schema: tuple[Any, Any]) -> None:
    """Make a collection; another replica may do so at the same moment."""
    from pymilvus.exceptions import MilvusException  # noqa: PLC0415 - 70 MB, only where documents are used

    fields, indexes = schema
    try:
        client.create_collection(
            name,
            schema=fields,
            index_params=indexes,
            consistency_level="Strong",
            num_partitions=PARTITIONS,
            timeout=CALL_SECONDS,
        )
    except MilvusException:
        if not client.has_collection(name, timeout=CALL_SECONDS):
            raise


def record_schema(client: Any) -> tuple[Any, Any]:
    """Give fields and indexes of the documents' records."""
    from pymilvus import DataType  # noqa: PLC0415

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=128)
    schema.add_field("tenant", DataType.VARCHAR, is_partition_key=True, max_length=64)
    schema.add_field("document", DataType.VARCHAR, max_length=64)
    schema.add_field("record", DataType.VARCHAR, max_length=65535)
    schema.add_field("unused", DataType.FLOAT_VECTOR, dim=2)
    indexes = client.prepare_index_params()
    indexes.add_index("unused", index_type="FLAT", metric_type="L2")
    return schema, indexes


def passage_schema(client: Any, dimension: int, *, hybrid: bool) -> tuple[Any, Any]:
    """Give fields and indexes of the passages; `hybrid`: Milvus makes keywords of their text."""
    from pymilvus import DataType, Function, FunctionType  # noqa: PLC0415

    schema = client.create_schema(auto_id=False, enable_dynamic_field=False)
    schema.add_field("id", DataType.VARCHAR, is_primary=True, max_length=128)
    schema.add_field("tenant", DataType.VARCHAR, is_partition_key=True, max_length=64)
    for name in ("document", "generation"):
        schema.add_field(name, DataType.VARCHAR, max_length=64)
    for name in ("position", "start", "end"):
        schema.add_field(name, DataType.INT64)
    schema.add_field("text", DataType.VARCHAR, max_length=65535, **({"enable_analyzer": True} if hybrid else {}))
    schema.add_field("dense", DataType.FLOAT_VECTOR, dim=dimension)
    indexes = client.prepare_index_params()
    indexes.add_index("dense", index_type="AUTOINDEX", metric_type="COSINE")
    if hybrid:
        schema.add_field("sparse", DataType.SPARSE_FLOAT_VECTOR)
        keywords = Function(
            name="keywords",
            function_type=FunctionType.BM25,
            input_field_names=["text"],
            output_field_names=["sparse"],
        )
        schema.add_function(keywords)
        indexes.add_index("sparse", index_type="SPARSE_INVERTED_INDEX", metric_type="BM25")
    return schema, indexes


def has_keywords(client: Any) -> bool:
    """Whether the server has full-text search."""
    version = str(client.get_server_version(timeout=CALL_SECONDS))
    if version.startswith("milvus_lite"):
        return True
    numbers = re.match(r"v?(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) >= HYBRID_SINCE
