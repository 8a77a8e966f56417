"""What type checkers see of the public names."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("mypy")
pytest.importorskip("mindspore")

USE = """
import mshub_ssd as mshub
from mshub_ssd import Hub

network = mshub.load("mindspore/1.7/ssdresnet50fpn_coco2017")
reveal_type(network)
reveal_type(Hub().load("x"))
reveal_type(mshub.detect(network, "a.png"))
reveal_type(mshub.info("x"))
reveal_type(mshub.list_models())
reveal_type(mshub.fetch("x"))
reveal_type(mshub.validate("x"))
reveal_type(mshub.MshubError("x").code)
mshub.load(3)
mshub.nothing
"""


def test_checkers_see_real_types(tmp_path: Path) -> None:
    (tmp_path / "use.py").write_text(USE, encoding="utf-8")
    # MindSpore has no py.typed, so mypy takes its classes for Any unless it is told to look.
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-untyped-imports", "--no-error-summary", "use.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    seen = [line.split(": ", 2)[2] for line in done.stdout.splitlines()]
    types = [line.split('"')[1].rsplit(".", 1)[-1] for line in seen if line.startswith("Revealed")]
    assert types == ["Cell", "Cell", "Detections", "Card", "list[str]", "Path", "Report", "str"], done.stdout
    wrong = [line for line in seen if not line.startswith("Revealed")]
    assert len(wrong) == 2
    assert 'expected "str | Path"' in wrong[0]
    assert 'no attribute "nothing"' in wrong[1]
