"""A fresh interpreter in which some packages cannot be imported, as if only the light core were installed."""

from __future__ import annotations

import subprocess
import sys

WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked!r}:
            raise ModuleNotFoundError(f"No module named {{name!r}}", name=name)
sys.meta_path.insert(0, Blocked())
"""


def run_without(blocked: set[str], code: str) -> str:
    """What the code prints where none of these packages can be imported."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT.format(blocked=blocked) + code], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
