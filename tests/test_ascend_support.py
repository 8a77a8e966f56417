"""No Ascend is at hand here, so MindSpore's own word for it: every primitive of every network's graph must be
documented to run there ("Supported Platforms" in the operators' docstrings).
"""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from mshub_ssd import networks

mindspore = pytest.importorskip("mindspore")

# Book-keeping of the graph, which no kernel runs for.
NO_KERNELS = {"Constant", "Depend", "Load", "MakeTuple", "Return", "TupleGetItem", "UpdateState", "Switch", "Partial"}
PLATFORMS = re.compile(r"Supported Platforms:\s*([^\n]*)")
REFERENCE = re.compile(r"Refer to :func:`mindspore\.ops\.(\w+)`")


def primitives(key: str, folder: Path) -> set[str]:
    """Names of the primitives in a network's inference graph."""
    from mindspore.train.mind_ir_pb2 import ModelProto

    with networks.building(initialised=False):
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
    text = getattr(getattr(mindspore.ops, primitive, None), "__doc__", None) or ""
    found = PLATFORMS.search(text)
    referred = REFERENCE.search(text)
    if not found and referred:
        # "Refer to mindspore.ops.relu for more details."
        found = PLATFORMS.search(getattr(mindspore.ops, referred[1]).__doc__)
    return found[1] if found else None


@pytest.mark.parametrize("key", networks.names())
def test_every_primitive_is_documented_for_ascend(key: str, tmp_path: Path) -> None:
    used = primitives(key, tmp_path)
    assert used & {"Conv2D", "MatMul"}
    platforms = {name: documented_platforms(name) for name in used}
    assert {name for name, text in platforms.items() if text is None or "Ascend" not in text} == set()
