"""Rules about the file's characters."""

from __future__ import annotations

import bisect
import itertools
import re
import unicodedata
from collections.abc import Iterator

from mshub_ssd.lint.context import CardContext, Violation
from mshub_ssd.lint.finding import Edit, Fix
from mshub_ssd.lint.rules import rule

_ENDS = (" \n", "\t\n", " \r", "\t\r")
_TRAILING = re.compile(r"(?<![ \t])[ \t]+(?=\r?\n)")
_SPACES = "\u00a0\u2000-\u200a\u202f\u205f\u3000"
_INVISIBLE = "\u00ad\u200b\u2060\ufeff\u0085\u2028\u2029\x0c"
_CONTROLS = r"\x01-\x08\x0b\x0e-\x1f\x7f-\x84\x86-\x9f"
_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
_NON_ASCII = re.compile(r"[^\x00-\x7f]+")
_LINE = re.compile(r"[^\r\n]+")
# What programs draw folders with: they put no-break spaces between.
_DRAWN = re.compile("[\u2500-\u257f]|\\|--|`--|\\+--")
MAX_EDITS = 1000
"""Of one fix; the rounds of ``--fix`` do the rest."""
_MAX_PLACES = 20_000
_ODD = re.compile(f"([{_SPACES}])|([{_INVISIBLE}])|([{_DIRECTION}])|([{_CONTROLS}])")


@rule(
    "MC003",
    "line-endings",
    "warning",
    profile="strict",
    fix="safe",
    why="A byte order mark, carriage returns and a last line without an end make diffs noisy, and readers that compare "
    "lines with `---` miss the front matter.",
    bad="(a file that begins with a byte order mark, has CRLF line ends, or no line end at its end)",
    good="(UTF-8 without byte order mark, LF line ends, the last one included)",
)
def line_endings(context: CardContext) -> Iterator[Violation]:
    """A byte order mark, CRLF or CR line ends, or a last line without an end."""
    text = context.text
    if context.bom:
        yield Violation(
            0,
            0,
            "the file begins with a byte order mark",
            "save the file as UTF-8 without it",
            fix=Fix("delete it", (Edit(-1, 0, ""),)),
        )
    if not text:
        return
    crlf = text.count("\r\n")
    if "\r" in text:
        first = text.index("\r")
        alone = text.count("\r") - crlf
        kind = "CRLF" if not alone else "CR" if not crlf else "CRLF and CR"
        rest = text[first:].replace("\r\n", "\n").replace("\r", "\n")
        fix = Fix("end all lines with LF", (Edit(first, len(text), rest),))
        yield Violation(first, first, f"{crlf + alone} lines end with {kind}", "save the file with LF line ends", fix)
    if text[-1] not in "\r\n":
        end = len(text)
        line_end = "\r\n" if crlf else "\n"
        yield Violation(
            end,
            end,
            "the last line has no end",
            "end the file with a line break",
            fix=Fix("end the last line", (Edit(end, end, line_end),)),
        )


@rule(
    "MC045",
    "odd-character",
    "warning",
    fix="unsafe",
    why="A no-break space looks like a space and is none: names and commands copied from the card do not work. "
    "Characters that change the direction of writing can make text read otherwise than it is.",
    bad="summary: a\u00a0detector",
    good="summary: a detector",
)
def odd_character(context: CardContext) -> Iterator[Violation]:
    """Spaces that are not the usual one, and characters of no width, in fields and in fenced examples.

    Marks of writing direction are errors, and told wherever they stand, as are control characters; of the others those
    in prose are told by MC046. Each is told once a card, at the first of its kind; the fix is for all of them.
    """
    yield from _odd_characters(context, True)


def _odd_characters(context: CardContext, harmful: bool) -> Iterator[Violation]:
    """A violation for each odd character: at those that do harm, or at the others."""
    text = context.text
    odd = {char: found for char in context.unusual if (found := _ODD.fullmatch(char))}
    if not harmful:
        odd = {char: kind for char, kind in odd.items() if not kind[3] and not kind[4]}
    if not odd:
        return
    exact = sorted([*context.value_spans(), *_examples(context)])
    told = []
    for char, kind in odd.items():
        places = (found.span() for found in itertools.islice(re.finditer(re.escape(char), text), _MAX_PLACES))
        chosen = (span for span in places if harmful == (bool(kind[3] or kind[4]) or _inside(exact, span)))
        edits = tuple(Edit(*span, " " if kind[1] else "") for span in itertools.islice(chosen, MAX_EDITS))
        if edits:
            told.append((edits, char, kind))
    for edits, char, kind in sorted(told, key=lambda one: one[0][0]):
        name = unicodedata.name(char, f"control character {ord(char)}").lower()
        several = f", {len(edits)} of them, the first here" if len(edits) > 1 else ""
        hint, title = ("write an ordinary space", "put a space in its place") if kind[1] else ("delete it", "delete it")
        yield Violation(
            edits[0].start,
            edits[0].start + 1,
            f"{name} (U+{ord(char):04X}){several}",
            hint,
            Fix(title, edits, safe=False),
            "error" if kind[3] else None if harmful else "info",
        )


def _examples(context: CardContext) -> Iterator[tuple[int, int]]:
    """Where lines of fenced examples lie, but for those of trees of folders, which are drawn with such spaces."""
    for token in context.tokens:
        if token.type != "fence" or not token.map:
            continue
        start, end = context.body_range(token.map)
        for line in _LINE.finditer(context.text, start, end):
            if not _DRAWN.search(line.group()):
                yield line.span()


@rule(
    "MC046",
    "non-ascii",
    "info",
    profile="strict",
    fix="sometimes",
    why="Readers that open files in the encoding of their locale, as the official client does, fail on such cards or "
    "show other letters.",
    bad="summary: a \u201cfast\u201d detector",
    good='summary: a "fast" detector',
)
def non_ascii(context: CardContext) -> Iterator[Violation]:
    """Characters beyond ASCII; told once a card, at the first of them. Odd spaces in prose are told besides."""
    # Where the file is no UTF-8 (MC026), the marks of that stand for other characters.
    strange = [char for char in context.unusual if not char.isascii()] if context.whole else []
    if strange:
        found = _NON_ASCII.match(context.text, min(map(context.text.index, strange)))
        assert found is not None
        count = len(context.text) - len(context.text.encode("ascii", "ignore"))
        yield Violation(
            *found.span(),
            f"{count} characters beyond ASCII, the first here" if count > 1 else "a character beyond ASCII",
            "leave them where names and words need them; quotes, dashes and dots have ASCII forms",
        )
    yield from _odd_characters(context, False)


@rule(
    "MC047",
    "trailing-space",
    "info",
    profile="strict",
    fix="safe",
    why="Nobody sees it, and editors that strip it make changes nobody meant.",
    bad="license: Apache-2.0  ",
    good="license: Apache-2.0",
)
def trailing_space(context: CardContext) -> Iterator[Violation]:
    """White space at the end of lines of the front matter; told once a card, at the first of them."""
    front = context.source.front
    if front is None:
        return
    if not any(context.text.find(pair, *front) >= 0 for pair in _ENDS):
        return
    spaces = [found.span() for found in itertools.islice(_TRAILING.finditer(context.text, *front), MAX_EDITS)]
    if not spaces:
        return
    values = context.value_spans()
    # Within a text over several lines they are part of it.
    edits = [Edit(*span, "") for span in spaces if not _inside(values, span)]
    if edits:
        count = "the line ends" if len(edits) == 1 else f"{len(edits)} lines end"
        fix = Fix("delete it", tuple(edits))
        yield Violation(edits[0].start, edits[0].end, f"{count} with white space", "delete it", fix)


def _inside(spans: list[tuple[int, int]], span: tuple[int, int]) -> bool:
    at = bisect.bisect_left(spans, (span[1], 0)) - 1
    return at >= 0 and span[0] < spans[at][1]


@rule(
    "MC049",
    "idle-suppression",
    "warning",
    fix="sometimes",
    why="A comment that silences findings must say why, and go when it is no longer needed; otherwise it hides the "
    "next mistake.",
    bad="license: Apache-2.0  # mshub: ignore[MC024]",
    good="license: Apache-2.0",
)
def idle_suppression(context: CardContext) -> Iterator[Violation]:
    """A comment `mshub: ignore[...]` that gives no reason, names no known rule, is misspelt, or silences nothing."""
    return iter(())  # the engine knows what was silenced: see `suppress.complaints`
