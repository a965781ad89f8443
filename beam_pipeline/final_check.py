"""The last look at the store before a run is called done: every object is there, and is of this run's plan."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Iterable, Sequence

import pyarrow.parquet as pq

from beam_pipeline.plan import Plan, read_plan
from schemas.run_layout import SETTINGS
from transforms.io import storage
from transforms.io.own_objects import DamagedObject, opened
from transforms.io.stage_objects import StageObjects

_READERS = 32
"""A footer is mostly waited for: 140,000 shards take minutes."""


def faults(plan: Plan, token_objects: Iterable[str]) -> list[str]:
    """What isn't as the plan has it, one sentence each: of the plan itself, and of the objects of both passes."""
    stored = read_plan(plan.settings.output)
    if stored is None or stored.run != plan.run or stored.deciding != plan.deciding:
        return [f"{plan.layout.plan} isn't this run's any more: another command works over this output"]
    tokens = sorted(token_objects)
    prefix = storage.join(plan.tokens.uri, "")
    fingerprints = [storage.join(plan.fingerprints.uri, uri.removeprefix(prefix)) for uri in tokens]
    return [
        *_faults_of("token", tokens, plan.tokens),
        *_faults_of("fingerprint", fingerprints, plan.fingerprints),
        *_missing_lines(plan, [uri.removeprefix(prefix).removesuffix(".parquet") for uri in tokens]),
    ]


def _missing_lines(plan: Plan, shards: Iterable[str]) -> list[str]:
    """Which shards of a run that writes JSON Lines have none."""
    if not plan.tokens.lines:
        return []
    try:
        found = {info.uri for info in storage.list_objects(plan.tokens.lines)}
    except storage.NotFound:
        found = set()
    return [f"object {uri} isn't there" for shard in shards if (uri := plan.tokens.lines_of(shard)) not in found]


def beside(plan: Plan, token_objects: Iterable[str]) -> list[str]:
    """The Parquet objects under ``tokens/`` that aren't the run's, though whoever reads the folder reads them too."""
    try:
        found = {info.uri for info in storage.list_objects(plan.tokens.uri) if info.uri.endswith(".parquet")}
    except storage.NotFound:
        return []
    return sorted(found - set(token_objects))


def _faults_of(what: str, uris: Sequence[str], objects: StageObjects) -> list[str]:
    expected = objects.settings_hash.encode()

    def fault(uri: str) -> str:
        try:
            with opened(uri, "it is made again") as file:
                found = (pq.read_metadata(file).metadata or {}).get(SETTINGS)
        except storage.NotFound:
            return f"{what} object {uri} isn't there"
        except DamagedObject as error:
            return f"{what} object {error}"
        return "" if found == expected else f"{what} object {uri} was made by other settings than this run's"

    with concurrent.futures.ThreadPoolExecutor(_READERS) as pool:
        return [said for said in pool.map(fault, uris) if said]
