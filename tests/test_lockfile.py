"""Lock files: the exact models of a project."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import SOURCE, answer, environment, refused, run
from faultserver import FaultServer
from shelf import Shelf

import mshub_ssd
from mshub_ssd.errors import IntegrityError, UsageError

CAT, DOG = "own/1.0/cat", "own/1.0/dog"


@pytest.fixture
def shelf(tmp_path: Path, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    made = Shelf(tmp_path / "cards", fault_server)
    for uid in (CAT, DOG):
        made.put(uid, uid.encode() * 1000)
        change(made, uid, "license: Apache-2.0", "license: Apache-2.0\n\nnetwork: ssd_vgg16")
    monkeypatch.setenv("MSHUB_REGISTRY", str(made.folder))
    monkeypatch.chdir(tmp_path)
    return made


def change(shelf: Shelf, uid: str, before: str, after: str) -> None:
    path = shelf.folder / f"{uid}.md"
    text = path.read_text(encoding="utf-8")
    assert before in text
    path.write_text(text.replace(before, after), encoding="utf-8")


def test_the_models_of_a_project_are_locked_and_brought(shelf: Shelf, tmp_path: Path) -> None:
    assert "own/1.0/cat: new" in run("lock", "own/*").stdout
    text = Path("mshub.lock").read_text(encoding="utf-8")
    models = json.loads(text)["models"]
    assert list(models) == [CAT, DOG]
    assert models[CAT]["network"] == "ssd_vgg16"
    assert len(models[CAT]["card"]) == len(models[CAT]["checkpoint"]["sha256"]) == 64
    assert shelf.server.requests == [], "nothing is downloaded"
    run("lock")
    assert Path("mshub.lock").read_text(encoding="utf-8") == text
    paths = {entry["uid"]: Path(entry["path"]) for entry in answer("sync", "--locked")}
    assert {uid: path.read_bytes() for uid, path in paths.items()} == {uid: uid.encode() * 1000 for uid in (CAT, DOG)}
    shelf.server.requests.clear()
    assert run("sync", "--locked", "--offline").exit_code == 0
    assert shelf.server.requests == []


@pytest.mark.parametrize(
    ("before", "after", "what"),
    [
        ("network: ssd_vgg16", "network: ssd_ghostnet", "the network"),
        ("network: ssd_vgg16", "network: {name: ssd_vgg16, num_classes: 7}", "the network's arguments"),
        ("cat.ckpt", "cats.ckpt", "the checkpoint's address"),
        ("file-format: ckpt", "file-format: pth", "the checkpoint's format"),
        ("file-format: ckpt", "file-format: ckpt\n  asset-size: 5", "the checkpoint's size"),
        ('sha256: "', 'sha256: "0', "the checkpoint's digest"),
        ("What it is", "What it was", "the card's text"),
    ],
)
def test_what_differs_is_refused_and_named(shelf: Shelf, before: str, after: str, what: str) -> None:
    run("lock", CAT, DOG)
    locked = Path("mshub.lock").read_text(encoding="utf-8")
    change(shelf, CAT, before, after)
    if what == "the checkpoint's digest":
        change(shelf, CAT, after, 'sha256: "00000000')
        path = shelf.folder / f"{CAT}.md"
        path.write_text(re.sub(r'sha256: "0{8}([0-9a-f]{56}).*"', r'sha256: "00000000\1"', path.read_text()))
    checked = run("lock", "--check")
    assert checked.exit_code == 1
    assert f"{CAT}: {what}" in checked.stdout
    assert f"{DOG}: as it was" in checked.stdout
    with pytest.raises(IntegrityError, match=re.escape(f"{what} differs")):
        mshub_ssd.load(CAT, locked="mshub.lock")
    result = run("sync", "--locked")
    assert result.exit_code == 1
    assert f"{what} differs" in result.stderr
    assert result.stdout.startswith(f"{DOG}  "), "the others are brought"
    assert Path("mshub.lock").read_text(encoding="utf-8") == locked
    run("lock", CAT)
    assert run("lock", "--check").exit_code == 0


def test_what_is_not_locked_is_refused(shelf: Shelf) -> None:
    run("lock", DOG)
    with pytest.raises(UsageError, match="is not locked") as caught:
        mshub_ssd.load(CAT, locked="mshub.lock")
    assert caught.value.hint == f"mshub lock {CAT} -o mshub.lock"
    (shelf.folder / f"{DOG}.md").unlink()
    assert "no model card of that name" in run("sync", "--locked").stderr


def test_a_bundle_brings_what_the_network_does_not(shelf: Shelf, monkeypatch: pytest.MonkeyPatch) -> None:
    run("lock", CAT)
    run("bundle", CAT, "-o", "models.tar")
    monkeypatch.setenv("MSHUB_HOME", "elsewhere")
    monkeypatch.delenv("MSHUB_REGISTRY")
    assert run("sync", "--locked", "--offline").exit_code == 1
    (entry,) = answer("sync", "--locked", "--offline", "--bundle", "models.tar")
    assert Path(entry["path"]).read_bytes() == CAT.encode() * 1000


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '{"models": 3}', '{"version": 2, "models": {}}', '{"version": 1, "models": {"a": 1}}']
)
def test_what_is_no_lock_file_is_refused(shelf: Shelf, text: str) -> None:
    Path("mshub.lock").write_text(text, encoding="utf-8")
    for command in (["lock"], ["lock", CAT], ["sync"], ["sync", "--locked"]):
        assert "lock file" in refused(*command)
    assert Path("mshub.lock").read_text(encoding="utf-8") == text
    Path("mshub.lock").unlink()
    assert "there is no lock file" in refused("sync")
    assert "there is no lock file" in refused("lock")


DOCUMENT = (SOURCE / "docs" / "lockfile.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("code", "promised"), re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", DOCUMENT, re.DOTALL))
def test_the_documents_code_does_what_it_says(code: str, promised: str, tmp_path: Path) -> None:
    if ".load(" in code:
        pytest.importorskip("mindspore")
    program = f"import os; os.chdir({str(tmp_path)!r})\n{code}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout) == (0, promised), done.stderr
