"""From paths to a report: reads the cards, runs the rules, applies fixes, on as many cores as it may use."""

from __future__ import annotations

import bisect
import difflib
import functools
import gc
import itertools
import os
import re
import signal
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from mshub_ssd.cards import MAX_BYTES, Span, read_bytes
from mshub_ssd.errors import MshubError, UsageError
from mshub_ssd.files import NotRegularError, replace_file
from mshub_ssd.lint import suppress, tree
from mshub_ssd.lint.context import CardContext, Violation
from mshub_ssd.lint.discovery import CardFile, discover
from mshub_ssd.lint.finding import Edit, Finding, Fix
from mshub_ssd.lint.plan import Planner
from mshub_ssd.lint.report import Report, Unreadable
from mshub_ssd.lint.rules import Rule, all_rules
from mshub_ssd.redaction import scrub

if TYPE_CHECKING:
    from mshub_ssd.lint.config import Config

__all__ = ["check_text", "lint"]

FixMode = Literal["none", "safe", "unsafe"]

_SUPPRESSION_RULE = "MC049"
_MAX_ROUNDS = 1000
# Of one rule in one card; a bomb must not become a report of gigabytes.
_MAX_FINDINGS = 50
_MOST = _MAX_FINDINGS + 1
_LONG_LINE = 1000
_AROUND = 200
# Below this many cards a second process costs more than it saves.
_WORTH_A_PROCESS = 150
_CHUNK = 32
# So many cards, of so many bytes in all, are checked together.
_TOGETHER = 32
_MOST_BYTES = 1 << 18
_CARD_LIKE = re.compile(r"^(?:model-name|mindspore-version|asset)[ \t]*:", re.MULTILINE)


@dataclass(slots=True)
class _Result:
    """One card, looked at."""

    findings: list[Finding]
    facts: tree.Facts | None = None
    suppressions: list[suppress.Suppression] | None = None
    suppressed: int = 0
    fixed: tuple[str, ...] = ()
    before: bytes | None = None
    after: bytes | None = None
    unreadable: str | None = None
    readable: bool = False
    loose: bool = False
    late: Mapping[tuple[int, int], tuple[Span, str, int]] | None = None


def lint(
    paths: Sequence[str | Path],
    config: Config,
    *,
    jobs: int = 1,
    fix: FixMode = "none",
    write: bool = True,
    progress: Callable[[int, int], None] | None = None,
    answers: Mapping[str, Any] | None = None,
    describe: Callable[[Finding], str] | None = None,
    planner: Planner | None = None,
) -> Report:
    """Check cards.

    Args:
        paths: Files and folders.
        config: Which rules, how severe, what to leave out.
        jobs: Most processes to use. More than one forks: only for a process without threads.
        fix: Which fixes to apply.
        write: Write fixed cards back; otherwise the report has a diff.
        progress: Called with the number of cards done and to do.
        answers: What the network said, for the rules that need it.
        describe: Writes a finding out. With several processes each does it for its own findings; see `Finding.shown`.
        planner: Works out what loading a card would do; without one, rules about that find nothing.

    Raises:
        UsageError: A path does not exist, or there is no card below the paths.
    """
    cards, unreadable = discover(paths, roots=config.roots, exclude=config.exclude, base=config.base)
    run = _Run(config, fix, answers, describe, planner)
    results: list[_Result] = []
    for result in _results(run, cards, jobs):
        results.append(result)
        if progress:
            progress(len(results), len(cards))
    lost = [Unreadable(card.path, one.unreadable) for card, one in zip(cards, results, strict=True) if one.unreadable]
    if any(card.sure for card in cards):
        # Among cards in their folders, Markdown without fields is something else: a guide, a list of changes.
        kept = [(card, one) for card, one in zip(cards, results, strict=True) if not one.loose]
        cards, results = [card for card, _ in kept], [one for _, one in kept]
    _check_tree(run, results)
    findings, suppressed = [], 0
    for result in results:
        findings += sorted(result.findings, key=Finding.sort_key)
        suppressed += result.suppressed
    known = outdated = 0
    if config.baseline is not None:
        looked_at = [card.path for card, one in zip(cards, results, strict=True) if not one.unreadable]
        findings, known, outdated = config.baseline.filter(findings, cards=looked_at, codes=run.codes)
    diff = ""
    for card, result in zip(cards, results, strict=True):
        if result.after is not None and result.before is not None:
            if write:
                _write(card, result.before, result.after)
            else:
                diff += _diff(card, result.before, result.after)
    return Report(
        findings=tuple(findings),
        checked=len(cards) - len(lost),
        unreadable=(*unreadable, *lost),
        suppressed=suppressed,
        baselined=known,
        outdated=outdated,
        fixes=tuple((card.path, one.fixed) for card, one in zip(cards, results, strict=True) if one.fixed),
        diff=diff,
    )


def check_text(data: bytes, config: Config, *, path: str = "card.md", uid: str | None = None) -> list[Finding]:
    """The findings of a single card that need not be a file."""
    return sorted(_Run(config).check(CardFile(Path(path), path, uid), 0, data).findings, key=Finding.sort_key)


class _Run:
    """What is the same for all cards of a run."""

    def __init__(
        self,
        config: Config,
        fix: FixMode = "none",
        answers: Mapping[str, Any] | None = None,
        describe: Callable[[Finding], str] | None = None,
        planner: Planner | None = None,
    ) -> None:
        self.config = config
        self.planner = planner
        self.fix = fix
        self.describe = describe
        rules = all_rules()
        chosen = [rule for code, rule in rules.items() if code in config.enabled]
        self.known = frozenset(rules)
        self.codes = {rule.code for rule in chosen if rule.scope != "online" or answers is not None}
        self.checks = [(rule, rule.check) for rule in chosen if rule.scope == "card"]
        self.tree_rules = [rule for rule in chosen if rule.scope == "tree"]
        # What comments silence can be told to be idle only where it would have been found.
        self.testable = frozenset(rule.code for rule, _ in self.checks)
        if answers is not None:
            online = [rule for rule in chosen if rule.scope == "online"]
            self.checks += [(rule, functools.partial(rule.check, answers=answers)) for rule in online]
        self.complain = rules[_SUPPRESSION_RULE] if _SUPPRESSION_RULE in config.enabled else None

    def cards(self, numbered: Iterable[tuple[int, CardFile]]) -> Iterator[_Result]:
        """Read and check cards, and apply fixes."""
        group: list[tuple[CardFile, int, bytes]] = []
        size = 0
        for index, card in numbered:
            try:
                data = read_bytes(card.file)
            except OSError as error:
                yield from self._mended(group)
                reason = error.strerror or type(error).__name__
                yield _Result([], unreadable="not a regular file" if isinstance(error, NotRegularError) else reason)
                group, size = [], 0
                continue
            group.append((card, index, data))
            size += len(data)
            if len(group) >= _TOGETHER or size >= _MOST_BYTES:
                yield from self._mended(group)
                group, size = [], 0
        yield from self._mended(group)

    def _mended(self, group: list[tuple[CardFile, int, bytes]]) -> Iterator[_Result]:
        results = self.check_all(group)
        if self.fix == "none":
            return iter(results)
        return (self._fixes(*one, result) for one, result in zip(group, results, strict=True))

    def _fixes(self, card: CardFile, index: int, data: bytes, result: _Result) -> _Result:
        """Apply the fixes of one card, and those of what is found then."""
        before, fixed = data, list[str]()
        refused: set[Fix] = set()
        for _ in range(_MAX_ROUNDS):
            wanted = [one for one in result.findings if self._wanted(one.fix) and one.fix not in refused]
            changed, codes = _fixed(data, wanted)
            if not codes:
                break
            following = self.check(card, index, changed)
            if _worse(following, result, changed):
                # One of them leaves a card that cannot be read; the others shall not wait for it.
                alone = [(one.fix, _fixed(data, [one])[0]) for one in wanted]
                bad = {fix for fix, text in alone if fix and _worse(self.check(card, index, text), result, text)}
                refused |= bad or {one.fix for one in wanted if one.fix}
                continue
            data, result = changed, following
            fixed += codes
            refused.clear()  # what was wrong beside the others may be right now
        result.findings = [replace(one, fix=None) if one.fix in refused else one for one in result.findings]
        if data != before:
            result.before, result.after, result.fixed = before, data, tuple(fixed)
        return result

    def _wanted(self, fix: Fix | None) -> bool:
        return fix is not None and (fix.safe or self.fix == "unsafe")

    def check(self, card: CardFile, index: int, data: bytes) -> _Result:
        """Check the bytes of one card."""
        return self.check_all([(card, index, data)])[0]

    def check_all(self, group: Sequence[tuple[CardFile, int, bytes]]) -> list[_Result]:
        """Check the bytes of cards, one rule after the other for all of them.

        That is a fifth faster than one card after the other: what a rule needs stays in the processor's caches.
        """
        contexts = [self._context(card, data) for card, _, data in group]
        hidden = [self.config.let_off(card.file, card.uid) for card, _, _ in group]
        findings: list[list[Finding]] = [[] for _ in group]
        for rule, check in self.checks:
            for context, off, known in zip(contexts, hidden, findings, strict=True):
                # Most rules find nothing in most cards: that has to cost next to nothing.
                if (not off or rule.code not in off) and (found := list(itertools.islice(check(context), _MOST))):
                    known += [self.finding(rule, context, violation) for violation in _bounded(found)]
        return [
            self._result(card, index, context, off, known)
            for (card, index, _), context, off, known in zip(group, contexts, hidden, findings, strict=True)
        ]

    def _context(self, card: CardFile, data: bytes) -> CardContext:
        file = card.file if card.file.is_absolute() else None
        return CardContext(data, path=card.path, uid=card.uid, file=file, planner=self.planner)

    def _result(
        self, card: CardFile, index: int, context: CardContext, hidden: frozenset[str], findings: list[Finding]
    ) -> _Result:
        """What is known of a card once the rules have run."""
        comments = suppress.read(context)
        findings, suppressed = suppress.apply(findings, comments)
        if self.complain and comments and _SUPPRESSION_RULE not in hidden:
            idle = suppress.complaints(comments, self.known, self.testable - hidden)
            findings += [self.finding(self.complain, context, violation) for violation in idle]
        facts = late = None
        if self.tree_rules:
            facts = tree.facts_of(context, index)
            late = {place: _place(context, *place) for place in facts.places()}
        readable = not any(problem.fatal for problem in context.problems)
        loose = (
            not card.sure
            and context.source.front is None
            and {problem.code for problem in context.problems} <= {"front-matter"}
            and not _CARD_LIKE.search(context.text)
        )
        return _Result(findings, facts, comments, suppressed, late=late, readable=readable, loose=loose)

    def finding(self, rule: Rule, context: CardContext, violation: Violation) -> Finding:
        """A violation of a rule as a finding, whose fix knows its lines."""
        place = _place(context, violation.start, violation.end)
        fix = violation.fix
        # Reports hold the texts of fixes, and are published; a password is no text for them.
        if fix is not None and (not context.whole or any(scrub(one.text) != one.text for one in fix.edits)):
            fix = None
        elif fix is not None:
            edits = (Edit(one.start, one.end, one.text, _edit_span(context, one)) for one in fix.edits)
            fix = Fix(fix.title, tuple(edits), fix.safe)
        return self.placed(rule, context.path, context.uid, place, violation, fix)

    def placed(
        self,
        rule: Rule,
        path: str,
        uid: str | None,
        place: tuple[Span, str, int],
        violation: Violation,
        fix: Fix | None = None,
    ) -> Finding:
        """A violation at a place as a finding, as severe as the configuration wants it."""
        span, excerpt, column = place
        return Finding(
            rule.code,
            rule.name,
            self.config.severities.get(rule.code) or violation.severity or rule.severity,
            path,
            uid,
            *span,
            scrub(violation.message),
            violation.help and scrub(violation.help),
            fix,
            excerpt,
            column,
        )


def _bounded(found: list[Violation]) -> list[Violation]:
    """So many violations as a report bears; the last one says that there are more."""
    if len(found) > _MAX_FINDINGS:
        last = found[_MAX_FINDINGS - 1]
        found[_MAX_FINDINGS - 1 :] = [last._replace(message=f"{last.message} (and more like this below)")]
    return found


def _worse(following: _Result, result: _Result, changed: bytes) -> bool:
    return len(changed) > MAX_BYTES or (result.readable and not following.readable)


def _fixed(data: bytes, findings: Sequence[Finding]) -> tuple[bytes, list[str]]:
    """Apply the fixes of some findings, as far as they do not touch; the codes of those that were."""
    if not findings:
        return data, []
    text = data.decode("utf-8")
    shift = 1 if text.startswith("\ufeff") else 0
    taken: list[Edit] = []
    spans: list[tuple[int, int]] = []
    codes = []
    for finding in findings:
        edits = finding.fix.edits if finding.fix else ()
        if all(_free(spans, one) for one in edits):
            for one in edits:
                bisect.insort(spans, (one.start, one.end))
            taken += edits
            codes.append(finding.code)
    pieces, at = [], 0
    for one in sorted(taken, key=lambda item: (item.start, item.end)):
        pieces += [text[at : one.start + shift], one.text]
        at = one.end + shift
    changed = "".join([*pieces, text[at:]]).encode("utf-8")
    return (changed, codes) if changed != data else (data, [])


def _free(spans: list[tuple[int, int]], one: Edit) -> bool:
    """Whether an edit touches none of the others."""
    at = bisect.bisect_left(spans, (one.start, one.end))
    before, behind = spans[at - 1] if at else None, spans[at] if at < len(spans) else None
    return (before is None or before[1] < one.start) and (behind is None or one.end < behind[0])


def _place(context: CardContext, start: int, end: int) -> tuple[Span, str, int]:
    """Where something stands: its span, its line, and the column the line is shown from."""
    if (known := context.places.get((start, end))) is None:
        known = context.places[start, end] = _placed(context, start, end)
    return known


def _placed(context: CardContext, start: int, end: int) -> tuple[Span, str, int]:
    source, size = context.source, len(context.text)
    if not 0 <= start <= end <= size:
        start = max(0, min(start, size))
        end = max(start, min(end, size))
    span = source.span(start, end)
    line, below = source.line(span.line - 1)
    first = line
    if below - first > _LONG_LINE:
        # A line may be a mebibyte long; nobody reads more than the surroundings.
        first = max(first, start - _AROUND)
        below = min(below, first + _LONG_LINE)
    excerpt = context.excerpts.get((first, below))
    if excerpt is None:
        excerpt = context.excerpts[first, below] = context.shown[first:below].rstrip("\r\n")
    return span, excerpt, first - line + 1


def _edit_span(context: CardContext, one: Edit) -> Span:
    if one.start < 0:
        return Span(1, 1, 1, 1)
    known = context.places.get((one.start, one.end))  # most fixes change just what the finding is about
    return known[0] if known else context.source.span(one.start, one.end)


def _check_tree(run: _Run, results: list[_Result]) -> None:
    """Run the rules that look at all cards together."""
    facts = [result.facts for result in results if result.facts is not None]
    by_index = {one.index: result for one, result in zip(facts, (r for r in results if r.facts), strict=True)}
    for rule in run.tree_rules:
        for index, violation in rule.check(facts):
            result = by_index[index]
            card = result.facts
            if card is None or result.late is None or rule.code in run.config.let_off(card.path, card.uid):
                continue
            place = result.late[violation.start, violation.end]
            found = run.placed(rule, card.path, card.uid, place, violation)
            remaining, silenced = suppress.apply([found], result.suppressions or [])
            result.findings += remaining
            result.suppressed += silenced


def _write(card: CardFile, before: bytes, after: bytes) -> None:
    """Replace a card's file in one step; links stay links."""
    target = Path(os.path.realpath(card.file))
    try:
        if read_bytes(target) != before:
            raise OSError(None, "it was changed meanwhile")
        replace_file(target, after, keep_mode=True)
    except OSError as error:
        raise UsageError(
            f"a fixed card cannot be written: {error.strerror or type(error).__name__}",
            where=card.path,
            hint="correct its permissions, or look at the fixes with --diff",
        ) from error


def _diff(card: CardFile, before: bytes, after: bytes) -> str:
    # Only at LF: str.splitlines also cuts at characters that are part of a line to every other tool.
    old, new = (re.split(r"(?<=\n)(?!\Z)", data.decode("utf-8")) for data in (before, after))
    lines = list(difflib.unified_diff(old, new, f"a/{card.path}", f"b/{card.path}"))
    return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _results(run: _Run, cards: Sequence[CardFile], jobs: int) -> Iterator[_Result]:
    numbered = list(enumerate(cards))
    if jobs < 2 or len(cards) < _WORTH_A_PROCESS:
        yield from run.cards(numbered)
        return
    import multiprocessing
    import sys
    from concurrent.futures import ProcessPoolExecutor
    from concurrent.futures.process import BrokenProcessPool

    global _of_this_process
    _of_this_process = run
    context = multiprocessing.get_context("fork" if sys.platform == "linux" else "spawn")
    pieces = [numbered[at : at + _CHUNK] for at in range(0, len(numbered), _CHUNK)]
    try:
        # A run on several cores owns its process; the thresholds need no way back.
        _collect_rarely()
        with ProcessPoolExecutor(min(jobs, len(pieces)), context, _start, (run,)) as pool:
            for piece in pool.map(_piece, pieces):
                yield from piece
    except BrokenProcessPool as error:
        raise MshubError(
            "a process that checked cards died",
            got="out of memory, or killed",
            hint="check with one process: mshub validate --jobs 1 PATH",
        ) from error


_of_this_process: _Run | None = None


def _start(run: _Run) -> None:
    global _of_this_process
    _of_this_process = run
    # Ctrl-C is the parent's to handle.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _collect_rarely()


def _collect_rarely() -> None:
    """Next to nothing here is cyclic, and looking for it costs a tenth of the time."""
    gc.freeze()
    gc.set_threshold(100_000, 50, 100)


def _piece(cards: list[tuple[int, CardFile]]) -> list[_Result]:
    run = _of_this_process
    assert run is not None
    results = list(run.cards(cards))
    if run.describe is not None:
        for result in results:
            result.findings = [replace(one, shown=run.describe(one)) for one in result.findings]
    return results
