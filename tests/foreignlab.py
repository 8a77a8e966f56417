"""Folders as those of other people's repositories, with all that is wrong with them."""

from __future__ import annotations

import logging
import os
import random
import signal
import sys
import textwrap
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mshub_ssd.providers.recipes import Call

NETWORK = """
    from mindspore import nn

    class Net(nn.Cell):
        def __init__(self, width=2, **more):
            super().__init__()
            self.conv = nn.Conv2d(3, width, 3, has_bias=True)
            self.more = more

        def construct(self, x):
            return self.conv(x)
"""


MESS = """
    import logging, os, random, signal, sys, warnings
    import numpy as np
    import mindspore as ms
    import mindspore.dataset as ds
    from mindspore import context, set_seed
    from mindspore.common import set_seed as common_seed
    from mindspore.communication.management import init

    print("noise")
    sys.path.insert(0, "..")
    sys.path = ["/nowhere"]
    sys.argv = ["other"]
    sys.argv.append("--more")
    sys.setrecursionlimit(12345)
    sys.stdout = open(os.devnull, "w")
    sys.excepthook = print
    sys.modules["src.alias"] = sys.modules[__name__]
    sys.modules["config"] = sys
    sys.modules["json"] = sys.modules[__name__]
    os.chdir("/")
    os.environ["DEVICE_ID"] = "7"
    os.environ.pop("HOME", None)
    random.seed(1)
    np.random.seed(1)
    np.set_printoptions(precision=2)
    np.seterr(all="raise")
    warnings.filterwarnings("error")
    logging.basicConfig(level=logging.DEBUG)
    logging.disable(logging.CRITICAL)
    logging.getLogger("mshub_ssd").setLevel(1)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    context.set_context(mode=context.GRAPH_MODE, device_target="Ascend", device_id=3, save_graphs=True)
    ms.set_context(mode=0)
    context.set_auto_parallel_context(parallel_mode="data_parallel", device_num=8)
    context.reset_auto_parallel_context()
    ms.set_seed(5), set_seed(6), common_seed(7), ds.config.set_seed(8)
    init()
"""


def folder_of(place: Path, files: Mapping[str, str]) -> Path:
    """A folder with these files; the texts may be indented."""
    for name, text in files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    return place


def call(place: str, *args: Any, argv: tuple[str, ...] = (), **kwargs: Any) -> Call:
    return Call(place, args, kwargs, argv)


def new_modules(before: set[str]) -> set[str]:
    return {name for name in set(sys.modules) - before if not name.startswith("_mshub_foreign")}


def state() -> dict[str, Any]:
    """What others may notice."""
    import mindspore as ms

    root = logging.getLogger()
    return {
        "path": list(sys.path),
        "argv": list(sys.argv),
        "folder": Path.cwd(),
        "environment": dict(os.environ),
        "mode": ms.get_context("mode"),
        "device": ms.get_context("device_target"),
        "graphs": ms.get_context("save_graphs"),
        "parallel": ms.get_auto_parallel_context("parallel_mode"),
        "seed": ms.get_seed(),
        "random": random.getstate(),
        "numpy": np.random.get_state()[1].tolist(),
        "printing": np.get_printoptions(),
        "errors": np.geterr(),
        "filters": list(warnings.filters),
        "logging": (root.level, list(root.handlers), logging.getLogger("mshub_ssd").level, root.manager.disable),
        "signals": {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)},
        "depth": sys.getrecursionlimit(),
        "bytecode": sys.dont_write_bytecode,
        "stdout": sys.stdout,
        "hook": sys.excepthook,
    }
