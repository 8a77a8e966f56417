"""Pictures in plenty: streams that go on, results in files, runs that were killed, videos."""

from __future__ import annotations

import io
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from commands import PATIENCE, answer, environment, refused, run
from PIL import Image

import mshub_ssd as mshub
from mshub_ssd.ahead import Limits, Stop, in_order
from mshub_ssd.bulk import VideoFile, frames
from mshub_ssd.cli.app import cli
from mshub_ssd.errors import ImageError, UsageError
from mshub_ssd.results import row_of

pytest.importorskip("openvino")
cv2 = pytest.importorskip("cv2")

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
DEMO = Path(mshub.__file__).parent / "cli" / "demo_digits.png"
MODEL = ("--model", DIGITS, "--max-detections", "3", "--engine", "openvino")


def workers() -> list[str]:
    """Threads that streams started and did not end."""
    return [thread.name for thread in threading.enumerate() if thread.name.startswith("mshub-")]


class Doubling:
    """Work on numbers: each is doubled; a text is what an error says."""

    def __init__(self, wait: Callable[[object], None] = lambda thing: None) -> None:
        self.wait, self.dropped, self.prepared = wait, 0, 0

    def prepare(self, thing: object, stop: Stop) -> object:
        self.prepared += 1
        self.wait(thing)
        if isinstance(thing, str):
            raise ValueError(thing)
        return thing

    def start(self, batch: Sequence[int]) -> list[int]:
        return [2 * number for number in batch]

    def is_done(self, running: list[int], seconds: float) -> bool:
        return True

    def finish(self, running: list[int]) -> list[int]:
        return running

    def drop(self, running: list[int]) -> None:
        self.dropped += 1


def limits(under_way: int = 9, running: int = 3) -> Limits:
    return Limits(under_way, 3, running)


@pytest.mark.parametrize("batch", [1, 4])
@pytest.mark.parametrize("count", [0, 1, 7, 200])
def test_results_come_in_order_however_long_each_takes(batch: int, count: int) -> None:
    chance = random.Random(0)
    work = Doubling(lambda thing: time.sleep(chance.random() / 2000))
    done = list(in_order(range(count), work, limits(), batch=batch))
    assert done == [2 * number for number in range(count)]
    assert not workers()


def test_errors_come_in_their_place_and_leave_nothing() -> None:
    def source() -> Iterator[int]:
        yield from range(5)
        raise KeyError("the source")

    for things, expected in ((source(), KeyError), ([0, 1, 2, 3, 4, "work", 6], ValueError)):
        stream = in_order(things, Doubling(), limits())
        assert [next(stream) for _ in range(5)] == [0, 2, 4, 6, 8]
        with pytest.raises(expected):
            next(stream)
        assert not workers()


def test_a_slow_source_does_not_hold_back_what_is_done() -> None:
    given: list[int] = []

    def source() -> Iterator[int]:
        for number in range(4):
            time.sleep(0.1)
            given.append(number)
            yield number

    behind = [len(given) - 1 - result // 2 for result in in_order(source(), Doubling(), limits())]
    assert max(behind[1:]) == 0, "each result is out before the next thing is asked for"


def test_who_waits_long_gets_help_and_who_leaves_is_not_waited_for() -> None:
    gate, working = threading.Event(), threading.Semaphore(0)

    def wait(thing: object) -> None:
        working.release()
        gate.wait(PATIENCE)

    work = Doubling(wait)
    stream = in_order(range(100), work, limits(under_way=8))
    consumer = threading.Thread(target=lambda: next(stream))
    consumer.start()
    for _ in range(6):
        assert working.acquire(timeout=PATIENCE), "several threads read where one takes long"
    gate.set()
    consumer.join()
    stream.close()
    assert not workers()
    assert work.prepared <= 9


@pytest.fixture(scope="module")
def predict() -> Iterator[mshub.Predictor]:
    with mshub.Predictor(DIGITS, engine="openvino") as made:
        yield made


def broken(folder: Path) -> list[Path]:
    """One of each kind of picture that is none."""
    folder.mkdir()
    good = DEMO.read_bytes()
    (folder / "cut.png").write_bytes(good[: len(good) // 2])
    stream = io.BytesIO()
    Image.open(DEMO).convert("RGB").save(stream, "JPEG")
    (folder / "cut.jpg").write_bytes(stream.getvalue()[:-2000])
    (folder / "text.png").write_text("no picture")
    (folder / "empty.jpg").write_bytes(b"")
    (folder / "gone.png").symlink_to("nowhere.png")
    os.mkfifo(folder / "fifo.png")
    bomb = io.BytesIO()
    Image.new("1", (20_000, 20_000)).save(bomb, "PNG")
    (folder / "bomb.png").write_bytes(bomb.getvalue())
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(folder / "socket.png"))
    return sorted(folder.iterdir())


def test_a_broken_picture_has_its_place_in_a_stream(
    predict: mshub.Predictor, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    bad = broken(tmp_path / "bad")
    mixed = [thing for one in bad for thing in (one, DEMO)]
    for options in ({}, {"batch": 3}, {"prefetch": 0}):
        found = list(predict.stream([*mixed, None, np.zeros((3, 3)), DEMO], **options))
        assert [isinstance(one, mshub.Failure) for one in found] == [True, False] * len(bad) + [True, True, False]
        assert [one.image for one in found[::2][: len(bad)]] == [str(path) for path in bad]
        assert all(isinstance(one.error, ImageError) for one in found if isinstance(one, mshub.Failure))
    expected = predict(DEMO).to_dict()
    assert all(one.to_dict() == expected for one in found if isinstance(one, mshub.Detections))
    passed = mshub.Failure("x", ImageError("known before"))
    assert list(predict.stream([passed])) == [passed]


def test_a_stream_of_one_picture_is_a_mistake(predict: mshub.Predictor) -> None:
    for wrong in (str(DEMO), DEMO, DEMO.read_bytes(), np.zeros((9, 9, 3), np.uint8), None, Image.open(DEMO)):
        with pytest.raises(UsageError, match="one after the other"):
            predict.stream(wrong)
    for options in ({"batch": 0}, {"prefetch": -1}, {"batch": 1.5}, {"prefetch": True}):
        with pytest.raises(UsageError, match="number of pictures"):
            predict.stream([DEMO], **options)


def test_leaving_a_stream_ends_it(predict: mshub.Predictor) -> None:
    for _ in predict.stream(iter(lambda: DEMO, None)):
        break
    assert not workers()
    with pytest.raises(ZeroDivisionError), closing(predict.stream(1 // (number - 1) for number in range(3))) as bad:
        list(bad)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "in").mkdir()
    pixels = np.asarray(Image.open(DEMO).convert("RGB"))
    for number in range(12):
        Image.fromarray(np.roll(pixels, 40 * number, 1)).save(tmp_path / f"in/{number}.jpg", quality=90)
    return tmp_path


def jsonl(path: str) -> list[dict]:
    return [json.loads(line) for line in Path(path).read_text(encoding="ascii").splitlines()]


def test_results_in_every_format_tell_the_same(folder: Path) -> None:
    import pyarrow.parquet

    (folder / "in/3.jpg").write_text("no picture")
    for name in ("a.jsonl", "a.json", "a.parquet", "a.txt"):
        result = run("detect", "in", *MODEL, "--out", name)
        assert (result.exit_code, result.stdout) == (1, "")
        assert "1 of 12 pictures could not be looked at" in result.stderr
        assert result.stderr.count("error: ") == 1
    rows = jsonl("a.jsonl")
    assert [row["image"] for row in rows] == [f"in/{number}.jpg" for number in range(12)]
    assert rows[3]["error"]["code"] == "invalid-image"
    assert all(len(row["detections"]) == 3 for row in rows if "error" not in row)
    alone = mshub.detect(DIGITS, folder / "in/7.jpg", max_detections=3, engine="openvino")
    assert rows[7] == row_of(alone, "in/7.jpg")
    assert json.loads(Path("a.json").read_text()) == rows
    table = pyarrow.parquet.read_table("a.parquet").to_pylist()
    assert [{key: value for key, value in row.items() if value is not None} for row in table] == rows
    assert Path("a.txt").read_text().count("in/") == 12
    printed = run("detect", "in", *MODEL, "--format", "jsonl")
    assert [json.loads(line) for line in printed.stdout.splitlines()] == rows
    coco = json.loads(run("detect", "in/7.jpg", *MODEL, "--format", "coco").stdout)
    assert coco == alone.to_coco(7)
    assert answer("detect", "in/7.jpg", *MODEL)["detections"] == alone.to_dict()["detections"]


def test_a_list_on_standard_input(folder: Path) -> None:
    names = b"in/1.jpg\r\n\nin/nothing.jpg\nin/1?.jpg"
    result = CliRunner().invoke(cli, ["detect", "-", *MODEL, "--format", "jsonl"], input=io.BytesIO(names))
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["image"] for row in rows] == ["in/1.jpg", "in/nothing.jpg", "in/10.jpg", "in/11.jpg"]
    assert [("error" in row) for row in rows] == [False, True, False, False]
    data = (folder / "in/1.jpg").read_bytes()
    result = CliRunner().invoke(cli, ["detect", "-", *MODEL, "--format", "jsonl"], input=io.BytesIO(data))
    assert {**json.loads(result.stdout), "image": "in/1.jpg"} == rows[0]


def test_pictures_that_are_none_have_a_row_each(folder: Path) -> None:
    bad = broken(folder / "bad")
    result = run("detect", "bad", *MODEL, "--out", "a.jsonl")
    assert result.exit_code == 1
    assert sorted(row["image"] for row in jsonl("a.jsonl")) == [f"bad/{path.name}" for path in bad]
    assert all(set(row["error"]) == {"code", "message"} for row in jsonl("a.jsonl"))
    os.mkfifo(folder / "a.mp4")
    (folder / "b.mp4").write_text("#EXTM3U\nhttps://example.org/secret\n")
    assert run("detect", "a.mp4", "b.mp4", "c.mp4", *MODEL, "--out", "b.jsonl").exit_code == 1
    assert ["error" in row for row in jsonl("b.jsonl")] == [True] * 3


COMMAND = (sys.executable, "-m", "mshub_ssd", "detect", "in", *MODEL, "--resume", "--out")


@pytest.mark.parametrize("out", ["a.jsonl", "a.parquet"])
def test_a_run_that_is_killed_goes_on_where_it_was(folder: Path, out: str) -> None:
    shutil.copyfile(folder / "in/1.jpg", folder / "in/copy.jpg")
    (folder / "in/bad.jpg").write_text("no picture")
    whole = Path(f"whole{Path(out).suffix}")
    assert run("detect", "in", *MODEL, "--out", whole).exit_code == 1
    journal = folder / out if out == "a.jsonl" else folder / f"{out}.rows.jsonl"
    for rows in (1, 5):
        process = subprocess.Popen([*COMMAND, out], cwd=folder, env=environment(), stderr=subprocess.PIPE)
        until = time.monotonic() + PATIENCE
        while process.poll() is None and time.monotonic() < until:
            if journal.exists() and journal.read_bytes().count(b"\n") >= rows:
                process.send_signal(signal.SIGKILL)
                break
        process.communicate()
    if journal.exists():
        with journal.open("ab") as stream:
            stream.write(b'{"image": "in/torn')
    done = run("detect", "in", *MODEL, "--resume", "--out", out)
    assert done.exit_code == 1
    assert "1 of 14 pictures" in done.stderr
    if out == "a.jsonl":
        assert (folder / out).read_bytes() == whole.read_bytes()
        assert run("detect", "in", *MODEL, "--resume", "--out", out).exit_code == 1, "nothing is left to do"
        assert (folder / out).read_bytes() == whole.read_bytes()
        for other in (["--score-threshold", "0.9"], ["--class", "3"]):
            assert "another way" in refused("detect", "in", *MODEL, "--resume", "--out", out, *other)
        assert "another way" in refused("detect", "in/1.jpg", *MODEL, "--resume", "--out", out)
        (folder / f"{out}.resume").unlink()
        assert "nothing tells" in refused("detect", "in", *MODEL, "--resume", "--out", out)
    else:
        import pyarrow.parquet

        assert pyarrow.parquet.read_table(out).equals(pyarrow.parquet.read_table(whole))
        assert not journal.exists()


def test_a_video_has_a_row_per_frame_and_is_drawn_on_request(folder: Path) -> None:
    pixels = np.asarray(Image.open(DEMO).convert("RGB"))
    video = VideoFile(folder / "in.mp4", 30.0)
    for number in range(15):
        video.add(np.roll(pixels, 4 * number, 1))
    video.close()
    result = run("detect", "in.mp4", *MODEL, "--out", "drawn.mp4", "--format", "jsonl")
    rows = [json.loads(line) for line in result.stdout.splitlines()]
    assert [row["frame"] for row in rows] == list(range(15))
    assert [row["time"] for row in rows] == pytest.approx([number / 30 for number in range(15)], abs=1e-3)
    assert all(row["size"] == [480, 640] and row["detections"] for row in rows)
    assert [frame.picture.shape for frame in frames("drawn.mp4")] == [(480, 640, 3)] * 15
    assert run("detect", "in.mp4", *MODEL, "--out-dir", "found", "--out", "a.jsonl").exit_code == 0
    assert [path.name for path in (folder / "found").iterdir()] == ["in.mp4"]
    assert jsonl("a.jsonl") == rows
    refused("detect", "in.mp4", *MODEL, "--out-dir", "found", "--out", "b.jsonl", "--resume")
    Path("a.jsonl").write_bytes(b"".join(Path("a.jsonl").read_bytes().splitlines(keepends=True)[:6]))
    run("detect", "in.mp4", *MODEL, "--out", "c.jsonl", "--resume")
    shutil.copyfile("a.jsonl", "c.jsonl")
    assert run("detect", "in.mp4", *MODEL, "--out", "c.jsonl", "--resume").exit_code == 0
    assert jsonl("c.jsonl") == rows, "the frames that were left"


def test_a_list_that_goes_on_is_answered_as_it_comes(folder: Path) -> None:
    command = [sys.executable, "-m", "mshub_ssd", "detect", "-", *MODEL, "--format", "jsonl"]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(command, cwd=folder, env=environment(), **pipes) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        for names in ("in/1.jpg\nin/2.jpg\n", "in/3.jpg\n"):
            process.stdin.write(names.encode())
            process.stdin.flush()
            rows = [json.loads(process.stdout.readline()) for _ in names.split()]
            assert [row["image"] for row in rows] == names.split()
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE)
    assert process.returncode != 0
    assert b"Traceback" not in said
