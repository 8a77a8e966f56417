"""Recording: the helper process, graphs as files, ONNX files, and what is refused."""

from __future__ import annotations

import ast
import copy
import dataclasses
import json
import os
import pickle
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import recordlab
from hypothesis import given
from hypothesis import strategies as st
from without import run_without

import mshub_ssd
from mshub_ssd import engines, networks
from mshub_ssd.errors import IntegrityError, MshubError, UnknownModelError, UsageError

pytest.importorskip("onnxruntime")

PACKAGE = Path(mshub_ssd.__file__).parent
SMALL = {
    "image_size": 64,
    "stem_channels": 4,
    "blocks": [[1, 8, 1, 2], [6, 8, 2, 2]],
    "last_channels": 16,
    "taps": [[1, 12]],
    "extras": [[8, 0.5]],
    "box_sizes": [[[0.1, 0.2]], [[0.3, 0.3], [0.2, 0.4]], [[0.8, 0.8]]],
}


@pytest.fixture(scope="module")
def small() -> engines.Recording:
    return engines.record("ssd_mobilenetV2", SMALL, ["a", "b"] + [str(i) for i in range(78)])


@pytest.fixture(scope="module")
def values(small: engines.Recording) -> dict[str, np.ndarray]:
    return {name: recordlab.networks.tensor(name, shape, 7) for name, (shape, _) in small.graph.parameters.items()}


def test_arguments_and_classes_reach_the_network(small: engines.Recording, values: dict[str, np.ndarray]) -> None:
    mindspore = pytest.importorskip("mindspore")
    assert small.config.class_names[:3] == ("a", "b", "0")
    cell = networks.build("ssd_mobilenetV2", card=SMALL, classes=list(small.config.class_names), initialised=False)
    assert cell.config == small.config
    networks.fill(cell, values)
    batch = np.random.default_rng(0).uniform(-2, 2, (2, 3, 64, 64)).astype(np.float32)
    expected = cell.set_train(False)(mindspore.Tensor(batch))
    found = recordlab.runner(small.graph, values).run(batch)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other.asnumpy(), rtol=0, atol=1e-5)


# ------------------------------------------------------------------------------------------ the helper process


@pytest.mark.parametrize("installed", [True, False])
def test_recording_never_imports_mindspore(installed: bool) -> None:
    code = (
        "import sys\n"
        "from mshub_ssd.engines.record import main\n"
        "code = main(['ssd300', '{\"num_classes\": 3}'])\n"
        "print()\n"
        "print(code, [name for name in sys.modules if name.partition('.')[0] == 'mindspore'])\n"
    )
    told, left = run_without(set() if installed else {"mindspore"}, code).splitlines()
    assert left == "0 []"
    told = json.loads(told)
    assert told["config"]["num_classes"] == 3
    assert engines.Graph.from_dict(told["graph"]).inputs == (("input", (None, 3, 300, 300)),)


def test_the_helper_runs_by_its_name_and_reads_both_ways() -> None:
    command = [sys.executable, "-W", "error", "-m", "mshub_ssd.engines.record", "ssd300"]
    said = [
        subprocess.run([*command, *rest], input=text, capture_output=True, text=True, check=True).stdout
        for rest, text in ((['{"num_classes": 3}'], ""), (["-"], '{"num_classes": 3}'))
    ]
    assert said[0] == said[1]
    for wrong in (["["], ["[]"], ["{}", "more"]):
        done = subprocess.run([*command, *wrong], capture_output=True, text=True)
        assert done.returncode == 1
        assert json.loads(done.stdout)["error"]["code"] == "invalid-argument"


def test_nothing_in_the_current_folder_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "numpy.py").write_text("raise SystemExit('run')", encoding="utf-8")
    (tmp_path / "mshub_ssd.py").write_text("raise SystemExit('run')", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    assert engines.record("ssd300", {"num_classes": 2}).config.num_classes == 2


def test_what_cannot_be_built_is_refused_as_by_load() -> None:
    with pytest.raises(UsageError, match=r"cannot be built with these arguments.*colour"):
        engines.record("ssd300", {"colour": 1})
    with pytest.raises(UsageError, match="number of class names") as caught:
        engines.record("ssd300", {"num_classes": 4}, ["one"])
    assert caught.value.hint
    with pytest.raises(UsageError, match="plain values"):
        engines.record("ssd300", {"num_classes": object()})
    with pytest.raises(UnknownModelError, match="no network of the name 'sdd300'"):
        engines.record("sdd300")


def test_networks_that_one_process_knows_cannot_be_recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks.constructors, "_registered", {})
    networks.register_network("own_net")(lambda: None)
    with pytest.raises(UsageError, match="only this process knows it"):
        engines.record("own_net")


PLUGIN = """
from mshub_ssd.networks.backend import nn
from mshub_ssd.networks.classification import ClassifierConfig

print("hello")

class Net(nn.Cell):
    def __init__(self):
        super().__init__()
        self.config = ClassifierConfig("plain", 2, ("a", "b"), image_size=8)
        self.conv = nn.Conv2d(3, 2, 8, pad_mode="valid")

    def construct(self, x):
        return self.conv(x).reshape(x.shape[0], -1)

class Recurrent(Net):
    def construct(self, x):
        return nn.LSTM(2, 2)(x)

class Deciding(Net):
    def construct(self, x):
        return self.conv(x) if x.sum() > 0 else x

class Bare(Net):
    def __init__(self):
        super().__init__()
        self.config = None

def foreign():
    import mindspore
"""


@pytest.fixture
def plugins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another package with networks of its own, which the helper process finds, too."""
    (tmp_path / "plain_nets.py").write_text(PLUGIN, encoding="utf-8")
    info = tmp_path / "plain_nets-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plain_nets\nVersion: 1.0\n", encoding="utf-8")
    points = "".join(
        f"plain_{name} = plain_nets:{name}\n" for name in ("Net", "Recurrent", "Deciding", "Bare", "foreign")
    )
    (info / "entry_points.txt").write_text(f"[mshub_ssd.networks]\n{points}", encoding="utf-8")
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]))
    monkeypatch.syspath_prepend(tmp_path)
    caches = (networks.constructors._plugins, networks.constructors._known, networks.constructors._spellings)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_networks_of_other_packages_are_recorded_where_their_layers_are_ours(plugins: None) -> None:
    recording = engines.record("plain_Net")
    assert recording.config.class_names == ("a", "b")
    assert recording.graph.outputs == "output"
    ones = {"conv.weight": np.ones((2, 3, 8, 8), np.float32)}
    found = recordlab.runner(recording.graph, ones).run(np.ones((5, 3, 8, 8), np.float32))
    np.testing.assert_allclose(found, np.full((5, 2), 3 * 8 * 8), rtol=1e-6)
    for name, message in {
        "plain_Recurrent": r"nn\.LSTM cannot be recorded",
        "plain_Deciding": "has no attribute 'sum'",
        "plain_Bare": "configuration cannot be written down",
        "plain_foreign": "take their layers from",
    }.items():
        with pytest.raises(UsageError, match=message):
            engines.record(name)


def test_a_process_has_layers_of_one_kind() -> None:
    pytest.importorskip("mindspore")
    from mshub_ssd.networks import backend

    assert backend.nn.__name__ == "mindspore.nn"
    with pytest.raises(UsageError, match="have their layers already"):
        networks.use_layers(object())


def test_the_recorder_has_every_name_that_networks_use() -> None:
    """Losses and training are MindSpore's alone."""
    from mshub_ssd.engines import recording

    used = set()
    for path in (PACKAGE / "networks").rglob("*.py"):
        if path.name in ("loss.py", "learning.py"):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in ("nn", "ops"):
                used.add((node.value.id, node.attr))
            if isinstance(node, ast.ImportFrom) and node.module == "mshub_ssd.networks.backend":
                used |= {("backend", alias.name) for alias in node.names}
    assert ("nn", "Conv2d") in used
    for home, name in used - {("backend", "no_init_parameters")}:
        assert getattr(recording if home == "backend" else getattr(recording, home), name) is not None
    with pytest.raises(UsageError, match=r"ops\.abs cannot be recorded"):
        _ = recording.ops.abs


# ------------------------------------------------------------------------------------------ graphs as files


def damage(content: dict, path: tuple, value: object) -> dict:
    content = copy.deepcopy(content)
    place = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return content


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("format",), "another"),
        (("version",), 2),
        (("more",), 1),
        (("inputs",), []),
        (("inputs", 0, 1), [None, 3, 64, -64]),
        (("inputs", 0, 1), [1, 3, 64, 64]),
        (("inputs", 0, 1), [None, 3, 64, 63.0]),
        (("inputs", 0, 1), [None, 5, 64, 64]),
        (("outputs",), "output"),
        (("outputs",), ["output.0", "output.0"]),
        (("outputs",), []),
        (("outputs",), ["input", "output.1"]),
        (("outputs",), 3),
        (("parameters", 0, 1), [16]),
        (("parameters", 0, 2), "float64"),
        (("parameters", 1, 0), "input"),
        (("nodes",), {}),
        (("nodes", 0), ["conv"]),
        (("nodes", 0, 0), "system"),
        (("nodes", 0, 1), ["input"]),
        (("nodes", 0, 1), ["input", "nothing"]),
        (("nodes", 0, 2), ["x", "y"]),
        (("nodes", 0, 3), []),
        (("nodes", 0, 3, "pads"), [0, 0, 0]),
        (("nodes", 0, 3, "pads"), [0, 0, 0, True]),
        (("nodes", 0, 3, "strides"), [0, 2]),
        (("nodes", 0, 3, "strides"), [2, 10**30]),
        (("nodes", 0, 3, "strides"), 2),
        (("nodes", 0, 3, "groups"), 2),
        (("nodes", 0, 3, "more"), 2),
        (("nodes", 1, 3, "epsilon"), 10**400),
        (("nodes", 1, 3, "epsilon"), float("nan")),
        (("nodes", 1, 3, "epsilon"), "0.001"),
    ],
)
def test_a_damaged_graph_is_refused(small: engines.Recording, path: tuple, value: object) -> None:
    sound = json.loads(json.dumps(small.graph.to_dict()))
    assert engines.Graph.from_dict(sound) == small.graph
    with pytest.raises(IntegrityError, match="not a graph that can be run"):
        engines.Graph.from_dict(damage(sound, path, value))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(st.data())
def test_no_damage_ends_in_anything_else(small: engines.Recording, data: st.DataObject) -> None:
    content = json.loads(json.dumps(small.to_dict()))
    path, place = [], content
    while isinstance(place, dict | list) and place and (not path or data.draw(st.booleans() | st.just(True))):
        step = data.draw(st.sampled_from(sorted(place)) if isinstance(place, dict) else st.integers(0, len(place) - 1))
        path.append(step)
        place = place[step]
    damaged = damage(content, tuple(path), data.draw(json_values))
    try:
        found = engines.Recording.from_dict(damaged)
    except IntegrityError:
        return
    # What is read after all says what the file says.
    assert json.loads(json.dumps(found.to_dict())) == {part: damaged[part] for part in ("graph", "config")}


def test_foreign_content_is_refused() -> None:
    deep: list = []
    for _ in range(50):
        deep = [deep]
    for foreign in (None, 3, "graph", [], {}, {"graph": {}}, {"graph": None}):
        with pytest.raises(IntegrityError):
            engines.Graph.from_dict(foreign)
        with pytest.raises(IntegrityError):
            engines.Recording.from_dict(foreign)


def test_configurations_are_read_with_care(small: engines.Recording) -> None:
    sound = networks.config_to_dict(small.config)
    assert networks.config_from_dict(json.loads(json.dumps(sound))) == small.config
    for path, value in (
        (("kind",), "Path"),
        (("kind",), None),
        (("more",), 1),
        (("mean",), None),
        (("mean",), [0.5, 0.5]),
        (("mean",), 0.5),
        (("name",), 3),
        (("num_classes",), 3.0),
        (("activation",), "relu"),
        (("score_threshold",), True),
        (("anchor_spec",), "none"),
        (("mean",), [float("inf")]),
        (("anchor_spec",), {"kind": "SSDConfig"}),
    ):
        with pytest.raises(IntegrityError, match="not the configuration of a network"):
            networks.config_from_dict(damage(sound, path, value))
    with pytest.raises(IntegrityError):
        networks.config_from_dict([])
    with pytest.raises(UsageError, match="cannot be written down"):
        networks.config_to_dict(dataclasses.make_dataclass("SSDConfig", [])())


def test_graphs_travel(small: engines.Recording) -> None:
    again = pickle.loads(pickle.dumps(small.graph))
    assert again == small.graph
    assert again.shapes == small.graph.shapes
    assert again.shapes["output.0"] == (None, len(small.config.anchors), 4)


# ------------------------------------------------------------------------------------------ ONNX files


def test_the_file_is_sound_and_always_the_same(small: engines.Recording, values: dict[str, np.ndarray]) -> None:
    content = engines.onnx_bytes(small.graph, values)
    assert content == engines.onnx_bytes(engines.Graph.from_dict(small.graph.to_dict()), dict(reversed(values.items())))
    assert b"".join(engines.onnx_chunks(small.graph, values)) == content
    onnx = pytest.importorskip("onnx")
    model = onnx.load_from_string(content)
    onnx.checker.check_model(model, full_check=True)
    names = [tensor.name for tensor in model.graph.initializer if not tensor.name.startswith("/")]
    assert names == list(small.graph.parameters)
    assert model.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"
    for tensor in model.graph.initializer:
        if tensor.name in values:
            np.testing.assert_array_equal(onnx.numpy_helper.to_array(tensor), values[tensor.name])


def test_weights_that_do_not_fit_are_refused(small: engines.Recording, values: dict[str, np.ndarray]) -> None:
    name = small.graph.used[3]
    for wrong in ({k: v for k, v in values.items() if k != name}, {**values, name: np.zeros(77, np.float32)}):
        with pytest.raises(UsageError, match="weights do not fit") as caught:
            engines.onnx_bytes(small.graph, wrong)
        assert caught.value.where == name
    doubled = {k: np.asfortranarray(v.astype(np.float64)) for k, v in values.items()}
    assert engines.onnx_bytes(small.graph, doubled) == engines.onnx_bytes(small.graph, values)


def test_what_no_file_can_hold_is_refused() -> None:
    node = engines.Node("dense", ("input", "w"), ("output",))
    graph = engines.Graph((node,), (("input", (None, 1 << 15)),), "output", {"w": ((1 << 15, 1 << 15), "float32")})
    with pytest.raises(UsageError, match="too large") as caught:
        engines.onnx_bytes(graph, {"w": np.broadcast_to(np.float32(0), (1 << 15, 1 << 15))})
    assert isinstance(caught.value, MshubError)


# ------------------------------------------------------------------------------------------ layer by layer

# What a network may write, as MindSpore and the recorder understand it; sides that no stride divides.
LAYERS = {
    "same": lambda nn, ops: nn.Conv2d(4, 6, 3, 2, pad_mode="same", group=2),
    "same, dilated": lambda nn, ops: nn.Conv2d(4, 6, (4, 3), (1, 3), pad_mode="same", dilation=(1, 2), has_bias=True),
    "valid": lambda nn, ops: nn.Conv2d(4, 4, 3, pad_mode="valid"),
    "four pads": lambda nn, ops: nn.Conv2d(4, 4, 3, 2, pad_mode="pad", padding=(0, 1, 2, 3)),
    "batch norm": lambda nn, ops: nn.SequentialCell([nn.BatchNorm2d(4, eps=0.3)]),
    "max": lambda nn, ops: nn.MaxPool2d(3, 2, pad_mode="same"),
    "max, valid": lambda nn, ops: nn.MaxPool2d((2, 3), (3, 2)),
    "mean": lambda nn, ops: nn.AvgPool2d(3, 2, pad_mode="same"),
    "pad": lambda nn, ops: nn.Pad(((0, 0), (1, 2), (0, 3), (0, 0))),
    "hard sigmoid": lambda nn, ops: nn.HSigmoid(),
    "relu6": lambda nn, ops: nn.ReLU6(),
    "sigmoid": lambda nn, ops: ops.Sigmoid(),
    "root": lambda nn, ops: lambda x: ops.Sqrt()(x * x + 2.0) + ops.sqrt(1 + x * x),
    "arithmetic": lambda nn, ops: lambda x: (2 * x) / (1.5 + x * x) + ops.mean(x, (2, 3), True),
    "sums": lambda nn, ops: lambda x: ops.ReduceSum(keep_dims=True)(x, 1) + ops.mean(x, (1, -1), True),
    "sum": lambda nn, ops: lambda x: ops.ReduceSum()(x, (1, 3)),
    "slices": lambda nn, ops: lambda x: ops.concat([x[:, 1:3], x[:, :-1], x[:, 2:]], 1)[:, :, 2:5, 1:],
    "order": lambda nn, ops: lambda x: ops.reshape(ops.transpose(x, (0, 2, 3, 1)), (ops.shape(x)[0], -1, 2)),
    "grown": lambda nn, ops: lambda x: ops.ResizeBilinearV2()(x, (10, 17)),
    "shrunk": lambda nn, ops: lambda x: ops.ResizeBilinearV2()(x, (4, 5)),
    "corners": lambda nn, ops: lambda x: ops.ResizeBilinearV2(align_corners=True)(x, (13, 10)),
    "half pixels": lambda nn, ops: lambda x: ops.ResizeBilinearV2(half_pixel_centers=True)(x, (13, 19)),
    "dense": lambda nn, ops: nn.SequentialCell(nn.Reshaped(), nn.Dense(4 * 7 * 9, 5)),
    "twice": lambda nn, ops: lambda x: (x, (ops.sqrt(x * x),) * 2),
}


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
@pytest.mark.parametrize("name", LAYERS)
def test_layers_do_as_mindspores(name: str, engine: str) -> None:
    mindspore = pytest.importorskip("mindspore")
    pytest.importorskip(engine)
    from mshub_ssd.engines import recording

    def made(nn, ops):
        class Reshaped(nn.Cell):
            def construct(self, x):
                return x.reshape(x.shape[0], -1)

        class Layers:
            def __getattr__(self, attribute: str):
                return Reshaped if attribute == "Reshaped" else getattr(nn, attribute)

        return LAYERS[name](Layers(), ops)

    # Not chosen for the process: the recorder's layers may stand beside MindSpore's, only networks may not mix them.
    theirs, ours = made(mindspore.nn, mindspore.ops), made(recording.nn, recording.ops)
    random = np.random.default_rng(3)
    arrays = {}
    if isinstance(ours, recording.Cell):
        theirs.set_train(False)
        parameters = list(theirs.get_parameters())
        assert [(p.name, p.shape) for p in ours.get_parameters()] == [(p.name, tuple(p.shape)) for p in parameters]
        for parameter in parameters:
            arrays[parameter.name] = random.uniform(0.5, 1.5, parameter.shape).astype(np.float32)
            parameter.set_data(mindspore.Tensor(arrays[parameter.name]))
    shapes = {array: (values.shape, "float32") for array, values in arrays.items()}
    graph = recording.recorded(ours, (None, 4, 7, 9), shapes)
    batch = random.uniform(-4, 4, (2, 4, 7, 9)).astype(np.float32)
    found = recordlab.runner(graph, arrays, engine).run(batch)
    expected = engines.to_arrays(theirs(mindspore.Tensor(batch)))
    compare(found, expected)


def compare(found, expected) -> None:
    """Nested alike, and close."""
    assert isinstance(found, tuple) == isinstance(expected, tuple)
    if isinstance(found, tuple):
        for one, other in zip(found, expected, strict=True):
            compare(one, other)
    else:
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5)


@pytest.mark.parametrize(
    ("what", "message"),
    [
        (lambda x: x.reshape(-1, 4), "folds the batch"),
        (lambda x: x.reshape(4, x.shape[0], -1), "in front"),
        (lambda x: x.reshape(x.shape[0], 5, -1), "cannot become"),
        (lambda x: x[0], "plain slices"),
        (lambda x: x[:1], "slices of the batch"),
        (lambda x: x[:, 5:], "along side 1"),
        (lambda x: x + "1", "operands"),
        (lambda x: x + x[:, :3], "do not fit"),
        (lambda x: x or 1, "depend on values"),
        (lambda x: None, "outputs like"),
    ],
)
def test_what_the_recorder_has_no_word_for_is_refused(what, message: str) -> None:
    from mshub_ssd.engines import recording

    with pytest.raises(UsageError, match=message):
        recording.recorded(what, (None, 4, 7, 9), {})
    with pytest.raises(UsageError, match="outside of a recording"):
        recording.nn.ReLU()(recording.Tensor("x", (None, 4)))
