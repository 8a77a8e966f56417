"""Old debt, written down: findings that a baseline file knows are not told again.

An entry is a card's path relative to the baseline file, a code, the text of the finding's line, and how often that
occurs. No line numbers: findings that only move stay known.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mshub_ssd.errors import UsageError
from mshub_ssd.files import read_regular, replace_file
from mshub_ssd.lint.finding import Finding
from mshub_ssd.lint.rules import all_rules

__all__ = ["Baseline", "Entry"]

_VERSION = 1
_LONG = 160


class Entry(NamedTuple):
    """What a finding is known by.

    Attributes:
        path: The card's file relative to the baseline file's folder, with ``/``.
        code: The rule's code.
        line: The finding's line without the space around it; long ones as their beginning and a hash.
    """

    path: str
    code: str
    line: str


class Baseline:
    """Known findings.

    Args:
        folder: What the paths of the entries are relative to: the folder of the baseline file.
        entries: How often each occurs.
    """

    def __init__(self, folder: Path, entries: Mapping[Entry, int] | None = None) -> None:
        self._folder = os.path.abspath(folder)
        self._entries = Counter(entries or {})
        self._paths: dict[str, str] = {}

    def __len__(self) -> int:
        return self._entries.total()

    @classmethod
    def load(cls, path: Path) -> Baseline:
        """Read a baseline file.

        Raises:
            UsageError: It is missing, cannot be read, or is something else.
        """
        try:
            value = json.loads(read_regular(path, 1 << 28).decode("utf-8"))
        except FileNotFoundError as error:
            raise UsageError(
                "the baseline file is not there",
                where=str(path),
                hint=f"write it: mshub validate PATH --baseline {path} --update-baseline",
            ) from error
        except OSError as error:
            reason = os.strerror(errno.EISDIR) if path.is_dir() else error.strerror or type(error).__name__
            raise UsageError(f"the baseline file cannot be read: {reason}", where=str(path)) from error
        except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
            raise _foreign(path, f"no JSON ({error})") from error
        return cls(path.parent, dict(_parsed(path, value)))

    def filter(
        self, findings: Iterable[Finding], *, cards: Collection[str] | None = None, codes: Collection[str] | None = None
    ) -> tuple[list[Finding], int, int]:
        """Separate the new from the known.

        Args:
            findings: What a run found.
            cards: Paths of the cards it looked at, as findings show them; None if it looked at all of them.
            codes: The rules it ran; None if it ran all of them.

        Returns:
            The findings that are not known, how many are known, and how many entries are outdated: their finding
            could have come up in this run, and did not. Entries of files that are gone are outdated too.
        """
        left = self._entries.copy()
        new: list[Finding] = []
        known = 0
        for finding in findings:
            entry = self._entry(finding)
            if left[entry] > 0:
                left[entry] -= 1
                known += 1
            else:
                new.append(finding)
        testable = self._testable(cards, codes)
        return new, known, sum(count for entry, count in left.items() if count > 0 and testable(entry))

    def updated(
        self, findings: Iterable[Finding], *, cards: Collection[str] | None = None, codes: Collection[str] | None = None
    ) -> Baseline:
        """A baseline that knows `findings`, and of its own entries those that this run says nothing about.

        Args:
            findings: What a run found, known or not.
            cards: As for `filter`.
            codes: As for `filter`.
        """
        testable = self._testable(cards, codes)
        entries = Counter({entry: count for entry, count in self._entries.items() if not testable(entry)})
        for finding in findings:
            entries[self._entry(finding)] += 1
        return Baseline(Path(self._folder), entries)

    def change_to(self, other: Baseline) -> tuple[int, int]:
        """How many findings `other` knows that this does not, and the other way round."""
        return (other._entries - self._entries).total(), (self._entries - other._entries).total()

    def write(self, path: Path) -> None:
        """Write the file in one step: sorted, one entry a line, the same bytes for the same entries.

        Raises:
            UsageError: It cannot be written, or its folder is not the one that paths are relative to.
        """
        if os.path.abspath(path.parent) != self._folder:
            raise UsageError(
                "a baseline belongs into the folder it was made for", where=str(path), expected=self._folder
            )
        cards: dict[str, dict[str, dict[str, int]]] = {}
        for entry, count in sorted(self._entries.items()):
            cards.setdefault(entry.path, {}).setdefault(entry.code, {})[entry.line] = count
        text = json.dumps({"mshub-baseline": _VERSION, "cards": cards}, indent=1, ensure_ascii=False)
        data = "".join(map(_visible, text)).encode("utf-8") + b"\n"
        try:
            replace_file(Path(os.path.realpath(path)), data, keep_mode=True)
        except OSError as error:
            raise UsageError(
                f"the baseline file cannot be written: {error.strerror or type(error).__name__}",
                where=str(path),
                hint="give a file that can: mshub validate PATH --baseline FILE --update-baseline",
            ) from error

    def _testable(self, cards: Collection[str] | None, codes: Collection[str] | None) -> Callable[[Entry], bool]:
        """Whether a run could have found an entry's finding again."""
        looked_at = None if cards is None else {self._relative(card) for card in cards}
        gone = {
            path for path in {entry.path for entry in self._entries} if not os.path.lexists(Path(self._folder, path))
        }
        # What compares cards is found only where the others are looked at, too.
        partial = looked_at is not None and (
            len(looked_at) < 2 or any(entry.path not in looked_at | gone for entry in self._entries)
        )
        comparing = {code for code, rule in all_rules().items() if rule.scope == "tree"} if partial else set[str]()

        def testable(entry: Entry) -> bool:
            if entry.path in gone:
                return True
            if looked_at is not None and entry.path not in looked_at:
                return False
            return entry.code not in comparing and (codes is None or entry.code in codes)

        return testable

    def _entry(self, finding: Finding) -> Entry:
        line = finding.excerpt.strip()
        if len(line) > _LONG:
            line = f"{line[:_LONG]}... sha256:{hashlib.sha256(line.encode('utf-8', 'replace')).hexdigest()[:16]}"
        return Entry(self._relative(finding.path), finding.code, line)

    def _relative(self, shown: str) -> str:
        if shown not in self._paths:
            self._paths[shown] = os.path.relpath(os.path.abspath(shown), self._folder).replace(os.sep, "/")
        return self._paths[shown]


def _parsed(path: Path, value: object) -> Iterable[tuple[Entry, int]]:
    if not isinstance(value, dict) or "mshub-baseline" not in value:
        raise _foreign(path, "something else")
    if value["mshub-baseline"] != _VERSION:
        raise _foreign(path, f"version {value['mshub-baseline']!r}")
    for card, codes in _items(path, value.get("cards")):
        for code, lines in _items(path, codes):
            for line, count in _items(path, lines):
                if type(count) is not int or count < 1:
                    raise _foreign(path, f"{count!r} where a number of findings belongs ({card}, {code})")
                yield Entry(card, code, line), count


def _items(path: Path, value: object) -> Iterable[tuple[str, Any]]:
    if not isinstance(value, dict):
        raise _foreign(path, f"{value!r:.60} where a table belongs")
    return value.items()


def _foreign(path: Path, got: str) -> UsageError:
    return UsageError(
        "the baseline file is none that this version can read",
        where=str(path),
        expected=f'a file written by --update-baseline, with "mshub-baseline": {_VERSION}',
        got=got,
        hint=f"delete it, then write it anew: mshub validate PATH --baseline {path} --update-baseline",
    )


def _visible(char: str) -> str:
    """Characters that a diff would not show, or that would rearrange it, as JSON's escapes."""
    if char == "\n" or char.isprintable():
        return char
    return json.dumps(char)[1:-1] if ord(char) > 0x7F else f"\\u{ord(char):04x}"
