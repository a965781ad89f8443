"""The filter of ``short_lines.py`` as a numba kernel: one walk over the bytes of a batch.

UTF-8 needs no decoding here: blanks, line breaks and ASCII full stops are bytes of their own, never parts of another
character, and ``。`` is the three bytes E3 80 82.
"""

import numba
import numpy as np
import pyarrow as pa

REASONS = ("short_lines", "no_sentence")


@numba.njit(cache=True, nogil=True)
def judge(data: np.ndarray, offsets: np.ndarray, fewest_words: int, sentence_words: int, codes: np.ndarray) -> None:
    """Fills ``codes`` (uint8, one a document) with 1 + the number of the reason, 0 where the document stays."""
    for row in range(len(codes)):
        lines = short = 0
        sentence = False
        place, end = offsets[row], offsets[row + 1]
        while place < end:
            words = 0
            in_word = False
            last = place  # one past the last byte that isn't a blank
            while place < end and data[place] != 10:
                blank = data[place] == 32
                words += not blank and not in_word
                in_word = not blank
                place += 1
                if not blank:
                    last = place
            if words:
                lines += 1
                short += words < fewest_words
                final = data[last - 1]
                ends = final == 46 or final == 33 or final == 63  # . ! ?
                if final == 0x82:  # a line that ends so has two bytes more before it: it is UTF-8
                    ends = data[last - 2] == 0x80 and data[last - 3] == 0xE3
                sentence |= ends and words >= sentence_words
            place += 1
        if 2 * short > lines:
            codes[row] = 1
        elif not sentence:
            codes[row] = 2
        else:
            codes[row] = 0


class ShortLines:
    """Called with a batch of documents; the reason of each that goes."""

    reasons = REASONS

    def __init__(self, fewest_words: int = 4, sentence_words: int = 8) -> None:
        self.fewest_words, self.sentence_words = fewest_words, sentence_words

    def __call__(self, documents: pa.RecordBatch) -> pa.Array:
        """Null where a document stays."""
        text = documents["text"].cast(pa.string())
        _, offsets, data = text.buffers()
        starts = np.frombuffer(offsets, np.int32)[text.offset : text.offset + len(text) + 1]  # a batch may be a slice
        codes = np.zeros(len(text), np.uint8)
        judge(np.frombuffer(data or b"", np.uint8), starts, self.fewest_words, self.sentence_words, codes)
        reasons = pa.array(np.maximum(codes, 1) - 1, mask=codes == 0)
        return pa.DictionaryArray.from_arrays(reasons, pa.array(REASONS))
