"""Graphs: what a network computes, written down without its weights and without any engine's words.

A graph is sound from the start: every value is made before it is used, every operation is known and takes what it is
given, and all shapes follow. So a file that was altered, cut short or meant for something else becomes an error here
and nothing else.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, TypeAlias

from mshub_ssd.engines.operations import Shape, shape_of
from mshub_ssd.errors import IntegrityError

__all__ = ["Graph", "Nested", "Node", "flat"]

Nested: TypeAlias = "str | tuple[Nested, ...]"

_FORMAT = "mshub_ssd graph"
_VERSION = 1
_MAX_NODES = 100_000
_MAX_NAME = 4096
_MAX_RANK = 8
_MAX_NESTING = 8


@dataclass(frozen=True)
class Node:
    """One operation.

    Attributes:
        op: Name of the operation, a key of `mshub_ssd.engines.operations.OPERATIONS`.
        inputs: Names of the values it takes.
        outputs: Name of the value it makes.
        attributes: What else it needs to know; numbers, truth values, texts, and tuples of them.
    """

    op: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Graph:
    """What a network computes.

    Attributes:
        nodes: The operations, each after those that make its inputs.
        inputs: Name and shape of every input; the first side is None, which stands for the batch.
        outputs: Names of the values that come out, nested as the network nests its outputs.
        parameters: Name of every parameter of the network, in its order, with shape and NumPy's name of its type.
        shapes: Shape of every value by name, worked out from the rest.

    Raises:
        IntegrityError: The parts do not make a graph.
    """

    nodes: tuple[Node, ...]
    inputs: tuple[tuple[str, Shape], ...]
    outputs: Nested
    parameters: Mapping[str, tuple[tuple[int, ...], str]]
    shapes: Mapping[str, Shape] = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        try:
            shapes = _shapes(self)
        except ValueError as error:
            raise _refusal(str(error)) from error
        object.__setattr__(self, "shapes", MappingProxyType(shapes))

    @property
    def used(self) -> tuple[str, ...]:
        """The parameters that take part in the outputs' computation, in their order."""
        read = {name for node in self.nodes for name in node.inputs}
        return tuple(name for name in self.parameters if name in read)

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {
            "format": _FORMAT,
            "version": _VERSION,
            "inputs": [[name, list(shape)] for name, shape in self.inputs],
            "outputs": _lists(self.outputs),
            "parameters": [[name, list(shape), dtype] for name, (shape, dtype) in self.parameters.items()],
            "nodes": [
                [node.op, list(node.inputs), list(node.outputs), {k: _lists(v) for k, v in node.attributes.items()}]
                for node in self.nodes
            ],
        }

    @classmethod
    def from_dict(cls, content: object) -> Graph:
        """The graph that `to_dict` wrote down.

        Raises:
            IntegrityError: It is no graph, one of another version, or damaged.
        """
        try:
            return _read(content)
        except IntegrityError:
            raise
        except (TypeError, ValueError) as error:
            raise _refusal(str(error)) from error

    def __reduce__(self) -> tuple[object, ...]:
        # The view of the shapes does not survive pickling, and need not.
        return (Graph, (self.nodes, self.inputs, self.outputs, dict(self.parameters)))


def flat(outputs: Any) -> Iterator[Any]:
    """The leaves of nested tuples, in order."""
    if isinstance(outputs, tuple):
        for item in outputs:
            yield from flat(item)
    else:
        yield outputs


def _shapes(graph: Graph) -> dict[str, Shape]:
    """Shapes of all values of a graph, if it is one."""
    shapes: dict[str, Shape] = {}

    def define(name: str, shape: Shape) -> None:
        if not isinstance(name, str) or not 0 < len(name) <= _MAX_NAME:
            raise ValueError("a value has no name, or one that is too long")
        if name in shapes:
            raise ValueError(f"two values are called {name[:80]!r}")
        shapes[name] = shape

    if len(graph.nodes) > _MAX_NODES or len(graph.parameters) > _MAX_NODES:
        raise ValueError(f"more than {_MAX_NODES:,} operations or parameters")
    for name, shape in graph.inputs:
        if not shape or shape[0] is not None or not _are_sides(shape[1:]):
            raise ValueError(f"the input {name[:80]!r} has the shape {list(shape)}")
        define(name, shape)
    for name, (sides, dtype) in graph.parameters.items():
        if not _are_sides(sides) or dtype != "float32":
            raise ValueError(f"the parameter {name[:80]!r} has the shape {list(sides)} and the type {dtype!r}")
        define(name, sides)
    for node in graph.nodes:
        for name in node.inputs:
            if name not in shapes:
                raise ValueError(f"{node.op} takes {name[:80]!r}, which nothing made before")
        if len(node.outputs) != 1:
            raise ValueError(f"{node.op} makes {len(node.outputs)} values")
        define(node.outputs[0], shape_of(node.op, [shapes[name] for name in node.inputs], node.attributes))
    made = {name for node in graph.nodes for name in node.outputs}
    named = list(flat(graph.outputs))
    if not named or not made.issuperset(named) or len(set(named)) != len(named):
        raise ValueError("nothing comes out, or what no operation makes, or the same twice")
    return shapes


def _are_sides(shape: Sequence[object]) -> bool:
    return len(shape) <= _MAX_RANK and all(type(side) is int and 0 < side < 1 << 31 for side in shape)


def _read(content: object) -> Graph:
    if not isinstance(content, dict) or content.get("format") != _FORMAT:
        raise ValueError("it is something else")
    if content.get("version") != _VERSION:
        raise ValueError(f"its version is {str(content.get('version'))[:20]}, and {_VERSION} is what is read here")
    if set(content) != {"format", "version", "inputs", "outputs", "parameters", "nodes"}:
        raise ValueError(f"it has the parts {', '.join(map(str, content))[:200]}")
    inputs = tuple((_text(name), tuple(_list(shape))) for name, shape in _list(content["inputs"]))
    parameters = _list(content["parameters"])
    named = {_text(name): (tuple(_list(shape)), _text(dtype)) for name, shape, dtype in parameters}
    if len(named) != len(parameters):
        raise ValueError("two parameters have one name")
    nodes = []
    for op, taken, made, attributes in _list(content["nodes"]):
        if not isinstance(attributes, dict):
            raise ValueError("an operation's attributes are no mapping")
        plain = {_text(name): tuple(value) if isinstance(value, list) else value for name, value in attributes.items()}
        nodes.append(Node(_text(op), tuple(map(_text, _list(taken))), tuple(map(_text, _list(made))), plain))
    return Graph(tuple(nodes), inputs, _tuples(content["outputs"]), named)


def _list(value: object) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"{str(value)[:80]!r} stands where a list should")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{str(value)[:80]!r} stands where a name should")
    return value


def _lists(value: Any) -> Any:
    return [_lists(item) for item in value] if isinstance(value, tuple | list) else value


def _tuples(value: object, depth: int = 0) -> Nested:
    if isinstance(value, list) and depth < _MAX_NESTING:
        return tuple(_tuples(item, depth + 1) for item in value)
    return _text(value)


def _refusal(reason: str) -> IntegrityError:
    return IntegrityError(
        f"not a graph that can be run: {reason}",
        expected="a network's graph as mshub_ssd writes it",
        hint="remove it; it will be recorded anew",
    )
