"""No Ascend is at hand here, so MindSpore's own word for it: every primitive of every network's graph must be
documented to run there ("Supported Platforms" in the operators' docstrings).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mshub_ssd import networks, runtime

mindspore = pytest.importorskip("mindspore")

# Book-keeping of the graph, which no kernel runs for.
NO_KERNELS = {"Constant", "Depend", "Load", "MakeTuple", "Return", "TupleGetItem", "UpdateState", "Switch", "Partial"}
INPUTS = re.compile(r"Supported Platforms:\s*([^\n]*(?:\n[^\n]*``[^\n]*)?)")


def primitives(key: str, folder: Path) -> set[str]:
    """Names of the primitives in a network's inference graph."""
    from mindspore.train.mind_ir_pb2 import ModelProto

    with runtime.uninitialised_parameters():
        network = networks.constructor(key)()
    for parameter in network.get_parameters():
        # Values do not matter to the graph; drawing them would take most of the time.
        parameter.set_data(mindspore.ops.zeros(parameter.shape, parameter.dtype))
    network.set_train(False)
    size = getattr(network.config, "image_size", 224)
    image = mindspore.ops.zeros((1, 3, size, size), mindspore.float32)
    mindspore.export(network, image, file_name=str(folder / "net"), file_format="MINDIR")
    model = ModelProto()
    model.ParseFromString((folder / "net.mindir").read_bytes())
    graphs = [model.graph, *model.functions]
    # Types are written as "Conv2D:120", the number being the node's.
    return {node.op_type.split("::")[-1].split(":")[0] for graph in graphs for node in graph.node} - NO_KERNELS


def documented_platforms(primitive: str) -> str | None:
    """The platforms MindSpore's documentation names for a primitive; None where it names none."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", primitive).lower()
    for place in (mindspore.ops, mindspore.ops.operations, mindspore.ops.auto_generate):
        for name in (primitive, snake):
            found = INPUTS.search(getattr(getattr(place, name, None), "__doc__", None) or "")
            if found:
                return found[1]
    return None


@pytest.mark.parametrize("key", networks.names())
def test_every_primitive_is_documented_for_ascend(key: str, tmp_path: Path) -> None:
    used = primitives(key, tmp_path)
    assert used & {"Conv2D", "MatMul"}
    platforms = {name: documented_platforms(name) for name in used}
    print(key, platforms)
    assert {name for name, text in platforms.items() if text is None or "Ascend" not in text} == set()
