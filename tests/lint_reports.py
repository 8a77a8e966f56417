"""Findings and reports made by hand, and at random from nasty texts."""

from __future__ import annotations

import re
import textwrap
from typing import Any

from hypothesis import strategies as st

from mshub_ssd.cards.nodes import Source
from mshub_ssd.lint.finding import Edit, Finding, Fix
from mshub_ssd.lint.report import Report, Unreadable

OVERRIDE = "\u202e"


def finding(excerpt: str = 'asset-sha256: "d231a06e"', at: tuple[int, int] = (14, 24), **changes: Any) -> Finding:
    """A finding about the characters `at` (offsets, the end exclusive) of a line."""
    values: dict[str, Any] = {
        "code": "MC013",
        "name": "malformed-digest",
        "severity": "error",
        "path": "hub/own/1.0/net_pets.md",
        "uid": "own/1.0/net_pets",
        "line": 43,
        "column": at[0] + 1,
        "end_line": 43,
        "end_column": at[1] + 1,
        "message": "the digest has 8 of 64 hex digits",
        "excerpt": excerpt,
    }
    return Finding(**{**values, **changes})


SAFE = Fix("put it in quotes", (Edit(10, 14, '"1.10"', Source("model-version: 1.10").span(15, 19)),))
UNSAFE = SAFE._replace(title="call it license", safe=False)

FULL = Report(
    findings=(
        finding(help="run sha256sum on the file"),
        finding("model-version: 1.10", (15, 19), line=7, end_line=7, code="MC008", name="lossy-version", fix=SAFE),
        finding("licence: MIT", (0, 7), line=9, end_line=9, code="MC007", severity="warning", fix=UNSAFE),
        finding("  ", (0, 2), line=110, end_line=110, code="MC047", name="trailing-space", severity="info"),
    ),
    checked=91,
    unreadable=(Unreadable("hub/own/1.0/secret.md", "Permission denied"),),
    suppressed=4,
    baselined=12,
    outdated=1,
    fixes=(("a.md", ("MC003",)),),
)

_CONTROLS = "\t\r\n\x00\x07\x85\u2028\u200d\u200b\ufeff\ufffe\xa0" + OVERRIDE + "\u2066\u2069"
_WIDTHS = "\u0301\u20dd\u3099\u3000字\uff21\U0001f600\u1161\udfff\udce9"
_SYNTAX = (
    "\x1b[2J",
    "%",
    "::",
    ",",
    ":",
    "&",
    "<",
    "]]>",
    '"',
    "[a](http://b)",
    "{0}",
    "\\",
    " ",
    "a",
    "%0A::error::x",
)
nasty = st.sampled_from([*_CONTROLS, *_WIDTHS, *_SYNTAX, "\n::error::x"])
texts = st.one_of(st.text(max_size=30), st.lists(nasty, max_size=60).map("".join), st.text("ab\t字", max_size=300))
lines = texts.map(lambda text: re.sub("[\r\n]", "", text))


@st.composite
def findings(draw: st.DrawFn) -> Finding:
    excerpt = draw(lines)
    line = draw(st.integers(1, 2000))
    column = draw(st.integers(1, len(excerpt) + 2))
    end_line = line + draw(st.sampled_from([0, 0, 0, 1, 7]))
    end_column = draw(st.integers(column if end_line == line else 1, len(excerpt) + 3))
    edits = st.builds(
        Edit,
        st.integers(0, 90),
        st.integers(90, 99),
        texts,
        st.just(Source("a\nb" * 50).span(draw(st.integers(0, 9)), 30)),
    )
    fixes = st.builds(Fix, texts, st.lists(edits, min_size=1, max_size=3).map(tuple), st.booleans())
    return Finding(
        code=draw(st.sampled_from(["MC003", "MC013", "MC999"])),
        name=draw(st.sampled_from(["malformed-digest", "no-such-rule"])),
        severity=draw(st.sampled_from(["error", "warning", "info"])),
        path=draw(st.one_of(st.just("hub/a.md"), texts)),
        uid=draw(st.none() | texts),
        line=line,
        column=column,
        end_line=end_line,
        end_column=end_column,
        message=draw(texts),
        help=draw(st.none() | texts),
        fix=draw(st.none() | fixes),
        excerpt=excerpt,
    )


reports = st.builds(
    Report,
    st.lists(findings(), max_size=4).map(tuple),
    st.integers(0, 9999),
    st.lists(st.builds(Unreadable, texts, texts), max_size=2).map(tuple),
    *[st.integers(0, 3)] * 3,
    st.lists(
        st.tuples(texts, st.lists(st.sampled_from(["MC003", "MC013"]), min_size=1, max_size=3).map(tuple)), max_size=2
    ).map(tuple),
)


def golden(text: str) -> str:
    return textwrap.dedent(text).strip("\n")


def harmless(text: str) -> bool:
    return all(char == "\n" or char.isprintable() for char in text)
