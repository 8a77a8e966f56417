"""Hostile, damaged and vanishing checkpoint files, and what PyTorch writes: the right values, or an error of ours."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from checkpointlab import (
    BOMBS,
    ENDLESS,
    ORDERED,
    REBUILD,
    STATE,
    beside,
    ckpt_entry,
    entry,
    overlapping,
    safe_entry,
    safetensors_bytes,
    storage,
    stretched,
    tensor,
    text,
)
from click.testing import CliRunner
from openmmlab import DATA, Pickle, container, pth_bytes

from mshub_ssd import checkpoints, files
from mshub_ssd.cli.app import cli
from mshub_ssd.errors import CheckpointError

ROOT = Path(__file__).resolve().parent.parent
LEGACY = pytest.mark.parametrize("legacy", [False, True], ids=["zip", "legacy"])
FORMATS = ("pth", "ckpt", "safetensors")
linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self and forks")


def read(folder: Path, data: bytes, kind: str = "pth") -> dict[str, np.ndarray]:
    path = folder / f"x.{kind}"
    path.write_bytes(data)
    return checkpoints.read(path, kind)


def small(kind: str) -> bytes:
    """A good file of one tensor."""
    value = np.arange(1000, dtype=np.float32)
    if kind == "pth":
        return pth_bytes({"x": value})
    if kind == "ckpt":
        return ckpt_entry("x", (1000,), "Float32", value.tobytes())
    return safetensors_bytes({"x": safe_entry("F32", [1000], 0, 4000)}, value.tobytes())


# --- signs that PyTorch leaves to be changed later


@pytest.mark.parametrize("stem", ["signs_zip", "signs_legacy"])
def test_signs_that_pytorch_puts_off_are_changed(stem: str) -> None:
    found = checkpoints.read(DATA / "pth_samples" / f"{stem}.pth", "pth")
    with np.load(DATA / "pth_samples" / "signs.npz") as wanted:
        assert set(found) == set(wanted.files)
        for name in wanted.files:
            assert found[name].dtype == wanted[name].dtype
            assert found[name].shape == wanted[name].shape
            assert found[name].tobytes() == wanted[name].tobytes(), name
            assert not found[name].flags.writeable or not found[name].size


@LEGACY
@pytest.mark.parametrize(
    ("mark", "kind"),
    [
        ({"neg": 1}, "Float"),
        ({"neg": None}, "Float"),
        ({"other": True}, "Float"),
        ({"neg": True, "other": False}, "Float"),
        ({1: True}, "Float"),
        ([], "Float"),
        ((), "Float"),
        (False, "Float"),
        ("neg", "Float"),
        ({"conj": True}, "Float"),
        ({"neg": True}, "Half"),
        ({"neg": True}, "BFloat16"),
        ({"neg": True}, "Bool"),
        ({"neg": True}, "ComplexFloat"),
        ({"neg": True, "conj": True}, "ComplexDouble"),
    ],
)
def test_marks_of_no_known_meaning_are_refused(tmp_path: Path, mark: object, kind: str, legacy: bool) -> None:
    stored = storage(kind, legacy=legacy)
    with pytest.raises(CheckpointError, match="marked"):
        read(tmp_path, entry(tensor(stored, mark=Pickle(False).value(mark)) + b"R", legacy))


@LEGACY
@pytest.mark.parametrize("mark", [None, {}, {"neg": False}, {"conj": False, "neg": False}])
def test_marks_that_are_not_set_change_nothing(tmp_path: Path, mark: object, legacy: bool) -> None:
    stored = tensor(storage(legacy=legacy), 0, (24,), (1,), Pickle(False).value(mark))
    np.testing.assert_array_equal(read(tmp_path, entry(stored + b"R", legacy))["w"], np.arange(24))


# --- little files that ask for much


@LEGACY
def test_no_value_of_the_file_is_spelled_out_unless_it_is_short(tmp_path: Path, legacy: bool) -> None:
    deep, huge = b"K\x01" + b"\x85" * 100_000, b"\x8a\xff" + b"\x7f" * 255
    for count in (ENDLESS, deep, huge, b"N", text("x" * 100_000)):
        with pytest.raises(CheckpointError, match="elements") as caught:
            read(tmp_path, entry(tensor(storage(count=count, legacy=legacy)) + b"R", legacy))
        assert len(str(caught.value)) < 1000
    with pytest.raises(CheckpointError, match="no tensor") as caught:
        read(tmp_path, container(b"\x80\x02}" + text("x" * 100_000) + deep + b"s.", {}, legacy=legacy))
    assert len(str(caught.value)) < 1000


@LEGACY
def test_work_is_charged_before_it_is_done(tmp_path: Path, legacy: bool) -> None:
    pairs = b"](" + b"".join(Pickle(False).value(number) + b"N\x86" for number in range(5000)) + b"eq\x01"
    again = b"(" + pairs + ORDERED + b"q\x02" + b"h\x02h\x01\x85R" * 1000 + b"t"
    with pytest.raises(CheckpointError, match="steps"):
        read(tmp_path, beside(again, legacy))
    many = text("x" * 200_000) + b"q\x01" + text("latin1") + b"\x86q\x02c_codecs\nencode\nq\x03"
    with pytest.raises(CheckpointError, match="bytes of text"):
        read(tmp_path, beside(b"(" + many + b"h\x03h\x02R" * 1000 + b"t", legacy))
    sides = tensor(storage(legacy=legacy), 0, (1,) * 32, (0,) * 32)[len(REBUILD) :]
    with pytest.raises(CheckpointError, match="steps"):
        read(tmp_path, entry(b"(" + REBUILD + b"q\x01" + sides + b"q\x02" + b"h\x01h\x02R" * 20_000 + b"t", legacy))
    # All of one hash.
    numbers = b"".join(Pickle(False).value(number * ((1 << 61) - 1)) + b"N" for number in range(1, 200))
    with pytest.raises(CheckpointError, match="has the key 23058"):
        read(tmp_path, beside(b"}(" + numbers + b"u", legacy))


def test_a_checkpoint_with_its_optimizer_is_no_bomb(tmp_path: Path) -> None:
    state = {f"layer{number}.weight": np.full(3, number, np.float32) for number in range(2000)}
    moment = tensor(storage(count=b"K\x03"), 0, (3,), (1,)) + b"R"
    for legacy in (False, True):
        moment = tensor(storage(count=b"K\x03", legacy=legacy), 0, (3,), (1,)) + b"R"
        # Old versions used addresses as keys.
        slots = (
            Pickle(legacy).value((1 << 47) + number)
            + b"}("
            + text("exp_avg")
            + moment
            + text("exp_avg_sq")
            + moment
            + b"u"
            for number in range(2000)
        )
        found = read(tmp_path, pth_bytes(state, {}, legacy=legacy, extra=b"}(" + b"".join(slots) + b"u"))
        assert len(found) == 2000


@pytest.mark.parametrize(
    ("data", "message"),
    [(overlapping(40, 2000), "members overlap"), (stretched(pth_bytes(STATE)), "overlap its directory")],
)
def test_zip_members_that_overlap_are_refused(tmp_path: Path, data: bytes, message: str) -> None:
    with pytest.raises(CheckpointError, match=message):
        read(tmp_path, data)


# --- numbers beyond NumPy and Python


LIMITS = [name for name in BOMBS if name.split(": ")[-1].startswith(("empty of", "side of", "40 sides", "lone"))]


@pytest.mark.parametrize("name", LIMITS)
def test_shapes_and_names_beyond_all_bounds_are_our_error(tmp_path: Path, name: str) -> None:
    kind, make = BOMBS[name]
    with pytest.raises(CheckpointError, match=r"x\."):
        read(tmp_path, make(0), kind)
    done = CliRunner().invoke(cli, ["convert", str(tmp_path / f"x.{kind}"), str(tmp_path / "new.ckpt")])
    assert isinstance(done.exception, SystemExit)
    assert done.exit_code == 1
    assert "not a readable" in done.output


@LEGACY
def test_the_stride_of_a_single_element_may_be_any_number(tmp_path: Path, legacy: bool) -> None:
    for offset, strides in ((0, (1 << 62,)), (23, ((1 << 63) - 1,))):
        found = read(tmp_path, entry(tensor(storage(legacy=legacy), offset, (1,), strides) + b"R", legacy))
        assert found["w"].tolist() == [offset]


@LEGACY
@pytest.mark.parametrize("offset", [0, 6, 24, 25, 1 << 62])
def test_tensors_without_elements_may_begin_anywhere(tmp_path: Path, offset: int, legacy: bool) -> None:
    found = read(tmp_path, entry(tensor(storage(legacy=legacy), offset, (3, 0), (1, 1)) + b"R", legacy))
    assert found["w"].shape == (3, 0)
    assert found["w"].dtype == np.float32


@pytest.mark.parametrize("kind", FORMATS)
def test_truth_values_are_0_or_1(tmp_path: Path, kind: str) -> None:
    for value in (0, 1, 2, 255):
        bits = bytes([0, 1, value])
        data = {
            "pth": pth_bytes({"x": np.frombuffer(bits, np.bool_)}),
            "ckpt": ckpt_entry("x", (3,), "Bool", bits),
            "safetensors": safetensors_bytes({"x": safe_entry("BOOL", [3], 0, 3)}, bits),
        }[kind]
        if value < 2:
            assert read(tmp_path, data, kind)["x"].tolist() == [False, True, bool(value)]
        else:
            with pytest.raises(CheckpointError, match="truth value"):
                read(tmp_path, data, kind)


# --- files that are none, change, or vanish


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_may_become_shorter_after_it_was_read(tmp_path: Path, kind: str) -> None:
    # In a process of its own: one that reads a map beyond the file's end is killed.
    path = tmp_path / f"x.{kind}"
    path.write_bytes(small(kind))
    code = (
        "import os, sys; from pathlib import Path; from mshub_ssd import checkpoints\n"
        "arrays = checkpoints.read(Path(sys.argv[1]), sys.argv[2])\n"
        "os.truncate(sys.argv[1], 0)\n"
        "print(arrays['x'].sum())\n"
    )
    done = subprocess.run([sys.executable, "-c", code, path, kind], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "499500.0\n")


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_may_change_while_it_is_read(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / f"x.{kind}"
    change = b""
    real = files.open_regular

    def opened(place: Path, **options: bool) -> object:
        stream = real(place, **options)

        class Slow:
            fileno = stream.fileno

            def __enter__(self) -> Slow:
                return self

            def __exit__(self, *_: object) -> None:
                stream.close()

            def readinto(self, room: memoryview) -> int:
                if change:
                    with path.open("ab") as file:
                        file.write(change)
                else:
                    os.truncate(path, 200)
                return stream.readinto(room[:100])

        return Slow()

    monkeypatch.setattr(files, "open_regular", opened)
    path.write_bytes(small(kind))
    with pytest.raises(CheckpointError, match="shorter"):
        checkpoints.read(path, kind)
    change = b"more"
    path.write_bytes(small(kind))
    assert checkpoints.read(path, kind)["x"].sum() == 499500


@pytest.mark.parametrize("kind", FORMATS)
def test_bytes_that_were_read_already_are_used(tmp_path: Path, kind: str) -> None:
    data = small(kind)
    for given in (data, memoryview(data), memoryview(bytearray(data))):
        found = checkpoints.read(tmp_path / "none", kind, content=given)["x"]
        assert found.sum() == 499500
        assert not found.flags.writeable
    changing = bytearray(data)
    found = checkpoints.read(tmp_path / "none", kind, content=memoryview(changing))["x"]
    changing[:] = bytes(len(data))
    assert found.sum() == 499500
    with pytest.raises(CheckpointError, match="none"):
        checkpoints.read(tmp_path / "none", kind, content=data[:-1])
    with pytest.raises(CheckpointError, match="empty"):
        checkpoints.read(tmp_path / "none", kind, content=b"")


@pytest.mark.parametrize("kind", FORMATS)
def test_only_regular_files_are_opened(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    fifo, place, link = (tmp_path / f"{name}.{kind}" for name in ("fifo", "socket", "link"))
    os.mkfifo(fifo)
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(place.name)
        link.symlink_to("/dev/zero")
        for path in (fifo, place, link, tmp_path):
            with pytest.raises(CheckpointError, match="not a regular file"):
                checkpoints.read(path, kind)
    # In a process of its own, since it might wait for ever.
    command = [sys.executable, "-m", "mshub_ssd", "convert", fifo, tmp_path / "new.ckpt"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 1
    assert "not a regular file" in done.stderr


@linux
@pytest.mark.parametrize(("kind", "size", "room"), [("ckpt", 4 << 30, 1 << 30), ("safetensors", 64 << 20, 100 << 20)])
def test_too_little_memory_is_our_error(tmp_path: Path, kind: str, size: int, room: int) -> None:
    # A file with a hole; the second one is read, but cannot be copied.
    with (tmp_path / f"x.{kind}").open("wb") as file:
        file.write(safetensors_bytes({"x": safe_entry("U8", [size], 0, size)}))
        file.truncate(file.tell() + size)
    code = (
        "import re, resource, sys; from pathlib import Path; from mshub_ssd import checkpoints, errors\n"
        "import mshub_ssd.checkpoints.ckpt, safetensors\n"
        "room = int(re.search('VmSize:.* ([0-9]+) kB', Path('/proc/self/status').read_text())[1]) * 1024\n"
        "resource.setrlimit(resource.RLIMIT_AS, (room + int(sys.argv[3]),) * 2)\n"
        "try: checkpoints.read(Path(sys.argv[1]), sys.argv[2])\n"
        "except errors.CheckpointError as error: print(error)\n"
    )
    command = [sys.executable, "-c", code, tmp_path / f"x.{kind}", kind, str(room)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stderr
    assert "not enough memory" in done.stdout
    assert "next:" in done.stdout


# --- anything at all


def fuzz(folder: Path, *arguments: str) -> dict:
    """What the benchmark measures, in a process whose memory is no other test's."""
    report = folder / "report.json"
    command = [sys.executable, ROOT / "benchmarks" / "checkpoint_fuzz.py", "--json", report, *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(report.read_text(encoding="utf-8"))


@linux
def test_bombs_and_damaged_files_cost_little_and_end_in_our_error(tmp_path: Path) -> None:
    found = fuzz(tmp_path, "--count", "400", "--size", "50000", "--seed", "2", "--only", "bombs", "--only", "mutations")
    assert found["bombs"]["files"] == len(BOMBS)
    assert found["mutations"]["files"] == 400


@linux
@pytest.mark.slow
def test_fifty_thousand_damaged_files_and_the_largest_bombs(tmp_path: Path) -> None:
    found = fuzz(tmp_path, "--seed", "3", "--only", "bombs", "--only", "mutations")
    assert found["mutations"]["files"] == 50_000


@linux
@pytest.mark.slow
def test_ten_thousand_files_of_pytorch_are_read_bit_by_bit(tmp_path: Path) -> None:
    pytest.importorskip("torch")
    found = fuzz(tmp_path, "--seed", "3", "--only", "torch")["torch"]
    assert found["files"] == 10_000
    assert found["different"] == 0
    assert found["read, bit-equal"] > 8000
