"""Names of PyTorch's files to MindSpore's, other formats, and ``mshub convert``."""

from __future__ import annotations

import hashlib
import json
import random
import re
from pathlib import Path

import numpy as np
import openmmlab
import pytest
from click.testing import CliRunner, Result
from faultserver import FaultServer
from hypothesis import given, settings
from hypothesis import strategies as st
from openmmlab import pth_bytes

import mshub_ssd as mshub
from mshub_ssd import checkpoints, networks
from mshub_ssd.checkpoints.torch_names import OLD_LAYOUT, translate
from mshub_ssd.cli.app import cli
from mshub_ssd.errors import CheckpointError, IntegrityError, MismatchError, UsageError
from mshub_ssd.formats import supported_format

mindspore = pytest.importorskip("mindspore")

VGG = ("openmmlab_ssd300", "openmmlab_ssd512")
LITE = "openmmlab_ssdlite_mobilenetv2"

# Small files with the names of large ones.
TORCH = {
    "backbone.conv1.conv.weight": np.arange(18, dtype=np.float32).reshape(2, 1, 3, 3),
    "backbone.conv1.bn.weight": np.array([1, 2], np.float32),
    "backbone.conv1.bn.bias": np.array([3, 4], np.float32),
    "backbone.conv1.bn.running_mean": np.array([5, 6], np.float32),
    "backbone.conv1.bn.running_var": np.array([7, 8], np.float32),
    "backbone.conv1.bn.num_batches_tracked": np.array(9, np.int64),
    "head.bias": np.array([1], np.float32),
}
MINDSPORE = {
    "backbone.conv1.conv.weight": "backbone.conv1.conv.weight",
    "backbone.conv1.bn.gamma": "backbone.conv1.bn.weight",
    "backbone.conv1.bn.beta": "backbone.conv1.bn.bias",
    "backbone.conv1.bn.moving_mean": "backbone.conv1.bn.running_mean",
    "backbone.conv1.bn.moving_variance": "backbone.conv1.bn.running_var",
    "head.bias": "head.bias",
}
OLD = {
    "backbone.features.0.weight": np.full((2, 3), 1, np.float32),
    **{f"backbone.extra.{i}.{part}": np.full(3, i, np.float32) for i in range(12) for part in ("weight", "bias")},
    "backbone.l2_norm.weight": np.full(2, 20, np.float32),
    **{f"bbox_head.reg_convs.{i}.bias": np.full(4, -i, np.float32) for i in (0, 9, 10)},
    **{f"bbox_head.cls_convs.{i}.weight": np.full(4, i, np.float32) for i in (0, 9, 10)},
}


def expected_of(arrays: dict[str, np.ndarray]) -> dict[str, tuple]:
    return {name: (array.shape, array.dtype) for name, array in arrays.items()}


def assert_equal(found: dict, expected: dict) -> None:
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes(), name


def test_batch_norms_get_mindspores_names() -> None:
    found = translate(TORCH)
    assert {new: old for old, new in found.names.items()} == MINDSPORE
    assert found.dropped == ("backbone.conv1.bn.num_batches_tracked",)
    assert found.layout == ""
    values, report = checkpoints.match_parameters(
        TORCH, {name: (TORCH[old].shape, TORCH[old].dtype) for name, old in MINDSPORE.items()}
    )
    assert report.ok
    assert report.ignored == found.dropped
    assert all(np.array_equal(values[name], TORCH[old]) for name, old in MINDSPORE.items())


def test_names_that_only_look_like_a_batch_norms_stay() -> None:
    # No statistics beside them: a counter of something else, a weight of a convolution.
    names = ["a.weight", "a.bias", "a.num_batches_tracked", "b.running_var"]
    assert translate(names).names == {name: name for name in names}
    # A network that spells them as PyTorch does keeps its spelling.
    assert translate(TORCH, TORCH).names == {name: name for name in TORCH}
    both = ["a.weight", "a.gamma", "a.running_mean"]
    assert translate(both).names == {"a.weight": "a.weight", "a.gamma": "a.gamma", "a.running_mean": "a.moving_mean"}


@pytest.mark.parametrize("key", VGG[:1])
def test_the_old_layout_is_the_published_new_one(key: str) -> None:
    old = [name for name, _ in openmmlab.parameters(key, "old_params")]
    new = [name for name, _ in openmmlab.parameters(key)]
    found = translate(old)
    assert found.layout == OLD_LAYOUT
    assert sorted(found.names.values()) == sorted(new)
    shapes = dict(openmmlab.parameters(key, "old_params"))
    assert {found.names[name]: shape for name, shape in shapes.items()} == dict(openmmlab.parameters(key))


@pytest.mark.parametrize("key", openmmlab.KEYS)
def test_translating_twice_is_translating_once(key: str) -> None:
    once = translate(name for name, _ in openmmlab.parameters(key))
    assert once.layout == ""
    again = translate(once.names.values())
    assert list(again.names.values()) == list(once.names.values()) == list(again.names)
    assert again.dropped == ()
    assert (key == LITE) == any(old != new for old, new in once.names.items())


words = st.sampled_from(["backbone", "neck", "extra", "extra_layers", "l2_norm", "bbox_head", "cls_convs", "0", "10"])
tails = st.sampled_from(["weight", "bias", "running_mean", "running_var", "num_batches_tracked", "gamma"])
paths = st.tuples(st.lists(words, max_size=4), tails).map(lambda parts: ".".join([*parts[0], parts[1]]))


@settings(max_examples=300)
@given(st.sets(paths, max_size=12))
def test_no_two_names_become_one_and_a_second_time_changes_nothing(names: set[str]) -> None:
    listed = sorted(names)
    once = translate(listed)
    assert set(once.names) | set(once.dropped) == names
    assert not set(once.names) & set(once.dropped)
    new = list(once.names.values())
    assert len(set(new)) == len(new)
    # Where both spellings of one name were there, neither is touched; else a second time finds nothing to do.
    fresh = {name for name in names if not {"gamma", "neck"} & set(name.split(".")) and ".0." not in name}
    new = list(translate(fresh).names.values())
    assert translate(new).names == {name: name for name in new}


def test_two_digit_levels_and_prefixes_are_translated() -> None:
    found = translate(f"module.{name}" for name in OLD).names
    assert found["module.backbone.extra.11.bias"] == "module.neck.extra_layers.5.1.conv.bias"
    assert found["module.bbox_head.cls_convs.10.weight"] == "module.bbox_head.cls_convs.10.0.weight"
    assert found["module.backbone.l2_norm.weight"] == "module.neck.l2_norm.weight"
    plain = {translate(OLD).names[name]: array for name, array in OLD.items()}
    prefixed = {f"module.{name}": array for name, array in OLD.items()}
    values, report = checkpoints.match_parameters(prefixed, expected_of(plain))
    assert report.ok
    assert report.prefix == "module."
    assert report.layout == OLD_LAYOUT
    assert_equal(values, plain)


@pytest.fixture
def safetensors_file(tmp_path: Path) -> Path:
    from safetensors.numpy import save_file

    save_file(TORCH, str(tmp_path / "x.safetensors"))
    return tmp_path / "x.safetensors"


def test_safetensors_are_read(safetensors_file: Path) -> None:
    found = checkpoints.read(safetensors_file, "safetensors")
    assert_equal(found, dict(sorted(TORCH.items())))
    assert supported_format("", "https://host/x.safetensors?download=1") == "safetensors"


def test_safetensors_of_bfloat16_are_widened(tmp_path: Path) -> None:
    header = json.dumps({"w": {"dtype": "BF16", "shape": [3], "data_offsets": [0, 6]}}).encode()
    content = len(header).to_bytes(8, "little") + header + np.array([0x3F80, 0xC020, 0x3E20], "<u2").tobytes()
    (tmp_path / "x.safetensors").write_bytes(content)
    found = checkpoints.read(tmp_path / "x.safetensors", "safetensors")["w"]
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, [1.0, -2.5, 0.15625])


def test_damaged_safetensors_are_refused(safetensors_file: Path, tmp_path: Path) -> None:
    whole = safetensors_file.read_bytes()
    path = tmp_path / "cut.safetensors"
    for content in [b"", b"\xff" * 40, whole[:-1], whole[:20], whole + b"x", b"PK\x03\x04" + bytes(60)]:
        path.write_bytes(content)
        with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
            checkpoints.read(path, "safetensors")
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoints.read(tmp_path / "none.safetensors", "safetensors")


def test_mutated_safetensors_end_in_our_error_or_a_reading(safetensors_file: Path, tmp_path: Path) -> None:
    whole = safetensors_file.read_bytes()
    draw = random.Random(3)
    path = tmp_path / "mutant.safetensors"
    outcomes = {"read": 0, "refused": 0}
    for _ in range(300):
        content = bytearray(whole)
        for _ in range(draw.randint(1, 3)):
            at = draw.randrange(len(content))
            # Digits and letters in place of each other leave the header readable more often than noise does.
            content[at : at + 1] = draw.choice([b"0", b"1", b"9", b"F", b'"', draw.randbytes(1)])
        path.write_bytes(content)
        try:
            checkpoints.read(path, "safetensors")
            outcomes["read"] += 1
        except CheckpointError:
            outcomes["refused"] += 1
    assert min(outcomes.values()) > 20


DTYPES = ["int8", "uint8", "int16", "uint16", "int32", "int64", "float16", "float32", "float64", "bool"]


@pytest.mark.parametrize("ending", [".ckpt", ".safetensors"])
def test_what_is_written_is_read(tmp_path: Path, ending: str) -> None:
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in DTYPES}
    arrays |= {"scalar": np.array(3, np.int64), "none": np.zeros((0, 4), np.float32), "turned": np.ones((200, 3)).T}
    path = tmp_path / f"x{ending}"
    checkpoints.write(path, arrays)
    found = checkpoints.read(path, ending[1:])
    assert_equal({name: found[name] for name in arrays}, arrays)
    assert path.stat().st_mode & 0o400
    assert not list(tmp_path.glob(".x*"))
    with pytest.raises(UsageError, match="there already"):
        checkpoints.write(path, arrays)
    with pytest.raises(CheckpointError, match="complex64"):
        checkpoints.write(path, {"c": np.ones(2, np.complex64)}, overwrite=True)
    assert_equal({name: checkpoints.read(path, ending[1:])[name] for name in arrays}, arrays)
    with pytest.raises(CheckpointError, match="cannot be written"):
        checkpoints.write(tmp_path / "no" / f"x{ending}", arrays)


def test_mindspore_reads_what_is_written(tmp_path: Path) -> None:
    arrays = {name: np.arange(6).reshape(2, 3).astype(name) for name in ("float32", "float16", "int32", "bool")}
    arrays["scalar"] = np.array(2.5, np.float32)
    checkpoints.write(tmp_path / "x.ckpt", arrays)
    for name, parameter in mindspore.load_checkpoint(str(tmp_path / "x.ckpt")).items():
        np.testing.assert_array_equal(parameter.asnumpy(), arrays[name])
        assert tuple(parameter.shape) == arrays[name].shape


def convert(*arguments: object) -> Result:
    return CliRunner().invoke(cli, ["convert", *map(str, arguments)])


@pytest.mark.parametrize("ending", [".ckpt", ".safetensors"])
@pytest.mark.parametrize("legacy", [False, True])
def test_convert_writes_the_new_names_and_changes_nothing_more(tmp_path: Path, ending: str, legacy: bool) -> None:
    (tmp_path / "old.pth").write_bytes(pth_bytes(OLD, {"mmdet_version": "2.3.0"}, legacy=legacy))
    new = tmp_path / f"new{ending}"
    done = convert(tmp_path / "old.pth", new, "--json")
    assert done.exit_code == 0, done.output
    answer = json.loads(done.stdout)
    assert answer["layout"] == OLD_LAYOUT
    assert answer["tensors"] == len(OLD)
    assert answer["renamed"] == len(OLD) - 1
    found = checkpoints.read(new, ending[1:])
    wanted = {translate(OLD).names[name]: array for name, array in OLD.items()}
    assert_equal({name: found[name] for name in wanted}, wanted)

    again = tmp_path / f"again{ending}"
    done = convert(new, again, "--json")
    assert json.loads(done.stdout)["renamed"] == 0
    assert again.read_bytes() == new.read_bytes()


def test_convert_refuses_to_overwrite_and_says_what_is_wrong(tmp_path: Path) -> None:
    old, new = tmp_path / "old.pth", tmp_path / "new.ckpt"
    old.write_bytes(pth_bytes(TORCH | {"backbone.conv1.bn.num_batches_tracked": np.ones(2, np.float32)}))
    new.write_bytes(b"mine")
    refused = convert(old, new)
    assert refused.exit_code == 1
    assert "--force" in refused.output
    assert new.read_bytes() == b"mine"
    done = convert(old, new, "--force")
    assert done.exit_code == 0
    assert "4 renamed" in done.output
    assert "1 counters left out" in done.output
    assert list(checkpoints.read(new)) == list(MINDSPORE)

    assert convert(old, tmp_path / "new.bin").exit_code == 2
    assert convert(tmp_path / "none.pth", tmp_path / "n.ckpt").exit_code == 1
    (tmp_path / "bad.pth").write_bytes((openmmlab.DATA / "pth_samples" / "malicious_zip.pth").read_bytes())
    bad = convert(tmp_path / "bad.pth", tmp_path / "n.ckpt")
    assert bad.exit_code == 1
    assert "malicious" in bad.output
    assert not (tmp_path / "n.ckpt").exists()
    wrong = convert(old, tmp_path / "n.ckpt", "--network", LITE)
    assert wrong.exit_code == 1
    assert "does not fit" in wrong.output
    assert not (tmp_path / "n.ckpt").exists()


def put_card(root: Path, key: str, link: str, digest: str) -> str:
    path = root / "somebody" / "1.0" / "net_coco2017.md"
    path.parent.mkdir(parents=True)
    path.write_text(
        f"# net\n\n---\n\nmodel-name: ssd300\n\nnetwork: {key}\n\nasset:\n- file-format: pth\n  asset-link: {link}\n"
        f"  asset-sha256: {digest}\n\n---\n\n## Introduction\n",
        encoding="utf-8",
    )
    return "somebody/1.0/net_coco2017"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    return tmp_path / "cards"


def test_a_card_with_a_short_digest_leads_to_a_network(root: Path, fault_server: FaultServer, tmp_path: Path) -> None:
    state = openmmlab.weights(LITE)
    content = pth_bytes(state, {"mmdet_version": "2.13.0"})
    digest = hashlib.sha256(content).hexdigest()[:8]
    url = fault_server.add(f"/ssd/ssdlite_coco-{digest}.pth", content)
    uid = put_card(root, LITE, url, digest)
    network = mshub.load(uid)
    assert network.load_report.ok
    assert len(network.load_report.ignored) == 76
    for parameter in network.get_parameters():
        stem, _, last = parameter.name.rpartition(".")
        spelled = {"gamma": "weight", "beta": "bias", "moving_mean": "running_mean", "moving_variance": "running_var"}
        name = f"{stem}.{spelled.get(last, last)}"
        np.testing.assert_array_equal(parameter.asnumpy(), state[name])
    assert mshub.fetch(uid).read_bytes() == content
    weights = mshub.load_weights(uid)
    assert set(weights) == {parameter.name for parameter in network.get_parameters()}

    other = fault_server.add("/ssd/other.pth", content + b"x")
    (root / "somebody" / "1.0" / "net_coco2017.md").unlink()
    (root / "somebody" / "1.0").rmdir()
    (root / "somebody").rmdir()
    changed = put_card(root, LITE, other, digest[:7] + ("0" if digest[7] != "0" else "1"))
    with pytest.raises(IntegrityError):
        mshub.load(changed)


def test_an_old_file_is_recognised_and_converted_on_load(root: Path) -> None:
    key = "openmmlab_ssd300"
    old = openmmlab.old_weights(key)
    content = pth_bytes(
        {f"module.{name}": array for name, array in old.items()}, {"mmdet_version": "2.3.0"}, legacy=True
    )
    digest = hashlib.sha256(content).hexdigest()
    uid = put_card(root, key, "old.pth", digest)
    file = root / "somebody" / "1.0" / "old.pth"
    file.write_bytes(content)
    network = mshub.load(uid)
    assert network.load_report.layout == OLD_LAYOUT
    new = openmmlab.weights(key)
    for parameter in network.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), new[parameter.name])

    target = file.with_name("new.safetensors")
    done = convert(file, target, "--network", key)
    assert done.exit_code == 0, done.output
    assert_equal(checkpoints.read(target, "safetensors"), dict(sorted(new.items())))
    # The published 300 and 512 differ in their extra levels.
    wrong = convert(target, file.with_name("512.ckpt"), "--network", "openmmlab_ssd512")
    assert wrong.exit_code == 1
    assert re.search(r"neck\.extra_layers\.4\.0\.conv\.weight", wrong.output)
    assert "the parameters of openmmlab_ssd300" in wrong.output


def test_a_file_of_mmdetection_1_is_refused(root: Path) -> None:
    content = pth_bytes(OLD, {"mmdet_version": "1.0rc1"})
    uid = put_card(root, "openmmlab_ssd300", "old.pth", hashlib.sha256(content).hexdigest())
    (root / "somebody" / "1.0" / "old.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match="background was the first class"):
        mshub.load(uid)


def test_every_network_refuses_the_other_two(root: Path) -> None:
    for key in openmmlab.KEYS:
        expected = {
            parameter.name: (tuple(parameter.shape), np.dtype("float32"))
            for parameter in networks.constructor(key)().get_parameters()
        }
        for other in openmmlab.KEYS:
            shapes = {name: np.broadcast_to(np.float32(0), shape) for name, shape in openmmlab.parameters(other)}
            _, report = checkpoints.match_parameters(shapes, expected)
            assert report.ok == (key == other)
            if key != other:
                with pytest.raises(MismatchError, match=r"(missing|unexpected) in the file"):
                    raise checkpoints.refuse(report, network=key, where="x.pth", hint="")
