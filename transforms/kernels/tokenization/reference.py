"""The reference engine of a tokenizer.json, what keeps control tokens out of texts, and what it can't spell."""

from __future__ import annotations

import dataclasses
import hashlib
from typing import Any

import numpy as np
import numpy.typing as npt

from transforms.kernels.tokenization.definition import (
    model_type,
    reachable_control_tokens,
    spells_everything,
    unknown_token,
    with_unknown_token,
    with_unreachable,
)
from transforms.kernels.tokenization.engines import (
    Bytes,
    Engine,
    Ids,
    Offsets,
    TokenizersEngine,
    WithoutControlTokens,
    WithoutToken,
    load_reference,
)


@dataclasses.dataclass(frozen=True)
class Reference:
    """What a definition makes of texts.

    Attributes:
      vocabulary: the id of every token.
      engine: makes the ids; no text becomes a control token.
    """

    vocabulary: dict[str, int]
    engine: Engine
    _control: Ids
    _other: Engine | None
    _unknown: int | None
    _speller: Engine | None

    @classmethod
    def of(cls, definition: dict[str, Any], data: bytes) -> Reference:
        """The reference for a parsed tokenizer.json and its bytes; ValueError if the library refuses it."""
        library = load_reference(data)
        vocabulary = library.get_vocab(with_added_tokens=True)
        engine: Engine = TokenizersEngine(library)
        unknown, speller = unknown_token(definition), None
        loses = unknown is None and not spells_everything(definition)
        raises = loses and model_type(definition["model"]) != "BPE"  # a BPE leaves out what it has no token for
        if loses:
            unknown = max(vocabulary.values()) + 1
            named = with_unknown_token(definition, unknown)
            speller = TokenizersEngine(load_reference(named))
            if raises:
                definition, engine = named, WithoutToken(speller, unknown)
        control = reachable_control_tokens(definition)
        other: Engine | None = None
        if control:
            sha256 = hashlib.sha256(data).hexdigest()
            other = TokenizersEngine(load_reference(with_unreachable(definition, control, sha256)))
            other = WithoutToken(other, unknown) if raises and unknown is not None else other
        ids = np.array(sorted(control.values()), np.uint32)
        found = cls(vocabulary, engine, ids, other, unknown, speller)
        return dataclasses.replace(found, engine=found.guarded(engine))

    @property
    def leaves_out(self) -> bool:
        """Whether what has no token is left out of the ids."""
        return self._speller is not None

    def guarded(self, engine: Engine) -> Engine:
        """The engine, the definition's control tokens kept out of what it makes of texts."""
        return engine if self._other is None else WithoutControlTokens(engine, self._control, self._other)

    def unknown(self, data: Bytes, offsets: Offsets, ids: Ids, bounds: Offsets) -> npt.NDArray[np.int64]:
        """How much of each document the definition can't spell: unknown tokens, or characters (bytes) left out.

        Costs nothing where every byte has a token, and the reference once more where letters are lost without a trace.

        Args:
          data, offsets: the documents, as for an engine.
          ids, bounds: what was made of them.
        """
        if self._unknown is None:
            return np.zeros(len(bounds) - 1, np.int64)
        if self._speller is not None:
            ids, bounds = self._speller.encode(data, offsets)
        places = np.flatnonzero(ids == self._unknown)
        return np.bincount(np.searchsorted(bounds, places, side="right") - 1, minlength=len(bounds) - 1)
