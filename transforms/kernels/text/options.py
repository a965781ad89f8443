"""The options of normalization, apart from the kernels: whoever only lists settings compiles nothing."""

from __future__ import annotations

import dataclasses
from typing import Literal, get_args

from transforms.options import check, option

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

LineEnds = Literal["keep", "uniform", "all"]


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

    Raises:
      ValueError: an option is out of range; the message names it.
    """

    drop: tuple[str, ...] = option(
        ("nul", BYTE_ORDER_MARK),
        f"characters that go, any of {', '.join(DROPPABLE)}; '' for none",
        metavar="A,B",
        choices=tuple(DROPPABLE),
    )
    trim: bool = option(False, "drop blank lines at the beginning, white space at the end")
    line_ends: LineEnds = option(
        "uniform",
        "what becomes LF: CR LF or CR where a text uses nothing else (uniform), or every line separator",
        choices=get_args(LineEnds),
    )
    nfc: bool = option(False, "Unicode normalization form C")
    strip_lines: bool = option(False, "drop white space at the end of lines")
    max_blanks: int = option(
        0, "longest run of blanks within a line; tabs and indentation stay; 0: any", metavar="N", ge=0, lt=2**31
    )
    max_blank_lines: int = option(0, "empty lines in a row; 0: any", metavar="N", ge=0, lt=2**31)

    def __post_init__(self) -> None:
        check(self)


DEFAULT = Normalization()
OFF = Normalization(drop=(), line_ends="keep")
"""Nothing is changed."""
EVERYTHING = Normalization(tuple(DROPPABLE), True, "all", True, True, max_blanks=16, max_blank_lines=1)
"""Every rule is on: plain prose."""
