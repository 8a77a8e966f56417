"""A report in the words of whoever reads it: people, programs, and the CI systems that show findings in a diff."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import UsageError

if TYPE_CHECKING:
    from mshub_ssd.lint.report import Report

__all__ = ["FORMATS", "render"]

FORMATS = ("text", "full", "concise", "json", "github", "gitlab", "sarif", "junit")
_MODULES = {"json": "plain_json", "full": "text", "concise": "text"}
_TEXTS = ("text", "full", "concise")


def render(report: Report, format: str, *, color: bool = False, root: Path | None = None) -> str:
    """Write a report out.

    Args:
        report: What the linter found.
        format: One of `FORMATS`.
        color: Colour the texts for people with terminal sequences; the other formats have no colours.
        root: Folder that the paths of ``github``, ``gitlab`` and ``sarif`` are relative to, where CI has checked
            the repository out somewhere else than in the working folder; by default paths stay as they are.

    Returns:
        The text, without a line break at its end. ``json``, ``gitlab`` and ``sarif`` are ASCII;
        none holds a character that steers a terminal, but for the colours.

    Raises:
        UsageError: There is no such format.
    """
    if format in FORMATS:
        module = importlib.import_module(f"mshub_ssd.lint.formats.{_MODULES.get(format, format)}")
        options: dict[str, Any] = {"root": root}
        if format in _TEXTS:
            options = {"color": color, "shape": format}
        elif format in ("json", "junit"):
            options = {}
        return str(module.render(report, **options))
    raise UsageError(
        "there is no such output format",
        where="--format",
        expected=", ".join(FORMATS),
        got=repr(format),
        hint="mshub validate --format text PATH",
    )
