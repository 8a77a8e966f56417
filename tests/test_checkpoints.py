"""Reading checkpoint files and fitting them to a network."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import save_checkpoint

from mshub_ssd import checkpoints
from mshub_ssd.errors import CheckpointError, UnsupportedFormatError
from mshub_ssd.formats import supported_format

mindspore = pytest.importorskip("mindspore")

ARRAYS = {
    "backbone.conv.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 2, 2),
    "backbone.norm.moving_mean": np.array([0.5, -1.5], np.float32),
    "backbone.norm.gamma": np.array([1, 2], np.float32),
    "head.bias": np.array([7, 8, 9], np.float32),
}
EXPECTED = {name: (array.shape, array.dtype) for name, array in ARRAYS.items()}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "net.ckpt", ARRAYS)


def assert_equal(found: dict, expected: dict) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        np.testing.assert_array_equal(found[name], array)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "int32", "int64", "float16", "float32", "float64", "bool"])
def test_every_type_is_read_as_mindspore_reads_it(tmp_path: Path, dtype: str) -> None:
    arrays = {"a": np.arange(6).reshape(3, 2).astype(dtype), "scalar": np.array(1, dtype), "one": np.ones(1, dtype)}
    path = save_checkpoint(tmp_path / "x.ckpt", arrays)
    found = checkpoints.read(path)
    for name, parameter in mindspore.load_checkpoint(str(path)).items():
        np.testing.assert_array_equal(found[name], parameter.asnumpy())
        assert found[name].shape == tuple(parameter.shape)
        assert found[name].dtype == parameter.asnumpy().dtype
    assert_equal(found, arrays)


def test_bfloat16_is_widened(tmp_path: Path) -> None:
    values = np.array([1.0, -2.5, 0.15625], np.float32)
    tensor = mindspore.Tensor(values).astype(mindspore.bfloat16)
    mindspore.save_checkpoint([{"name": "x", "data": tensor}], str(tmp_path / "x.ckpt"))
    np.testing.assert_array_equal(checkpoints.read(tmp_path / "x.ckpt")["x"], values)


def test_text_entries_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    data = [{"name": "x", "data": mindspore.Tensor(np.ones(2, np.float32))}]
    mindspore.save_checkpoint(data, str(path), append_dict={"note": "trained on a Tuesday", "epoch": 3})
    assert set(checkpoints.read(path)) == {"x", "epoch"}


def test_checksummed_files_are_checked(tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    mindspore.save_checkpoint(
        [{"name": "x", "data": mindspore.Tensor(np.ones(5, np.float32))}], str(path), crc_check=True
    )
    np.testing.assert_array_equal(checkpoints.read(path)["x"], np.ones(5, np.float32))
    path.chmod(0o644)
    content = bytearray(path.read_bytes())
    content[content.index(np.ones(1, np.float32).tobytes())] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="CRC-32"):
        checkpoints.read(path)


def test_slices_of_a_large_tensor_are_joined(tmp_path: Path) -> None:
    # MindSpore slices above 512 MiB; the layout is the same at any size.
    whole = save_checkpoint(tmp_path / "whole.ckpt", {"x": np.arange(4, dtype=np.float32)}).read_bytes()
    start = whole.index(np.float32(0).tobytes() + np.float32(1).tobytes())
    data = whole[start : start + 16]

    # The content field, its entry and the message shrink by eight bytes; all lengths are one byte each.
    def half(part: bytes) -> bytes:
        shrunk = bytearray(whole.replace(data, part))
        for at in range(len(shrunk) - 1):
            if shrunk[at] == 0x0A and shrunk[at + 1] == len(whole) - 2:
                shrunk[at + 1] -= 8
                break
        inner = whole.index(b"\x12", 4)
        shrunk[inner + 1] -= 8
        shrunk[start - 1] -= 8
        return bytes(shrunk)

    path = tmp_path / "sliced.ckpt"
    path.write_bytes(half(data[:8]) + half(data[8:]))
    np.testing.assert_array_equal(checkpoints.read(path)["x"], np.arange(4, dtype=np.float32))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>not here</html>", "not a readable"),
        (b"PK\x03\x04" + bytes(100), "not a readable"),
        (bytes(64), "not a readable"),
        (b"\x0a\xff\xff\xff\xff\x7f", "ends early"),
        (b"\x0a" + b"\x80" * 11, "64 bits"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.ckpt").write_bytes(content)
    with pytest.raises(CheckpointError, match=message) as caught:
        checkpoints.read(tmp_path / "x.ckpt")
    assert "x.ckpt" in str(caught.value)


def test_a_missing_file_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoints.read(tmp_path / "x.ckpt")


def test_a_truncated_file_is_refused_at_any_length(file: Path, tmp_path: Path) -> None:
    whole = file.read_bytes()
    cut = tmp_path / "cut.ckpt"
    complete = 0
    for length in range(len(whole)):
        cut.write_bytes(whole[:length])
        try:
            found = checkpoints.read(cut)
        except CheckpointError:
            continue
        # Between two entries a shorter file is well-formed; the strict match refuses it.
        complete += 1
        assert not checkpoints.match_parameters(found, EXPECTED)[1].ok
    assert complete == len(ARRAYS) - 1


def mutants(whole: bytes, count: int) -> Iterator[bytes]:
    draw = random.Random(7)
    for _ in range(count):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 4)):
            at = draw.randrange(len(content))
            content[at : at + draw.randint(0, 3)] = draw.randbytes(draw.randint(0, 3))
        yield bytes(content)


def outcomes(whole: bytes, folder: Path, count: int) -> dict[str, int]:
    mutant = folder / "mutant.ckpt"
    found = {"read": 0, "refused": 0}
    for content in mutants(whole, count):
        mutant.write_bytes(content)
        try:
            for array in checkpoints.read(mutant).values():
                array.tobytes()
            found["read"] += 1
        except CheckpointError:
            found["refused"] += 1
    return found


def test_mutated_files_end_in_our_error_or_a_reading(file: Path, tmp_path: Path) -> None:
    assert min(outcomes(file.read_bytes(), tmp_path, 500).values()) > 20


@pytest.mark.parametrize(("ending", "hint"), [("mindir", "GraphCell"), ("onnx", "ONNX"), ("ms", "Lite"), ("x", "card")])
def test_formats_that_cannot_be_loaded_say_what_to_do(ending: str, hint: str) -> None:
    with pytest.raises(UnsupportedFormatError, match=hint):
        supported_format("", f"https://host/net.{ending}")
    with pytest.raises(UnsupportedFormatError):
        supported_format(ending, "https://host/net.ckpt")


names = st.lists(st.sampled_from("abcdxyz"), min_size=1, max_size=3).map(".".join)


@settings(max_examples=100)
@given(
    st.sets(names, min_size=1, max_size=8),
    st.sampled_from(["", "network.", "network.network.", "backbone."]),
    st.randoms(),
)
def test_any_wrapper_and_order_is_seen_through(keys: set[str], prefix: str, draw: random.Random) -> None:
    arrays = {name: np.full((i + 1,), i, np.float32) for i, name in enumerate(sorted(keys))}
    entries = [(prefix + name, array) for name, array in arrays.items()]
    entries += [(f"moments.{prefix}{name}", np.zeros_like(array)) for name, array in arrays.items()]
    entries += [("learning_rate", np.ones(9, np.float32)), ("global_step", np.ones(1, np.int32))]
    draw.shuffle(entries)
    expected = {name: (array.shape, array.dtype) for name, array in arrays.items()}
    values, report = checkpoints.match_parameters(dict(entries), expected)
    assert report.ok
    assert_equal(values, arrays)
    assert len(report.ignored) == len(arrays) + 2
    assert set(checkpoints.without_wrapping(dict(entries), expected)) == set(arrays)


def test_what_is_missing_left_over_or_misshapen_is_listed() -> None:
    arrays = {f"network.{name}": array for name, array in ARRAYS.items()}
    arrays["network.extra.weight"] = arrays.pop("network.head.bias")
    arrays["network.backbone.norm.gamma"] = np.ones(3, np.float32)
    arrays["network.backbone.norm.moving_mean"] = np.ones(2, np.int32)
    values, report = checkpoints.match_parameters(arrays, EXPECTED)
    assert not report.ok
    assert list(values) == ["backbone.conv.weight"]
    assert report.missing == ("head.bias",)
    assert report.unexpected == ("extra.weight",)
    assert report.wrong_shape == (("backbone.norm.gamma", (2,), (3,)),)
    assert report.wrong_type == (("backbone.norm.moving_mean", "float32", "int32"),)
    assert report.prefix == "network."
    for word in ("head.bias", "extra.weight", "(2,)", "(3,)", "int32"):
        assert word in str(report)


def test_half_precision_files_fill_single_precision_networks() -> None:
    arrays = {name: array.astype(np.float16) for name, array in ARRAYS.items()}
    values, report = checkpoints.match_parameters(arrays, EXPECTED)
    assert report.ok
    assert all(array.dtype == np.float32 for array in values.values())


def test_training_state_is_left_out_without_knowing_the_network() -> None:
    arrays = {"network.a.weight": np.ones(1), "moments.network.a.weight": np.ones(1), "momentum": np.ones(1)}
    assert list(checkpoints.without_wrapping(arrays)) == ["a.weight"]
    assert list(checkpoints.without_wrapping({"network.a": np.ones(1), "b": np.ones(1)})) == ["network.a", "b"]
