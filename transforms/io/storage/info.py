"""What a listing says about an object."""

from __future__ import annotations

import dataclasses
import datetime


@dataclasses.dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One stored object.

    Attributes:
      uri: absolute local path, or the object's URI.
      etag: changes whenever the content does: the store's ETag without quotes, its generation (Google) or content hash
        (Hugging Face), or size and modification time of a file.
      size: bytes as stored.
    """

    uri: str
    etag: str
    size: int


@dataclasses.dataclass(frozen=True, slots=True)
class Unfinished:
    """Something that was being written and never committed, or is being written now.

    Attributes:
      uri: the temporary file, or the object that an upload would have become.
      upload: id of the multipart upload; empty for a file.
      started: when the upload began, or the file was written to last.
    """

    uri: str
    upload: str
    started: datetime.datetime
