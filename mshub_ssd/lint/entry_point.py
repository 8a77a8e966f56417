"""Reading a repository's ``mindspore_hub_conf.py``: which model names does its ``create_network`` take?

The file is strangers' code and is never run. It is followed statement by statement with the name known and nearly
all else unknown; whatever is not understood counts as "may take it", so that a refusal is a proof.
"""

from __future__ import annotations

import ast
import functools
import warnings
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

__all__ = ["FILE_NAME", "FUNCTION", "EntryPoint", "read_entry_point"]

FILE_NAME = "mindspore_hub_conf.py"
FUNCTION = "create_network"

_MOST_STEPS = 20_000
_MOST_CALLS = 4
_LONGEST = 1000
_SIMPLE = (str, int, float, bool, type(None))
_NOT_READ = {"exec", "eval", "globals", "locals", "vars"}
_TEXT_METHODS = {
    *("lower", "upper", "casefold", "title", "capitalize", "strip", "lstrip", "rstrip", "startswith", "endswith"),
    *("replace", "split", "rsplit", "partition", "rpartition", "removeprefix", "removesuffix", "find", "count"),
}
_READING_METHODS = {"get", "keys", "values", "items", "index", "count", "copy"}
_READING_FUNCTIONS = {
    "list",
    "tuple",
    "set",
    "frozenset",
    "sorted",
    "len",
    "str",
    "repr",
    "print",
    "format",
    "enumerate",
}


class _Unknown:
    """What cannot be told."""


_UNKNOWN = _Unknown()


@dataclass(frozen=True, eq=False)
class _Function:
    """A function of the file."""

    node: ast.FunctionDef


@dataclass(frozen=True, eq=False)
class _Table:
    """A dict, list, tuple or set, by its keys or elements.

    Attributes:
        items: What is in it; elements that cannot be told are left out.
        values: What stands behind the keys of a dict.
        complete: Whether `items` are all.
        order: The elements of a tuple or list, which can be had by number.
    """

    items: frozenset[Any]
    values: dict[Any, Any] | None = None
    complete: bool = True
    order: tuple[Any, ...] | None = None


Names = dict[str, Any]


class _RaisesError(Exception):
    """The expression raises, whatever the unknown is."""


class _LostError(Exception):
    """Nothing can be told any more."""


@dataclass
class _Exits:
    """How a block may be left: the values it may return, and the names when its end is reached (None if never)."""

    returned: list[Any] = field(default_factory=list)
    names: Names | None = None


class EntryPoint:
    """A ``mindspore_hub_conf.py``.

    Attributes:
        fault: Why it cannot be one: it is no Python, or has no ``create_network``; None if there may be one.
    """

    def __init__(self, text: str) -> None:
        self.fault: str | None = None
        self._calls = 0
        self._steps = 0
        self._globals: Names = {}
        self._function: _Function | None = None
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                tree = ast.parse(text)
        except (RecursionError, MemoryError):
            return
        except (SyntaxError, ValueError):
            self.fault = "is no Python"
            return
        try:
            self._mentioned = _mentions(tree)
            if not self._mentioned.may_have(FUNCTION):
                self.fault = f"has no {FUNCTION}"
                return
            if self._mentioned.obscure:
                return
            names = self._block(tree.body, {}).names
        except (RecursionError, _LostError, _RaisesError):
            return
        if names is not None:
            self._globals = names
            found = names.get(FUNCTION)
            self._function = found if isinstance(found, _Function) else None

    def refuses(self, name: str) -> bool:
        """Whether ``create_network(name)`` surely raises or returns no network."""
        if self._function is None:
            return False
        self._steps = 0
        try:
            returned = self._outcome(self._function, [name], defaults=False)
        except _RaisesError:
            return True
        except (RecursionError, _LostError):
            return False
        return all(value is None for value in returned)

    # Statements. Each returns how it may be left.

    def _block(self, statements: Iterable[ast.stmt], names: Names) -> _Exits:
        exits = _Exits(names=names)
        for statement in statements:
            if exits.names is None:
                break
            self._step()
            try:
                after = self._statement(statement, exits.names)
            except _RaisesError:
                after = _Exits()
            exits.returned += after.returned
            exits.names = after.names
        return exits

    def _statement(self, node: ast.stmt, names: Names) -> _Exits:
        match node:
            case ast.Return():
                return _Exits([None if node.value is None else self._value(node.value, names)])
            case ast.Raise() | ast.Break() | ast.Continue():
                return _Exits()
            case ast.If():
                return self._branches(node, names)
            case ast.Assert():
                if _truth(self._value(node.test, names)) is False:
                    return _Exits()
            case ast.Expr():
                self._value(node.value, names)
            case ast.Assign():
                self._assign(node.targets, node.value, names)
            case ast.AnnAssign():
                if node.value is not None:
                    self._assign([node.target], node.value, names)
            case ast.FunctionDef():
                plain = not node.decorator_list and not _has_yield(node) and names is not None
                names[node.name] = _Function(node) if plain and not self._calls else _UNKNOWN
            case ast.For() | ast.AsyncFor() | ast.While() | ast.With() | ast.AsyncWith():
                return self._any_number_of_times(node, names)
            case ast.Try():
                return self._try(node, names)
            case ast.Pass() | ast.Global() | ast.Nonlocal():
                pass
            case ast.Import() | ast.ImportFrom() | ast.ClassDef() | ast.AsyncFunctionDef() | ast.Delete():
                _forget([node], names)
            case ast.AugAssign():
                self._value(node.value, names)
                _forget([node], names)
            case _:
                raise _LostError
        return _Exits(names=names)

    def _branches(self, node: ast.If, names: Names) -> _Exits:
        test = _truth(self._value(node.test, names))
        if test is not None:
            return self._block(node.body if test else node.orelse, names)
        first = self._block(node.body, dict(names))
        second = self._block(node.orelse, names)
        return _Exits(first.returned + second.returned, _merged(first.names, second.names))

    def _any_number_of_times(
        self, node: ast.For | ast.AsyncFor | ast.While | ast.With | ast.AsyncWith, names: Names
    ) -> _Exits:
        _forget([node], names)
        inside = self._block(node.body, dict(names))
        after = self._block(getattr(node, "orelse", []), names)
        # Whatever is bound inside is forgotten already; a `with` may also swallow what is raised.
        return _Exits(inside.returned + after.returned, names)

    def _try(self, node: ast.Try, names: Names) -> _Exits:
        before = dict(names)
        _forget(node.body, before)
        exits = self._block([*node.body, *node.orelse], names)
        for handler in node.handlers:
            inner = dict(before)
            if handler.name:
                inner[handler.name] = _UNKNOWN
            handled = self._block(handler.body, inner)
            exits.returned += handled.returned
            exits.names = _merged(exits.names, handled.names)
        if node.finalbody:
            if exits.names is None:
                _forget([node], before)
            last = self._block(node.finalbody, before if exits.names is None else exits.names)
            exits.returned += last.returned
            if exits.names is not None:
                exits.names = last.names
        return exits

    def _assign(self, targets: Sequence[ast.expr], value: ast.expr, names: Names) -> None:
        found = self._value(value, names)
        for target in targets:
            order = found.order if isinstance(found, _Table) else None
            if isinstance(target, ast.Name):
                names[target.id] = found
            elif (
                isinstance(target, ast.Tuple)
                and order is not None
                and not any(isinstance(one, ast.Starred) for one in target.elts)
            ):
                if len(order) != len(target.elts):
                    raise _RaisesError
                for one, part in zip(target.elts, order, strict=True):
                    _forget([one], names)
                    if isinstance(one, ast.Name):
                        names[one.id] = part
            else:
                _forget([target], names)

    # Expressions. Each returns a simple value, a _Table, a _Function or _UNKNOWN.

    def _value(self, node: ast.expr, names: Names) -> Any:
        self._step()
        match node:
            case ast.Constant():
                return _limited(node.value)
            case ast.Name():
                return self._name(node.id, names)
            case ast.Dict():
                return self._dict(node, names)
            case ast.List() | ast.Tuple() | ast.Set():
                return _table([self._element(one, names) for one in node.elts], ordered=not isinstance(node, ast.Set))
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
                return _one([self._maybe(node.body, names), self._maybe(node.orelse, names)])
            case ast.Subscript():
                return self._item(node, names)
            case ast.Call():
                return self._call(node, names)
            case ast.NamedExpr():
                self._assign([node.target], node.value, names)
                return self._name(node.target.id, names)
            case ast.Attribute():
                if self._value(node.value, names) is None:
                    raise _RaisesError
        _forget([node], names)
        return _UNKNOWN

    def _maybe(self, node: ast.expr, names: Names) -> Any:
        """The value of an expression that may not be reached."""
        try:
            return self._value(node, names)
        except _RaisesError:
            return _UNKNOWN
        finally:
            _forget([node], names)

    def _name(self, name: str, names: Names) -> Any:
        if name in self._mentioned.rebound:
            return _UNKNOWN
        value = names.get(name, self._globals.get(name, _UNKNOWN))
        return _UNKNOWN if isinstance(value, _Table) and name in self._mentioned.changed else value

    def _element(self, node: ast.expr, names: Names) -> Any:
        if isinstance(node, ast.Starred):
            return _UNKNOWN
        value = self._value(node, names)
        # What lies deeper may be changed by way of the outer one.
        return _UNKNOWN if isinstance(value, _Table) else value

    def _dict(self, node: ast.Dict, names: Names) -> _Table:
        values: dict[Any, Any] = {}
        complete = True
        for key, item in zip(node.keys, node.values, strict=True):
            known = _UNKNOWN if key is None else self._element(key, names)
            value = self._element(item, names)
            if isinstance(known, _SIMPLE):
                values[known] = value
            else:
                complete = False
        return _Table(frozenset(values), values, complete)

    def _compare(self, node: ast.Compare, names: Names) -> Any:
        left = self._value(node.left, names)
        result: Any = True
        for operator, right_node in zip(node.ops, node.comparators, strict=True):
            right = self._value(right_node, names) if result is True else self._maybe(right_node, names)
            one = _compared(operator, left, right)
            if one is False and result is True:
                return False
            if one is not True:
                result = _UNKNOWN
            left = right
        return result

    def _either(self, node: ast.BoolOp, names: Names) -> Any:
        last = isinstance(node.op, ast.Or)
        sure = True
        for part in node.values:
            value = self._value(part, names) if sure else self._maybe(part, names)
            truth = _truth(value)
            if truth is last:
                return value if sure else _UNKNOWN if not isinstance(value, bool) else value
            if truth is None:
                sure = False
        return value if sure else _UNKNOWN

    def _item(self, node: ast.Subscript, names: Names) -> Any:
        base, key = self._value(node.value, names), self._value(node.slice, names)
        if base is None:
            raise _RaisesError
        if not isinstance(base, _Table) or not isinstance(key, _SIMPLE):
            return _UNKNOWN
        if base.values is not None:
            if key in base.values:
                return base.values[key] if base.complete else _UNKNOWN
            if base.complete:
                raise _RaisesError
        elif base.order is not None and type(key) is int:
            if not -len(base.order) <= key < len(base.order):
                raise _RaisesError
            return base.order[key]
        return _UNKNOWN

    def _call(self, node: ast.Call, names: Names) -> Any:
        if isinstance(node.func, ast.Attribute):
            owner = self._value(node.func.value, names)
            if owner is None:
                raise _RaisesError
            arguments = [self._argument(one, names) for one in node.args]
            for keyword in node.keywords:
                self._value(keyword.value, names)
            return _UNKNOWN if node.keywords else _method(owner, node.func.attr, arguments)
        function = self._value(node.func, names)
        if isinstance(function, _SIMPLE):
            raise _RaisesError  # e.g. what dict.get does not find
        arguments = [self._argument(one, names) for one in node.args]
        keywords = {one.arg: self._value(one.value, names) for one in node.keywords}
        starred = any(isinstance(one, ast.Starred) for one in node.args)
        if isinstance(function, _Function):
            if starred or None in keywords or self._calls >= _MOST_CALLS:
                return _UNKNOWN
            inner = {name: value for name, value in keywords.items() if name is not None}
            return _one(self._outcome(function, arguments, inner))
        if isinstance(node.func, ast.Name) and function is _UNKNOWN and len(arguments) == 1 and not keywords:
            return self._builtin(node.func.id, arguments[0], names)
        return _UNKNOWN

    def _argument(self, node: ast.expr, names: Names) -> Any:
        return self._value(node.value if isinstance(node, ast.Starred) else node, names)

    def _builtin(self, function: str, value: Any, names: Names) -> Any:
        if function in names or function in self._globals:
            return _UNKNOWN
        if function == "str" and isinstance(value, str):
            return value
        if function in ("list", "tuple", "set", "frozenset", "sorted") and isinstance(value, _Table):
            return _Table(value.items, None, value.complete)
        return _UNKNOWN

    def _outcome(
        self, function: _Function, given: Sequence[Any], keywords: Names | None = None, *, defaults: bool = True
    ) -> list[Any]:
        """All that a function may return, None where it ends without.

        Raises:
            _RaisesError: It never returns.
        """
        node, keywords = function.node, keywords or {}
        parameters = [*node.args.posonlyargs, *node.args.args]
        names: Names = {one.arg: _UNKNOWN for one in (*parameters, *node.args.kwonlyargs)}
        for extra in (node.args.vararg, node.args.kwarg):
            if extra is not None:
                names[extra.arg] = _UNKNOWN
        if len(given) > len(parameters):
            return [_UNKNOWN]
        if defaults:
            tail = parameters[len(parameters) - len(node.args.defaults) :]
            pairs = [*zip(tail, node.args.defaults, strict=True)]
            pairs += [
                (one, value) for one, value in zip(node.args.kwonlyargs, node.args.kw_defaults, strict=True) if value
            ]
            names.update({one.arg: value.value for one, value in pairs if isinstance(value, ast.Constant)})
        names.update(zip((one.arg for one in parameters), given, strict=False))
        names.update({name: value for name, value in keywords.items() if name in names})
        _forget_bound(node, names)
        self._calls += 1
        try:
            exits = self._block(node.body, names)
        finally:
            self._calls -= 1
        if exits.names is not None:
            exits.returned.append(None)
        if not exits.returned:
            raise _RaisesError
        return exits.returned

    def _step(self) -> None:
        self._steps += 1
        if self._steps > _MOST_STEPS:
            raise _LostError


@functools.lru_cache(maxsize=512)
def read_entry_point(text: str) -> EntryPoint:
    """What the text of a ``mindspore_hub_conf.py`` tells; one object for one text."""
    return EntryPoint(text)


@dataclass
class _Mentions:
    """How names are used anywhere in the file.

    Attributes:
        changed: Names whose tables may be changed in place.
        rebound: Names that functions bind outside of themselves.
        bound: Names that are bound at all.
        obscure: Whether names may also be bound or read by text.
        star: Whether there is an ``import *``.
    """

    changed: set[str] = field(default_factory=set)
    rebound: set[str] = field(default_factory=set)
    bound: set[str] = field(default_factory=set)
    obscure: bool = False
    star: bool = False

    def may_have(self, name: str) -> bool:
        return name in self.bound or self.obscure or self.star


def _mentions(tree: ast.Module) -> _Mentions:
    found = _Mentions()
    above: dict[ast.AST, ast.AST] = {}
    for node in ast.walk(tree):
        for child in ast.iter_child_nodes(node):
            above[child] = node
        found.bound.update(_bound_by(node))
        match node:
            case ast.Global() | ast.Nonlocal():
                found.rebound.update(node.names)
            case ast.ImportFrom() if any(alias.name == "*" for alias in node.names):
                found.star = True
            case ast.Name(ctx=ast.Load()):
                found.obscure |= node.id in _NOT_READ
                if not _only_reads(node, above):
                    found.changed.add(node.id)
    return found


def _only_reads(node: ast.Name, above: dict[ast.AST, ast.AST]) -> bool:
    """Whether this use of a name can neither change a table of that name nor hand it to others."""
    parent = above[node]
    match parent:
        case ast.Subscript():
            return isinstance(parent.ctx, ast.Load)
        case ast.Compare() | ast.FormattedValue() | ast.UnaryOp() | ast.Expr() | ast.Assert():
            return True
        case ast.For() | ast.comprehension():
            return parent.iter is node
        case ast.If() | ast.While() | ast.IfExp():
            return parent.test is node
        case ast.Attribute():
            return isinstance(above.get(parent), ast.Call) and parent.attr in (_READING_METHODS | _TEXT_METHODS)
        case ast.Call():
            function = parent.func
            if function is node:
                return True
            if isinstance(function, ast.Attribute):
                return function.attr in ("join", "format")
            return isinstance(function, ast.Name) and function.id in _READING_FUNCTIONS
    return False


def _bound_by(node: ast.AST) -> Iterable[str]:
    match node:
        case ast.Name(ctx=ast.Store() | ast.Del()):
            return (node.id,)
        case ast.FunctionDef() | ast.AsyncFunctionDef() | ast.ClassDef():
            return (node.name,)
        case ast.Import() | ast.ImportFrom():
            return [(alias.asname or alias.name).partition(".")[0] for alias in node.names]
        case ast.ExceptHandler() if node.name:
            return (node.name,)
    return ()


def _forget(nodes: Iterable[ast.AST], names: Names) -> None:
    """Whatever is bound in some code is unknown from here on."""
    for root in nodes:
        for node in ast.walk(root):
            for name in _bound_by(node):
                names[name] = _UNKNOWN


def _forget_bound(function: ast.FunctionDef, names: Names) -> None:
    """Names that a function binds are its own, and not the file's, from its first line on."""
    for statement in function.body:
        for node in ast.walk(statement):
            for name in _bound_by(node):
                names.setdefault(name, _UNKNOWN)


def _has_yield(function: ast.FunctionDef) -> bool:
    return any(isinstance(node, ast.Yield | ast.YieldFrom) for node in ast.walk(function))


def _merged(one: Names | None, other: Names | None) -> Names | None:
    if one is None or other is None:
        return other if one is None else one
    return {
        name: one[name] if name in one and name in other and _same(one[name], other[name]) else _UNKNOWN
        for name in one.keys() | other.keys()
    }


def _same(one: Any, other: Any) -> bool:
    return one is other or (isinstance(one, _SIMPLE) and type(one) is type(other) and one == other)


def _one(values: Sequence[Any]) -> Any:
    """The value, where all are the same."""
    return values[0] if all(_same(values[0], value) for value in values) else _UNKNOWN


def _limited(value: Any) -> Any:
    if not isinstance(value, _SIMPLE) or (isinstance(value, str) and len(value) > _LONGEST):
        return _UNKNOWN
    return value


def _table(elements: Sequence[Any], *, ordered: bool) -> _Table:
    known = [one for one in elements if isinstance(one, _SIMPLE)]
    # Functions are among the values, but nobody looks for them by name.
    complete = all(isinstance(one, (*_SIMPLE, _Function)) for one in elements)
    return _Table(frozenset(known), None, complete, tuple(elements) if ordered and complete else None)


def _truth(value: Any) -> bool | None:
    if isinstance(value, _SIMPLE):
        return bool(value)
    if isinstance(value, _Table):
        return bool(value.items) if value.complete and not value.order else bool(value.order) or None
    return True if isinstance(value, _Function) else None


def _compared(operator: ast.cmpop, left: Any, right: Any) -> Any:
    if isinstance(operator, ast.In | ast.NotIn):
        inside = _contains(right, left)
        return _UNKNOWN if inside is None else inside is isinstance(operator, ast.In)
    if isinstance(left, _SIMPLE) and isinstance(right, _SIMPLE):
        if isinstance(operator, ast.Eq | ast.NotEq):
            return (left == right) is isinstance(operator, ast.Eq)
        if isinstance(operator, ast.Is | ast.IsNot) and None in (left, right):
            return (left is right) is isinstance(operator, ast.Is)
    return _UNKNOWN


def _contains(where: Any, what: Any) -> bool | None:
    if not isinstance(what, _SIMPLE):
        return None
    if isinstance(where, str):
        return what in where if isinstance(what, str) else None
    if isinstance(where, _Table):
        return True if what in where.items else False if where.complete else None
    return None


def _method(owner: Any, method: str, arguments: Sequence[Any]) -> Any:
    simple = all(isinstance(one, _SIMPLE) for one in arguments)
    if isinstance(owner, str) and method in _TEXT_METHODS and simple:
        function: Callable[..., Any] = getattr(owner, method)
        try:
            result = function(*arguments)
        except (TypeError, ValueError):
            return _UNKNOWN
        if isinstance(result, list | tuple):
            return _table([_limited(one) for one in result], ordered=True)
        return _limited(result)
    if isinstance(owner, _Table) and owner.values is not None:
        if method == "keys" and not arguments:
            return _Table(owner.items, None, owner.complete)
        if method == "get" and 1 <= len(arguments) <= 2 and simple and owner.complete:
            missing = arguments[1] if len(arguments) == 2 else None
            return owner.values.get(arguments[0], missing)
    return _UNKNOWN
