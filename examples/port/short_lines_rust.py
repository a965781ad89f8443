"""The filter of ``short_lines.py`` in Rust: ``make port-example`` builds ``short_lines_kernel`` from ``rust/``.

The texts go to Rust and the reasons come back through the Arrow C data interface: pointers, no copies.
"""

import pyarrow as pa
from short_lines_kernel import judge


class ShortLines:
    """Called with a batch of documents; the reason of each that goes."""

    reasons = ("short_lines", "no_sentence")

    def __init__(self, fewest_words: int = 4, sentence_words: int = 8) -> None:
        self.fewest_words, self.sentence_words = fewest_words, sentence_words

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """Null where a document stays."""
        return judge(documents["text"], self.fewest_words, self.sentence_words)
