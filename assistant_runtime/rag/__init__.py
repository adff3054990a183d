"""Retrieval from the clients' own documents.

`extract` (a process of its own, because files are hostile) makes text and passages of a file, `embedder` makes vectors
(those of the local model come from `embed`, another process, because the engine is native code),
`milvus` keeps both, `ingestion` brings an upload there, `library` is the main flow: read it first. Nothing here imports
an SDK before a document is used.
"""
