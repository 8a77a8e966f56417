"""Code of others is imported under private names, and leaves the process as it was."""

from __future__ import annotations

import inspect
import sys
import threading
from pathlib import Path
from typing import Any

import mindspore as ms
import numpy as np
import pytest
from foreignlab import MESS, NETWORK, call, folder_of, new_modules, state
from mindspore import Tensor

from mshub_ssd import foreign
from mshub_ssd.errors import ForeignCodeError, UsageError

PICTURE = Tensor(np.ones((1, 3, 4, 4), np.float32))


def test_two_networks_that_are_both_called_src_live_in_one_process(tmp_path: Path) -> None:
    networks = []
    for number in (1, 2):
        folder = folder_of(
            tmp_path / str(number),
            {
                "config.py": f"width = {number + 3}",
                "src/__init__.py": "",
                "src/net.py": NETWORK,
                "src/model_utils/config.py": "import config\nfrom ..net import Net\nwidth = config.width",
                "export.py": "from src.net import Net\nfrom src.model_utils.config import width\n"
                "def make():\n    return Net(width)",
            },
        )
        networks.append(foreign.build(folder, call("export:make")))
    assert [network.conv.weight.shape[0] for network in networks] == [4, 5]
    first, second = (type(network) for network in networks)
    assert first is not second
    assert first.__module__ != second.__module__
    assert {"src", "config", "export"}.isdisjoint(sys.modules)
    assert inspect.getsourcefile(first) == str(tmp_path / "1" / "src" / "net.py")
    assert "class Net" in inspect.getsource(second)


@pytest.mark.parametrize(
    "line",
    [
        "from src.parts import value",
        "import src.parts as parts; value = parts.value",
        "import src.parts; value = src.parts.value",
        "from src import parts; value = parts.value",
        "from .parts import value",
        "from . import parts; value = parts.value",
        "from .. import src; from ..src.parts import value",
        "from src.parts import *",
        "from src import *; value = parts.value",
        "import importlib; value = importlib.import_module('src.parts').value",
        "from importlib import import_module; value = import_module('.parts', __package__).value",
        "value = __import__('src.parts', fromlist=['value']).value",
        "value = __import__('src.parts').parts.value",
        "exec('from src.parts import value')",
        "import sys, os; sys.path.insert(0, os.path.dirname(__file__)); from parts import value",
        "import sys; sys.path.append('./src'); import parts; value = parts.value",
    ],
)
def test_every_way_to_import_finds_the_folder(tmp_path: Path, line: str) -> None:
    before = set(sys.modules)
    folder = folder_of(
        tmp_path, {"src/__init__.py": "__all__ = ['parts']", "src/parts.py": "value = 7", "src/use.py": line}
    )
    with foreign.isolated(folder) as code:
        assert code.resolve("src.use:value") == 7
    assert not new_modules(before)


def test_namespace_packages_and_installed_packages_of_the_same_name(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "src/deep/net.py": "value = 1",  # no __init__.py anywhere
            "json/readme.md": "no module: Python's own is meant",
            "main.py": "import json\nfrom src.deep.net import value\ntext = json.dumps(value)",
        },
    )
    with foreign.isolated(folder) as code:
        assert code.resolve("main:text") == "1"


def test_modules_of_the_user_are_not_the_codes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Python looks into the folder it was started in, and what it found there is in sys.modules.
    mine = folder_of(
        tmp_path / "mine",
        {"config.py": "value = 'mine'", "src/__init__.py": "", "src/net.py": "value = 'mine'", "tools.py": ""},
    )
    monkeypatch.chdir(mine)
    monkeypatch.setattr(sys, "path", ["", *sys.path])
    import config
    import src.net

    folder = folder_of(
        tmp_path / "code",
        {
            "src/net.py": "value = 'theirs'",  # a folder without __init__.py
            "main.py": "from src.net import value",
            "other.py": "import config",
            "third.py": "def late():\n    import tools",
            "fourth.py": "import __main__",
        },
    )
    with foreign.isolated(folder) as code:
        assert code.resolve("main:value") == "theirs"
        late = code.resolve("third:late")
        for module, name in (("other", "config"), ("fourth", "__main__"), ("tools", "tools")):
            with pytest.raises(ForeignCodeError, match=f"No module named '{name}'"):
                code.resolve(module)
    with pytest.raises(ModuleNotFoundError, match="tools"):
        late()
    assert (config.value, src.net.value) == ("mine", "mine")
    for name in ("config", "src", "src.net"):
        del sys.modules[name]


def test_imports_inside_functions_find_their_own_folder_later_and_in_threads(tmp_path: Path) -> None:
    networks = []
    for number in (2, 3):
        folder = folder_of(
            tmp_path / str(number),
            {
                "src/net.py": """
                    from mindspore import nn
                    class Net(nn.Cell):
                        def construct(self, x):
                            from src.scale import scale
                            return scale(x)
                """,
                "src/scale.py": f"import os\nos.chdir('/')\ndef scale(x):\n    return x * {number}",
            },
        )
        networks.append(foreign.build(folder, call("src.net:Net")))
    before = state()
    results: dict[int, Any] = {}

    def run(number: int) -> None:
        results[number] = networks[number](PICTURE).asnumpy().max()

    for number in (0, 1):  # one after the other: MindSpore itself cannot run in two threads at once
        thread = threading.Thread(target=run, args=(number,))
        thread.start()
        thread.join()
    assert results == {0: 2.0, 1: 3.0}
    assert state() == before


def test_networks_run_in_both_modes(tmp_path: Path, mode: str) -> None:
    folder = folder_of(
        tmp_path,
        {
            "src/net.py": """
                import numpy as np
                import mindspore as ms
                import mindspore.nn as nn
                import mindspore.common.dtype as mstype
                from mindspore import context, ops
                from mindspore.ops import operations as P
                from mindspore.ops import functional as F
                from src import parts
                from src.parts import helper
                from .config import config

                context.set_context(mode=context.GRAPH_MODE, save_graphs=True)

                class Net(nn.Cell):
                    def __init__(self):
                        super().__init__()
                        self.conv = nn.Conv2d(3, 3, 3, weight_init="ones")
                        self.relu = P.ReLU()
                        self.gain = config.gain

                    def construct(self, x):
                        y = self.relu(self.conv(x)) * self.gain
                        y = ops.concat((y, F.cast(helper(x), mstype.float32)), 1)
                        return parts.helper(y) + nn.ReLU()(x).sum() * 0 + P.Abs()(x).sum() * ms.ops.zeros(1)
            """,
            "src/parts.py": "from mindspore import ops\n\ndef helper(x):\n    return ops.abs(x) + 1",
            "src/config.py": "from easydict import EasyDict as ed\nconfig = ed({'gain': 2.0})",
        },
    )
    network = foreign.build(folder, call("src.net:Net"), ["easydict"], initialised=True)
    out = network(PICTURE).asnumpy()
    assert out.shape == (1, 6, 4, 4)
    assert out[0, 0, 1, 1] == pytest.approx(27 * 2 + 1)
    assert out[0, 5, 1, 1] == pytest.approx(3)
    assert ms.get_context("mode") == getattr(ms, mode)


@pytest.mark.parametrize("end", ["", "raise ValueError('no')", "sys.exit(2)", "import no_such_package"])
def test_the_process_is_as_before_however_it_ends(tmp_path: Path, end: str, capsys: pytest.CaptureFixture[str]) -> None:
    folder = folder_of(tmp_path, {"src/net.py": NETWORK, "main.py": f"{MESS}\n    from src.net import Net\n    {end}"})
    import json

    ds_seed = ms.dataset.config.get_seed()
    before, modules = state(), set(sys.modules)
    if end:
        with pytest.raises(ForeignCodeError) as caught:
            foreign.build(folder, call("main:Net"))
        assert caught.value.where == f"{folder / 'main.py'}:{len((folder / 'main.py').read_text().splitlines())}"
        assert not [name for name in sys.modules if name not in modules and name.startswith("_mshub_foreign.")]
    else:
        foreign.build(folder, call("main:Net"))
    assert state() == before
    assert ms.dataset.config.get_seed() == ds_seed
    assert not new_modules(modules)
    assert sys.modules["json"] is json
    assert capsys.readouterr().out == ""


def test_the_command_line_is_the_recipes(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "main.py": """
                import argparse, sys
                parser = argparse.ArgumentParser()
                parser.add_argument("--width", type=int, required=True)
                width = parser.parse_args().width
                seen = sys.argv[1:]
            """
        },
    )
    with foreign.isolated(folder, argv=("--width", "5")) as code:
        assert code.resolve("main:width") == 5
        assert code.resolve("main:seen") == ["--width", "5"]
    with pytest.raises(ForeignCodeError, match="ended the program") as caught, foreign.isolated(folder) as code:
        code.resolve("main:width")
    assert caught.value.got == "none"


def test_files_beside_the_code_and_main_that_is_not_run(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "config/default.yaml": "width: 5",
            "src/net.py": """
                import os
                here = os.path.dirname(os.path.abspath(__file__))
                with open(os.path.join(here, "../config/default.yaml")) as file:
                    text = file.read()
                if __name__ == "__main__":
                    raise SystemExit("this is no script")
            """,
        },
    )
    with foreign.isolated(folder) as code:
        assert code.resolve("src.net:text") == "width: 5"


def test_compiled_files_of_the_folder_are_never_believed_and_none_is_written(tmp_path: Path) -> None:
    import py_compile

    folder = folder_of(tmp_path, {"net.py": "value = 1"})
    py_compile.compile(str(folder / "net.py"), invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH)
    (folder / "net.py").write_text("value = 2")
    files = sorted(folder.rglob("*"))
    with foreign.isolated(folder) as code:
        assert code.resolve("net:value") == 2
    assert sorted(folder.rglob("*")) == files


def test_files_that_lie_outside_are_not_the_folders(tmp_path: Path) -> None:
    outside = folder_of(
        tmp_path / "outside", {"evil.py": "raise SystemExit", "package/__init__.py": "raise SystemExit"}
    )
    folder = folder_of(
        tmp_path / "code", {"a.py": "import sys; sys.path.append('../outside')\nimport evil", "b.py": "import package"}
    )
    (folder / "evil2.py").symlink_to(outside / "evil.py")
    (folder / "package").symlink_to(outside / "package")
    with foreign.isolated(folder) as code:
        for module, said in (("a", "No module named 'evil'"), ("evil2", "leads out"), ("b", "leads out")):
            with pytest.raises(ForeignCodeError, match=said):
                code.resolve(module)


def test_names_that_are_not_there(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"src/net.py": NETWORK, "up.py": "from ... import x"})
    with foreign.isolated(folder) as code:
        assert code.resolve("src.net:Net.construct").__name__ == "construct"
        with pytest.raises(ForeignCodeError, match="has no Netz"):
            code.resolve("src.net:Netz")
        with pytest.raises(ForeignCodeError, match=r"No module named 'src\.nett'"):
            code.resolve("src.nett:Net")
        with pytest.raises(ForeignCodeError, match="beyond top-level"):
            code.resolve("up")
    with pytest.raises(UsageError, match="no such folder"), foreign.isolated(folder / "none"):
        pass
    with pytest.raises(UsageError, match="no such adapter"), foreign.isolated(folder, ["nonsense"]):
        pass


@pytest.mark.parametrize("how", ["kwargs", "args"])
def test_recipes_arguments_become_objects(tmp_path: Path, how: str) -> None:
    folder = folder_of(
        tmp_path,
        {
            "src/net.py": NETWORK
            + """
    class Config:
        kind = "class"
        def __init__(self):
            raise RuntimeError("made without its constructor")

    class Wrapper(nn.Cell):
        def __init__(self, **seen):
            super().__init__()
            self.net = seen.pop("net")
            self.kept = [seen]

    def wrap(*values):
        return Wrapper(**dict(zip(("net", "values", "config", "plain", "of", "name", "dtype", "tensor"), values)))
"""
        },
    )
    arguments = {
        "net": {"call": {"callable": "src.net:Net", "kwargs": {"width": 7}}},
        "values": [1, 2.5, None, True, "text", {"tuple": [1, {"tuple": [2]}]}],
        "config": {"object": {"depth": 3, "inner": {"object": {"a": {"dict": {"call": 1}}}}}},
        "plain": {"items": [[1, "one"], [{"tuple": [2, 3]}, {"tuple": []}]]},
        "of": {"object": {"width": 4}, "of": "src.net:Config"},
        "name": {"name": "src.net:Net"},
        "dtype": {"dtype": "float16"},
        "tensor": {"tensor": {"shape": [2, 3], "type": "int32", "value": 5}},
    }
    if how == "kwargs":
        network = foreign.build(folder, call("src.net:Wrapper", **arguments))
    else:
        network = foreign.build(folder, call("src.net:wrap", *arguments.values()))
    assert network.net.conv.weight.shape == (7, 3, 3, 3)
    seen = network.kept[0]
    assert seen["values"] == [1, 2.5, None, True, "text", (1, (2,))]
    assert seen["config"].depth == seen["config"]["depth"] == 3
    assert seen["config"].inner.a == {"call": 1}
    assert ("depth" in seen["config"], seen["config"].get("other", 1), dict(**seen["config"]).keys()) == (
        True,
        1,
        {"depth", "inner"},
    )
    assert seen["plain"] == {1: "one", (2, 3): ()}
    assert (type(seen["of"]).__name__, seen["of"].kind, seen["of"].width) == ("Config", "class", 4)
    assert seen["name"] is type(network.net)
    assert seen["dtype"] == ms.float16
    assert (seen["tensor"].shape, seen["tensor"].dtype, seen["tensor"].asnumpy().max()) == ((2, 3), ms.int32, 5)


@pytest.mark.parametrize(
    "value",
    [
        {"depth": 3},
        {"call": {}},
        {"call": "os:getcwd"},
        {"object": {}, "if": 1},
        {"dtype": "float17"},
        {"tensor": [1, 2]},
        {"tensor": {"shape": [1], "dtype": "float32"}},
        object(),
    ],
    ids=lambda value: str(value) if isinstance(value, dict) else "an object",
)
def test_recipes_that_make_no_sense(tmp_path: Path, value: Any) -> None:
    folder = folder_of(tmp_path, {"src/net.py": NETWORK})
    with pytest.raises(UsageError, match="makes no sense") as caught:
        foreign.build(folder, call("src.net:Net", width=value))
    assert caught.value.where == "src.net:Net(width)"


def test_faults_of_the_code_are_told_with_their_place(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "src/net.py": NETWORK
            + "\n    def text():\n        return 'no network'\n    def fail():\n        return [][0]\n",
            "broken.py": "def f(:\n    pass\n",
        },
    )
    with pytest.raises(ForeignCodeError, match="gave no network"):
        foreign.build(folder, call("src.net:text"))
    with pytest.raises(ForeignCodeError, match="IndexError") as caught:
        foreign.build(folder, call("src.net:fail"))
    assert caught.value.where == f"{folder / 'src/net.py'}:{len((folder / 'src/net.py').read_text().splitlines())}"
    with pytest.raises(ForeignCodeError, match="TypeError"):
        foreign.build(folder, call("src.net:Net", 1, 2, 3))
    with pytest.raises(ForeignCodeError, match="SyntaxError"):
        foreign.build(folder, call("broken:f"))
    # An interruption is the user's, not the code's.
    folder_of(folder, {"stopped.py": "raise KeyboardInterrupt"})
    before = state()
    with pytest.raises(KeyboardInterrupt):
        foreign.build(folder, call("stopped:f"))
    assert state() == before


def test_networks_are_built_without_values_unless_they_are_asked_for(tmp_path: Path) -> None:
    folder = folder_of(tmp_path, {"src/net.py": NETWORK})
    empty = foreign.build(folder, call("src.net:Net"))
    full = foreign.build(folder, call("src.net:Net"), initialised=True)
    assert empty.conv.weight.has_init
    assert not full.conv.weight.has_init
    assert empty.conv.weight.shape == full.conv.weight.shape


def test_two_threads_build_two_folders_at_once(tmp_path: Path) -> None:
    slow = "import os, time\nos.chdir(os.path.dirname(__file__))\ntime.sleep(0.05)\nwidth = int(open('width').read())\n"
    folders = [
        folder_of(tmp_path / str(n), {"net.py": NETWORK, "width": str(n), "main.py": f"{slow}from net import Net"})
        for n in range(1, 7)
    ]
    before, widths = state(), {}

    def run(folder: Path) -> None:
        with foreign.isolated(folder) as code:
            width = code.resolve("main:width")
            widths[width] = code.resolve("main:Net")(width).conv.weight.shape[0]

    threads = [threading.Thread(target=run, args=(folder,)) for folder in folders]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert widths == {n: n for n in range(1, 7)}
    assert state() == before


def test_twenty_folders_in_one_process_leave_private_names_only(tmp_path: Path) -> None:
    before, modules = state(), set(sys.modules)
    networks = [
        foreign.build(
            folder_of(
                tmp_path / str(n),
                {"src/__init__.py": "", "src/net.py": NETWORK, "main.py": f"{MESS}\n    from src.net import Net"},
            ),
            call("main:Net", n),
            ["numpy-aliases", "easydict", "cv2"],
        )
        for n in range(1, 21)
    ]
    assert [network.conv.weight.shape[0] for network in networks] == list(range(1, 21))
    assert not new_modules(modules)
    assert state() == before
    assert networks[4](PICTURE).shape == (1, 5, 4, 4)


def test_what_code_does_to_modules_it_was_given_stays_with_it(tmp_path: Path) -> None:
    folder = folder_of(
        tmp_path,
        {
            "main.py": "import importlib, sys\nimport mindspore as ms\n"
            "ms.float32 = ms.context.mine = 1\nsys.mine = importlib.x = 2"
        },
    )
    with foreign.isolated(folder) as code:
        code.resolve("main")
    assert ms.float32 == ms.Tensor(1.0, ms.float32).dtype
    assert not hasattr(ms.context, "mine")
    assert not hasattr(sys, "mine")
