"""SPPNet against golden data, its parameters, and what it refuses."""

from __future__ import annotations

import numpy as np
import pytest
from networks import golden, parameters, tensor, weights

from mshub_ssd import checkpoints, networks
from mshub_ssd.errors import MismatchError, UsageError

mindspore = pytest.importorskip("mindspore")

TOLERANCE = 1e-4  # on logits, as the networks' specifications say
KEYS = ("sppnet_zfnet", "sppnet_single", "sppnet_mult")
DROPOUT = {"sppnet_zfnet": 0.35, "sppnet_single": 0.41, "sppnet_mult": 0.42}


@pytest.fixture(scope="module")
def values() -> dict[str, dict[str, np.ndarray]]:
    """Golden weights; those of single and mult are the same, and drawing 300 MB takes seconds."""
    assert parameters("sppnet_single") == parameters("sppnet_mult")
    assert golden("sppnet_single")["seed"] == golden("sppnet_mult")["seed"]
    pyramid = weights("sppnet_single")
    seed = int(golden("sppnet_zfnet")["seed"])
    assert (seed, golden("sppnet_zfnet")["gain"]) == (golden("sppnet_single")["seed"], 1)
    flat = {
        name: pyramid[name] if pyramid[name].shape == shape else tensor(name, shape, seed)
        for name, shape in parameters("sppnet_zfnet")
    }
    return {"sppnet_zfnet": flat, "sppnet_single": pyramid, "sppnet_mult": pyramid}


@pytest.fixture(scope="module", params=KEYS)
def key(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def network(key: str, values: dict[str, dict[str, np.ndarray]]):
    from mindspore.nn.utils import no_init_parameters

    with no_init_parameters():
        cell = networks.constructor(key)()
    for parameter in cell.get_parameters():
        parameter.set_data(mindspore.Tensor(values[key][parameter.name]))
    return cell.set_train(False)


@pytest.fixture(scope="module")
def small():
    """A pyramid network with few classes and narrow dense layers, built in a moment."""
    return networks.constructor("sppnet_single")(num_classes=4, hidden_units=8).set_train(False)


in_graphs = pytest.mark.parametrize("mode", ["GRAPH_MODE"], indirect=True)
step_by_step = pytest.mark.parametrize("mode", ["PYNATIVE_MODE"], indirect=True)


def noise(key: str, size: int, batch: int = 1) -> np.ndarray:
    """The golden input of this size."""
    from networks import _stream

    random = _stream(int(golden(key)["seed"]), "input")
    return random.uniform(-2.0, 2.0, (batch, 3, size, size)).astype(np.float32)


def test_parameter_names_shapes_and_order_are_the_published_ones(key: str, network) -> None:
    found = [(parameter.name, tuple(parameter.shape)) for parameter in network.get_parameters()]
    assert found == parameters(key)
    assert {str(parameter.dtype) for parameter in network.get_parameters()} == {"Float32"}


def test_logits_match_the_golden_data(key: str, network, mode: str) -> None:
    stored = golden(key)
    outputs = {"logits": 224} if key == "sppnet_zfnet" else {"logits": 224, "logits180": 180}
    assert set(outputs) == set(stored) & {"logits", "logits180"}
    assert network.config.input_sizes == tuple(outputs.values())
    for name, size in outputs.items():
        logits = network(mindspore.Tensor(noise(key, size))).asnumpy()
        assert logits.dtype == np.float32
        assert logits.shape == (1, 1000)
        np.testing.assert_allclose(logits, stored[name], rtol=0, atol=TOLERANCE)


def test_configuration(key: str, network) -> None:
    config = network.config
    assert (config.name, config.num_classes, config.image_size, config.resize) == (key, 1000, 224, 256)
    np.testing.assert_allclose(config.mean, np.array([0.485, 0.456, 0.406]) * 255)
    np.testing.assert_allclose(config.std, np.array([0.229, 0.224, 0.225]) * 255)
    # The first and last folders of ImageNet, and two birds among machines and the other way round.
    names = config.class_names
    assert (len(names), names[0], names[999][:13]) == (1000, "tench, Tinca tinca", "toilet tissue")
    assert [index for index, name in enumerate(names) if name == "crane"] == [134, 517]
    assert network.dropout.p == DROPOUT[key]
    with pytest.raises(AttributeError):
        config.num_classes = 2


@in_graphs
def test_inputs_of_other_sizes_are_refused_before_the_graph(small, mode: str) -> None:
    for shape in [(1, 3, 200, 200), (1, 3, 224, 180), (1, 1, 224, 224), (3, 224, 224), (1, 224, 224, 3)]:
        with pytest.raises(UsageError, match=r"\[B, 3, 224, 224\] or \[B, 3, 180, 180\]") as caught:
            small(mindspore.ops.zeros(shape, mindspore.float32))
        assert caught.value.got == str(list(shape))
        assert "classify" in str(caught.value.hint)


def test_zfnet_takes_one_size_only() -> None:
    cell = networks.constructor("sppnet_zfnet")(num_classes=3, hidden_units=8).set_train(False)
    assert cell(mindspore.ops.zeros((1, 3, 224, 224), mindspore.float32)).shape == (1, 3)
    with pytest.raises(UsageError, match=r"expected: \[B, 3, 224, 224\]\n"):
        cell(mindspore.ops.zeros((1, 3, 180, 180), mindspore.float32))


@step_by_step
def test_each_picture_of_a_batch_has_its_own_logits(small, mode: str) -> None:
    batch = noise("sppnet_single", 180, batch=2)
    both = small(mindspore.Tensor(batch)).asnumpy()
    assert both.shape == (2, 4)
    for index in range(2):
        alone = small(mindspore.Tensor(batch[index : index + 1])).asnumpy()
        np.testing.assert_allclose(both[index], alone[0], rtol=0, atol=1e-5)


class Loss(mindspore.nn.Cell):
    """The network inside another Cell, as in training."""

    def __init__(self, network) -> None:
        super().__init__()
        self.network = network

    def construct(self, x):
        return self.network(x).sum()


@in_graphs
def test_it_works_inside_another_cell(small, mode: str) -> None:
    image = mindspore.Tensor(noise("sppnet_single", 180))
    assert float(Loss(small).set_train(False)(image)) == pytest.approx(float(small(image).sum()), abs=1e-5)


@step_by_step
def test_every_parameter_has_a_gradient(small, mode: str) -> None:
    image = mindspore.Tensor(noise("sppnet_single", 180))
    gradients = mindspore.grad(Loss(small), grad_position=None, weights=small.trainable_params())(image)
    assert len(gradients) == 16
    for parameter, gradient in zip(small.trainable_params(), gradients, strict=True):
        assert gradient.shape == parameter.shape
        assert np.isfinite(gradient.asnumpy()).all()
        assert gradient.asnumpy().any(), parameter.name


@step_by_step
def test_training_mode_returns_logits_with_dropout(small, mode: str) -> None:
    image = mindspore.Tensor(noise("sppnet_single", 180))
    usual = small(image).asnumpy()
    small.set_train(True)
    try:
        drawn = [small(image).asnumpy() for _ in range(4)]
    finally:
        small.set_train(False)
    assert all(logits.shape == usual.shape and np.isfinite(logits).all() for logits in drawn)
    assert any(np.abs(logits - drawn[0]).max() > 0 for logits in drawn[1:])
    np.testing.assert_array_equal(small(image).asnumpy(), usual)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"num_classes": 3, "classes": ["one"]}, "number of class names"),
        ({"num_classes": 1}, "two at least"),
        ({"num_classes": True}, "two at least"),
        ({"num_classes": "10"}, "two at least"),
    ],
)
def test_arguments_that_make_no_sense_are_refused(arguments: dict, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        networks.constructor("sppnet_mult")(**arguments)


def test_class_names_are_the_cards_or_numbers() -> None:
    build = networks.constructor("sppnet_mult")
    with_names = build(num_classes=2, classes=["ant", "bee"], hidden_units=4)
    assert with_names.config.class_names == ("ant", "bee")
    assert build(num_classes=2, hidden_units=4).config.class_names == ("class 0", "class 1")


# --- checkpoints; arrays of zeros take no memory until they are written


def entries(key: str) -> dict[str, np.ndarray]:
    """What a published file holds: biases first, then weights, and the optimizer's state."""
    shapes = dict(parameters(key))
    order = sorted(shapes, key=lambda name: not name.endswith(".bias"))
    arrays = {name: np.zeros(shapes[name], np.float32) for name in order}
    arrays |= {f"moments.{name}": np.zeros(shapes[name], np.float32) for name in order}
    arrays |= {f"learning_rate_group_{group}": np.zeros(90, np.float32) for group in (0, 1)}
    return arrays | {"momentum": np.zeros((), np.float32), "global_step": np.zeros(1, np.int32)}


def expectation(key: str) -> dict:
    return {name: (shape, np.dtype(np.float32)) for name, shape in parameters(key)}


def test_published_checkpoints_fit_with_their_optimizer_state(key: str) -> None:
    arrays = entries(key)
    values, report = checkpoints.match_parameters(arrays, expectation(key))
    assert report.ok, report
    assert list(values) == [name for name, _ in parameters(key)]
    assert set(report.ignored) == set(arrays) - set(values)
    assert report.prefix == ""


def test_single_and_mult_are_one_network_and_zfnet_is_another() -> None:
    for one, other, fit in [
        ("sppnet_single", "sppnet_mult", True),
        ("sppnet_mult", "sppnet_single", True),
        ("sppnet_single", "sppnet_zfnet", False),
        ("sppnet_zfnet", "sppnet_mult", False),
    ]:
        _, report = checkpoints.match_parameters(entries(one), expectation(other))
        assert report.ok is fit
        if not fit:
            assert [name for name, _, _ in report.wrong_shape] == ["fc1.weight"]


@pytest.mark.parametrize("name", ["conv1.bias", "fc3.weight"])
def test_a_lost_or_renamed_tensor_is_refused(name: str) -> None:
    arrays = entries("sppnet_single")
    moved = arrays.pop(name)
    for more, unexpected in [({}, ()), ({f"{name}_": moved}, (f"{name}_",))]:
        _, report = checkpoints.match_parameters(arrays | more, expectation("sppnet_single"))
        assert not report.ok
        assert (report.missing, report.unexpected) == ((name,), unexpected)
        with pytest.raises(MismatchError, match=name):
            raise checkpoints.refuse(report, network="sppnet_single", where="x", hint="y")
