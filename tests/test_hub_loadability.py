"""The count of cards that give a network: resolved as the library does it, built and run in processes of their own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mindspore")

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"
CARD = """# {name}

---

model-name: {model}
{more}
---
"""
CARDS = {
    "own/1.0/digits": CARD.format(
        name="digits", model="sppnet_zfnet", more="network:\n  name: sppnet_zfnet\n  num_classes: 10\n"
    ),
    "own/1.0/nobodys": CARD.format(name="nobodys", model="NobodysNet", more=""),
    "mindspore/1.7/stpm_mvtec": CARD.format(
        name="stpm",
        model="stpm",
        more="repo-link: <https://gitee.com/mindspore/models/tree/r1.7/research/cv/stpm>\n",
    ),
}


def count(cards: Path, out: Path, *more: str) -> tuple[dict[str, Any], str]:
    command = [sys.executable, str(BENCHMARKS / "hub_loadability.py"), str(cards), "--json", str(out), *more]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(out.read_text()), done.stdout


def test_cards_are_counted_and_what_was_built_is_taken_up_again(tmp_path: Path) -> None:
    for uid, text in CARDS.items():
        file = tmp_path / "cards" / f"{uid}.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    out = tmp_path / "out.json"
    report, said = count(tmp_path / "cards", out)
    assert "1 of them to build" in said
    # Without a clone, code of repositories is named, and not built.
    assert {key: report["counts"][key] for key in ("cards", "resolves", "constructs", "runs")} == {
        "cards": 3,
        "resolves": 2,
        "constructs": 1,
        "runs": 1,
    }
    assert report["levels"]["builtin"] == {"cards": 1, "resolves": 1, "constructs": 1, "runs": 1}
    assert report["causes"]["not_built"] == {"none: UnknownModelError": 1, "mindspore/models: not built": 1}
    again, said = count(tmp_path / "cards", out)
    assert "0 of them to build" in said
    assert again["counts"] == report["counts"]


def test_a_network_that_does_not_end_is_left(tmp_path: Path) -> None:
    file = tmp_path / "cards" / "own" / "1.0" / "digits.md"
    file.parent.mkdir(parents=True)
    file.write_text(CARDS["own/1.0/digits"])
    report, _ = count(tmp_path / "cards", tmp_path / "out.json", "--time-limit", "0.01")
    assert report["counts"]["constructs"] == 0
    assert report["causes"]["not_built"] == {"none: time limit": 1}


def test_two_commits_are_one_network_if_all_that_it_reads_is_the_same(tmp_path: Path) -> None:
    folder = tmp_path / "research" / "cv" / "net"
    (folder / "src").mkdir(parents=True)

    def commit(**texts: str) -> str:
        for name, text in texts.items():
            (folder / "src" / f"{name}.py").write_text(text)
        for command in (["add", "-A"], ["commit", "-q", "-m", "state"]):
            git = ["git", "-c", "user.name=n", "-c", "user.email=n@example.org", "-C", str(tmp_path)]
            subprocess.run([*git, *command], check=True)
        told = subprocess.run(["git", "-C", str(tmp_path), "rev-parse", "HEAD"], check=True, capture_output=True)
        return told.stdout.decode().strip()

    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    first = commit(model="from .parts import Part\n", parts="class Part: ...\n", train="import src.model\n")
    other_script = commit(train="import src.model, os\n")
    other_part = commit(parts="class Part:\n    wide = True\n")
    (folder / "config.yaml").write_text("wide: 1\n")
    unread = commit()
    read = commit(parts="wide = open('config.yaml').read()\n")
    (folder / "config.yaml").write_text("wide: 2\n")
    read_otherwise = commit()
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from hub_loadability import Clone
    finally:
        sys.path.remove(str(BENCHMARKS))
    clone = Clone(tmp_path)
    codes = [
        clone.code(one, "research/cv/net", {"src", "model", "Net"})
        for one in (first, other_script, other_part, unread, read, read_otherwise)
    ]
    clone.close()
    assert codes[0] == codes[1] != codes[2] == codes[3] != codes[4] != codes[5]
