"""The editor ``pii``: personal data becomes placeholders; how much of each kind is counted, the values never."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.edits.personal_data import PLACEHOLDERS, suspects, without_personal_data


@dataclasses.dataclass(frozen=True, kw_only=True)
class PersonalData:
    """Replaces e-mail addresses, public IP addresses, IBANs and credit cards; phone numbers if they are wanted.

    How many of each kind were replaced is stored as ``pii.email``, ``pii.ip`` and so on (uint32).

    Attributes:
      email, ip, iban, card, phone: the placeholder; null leaves this kind as it is, true means the usual placeholder.

    Raises:
      ValueError: a placeholder is neither.
    """

    email: str | bool | None = True
    ip: str | bool | None = True
    iban: str | bool | None = True
    card: str | bool | None = True
    phone: str | bool | None = None
    edits = True

    def __post_init__(self) -> None:
        for kind in PLACEHOLDERS:
            given = getattr(self, kind)
            if not (given is None or isinstance(given, str | bool)):
                raise ValueError(f"{kind} must be a placeholder, true, or null for none, not {given!r}")
            if isinstance(given, str) and without_personal_data(f"a {given} b")[0] != f"a {given} b":
                raise ValueError(f"{kind}: a placeholder must not look like personal data itself: {given!r}")

    @property
    def kinds(self) -> dict[str, str]:
        """What is replaced by what."""
        given = {kind: getattr(self, kind) for kind in PLACEHOLDERS}
        return {kind: PLACEHOLDERS[kind] if value is True else value for kind, value in given.items() if value}

    @property
    def counts(self) -> dict[str, pa.DataType]:
        """What is counted beside the text."""
        return dict.fromkeys(self.kinds, pa.uint32())

    def __call__(self, documents: pa.RecordBatch) -> tuple[pa.Array, Mapping[str, pa.Array]]:
        """The texts, and how many of each kind were replaced."""
        text, kinds = documents["text"], self.kinds
        offsets, data = offsets_and_data(text)
        signs = suspects(data, offsets)
        counts = {kind: np.zeros(len(text), np.uint32) for kind in kinds}
        changed: dict[int, str] = {}
        for place in np.flatnonzero(signs).tolist():
            before = text[place].as_py()
            after, found = without_personal_data(before, kinds, int(signs[place]))
            if after != before:
                changed[place] = after
            for kind, count in found.items():
                counts[kind][place] = count
        return replaced(text, changed), {kind: pa.array(values) for kind, values in counts.items()}


def replaced(text: pa.Array, changed: Mapping[int, str]) -> pa.Array:
    """Texts with others at some places."""
    if not changed:
        return text
    mask = np.zeros(len(text), np.bool_)
    mask[list(changed)] = True
    ordered = [changed[place] for place in sorted(changed)]
    return pc.replace_with_mask(text, pa.array(mask), pa.array(ordered, text.type))
