"""Cells that hold cells and parameters under names, as MindSpore's do, and parameters without values."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from mshub_ssd.engines.recording.tape import Tensor, not_recordable

__all__ = ["Cell", "CellList", "Parameter", "SequentialCell", "initializer"]


class Parameter(Tensor):
    """A tensor that a checkpoint will fill. Its name is its place in the network.

    Args:
        value: What `initializer` gave.
        name: Its name until it has a place.
    """

    dtype = "Float32"

    def __init__(self, value: tuple[int, ...], name: str = "") -> None:
        super().__init__(name, value)


def initializer(value: object, shape: Sequence[int], dtype: object = None) -> tuple[int, ...]:
    """The shape of a parameter: values are a checkpoint's business."""
    return tuple(shape)


class Cell:
    """A layer, or a network of layers.

    Attributes:
        training: Always false: what is recorded is inference.
    """

    training = False

    def __init__(self) -> None:
        self._cells: dict[str, Cell] = {}
        self._parameters: dict[str, Parameter] = {}

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Cell):
            self._cells[name] = value
        elif isinstance(value, Parameter):
            self._parameters[name] = value
        object.__setattr__(self, name, value)

    def insert_child_to_cell(self, child_name: str, child_cell: Cell) -> None:
        """Make a cell an attribute."""
        setattr(self, child_name, child_cell)

    def construct(self, *args: Any) -> Any:
        """What the cell computes."""
        raise not_recordable(f"cells without construct, like {type(self).__name__}")

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """What `construct` gives."""
        return self.construct(*args, **kwargs)

    def get_parameters(self) -> Iterator[Parameter]:
        """Its parameters, named by their places: a cell's own first, then those of its cells, each once."""
        seen: set[int] = set()
        for place, cell in self._places("", set()):
            for name, parameter in cell._parameters.items():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    parameter.name = f"{place}{name}"
                    yield parameter

    def _places(self, place: str, seen: set[int]) -> Iterator[tuple[str, Cell]]:
        if id(self) in seen:
            return
        seen.add(id(self))
        yield place, self
        for name, cell in self._cells.items():
            yield from cell._places(f"{place}{name}.", seen)


class CellList(Cell):
    """Cells in a row, named by their numbers."""

    def __init__(self, *cells: Any) -> None:
        super().__init__()
        listed = cells[0] if len(cells) == 1 and isinstance(cells[0], list | tuple) else cells
        for number, cell in enumerate(listed):
            self.insert_child_to_cell(str(number), cell)

    def __iter__(self) -> Iterator[Cell]:
        return iter(self._cells.values())

    def __len__(self) -> int:
        return len(self._cells)

    def __getitem__(self, index: int) -> Cell:
        return list(self._cells.values())[index]


class SequentialCell(CellList):
    """Cells in a row, each called on what the one before gave."""

    def construct(self, x: Any) -> Any:
        """What the last cell gives."""
        for cell in self:
            x = cell(x)
        return x
