"""Adapters give code of others what it misses, and nobody else.

``python tests/test_foreign_adapters.py`` writes their table into docs/adapters.md.
"""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest
from foreignlab import NETWORK, call, folder_of

from mshub_ssd import foreign
from mshub_ssd.errors import ForeignCodeError, UsageError

DOCUMENT = Path(__file__).parents[1] / "docs" / "adapters.md"

# Adapter → code that fails without it and leaves True in `right` with it.
CASES: dict[str, tuple[str, ...]] = {
    "cast-none": (
        """
        import mindspore as ms
        from mindspore.ops import operations as P
        cast = P.Cast()
        right = cast(None, ms.int32) is None and cast(ms.Tensor([1.5]), ms.int32).dtype == ms.int32
        """,
    ),
    "cwd": ("right = open('data/size.txt').read() == '3'",),
    "cwd:data": ("right = open('size.txt').read() == '3'",),
    "early-cell": (
        """
        import mindspore.nn as nn
        class Early(nn.Cell):
            def __init__(self):
                self.first = nn.Dense(2, 3)
                super().__init__()
                self.second = nn.Dense(3, 4)
        class Never(nn.Cell):
            def __init__(self):
                super(Never).__init__()
                self.first = nn.Dense(2, 3)
        never = Never()
        right = len(list(never.get_parameters())) == 2 and isinstance(Early().second, nn.Cell)
        right = right and isinstance(never, nn.Cell) and not isinstance(never.first, Never)
        right = right and issubclass(nn.Dense, nn.Cell)
        """,
    ),
    "embedding-lookup": (
        """
        import mindspore.nn as nn
        layer = nn.EmbeddingLookup(10, 4, "normal", "CPU", "batch_slice", None, None, True, 0)
        layer = nn.EmbeddingLookup(10, 4, vocab_cache_size=0)
        right = isinstance(layer, nn.Cell) and layer.embedding_table.shape == (10, 4)
        """,
    ),
    "environ:DEVICE_NUM=1": ("import os\nright = int(os.getenv('DEVICE_NUM')) == 1",),
    "float32": (
        """
        from mindspore import dtype, float16
        import mindspore as ms, mindspore.common.dtype as mstype
        right = mstype.float16 == float16 == ms.float16 == dtype.float16 == mstype.float32
        """,
    ),
    "folder:deep/er": ("from parts import value\nright = value == 7",),
    "gather-v2": (
        """
        import mindspore as ms
        from mindspore.ops import operations as P
        right = P.GatherV2()(ms.Tensor([[1, 2], [3, 4]]), ms.Tensor([1]), 0).asnumpy().tolist() == [[3, 4]]
        """,
    ),
    "misspelt-conf": ("from mindspore_hub_conf import create_network\nright = create_network('net').name == 'net'",),
    "ms_class": ("from mindspore import ms_class, jit_class\nright = ms_class is jit_class",),
    "ms_function": (
        """
        from mindspore import ms_function
        @ms_function
        def double(x):
            return 2 * x
        right = double(4) == 8
        """,
        "import mindspore as ms\nright = ms.ms_function(input_signature=None)(len)('ab') == 2",
        "from mindspore.common.api import ms_function\nright = ms_function(len)('ab') == 2",
    ),
    "no-checkpoints": (
        """
        from mindspore import load_checkpoint, load_param_into_net
        from mindspore.train.serialization import load_checkpoint as load
        import mindspore as ms
        right = load_checkpoint("x.ckpt") == load("y.ckpt") == ms.load_checkpoint("z.ckpt") == {}
        load_param_into_net(None, {})
        """,
    ),
    "numpy-aliases": (
        "import numpy as np\nright = np.array([1.5]).astype(np.int)[0] == 1 and np.float is float and np.bool is bool",
        "from numpy import object, long\nright = object is not None and long is int",
        "import numpy\nright = numpy.random.RandomState(0).randint(3, size=2).astype(numpy.float).dtype == 'float64'",
    ),
    "old-transforms": (
        """
        import mindspore.dataset.vision.c_transforms as C
        import mindspore.dataset.transforms.c_transforms as C2
        from mindspore.dataset.vision import py_transforms as P
        from mindspore.dataset.vision.c_transforms import Resize
        import mindspore.dataset as ds
        class Mine(P.Compose):
            pass
        right = ds.vision.c_transforms is C and ds.GeneratorDataset is not None
        """,
    ),
    "parameter-data": (
        """
        import numpy as np
        from mindspore import Tensor, nn
        for layer in (nn.Conv2d(2, 2, 1), nn.Dense(2, 2), nn.BatchNorm2d(2)):
            for parameter in layer.get_parameters():
                parameter.set_parameter_data(Tensor(np.ones(parameter.shape, np.float32)))
        right = bool(nn.BatchNorm2d(2).gamma.asnumpy().sum() == 2) and isinstance(layer, nn.BatchNorm2d)
        """,
    ),
    "profiling": ("from mindspore.profiler.profiling import Profiler\nright = isinstance(Profiler, type)",),
    "renamed:src.model=src.net": (
        "from src.model import Net\nimport src.net, src.model\nright = Net is src.net.Net and src.model is src.net",
    ),
    "resize-bilinear": (
        "from mindspore.nn import ResizeBilinear, Cell\nright = issubclass(ResizeBilinear, Cell)",
        "from mindspore.ops import operations as P\nright = callable(P.ResizeBilinear((2, 2)))",
        "import mindspore.ops as ops\nright = callable(ops.ResizeBilinear((2, 2), True))",
        "from mindspore.ops.operations import ResizeBilinear\nright = callable(ResizeBilinear((2, 2)))",
        "from mindspore.ops import *\nright = callable(ResizeBilinear((2, 2)))",
    ),
    "resize-nearest": (
        """
        import mindspore as ms
        from mindspore.ops import operations as P
        right = P.ResizeNearestNeighbor((8 / 2, 4))(ms.ops.ones((1, 1, 2, 2))).shape == (1, 1, 4, 4)
        """,
    ),
    "scalar-cast": (
        """
        from mindspore import dtype as mstype
        from mindspore.ops import operations as P
        right = P.ScalarCast()(2.6, mstype.int32) == 2 and P.ScalarCast()(3, mstype.float32) == 3.0
        """,
    ),
    "to-tensor": (
        """
        from mindspore import Parameter
        from mindspore.common.initializer import initializer
        right = bool(Parameter(initializer("ones", (2, 2)).to_tensor()).asnumpy().sum() == 4)
        """,
        """
        import mindspore as ms
        made = ms.common.initializer.initializer("ones", (2, 2)).to_tensor()
        right = bool(ms.Parameter(made).asnumpy().sum() == 4)
        """,
    ),
    "validator": (
        """
        from mindspore._checkparam import Validator as validator, Rel
        from mindspore._checkparam import check_int_positive
        import mindspore._checkparam as checks
        validator.check_value_type("x", 3, [int], "net")
        try:
            validator.check_int_range(7, 0, 3, Rel.INC_LEFT, "x", "net")
        except ValueError:
            right = validator.check_positive_int(3, "x", "net") == 3 and Rel.GE == checks.GE
        """,
    ),
    "easydict-builtin": (
        """
        class Meter(EasyDict):
            pass
        right = Meter({"a": {"b": 1}}).a.b == 1
        """,
    ),
    "easydict": (
        """
        from easydict import EasyDict as edict
        import easydict
        config = edict({"a": {"b": [{"c": 1}, 2]}, "t": ({"d": 4},)}, more=3)
        config.other = {"e": 5}
        config["f"] = 6
        config.update({"g": {"h": 7}}, i=8)
        del config.more
        right = (
            config.a.b[0].c == 1 and config.t[0].d == 4 and config.other.e == 5 and config.f == 6
            and config.g.h == 7 and config.i == 8 and not hasattr(config, "more") and config.get("x") is None
            and isinstance(config, dict) and dict(**config.g) == {"h": 7} and config.copy().a.b[1] == 2
            and config.setdefault("j", {}) == {} and isinstance(config.j, easydict.EasyDict)
        )
        """,
    ),
}
STUB = """
    import NAME
    import NAME.sub.module as module
    from NAME import thing, other
    from NAME.sub import deep
    FLAGS = NAME.flags.A | NAME.flags.B
    NAME.setNumThreads(0)
    engine = NAME.engine(1, x=2)

    @thing
    def first(x):
        return x

    @NAME.jit(nopython=True)
    def second(x: NAME.Array | None = None):
        return 2

    class Third(NAME.Base, deep.Mixin):
        pass

    right = first(1) == 1 and second() == 2 and Third.__name__ == "Third" and not isinstance(3, NAME.Base)
"""
STUBS = (
    *("absl", "cv2", "h5py", "imageio", "inflect", "librosa", "matplotlib", "mmcv", "moxing", "networkx", "pandas"),
    *("pycocotools", "sacremoses", "skimage", "sklearn", "subword_nmt", "unidecode", "stub:anything_at_all"),
)
CASES.update({name: (STUB.replace("NAME", name.removeprefix("stub:")),) for name in STUBS})


def table() -> str:
    rows = [f"| `{name}` | {text} |" for name, text in foreign.adapters.describe().items()]
    return "\n".join(["| adapter | what it gives |", "|---|---|", *rows])


def with_table(text: str) -> str:
    before, _, rest = text.partition("<!-- adapters -->\n")
    return (
        f"{before}<!-- adapters -->\n{table()}\n<!-- end of adapters -->{rest.partition('<!-- end of adapters -->')[2]}"
    )


def plain(name: str) -> str:
    return name.partition(":")[0] + (":" if ":" in name else "")


def test_the_documented_adapters_are_the_real_ones() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert text == with_table(text), "write it anew: python tests/test_foreign_adapters.py"


def test_every_adapter_has_a_test_here() -> None:
    assert {plain(name) for name in foreign.adapters.describe()} == {plain(name) for name in CASES}


def everything(place: Path, text: str) -> Path:
    return folder_of(
        place,
        {
            "data/size.txt": "3",
            "deep/er/parts.py": "value = 7",
            "mindpsore_hub_conf.py": "class create_network:\n    def __init__(self, name):\n        self.name = name",
            "src/net.py": NETWORK,
            "main.py": text,
        },
    )


@pytest.mark.parametrize(("name", "text"), [(name, text) for name, texts in CASES.items() for text in texts])
def test_code_that_fails_without_its_adapter_runs_with_it(tmp_path: Path, name: str, text: str) -> None:
    folder = everything(tmp_path, text)
    if name in STUBS and importlib.util.find_spec(name.partition(":")[2] or name) is not None:
        with pytest.raises(ForeignCodeError), foreign.isolated(folder) as code:
            code.resolve("main:engine")  # the real package has nothing of that
    else:
        with pytest.raises((ForeignCodeError, AssertionError)), foreign.isolated(folder) as code:
            assert code.resolve("main:right") is True
    before = set(sys.modules)
    with foreign.isolated(folder, [name]) as code:
        assert code.resolve("main:right") is True
    assert not [it for it in set(sys.modules) - before if it.partition(".")[0] == plain(name)]


def test_nobody_else_sees_what_adapters_give(tmp_path: Path) -> None:
    import mindspore as ms
    import mindspore.nn as nn
    import numpy as np

    before = {id(module): dict(vars(module)) for module in (ms, nn, ms.ops, np, ms.dataset, ms.common.dtype)}
    names = [name for name in CASES if name != "cwd:data"]
    text = "import mindspore.nn\nimport numpy as np\nnp.int, mindspore.nn.ResizeBilinear"
    with foreign.isolated(everything(tmp_path, text), names) as code:
        code.resolve("main")
        for module in (ms, nn, ms.ops, np, ms.dataset, ms.common.dtype):
            assert dict(vars(module)) == before[id(module)]
    assert not hasattr(ms, "ms_function")


@pytest.mark.parametrize(
    "line",
    [
        "x = cv2.imread('a.png'); x.shape",
        "x = cv2.resize(1, 2)[0]",
        "int(cv2.INTER_LINEAR)",
        "len(cv2.things)",
        "for x in cv2.things: pass",
        "1 + cv2.A",
        "cv2.A * 2",
        "cv2.a() > 3",
        "if cv2.ocl.haveOpenCL(): pass",
        "with cv2.x(): pass",
        "import numpy as np; np.array(cv2.matrix)",
        "cv2.a()(1, 2)",
    ],
)
def test_stand_ins_do_not_compute(tmp_path: Path, line: str) -> None:
    folder = everything(tmp_path, f"import cv2\n{line}")
    said = r"the network needs cv2\.\S+, for which an adapter stands in"
    with pytest.raises(ForeignCodeError, match=said) as caught, foreign.isolated(folder, ["cv2"]) as code:
        code.resolve("main")
    assert "pip install what cv2 is part of" in str(caught.value.hint)


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("import numpy as np; np.int", "an adapter may help: numpy-aliases"),
        ("from mindspore import ms_function", "an adapter may help: ms_function"),
        ("from mindspore._checkparam import Rel", "an adapter may help: validator"),
        ("from mindspore.profiler.profiling import Profiler", "an adapter may help: profiling"),
        ("import moxing.framework", "an adapter may help: moxing"),
        ("import mindspore_hub_conf", "an adapter may help: misspelt-conf"),
        ("import nothing_like_it.x", "pip install what nothing_like_it is part of, or let an adapter stand in for it"),
        ("1 / 0", "docs/adapters.md"),
    ],
)
def test_errors_name_the_adapter_that_may_help(tmp_path: Path, line: str, hint: str) -> None:
    folder = folder_of(tmp_path, {"main.py": line})
    with pytest.raises(ForeignCodeError) as caught, foreign.isolated(folder) as code:
        code.resolve("main")
    assert hint in str(caught.value.hint)
    assert "\n" not in caught.value.message


@pytest.mark.parametrize("name", ["nonsense", "", "stub", "stub:", "cv2:x", "ms_function:1"])
def test_adapters_that_there_are_not(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="no such adapter") as caught, foreign.isolated(tmp_path, [name]):
        pass
    assert "stub:PACKAGE" in str(caught.value.expected)


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("cwd:../other", "must lie in"),
        ("folder:/etc", "must lie in"),
        ("environ:HOME", "has no value"),
        ("environ:=x", "has no value"),
        ("renamed:config", "has no name"),
    ],
)
def test_parameters_that_make_no_sense(tmp_path: Path, name: str, said: str) -> None:
    with pytest.raises(UsageError, match=said), foreign.isolated(tmp_path, [name]):
        pass


def test_resizing_is_what_it_was_in_both_modes(tmp_path: Path, mode: str) -> None:
    import numpy as np
    from mindspore import Tensor

    folder = everything(
        tmp_path,
        """
        from mindspore import nn, ms_function
        from mindspore.ops import operations as P

        class Net(nn.Cell):
            def __init__(self):
                super().__init__()
                self.cell = nn.ResizeBilinear()
                self.operation = P.ResizeBilinear((4, 4))
                self.aligned = P.ResizeBilinear((3, 3), align_corners=True)

            @ms_function
            def helper(self, x):
                return self.operation(x)

            def construct(self, x):
                return (
                    self.cell(x, (4, 4)),
                    self.cell(x, scale_factor=2),
                    self.helper(x),
                    P.ResizeBilinear((4, 4))(x),
                    self.aligned(x),
                    self.cell(x, (3, 3), None, True),
                )
        """,
    )
    network = foreign.build(folder, call("main:Net"), ["resize-bilinear", "ms_function"])
    outputs = [out.asnumpy()[0, 0] for out in network(Tensor(np.array([[[[0.0, 1.0], [2.0, 3.0]]]], np.float32)))]
    rows = np.array([0, 0.5, 1, 1], np.float32)
    for out in outputs[:4]:
        np.testing.assert_allclose(out, rows[None] + 2 * rows[:, None])
    rows = np.array([0, 0.5, 1], np.float32)
    for out in outputs[4:]:
        np.testing.assert_allclose(out, rows[None] + 2 * rows[:, None])


def test_constructors_that_compute_with_values_get_values(tmp_path: Path) -> None:
    folder = everything(
        tmp_path,
        """
        import mindspore as ms
        from mindspore import nn
        from src.net import Net as Base

        class Net(Base):
            def __init__(self):
                super().__init__()
                self.conv.weight.set_data(self.conv.weight * 2)
        """,
    )
    assert foreign.build(folder, call("main:Net")).conv.weight.shape == (2, 3, 3, 3)


if __name__ == "__main__":
    DOCUMENT.write_text(with_table(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
