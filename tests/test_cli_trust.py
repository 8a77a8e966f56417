"""``mshub trust``: consent by command, and reading the code before."""

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from commands import answer, environment, process, refused, run
from repolab import Lab

from mshub_ssd import foreign, settings

ZOO = "mindspore/models"
R19 = foreign.BRANCHES[ZOO]["r1.9"]
PIN = f"{ZOO}@{R19}"
UID = "lab/1.9/net"
CODE = "import os  # \x1b]0;title\x07 \u202e\nclass Net:\n    pass\n"
DOCUMENT = Path(__file__).resolve().parent.parent / "docs" / "trust.md"


def card(folder: Path, link: str | None, name: str = "net") -> None:
    place = folder / "cards" / "lab" / "1.9"
    place.mkdir(parents=True, exist_ok=True)
    line = "" if link is None else f"repo-link: {link}\n"
    (place / f"{name}.md").write_text(f"# {name}\n\n---\n\nmodel-name: {name}\n{line}\n---\n\n## Introduction\n")


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A card whose code is in a repository here; its commit."""
    lab = Lab(tmp_path / "models.git")
    canary = f"open({str(tmp_path / 'canary')!r}, 'w')\n"
    source = {"__init__.py": canary, "net.py": CODE}
    net = {"src": source, "setup.py": canary, "net.png": b"x", "odd.bin": b"\xff\n"}
    commit = lab.commit({"official": {"cv": {"net": net}}})
    card(tmp_path, "https://gitee.com/mindspore/models/tree/r1.9/official/cv/net")
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={lab.path}")
    table = {ZOO: {"r1.9": commit}}
    monkeypatch.setattr(foreign.commits, "BRANCHES", table)
    monkeypatch.setattr(foreign, "BRANCHES", table)
    return commit


def test_consent_is_added_listed_and_removed() -> None:
    assert run("trust", "list").stdout == "No code of repositories may run.\n"
    text = run("trust", "add", PIN).stdout
    assert f"trust remove {PIN}" in text
    assert foreign.is_allowed(ZOO, R19)
    (one,) = answer("trust", "list")
    assert {**one, "given": None} == {
        "repository": ZOO, "commit": R19, "branches": ["r1.9"], "given": None, "by": "command", "uid": None,
    }  # fmt: skip
    foreign.require(ZOO, "0" * 40, uid=UID, path="a", trust_repo=True)
    shown = run("trust", "list").stdout
    assert "mshub trust add" in shown
    assert f"trust_repo=True for {UID}" in shown
    assert answer("trust", "remove", PIN)[0]["commit"] == R19
    assert not foreign.is_allowed(ZOO, R19)
    assert "may no longer run" in run("trust", "remove", ZOO).stdout
    assert foreign.allowed() == []
    assert "no consent" in refused("trust", "remove", ZOO)


@pytest.mark.parametrize("pin", [ZOO, f"{ZOO}@r1.9", f"{ZOO}@{R19[:12]}", f"{ZOO}@master", f"{ZOO}@", R19])
def test_nothing_but_a_commit_is_consented_to(pin: str) -> None:
    assert "all 40 hex digits" in refused("trust", "add", pin)
    assert foreign.allowed() == []


def test_unknown_repositories_and_commits_are_told() -> None:
    assert ZOO in refused("trust", "add", f"mindspore/modles@{R19}")
    told = run("trust", "add", f"{ZOO}@{'1' * 40}")
    assert told.exit_code == 0
    assert f"r1.9 {R19}" in told.stderr


def test_the_code_can_be_read_first_and_is_not_run(zoo: str, tmp_path: Path) -> None:
    shown = run("trust", "show", UID)
    assert shown.exit_code == 0
    for text in (f"{ZOO}@{zoo}", "official/cv/net", "src/net.py", "left out: picture", "4 files", "Consent: none",
                 f"trust add {ZOO}@{zoo}", f"trust show {UID} --file"):  # fmt: skip
        assert text in shown.stdout
    facts = answer("trust", "show", UID)
    assert (facts["repository"], facts["commit"], facts["allowed"]) == (ZOO, zoo, False)
    assert {one["name"]: one["left_out"] for one in facts["files"]}["net.png"] == "picture"
    assert {one["name"]: one["size"] for one in facts["files"]}["src/net.py"] == len(CODE.encode())
    one = run("trust", "show", UID, "--file", "src/net.py").stdout
    # What steers a terminal, or shows code in another order than it runs, is spelt out.
    assert one == "import os  # \\x1b]0;title\\x07 \\u202e\nclass Net:\n    pass\n"
    assert answer("trust", "show", UID, "--file", "src/net.py")["text"] == CODE
    assert run("trust", "show", UID, "--file", "odd.bin").stdout == "\\xff\n"
    for name in ("../proof", "nothing.py", "net.png", "src"):
        assert "no such file" in refused("trust", "show", UID, "--file", name)
    assert not (tmp_path / "canary").exists()
    assert foreign.allowed() == []
    run("trust", "add", f"{ZOO}@{zoo}")
    assert "Consent: since" in run("trust", "show", UID).stdout
    assert answer("trust", "show", UID)["allowed"] is True
    assert not (tmp_path / "canary").exists()


def test_cards_without_known_code_are_told(zoo: str, tmp_path: Path) -> None:
    card(tmp_path, None, "none")
    card(tmp_path, "https://gitee.com/mindspore/models/tree/r9.9/official/cv/net", "branch")
    card(tmp_path, "https://github.com/mindspore-lab/mindcv/tree/v0.4.0/configs/bit", "package")
    card(tmp_path, "https://gitee.com/mindspore/models/tree/r1.9/official/cv/gone", "gone")
    assert "no folder of a repository" in refused("trust", "show", "lab/1.9/none")
    assert "no commit is known" in refused("trust", "show", "lab/1.9/branch")
    assert "no commit is known" in refused("trust", "show", "lab/1.9/package")
    assert "no such folder" in refused("trust", "show", "lab/1.9/gone")


def test_offline_it_shows_what_is_here(zoo: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("MSHUB_REPOSITORIES")
    assert "network is forbidden" in refused("trust", "show", UID, "--offline")


# --- docs/trust.md

FENCES = re.findall(r"```(python|sh)\n(.*?)```(?:\n\n```\n(.*?)```)?", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)


def test_the_documents_commands_do_what_it_says() -> None:
    ran = 0
    for language, code, promised in FENCES:
        if language == "python":
            done = subprocess.run(
                [sys.executable, "-c", code],
                capture_output=True,
                text=True,
                check=False,
                env=environment(),
                timeout=120,
            )
            assert (done.returncode, done.stdout) == (0, promised), done.stderr
            ran += 1
            continue
        for line in code.splitlines():
            words = shlex.split(line, comments=True)
            if words[:3] in (["mshub", "trust", "add"], ["mshub", "trust", "list"], ["mshub", "trust", "remove"]):
                done = process(*words[1:])
                assert done.returncode == 0, done.stderr
                ran += 1
            elif words[0] == "mshub":
                # What needs the repository itself is at least a command that exists.
                assert process(*words[1:3], "--help").returncode == 0
    assert ran >= 4
    assert foreign.allowed() == []


def test_the_document_names_the_settings_and_limits() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    assert "MSHUB_REPOSITORIES" in text
    assert "5,000 files" in text
    assert str(settings.trust_folder().name) in text
    for commit in re.findall(r"\b[0-9a-f]{40}\b", text):
        assert commit in foreign.BRANCHES[ZOO].values()
    assert json.dumps("trust") in text
