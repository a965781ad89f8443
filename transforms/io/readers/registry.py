"""The readers, in the order in which they are asked whether a source is theirs."""

from __future__ import annotations

from transforms.io.readers import archives, arrow, csv_table, jsonl, parquet, plain_text, warc
from transforms.io.readers.reader import Look, Reader

READERS: tuple[Reader, ...] = (
    parquet.READER,
    arrow.READER,
    archives.reader(lambda look: reader_of(look)),
    warc.READER,
    csv_table.READER,
    plain_text.READER,
    jsonl.READER,
)
"""JSON Lines are the last: what no other reader takes is read as such, or refused by name (``formats.refusal``)."""

FORMATS = {reader.format: reader for reader in READERS if reader.format}
"""The readers of formats that can be named in settings, by that name."""

_BY_NAME = {reader.name: reader for reader in READERS}


def reader_of(look: Look) -> Reader:
    """The reader of a source, by the format that was named, else by its first and last bytes.

    What is an archive shows by its bytes always: a format is that of its members.

    Raises:
      ValueError: no format has the name.
    """
    archive = _BY_NAME[archives.NAME]
    if look.options.format and not archive.matches(look):
        return reader_of_format(look.options.format)
    return next(reader for reader in READERS if reader.matches(look))


def reader_named(name: str) -> Reader:
    """The reader of a shard that has been split."""
    return _BY_NAME[name]


def reader_of_format(name: str) -> Reader:
    """The reader of a format that is named in settings.

    Raises:
      ValueError: no format has this name.
    """
    if name not in FORMATS:
        raise ValueError(f"format: must be one of {', '.join(FORMATS)}, not {name!r}")
    return FORMATS[name]
