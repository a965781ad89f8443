"""Training a tokenizer on the run's own text: which documents, and how. The command around it does the reading."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt
import tokenizers
from tokenizers import decoders, models, pre_tokenizers, trainers

_BYTES = 256  # symbols every byte-level vocabulary starts from

_log = logging.getLogger(__name__)


def in_sample(document_ids: npt.NDArray[np.uint64], fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Which documents are in a sample, each decided by its id alone: no order, batch or number of workers matters.

    A document is in if a 64-bit hash of its id (splitmix64, Steele et al. 2014, seeded) lies under ``fraction * 2^64``:
    a smaller fraction with the same seed is a subset of a larger one. 200 M ids/s.

    Args:
      document_ids: ``uint64``, any shape.
      fraction: expected part of the documents, 0 to 1.
      seed: another seed, another sample.

    Returns:
      A mask of the same shape.

    Raises:
      ValueError: `fraction` is not between 0 and 1.
    """
    if not 0 <= fraction <= 1:
        raise ValueError(f"fraction: {fraction} is not between 0 and 1")
    if fraction == 1:
        return np.ones(document_ids.shape, np.bool_)
    hashes = _splitmix64(document_ids.astype(np.uint64) ^ _splitmix64(np.array([seed % 2**64], np.uint64))[0])
    return hashes < np.uint64(fraction * 2.0**64)


def _splitmix64(values: npt.NDArray[np.uint64]) -> npt.NDArray[np.uint64]:
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))


def train_tokenizer(texts: Iterator[str], vocab_size: int, special_tokens: Sequence[str] = ("<|endoftext|>",)) -> bytes:
    """A byte-level BPE tokenizer in the manner of GPT-2, trained on normalized texts.

    Its pre-tokenizer is GPT-2's, it has no normalizer, and its 256 bytes spell any text, so there is no unknown token.
    A special token written in a text counts as characters. The same texts make the same bytes, in any order.

    Args:
      texts: read once. Memory is that of the distinct words, not of the text.
      vocab_size: ids to make, special tokens and the 256 bytes included. Fewer are made, and a warning is logged, if
        the texts have no more pairs to merge.
      special_tokens: they get the first ids, in this order.

    Returns:
      A compact Hugging Face tokenizer.json.

    Raises:
      ValueError: `vocab_size` is too small, `special_tokens` has an empty token or one twice, or there is no text.
    """
    if vocab_size < _BYTES + len(special_tokens):
        raise ValueError(
            f"vocab_size: {vocab_size} is too small; {_BYTES} bytes and {len(special_tokens)} special tokens must fit"
        )
    if "" in special_tokens or len(set(special_tokens)) != len(special_tokens):
        raise ValueError(f"special_tokens: {list(special_tokens)} has an empty token or one twice")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    tokenizer = tokenizers.Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=list(special_tokens),
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    some = next((text for text in texts if text), None)
    if some is None:
        raise ValueError("texts: there is no text to train on; take a larger sample")

    def all_texts() -> Iterator[str]:
        yield some
        yield from texts

    tokenizer.train_from_iterator(all_texts(), trainer)
    made = tokenizer.get_vocab_size(with_added_tokens=True)
    if made < vocab_size:
        _log.warning(
            "the texts made only %d of %d tokens; take a larger sample or a smaller vocabulary", made, vocab_size
        )
    serialized: str = tokenizer.to_str(pretty=False)
    return serialized.encode()
