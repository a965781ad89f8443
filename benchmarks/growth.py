"""Single documents of two sizes: the time that a byte takes must not grow with the document."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from benchmarks import inputs
from benchmarks.steps import cpu
from transforms.kernels.deduplication.fingerprinting import fingerprint
from transforms.kernels.deduplication.options import MinHash
from transforms.kernels.language import identification as language
from transforms.kernels.language.identification import default_model_path
from transforms.kernels.text.normalization import normalize
from transforms.kernels.tokenization.tokenizer import Tokenizer


def growth(tokenizer: Path, longest: int) -> Iterator[dict[str, Any]]:
    """Single documents of two sizes, eight times apart: the time a byte must stay what it is.

    Args:
      longest: bytes of the longest document; a word is half as long.

    Yields:
      document, bytes, and by step the seconds and how many times longer a byte of it takes than an eighth's.
    """
    engine = Tokenizer.from_json(tokenizer.read_bytes())
    engine.calibrate(pa.array(inputs.sample_texts()[:20]))
    model, options = language.load(default_model_path()), MinHash()
    steps: dict[str, Callable[[pa.StringArray], object]] = {
        "normalize": normalize,
        "language": model.identify,
        "fingerprint": lambda text: fingerprint(text, options),
        "tokenize": engine.encode,
    }
    for step in steps.values():
        step(pa.array(["compiles, builds its tables"]))
    for name, make, size in (
        ("sample text", _sample_text, longest),
        ("one word of random letters", _word, longest // 2),
        ("combining marks only", _marks, longest // 2),
    ):
        seconds: list[dict[str, float]] = []
        sizes = (size // 8, size)
        for length in sizes:
            text = pa.array([make(length)])
            spent = {}
            for step, function in steps.items():
                spent[step] = cpu(lambda function=function, text=text: function(text))
            seconds.append(spent)
        yield {
            "document": name,
            "bytes": sizes[1],
            "seconds": {step: round(spent, 3) for step, spent in seconds[1].items()},
            "time_per_byte": {
                # Below a millisecond the clock says nothing: that step doesn't look at all of the document.
                step: round(max(seconds[1][step], 1e-3) / 8 / max(seconds[0][step], 1e-3), 2)
                for step in steps
            },
        }


def _sample_text(size: int) -> str:
    text = "\n".join(inputs.sample_texts())
    return (text * (size // len(text.encode()) + 1)).encode()[:size].decode(errors="ignore")


def _word(size: int) -> str:
    return np.random.default_rng(1).integers(ord("a"), ord("z") + 1, size, np.uint8).tobytes().decode()


def _marks(size: int) -> str:
    return "\u0301\u0323" * (size // 4)
