"""What a run of the linter has to say, as one object."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from mshub_ssd.lint.finding import SEVERITIES, Finding, Severity
from mshub_ssd.lint.formats import text
from mshub_ssd.lint.formats.shared import headline, visible
from mshub_ssd.terminal import html_block, html_table, html_text

__all__ = ["Report", "Unreadable"]

_FEW = 20
"""So many findings are shown in a notebook, each with its place."""


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A file or folder below a given path that could not be read, so nothing is known about it."""

    path: str
    reason: str


@dataclass(frozen=True, slots=True)
class Report:
    """What a run of the linter found.

    Attributes:
        findings: By card in the order of the files, then by place.
        checked: Number of cards looked at.
        unreadable: What could not be looked at.
        suppressed: Number of findings that comments in the cards suppress.
        baselined: Number of findings that the baseline knows already.
        outdated: Number of findings of the baseline that are no more.
        fixes: Codes of the fixes applied (or shown, with a diff), by card.
        diff: What the fixes change, as a unified diff; only where one was asked for.
        hidden: Milder findings, which count and are not shown; see `from_level`.
    """

    findings: tuple[Finding, ...] = ()
    checked: int = 0
    unreadable: tuple[Unreadable, ...] = ()
    suppressed: int = 0
    baselined: int = 0
    outdated: int = 0
    fixes: tuple[tuple[str, tuple[str, ...]], ...] = ()
    diff: str = ""
    hidden: tuple[Finding, ...] = ()

    def from_level(self, level: str) -> Report:
        """The report with the findings that are milder than a severity hidden."""
        wanted = SEVERITIES[: SEVERITIES.index(level) + 1]
        shown = tuple(finding for finding in self.findings if finding.severity in wanted)
        return replace(self, findings=shown, hidden=tuple(one for one in self.findings if one.severity not in wanted))

    @property
    def _all(self) -> tuple[Finding, ...]:
        return (*self.findings, *self.hidden)

    @property
    def ok(self) -> bool:
        """Whether there are neither errors nor warnings, and every card could be read."""
        return not self.unreadable and all(finding.severity == "info" for finding in self._all)

    @property
    def fixed(self) -> int:
        """Number of fixes applied, or shown with a diff."""
        return sum(len(codes) for _, codes in self.fixes)

    def count(self, severity: Severity) -> int:
        """Number of findings of a severity."""
        return sum(finding.severity == severity for finding in self._all)

    def summary(self) -> dict[str, Any]:
        """Counts, JSON-ready."""
        return {
            "cards": self.checked,
            "errors": self.count("error"),
            "warnings": self.count("warning"),
            "infos": self.count("info"),
            "fixable": sum(finding.fix is not None for finding in self._all),
            "suppressed": self.suppressed,
            "baselined": self.baselined,
            "outdated_baseline": self.outdated,
            "fixed": self.fixed,
            "codes": dict(sorted(Counter(finding.code for finding in self._all).items())),
            "unreadable": [{"path": item.path, "reason": item.reason} for item in self.unreadable],
            "ok": self.ok,
        }

    def to_dict(self) -> dict[str, Any]:
        """JSON-ready values, as ``mshub validate --format json`` prints them."""
        return {"findings": [finding.to_dict() for finding in self.findings], "summary": self.summary()}

    def __str__(self) -> str:
        return text.render(self)

    def __repr__(self) -> str:
        # A notebook shows it for every report that is not assigned: one line, and `print` has the rest.
        return f"<Report: {text.verdict(self)}>"

    def _repr_html_(self) -> str:
        """What notebooks show: the findings, of many the rules that found something, and the counts."""
        shown = [f"<p>{html_text(line)}</p>" for line in text.summary(self)]
        if self.findings:
            few = len(self.findings) <= _FEW
            head, *rows = _finding_rows(self.findings) if few else text.rule_counts(self)
            shown.insert(0, html_table(rows, head))
        return html_block(*shown)


def _finding_rows(findings: Sequence[Finding]) -> Iterator[tuple[str, ...]]:
    yield ("place", "severity", "what is wrong, and what to do")
    for one in findings:
        yield (f"{visible(one.path)}:{one.line}:{one.column}", one.severity, headline(one))
