"""Vectors of eight float32: a helper for compiled kernels that add short rows.

numba's compiler makes vector code of a loop only for rows several times as long as a model's, and one element at a time
costs ten times as much.
"""

from __future__ import annotations

from typing import Any

import numba
from llvmlite import ir
from numba.core import cgutils

LANES = 8


@numba.extending.intrinsic
def add_lanes(_typing_context: Any, total: Any, position: Any, values: Any, start: Any) -> Any:
    """Adds eight elements of one array of float32, from ``start``, to eight of another, from ``position``."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        lanes = ir.VectorType(ir.FloatType(), LANES).as_pointer()

        def address(array: int) -> Any:
            data = cgutils.create_struct_proxy(signature.args[array])(context, builder, arguments[array]).data
            return builder.bitcast(builder.gep(data, [arguments[array + 1]]), lanes)

        target = address(0)
        added = builder.fadd(builder.load(target, align=4), builder.load(address(2), align=4))
        builder.store(added, target, align=4)
        return context.get_dummy_value()

    return numba.types.void(total, numba.types.int64, values, numba.types.int64), generate


@numba.extending.intrinsic
def prefetch(_typing_context: Any, array: Any, position: Any) -> Any:
    """Asks the processor for the memory of an element that will be read soon; changes nothing."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = cgutils.create_struct_proxy(signature.args[0])(context, builder, arguments[0]).data
        pointer = builder.bitcast(builder.gep(data, [arguments[1]]), ir.IntType(8).as_pointer())
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [pointer.type, number, number, number])
        function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0")
        builder.call(function, [pointer, number(0), number(3), number(1)])  # to be read, often, data
        return context.get_dummy_value()

    return numba.types.void(array, numba.types.int64), generate
