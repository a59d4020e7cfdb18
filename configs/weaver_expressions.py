"""Expressions of weaver's data configs (Python with numpy and awkward) as expressions and truths of honeyguide."""

from __future__ import annotations

import ast
import math
from collections.abc import Mapping
from typing import Any

from honeyguide.data.expressions import FUNCTIONS, parse_expression
from honeyguide.errors import ConfigError

_MODULES = {"np", "numpy", "ak", "awkward", "math"}
_CONSTANTS = {"pi": math.pi, "e": math.e}
_RENAMED = {
    **{"absolute": "abs", "fabs": "abs", "maximum": "max", "minimum": "min", "num": "count", "pow": "power"},
    **{"asin": "arcsin", "acos": "arccos", "atan": "arctan", "atan2": "arctan2"},
}
_REDUCERS = {"sum", "mean", "any", "all", "count", "max", "min"}
_TEMPLATES = {
    "power": ("({} ** {})", 2),
    "square": ("({} ** 2)", 1),
    "ones_like": ("(0 * {} + 1)", 1),
    "zeros_like": ("(0 * {})", 1),
    "logical_and": ("({} and {})", 2),
    "logical_or": ("({} or {})", 2),
    "logical_not": ("(not {})", 1),
    "arcsinh": ("(sign({0}) * log(abs({0}) + sqrt({0} ** 2 + 1)))", 1),
}
_BINARY: dict[type[ast.AST], str] = {
    **{ast.Add: "+", ast.Sub: "-", ast.Mult: "*", ast.Div: "/", ast.Mod: "%", ast.Pow: "**"},
    **{ast.BitAnd: "&", ast.BitOr: "|", ast.And: "and", ast.Or: "or"},
}
_UNARY: dict[type[ast.AST], str] = {ast.USub: "-", ast.UAdd: "+", ast.Invert: "~", ast.Not: "not "}
_COMPARE: dict[type[ast.AST], str] = {
    **{ast.Eq: "==", ast.NotEq: "!=", ast.Lt: "<", ast.LtE: "<=", ast.Gt: ">", ast.GtE: ">="}
}
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
_MAX_STEPS = 2000
Condition = dict[str, Any]


class UntranslatableError(Exception):
    """An expression has no counterpart; the message says why."""


class Variables:
    """The variables of a data config: branches, and what ``new_variables`` makes of them.

    Args:
        new: Expression of each new variable.
        absent: Names that are no branches, and why nothing can be made of them.
    """

    def __init__(self, new: Mapping[str, str], absent: Mapping[str, str]) -> None:
        self._new = {name: text for name, text in new.items() if str(text).strip() != name}
        self._absent = absent

    def expression(self, text: str) -> str:
        """Returns honeyguide's expression over branches.

        Raises:
            UntranslatableError: There is none.
        """
        written = _written(self._tree(text))
        written = written[1:-1] if written.startswith("(") and _encloses(written) else written
        try:
            return parse_expression(written, where=text).text
        except ConfigError as error:
            raise UntranslatableError(error.what) from error

    def truth(self, text: str) -> list[Condition]:
        """Returns the conditions of a truth, on branches, under which a label is not 0.

        Raises:
            UntranslatableError: They can't be given so.
        """
        return _conditions(self._tree(text))

    def branches(self, text: str) -> list[str]:
        """Returns the names of the branches behind an expression; none where it can't be read."""
        try:
            tree = self._tree(text)
        except UntranslatableError:
            return []
        return [node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node.id not in _MODULES]

    def _tree(self, text: str) -> ast.expr:
        """Returns the expression with all new variables replaced by what they are made of."""
        return _Inlined(self).run(str(text), ())

    def parsed(self, text: str) -> ast.expr:
        """Returns the expression as it is given."""
        try:
            return ast.parse(text.strip(), mode="eval").body
        except SyntaxError as error:
            raise UntranslatableError(f"it is no expression of Python: {error.msg}") from error

    def made_of(self, name: str) -> str | None:
        """Returns the expression of a new variable; None for a branch."""
        if name in self._absent:
            raise UntranslatableError(f"'{name}' is no branch: {self._absent[name]}")
        return None if name not in self._new else str(self._new[name])


class _Inlined(ast.NodeTransformer):
    def __init__(self, variables: Variables) -> None:
        self._variables = variables
        self._open: tuple[str, ...] = ()
        self._steps = 0

    def run(self, text: str, within: tuple[str, ...]) -> ast.expr:
        before, self._open = self._open, within
        tree: ast.expr = self.visit(self._variables.parsed(text))
        self._open = before
        return tree

    def visit_Name(self, node: ast.Name) -> ast.expr:
        made_of = self._variables.made_of(node.id)
        self._steps += 1
        if node.id in self._open or self._steps > _MAX_STEPS:
            raise UntranslatableError(f"'{node.id}' is made of itself")
        return node if made_of is None else self.run(made_of, (*self._open, node.id))

    def visit_Call(self, node: ast.Call) -> ast.expr:
        return ast.Call(node.func, [self.visit(item) for item in node.args], node.keywords)


def _encloses(text: str) -> bool:
    """Returns whether the first bracket is closed by the last character."""
    depth = 0
    for place, character in enumerate(text):
        depth += (character == "(") - (character == ")")
        if depth == 0:
            return place == len(text) - 1
    return False


def _written(node: ast.AST) -> str:
    match node:
        case ast.Constant(value=bool() as flag):
            return str(int(flag))
        case ast.Constant(value=int() | float() as number):
            return repr(number)
        case ast.Name(id=name):
            return name
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES and name in _CONSTANTS:
            return repr(_CONSTANTS[name])
        case ast.BinOp(left=left, op=ast.FloorDiv(), right=right):
            return f"floor({_written(left)} / {_written(right)})"
        case ast.BinOp(left=left, op=operation, right=right) if type(operation) in _BINARY:
            return f"({_written(left)} {_BINARY[type(operation)]} {_written(right)})"
        case ast.BoolOp(op=operation, values=values):
            return f"({f' {_BINARY[type(operation)]} '.join(map(_written, values))})"
        case ast.UnaryOp(op=operation, operand=operand):
            return f"({_UNARY[type(operation)]}{_written(operand)})"
        case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _COMPARE:
            return f"({_written(left)} {_COMPARE[type(operation)]} {_written(right)})"
        case ast.Call():
            return _called(node)
    raise UntranslatableError(f"'{ast.unparse(node)}' has no counterpart in expressions")


def _called(node: ast.Call) -> str:
    match node.func:
        case ast.Name(id=name):
            pass
        case ast.Attribute(value=ast.Name(id=module), attr=name) if module in _MODULES:
            pass
        case _:
            raise UntranslatableError(f"'{ast.unparse(node.func)}' can't be called in expressions")
    name = _RENAMED.get(name, name)
    arguments = [_written(item) for item in node.args]
    for keyword in node.keywords:
        last_axis = keyword.arg == "axis" and ast.unparse(keyword.value) in ("1", "-1")
        if not (last_axis and name in _REDUCERS):
            raise UntranslatableError(f"'{name}' with '{keyword.arg}' has no counterpart")
    template, number = _TEMPLATES.get(name, ("", 0))
    if template and len(arguments) == number:
        return template.format(*arguments)
    if name not in FUNCTIONS or not FUNCTIONS[name][0] <= len(arguments) <= FUNCTIONS[name][1]:
        raise UntranslatableError(f"there is no function '{name}' of {len(arguments)} arguments")
    return f"{name}({', '.join(arguments)})"


def _conditions(node: ast.AST) -> list[Condition]:
    match node:
        case ast.Name(id=name):
            return [{name: {"!=": 0}}]
        case ast.BinOp(left=ast.Constant(value=1), op=ast.Sub(), right=ast.Name(id=name)):
            return [{name: 0}]
        case ast.UnaryOp(op=ast.Invert() | ast.Not(), operand=ast.Name(id=name)):
            return [{name: 0}]
        case ast.BinOp(left=left, op=ast.BitAnd() | ast.Mult(), right=right):
            return _conditions(left) + _conditions(right)
        case ast.BoolOp(op=ast.And(), values=values):
            return [item for value in values for item in _conditions(value)]
        case ast.BinOp(left=left, op=ast.BitOr() | ast.Add(), right=right):
            return _either([left, right])
        case ast.BoolOp(op=ast.Or(), values=values):
            return _either(values)
        case ast.Compare(left=left, ops=[operation], comparators=[right]) if type(operation) in _COMPARE:
            return [_compared(left, _COMPARE[type(operation)], right)]
        case ast.Call(func=ast.Attribute(attr="logical_and"), args=arguments):
            return [item for value in arguments for item in _conditions(value)]
        case ast.Call(func=ast.Attribute(attr="logical_or"), args=arguments):
            return _either(arguments)
    raise UntranslatableError(f"'{ast.unparse(node)}' is no comparison of branches with numbers")


def _either(values: list[ast.expr]) -> list[Condition]:
    """Returns one condition for several of which one holds: they are about the same branch."""
    found = [_conditions(value) for value in values]
    names = {name for conditions in found for item in conditions for name in item}
    if len(names) != 1 or any(len(conditions) != 1 for conditions in found):
        raise UntranslatableError("'or' is for values of one branch")
    (name,) = names
    listed: list[Any] = []
    for (condition,) in found:
        listed += condition[name] if isinstance(condition[name], list) else [condition[name]]
    return [{name: listed}]


def _compared(left: ast.AST, operation: str, right: ast.AST) -> Condition:
    if _number(left) is not None:
        left, right, operation = right, left, _MIRRORED[operation]
    number = _number(right)
    match left:
        case ast.Name(id=name) if number is not None:
            return {name: number if operation == "==" else {operation: number}}
        case ast.Call(func=ast.Name(id="abs") | ast.Attribute(attr="abs"), args=[ast.Name(id=name)]):
            if number is not None and operation == "==":
                return {name: [number, -number]}
    raise UntranslatableError("a truth compares a branch with a number")


def _number(node: ast.AST) -> int | float | None:
    match node:
        case ast.Constant(value=int() | float() as number) if not isinstance(number, bool):
            return number
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            value = _number(operand)
            return None if value is None else -value
    return None
