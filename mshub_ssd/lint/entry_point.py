"""Reading a repository's ``mindspore_hub_conf.py``: which model names does its ``create_network`` take?

The file is strangers' code and is never run. Where the function compares its argument with names written out, these
are compared here; whatever else it does counts as "may take it", so that a refusal is a proof.
"""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Iterable
from dataclasses import dataclass

__all__ = ["FILE_NAME", "FUNCTION", "EntryPoint", "read_entry_point"]

FILE_NAME = "mindspore_hub_conf.py"
FUNCTION = "create_network"

# Who uses these can bind names that no syntax tree shows.
_OBSCURE = {"exec", "eval", "globals", "locals", "vars"}
_BINDING = ("id", "arg", "name", "asname", "rest")


@dataclass(frozen=True)
class EntryPoint:
    """A ``mindspore_hub_conf.py``.

    Attributes:
        fault: Why it is none: it is no Python, or has no ``create_network``. None where it may be one.
        function: The function, where it is surely this one that is called, and its first parameter stays what it is.
    """

    fault: str | None = None
    function: ast.FunctionDef | None = None

    def refuses(self, name: str) -> bool:
        """Whether ``create_network(name)`` surely raises, or returns nothing."""
        try:
            return self.function is not None and self._fails(self.function.body, name)
        except RecursionError:
            return False

    def _fails(self, statements: list[ast.stmt], name: str) -> bool:
        todo = statements[::-1]
        while todo:
            statement = todo.pop()
            match statement:
                case ast.Raise() | ast.Return(value=None | ast.Constant(value=None)):
                    return True
                case ast.If(test=test) if (truth := self._truth(test, name)) is not None:
                    todo += (statement.body if truth else statement.orelse)[::-1]
                case ast.Assert(test=test) if self._truth(test, name) is False:
                    return True
                case _ if any(isinstance(node, ast.Return) for node in ast.walk(statement)):
                    return False
        return True

    def _truth(self, test: ast.expr, name: str) -> bool | None:
        """What a condition on the parameter is for a name; None for what is no comparison with names written out."""
        match test:
            case ast.UnaryOp(op=ast.Not(), operand=operand):
                truth = self._truth(operand, name)
                return None if truth is None else not truth
            case ast.BoolOp(op=op, values=values):
                decisive = isinstance(op, ast.Or)
                truths = {self._truth(value, name) for value in values}
                return decisive if decisive in truths else None if None in truths else not decisive
            case ast.Compare(left=left, ops=[ast.Eq() | ast.NotEq() as op], comparators=[right]):
                one, other = self._text(left, name), self._text(right, name)
                return None if one is None or other is None else (one == other) is isinstance(op, ast.Eq)
            case ast.Compare(left=left, ops=[ast.In() | ast.NotIn() as op], comparators=[right]):
                text, items = self._text(left, name), getattr(right, "elts", [None])
                known = [one.value for one in items if isinstance(one, ast.Constant)]
                return None if text is None or len(known) < len(items) else (text in known) is isinstance(op, ast.In)
        return None

    def _text(self, node: ast.expr, name: str) -> str | None:
        match node:
            case ast.Constant(value=str() as text):
                return text
            case ast.Name(id=used) if self.function and used == _first_parameter(self.function):
                return name
            case ast.Call(func=ast.Attribute(value=ast.Name() as inner, attr="lower"), args=[], keywords=[]):
                given = self._text(inner, name)
                return given and given.lower()
        return None


@functools.lru_cache(maxsize=16)  # trees are large
def read_entry_point(text: str) -> EntryPoint:
    """What a ``mindspore_hub_conf.py`` with this text tells."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (RecursionError, MemoryError):
        return EntryPoint()
    except (SyntaxError, ValueError):
        return EntryPoint("is no Python")
    bound = _bound_by(ast.walk(tree))
    if "*" in bound or any(isinstance(node, ast.Name) and node.id in _OBSCURE for node in ast.walk(tree)):
        return EntryPoint()
    if FUNCTION not in bound:
        return EntryPoint(f"has no {FUNCTION}")
    found = [node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == FUNCTION]
    plain = bound.count(FUNCTION) == 1 and len(found) == 1 and _is_plain(found[0])
    return EntryPoint(None, found[0] if plain else None)


def _first_parameter(function: ast.FunctionDef) -> str | None:
    return next((one.arg for one in [*function.args.posonlyargs, *function.args.args]), None)


def _is_plain(function: ast.FunctionDef) -> bool:
    inside = [node for statement in function.body for node in ast.walk(statement)]
    generator = any(isinstance(node, ast.Yield | ast.YieldFrom) for node in inside)
    first = _first_parameter(function)
    return not (function.decorator_list or generator or first is None or first in _bound_by(inside))


def _bound_by(nodes: Iterable[ast.AST]) -> list[str]:
    """The names that some nodes may bind; ``*`` for those of a module."""
    bound: list[str] = []
    for node in nodes:
        if not isinstance(node, ast.keyword) and not isinstance(getattr(node, "ctx", None), ast.Load):
            bound += [name for key in _BINDING if isinstance(name := getattr(node, key, None), str)]
            bound += [name for name in getattr(node, "names", []) if isinstance(name, str)]
    return bound
