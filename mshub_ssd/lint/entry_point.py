"""Reading a repository's ``mindspore_hub_conf.py``: which model names does its ``create_network`` take?

The file is strangers' code and is never run. It is followed statement by statement with the model's name known and
nearly all else unknown. Whatever is not understood counts as "may take it", so that a refusal is a proof.
"""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FILE_NAME", "FUNCTION", "EntryPoint", "read_entry_point"]

FILE_NAME = "mindspore_hub_conf.py"
FUNCTION = "create_network"

_MOST_STEPS = 20_000
_MOST_CALLS = 4
_LONGEST = 1000
_SIMPLE = (str, int, float, bool, type(None))
# Who uses these can bind and read names that no syntax tree shows.
_OBSCURE = {"exec", "eval", "globals", "locals", "vars"}
_TEXT_METHODS = (
    "lower",
    "upper",
    "casefold",
    "strip",
    "lstrip",
    "rstrip",
    "startswith",
    "endswith",
    "replace",
    "count",
)
_READING_METHODS = ("get", "keys", "values", "items", "index", "count", "copy")
_COPYING_FUNCTIONS = ("list", "tuple", "set", "frozenset", "sorted")
_READING_FUNCTIONS = (*_COPYING_FUNCTIONS, "len", "str", "repr", "print", "enumerate", "any", "all")
_Repeated = ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith


class _Unknown:
    """A value that cannot be told; at most, whether it is true."""

    def __init__(self, truth: bool | None = None) -> None:
        self.truth = truth


_UNKNOWN = _Unknown()


@dataclass(frozen=True, eq=False)
class _Function:
    """A function of the file."""

    node: ast.FunctionDef


@dataclass(frozen=True, eq=False)
class _Table:
    """A dict, list, tuple or set.

    Attributes:
        items: Those of its keys or elements that are known.
        complete: Whether they are all.
        values: What stands behind the keys of a dict.
    """

    items: frozenset[Any]
    complete: bool
    values: dict[Any, Any] | None = None


_Names = dict[str, Any]


class _RaisesError(Exception):
    """The expression raises, whatever the unknown is."""


class _LostError(Exception):
    """Nothing can be told any more."""


@dataclass
class _Exits:
    """How code may be left: with which values, and with which names at its end (None where that is never reached)."""

    returned: list[Any] = field(default_factory=list)
    names: _Names | None = None


class EntryPoint:
    """A ``mindspore_hub_conf.py``.

    Attributes:
        fault: Why it is none: it is no Python, or has no ``create_network``. None where it may be one.
    """

    def __init__(self, text: str) -> None:
        self.fault: str | None = None
        self._calls = self._steps = 0
        self._file: _Names = {}
        self._create: _Function | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (RecursionError, MemoryError):
            return
        except (SyntaxError, ValueError):
            self.fault = "is no Python"
            return
        self._uses = _uses(tree)
        self._bindings = _Bindings(tree)
        if not (self._uses.obscure or self._uses.star or FUNCTION in self._bindings.inside(tree)):
            self.fault = f"has no {FUNCTION}"
        elif not self._uses.obscure:
            try:
                self._file = self._block(tree.body, {}).names or {}
            except (RecursionError, _LostError):
                return
            found = self._file.get(FUNCTION)
            self._create = found if isinstance(found, _Function) else None

    def refuses(self, name: str) -> bool:
        """Whether ``create_network(name)`` surely raises, or returns nothing."""
        if self._create is None:
            return False
        self._steps = 0
        first = [*self._create.node.args.posonlyargs, *self._create.node.args.args][:1]
        if not first:
            return False
        try:
            # Whatever else may be given is up to the caller.
            returned = self._outcome(self._create, {first[0].arg: name})
        except _RaisesError:
            return True
        except (RecursionError, _LostError):
            return False
        return all(value is None for value in returned)

    def _block(self, statements: Iterable[ast.stmt], names: _Names) -> _Exits:
        """Follow statements; they may change `names`."""
        exits = _Exits(names=names)
        for statement in statements:
            if exits.names is None:
                break
            self._count(len(exits.names))
            try:
                after = self._statement(statement, exits.names)
            except _RaisesError:
                after = _Exits()
            exits.returned += after.returned
            exits.names = after.names
        return exits

    def _statement(self, node: ast.stmt, names: _Names) -> _Exits:
        match node:
            case ast.Return():
                return _Exits([None if node.value is None else self._value(node.value, names)])
            case ast.Raise() | ast.Break() | ast.Continue():
                return _Exits()
            case ast.If():
                return self._branches(node, names)
            case _ if isinstance(node, _Repeated):
                return self._repeated(node, names)
            case ast.Try():
                return self._try(node, names)
            case ast.Assert():
                if _truth(self._value(node.test, names)) is False:
                    return _Exits()
            case ast.Expr():
                self._value(node.value, names)
            case ast.Assign(targets=[ast.Name() as target]):
                names[target.id] = self._value(node.value, names)
            case ast.AnnAssign(target=ast.Name() as target) if node.value is not None:
                names[target.id] = self._value(node.value, names)
            case ast.FunctionDef():
                plain = not self._calls and not node.decorator_list and not _is_generator(node)
                names[node.name] = _Function(node) if plain else _UNKNOWN
            case ast.ImportFrom() if any(alias.name == "*" for alias in node.names):
                names.update(dict.fromkeys(names, _UNKNOWN))
            case ast.Assign() | ast.AnnAssign() | ast.AugAssign():
                if node.value is not None:
                    self._value(node.value, names)
                self._forget(node, names)
            case ast.Import() | ast.ImportFrom() | ast.ClassDef() | ast.AsyncFunctionDef() | ast.Delete():
                self._forget(node, names)
            case ast.Pass() | ast.Global() | ast.Nonlocal():
                pass
            case _:
                raise _LostError
        return _Exits(names=names)

    def _branches(self, node: ast.If, names: _Names) -> _Exits:
        truth = _truth(self._value(node.test, names))
        if truth is not None:
            return self._block(node.body if truth else node.orelse, names)
        first, second = self._block(node.body, dict(names)), self._block(node.orelse, names)
        return _Exits(first.returned + second.returned, _merged(first.names, second.names))

    def _repeated(self, node: ast.stmt, names: _Names) -> _Exits:
        """Loops, which may run never or often, and `with`, which may swallow what is raised."""
        self._forget(node, names)
        returned = []
        for part in ("body", "orelse"):
            returned += self._block(getattr(node, part, []), dict(names)).returned
        return _Exits(returned, names)

    def _try(self, node: ast.Try, names: _Names) -> _Exits:
        before = dict(names)
        self._forget(node, before)
        exits = self._block([*node.body, *node.orelse], names)
        for handler in node.handlers:
            handled = self._block(handler.body, dict(before))
            exits.returned += handled.returned
            exits.names = _merged(exits.names, handled.names)
        if node.finalbody:
            last = self._block(node.finalbody, before if exits.names is None else exits.names)
            exits.returned += last.returned
            exits.names = None if exits.names is None else last.names
        return exits

    def _value(self, node: ast.expr, names: _Names) -> Any:
        """A simple value, a _Table, a _Function or an _Unknown."""
        self._count()
        match node:
            case ast.Constant():
                return _limited(node.value)
            case ast.Name():
                return self._name(node.id, names)
            case ast.Dict():
                return self._dict(node, names)
            case ast.List() | ast.Tuple() | ast.Set():
                elements = [self._element(one, names) for one in node.elts]
                known = [one for one in elements if isinstance(one, _SIMPLE)]
                return _Table(frozenset(known), len(known) == len(elements))
            case ast.Compare():
                return self._compare(node, names)
            case ast.BoolOp():
                return self._either(node, names)
            case ast.UnaryOp(op=ast.Not()):
                truth = _truth(self._value(node.operand, names))
                return _UNKNOWN if truth is None else not truth
            case ast.IfExp():
                truth = _truth(self._value(node.test, names))
                if truth is not None:
                    return self._value(node.body if truth else node.orelse, names)
            case ast.Subscript():
                return self._item(self._value(node.value, names), self._value(node.slice, names))
            case ast.Call():
                return self._call(node, names)
            case ast.Attribute():
                if self._value(node.value, names) is None:
                    raise _RaisesError
        self._forget(node, names)
        return _UNKNOWN

    def _maybe(self, node: ast.expr, names: _Names) -> Any:
        """The value of an expression that may not be reached."""
        try:
            return self._value(node, names)
        except _RaisesError:
            return _UNKNOWN

    def _name(self, name: str, names: _Names) -> Any:
        if name in self._uses.rebound:
            return _UNKNOWN
        value = names.get(name, self._file.get(name, _UNKNOWN))
        return _UNKNOWN if isinstance(value, _Table) and name in self._uses.changed else value

    def _element(self, node: ast.expr, names: _Names) -> Any:
        value = _UNKNOWN if isinstance(node, ast.Starred) else self._value(node, names)
        # A table in a table may be changed by way of the outer one.
        return _UNKNOWN if isinstance(value, _Table) else value

    def _dict(self, node: ast.Dict, names: _Names) -> _Table:
        values: dict[Any, Any] = {}
        complete = True
        for key_node, value_node in zip(node.keys, node.values, strict=True):
            key = _UNKNOWN if key_node is None else self._element(key_node, names)
            value = self._element(value_node, names)
            if isinstance(key, _SIMPLE):
                values[key] = value
            else:
                complete = False
        return _Table(frozenset(values), complete, values)

    def _compare(self, node: ast.Compare, names: _Names) -> Any:
        left = self._value(node.left, names)
        if len(node.ops) > 1:
            return _UNKNOWN
        operator, right = node.ops[0], self._value(node.comparators[0], names)
        if isinstance(operator, ast.In | ast.NotIn):
            inside = _contains(right, left)
            return _UNKNOWN if inside is None else inside is isinstance(operator, ast.In)
        if isinstance(left, _SIMPLE) and isinstance(right, _SIMPLE):
            if isinstance(operator, ast.Eq | ast.NotEq):
                return (left == right) is isinstance(operator, ast.Eq)
            if isinstance(operator, ast.Is | ast.IsNot) and None in (left, right):
                return (left is right) is isinstance(operator, ast.Is)
        return _UNKNOWN

    def _either(self, node: ast.BoolOp, names: _Names) -> Any:
        decisive, sure = isinstance(node.op, ast.Or), True
        value: Any = _UNKNOWN
        for part in node.values:
            value = self._value(part, names) if sure else self._maybe(part, names)
            truth = _truth(value)
            if truth is decisive:
                return value if sure else _Unknown(decisive)
            sure = sure and truth is not None
        return value if sure else _UNKNOWN

    def _item(self, base: Any, key: Any) -> Any:
        if base is None:
            raise _RaisesError
        if not isinstance(base, _Table) or base.values is None or not base.complete or not isinstance(key, _SIMPLE):
            return _UNKNOWN
        if key not in base.values:
            raise _RaisesError
        return base.values[key]

    def _call(self, node: ast.Call, names: _Names) -> Any:
        method = node.func if isinstance(node.func, ast.Attribute) else None
        function = self._value(node.func if method is None else method.value, names)
        given = [self._value(one.value if isinstance(one, ast.Starred) else one, names) for one in node.args]
        keywords = {one.arg: self._value(one.value, names) for one in node.keywords}
        if function is None or (method is None and isinstance(function, _SIMPLE)):
            raise _RaisesError  # e.g. what dict.get did not find
        if None in keywords or any(isinstance(one, ast.Starred) for one in node.args):
            return _UNKNOWN
        if method is not None:
            return _UNKNOWN if keywords else _method(function, method.attr, given)
        if isinstance(function, _Function):
            return self._outer_value(function, given, keywords)
        copies = (
            isinstance(node.func, ast.Name) and node.func.id in _COPYING_FUNCTIONS and node.func.id not in self._file
        )
        if copies and not keywords and len(given) == 1 and isinstance(given[0], _Table):
            return _Table(given[0].items, given[0].complete)
        return _UNKNOWN

    def _outer_value(self, function: _Function, given: Sequence[Any], keywords: dict[str | None, Any]) -> Any:
        parameters = [*function.node.args.posonlyargs, *function.node.args.args]
        if self._calls >= _MOST_CALLS or len(given) > len(parameters):
            return _UNKNOWN
        names = {one.arg: value for one, value in zip(parameters, given, strict=False)}
        returned = self._outcome(function, {**names, **{name: value for name, value in keywords.items() if name}})
        same = all(one is returned[0] or _equal(one, returned[0]) for one in returned)
        return returned[0] if same else _UNKNOWN

    def _outcome(self, function: _Function, given: _Names) -> list[Any]:
        """All that a function may return; None where it ends without. What is not given is unknown.

        Raises:
            _RaisesError: It never returns.
        """
        bound = self._bindings.inside(function.node) - {function.node.name}
        self._count(len(bound))
        self._calls += 1
        try:
            exits = self._block(function.node.body, {**dict.fromkeys(bound, _UNKNOWN), **given})
        finally:
            self._calls -= 1
        if exits.names is not None:
            exits.returned.append(None)
        if not exits.returned:
            raise _RaisesError
        return exits.returned

    def _forget(self, node: ast.AST, names: _Names) -> None:
        """Whatever some code binds is unknown from here on."""
        bound = self._bindings.inside(node)
        self._count(len(bound))
        names.update(dict.fromkeys(bound, _UNKNOWN))

    def _count(self, names: int = 0) -> None:
        # Names count, because they are copied for each branch.
        self._steps += 1 + names // 100
        if self._steps > _MOST_STEPS:
            raise _LostError


@functools.lru_cache(maxsize=16)  # trees are large
def read_entry_point(text: str) -> EntryPoint:
    """What a ``mindspore_hub_conf.py`` with this text tells."""
    return EntryPoint(text)


@dataclass
class _Uses:
    """How names are used anywhere in the file.

    Attributes:
        changed: Names whose tables may be changed in place, here or by those who get them.
        rebound: Names that functions bind outside of themselves.
        obscure: Whether names may be bound or read by text.
        star: Whether there is an ``import *``.
    """

    changed: set[str] = field(default_factory=set)
    rebound: set[str] = field(default_factory=set)
    obscure: bool = False
    star: bool = False


def _uses(tree: ast.Module) -> _Uses:
    found = _Uses()
    above: dict[ast.AST, ast.AST] = {}
    for node in ast.walk(tree):
        above.update((child, node) for child in ast.iter_child_nodes(node))
        match node:
            case ast.Global() | ast.Nonlocal():
                found.rebound.update(node.names)
            case ast.NamedExpr():
                found.rebound.add(node.target.id)
            case ast.ImportFrom() if any(alias.name == "*" for alias in node.names):
                found.star = True
            case ast.Name(ctx=ast.Load()):
                found.obscure |= node.id in _OBSCURE
                if not _only_reads(node, above):
                    found.changed.add(node.id)
    return found


def _only_reads(node: ast.Name, above: dict[ast.AST, ast.AST]) -> bool:
    """Whether a name's use can neither change a table of that name nor hand it to others."""
    match above[node]:
        case ast.Subscript() as parent:
            return isinstance(parent.ctx, ast.Load)
        case ast.Compare() | ast.FormattedValue() | ast.UnaryOp() | ast.Expr():
            return True
        case ast.For() | ast.comprehension() as parent:
            return parent.iter is node
        case ast.Attribute() as parent:
            return isinstance(above[parent], ast.Call) and parent.attr in _READING_METHODS
        case ast.Call(func=ast.Attribute(attr="join" | "format")):
            return True
        case ast.Call(func=ast.Name() as function):
            return function is node or function.id in _READING_FUNCTIONS
    return False


class _Bindings:
    """Which names code binds, told for each part of a tree without walking it again (trees may be thousands deep)."""

    def __init__(self, tree: ast.Module) -> None:
        self._names: list[str] = []
        self._spans: dict[ast.AST, tuple[int, int]] = {}
        waiting: list[tuple[ast.AST, int | None]] = [(tree, None)]
        while waiting:
            node, begun = waiting.pop()
            if begun is not None:
                self._spans[node] = begun, len(self._names)
                continue
            waiting.append((node, len(self._names)))
            self._names += _bound_by(node)
            waiting += [(child, None) for child in ast.iter_child_nodes(node)]

    def inside(self, node: ast.AST) -> frozenset[str]:
        """The names that this node, and all below it, bind."""
        first, end = self._spans[node]
        return frozenset(self._names[first:end])


def _bound_by(node: ast.AST) -> Iterable[str]:
    match node:
        case ast.Name(ctx=ast.Store() | ast.Del()):
            return (node.id,)
        case ast.arg():
            return (node.arg,)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return (node.name,)
        case ast.Import() | ast.ImportFrom():
            return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        case ast.ExceptHandler() if node.name:
            return (node.name,)
    return ()


def _is_generator(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function))


def _merged(one: _Names | None, other: _Names | None) -> _Names | None:
    """The names where two ways meet."""
    if one is None or other is None:
        return other if one is None else one
    return {
        name: one[name] if name in one and name in other and _equal(one[name], other[name]) else _UNKNOWN
        for name in one.keys() | other.keys()
    }


def _equal(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, _SIMPLE) and type(one) is type(other) and one == other)


def _limited(value: Any) -> Any:
    long = isinstance(value, str) and len(value) > _LONGEST
    return value if isinstance(value, _SIMPLE) and not long else _UNKNOWN


def _truth(value: Any) -> bool | None:
    if isinstance(value, _Table):
        return True if value.items else False if value.complete else None
    if isinstance(value, _Unknown):
        return value.truth
    return True if isinstance(value, _Function) else bool(value)


def _contains(where: Any, what: Any) -> bool | None:
    if isinstance(where, str) and isinstance(what, str):
        return what in where
    if isinstance(where, _Table) and isinstance(what, _SIMPLE):
        return True if what in where.items else False if where.complete else None
    return None


def _method(owner: Any, method: str, given: Sequence[Any]) -> Any:
    if not all(isinstance(one, _SIMPLE) for one in given):
        return _UNKNOWN
    if isinstance(owner, str) and method in _TEXT_METHODS:
        try:
            return _limited(getattr(owner, method)(*given))
        except (TypeError, ValueError):
            return _UNKNOWN
    if isinstance(owner, _Table) and owner.values is not None and owner.complete:
        if method == "keys" and not given:
            return _Table(owner.items, True)
        if method == "get" and 1 <= len(given) <= 2:
            return owner.values.get(given[0], given[1] if len(given) == 2 else None)
    return _UNKNOWN
