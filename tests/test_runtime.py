"""Calling Cells on arrays."""

from __future__ import annotations

import pytest

pytest.importorskip("mindspore")


def test_outputs_become_arrays_however_nested() -> None:
    import mindspore
    import numpy as np

    from mshub_ssd import engines

    class Nested(mindspore.nn.Cell):
        def construct(self, x: mindspore.Tensor) -> tuple:
            return (x, x + 1), (x + 2,)

    first, second = engines.call(Nested(), np.zeros((2, 3), np.float32))
    assert [type(part) for part in (*first, *second)] == [np.ndarray] * 3
    assert [part.mean() for part in (*first, *second)] == [0, 1, 2]
    assert isinstance(engines.call(mindspore.nn.ReLU(), np.zeros((2, 3), np.float32)), np.ndarray)
