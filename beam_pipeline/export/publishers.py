"""What a publisher has in an export, for requests to take it down: by URL or domain, where the tokens have a URL."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from beam_pipeline.export.plan import ExportPlan
from beam_pipeline.export.survey import Runs
from schemas.shards import split_document_id
from transforms.export.plan_tables import files_with
from transforms.export.provenance import ProvenanceIndex
from transforms.export.token_objects import TokenObject
from transforms.io import storage
from transforms.io.source_list import sources_between

_HOST = r"^(?:[A-Za-z][A-Za-z0-9+.-]*:)?//(?:[^/?#@]*@)?(?P<host>[^/?#:]+)"


def documents_of(plan: ExportPlan, column: str, url: str = "", domain: str = "") -> Iterator[dict[str, Any]]:
    """The documents in the export that have this URL, or are of this domain or one below it, by run and id.

    All token objects of the runs are looked at, of which only ids and URLs are read.

    Args:
      column: of the token objects, with URLs (the run's setting ``token_columns``).
      url: as it stands in the column.
      domain: such as ``example.org``; case doesn't matter.

    Raises:
      NoSuchColumn: the token objects don't have it.
    """

    def look(run: int, info: storage.ObjectInfo, opened: TokenObject) -> tuple[int, pa.Table]:
        table = opened.documents([column])
        urls = table[column].combine_chunks()
        urls = urls.dictionary_decode() if pa.types.is_dictionary(urls.type) else urls
        wanted = pc.equal(urls, url) if url else of_domain(urls.cast(pa.string()), domain)
        found = table.select(["id"]).append_column("url", urls).filter(pc.fill_null(wanted, False))
        return run, found

    by_run: dict[int, list[pa.Table]] = {}
    for run, table in Runs.of(plan.runs, [0] * len(plan.runs)).each(look):
        by_run.setdefault(run, []).append(table)
    for run, tables in sorted(by_run.items()):
        table = pa.concat_tables(tables)
        yield from _in_export(plan, run, table["id"].to_numpy(), table["url"].to_pylist())


def of_domain(urls: pa.Array, domain: str) -> pa.Array:
    """Which URLs have a domain, or one below it, as their host; null where there is no host."""
    host = pc.utf8_lower(pc.struct_field(pc.extract_regex(urls, _HOST), "host"))
    wanted = domain.lower().strip(".")
    return pc.or_(pc.equal(host, wanted), pc.ends_with(host, pattern="." + wanted))


def _in_export(plan: ExportPlan, run: int, ids: np.ndarray, urls: list[str]) -> Iterator[dict[str, Any]]:
    places: Counter[int] = Counter()
    files: dict[int, set[str]] = {}
    for split, number in files_with(plan.stored, run, ids):
        index = ProvenanceIndex(plan.output, split, number)
        try:
            for place in index.of(run, ids):
                if place.document is not None:
                    places[place.document] += 1
                    files.setdefault(place.document, set()).add(index.name)
        finally:
            index.close()
    exported = plan.runs[run]
    for identifier, url in zip(ids.tolist(), urls, strict=True):
        if places[identifier]:
            source, row = split_document_id(identifier)
            [pinned] = sources_between(exported.sources_uri, source, 1)
            yield {
                "run": exported.run,
                "document": identifier,
                "url": url,
                "source": pinned.uri,
                "source_row": row,
                "pieces": places[identifier],
                "files": sorted(files[identifier]),
            }
