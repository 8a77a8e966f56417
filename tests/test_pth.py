"""PyTorch's checkpoint files: read bit by bit, and refused with nothing run."""

from __future__ import annotations

import json
import os
import pickle
import random
import resource
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import openmmlab
import pytest
from faultserver import PATIENCE
from openmmlab import Pickle, Raw, container, pth_bytes

from mshub_ssd import checkpoints
from mshub_ssd.checkpoints.pth import read_pth_meta
from mshub_ssd.errors import CheckpointError

SAMPLES = openmmlab.DATA / "pth_samples"
GOOD = ("sample_zip", "sample_legacy", "bare_state_dict_zip")
BAD = ("malicious_zip", "malicious_legacy", "malicious_eval_in_meta")
BF16 = "@bfloat16_as_float32"


def expected_arrays(stem: str) -> dict[str, np.ndarray]:
    with np.load(SAMPLES / f"{stem}.npz") as stored:
        return {name.removesuffix(BF16): stored[name] for name in stored.files}


def read(folder: Path, content: bytes, name: str = "x.pth") -> dict[str, np.ndarray]:
    path = folder / name
    path.write_bytes(content)
    return checkpoints.read(path, "pth")


@pytest.fixture
def nothing_runs(monkeypatch: pytest.MonkeyPatch):
    """Whatever a pickle could do to run code ends the test."""

    def caught(*_: object, **__: object) -> None:
        raise SystemExit("code of the file was run")

    for module, name in ((os, "system"), (sys.modules["posix"], "system"), (subprocess, "Popen"), (os, "execv")):
        monkeypatch.setattr(module, name, caught)
    for name in ("eval", "exec"):
        monkeypatch.setattr(f"builtins.{name}", caught)
    for name in ("load", "loads", "Unpickler", "_Unpickler"):
        monkeypatch.setattr(pickle, name, caught)


@pytest.mark.parametrize("stem", GOOD)
def test_samples_are_read_bit_by_bit(stem: str) -> None:
    layout = json.loads((SAMPLES / "expected_layout.json").read_text(encoding="utf-8"))
    found = checkpoints.read(SAMPLES / f"{stem}.pth", "pth")
    expected = expected_arrays(stem)
    assert list(found) == list(layout)
    assert set(found) == set(expected)
    for name, array in expected.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].tobytes() == array.tobytes(), name
        assert not found[name].flags.writeable or not found[name].size
        if found[name].size:
            steps = tuple(step // found[name].itemsize for step in found[name].strides)
            assert steps == tuple(layout[name]["strides"])


@pytest.mark.parametrize("stem", ["sample_zip", "sample_legacy"])
def test_meta_is_read(stem: str) -> None:
    expected = json.loads((SAMPLES / "expected_meta.json").read_text(encoding="utf-8"))
    meta = read_pth_meta(SAMPLES / f"{stem}.pth")
    assert meta["raw"] == bytes(expected.pop("raw"))
    assert meta["big"] == int(expected.pop("big"))
    assert json.loads(json.dumps({name: meta[name] for name in expected})) == expected
    assert isinstance(meta["CLASSES"], tuple)
    assert read_pth_meta(SAMPLES / "bare_state_dict_zip.pth") == {}


@pytest.mark.parametrize("stem", BAD)
def test_malicious_samples_are_refused_with_nothing_run(stem: str, nothing_runs: None) -> None:
    modules = set(sys.modules)
    with pytest.raises(CheckpointError, match=r"posix\.system|__builtin__\.eval"):
        checkpoints.read(SAMPLES / f"{stem}.pth", "pth")
    assert set(sys.modules) == modules


STATE = {
    "a.weight": np.arange(24, dtype=np.float32).reshape(2, 3, 4),
    "a.bias": np.array([1.5, -2.5], np.float32),
    "count": np.array(7.0, np.float32),
}
META = {"mmdet_version": "2.28.2", "CLASSES": ("one", "two"), "epoch": 12}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("meta", [None, META])
def test_written_files_are_read(tmp_path: Path, legacy: bool, meta: dict | None) -> None:
    found = read(tmp_path, pth_bytes(STATE, meta, legacy=legacy))
    assert list(found) == list(STATE)
    for name, array in STATE.items():
        np.testing.assert_array_equal(found[name], array)
        assert found[name].shape == array.shape
    assert read_pth_meta(tmp_path / "x.pth") == (meta or {})


def crafted(opcodes: bytes, *, legacy: bool = False) -> bytes:
    """A state dict with one entry made of opcodes."""
    return pth_bytes({**STATE, "bad": Raw(opcodes)}, META, legacy=legacy)


CALL = b"X\x04\x00\x00\x00true\x85R"
MALICIOUS = {
    "system": b"cposix\nsystem\n" + CALL,
    "os.system": b"cos\nsystem\n" + CALL,
    "dotted": b"ccollections\nOrderedDict.fromkeys\n" + CALL,
    "dunder": b"ctorch._utils\n_rebuild_tensor_v2.__globals__\n" + CALL,
    "space in the name": b"ctorch\n_utils _rebuild_tensor_v2\n" + CALL,
    "getattr": b"cbuiltins\ngetattr\n" + CALL,
    "real encode": b"c_codecs\nlookup\n" + CALL,
    "encode with another codec": b"c_codecs\nencode\n(X\x01\x00\x00\x00aX\x03\x00\x00\x00hextR",
    "numpy": b"cnumpy.core.multiarray\n_reconstruct\n" + CALL,
    "torch loader": b"ctorch.storage\n_load_from_bytes\n" + CALL,
    "inst": b"(X\x04\x00\x00\x00trueiposix\nsystem\n",
    "obj": b"(cposix\nsystem\nX\x04\x00\x00\x00trueo",
    "newobj": b"ccollections\nOrderedDict\n)\x81",
    "stack global": b"\x8c\x05posix\x8c\x06system\x93" + CALL,
    "extension": b"\x82\x01",
    "text persistent id": b"Pstorage\n",
    "attributes of a dict": b"}}X\x01\x00\x00\x00aNsb",
    "attributes of a class": b"ccollections\nOrderedDict\n}X\x01\x00\x00\x00aNsb",
    "attributes from slots": b"ccollections\nOrderedDict\n)RN}X\x01\x00\x00\x00aNs\x86b",
    "call of a value": b"X\x01\x00\x00\x00a)R",
    "call of a storage class": b"ctorch\nFloatStorage\n)R",
    "list as a key": b"}](K\x01eNs",
    "tuple as a key": b"}K\x01\x85Ns",
    "string opcode of protocol 0": b"S'abc'\n",
    "mark left over": b"(",
    "memo that is not there": b"h\x63",
    "storage in a storage's name": b"(X\x07\x00\x00\x00storage(NNNNtQtQ",
}


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("case", MALICIOUS)
def test_whatever_is_not_on_the_allow_list_is_refused(
    tmp_path: Path, case: str, legacy: bool, nothing_runs: None
) -> None:
    modules = set(sys.modules)
    # Beside the state dict, where any value that can be built is let be.
    with pytest.raises(CheckpointError, match="not a readable PyTorch checkpoint"):
        read(tmp_path, pth_bytes(STATE, META, legacy=legacy, extra=MALICIOUS[case]))
    assert set(sys.modules) == modules


HARMLESS = {
    "OrderedDict of pairs": b"ccollections\nOrderedDict\n](X\x01\x00\x00\x00aN\x86e\x85R",
    "OrderedDict with attributes": b"ccollections\nOrderedDict\n)R}X\x01\x00\x00\x00aNsb",
    "bytes": b"c_codecs\nencode\n(X\x02\x00\x00\x00\xc3\xbfX\x06\x00\x00\x00latin1tR",
    "memo": b"]q\x05h\x05a",
    "numbers as keys": b"}(K\x01NJ\xff\xff\xff\xffNG?\xf0\x00\x00\x00\x00\x00\x01Nu",
}


@pytest.mark.parametrize("case", HARMLESS)
def test_plain_values_of_every_kind_are_let_be(tmp_path: Path, case: str) -> None:
    for legacy in (False, True):
        found = read(tmp_path, pth_bytes(STATE, META, legacy=legacy, extra=HARMLESS[case]))
        assert list(found) == list(STATE)


def view(count: int, offset: object, shape: object, strides: object, key: str = "0") -> bytes:
    writer = Pickle(False)
    head = b"ctorch._utils\n_rebuild_tensor_v2\n(" + writer.storage(key, "f4", count)
    arguments = b"".join(map(writer.value, (offset, shape, strides, False)))
    return head + arguments + b"ccollections\nOrderedDict\n)RtR"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((24, 0, (25,), (1,)), "reaches to element 24 of a storage of 24"),
        ((24, 1, (2, 3, 4), (12, 4, 1)), "reaches to element"),
        ((24, 20, (2, 2), (4, 1)), "reaches to element"),
        ((24, -1, (2,), (1,)), "not described"),
        ((24, 0, (-2,), (1,)), "whole numbers"),
        ((24, 0, (2,), (-1,)), "whole numbers"),
        ((24, 0, (2,), (1, 1)), "as many strides"),
        ((24, 0, (True,), (1,)), "whole numbers"),
        ((24, 0, [2], (1,)), "whole numbers"),
        ((24, 0, (1,) * 33, (1,) * 33), "at most 32"),
        ((24, 24, (1,), (1,)), "reaches to element"),
        ((24, 0, (1 << 40, 1 << 40), (0, 0)), "far larger than the file"),
        ((24, 0, (1 << 62,), (0,)), "far larger than the file"),
        ((23, 0, (23,), (1,)), "described in two ways"),
        ((1 << 62, 0, (1,), (1,), "9"), "has 46116860184"),
        ((1 << 60, 0, (1,), (1,), "9"), "missing"),
        ((24, 0, (24,), (1,), "../0"), "missing"),
    ],
)
def test_views_beyond_their_storage_are_refused(tmp_path: Path, arguments: tuple, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, crafted(view(*arguments)))


def test_old_views_of_storages_are_followed(tmp_path: Path) -> None:
    data = np.arange(10, dtype=np.float32)

    def stored(window: tuple) -> bytes:
        writer = Pickle(True)
        parts = (b"ctorch\nFloatStorage\n", *map(writer.value, ("7", "cuda:0", 10, window)))
        storage = b"(" + writer.value("storage") + b"".join(parts) + b"tQ"
        body = writer.ordered({"w": Raw(writer.rebuild(storage, 1, (2, 2), (2, 1)))})
        return container(b"\x80\x02" + body + b".", {"7": data.tobytes()}, legacy=True)

    found = read(tmp_path, stored(("8", 3, 6)))
    np.testing.assert_array_equal(found["w"], [[4, 5], [6, 7]])
    with pytest.raises(CheckpointError, match="reaches to element"):
        read(tmp_path, stored(("8", 3, 4)))
    with pytest.raises(CheckpointError, match="beyond"):
        read(tmp_path, stored(("8", 3, 8)))


def rezipped(change: dict[str, bytes | None], compression: int = zipfile.ZIP_STORED) -> bytes:
    """A good zip container with members replaced, added or left out."""
    source = Path(SAMPLES / "sample_zip.pth")
    with zipfile.ZipFile(source) as old:
        members: dict[str, bytes | None] = {info.filename: old.read(info) for info in old.infolist()}
    members |= change
    import io

    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", compression) as new:
        for name, content in members.items():
            if content is not None:
                new.writestr(name, content)
    return buffer.getvalue()


def test_a_file_zipped_again_is_read(tmp_path: Path) -> None:
    found = read(tmp_path, rezipped({}))
    assert found["view.base"].tobytes() == expected_arrays("sample_zip")["view.base"].tobytes()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>not here</html>", "neither"),
        (b"\x80\x02}q\x00.", "neither"),
        (pickle.dumps({"a": 1}, protocol=4), "neither"),
        (b"PK\x03\x04" + bytes(100), "directory of members is missing"),
        (bytes(257) + b"ustar", "neither"),
        (rezipped({}, zipfile.ZIP_DEFLATED), "compressed"),
        (rezipped({"sample_zip/constants.pkl": b""}), "TorchScript"),
        (rezipped({"sample_zip/code/x.py": b""}), "TorchScript"),
        (rezipped({"sample_zip/data.pkl": None}), r"no data\.pkl"),
        (rezipped({"other/data.pkl": b""}), r"two data\.pkl"),
        (rezipped({"sample_zip/../../x": b""}), "outside"),
        (rezipped({"/etc/x": b""}), "outside"),
        (rezipped({"sample_zip/data/0": None}), "missing"),
        (rezipped({"sample_zip/data/0": b"abcd"}), "4 bytes, not"),
        (rezipped({"sample_zip/byteorder": b"middle"}), "byte order"),
        (container(b"\x80\x02K\x01.", {}), "int, not a state dict"),
        (container(b"\x80\x04K\x01.", {}), "protocol 2"),
        (container(b"\x80\x02}.", {}), "no tensors"),
        (container(b"\x80\x02" + Pickle(False).value({"model": {"w": 1}}) + b".", {}), "'model'"),
        (container(b"\x80\x02" + Pickle(False).value({"state_dict": [1]}) + b".", {}), "state_dict is a list"),
        (container(b"\x80\x02" + b"]" * 1_000_001 + b".", {}), "steps"),
        (container(b"\x80\x02}X\x01\x00\x00\x00aNsX\x01\x00\x00\x00a", {}), "ends early"),
        (pth_bytes(STATE, {"when": Raw(b"ctorch\nFloatStorage\n")}), "plain values"),
        (pth_bytes(STATE, {"mmdet_version": "1.2.0+abc"}), r"MMDetection 1\.2\.0"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, content: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message) as caught:
        read(tmp_path, content)
    assert "x.pth" in str(caught.value)


def test_two_members_of_one_name_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "x.pth"
    path.write_bytes(rezipped({}))
    with zipfile.ZipFile(path, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("sample_zip/data.pkl", b"\x80\x02}.")
    with pytest.raises(CheckpointError, match="two members"):
        checkpoints.read(path, "pth")


def test_a_flipped_bit_of_a_stored_tensor_is_noticed(tmp_path: Path) -> None:
    content = bytearray(pth_bytes(STATE, META))
    content[content.index(STATE["a.weight"].tobytes()) + 3] ^= 1
    with pytest.raises(CheckpointError, match="CRC-32"):
        read(tmp_path, bytes(content))


def test_a_big_endian_file_is_read(tmp_path: Path) -> None:
    writer = Pickle(False)
    body = writer.ordered({"w": STATE["a.weight"]})
    swapped = {key: np.frombuffer(data, "<f4").astype(">f4").tobytes() for key, data in writer.storages.items()}
    content = container(b"\x80\x02" + body + b".", {**swapped})
    path = tmp_path / "x.pth"
    path.write_bytes(content)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("weights/byteorder", b"big")
    found = checkpoints.read(path, "pth")["w"]
    np.testing.assert_array_equal(found, STATE["a.weight"])
    assert found.dtype == np.float32


def test_a_missing_file_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="No such file"):
        checkpoints.read(tmp_path / "x.pth", "pth")


def test_a_truncated_file_is_refused_at_any_length(tmp_path: Path) -> None:
    for legacy in (False, True):
        whole = pth_bytes(STATE, META, legacy=legacy)
        for length in range(0, len(whole), 7):
            with pytest.raises(CheckpointError):
                read(tmp_path, whole[:length])


def mutants(sources: list[bytes], count: int, seed: int):
    draw = random.Random(seed)
    for _ in range(count):
        content = bytearray(draw.choice(sources))
        # Most bytes are tensors; the structure is where reading goes wrong.
        spread = draw.choice([len(content), min(len(content), 600)])
        for _ in range(draw.randint(1, 2)):
            at = draw.randrange(spread) if draw.random() < 0.7 else len(content) - 1 - draw.randrange(min(spread, 900))
            length = draw.randint(1, 3)
            # Most insertions and losses end any reading at once; changes in place go deeper.
            content[at : at + length] = draw.randbytes(length if draw.random() < 0.8 else draw.randint(0, 3))
        yield bytes(content)


def outcomes(folder: Path, count: int, seed: int) -> dict[str, int]:
    sources = [(SAMPLES / f"{stem}.pth").read_bytes() for stem in (*GOOD, *BAD)]
    sources += [pth_bytes(STATE, META, legacy=legacy) for legacy in (False, True)]
    result = {"read": 0, "refused": 0}
    for content in mutants(sources, count, seed):
        try:
            for array in read(folder, content).values():
                array.tobytes()
            result["read"] += 1
        except CheckpointError:
            result["refused"] += 1
    return result


def test_mutated_files_end_in_our_error_or_a_reading(tmp_path: Path, nothing_runs: None) -> None:
    found = outcomes(tmp_path, 600, seed=11)
    assert min(found.values()) > 20


@pytest.mark.slow
def test_two_thousand_mutated_files_stay_within_their_memory(tmp_path: Path) -> None:
    # A process of its own: the highest memory of this one is that of other tests.
    code = (
        "import resource, sys; sys.path.insert(0, sys.argv[2])\n"
        "import numpy as np, test_pth\n"
        "from mshub_ssd.checkpoints import pth\n"
        "from pathlib import Path\n"
        "idle = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "found = test_pth.outcomes(Path(sys.argv[1]), 2000, seed=12)\n"
        "print(found['read'], found['refused'], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - idle)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path), str(Path(__file__).parent)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    read_count, refused, kilobytes = map(int, done.stdout.split())
    assert read_count + refused == 2000
    assert min(read_count, refused) > 50
    assert kilobytes < 256 * 1024


def test_a_hostile_pickle_costs_little_memory(tmp_path: Path) -> None:
    bombs = [
        # A memo slot far out, a long text that is not there, deep nesting, tuples that double at each level.
        b"Nr\xff\xff\xff\x7f0",
        b"X\xff\xff\xff\xff",
        b"(" * 200_000,
        b"K\x01" + b"\x85" * 300_000,
        b"K\x01" + b"q\x00h\x00\x86" * 60 + b"q\x00}h\x00Ns",
        b"\x8a\xff" + b"\x7f" * 255 + b"0",
    ]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    for bomb in bombs:
        with pytest.raises(CheckpointError):
            read(tmp_path, crafted(bomb))
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 256 * 1024
