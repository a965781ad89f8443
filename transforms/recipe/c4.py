"""The options of C4's rules on lines, shared by the editor, the annotator and the rules on documents."""

from __future__ import annotations

import dataclasses

import numpy as np
import pyarrow as pa

from transforms.kernels.deduplication.fingerprinting import offsets_and_data
from transforms.kernels.edits.c4_lines import kept_lines


@dataclasses.dataclass(frozen=True, kw_only=True)
class C4Options:
    """C4's rules on lines.

    Attributes:
      terminal_punctuation: whether a line must end in punctuation; FineWeb sets it off.
      min_words: words of a line; the paper has 5, datatrove 3.
      max_word_length: characters of its longest word.
    """

    terminal_punctuation: bool = True
    min_words: int = 3
    max_word_length: int = 1000

    def kept(self, text: pa.StringArray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What the lines that stay make: ``transforms.kernels.edits.c4_lines.kept_lines``."""
        offsets, data = offsets_and_data(text)
        return kept_lines(data, offsets, self.terminal_punctuation, self.min_words, self.max_word_length)
