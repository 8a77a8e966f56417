"""Rules about the front matter as a whole."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mshub_ssd.cards import FIELDS
from mshub_ssd.lint.context import CardContext, Violation, edit
from mshub_ssd.lint.finding import Fix
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.fields import how_to_begin

_FENCE_LINE = re.compile(r"^---[ \t]*\r?$", re.MULTILINE)
_FENCE_START = re.compile(r"^---[^\r\n]*", re.MULTILINE)
_STRAY_FIELD = re.compile(rf"^(?:{'|'.join(FIELDS)})[ \t]*:", re.MULTILINE)
# Fields with rules of their own, which say more than that the value cannot be read.
_SPECIAL = [field.key for field in FIELDS.values() if field.rule]


@rule(
    "MC001",
    "broken-front-matter",
    "error",
    fix="sometimes",
    why="Every reader starts with the front matter. What is no YAML mapping between two lines `---` is no card, and "
    "one syntax error hides all fields behind it.",
    bad="accuracy: vit-base: 83.78",
    good='accuracy: "vit-base: 83.78"',
)
def broken_front_matter(context: CardContext) -> Iterator[Violation]:
    """A front matter that is not one YAML mapping between two exact lines `---`.

    Behind a syntax error the other fields are still checked, each on its own.
    """
    for problem in context.problems_of("front-matter", "yaml", "yaml-document", "fullwidth-colon"):
        violation = context.at_problem(problem)
        if problem.code == "front-matter" and _is_blank(context):
            violation = violation._replace(help=how_to_begin())
        yield (
            violation._replace(fix=_in_quotes(context, violation.start))
            if "holds a second" in violation.message
            else violation
        )
    for problem in context.problems_of("bare-dash"):
        start, end = context.offsets(problem.span)
        found = context.fields.get("evaluation")
        if found and found[1].start <= start < max(found[1].end, found[1].start + 1):
            continue  # told by MC010
        yield Violation(start, end, problem.message, problem.hint)


def _is_blank(context: CardContext) -> bool:
    """Whether the card has no front matter, or one that holds nothing but comments."""
    lines = context.text[slice(*(context.source.front or (0, 0)))].splitlines()
    return all(not line.strip() or line.lstrip().startswith("#") for line in lines)


def _in_quotes(context: CardContext, at: int) -> Fix | None:
    """Put the value of the line in quotes, where it needs no escapes."""
    start, end = context.source.line_of(at)
    key, colon, value = context.text[start:end].partition(": ")
    bare = value.strip()
    if not colon or not key.strip(" -") or not bare or any(sign in bare for sign in "\"'\\#[]{}"):
        return None
    first = start + len(key) + 2 + len(value) - len(value.lstrip())
    return Fix("put the value in quotes", edit((first, first + len(bare)), f'"{bare}"'), safe=False)


@rule(
    "MC004",
    "fence-in-body",
    "warning",
    fix="sometimes",
    why="Readers that split a card at every line `---` lose what comes behind the third one; the validator of the "
    "official hub refuses the card.",
    bad="A line between two rules.\n\n---\n\nAnd more.",
    good="A line between two rules.\n\n***\n\nAnd more.",
)
def fence_in_body(context: CardContext) -> Iterator[Violation]:
    """A line `---` in the body, which only simple readers stumble over; the fix is for thematic breaks.

    In cards of the official hub's publishers also any other line that begins with `---`.
    """
    source = context.source
    if source.front is None or max(context.text.find(start, source.body - 1) for start in ("\n---", "\r---")) < 0:
        return
    # Where fields follow, the front matter ended too early, and the last of the lines was meant to end it.
    split = any(token.type == "inline" and _STRAY_FIELD.search(token.content) for token in context.tokens)
    breaks = {token.map[0] for token in context.tokens if token.type == "hr" and token.map and not split}
    for found in (_FENCE_START if context.judged else _FENCE_LINE).finditer(context.text, source.body):
        start, end = found.span()
        line = source.span(start, start).line - 1 - context.first_body_line
        exact = context.text[start:end].rstrip() == "---"
        fix = Fix("write ***", edit((start, start + 3), "***")) if exact and line in breaks else None
        what = "a line ---" if exact else "a line that begins with ---"
        hint = "write *** for a thematic break" if fix else "indent it by a space, or write it otherwise"
        if split:
            hint = "fields stand in the text: delete the line --- that ended the front matter too early"
        yield Violation(start, start + 3, f"{what} in the body", hint, fix)


@rule(
    "MC005",
    "duplicate-key",
    "error",
    why="YAML readers keep one of the two values without a word, and not all of them the same one.",
    bad="asset:\n- asset-link: https://example.org/a.ckpt\n  asset-link: https://example.org/b.ckpt",
    good="asset:\n- asset-link: https://example.org/a.ckpt\n- asset-link: https://example.org/b.ckpt",
)
def duplicate_key(context: CardContext) -> Iterator[Violation]:
    """A key that stands twice in one mapping, at any level."""
    for problem in context.problems_of("duplicate-key"):
        start, end = context.offsets(problem.span)
        earlier = (problem.got or "").partition("; ")[2]
        yield Violation(start, end, f"{problem.message}{'; ' if earlier else ''}{earlier}", problem.hint)


@rule(
    "MC026",
    "unreadable-text",
    "error",
    why="A file that is not UTF-8 text, or holds characters that no editor shows, reads differently everywhere. Cards "
    "above 1 MiB are not read at all.",
    bad="summary: a detector<NUL>",
    good="summary: a detector",
)
def unreadable_text(context: CardContext) -> Iterator[Violation]:
    """A file that is not UTF-8, has control characters in its front matter, a NUL anywhere, or more than 1 MiB."""
    for problem in context.problems_of("encoding", "control", "size"):
        yield context.at_problem(problem)


@rule(
    "MC027",
    "refused-yaml",
    "error",
    why="Anchors, aliases and tags let a short text stand for a huge or executable one. No card needs them, so cards "
    "with them are refused.",
    bad="summary: &text a detector",
    good="summary: a detector",
)
def refused_yaml(context: CardContext) -> Iterator[Violation]:
    """YAML that cards may not use: anchors, aliases, tags, keys that are no words, deep nesting, 10,000 values."""
    for problem in context.problems_of("yaml-alias", "yaml-tag", "yaml-key", "yaml-depth", "yaml-size"):
        yield context.at_problem(problem)


@rule(
    "MC028",
    "unreadable-value",
    "error",
    why="A field whose value has the wrong form is treated as if it were not there, or makes the card unusable.",
    bad="input-shape: 3x300x300",
    good="input-shape: [3, 300, 300]",
)
def unreadable_value(context: CardContext) -> Iterator[Violation]:
    """A known field with a value of the wrong form, such as a shape that is no list, or `asset` without dashes."""
    if context.by_lines:
        return
    for problem in context.problems_of("value", "asset-shape"):
        if any(problem.message.endswith(f"of {key} cannot be read") for key in _SPECIAL):
            continue
        start, end = context.offsets(problem.span)
        hint = problem.hint if problem.code == "asset-shape" else f"write {problem.expected}, or leave it out"
        yield Violation(start, end, problem.message, hint)
