"""The command line: answers on stdout, refusals on stderr, exit codes scripts can rely on."""

from __future__ import annotations

import hashlib
import json
import os
import pty
import re
import shlex
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import PATIENCE, answer, environment, interrupted, process, refused, run, started
from PIL import Image

import mshub_ssd
from mshub_ssd.cli.output import emit_json
from mshub_ssd.hub import Hub

PETS = "own/1.0/small_pets"
DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
COCO = "mindspore/1.8/ssdmobilenetv2_coco2017"
HEAVY = {"mindspore", "numpy", "requests", "cv2", "PIL", "tqdm"}

SMALL: dict[str, Any] = {
    "image_size": 128,
    "num_classes": 3,
    "stem_channels": 8,
    "blocks": [[1, 8, 1, 1], [4, 16, 1, 2], [4, 24, 1, 2], [4, 32, 1, 2]],
    "last_channels": 32,
    "taps": [],
    "extras": [],
    "box_sizes": [[[0.3, 0.3], [0.5, 0.5]]],
    "depthwise_head": True,
}


def card_text(digest: str, *, title: str = "small", network: dict[str, Any] | None = None, **fields: str) -> str:
    rows = {
        "model-name": "small",
        "module-type": "cv-object_detection",
        "train-dataset": "pets",
        "evaluation": "mAP0.5",
        "license": "Apache-2.0",
        "asset-link": "small.ckpt",
        **fields,
    }
    link = rows.pop("asset-link")
    if network is not None:
        rows["network"] = json.dumps(network)
        rows["classes"] = "[cat, dog]"
    front = "\n\n".join(f"{name}: {value}" for name, value in rows.items())
    asset = f'asset:\n- file-format: ckpt\n  asset-link: {link}\n  asset-sha256: "{digest}"'
    return f"# {title}\n\n---\n\n{front}\n\n{asset}\n\n---\n\n## What it is\n"


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A card folder with one model that can be loaded and one that cannot; both have a file beside them."""
    folder = tmp_path / "cards" / "own" / "1.0"
    folder.mkdir(parents=True)
    data = b"not weights, but verified"
    (folder / "small.ckpt").write_bytes(data)
    digest = hashlib.sha256(data).hexdigest()
    network = {"name": "ssd_mobilenetV2", **SMALL}
    (folder / "small_pets.md").write_text(card_text(digest, network=network), encoding="utf-8")
    strange = {"model-name": "newnet", "module-type": "cv-classification", "train-dataset": "flowers"}
    (folder / "strange_flowers.md").write_text(card_text(digest, title="strange", **strange), encoding="utf-8")
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    return tmp_path / "cards"


@pytest.fixture
def break_a_card(root: Path) -> None:
    (root / "own" / "1.0" / "torn.md").write_text("# torn\n\n---\n\nmodel-name: [torn\n\n---\n", encoding="utf-8")


@pytest.fixture(scope="session")
def checkpoint() -> bytes:
    """An untrained small network's checkpoint; its scores are all near one half."""
    import tempfile

    mindspore = pytest.importorskip("mindspore")

    from mshub_ssd.networks.ssd.variants import ssd_mobilenet_v2

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "small.ckpt"
        mindspore.set_seed(1)
        mindspore.save_checkpoint(ssd_mobilenet_v2(**SMALL), str(path))
        return path.read_bytes()


@pytest.fixture
def model(root: Path, checkpoint: bytes, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """A uid that `detect` can use; also under the name of the demo's model."""
    monkeypatch.setenv("GLOG_v", "3")
    digest = hashlib.sha256(checkpoint).hexdigest()
    for uid in (PETS, DIGITS):
        path = root / f"{uid}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        (path.parent / "small.ckpt").write_bytes(checkpoint)
        path.write_text(card_text(digest, network={"name": "ssd_mobilenetV2", **SMALL}), encoding="utf-8")
    return PETS


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    path = tmp_path / "pictures" / "noise.png"
    path.parent.mkdir()
    pixels = np.random.default_rng(0).integers(0, 256, (90, 120, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


# --- list and search


def test_a_pipe_gets_bare_uids(root: Path) -> None:
    done = process("list", "--all")
    assert done.stdout.splitlines() == mshub_ssd.list_models()
    assert PETS in done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, "")
    newest = process("list").stdout.splitlines()
    assert PETS in newest
    assert "mindspore/1.10/ssd300_coco2017" in newest
    assert len([uid for uid in newest if uid.endswith("/ssd300_coco2017")]) == 2, "one a publisher"


def test_a_terminal_gets_a_table(root: Path, break_a_card: None) -> None:
    ours, theirs = pty.openpty()
    try:
        done = process("list", "own/*", stdout=theirs)
        shown = os.read(ours, 65536).decode().splitlines()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert shown == [
        "MODEL                    FIGURE   TASK                  DATA     SIZE  LOADS",
        f"{PETS}       mAP 0.5  object-detection      pets           yes",
        "own/1.0/strange_flowers  mAP 0.5  image-classification  flowers        no",
    ]


def test_a_table_fits_the_terminal_and_keeps_the_figure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mshub_ssd.cli.models.on_terminal", lambda: True)
    for columns in (60, 80, 100, 200):
        monkeypatch.setenv("COLUMNS", str(columns))
        header, *rows = run("list", "mindspore/*").stdout.splitlines()
        assert header.startswith("MODEL ")
        assert max(map(len, rows)) <= max(columns, 70), "uid, number and figure are never cut"
        (row,) = [row for row in rows if row.startswith("mindspore/1.10/ssd300_coco2017 ")]
        assert row.split()[1:4] == ["7", "mAP", "23"], "published as acc"
    assert "--task" in refused("list", "--task", code=2)
    remark = run("list", "--task", "detecting").stderr
    assert "There are: " in remark
    assert "object-detection" in remark


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["own/*"], [PETS, "own/1.0/strange_flowers"]),
        (["--publisher", "own"], [PETS, "own/1.0/strange_flowers"]),
        (["own/*", "--task", "object-detection"], [PETS]),
        (["--dataset", "flowers", "--sort", "newest", "--limit", "3"], ["own/1.0/strange_flowers"]),
        (
            ["--backbone", "resnet50", "mindspore/1.7/*"],
            ["mindspore/1.7/ssdresnet50_coco2017", "mindspore/1.7/ssdresnet50fpn_coco2017"],
        ),
        (["*/ssdmobilenetv2_*", "--mindspore-version", "1.8"], [COCO]),
        (["own/*", "--loadable"], [PETS]),
        (["own/*", "--not-loadable"], ["own/1.0/strange_flowers"]),
    ],
)
def test_list_filters(root: Path, args: list[str], expected: list[str]) -> None:
    result = run("list", *args)
    assert (result.stdout.splitlines(), result.stderr, result.exit_code) == (expected, "", 0)


def test_list_json_tells_what_each_card_says(root: Path, break_a_card: None) -> None:
    pets, strange = answer("list", "own/*")
    assert pets["uid"] == PETS
    assert pets["datasets"] == ["pets"]
    assert pets["metrics"] == [{"name": "mAP", "value": 0.5, "spread": None}]
    assert (pets["network_key"], pets["loadable"], pets["obstacle"]) == ("ssd_mobilenetV2", True, None)
    assert (strange["network_key"], strange["loadable"]) == (None, False)
    assert "network" in strange["obstacle"]


def test_an_empty_list_is_an_answer_with_a_remark(root: Path) -> None:
    result = run("list", "pets")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "list '*pets*'" in result.stderr
    assert run("list", "*pets*").stdout.splitlines() == [PETS]
    silent = run("list", "pets", "-q")
    assert (silent.exit_code, silent.stdout, silent.stderr) == (0, "", "")
    assert json.loads(run("list", "pets", "--json").stdout) == []


def test_search_takes_several_words(root: Path) -> None:
    assert run("search", "flowers").stdout.splitlines() == ["own/1.0/strange_flowers"]
    words = ("1.8", "mobilenetv2_", "Fast")
    found = run("search", *words).stdout.splitlines()
    assert found == mshub_ssd.search(" ".join(words))
    assert (found[0], run("search", *words, "--limit", "1").stdout.split()) == (COCO, [COCO])
    assert [entry["uid"] for entry in answer("search", "flowers")] == ["own/1.0/strange_flowers"]
    nothing = run("search", "no-such-thing")
    assert (nothing.exit_code, nothing.stdout) == (0, "")
    assert "no-such-thing" in nothing.stderr


@pytest.mark.parametrize("command", [["list"], ["list", "--loadable", "--json"], ["search", "coco"], ["info", COCO]])
def test_looking_around_imports_nothing_heavy(command: list[str]) -> None:
    done = process(*command, prefix=("-X", "importtime"))
    imported = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert done.returncode == 0
    assert "ssdmobilenetv2_coco2017" in done.stdout
    assert "click" in imported
    assert not HEAVY & imported


# --- info


def test_info_shows_the_facts(root: Path) -> None:
    shown = run("info", PETS).stdout
    facts = dict(re.split(r"\s{2,}", line.strip(), maxsplit=1) for line in shown.splitlines() if "   " in line)
    assert facts["uid"] == PETS
    assert facts["task"] == "object-detection"
    assert facts["network"].startswith("ssd_mobilenetV2, ")
    assert facts["classes"] == "cat, dog"
    assert facts["metrics"] == "mAP 0.5"
    assert facts["sha256"] == Hub().info(PETS).assets[0].sha256
    assert facts["card"] == str(root / f"{PETS}.md")
    assert f'mshub.load("{PETS}")' in shown
    assert f"detect picture.jpg --model {PETS}" in shown


def test_a_figure_is_shown_as_it_is_meant(root: Path) -> None:
    file = root / f"{PETS}.md"
    text = file.read_text(encoding="utf-8")
    file.write_text(text.replace("mAP0.5", "mAP 24,08 | acc0.12+/-0.01 | AR 70-75"), encoding="utf-8")
    done = process("info", PETS)
    assert re.search("metrics +mAP 24.08, acc 0.12 \u00b1 0.01\n", done.stdout)
    assert json.loads(run("info", PETS, "--json").stdout)["metrics"] == [
        {"name": "mAP", "value": 24.08, "spread": None},
        {"name": "acc", "value": 0.12, "spread": 0.01},
    ]


def test_info_says_why_a_model_cannot_be_loaded(root: Path) -> None:
    shown = run("info", "own/1.0/strange_flowers").stdout
    assert "It cannot be loaded: the card own/1.0/strange_flowers does not say which network it means" in shown
    assert "next: add `network:" in shown
    assert "mshub.load" not in shown


def test_info_says_when_the_digest_is_missing(root: Path) -> None:
    card = root / f"{PETS}.md"
    card.write_text(re.sub(r"  asset-sha256.*\n", "", card.read_text(encoding="utf-8")), encoding="utf-8")
    facts = answer("info", PETS)
    assert (facts["network_key"], facts["loadable"]) == ("ssd_mobilenetV2", False)
    assert "digest" in facts["obstacle"]
    assert "digest" in run("info", PETS).stdout


def test_info_json_is_the_card(root: Path) -> None:
    facts = answer("info", PETS)
    code = {"level": "builtin", "name": None, "version": None, "path": None, "adapters": [], "proven": []}
    added = {"size": None, "network_key": "ssd_mobilenetV2", "code": code, "loadable": True, "obstacle": None}
    assert facts == {**mshub_ssd.info(PETS).to_dict(), **added}


def test_info_takes_the_path_of_a_card(root: Path) -> None:
    assert answer("info", root / f"{PETS}.md")["network_key"] == "ssd_mobilenetV2"


def test_a_card_cannot_command_the_terminal(root: Path) -> None:
    card = root / f"{PETS}.md"
    text = card.read_text(encoding="utf-8").replace("license: Apache-2.0", 'license: "free\\e]0;owned\\a"')
    card.write_text(text, encoding="utf-8")
    assert "\x1b" in str(mshub_ssd.info(PETS).license), "the test is about a card that holds one"
    shown = run("info", PETS).stdout
    assert "owned" in shown
    assert not {"\x1b", "\x07"} & set(shown)


def test_a_locale_without_the_letters_is_no_reason_to_fail(root: Path) -> None:
    card = root / f"{PETS}.md"
    card.write_text(card.read_text(encoding="utf-8").replace("# small", "# 小さい"), encoding="utf-8")
    done = process("info", PETS, env=environment(PYTHONIOENCODING="latin-1"))
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[0] == "\\u5c0f\\u3055\\u3044"
    assert answer("info", PETS)["title"] == "小さい"


# --- fetch


def test_fetch_prints_the_verified_path(root: Path) -> None:
    result = run("fetch", PETS)
    assert (result.exit_code, result.stderr) == (0, "")
    assert Path(result.stdout.rstrip("\n")) == mshub_ssd.fetch(PETS)


def test_fetch_json_tells_digest_and_size(root: Path) -> None:
    path = mshub_ssd.fetch(PETS)
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    expected = {"uid": PETS, "path": str(path), "sha256": digest, "sha256_digits": 64, "size": len(data)}
    assert answer("fetch", PETS) == [expected]


def test_fetch_goes_on_after_a_failure_and_tells_it(root: Path) -> None:
    (root / "own" / "1.0" / "changed.ckpt").write_bytes(b"other bytes")
    bad = card_text("0" * 64, **{"asset-link": "changed.ckpt"})
    (root / "own" / "1.0" / "changed.md").write_text(bad, encoding="utf-8")
    result = run("fetch", "own/1.0/changed", PETS)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [str(mshub_ssd.fetch(PETS))]
    assert result.stderr.startswith("error: the file beside the card is not the one the card promises")
    whole = run("fetch", "--json", "own/1.0/changed", PETS)
    assert whole.exit_code == 1
    lost, fetched = json.loads(whole.stdout)
    assert (lost["uid"], lost["error"]["code"], lost["error"]["where"]) == (
        "own/1.0/changed",
        "integrity",
        str(root / "own/1.0/changed.ckpt"),
    )
    assert (fetched["uid"], "error" in fetched) == (PETS, False)


# --- refusals, usage, the log, and the ends of streams


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (["info", "own/1.0/small_pet"], "unknown-model"),
        (["detect", "no-such.png", "--model", "own/1.0/small_pet"], "unknown-model"),
        (["detect", "no-such.png", "--model", PETS], "invalid-image"),
    ],
)
def test_a_refusal_is_plain_text_on_stderr_and_json_on_stdout_where_it_is_asked_for(
    root: Path, args: list[str], code: str
) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("error: ")
    assert "\n  next: " in result.stderr
    assert "Traceback" not in result.stderr
    programs = run(*args, "--json")
    assert (programs.exit_code, programs.stderr) == (1, result.stderr)
    facts = json.loads(programs.stdout)["error"]
    assert list(facts) == ["code", "message", "where", "expected", "got", "hint"]
    assert facts["code"] == code
    assert result.stderr.startswith(f"error: {facts['message']}\n")
    assert f"\n  next: {facts['hint']}\n" in result.stderr


def test_a_wrong_setting_is_a_refusal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSHUB_REGISTRY", "/no/such/folder")
    result = run("list")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "/no/such/folder" in result.stderr


@pytest.mark.parametrize(
    "args",
    [
        ["no-such-command"],
        ["list", "--no-such-option"],
        ["info"],
        ["fetch"],
        ["detect", "a.png"],
        ["detect", "a.png", "--model", PETS, "--score-threshold", "2"],
        ["detect", "a.png", "--model", PETS, "--score-threshold", "nan"],
        ["detect", "a.png", "--model", PETS, "--max-detections", "0"],
    ],
)
def test_wrong_usage_is_exit_code_2(args: list[str]) -> None:
    result = run(*args)
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.startswith("Usage: mshub")
    programs = run(*args[:1], "--json", *args[1:])
    assert programs.exit_code == 2
    facts = json.loads(programs.stdout)["error"]
    assert (facts["code"], f"{facts['where']} --help") == ("usage", facts["hint"])
    assert facts["message"] in programs.stderr


def test_misspelt_commands_and_options_are_recognised() -> None:
    assert "No such command 'lst'. Did you mean 'list'?" in refused("lst", code=2)
    assert "Did you mean" not in refused("frobnicate", code=2)
    assert "'--task'" in refused("list", "--tsk", "x", code=2)
    assert "Did you mean" not in refused("--lst", code=2)


def test_json_is_sound_whatever_is_in_it(capsys: pytest.CaptureFixture[str]) -> None:
    name = "own/\x7f\x1b[31m\u202e\udcff"
    emit_json({"name": name})
    shown = capsys.readouterr().out
    assert json.loads(shown) == {"name": name}
    assert all(" " <= char <= "~" for char in shown.replace("\n", ""))


def test_a_name_is_no_option() -> None:
    assert "'--json'" in refused("info", "--", "--json")


def test_help_and_version() -> None:
    assert run("--version").stdout == f"mshub {mshub_ssd.__version__}\n"
    overview = run("--help").stdout
    for command in ("list", "search", "info", "fetch", "detect", "demo"):
        assert re.search(rf"^  {command} ", overview, re.MULTILINE)
        shown = run(command, "-h")
        assert shown.exit_code == 0
        assert "--json" in shown.stdout


def test_a_bug_keeps_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> list[str]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(Hub, "info", broken)
    with pytest.raises(RuntimeError, match="a bug"):
        run("info", COCO)


@pytest.mark.parametrize("place", ["before", "after"])
def test_quiet_and_verbose_stand_before_or_behind_the_command(root: Path, break_a_card: None, place: str) -> None:
    def stderr(*option: str) -> str:
        args = ["list", "own/*", "--loadable"]
        result = run(*option, *args) if place == "before" else run(*args, *option)
        assert result.stdout.splitlines() == [PETS]
        return result.stderr

    assert stderr() == stderr("-q") == ""
    (root / "own" / "1.0" / "rent.md").write_text("---\nmodel-name: [rent\n---\n", encoding="utf-8")
    assert re.search(r"debug: a card that cannot be read: .*\n.*rent\.md", stderr("-vv"))
    assert "debug: " not in stderr("-v")
    assert stderr() == "", "the level is the command's, not the process's"


def test_a_reader_that_has_gone_is_no_error(root: Path) -> None:
    ours, theirs = os.pipe()
    os.close(ours)
    try:
        done = process("list", stdout=theirs)
    finally:
        os.close(theirs)
    assert (done.returncode, done.stderr) == (141, "")


def test_output_that_cannot_be_written_is_told() -> None:
    with Path("/dev/full").open("w") as full:
        done = process("list", stdout=full)
    assert done.returncode == 1
    assert done.stderr == "error: the output cannot be written: No space left on device\n"


def test_ctrl_c_says_one_line(root: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        card = root / f"{PETS}.md"
        url = f"http://127.0.0.1:{server.getsockname()[1]}/small.ckpt"
        text = card.read_text(encoding="utf-8").replace("asset-link: small.ckpt", f"asset-link: <{url}>")
        card.write_text(text, encoding="utf-8")
        child = started("fetch", PETS)
        try:
            server.settimeout(PATIENCE)
            connection, _ = server.accept()
            with connection:
                connection.recv(1)  # it has asked, and will wait for an answer
                out, err = interrupted(child)
        finally:
            child.kill()
    assert (child.returncode, out, err) == (130, "", "interrupted\n")


def test_the_shell_completes_uids(root: Path) -> None:
    words = {"_MSHUB_COMPLETE": "bash_complete", "COMP_WORDS": "mshub info own/1.0/sm", "COMP_CWORD": "2"}
    assert process(env=environment(**words)).stdout.splitlines() == [f"plain,{PETS}"]


# --- detect


def rows_of(table: str) -> list[list[str]]:
    return [line.split() for line in table.splitlines()]


def test_detect_prints_what_the_library_finds(model: str, picture: Path) -> None:
    found = mshub_ssd.detect(model, str(picture), max_detections=3)
    result = run("detect", picture, "--model", model, "--max-detections", 3)
    assert (result.exit_code, result.stderr) == (0, "")
    head, *rows = rows_of(result.stdout)
    assert head == ["name", "score", "x1", "y1", "x2", "y2"]
    assert rows == [[row.name, f"{row.score:.3f}", *(f"{side:.1f}" for side in row.box)] for row in found]
    assert len(rows) == 3
    facts = answer("detect", picture, "--model", model, "--max-detections", 3)
    assert facts["detections"] == found.to_dict()["detections"]
    assert facts["image"] == {"path": str(picture), "width": 120, "height": 90}
    assert (facts["model"], facts["out"]) == (model, None)
    assert list(picture.parent.iterdir()) == [picture], "nothing is written unasked"


@pytest.mark.parametrize(("name", "kind"), [("out.png", "PNG"), ("OUT.JPG", "JPEG")])
def test_detect_draws_in_the_format_of_the_ending(
    model: str, picture: Path, tmp_path: Path, name: str, kind: str
) -> None:
    out = tmp_path / name
    result = run("detect", picture, "--model", model, "--max-detections", 1, "--out", out)
    assert result.stdout.splitlines()[-1] == f"wrote {out}"
    with Image.open(out) as drawn, Image.open(picture) as original:
        assert (drawn.format, drawn.size) == (kind, original.size)
        change = np.abs(np.asarray(drawn.convert("RGB")).astype(int) - np.asarray(original))
    assert (change > 100).any()


def test_nothing_found_is_said_with_the_threshold(model: str, picture: Path) -> None:
    result = run("detect", picture, "--model", model, "--score-threshold", 0.9)
    assert result.exit_code == 0
    assert "above 0.9" in result.stdout
    assert "--score-threshold 0.45" in result.stdout
    assert answer("detect", picture, "--model", model, "--score-threshold", 0.9)["detections"] == []


@pytest.mark.parametrize(
    ("out", "said"),
    [("out.xyz", "'.xyz'"), ("out", "without an ending"), ("nowhere/out.png", "nowhere"), ("noise.png", "itself")],
)
def test_an_output_that_cannot_be_is_refused_before_the_model_is_loaded(
    root: Path, picture: Path, monkeypatch: pytest.MonkeyPatch, out: str, said: str
) -> None:
    # The root's checkpoint is none: loading it would be a refusal of another kind.
    monkeypatch.chdir(picture.parent)
    result = run("detect", picture, "--model", PETS, "--out", out)
    assert (result.exit_code, result.stdout) == (2, "")
    assert said in result.stderr
    assert list(picture.parent.iterdir()) == [picture]
    assert run("detect", picture, "--model", PETS, "--out", "fine.png").exit_code == 1


def test_a_network_that_talks_does_not_spoil_the_answer(root: Path, model: str, picture: Path) -> None:
    card = root / f"{model}.md"
    card.write_text(card.read_text(encoding="utf-8").replace('"ssd_mobilenetV2"', '"talker"'), encoding="utf-8")
    code = """
import ctypes, os, sys
import mshub_ssd
from mshub_ssd.cli import main

@mshub_ssd.register_network("talker")
def talker(**arguments):
    from mshub_ssd.networks.ssd.variants import ssd_mobilenet_v2
    print("chatter of Python")
    os.write(1, b"chatter of the system\\n")
    ctypes.CDLL(None).printf(b"chatter of C\\n")
    return ssd_mobilenet_v2(**arguments)

main(sys.argv[1:])
"""
    command = [sys.executable, "-c", code, "-v", "detect", str(picture), "--model", model, "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment(), timeout=PATIENCE)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["model"] == model
    for voice in ("Python", "the system", "C"):
        assert f"chatter of {voice}\n" in done.stderr
    assert f"info: loaded {model} as talker in " in done.stderr


@pytest.mark.parametrize("command", [["detect", "a.png", "--model", PETS], ["demo"]])
def test_without_any_engine_the_refusal_says_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch, command: list[str]
) -> None:
    for engine in ("openvino", "onnxruntime", "mindspore"):
        monkeypatch.setitem(sys.modules, engine, None)
    result = run(*command)
    assert (result.exit_code, result.stdout) == (1, "")
    assert "pip install 'mshub_ssd[openvino]'" in result.stderr


# --- demo


def test_demo_tells_what_it_does_and_what_to_try(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = run("demo")
    assert (result.exit_code, result.stderr) == (0, "")
    card = mshub_ssd.info(DIGITS)
    for fact in (DIGITS, str(card.path), f"{card.assets[0].sha256}  verified", "mAP 0.5", "wrote mshub-demo.png"):
        assert fact in result.stdout
    with Image.open(tmp_path / "mshub-demo.png") as drawn:
        assert drawn.format == "PNG"
    commands = result.stdout.split("Try next:\n")[1].splitlines()
    assert len(commands) == 3
    for line in commands:
        # They are to be typed in this environment, whose commands are not always on the path.
        words = shlex.split(line)
        python = (
            [sys.executable, *words[1:]] if words[0] != "mshub" else [sys.executable, "-m", "mshub_ssd", *words[1:]]
        )
        done = subprocess.run(python, capture_output=True, text=True, check=False, env=environment(), timeout=PATIENCE)
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip()


def test_demo_json_and_out(model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    facts = answer("demo", "--out", "digits.webp")
    assert facts["model"] == DIGITS
    assert facts["sha256"] == mshub_ssd.info(DIGITS).assets[0].sha256
    assert facts["detections"]
    assert set(facts["seconds"]) == {"load", "first_picture", "next_picture"}
    with Image.open(tmp_path / "digits.webp") as drawn:
        assert drawn.size == (facts["image"]["width"], facts["image"]["height"])
    assert not (tmp_path / "mshub-demo.png").exists()
