"""Tensors that have a name and a shape, and the tape that operations on them are written to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mshub_ssd.engines.graph import Graph, Node
from mshub_ssd.engines.operations import Shape, shape_of
from mshub_ssd.errors import UsageError

__all__ = ["BATCH", "Batch", "Tensor", "not_recordable", "recorded", "write"]

INPUT = "input"


class Batch:
    """The first side of every tensor: how many pictures there are, which nobody knows yet.

    A network may hand it on to ``reshape``, and nothing else: it is no number.
    """

    def __repr__(self) -> str:
        return "B"


BATCH = Batch()


class Tensor:
    """A value that will be there when the graph runs.

    Attributes:
        name: Its name in the graph.
        sides: Its shape, with None for the batch.
    """

    def __init__(self, name: str, sides: Shape) -> None:
        if not isinstance(name, str):
            raise not_recordable("tensors made of values")
        self.name = name
        self.sides = sides

    @property
    def shape(self) -> tuple[int | Batch, ...]:
        """Its shape as networks see it: the batch is `BATCH`, which is no number."""
        return tuple(BATCH if side is None else side for side in self.sides)

    def __bool__(self) -> bool:
        raise not_recordable("decisions that depend on values")

    def __add__(self, other: object) -> Tensor:
        return write("add", [self, other])

    def __radd__(self, other: object) -> Tensor:
        return write("add", [other, self])

    def __mul__(self, other: object) -> Tensor:
        return write("multiply", [self, other])

    def __rmul__(self, other: object) -> Tensor:
        return write("multiply", [other, self])

    def __truediv__(self, other: object) -> Tensor:
        return write("divide", [self, other])

    def reshape(self, *shape: Any) -> Tensor:
        """As NumPy's, with the batch first or nowhere."""
        target = list(shape[0] if len(shape) == 1 and isinstance(shape[0], list | tuple) else shape)
        if any(isinstance(side, Batch) for side in target[1:]):
            raise not_recordable("reshaping that does not leave the batch in front")
        if target and isinstance(target[0], Batch):
            target[0] = 0
        return write("reshape", [self], shape=tuple(target))

    def __getitem__(self, parts: Any) -> Tensor:
        found = self
        for axis, part in enumerate(parts if isinstance(parts, tuple) else (parts,)):
            if not isinstance(part, slice) or part.step not in (None, 1):
                raise not_recordable("indices other than plain slices")
            if part == slice(None):
                continue
            side = self.sides[axis] if axis < len(self.sides) else None
            if side is None:
                raise not_recordable("slices of the batch")
            start, stop, _ = part.indices(side)
            found = write("slice", [found], axis=axis, start=start, stop=stop)
        return found


class _Tape:
    def __init__(self) -> None:
        self.nodes: list[Node] = []
        self.constants: dict[float, Tensor] = {}

    def add(self, op: str, inputs: Sequence[Tensor], attributes: Mapping[str, Any]) -> Tensor:
        try:
            shape = shape_of(op, [tensor.sides for tensor in inputs], attributes)
        except ValueError as error:
            raise UsageError(f"the network does not work for this input: {error}") from error
        # No parameter is called so: a Cell's attribute has no slash.
        made = Tensor(f"/{op}_{len(self.nodes)}", shape)
        self.nodes.append(Node(op, tuple(tensor.name for tensor in inputs), (made.name,), attributes))
        return made

    def constant(self, value: float) -> Tensor:
        if value not in self.constants:
            self.constants[value] = self.add("constant", [], {"value": value})
        return self.constants[value]


# One network is recorded at a time, in a process that does nothing else.
_tape: _Tape | None = None


def write(op: str, inputs: Sequence[object], **attributes: Any) -> Tensor:
    """Write an operation down.

    Args:
        op: Its name, see `mshub_ssd.engines.operations`.
        inputs: Tensors, parameters and plain numbers.
        attributes: Its attributes.

    Raises:
        UsageError: Nothing is being recorded, or the operation does not take these inputs.
    """
    if _tape is None:
        raise not_recordable("calls outside of a recording")
    tensors = []
    for value in inputs:
        if isinstance(value, int | float) and not isinstance(value, bool):
            tensors.append(_tape.constant(float(value)))
        elif isinstance(value, Tensor):
            tensors.append(value)
        else:
            raise not_recordable(f"operands like {str(value)[:80]!r}")
    return _tape.add(op, tensors, attributes)


def recorded(
    compute: Callable[[Tensor], Any], shape: Shape, parameters: Mapping[str, tuple[tuple[int, ...], str]]
) -> Graph:
    """What a function does with a tensor, as a graph.

    Args:
        compute: From a tensor to a tensor, or to tuples or lists of them, however nested.
        shape: The tensor's shape, with None for the batch.
        parameters: Shape and type of the parameters that take part, by name.

    Raises:
        UsageError: It does something that the recorder has no word for.
    """
    global _tape
    tape = _tape = _Tape()
    try:
        outputs = compute(Tensor(INPUT, shape))
        renamed: dict[str, str] = {}
        names = _named(outputs, "output", renamed)
    finally:
        _tape = None
    nodes = tuple(
        Node(
            node.op,
            tuple(renamed.get(name, name) for name in node.inputs),
            tuple(renamed.get(name, name) for name in node.outputs),
            node.attributes,
        )
        for node in tape.nodes
    )
    return Graph(nodes, ((INPUT, shape),), names, parameters)


def _named(output: Any, place: str, renamed: dict[str, str]) -> Any:
    """The outputs' new names, by their places."""
    if isinstance(output, tuple | list):
        return tuple(_named(item, f"{place}.{i}", renamed) for i, item in enumerate(output))
    if not isinstance(output, Tensor):
        raise not_recordable(f"outputs like {str(output)[:80]!r}")
    if output.name in renamed or not output.name.startswith("/"):
        # What comes out twice, or was never computed.
        output = write("identity", [output])
    renamed[output.name] = place
    return place


def not_recordable(what: str) -> UsageError:
    """The error for what the recorder has no word for."""
    return UsageError(
        f"networks with {what} cannot be recorded",
        expected="the layers and operations that the networks of mshub_ssd are made of",
        hint='engine="mindspore" runs any network',
    )
