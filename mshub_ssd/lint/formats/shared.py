"""What several formats need: safe text, paths below a root, and fingerprints that outlive a shift of lines."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from mshub_ssd.lint.finding import Finding
from mshub_ssd.terminal import plain

__all__ = ["fingerprints", "headline", "located", "visible", "well_formed"]

_SURROGATE = re.compile("[\ud800-\udfff]")


def visible(text: str) -> str:
    """A text with all that is no visible character spelt out: a space that is none may be what a finding is about."""
    return text if text.isprintable() else plain(text, exact=True)


def well_formed(text: str) -> str:
    """`text` without halves of surrogate pairs, which strict readers of JSON refuse."""
    return _SURROGATE.sub("\ufffd", text)


def headline(finding: Finding) -> str:
    """What is wrong and how to fix it, in one line."""
    text = f"{finding.code} {finding.message}"
    # Behind its first line help may have a template.
    advice = finding.help.partition("\n")[0].rstrip(":") if finding.help else ""
    return visible(f"{text}; {advice}" if advice else text)


def located(path: str, root: Path | None) -> str:
    """A finding's path relative to `root`; as it is without one, or where it does not lie below it."""
    if root is None:
        return path
    full, top = Path.cwd() / path, root.resolve()
    return full.relative_to(top).as_posix() if full.is_relative_to(top) else full.as_posix()


def fingerprints(findings: Iterable[Finding], root: Path | None) -> list[str]:
    """One digest for each finding, unique in the report, that stays when lines are added above it.

    It is made of the path, the code and the text of the line; the occurrence tells equal ones apart.
    """
    seen: Counter[tuple[str, str, str]] = Counter()
    digests = []
    for finding in findings:
        key = (located(finding.path, root), finding.code, finding.excerpt.strip())
        seen[key] += 1
        text = "\0".join((*key, str(seen[key])))
        digests.append(hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest())
    return digests
