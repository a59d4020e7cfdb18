"""Expressions over columns, as configs give them: parsed from a whitelist of syntax, never run as code.

``log1p(Jet_pt)``, ``(Jet.PT > 30) & (abs(Jet.Eta) < 2.5)``, ``where(sv_mass > 0, sv_mass, -1)``. A name, with or
without dots, is the name of a column. Nothing else can be reached: no attribute, no item, no function beside those of
:data:`FUNCTIONS`.
"""

from __future__ import annotations

import ast
import math
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from honeyguide.errors import ConfigError, DataError, nearest_name

MAX_CHARACTERS = 2000
MAX_DEPTH = 40

FUNCTIONS: dict[str, tuple[int, int]] = {
    **dict.fromkeys(("abs", "sqrt", "exp", "expm1", "log", "log10", "log1p", "sign", "floor"), (1, 1)),
    **dict.fromkeys(("sin", "cos", "tan", "sinh", "cosh", "tanh", "arcsin", "arccos", "arctan"), (1, 1)),
    **dict.fromkeys(("arctan2", "hypot"), (2, 2)),
    **dict.fromkeys(("isfinite", "isnan"), (1, 1)),
    **dict.fromkeys(("clip", "where"), (3, 3)),
    **dict.fromkeys(("sum", "mean", "any", "all", "count"), (1, 1)),
    **dict.fromkeys(("min", "max"), (1, 8)),
    "take": (2, 2),
}
"""Every function with its smallest and largest number of arguments.

``sum``, ``mean``, ``any``, ``all``, ``count``, and ``min`` and ``max`` of one argument, reduce the objects of each
entry to one value; the last two of several arguments compare them element by element. ``take(values, index)`` gives,
for each index of an entry, the value at that place of the entry's list, and NaN where there is none.
"""

_BINARY: dict[type[ast.operator], str] = {
    ast.Add: "+",
    ast.Sub: "-",
    ast.Mult: "*",
    ast.Div: "/",
    ast.Mod: "%",
    ast.Pow: "**",
    ast.BitAnd: "&",
    ast.BitOr: "|",
}
_COMPARE: dict[type[ast.cmpop], str] = {
    ast.Eq: "==",
    ast.NotEq: "!=",
    ast.Lt: "<",
    ast.LtE: "<=",
    ast.Gt: ">",
    ast.GtE: ">=",
}
_UNARY: dict[type[ast.unaryop], str] = {ast.USub: "neg", ast.UAdd: "pos", ast.Invert: "~", ast.Not: "not"}
_SYNTAX = "names of columns, numbers, + - * / % **, == != < <= > >=, & | ~, and or not, ( ), functions"
_LARGEST_INTEGER = 2**63 - 1
_INSTEAD = {
    ast.IfExp: "write where(condition, then, else)",
    ast.Subscript: "lists of an entry are reduced by sum, min, max, ..., or indexed by take(values, index)",
    ast.FloorDiv: "write floor(a / b)",
    ast.BitXor: "a power is **",
}

_Node = ast.AST
_Tree = tuple[str, tuple[Any, ...]]
"""(what is done, operands): operands are trees, column names under "column", numbers under "number"."""


@dataclass(frozen=True)
class Expression:
    """A parsed expression. Call :meth:`evaluate` with columns.

    Attributes:
        text: What was parsed.
        columns: Names of the columns that it needs, in the order of their first use.
        where: What the expression is for, for errors: a config key.
    """

    text: str
    columns: tuple[str, ...]
    where: str
    _tree: _Tree

    @property
    def is_column(self) -> bool:
        """Whether it is the name of one column and nothing else."""
        return self._tree[0] == "column"

    def check(self, known: Iterable[str]) -> None:
        """Raises a ConfigError that has the nearest name if a column is not among ``known``."""
        names = list(known)
        for column in self.columns:
            if column not in names:
                raise ConfigError(
                    f"an expression names the column '{column}', which is not there",
                    where=self.where,
                    got=self.text,
                    nearest=nearest_name(column, names),
                )

    def evaluate(self, columns: Mapping[str, Any]) -> Any:
        """Returns the values: a numpy array where all columns are flat, else an awkward array.

        Whole numbers are computed as int64, so that none wraps; the name of a column alone gives the column as it is.
        Numbers that mathematics has not (log of a negative one, a division by zero) become NaN or infinite.

        Args:
            columns: numpy or awkward arrays of equal length by name; a column of lists and a flat one are combined
                entry by entry.

        Raises:
            ConfigError: A column is missing.
            DataError: The columns can't be combined so: lists of different lengths, bits of fractions.
        """
        import numpy as np

        from honeyguide.data.expression_functions import OPERATIONS, as_operand

        self.check(columns)
        if self.is_column:
            return columns[self.columns[0]]
        operands = {name: as_operand(columns[name]) for name in self.columns}
        try:
            with np.errstate(all="ignore"):
                return _compute(self._tree, operands, OPERATIONS)
        except (TypeError, ValueError, OverflowError) as error:
            reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
            raise DataError(
                "an expression can't be computed from these columns",
                where=self.where,
                got=f"{self.text}: {reason}",
                hint="have its columns equally many objects in each entry? & | ~ take conditions or whole numbers",
            ) from error


def parse_expression(text: str, *, where: str = "expression", known: Iterable[str] | None = None) -> Expression:
    """Returns the parsed expression.

    Args:
        text: The expression; line breaks are spaces.
        where: What it is for, for errors: a config key.
        known: Names of the columns there are; by default any name will do.

    Raises:
        ConfigError: It is no expression, too long or too deep, has something that is not allowed, or names no column.
            The error has the position, what is allowed and the nearest name.
    """
    parser = _Parser(" ".join(text.split()), where)
    tree = parser.parse()
    expression = Expression(parser.text, tuple(dict.fromkeys(_columns(tree))), where, tree)
    if not expression.columns:
        raise ConfigError("an expression names no column", where=where, got=parser.text)
    if known is not None:
        expression.check(known)
    return expression


def _columns(tree: _Tree) -> Iterator[str]:
    kind, operands = tree
    if kind == "column":
        yield operands[0]
    elif kind != "number":
        for operand in operands:
            yield from _columns(operand)


def _compute(tree: _Tree, columns: Mapping[str, Any], operations: Mapping[str, Callable[..., Any]]) -> Any:
    kind, operands = tree
    if kind == "column":
        return columns[operands[0]]
    if kind == "number":
        return operands[0]
    return operations[kind](*(_compute(operand, columns, operations) for operand in operands))


class _Parser:
    """Turns Python's syntax tree into ours, which can hold nothing but columns, numbers and known operations."""

    def __init__(self, text: str, where: str) -> None:
        self.text = text
        self.where = where

    def parse(self) -> _Tree:
        if not self.text:
            raise ConfigError("an expression is empty", where=self.where)
        if len(self.text) > MAX_CHARACTERS:
            raise ConfigError(
                "an expression is too long",
                where=self.where,
                got=f"{len(self.text)} characters",
                allowed=f"{MAX_CHARACTERS} characters",
            )
        try:
            root = ast.parse(self.text, mode="eval")
        except SyntaxError as error:
            raise self._error("this is no expression", max((error.offset or 1) - 1, 0)) from error
        except (ValueError, RecursionError, MemoryError) as error:
            raise ConfigError("this is no expression", where=self.where, got=self.text[:80]) from error
        return self._tree(root.body, 1)

    def _tree(self, node: _Node, depth: int) -> _Tree:
        if depth > MAX_DEPTH:
            raise self._error(f"an expression is nested more than {MAX_DEPTH} times", node)
        match node:
            case ast.Constant():
                return self._number(node)
            case ast.Name() | ast.Attribute():
                return "column", (self._name(node),)
            case ast.BinOp(left, op, right) if type(op) in _BINARY:
                return self._operation(node, _BINARY[type(op)], [left, right], depth)
            case ast.UnaryOp(op, operand) if type(op) in _UNARY:
                return self._operation(node, _UNARY[type(op)], [operand], depth)
            case ast.BoolOp(op, values):
                return self._chain(
                    "and" if isinstance(op, ast.And) else "or", [self._tree(v, depth + 1) for v in values]
                )
            case ast.Compare():
                return self._comparison(node, depth)
            case ast.Call():
                return self._call(node, depth)
        kind = type(node.op) if isinstance(node, ast.BinOp) else type(node)
        raise self._error("an expression has something that is not allowed", node, hint=_INSTEAD.get(kind))

    def _number(self, node: ast.Constant) -> _Tree:
        value = node.value
        if not isinstance(value, (int, float)) or not abs(value) <= _LARGEST_INTEGER:
            # beyond, numbers are neither int64 nor anything physical
            raise self._error("an expression has a constant that is no number of usual size", node)
        return "number", (value,)

    def _name(self, node: _Node) -> str:
        """Returns the name of a column; dots belong to it, as in Delphes' ``Jet.PT``, and reach into nothing."""
        parts: list[str] = []
        part = node
        while isinstance(part, ast.Attribute):
            parts.append(part.attr)
            part = part.value
        if not isinstance(part, ast.Name):
            raise self._error("an expression has something that is not allowed", node)
        parts.append(part.id)
        if any(name.startswith("__") for name in parts):
            raise self._error("an expression has a name that is no column's", node)
        return ".".join(reversed(parts))

    def _operation(self, node: _Node, kind: str, operands: list[Any], depth: int) -> _Tree:
        trees = tuple(self._tree(operand, depth + 1) for operand in operands)
        if kind in ("/", "%") and trees[1] in (("number", (0,)), ("number", (0.0,))):
            raise self._error("an expression divides by zero", node)
        if all(tree[0] == "number" for tree in trees):
            return "number", (self._fold(node, kind, [tree[1][0] for tree in trees]),)
        return kind, trees

    def _fold(self, node: _Node, kind: str, values: list[Any]) -> Any:
        """Returns the value of an operation on constants, computed now, so that no power grows when columns come."""
        try:
            result = _CONSTANT[kind](*values)
        except (OverflowError, TypeError, ValueError, ZeroDivisionError) as error:
            raise self._error("an expression has constants that can't be computed", node) from error
        if isinstance(result, complex) or not abs(result) <= _LARGEST_INTEGER:
            raise self._error("an expression has constants beyond all usual size", node)
        return result

    def _comparison(self, node: ast.Compare, depth: int) -> _Tree:
        sides = [node.left, *node.comparators]
        bits = [isinstance(side, ast.BinOp) and isinstance(side.op, (ast.BitAnd, ast.BitOr)) for side in sides]
        trees = [self._tree(side, depth + 1) for side in sides]
        constants = [tree[0] == "number" for tree in trees]
        brackets = "& and | bind closer than comparisons: write (a > 1) & (b > 2)"
        if any(bits[1:]) or (len(sides) > 2 and bits[0]):
            raise self._error("an expression compares what & or | has joined", node, hint=brackets)
        if any(first and second for first, second in pairwise(constants)):
            raise self._error("an expression compares two constants", node, hint=brackets)
        if any(type(op) not in _COMPARE for op in node.ops):
            raise self._error("an expression has a comparison that is not allowed", node)
        pairs = zip(node.ops, pairwise(trees), strict=True)
        return self._chain("and", [(_COMPARE[type(op)], sides_of) for op, sides_of in pairs])

    def _chain(self, kind: str, trees: list[_Tree]) -> _Tree:
        result = trees[0]
        for tree in trees[1:]:
            result = kind, (result, tree)
        return result

    def _call(self, node: ast.Call, depth: int) -> _Tree:
        called = self._name(node.func)
        if called not in FUNCTIONS:
            # np.log and ak.sum are what b-hive's configs say
            nearest = nearest_name(called.rsplit(".", 1)[-1], FUNCTIONS)
            raise self._error(f"an expression calls '{called}', which is no function here", node, nearest=nearest)
        low, high = FUNCTIONS[called]
        if node.keywords or not low <= len(node.args) <= high:
            allowed = f"{low} arguments" if low == high else f"{low} to {high} arguments"
            raise self._error(f"an expression calls '{called}' with other arguments than it has", node, allowed=allowed)
        trees = tuple(self._tree(argument, depth + 1) for argument in node.args)
        if all(tree[0] == "number" for tree in trees):
            raise self._error("an expression calls a function of constants alone", node)
        if called in ("min", "max"):
            return ("lowest" if called == "min" else "highest", trees) if len(trees) == 1 else (called, trees)
        return called, trees

    def _error(
        self,
        what: str,
        place: _Node | int,
        *,
        allowed: str | None = None,
        nearest: str | None = None,
        hint: str | None = None,
    ) -> ConfigError:
        offset = place if isinstance(place, int) else getattr(place, "col_offset", 0)
        stop = None if isinstance(place, int) else getattr(place, "end_col_offset", None)
        # offsets count bytes of UTF-8
        part = self.text.encode()[offset:stop].decode(errors="replace")
        shown = part if len(part) <= 60 else part[:60] + "..."
        return ConfigError(
            what,
            where=self.where,
            got=f"{self.text[:200]} (at character {offset + 1}: {shown})",
            allowed=allowed or (f"functions: {', '.join(FUNCTIONS)}" if "function" in what else _SYNTAX),
            nearest=nearest,
            hint=hint,
        )


def _constant_power(base: float, exponent: float) -> float:
    """Returns a power of constants; whole numbers stay whole where that is small."""
    approximate: float = abs(float(base)) ** float(exponent)
    if isinstance(base, int) and isinstance(exponent, int) and exponent >= 0 and approximate < _LARGEST_INTEGER:
        return int(base**exponent)
    power: float = math.pow(base, exponent)
    return power


_CONSTANT: dict[str, Callable[..., Any]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "%": operator.mod,
    "**": _constant_power,
    "&": operator.and_,
    "|": operator.or_,
    "neg": operator.neg,
    "pos": operator.pos,
    "~": operator.invert,
    "not": operator.not_,
}
