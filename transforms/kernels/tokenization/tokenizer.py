"""Tokenization: texts to token ids, as one Hugging Face ``tokenizer.json`` defines them.

Two engines make the ids. `tokenizers` is the reference: whatever it produces is right, and it reads every kind of
tokenizer, at 1-4 MB/s a core. `gigatoken` reads byte-level and SentencePiece-style BPE and makes the same ids at 20-80
MB/s. It works only after ``Tokenizer.calibrate`` has seen both produce the same ids on a sample of the run's own
documents. Measured on 31,776 documents in over 500 languages, cold cache: gpt2 82, gpt4o 68, qwen3 64, gemma3 23 MB/s.

Text never becomes a control token: an added token marked special, such as ``<|endoftext|>``, that stands in a text is
encoded as the characters it is made of. But for that, the ids are those of the definition as it stands, byte fallback
and unknown tokens included. Nothing is cut, padded, or wrapped in the tokenizer's own template; what stands before and
after a document is `bos` and `eos`.

The engines carry tables of different Unicode versions (tokenizers 0.23: 17 for its regular expressions, about 9 for its
normalizers; gigatoken 0.10: 16). Compared over every code point beside letters, digits, blanks, punctuation and
combining marks (gpt2, llama3, gpt4o, qwen3, gemma3), they differ only on code points unassigned in Unicode 14 and,
under a Unicode normalizer, on those for which the reference's normalizer departs from ``unicodedata``. A document that
holds one of either is always encoded by the reference.
"""

from __future__ import annotations

import dataclasses
import hashlib
import logging
import os
import unicodedata
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from transforms.kernels.tokenization.definition import parse, unicode_normalizers, without_control_tokens
from transforms.kernels.tokenization.disputed_code_points import disputed_code_points, documents_holding
from transforms.kernels.tokenization.engines import (
    FAST,
    REFERENCE,
    Bytes,
    Engine,
    GigatokenEngine,
    Ids,
    Offsets,
    offsets_of,
    replaced,
    select,
    versions,
)
from transforms.kernels.tokenization.probes import PROBES
from transforms.kernels.tokenization.reference import Reference

_FAST_ENGINE_UNICODE = (16, 0, 0)  # found by comparing letters of each version; Python 3.11 has 14

_log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Conformance:
    """What comparing the engines on a sample has shown; kept in the run's manifest.

    Attributes:
      engine: the engine that works from now on, "gigatoken" or "tokenizers".
      documents, bytes: how much of the sample both engines encoded; 0 if there was no fast engine to compare.
      differing: documents and probes (strings around the added tokens) whose ids differed.
      sample_sha256: of the sample's lengths (int64, little-endian) and its UTF-8 bytes, in order.
      tokenizer_sha256: of the bytes of the tokenizer.json.
      versions: of both engines.
    """

    engine: str
    documents: int
    bytes: int
    differing: int
    sample_sha256: str
    tokenizer_sha256: str
    versions: str


class Tokenizer:
    """Encodes documents with one tokenizer.json. Make it with ``from_json``; one a process, not for several threads.

    Attributes:
      sha256: of the bytes of the tokenizer.json, in hexadecimal.
      vocab_size: the largest id plus one, added tokens included.
      id_type: ``uint16`` if every id fits, else ``uint32``.
      engine: the engine at work, "gigatoken" or "tokenizers".
      engine_reason: a sentence that says why.
    """

    def __init__(
        self, reference: Reference, fast: Engine | None, *, vocabulary: _Vocabulary, sha256: str, engine_reason: str
    ) -> None:
        self.sha256 = sha256
        self.vocab_size = vocabulary.size
        self.id_type = pa.uint16() if vocabulary.size <= 1 << 16 else pa.uint32()
        self._id_dtype = np.uint16 if self.id_type == pa.uint16() else np.uint32
        self.engine = REFERENCE
        self.engine_reason = engine_reason
        self._vocabulary = vocabulary
        self._reference = reference
        self._fast = fast
        self._differing_probes: int | None = None  # until they were compared

    @classmethod
    def from_json(
        cls, data: bytes, *, bos: str | None = None, eos: str | None = None, allow_fast: bool = True
    ) -> Tokenizer:
        """A tokenizer from the bytes of a tokenizer.json.

        Takes 0.2 s (gpt2) to 4 s (gemma3, whose file is 33 MB). Switches off the thread pool of `tokenizers` in this
        process (``TOKENIZERS_PARALLELISM``): a worker has one thread.

        Args:
          data: the file.
          bos, eos: tokens put before and after every document, as they are written in the file.
          allow_fast: whether `gigatoken` may be used if it proves equal.

        Raises:
          ValueError: not a tokenizer.json, or `bos` or `eos` is not one of its tokens.
        """
        os.environ["TOKENIZERS_PARALLELISM"] = "false"
        definition = parse(data)
        reference = Reference.of(definition, data)
        vocabulary = _Vocabulary.of(reference.vocabulary, definition, bos, eos)
        fast: Engine | None = None
        if not allow_fast:
            reason = "the fast engine is switched off"
        elif tuple(map(int, unicodedata.unidata_version.split("."))) > _FAST_ENGINE_UNICODE:
            reason = f"Python's Unicode tables ({unicodedata.unidata_version}) are newer than those of gigatoken"
        else:
            try:
                fast = reference.guarded(GigatokenEngine(without_control_tokens(definition)))
                reason = "gigatoken has not been compared on a sample yet"
            except (RuntimeError, ValueError, TypeError) as error:
                reason = f"gigatoken can't do this tokenizer: {' '.join(str(error).split('Location:')[0].split())}"
        return cls(
            reference,
            fast,
            vocabulary=vocabulary,
            sha256=hashlib.sha256(data).hexdigest(),
            engine_reason=reason,
        )

    def encode(self, text: pa.StringArray) -> pa.ListArray:
        """The token ids of every document.

        Args:
          text: ``string`` or ``large_string``, valid UTF-8, normalized as the run wants it. A null is a document that
            is not active.

        Returns:
          ``list<id_type>``, one entry a document: null for null, and for an empty text only `bos` and `eos`.

        Raises:
          ValueError: the batch has 2^31 tokens or more.
        """
        data, offsets = _text_buffers(text)
        if self.engine == FAST and self._fast is not None:
            ids, bounds = self._encode_fast(self._fast, data, offsets)
        else:
            ids, bounds = self._reference.engine.encode(data, offsets)
        valid = np.asarray(pc.is_valid(text))
        return self._as_lists(ids, bounds, valid)

    def unknown(self, text: pa.StringArray, encoded: pa.ListArray) -> npt.NDArray[np.int64]:
        """How much of each document the tokenizer couldn't spell: its unknown tokens, or the characters it left out.

        Args:
          text: the documents.
          encoded: what ``encode`` has made of them.
        """
        return self._reference.unknown(
            *_text_buffers(text), encoded.values.to_numpy(), encoded.offsets.to_numpy().astype(np.int64)
        )

    @property
    def leaves_out(self) -> bool:
        """Whether what can't be spelled is left out, instead of becoming the unknown token."""
        return self._reference.leaves_out

    @property
    def wrapping(self) -> int:
        """How many tokens stand around each document: `bos` and `eos`."""
        return (self._vocabulary.bos is not None) + (self._vocabulary.eos is not None)

    def calibrate(self, sample: pa.StringArray) -> Conformance:
        """Compares the engines on documents of the run, and lets the fast one work if and only if they agree.

        Compared are the documents of the sample, but for those that the reference encodes in any case; and once,
        strings around every added token and what samples lack (``tokenizer_probes``). One difference anywhere, and
        the reference does all the work of this tokenizer from now on. Costs what the reference takes: about a second
        for 2 MB.
        """
        data, offsets = _text_buffers(sample.drop_null())
        digest = hashlib.sha256((offsets[1:] - offsets[:-1]).astype("<i8").tobytes() + data.tobytes()).hexdigest()
        if self._fast is None:
            return self._conformance(0, 0, 0, digest)
        if self._differing_probes is None:
            self._differing_probes = self._differing(self._fast, *_text_buffers(pa.array(self._vocabulary.probes)))
        differing = self._differing(self._fast, data, offsets) + self._differing_probes
        data, offsets = self._undisputed(data, offsets)
        documents, size = len(offsets) - 1, int(offsets[-1])
        if differing:
            self._use_reference(
                f"gigatoken and tokenizers made different ids for {differing} of {documents} documents of the sample"
                f" and {len(self._vocabulary.probes)} probes"
            )
            _log.warning(
                "%s; tokenizers does the work of this run, at about a twentieth of the speed", self.engine_reason
            )
        elif documents == 0:
            _log.warning(
                "the sample has no document to compare the tokenizer's engines on; %s does the work", self.engine
            )
        else:
            self._use_fast(f"gigatoken and tokenizers made the same ids for {documents} documents ({size} bytes)")
        return self._conformance(documents, size, differing, digest)

    def adopt(self, conformance: Conformance) -> None:
        """Takes over what another process found with the same tokenizer and the same engines, without comparing again.

        Raises:
          ValueError: it was found with another tokenizer.json or other versions of the engines.
        """
        if (conformance.tokenizer_sha256, conformance.versions) != (self.sha256, versions()):
            raise ValueError(
                f"conformance was found for tokenizer {conformance.tokenizer_sha256} with {conformance.versions},"
                f" but here is {self.sha256} with {versions()}: give every worker the same file and the same packages"
            )
        if conformance.engine != FAST:
            self._use_reference(
                f"gigatoken was not found equal to tokenizers: {conformance.differing} differences in"
                f" {conformance.documents} documents"
            )
        elif self._fast is not None:
            self._use_fast(f"gigatoken and tokenizers made the same ids for {conformance.documents} documents")

    def _use_fast(self, reason: str) -> None:
        self.engine, self.engine_reason = FAST, reason

    def _use_reference(self, reason: str) -> None:
        self._fast = None
        self.engine, self.engine_reason = REFERENCE, reason

    def _conformance(self, documents: int, size: int, differing: int, digest: str) -> Conformance:
        return Conformance(self.engine, documents, size, differing, digest, self.sha256, versions())

    def _undisputed(self, data: Bytes, offsets: Offsets) -> tuple[Bytes, Offsets]:
        return select(data, offsets, ~documents_holding(data, offsets, self._vocabulary.disputed))

    def _differing(self, fast: Engine, data: Bytes, offsets: Offsets) -> int:
        data, offsets = self._undisputed(data, offsets)
        ids, bounds = fast.encode(data, offsets)
        right_ids, right_bounds = self._reference.engine.encode(data, offsets)
        return sum(
            not np.array_equal(ids[bounds[i] : bounds[i + 1]], right_ids[right_bounds[i] : right_bounds[i + 1]])
            for i in range(len(offsets) - 1)
        )

    def _encode_fast(self, fast: Engine, data: Bytes, offsets: Offsets) -> tuple[Ids, Offsets]:
        ids, bounds = fast.encode(data, offsets)
        disputed = documents_holding(data, offsets, self._vocabulary.disputed)
        if not disputed.any():
            return ids, bounds
        return replaced(ids, bounds, disputed, self._reference.engine.encode(*select(data, offsets, disputed)))

    def _as_lists(self, ids: Ids, bounds: Offsets, valid: npt.NDArray[np.bool_]) -> pa.ListArray:
        prefix, suffix = self._vocabulary.bos, self._vocabulary.eos
        if prefix is not None or suffix is not None:
            before, after = int(prefix is not None), int(suffix is not None)
            wrapped = offsets_of(np.diff(bounds) + np.where(valid, before + after, 0))
            out = np.empty(wrapped[-1], self._id_dtype)
            is_text = np.ones(len(out), np.bool_)
            if prefix is not None:
                out[wrapped[:-1][valid]] = prefix
                is_text[wrapped[:-1][valid]] = False
            if suffix is not None:
                out[wrapped[1:][valid] - 1] = suffix
                is_text[wrapped[1:][valid] - 1] = False
            out[is_text] = ids
            values, bounds = out, wrapped
        else:
            values = ids.astype(self._id_dtype, copy=False)
        if bounds[-1] > np.iinfo(np.int32).max:
            raise ValueError(
                f"a batch of {len(valid)} documents has {bounds[-1]} tokens, over 2^31: give smaller batches"
            )
        return pa.ListArray.from_arrays(
            pa.array(bounds.astype(np.int32)),
            pa.Array.from_buffers(self.id_type, len(values), [None, pa.py_buffer(values)]),
            mask=None if valid.all() else pa.array(~valid),
        )


def encode_reference(tokenizer_json: bytes, text: str) -> list[int]:
    """The ids of one text: what every engine must produce, made slowly.

    ``tokenizers`` with ``encode_special_tokens`` (a special token in the text is encoded as characters), without the
    tokenizer's template, truncation, padding or BPE dropout.
    """
    engine = Reference.of(parse(tokenizer_json), tokenizer_json).engine
    ids: list[int] = engine.encode(*_text_buffers(pa.array([text])))[0].tolist()
    return ids


@dataclasses.dataclass(frozen=True)
class _Vocabulary:
    """What is known of a tokenizer besides its engines.

    Attributes:
      size: the largest id plus one.
      bos, eos: ids of the tokens before and after a document, if any.
      disputed: a bit a code point, set where the engines' Unicode tables may differ.
      probes: strings that both engines must encode alike: around every added token, and what samples lack.
    """

    size: int
    bos: int | None
    eos: int | None
    disputed: Bytes
    probes: list[str]

    @classmethod
    def of(
        cls,
        ids: dict[str, int],
        definition: dict[str, Any],
        bos: str | None,
        eos: str | None,
    ) -> _Vocabulary:
        wrapping = {}
        for setting, token in (("bos", bos), ("eos", eos)):
            identifier = None if token is None else ids.get(token)
            if token is not None and identifier is None:
                raise ValueError(f"{setting}: {token!r} is not a token of the tokenizer; name one of its added tokens")
            wrapping[setting] = identifier
        added = [token["content"] for token in definition.get("added_tokens") or []]
        return cls(
            size=max(ids.values()) + 1,
            disputed=disputed_code_points(unicode_normalizers(definition.get("normalizer"))),
            probes=[*PROBES, *(probe for token in added for probe in (token, f"a{token}b", f" {token} {token}\n"))],
            **wrapping,
        )


def _text_buffers(text: pa.StringArray) -> tuple[Bytes, Offsets]:
    """UTF-8 bytes (the array's own) and int64 offsets from 0 of a string array; a null is as long as an empty text."""
    if text.null_count:
        text = pc.fill_null(text, "")  # what lies under a null is undefined
    _, bounds, data = text.buffers()
    if len(text) == 0 or bounds is None:
        return np.empty(0, np.uint8), np.zeros(1, np.int64)
    width = np.int64 if pa.types.is_large_string(text.type) else np.int32
    offsets = np.frombuffer(bounds, width)[text.offset : text.offset + len(text) + 1].astype(np.int64)
    content = np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)
    content.flags.writeable = False  # one compiled version, whether or not Arrow says that the buffer may be written
    return content[offsets[0] : offsets[-1]], offsets - offsets[0]
