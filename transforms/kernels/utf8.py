"""Words of UTF-8 at once: helpers for compiled kernels over Arrow string buffers."""

from __future__ import annotations

from typing import Any

import numba
import numpy as np
from numba.core import cgutils


@numba.extending.intrinsic
def load_word(_typing_context: Any, array: Any, position: Any) -> Any:
    """Eight bytes of an array of uint8 from any position, aligned or not, as one uint64."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        word = context.get_value_type(signature.return_type)
        address = builder.bitcast(builder.gep(data, [arguments[1]]), word.as_pointer())
        return builder.load(address, align=1)

    return numba.types.uint64(array, numba.types.int64), generate


@numba.njit(cache=True, inline="always")
def is_plain_ascii(word: np.uint64) -> bool:
    """Whether eight bytes are printable ASCII (0x20-0x7E), and not all of them spaces.

    In a row of such words a run of spaces has 14 at most.
    """
    high_bits = np.uint64(0x8080808080808080)
    at_least_space = (word | high_bits) - np.uint64(0x2020202020202020)
    delete_or_more = (word & ~high_bits) + np.uint64(0x0101010101010101)
    return ((word | ~at_least_space | delete_or_more) & high_bits) == 0 and word != np.uint64(0x2020202020202020)
