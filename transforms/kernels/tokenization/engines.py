"""The two engines behind ``tokenization``: whole batches of UTF-8 in, flat ids and offsets out, on one thread."""

from __future__ import annotations

import functools
import importlib.metadata
import json
from typing import Any, Protocol

import awkward
import gigatoken
import numpy as np
import numpy.typing as npt
import tokenizers

from transforms.worker_memory import allocated_bytes

Ids = npt.NDArray[np.uint32]
Offsets = npt.NDArray[np.int64]
Bytes = npt.NDArray[np.uint8]

REFERENCE = "tokenizers"
FAST = "gigatoken"

# An Encoding of `tokenizers` costs about 70 bytes a token, up to one token a byte of text: this keeps them under 80 MB.
REFERENCE_BATCH_BYTES = 1 << 20
# gigatoken remembers every pre-token it has seen and has no way to forget: 9 bytes of memory a byte of text made of
# random words, 1 on natural text. Making it anew costs 0.2-1.0 s, so it is done when it has really grown.
FAST_CACHE_BYTES = 512 << 20
WORST_CACHE_GROWTH = 12  # bytes of memory a byte of text, where the system doesn't tell


class Engine(Protocol):
    """Makes ids of a whole batch: `data` is UTF-8, document i is ``data[offsets[i]:offsets[i + 1]]``."""

    def encode(self, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
        """The ids of all documents, and where those of each start and end (int64, one more than documents)."""
        ...


def load_reference(definition: dict[str, Any] | bytes) -> tokenizers.Tokenizer:
    """The reference engine: special tokens in a text are characters, nothing is cut or padded, nothing is random."""
    data = definition if isinstance(definition, bytes) else json.dumps(definition).encode()
    try:
        engine = tokenizers.Tokenizer.from_buffer(data)
    except Exception as error:
        raise ValueError(f"tokenizer: not a Hugging Face tokenizer.json: {error}") from error
    engine.encode_special_tokens = True
    engine.no_truncation()
    engine.no_padding()
    if getattr(engine.model, "dropout", None):
        engine.model.dropout = None  # a training-time regularization that draws random numbers
    return engine


class WithoutControlTokens:
    """An engine, and another for the documents of whose text it has made control tokens.

    So a document that holds none has the ids of the first engine, whatever the second one would do.

    Args:
      engine: does the work.
      control: ids that no text may become.
      other: the reference, its control tokens out of the text's reach.
    """

    def __init__(self, engine: Engine, control: Ids, other: Engine) -> None:
        self._engine, self._other = engine, other
        self._control = np.zeros(int(control.max()) + 1, np.bool_)
        self._control[control] = True

    def encode(self, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
        """See ``Engine``."""
        ids, bounds = self._engine.encode(data, offsets)
        places = np.flatnonzero(self._control[np.minimum(ids, len(self._control) - 1)] & (ids < len(self._control)))
        if not len(places):
            return ids, bounds
        mask = np.zeros(len(offsets) - 1, np.bool_)
        mask[np.searchsorted(bounds, places, side="right") - 1] = True
        return replaced(ids, bounds, mask, self._other.encode(*select(data, offsets, mask)))


class WithoutToken:
    """An engine, and one of its ids left out of what it makes."""

    def __init__(self, engine: Engine, token: int) -> None:
        self._engine, self._token = engine, token

    def encode(self, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
        """See ``Engine``."""
        ids, bounds = self._engine.encode(data, offsets)
        stays = ids != self._token
        before = np.concatenate([np.zeros(1, np.int64), np.cumsum(stays)])
        return ids[stays], before[bounds]


class TokenizersEngine:
    """The reference, in sub-batches: its Encoding objects are large."""

    def __init__(self, engine: tokenizers.Tokenizer) -> None:
        self._engine = engine

    def encode(self, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
        """See ``Engine``."""
        documents = len(offsets) - 1
        lengths = np.zeros(documents, np.int64)
        pieces: list[Ids] = [np.empty(0, np.uint32)]
        start = 0
        while start < documents:
            limit = offsets[start] + REFERENCE_BATCH_BYTES
            stop = max(start + 1, int(np.searchsorted(offsets, limit, side="right")) - 1)
            texts = [data[offsets[i] : offsets[i + 1]].tobytes().decode() for i in range(start, stop)]
            for i, encoding in enumerate(self._engine.encode_batch_fast(texts, add_special_tokens=False), start):
                pieces.append(np.array(encoding.ids, np.uint32))
                lengths[i] = len(pieces[-1])
            start = stop
        return np.concatenate(pieces), offsets_of(lengths)


class GigatokenEngine:
    """The fast engine on the calling thread, made anew when its cache has grown by FAST_CACHE_BYTES."""

    def __init__(self, definition: bytes) -> None:
        self._definition = definition
        self._engine = gigatoken.Tokenizer.from_json(definition)
        self._growth = 0

    def encode(self, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
        """See ``Engine``."""
        if self._growth > FAST_CACHE_BYTES:
            del self._engine  # before the new one is made: the two together would be the peak
            self._engine = gigatoken.Tokenizer.from_json(self._definition)
            self._growth = 0
        before = allocated_bytes()
        characters = awkward.contents.NumpyArray(data, parameters={"__array__": "char"})
        # gigatoken takes 64-bit offsets only, and no option type.
        strings = awkward.contents.ListOffsetArray(
            awkward.index.Index64(offsets), characters, parameters={"__array__": "string"}
        )
        encoded = self._engine.encode_batch(awkward.Array(strings), parallel=False).layout
        ids = np.asarray(encoded.content.data)
        after = allocated_bytes()
        if before is None or after is None:
            self._growth += WORST_CACHE_GROWTH * len(data)
        else:
            self._growth += max(0, int(after - before - ids.nbytes))
        return ids, np.asarray(encoded.offsets.data)


@functools.cache
def versions() -> str:
    """Name and version of both engines."""
    return ", ".join(f"{name} {importlib.metadata.version(name)}" for name in (FAST, REFERENCE))


def offsets_of(lengths: npt.NDArray[np.int64]) -> Offsets:
    """int64 offsets from 0, one more than lengths."""
    offsets = np.zeros(len(lengths) + 1, np.int64)
    np.cumsum(lengths, out=offsets[1:])
    return offsets


def select(data: Bytes, offsets: Offsets, mask: npt.NDArray[np.bool_]) -> tuple[Bytes, Offsets]:
    """The documents of the mask, copied together."""
    rows = np.flatnonzero(mask)
    if len(rows) == len(mask):
        return data, offsets
    chosen = [data[offsets[row] : offsets[row + 1]] for row in rows]
    return np.concatenate([np.empty(0, np.uint8), *chosen]), offsets_of(np.diff(offsets)[rows])


def replaced(
    ids: Ids, bounds: Offsets, mask: npt.NDArray[np.bool_], others: tuple[Ids, Offsets]
) -> tuple[Ids, Offsets]:
    """The ids of all documents, those of the mask replaced by `others`, which has these documents only."""
    other_ids, other_bounds = others
    rows = np.flatnonzero(mask)
    lengths = np.diff(bounds)
    lengths[rows] = np.diff(other_bounds)
    pieces: list[Ids] = []
    done = 0
    for i, row in enumerate(rows.tolist()):
        pieces += [ids[bounds[done] : bounds[row]], other_ids[other_bounds[i] : other_bounds[i + 1]]]
        done = row + 1
    return np.concatenate([*pieces, ids[bounds[done] : bounds[-1]]]), offsets_of(lengths)
