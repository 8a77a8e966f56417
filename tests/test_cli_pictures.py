"""`mshub detect` and `classify` on several pictures: files, folders, patterns, standard input and urls."""

from __future__ import annotations

import contextlib
import fcntl
import io
import json
import os
import pty
import shutil
import struct
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from commands import PATIENCE, answer, environment, process, refused, run
from faultserver import FaultServer
from PIL import Image

import mshub_ssd
from mshub_ssd.cli.app import cli
from mshub_ssd.hub import Hub

pytest.importorskip("mindspore")

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
DEMO = Path(mshub_ssd.__file__).parent / "cli" / "demo_digits.png"
MODEL = ("--model", DIGITS, "--max-detections", "2")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three pictures, and other files; the working directory."""
    (tmp_path / "shots" / "deep").mkdir(parents=True)
    for name in ("shot2.png", "shot10.png", "deep/shot1.png"):
        shutil.copyfile(DEMO, tmp_path / "shots" / name)
    (tmp_path / "shots" / "notes.txt").write_text("no picture")
    (tmp_path / "shots" / ".hidden.png").write_text("no picture")
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was loaded."""
    seen: list[str] = []
    real = Hub.open_pipeline

    def open_pipeline(hub: Hub, model: str, *args: object, **kwargs: object) -> object:
        seen.append(str(model))
        return real(hub, model, *args, **kwargs)

    monkeypatch.setattr(Hub, "open_pipeline", open_pipeline)
    return seen


def paths(facts: list[dict[str, dict[str, object]]]) -> list[object]:
    return [entry["image"]["path"] for entry in facts]


def test_files_folders_and_patterns_in_one_load(folder: Path, loads: list[str]) -> None:
    one = answer("detect", DEMO, *MODEL)
    assert isinstance(one, dict)
    facts = answer("detect", "shots/deep/shot1.png", "shots", "shots/**/*.png", *MODEL)
    near, deep = ["shots/shot2.png", "shots/shot10.png"], "shots/deep/shot1.png"
    assert paths(facts) == [deep, *near, deep, deep, *near]
    assert all(entry["detections"] == one["detections"] for entry in facts)
    assert loads == [DIGITS] * 2, "once a command"


def test_a_folder_gives_a_list_however_many_pictures_are_in_it(folder: Path) -> None:
    facts = answer("detect", "shots/deep", *MODEL)
    assert paths(facts) == ["shots/deep/shot1.png"]
    (folder / "shots/[1].png").write_bytes(DEMO.read_bytes())
    assert isinstance(answer("detect", "shots/[1].png", *MODEL), dict), "a file whose name looks like a pattern"


def test_each_picture_has_its_table(folder: Path) -> None:
    alone = run("detect", "shots/shot2.png", *MODEL).stdout
    both = run("detect", "shots/*.png", *MODEL)
    assert (both.exit_code, both.stderr) == (0, "")
    assert both.stdout == f"shots/shot2.png\n{alone}\nshots/shot10.png\n{alone}\n"


def test_what_cannot_be_read_does_not_stop_the_others(folder: Path, loads: list[str]) -> None:
    args = ["detect", "nothing.png", "shots/notes.txt", "shots/*.jpg", "shots/shot2.png", *MODEL, "--json"]
    result = run(*args)
    assert result.exit_code == 1
    assert result.stderr.count("error: ") == 3
    *failed, good = json.loads(result.stdout)
    assert paths([*failed, good]) == args[1:5]
    assert [entry["error"]["code"] for entry in failed] == ["invalid-image"] * 3
    assert len(good["detections"]) == 2
    assert loads == [DIGITS]
    assert run("detect", "nothing.png", "nowhere.png", *MODEL).exit_code == 1
    assert loads == [DIGITS], "nothing to look at, nothing to load"


def test_a_name_that_means_no_picture_is_refused(folder: Path) -> None:
    (folder / "empty").mkdir()
    assert "no picture in this folder" in refused("detect", "empty", *MODEL)
    assert "no file fits this pattern" in refused("detect", "empty/*.png", *MODEL)
    assert "not a picture" in refused("detect", "shots/notes.txt", *MODEL)


def test_standard_input_is_a_picture() -> None:
    data = DEMO.read_bytes()
    result = CliRunner().invoke(cli, ["detect", "-", *MODEL, "--json"], input=io.BytesIO(data))
    facts = json.loads(result.stdout)
    assert facts["image"] == {"path": "-", "width": 640, "height": 480}
    assert facts["detections"] == answer("detect", DEMO, *MODEL)["detections"]
    assert "can be read once" in refused("detect", "-", "-", *MODEL, code=2)


def test_a_url_is_a_picture(fault_server: FaultServer, folder: Path) -> None:
    url = fault_server.add("/picture.png", DEMO.read_bytes())
    page = fault_server.add("/page", b"<!DOCTYPE html><title>Log in</title>")
    secret = url.replace("//", "//user:S3CR3T@")
    facts = answer("detect", secret, *MODEL)
    assert facts["detections"] == answer("detect", DEMO, *MODEL)["detections"]
    assert "S3CR3T" not in facts["image"]["path"]
    assert "DOCTYPE" in refused("detect", page, *MODEL)
    assert "404" in refused("detect", f"{fault_server.base}/nothing.png", *MODEL)
    said = refused("detect", url, "--offline", *MODEL)
    assert "forbidden" in said
    assert len(fault_server.seen("/picture.png")) == 1, "nothing is asked offline"
    assert run("detect", url, "--out", "found", *MODEL).exit_code == 2, "neither a drawing nor results"
    assert run("detect", url, "--out-dir", "found", *MODEL).exit_code == 0
    assert [path.suffix for path in (folder / "found").iterdir()] == [".png"]


def test_several_pictures_are_drawn_into_a_folder(folder: Path) -> None:
    shutil.copyfile(DEMO, folder / "shot2.png")
    shutil.copyfile(DEMO, folder / "shot.data")
    shutil.copyfile(DEMO, folder / "SHOT2.png")
    names = ["shots", "shot2.png", "shot.data", "SHOT2.png"]
    (folder / "found").mkdir()
    (folder / "found/shot10.png").symlink_to(folder / "elsewhere.png")
    facts = answer("detect", *names, *MODEL, "--out-dir", "found")
    drawn = ["shot2.png", "shot10.png", "shot1.png", "shot2-2.png", "shot.png", "SHOT2-3.png"]
    assert [Path(entry["out"]).name for entry in facts] == drawn
    assert not (folder / "elsewhere.png").exists(), "nothing is written outside"
    for entry in facts:
        with Image.open(entry["out"]) as drawn:
            assert (drawn.format, drawn.size) == ("PNG", (640, 480))


def test_a_folder_that_cannot_be_is_refused_before_the_model_is_loaded(folder: Path, loads: list[str]) -> None:
    (folder / "file").write_text("")
    for option, out, said in [
        ("--out-dir", "file", "no folder"),
        ("--out-dir", "a/b", "does not exist"),
        ("--out", "out.png", "--out-dir"),
        ("--out", "out.mp4", "--out-dir"),
        ("--out", "shots", "is a folder"),
        ("--out", "out.xyz", "no format"),
        ("--out", "a/b.jsonl", "does not exist"),
    ]:
        assert said in refused("detect", "shots", *MODEL, option, out, code=2)
    for options in (["--resume"], ["--format", "parquet"], ["--json", "--format", "json"]):
        assert run("detect", "shots", *MODEL, *options).exit_code == 2
    before = (folder / "shots/shot2.png").read_bytes()
    assert "would be lost" in refused("detect", "shots/shot2.png", *MODEL, "--out", "shots/shot2.png", code=2)
    assert (folder / "shots/shot2.png").read_bytes() == before
    assert loads == []
    assert "would be lost" in refused("detect", "shots", *MODEL, "--out-dir", "shots")
    assert (folder / "shots/shot2.png").read_bytes() == before


def test_classify_takes_several_pictures_too(folder: Path) -> None:
    assert "mshub detect" in refused("classify", "shots", "--model", DIGITS)


@pytest.mark.parametrize("option", ["--json", "-q"])
def test_a_bar_shows_how_far_it_is_where_somebody_watches(folder: Path, option: str) -> None:
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    program = "from mshub_ssd.cli import main, pictures\npictures._SLOW = 0\nmain()"
    command = [sys.executable, "-c", program, "detect", "shots", *MODEL, option]
    with os.fdopen(ours, "rb", buffering=0) as terminal:
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=theirs, env=environment(), timeout=PATIENCE, check=True
        )
        os.close(theirs)
        seen = b""
        with contextlib.suppress(OSError):  # its other end is closed
            while True:
                seen += terminal.read(4096)
    assert b"pictures:" in seen
    assert b"0/3" in seen
    assert b"pictures:" not in done.stdout
    assert "pictures:" not in process("detect", "shots", *MODEL, option).stderr, "nobody watches"
