"""Expressions of rules: conditions on attributes, such as ``edu >= 0.35 or language != 'en'``.

The grammar is a part of Python's, read by Python's own parser and never evaluated as Python:

- columns by name, also dotted (``metadata.source``); numbers, strings, ``True``, ``False``, ``None``;
- ``and``, ``or``, ``not``; ``==  !=  <  <=  >  >=``, also chained (``50 <= words <= 1000``);
- ``in`` and ``not in`` with a list of constants; ``is None`` and ``is not None``;
- ``+  -  *  /`` and ``a if condition else b``;
- the functions in ``FUNCTIONS``.

Values are Arrow arrays, and Arrow's kernels do the work: about 100 million rows a second for a comparison. Nulls follow
SQL: a comparison with a null is null, ``and`` and ``or`` are Kleene's. Whole numbers are computed as int64, others as
float64. A constant that is compared with a float32 or float16 column is first rounded to that type: a stored 0.35 is
``>= 0.35``.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import functools
from collections.abc import Callable, Iterable
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

MAX_CHARACTERS = 10_000
MAX_DEPTH = 100


class ExpressionError(ValueError):
    """An expression can't be used; the message shows the place and says what would be right."""


@dataclasses.dataclass(frozen=True)
class Expression:
    """A parsed expression.

    Attributes:
      text: as it was written.
      columns: the names of the columns that it reads, sorted.
    """

    text: str
    columns: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Expression:
        """Parses an expression.

        Raises:
          ExpressionError: it isn't of the grammar above.
        """
        return cls(text, tuple(sorted(_columns(_parsed(text), text))))

    def check(self, schema: pa.Schema) -> pa.DataType:
        """The type of the result for columns of this schema.

        Raises:
          ExpressionError: a column isn't there, or types don't go together.
        """
        empty = pa.RecordBatch.from_arrays([pa.array([], field.type) for field in schema], schema=schema)
        return self.evaluate(empty).type

    def check_condition(self, schema: pa.Schema) -> None:
        """Checks that the result is Boolean for columns of this schema.

        Raises:
          ExpressionError: it isn't, a column isn't there, or types don't go together.
        """
        found = self.check(schema)
        if not pa.types.is_boolean(found):
            raise ExpressionError(f"{self.text!r} gives {found}, not a Boolean: compare it with something")

    def evaluate(self, data: pa.RecordBatch | pa.Table) -> pa.Array:
        """The value for each row.

        Raises:
          ExpressionError: a column isn't there, or types don't go together.
        """
        columns = {name: _plain(data.column(name)) for name in self.columns if name in data.schema.names}
        _refuse_missing(self, data.schema.names)
        value = _Evaluation(self.text, columns).of(_parsed(self.text))
        if isinstance(value, pa.Scalar):
            value = pa.repeat(value, data.num_rows)
        return value.combine_chunks() if isinstance(value, pa.ChunkedArray) else value


@functools.lru_cache(maxsize=1024)
def _parsed(text: str) -> ast.expr:
    if len(text) > MAX_CHARACTERS:
        raise ExpressionError(f"an expression has at most {MAX_CHARACTERS} characters, this one {len(text)}")
    try:
        node = ast.parse(text.strip(), mode="eval").body
    except SyntaxError as error:
        raise _fault(text.strip(), (error.offset or 1) - 1, f"isn't an expression: {error.msg}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise ExpressionError(f"{text[:80]!r} isn't an expression: {error}") from None
    return node


def _fault(text: str, offset: int, message: str) -> ExpressionError:
    line = text.replace("\n", " ")
    return ExpressionError(f"{message}\n  {line}\n  {' ' * max(0, min(offset, len(line)))}^")


def _at(node: ast.AST, text: str, message: str) -> ExpressionError:
    lines = text.strip().split("\n")
    # ast counts bytes of the line; what stands before it is whole lines.
    line = getattr(node, "lineno", 1) - 1
    before = lines[line].encode()[: getattr(node, "col_offset", 0)].decode(errors="replace")
    return _fault(text.strip(), sum(len(earlier) + 1 for earlier in lines[:line]) + len(before), message)


def _dotted(node: ast.expr) -> str | None:
    """``a.b.c`` as a column's name; None if it isn't one."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return owner and f"{owner}.{node.attr}"
    return None


def _columns(node: ast.expr, text: str, depth: int = 0) -> set[str]:
    """The columns of an expression, all of whose parts are checked against the grammar."""
    if depth > MAX_DEPTH:
        raise _at(node, text, f"an expression can be nested {MAX_DEPTH} deep")
    name = _dotted(node)
    if name is not None:
        return {name}
    parts: list[ast.expr] = []
    match node:
        case ast.Constant(value=bool() | int() | float() | str() | None):
            pass
        case ast.BoolOp(values=values):
            parts = values
        case ast.UnaryOp(op=ast.Not() | ast.USub() | ast.UAdd(), operand=operand):
            parts = [operand]
        case ast.BinOp(left=left, op=op, right=right) if type(op) in _ARITHMETIC:
            parts = [left, right]
        case ast.IfExp(test=test, body=body, orelse=orelse):
            parts = [test, body, orelse]
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            parts = [left]
            for comparison, right in zip(ops, comparators, strict=True):
                if isinstance(comparison, ast.In | ast.NotIn):
                    _constants(right, text)
                elif isinstance(comparison, ast.Is | ast.IsNot):
                    if not (isinstance(right, ast.Constant) and right.value is None):
                        raise _at(right, text, "`is` and `is not` compare with None only; use == or !=")
                else:
                    parts.append(right)
        case ast.Call(func=ast.Name(id=function), args=arguments, keywords=[]):
            if function not in FUNCTIONS:
                raise _at(node, text, f"there is no function {function!r}; there are {', '.join(sorted(FUNCTIONS))}")
            if len(arguments) not in FUNCTIONS[function].arguments:
                wanted = " or ".join(map(str, FUNCTIONS[function].arguments))
                raise _at(node, text, f"{function}() takes {wanted} arguments, not {len(arguments)}")
            parts = arguments
        case ast.NamedExpr():
            raise _at(node, text, "write == to compare")
        case _:
            raise _at(node, text, "this isn't allowed in an expression (columns, constants, and/or/not, comparisons, "
                      "in, + - * /, if/else, and functions are)")  # fmt: skip
    return {name for part in parts for name in _columns(part, text, depth + 1)}


def _constants(node: ast.expr, text: str) -> list[Any]:
    """The constants of a list, which stands behind ``in``."""
    if not isinstance(node, ast.List | ast.Tuple | ast.Set):
        raise _at(node, text, "`in` needs a list of constants, such as ['de', 'en']")
    values = []
    for element in node.elts:
        negative = isinstance(element, ast.UnaryOp) and isinstance(element.op, ast.USub)
        constant = element.operand if isinstance(element, ast.UnaryOp) and negative else element
        if not isinstance(constant, ast.Constant) or not isinstance(constant.value, bool | int | float | str):
            raise _at(element, text, "`in` needs a list of constants, such as ['de', 'en']")
        values.append(-constant.value if negative and not isinstance(constant.value, str) else constant.value)
    if len({type(value) is str for value in values}) > 1:
        raise _at(node, text, "a list behind `in` holds either strings or numbers")
    return values


def _refuse_missing(expression: Expression, names: Iterable[str]) -> None:
    known = list(names)
    for name in expression.columns:
        if name not in known:
            close = difflib.get_close_matches(name, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            node = next(part for part in ast.walk(_parsed(expression.text)) if _is_column(part, name))
            raise _at(node, expression.text, f"there is no column {name!r}{hint}. There are: {', '.join(known)}")


def _is_column(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.Name | ast.Attribute) and _dotted(node) == name


def _plain(column: pa.Array | pa.ChunkedArray) -> pa.Array:
    """A column in a type that Arrow computes with."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    if pa.types.is_dictionary(array.type):
        array = array.dictionary_decode()
    return array.cast(pa.string()) if pa.types.is_large_string(array.type) else array


_COMPARE: dict[type, Callable[[Any, Any], Any]] = {
    ast.Eq: pc.equal,
    ast.NotEq: pc.not_equal,
    ast.Lt: pc.less,
    ast.LtE: pc.less_equal,
    ast.Gt: pc.greater,
    ast.GtE: pc.greater_equal,
}
_ARITHMETIC: dict[type, Callable[[Any, Any], Any]] = {
    ast.Add: pc.add,
    ast.Sub: pc.subtract,
    ast.Mult: pc.multiply,
    ast.Div: pc.divide,
}


@dataclasses.dataclass(frozen=True)
class Function:
    """A function of expressions: how many arguments it takes, what it does and is for, whether they are numbers."""

    arguments: tuple[int, ...]
    call: Callable[..., Any]
    purpose: str
    numeric: bool = False


def _coalesce(*values: Any) -> Any:
    return pc.coalesce(*values)


FUNCTIONS = {
    "starts_with": Function(
        (2,), lambda text, part: pc.starts_with(text, part.as_py()), "whether a string starts with a constant"
    ),
    "ends_with": Function(
        (2,), lambda text, part: pc.ends_with(text, part.as_py()), "whether a string ends with a constant"
    ),
    "contains": Function(
        (2,), lambda text, part: pc.match_substring(text, part.as_py()), "whether a string contains a constant"
    ),
    "lower": Function((1,), pc.utf8_lower, "a string in lower case"),
    "length": Function((1,), pc.utf8_length, "characters of a string"),
    "abs": Function((1,), pc.abs, "the absolute value of a number", numeric=True),
    "min": Function((2, 3, 4), pc.min_element_wise, "the least of several numbers; nulls are passed over", True),
    "max": Function((2, 3, 4), pc.max_element_wise, "the greatest of several numbers; nulls are passed over", True),
    "coalesce": Function((2, 3, 4), _coalesce, "the first value that isn't null"),
}


@dataclasses.dataclass(frozen=True)
class _Evaluation:
    """Computes the nodes of one expression from columns."""

    text: str
    columns: dict[str, pa.Array]

    def of(self, node: ast.expr) -> Any:
        name = _dotted(node)
        if name is not None:
            return self.columns[name]
        try:
            return self._computed(node)
        except ExpressionError:
            raise
        except (pa.ArrowException, TypeError, AttributeError, OverflowError) as error:
            reason = str(error).partition("\n")[0]
            raise _at(node, self.text, f"these values don't go together here: {reason}") from None

    def _computed(self, node: ast.expr) -> Any:
        match node:
            case ast.Constant(value=constant):
                return pa.scalar(constant)
            case ast.BoolOp(op=op, values=values):
                combine = pc.and_kleene if isinstance(op, ast.And) else pc.or_kleene
                result = self._boolean(values[0])
                for part in values[1:]:
                    result = combine(result, self._boolean(part))
                return result
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                return pc.invert(self._boolean(operand))
            case ast.UnaryOp(op=op, operand=operand):
                number = self._number(operand)
                return pc.negate(number) if isinstance(op, ast.USub) else number
            case ast.BinOp(left=left, op=op, right=right):
                return self._arithmetic(type(op), self._number(left), self._number(right))
            case ast.IfExp(test=test, body=body, orelse=orelse):
                return pc.if_else(self._boolean(test), self.of(body), self.of(orelse))
            case ast.Compare():
                return self._comparison(node)
            case ast.Call(func=ast.Name(id=function), args=arguments):
                value_of = self._number if FUNCTIONS[function].numeric else self.of
                return FUNCTIONS[function].call(*map(value_of, arguments))
        raise _at(node, self.text, "this isn't allowed in an expression")

    def _boolean(self, node: ast.expr) -> Any:
        value = self.of(node)
        if pa.types.is_null(value.type):
            return value.cast(pa.bool_())
        if not pa.types.is_boolean(value.type):
            raise _at(node, self.text, f"a condition is wanted here, but this is {value.type}")
        return value

    def _number(self, node: ast.expr) -> Any:
        """A number as int64 or float64: narrow types would wrap without a word."""
        value = self.of(node)
        if pa.types.is_integer(value.type):
            return value.cast(pa.float64() if value.type == pa.uint64() else pa.int64())
        if pa.types.is_floating(value.type) or pa.types.is_decimal(value.type):
            return value.cast(pa.float64())
        raise _at(node, self.text, f"a number is wanted here, but this is {value.type}")

    @staticmethod
    def _arithmetic(op: type, left: Any, right: Any) -> Any:
        if op is ast.Div:
            left, right = left.cast(pa.float64()), right.cast(pa.float64())
        return _ARITHMETIC[op](left, right)

    def _comparison(self, node: ast.Compare) -> Any:
        result, left = None, node.left
        for op, right in zip(node.ops, node.comparators, strict=True):
            match op:
                case ast.Is():
                    found = pc.is_null(self.of(left))
                case ast.IsNot():
                    found = pc.is_valid(self.of(left))
                case ast.In() | ast.NotIn():
                    found = self._membership(left, right)
                    found = pc.invert(found) if isinstance(op, ast.NotIn) else found
                case _:
                    found = _COMPARE[type(op)](*self._alike(self.of(left), self.of(right)))
            result = found if result is None else pc.and_kleene(result, found)
            left = right
        return result

    def _membership(self, node: ast.expr, listed: ast.expr) -> Any:
        """Null for a null, as with ``==``."""
        value = self.of(node)
        wanted = pa.array(_constants(listed, self.text))
        if len(wanted):
            wanted = wanted.cast(value.type)
        else:
            wanted = pa.array([], value.type)
        return pc.if_else(pc.is_valid(value), pc.is_in(value, wanted), pa.scalar(None, pa.bool_()))

    @staticmethod
    def _alike(left: Any, right: Any) -> tuple[Any, Any]:
        """Both sides of a comparison; constants are rounded to the type of a float column."""
        if isinstance(right, pa.Scalar) and not isinstance(left, pa.Scalar):
            return _Evaluation._rounded(left, right)
        if isinstance(left, pa.Scalar) and not isinstance(right, pa.Scalar):
            column, constant = _Evaluation._rounded(right, left)
            return constant, column
        return _Evaluation._comparable(left), _Evaluation._comparable(right)

    @staticmethod
    def _rounded(column: Any, constant: pa.Scalar) -> tuple[Any, pa.Scalar]:
        if pa.types.is_floating(constant.type) and column.type in (pa.float16(), pa.float32()):
            constant = constant.cast(column.type)
        return _Evaluation._comparable(column), _Evaluation._comparable(constant)

    @staticmethod
    def _comparable(value: Any) -> Any:
        return value.cast(pa.float32()) if value.type == pa.float16() else value


__all__ = ["FUNCTIONS", "Expression", "ExpressionError"]
