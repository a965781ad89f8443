"""``what-if`` from some of a run's shards: which ones, and how far their answer may be from that of all."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from beam_pipeline.finished_runs import NotUsable
from beam_pipeline.lineage.totals import Amount
from beam_pipeline.what_if_answers import Answer, Stays
from transforms.deduplication.stored_fingerprints import Planned

FEWEST = 2
"""Shards of which an error can be told."""


class Looked(NamedTuple):
    """A shard that was looked at: its documents, and what stays of them by each expression."""

    documents: int
    stays: Sequence[Stays]


def sampled(planned: Sequence[Planned], share: float) -> list[Planned]:
    """That share of a run's shards, two at least, by the hashes of their objects' names: the same ones each time.

    Raises:
      NotUsable: the share isn't above 0 and at most 1.
    """
    if not 0 < share <= 1:
        raise NotUsable(f"sample: {share:g} isn't a share: give a number above 0 and at most 1, such as 0.05")
    count = max(FEWEST, math.ceil(share * len(planned)))
    by_hash = sorted(planned, key=lambda item: hashlib.sha256(item[2].rpartition("/")[2].encode()).digest())
    chosen = {item[2] for item in by_hash[:count]}
    return [item for item in planned if item[2] in chosen]


def estimated(answers: Sequence[Answer], shards: Sequence[Looked], of: int, documents: int) -> list[Answer]:
    """What the answers of some shards say of all, with standard errors.

    The numbers are scaled by documents (a ratio estimate over clusters): shards may have different sizes, and documents
    of one are more alike than others.

    Args:
      answers: of the sampled shards together.
      shards: each of them.
      of: how many shards there are.
      documents: how many documents all shards have.

    Raises:
      NotUsable: the sampled shards have no documents.
    """
    rows = np.array([shard.documents for shard in shards], np.float64)
    if not rows.sum():
        raise NotUsable(f"sample: the {len(shards)} of {of} shards that it has are empty: give a larger share")
    found = []
    for number, answer in enumerate(answers):
        stays = [shard.stays[number] for shard in shards]
        errors = Stays(
            _errors([each.passing for each in stays], rows, of, documents),
            _errors([each.kept for each in stays], rows, of, documents),
        )
        groups = {name: _scaled(group, documents / rows.sum()) for name, group in answer.groups.items()}
        found.append(Answer(answer.expression, groups, errors))
    return found


def _errors(amounts: Sequence[Amount], rows: np.ndarray, of: int, documents: int) -> Amount:
    """Standard errors of the ratio estimates of totals, from what each sampled shard has."""
    values = np.array([(each.documents, each.bytes, each.tokens) for each in amounts], np.float64)
    residuals = values - np.outer(rows, values.sum(axis=0) / rows.sum())
    variances = (1 - len(rows) / of) * (residuals**2).sum(axis=0) / (len(rows) - 1) / len(rows)
    return Amount(*np.ceil(documents * np.sqrt(variances) / rows.mean()).astype(np.int64).tolist())


def _scaled(stays: Stays, scale: float) -> Stays:
    def of(amount: Amount) -> Amount:
        return Amount(round(amount.documents * scale), round(amount.bytes * scale), round(amount.tokens * scale))

    return Stays(of(stays.passing), of(stays.kept))
