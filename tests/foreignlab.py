"""Folders as those of other people's repositories, with all that is wrong with them."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mshub_ssd.providers.recipes import Call

NETWORK = """
    from mindspore import nn

    class Net(nn.Cell):
        def __init__(self, width=2, **more):
            super().__init__()
            self.conv = nn.Conv2d(3, width, 3, has_bias=True)
            self.more = more

        def construct(self, x):
            return self.conv(x)
"""


def folder_of(place: Path, files: Mapping[str, str]) -> Path:
    """A folder with these files; the texts may be indented."""
    for name, text in files.items():
        file = place / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(textwrap.dedent(text), encoding="utf-8")
    return place


def call(place: str, *args: Any, argv: tuple[str, ...] = (), **kwargs: Any) -> Call:
    return Call(place, args, kwargs, argv)
