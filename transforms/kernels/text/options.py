"""The options of normalization, apart from the kernels: whoever only lists settings compiles nothing."""

from __future__ import annotations

import dataclasses
from typing import Literal

BYTE_ORDER_MARK = "byte_order_mark"
DROPPABLE: dict[str, tuple[tuple[int, int], ...]] = {
    "nul": ((0x0000, 0x0000),),
    BYTE_ORDER_MARK: (),  # U+FEFF at the beginning of a text only: no property of the character
    "controls": ((0x0001, 0x0008), (0x000E, 0x001F), (0x007F, 0x0084), (0x0086, 0x009F)),
    "soft_hyphens": ((0x00AD, 0x00AD),),
    "zero_width_spaces": ((0x200B, 0x200B),),
    "word_joiners": ((0x2060, 0x2060), (0xFEFF, 0xFEFF)),
    "directions": ((0x061C, 0x061C), (0x200E, 0x200F), (0x202A, 0x202E), (0x2066, 0x2069)),
    "invisible_operators": ((0x2061, 0x2064),),
    "deprecated": ((0x206A, 0x206F),),
    "annotations": ((0xFFF9, 0xFFFB),),
}
"""Characters that normalization can drop, by the name of their class: first and last code points."""

LINE_END_STYLES = ("keep", "uniform", "all")


@dataclasses.dataclass(frozen=True)
class Normalization:
    """Which rules are applied, in this order. The defaults change no meaning; all can be off.

    Attributes:
      drop: names of classes of characters that go (``DROPPABLE``). ``byte_order_mark`` is U+FEFF with nothing but white
        space before it.
      trim: blank lines at the beginning and white space at the end go; the first line's indentation stays.
      line_ends: ``uniform``: in a text whose every line ends in CR LF, or every line in CR, line ends become LF; in a
        text that mixes them they are content. ``all``: CR LF, CR, VT, FF, U+0085, U+2028 and U+2029 become LF.
        ``keep``: none.
      nfc: Unicode normalization form C, in the version ``UNICODE_VERSION``.
      strip_lines: white space at the end of a line goes.
      max_blanks: a longer run of blanks other than tabs, within a line, is cut to that; never indentation. 0: no bound.
      max_blank_lines: more empty lines in a row are cut to that. 0: no bound.
    """

    drop: tuple[str, ...] = ("nul", BYTE_ORDER_MARK)
    trim: bool = False
    line_ends: Literal["keep", "uniform", "all"] = "uniform"
    nfc: bool = False
    strip_lines: bool = False
    max_blanks: int = 0
    max_blank_lines: int = 0

    def __post_init__(self) -> None:
        """Checks the options."""
        for name in self.drop:
            if name not in DROPPABLE:
                raise ValueError(f"drop: {name!r} is none of {', '.join(DROPPABLE)}")
        if self.line_ends not in LINE_END_STYLES:
            raise ValueError(f"line_ends: {self.line_ends!r} is none of {', '.join(LINE_END_STYLES)}")
        for option in ("max_blanks", "max_blank_lines"):
            if not 0 <= getattr(self, option) < 2**31:
                raise ValueError(f"{option}: {getattr(self, option)} is not in 0 to 2**31 - 1 (0: no bound)")


DEFAULT = Normalization()
OFF = Normalization(drop=(), line_ends="keep")
"""Nothing is changed."""
EVERYTHING = Normalization(tuple(DROPPABLE), True, "all", True, True, max_blanks=16, max_blank_lines=1)
"""Every rule is on: plain prose."""
