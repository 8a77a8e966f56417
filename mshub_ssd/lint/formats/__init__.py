"""A report in the words of whoever reads it: people, programs, and the CI systems that show findings in a diff."""

from __future__ import annotations

from pathlib import Path

from mshub_ssd.errors import UsageError
from mshub_ssd.lint.finding import Report
from mshub_ssd.lint.formats import github, gitlab, junit, plain_json, sarif, text

__all__ = ["FORMATS", "render"]

FORMATS = ("text", "json", "github", "gitlab", "sarif", "junit")


def render(report: Report, format: str, *, color: bool = False, root: Path | None = None) -> str:
    """Write a report out.

    Args:
        report: What the linter found.
        format: One of `FORMATS`.
        color: Colour the text with terminal sequences; the other formats have no colours.
        root: Folder that the paths of ``github``, ``gitlab`` and ``sarif`` are relative to, where CI has checked
            the repository out somewhere else than in the working folder; by default paths stay as they are.

    Returns:
        The text, without a line break at its end. All formats but ``text``, ``github`` and ``junit`` are ASCII;
        none holds a character that steers a terminal, but for the colours.

    Raises:
        UsageError: There is no such format.
    """
    if format == "text":
        return text.render(report, color=color)
    if format == "json":
        return plain_json.render(report)
    if format == "github":
        return github.render(report, root)
    if format == "gitlab":
        return gitlab.render(report, root)
    if format == "sarif":
        return sarif.render(report, root)
    if format == "junit":
        return junit.render(report)
    raise UsageError(
        "there is no such output format",
        where="--format",
        expected=", ".join(FORMATS),
        got=repr(format),
        hint="mshub validate --format text PATH",
    )
