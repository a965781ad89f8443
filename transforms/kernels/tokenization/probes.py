"""Strings on which tokenizers are compared, beside documents: what a sample of a run's own text may lack."""

from __future__ import annotations

import unicodedata

_EVERY = 127  # a prime: the characters taken fall on all residues of the tables' rows
_FIRST_BYTES = (*range(0xC2, 0xE0), *range(0xE0, 0xF0), *range(0xF0, 0xF5))


def _characters() -> list[str]:
    """ASCII, Latin, every byte that UTF-8 has, and some 1,100 of Unicode's assigned characters from all its scripts."""
    chosen = [chr(code_point) for code_point in range(0x180)]
    for first in _FIRST_BYTES:
        size = 2 if first < 0xE0 else 3 if first < 0xF0 else 4
        bits = first & (0xFF >> (size + 1))
        chosen.append(chr(max(bits << 6 * (size - 1), (0, 0, 0x80, 0x800, 0x10000)[size])))
    chosen.append("\U000e0067")  # 0xF3: a tag, as in the flag of England
    rare = (chr(code_point) for code_point in range(0x80, 0x110000, _EVERY) if not 0xD800 <= code_point < 0xE000)
    return chosen + [character for character in rare if unicodedata.category(character) not in ("Cn", "Co")]


PROBES = (
    *(f"a{character}b {character}" for character in _characters()),
    *(
        "\n",
        "a\nb",
        "\n\n\n",
        "\t",
        " ",
        "  ",
        "   a",
        "a   ",
        " \n \n",
        "a\r\nb",
        "\u00a0",
        "\u3000",
        "\u2581",
        "a\u2581b",
    ),
    *(
        "\U0001f642",
        "\U0001f469\u200d\U0001f467",
        "\U0001f1e9\U0001f1ea",
        "\u2764\ufe0f",
        "1\ufe0f\u20e3",
        "\U0001f44d\U0001f3fd",
    ),
    *(
        "e\u0301",
        "\u0915\u094d\u200d\u0937",
        "\u0645\u06cc\u200c\u062e",
        "\u1112\u1161\u11ab",
        "\ufb01",
        "\u212b",
        "\u0130",
        "\u1e9e",
    ),
    *("<0x0A>", "a<0x41>b", "<unk>", "</s>", "<s>a", "[UNK]", "[CLS] a", "##a", "</w>", "<|endoftext|>"),
    *("can't", "12345", "1,000.50", "a_b", "http://a.b/c?d=e&f", "...", '")]};', "''\",)", "----", "=====\n"),
)
"""Newlines, blanks, every byte, rare letters, emoji, what normalizers change, and the spellings of special tokens."""
