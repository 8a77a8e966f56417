"""What a user gets: the wheel with the cards inside, and a README whose commands are the ones CI runs."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from faultserver import PATIENCE

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel's content, built from this checkout and unpacked."""
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(folder)]
    subprocess.run(command, cwd=ROOT, check=True, capture_output=True, timeout=PATIENCE)
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


def test_the_wheel_holds_the_cards_and_lists_them(installed: Path, tmp_path: Path) -> None:
    cards = sorted(path.relative_to(ROOT / "hub_models") for path in (ROOT / "hub_models").rglob("*.md"))
    assert sorted(path.relative_to(installed / "mshub_ssd/_hub_models") for path in installed.rglob("*.md")) == cards
    done = subprocess.run(
        [sys.executable, "-c", "import mshub_ssd as m; print(m.__file__); print(*m.list_models(), sep='\\n')"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed)},
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE,
    )
    file, *uids = done.stdout.splitlines()
    assert Path(file).is_relative_to(installed)
    assert set(uids) == {card.with_suffix("").as_posix() for card in cards}


def test_the_wheel_is_typed_licensed_and_clean(installed: Path) -> None:
    names = {path.relative_to(installed).as_posix() for path in installed.rglob("*") if path.is_file()}
    assert "mshub_ssd/py.typed" in names
    assert "mshub_ssd/_hub_models/mshub/1.0/ssdmobilenetv2_digits.ckpt" in names
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert not [name for name in names if name.startswith("tests/") or "__pycache__" in name]


def test_ci_runs_the_test_command_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    commands = [line for line in readme.splitlines() if line.startswith("python3 -m venv .venv && ")]
    assert len(commands) == 3, "a demo without MindSpore, one with it, and the tests"
    tests = [line for line in commands if line.endswith("pytest")]
    assert len(tests) == 1
    assert tests[0] in script.splitlines()
