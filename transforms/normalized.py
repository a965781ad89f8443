"""Normalization of documents: what ``Normalize`` does to a batch, and ``try`` without Beam."""

from __future__ import annotations

import pyarrow as pa
import pyarrow.compute as pc

from schemas.outcomes import EMPTY_TEXT
from transforms.kernels.text.normalization import Normalization, has_content, normalize


def normalized_columns(data: pa.RecordBatch, options: Normalization) -> dict[str, pa.Array]:
    """The columns of documents (``schemas.columns.DOCUMENTS``) that normalization adds or changes.

    ``text`` is normalized, and one in which nothing is to be seen is out as empty, by ``outcome``.
    ``already_normalized`` says which texts were normalized as they came, ``text_bytes`` how long each is, whatever
    becomes of it.
    """
    text = normalize(data["text"], options)
    columns = {
        "text": text,
        "already_normalized": pc.equal(text, data["text"]),
        "text_bytes": pc.cast(pc.binary_length(text), pa.uint32()),
    }
    empty = pa.array(text.is_valid().to_numpy(zero_copy_only=False) & ~has_content(text))
    if pc.any(empty).as_py():
        code = pa.scalar(EMPTY_TEXT, data["outcome"].type)
        columns["text"] = pc.if_else(empty, pa.scalar(None, text.type), text)
        columns["outcome"] = pc.if_else(empty, code, data["outcome"])
    return columns
