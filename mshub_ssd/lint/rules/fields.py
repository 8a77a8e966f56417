"""Rules about the fields and their values."""

from __future__ import annotations

import difflib
import functools
import math
import re
from collections.abc import Iterable, Iterator

from mshub_ssd.cards import ASSET_FIELDS, FIELDS, Node, Scalar, SeqNode, template
from mshub_ssd.lint.context import CardContext, Violation, edit, meaning
from mshub_ssd.lint.finding import Fix, Severity
from mshub_ssd.lint.rules import rule

REQUIRED = tuple(field.key for field in FIELDS.values() if field.required)
"""Fields every card needs."""
OFFICIAL = tuple(field.key for field in FIELDS.values() if field.required or field.official)
"""Fields that cards of the official hub's publishers need."""
_LOADED = ("network", "classes", "asset", "asset-link", "asset-sha256")
_USEFUL = ("train-dataset", "evaluation", "asset")

_VERSIONS = [field.key for field in FIELDS.values() if field.kind == "version"]
_TEXTS = [field.key for field in FIELDS.values() if field.attribute and field.kind in ("text", "datasets", "date")]
_TYPED = (*_VERSIONS, *_TEXTS)
_DATE = re.compile(r"([0-9]{4})[-/.]([0-9]{1,2})[-/.]([0-9]{1,2})")
_ISO = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_BOILERPLATE = re.compile(r".{1,80}\bis used for\b.{1,40}", re.IGNORECASE)
_MAX_GUESSES = 20
_FIGURES = {"map", "metrics", "metric", "results"}

# What YAML 1.1, as nearly every reader in Python speaks it, makes of a plain value.
_YAML_BOOL = re.compile(r"yes|no|true|false|on|off", re.IGNORECASE)
_YAML_NUMBER = re.compile(
    r"[-+]?(?:0b[01_]+|0x[0-9a-fA-F_]+|[0-9][0-9_]*(?:\.[0-9_]*)?(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?"
    r"|[1-9][0-9_]*(?::[0-5]?[0-9])+(?:\.[0-9_]*)?|\.(?:inf|Inf|INF))|\.(?:nan|NaN|NAN)"
)
_YAML_DATE = re.compile(r"[0-9]{4}-[0-9]{1,2}-[0-9]{1,2}(?:[Tt \t].*)?")
_LONGEST_TYPED = 100


def yaml_type(node: Scalar) -> str | None:
    """What YAML makes of a plain value: a ``number``, ``boolean``, ``date`` or ``nothing``; None for text."""
    return _plain_type(node.text) if node.plain and len(node.text) <= _LONGEST_TYPED else None


@functools.lru_cache(4096)
def _plain_type(text: str) -> str | None:
    # Several rules look at each value, and many cards share them.
    text = text.strip()
    if not text:
        return None
    first = text[0]
    if first in "0123456789+-.":
        if _ISO.fullmatch(text) or (_YAML_DATE.fullmatch(text) and len(text) > 10):
            return "date"
        return "number" if _YAML_NUMBER.fullmatch(text) else None
    if first in "yYnNtTfFoO" and _YAML_BOOL.fullmatch(text):
        return "boolean"
    return "nothing" if text.lower() in ("~", "null") else None


def quoted(node: Scalar) -> Fix:
    """The fix that puts a plain value in quotes."""
    # Between double quotes a backslash is no backslash.
    odd = "\\" in node.text or '"' in node.text
    text = "'" + node.text.replace("'", "''") + "'" if odd else f'"{node.text}"'
    return Fix("put it in quotes", edit(node, text))


@rule(
    "MC006",
    "missing-field",
    "error",
    why="People choose models by these fields: what it is, what it does, what its licence allows. The validator of the "
    "official hub refuses its publishers' cards without the others.",
    bad="summary:",
    good="summary: Finds 80 kinds of things on pictures of 300 x 300 pixels",
)
def missing_field(context: CardContext) -> Iterator[Violation]:
    """A required field that is not there, or any known one that stands there without a value.

    Every card needs model-name, module-type, license and summary. Cards of the official hub's publishers (mindspore,
    noah-cvlab) need backbone-name, fine-tunable, model-version, author, update-time, repo-link, user-id, used-for and
    mindspore-version, too.
    """
    if context.fields and _is_hollow(context):
        yield Violation(*context.head, "the card has no field with a value", how_to_begin())
        return
    needed = OFFICIAL if context.official else REQUIRED
    yield from _missing(context, needed, "the field {} is missing")
    # What its publisher need not give is no field to leave unfinished.
    yield from _empty(context, [name for name in OFFICIAL if name not in needed])


@rule(
    "MC061",
    "thin-card",
    "info",
    profile="strict",
    why="What is trained on what, how well, and where the file is: with that people can choose, and programs load.",
    bad="evaluation:",
    good='evaluation: "mAP: 25.17"',
)
def thin_card(context: CardContext) -> Iterator[Violation]:
    """A card that does not say what its model was trained on, how well it does, or where its file is."""
    if _is_hollow(context):
        return  # told by MC006
    yield from _missing(context, _USEFUL, "the card does not give {}")


def _missing(context: CardContext, names: tuple[str, ...], message: str) -> Iterator[Violation]:
    if not context.fields:
        return
    start, end = context.head
    for name in names:
        if name not in context.fields:
            yield Violation(start, end, message.format(name), _how_to_add(context, name))
    yield from _empty(context, names)


def _empty(context: CardContext, names: Iterable[str]) -> Iterator[Violation]:
    for name in names:
        found = context.fields.get(name)
        if found is None:
            continue
        key, node = found
        if not _has_value(name, node):
            yield Violation(key.start, key.end, f"the field {name} has no value", f"give {name} a value")


def _is_hollow(context: CardContext) -> bool:
    return not any(_has_value(name, node) for name, (_, node) in context.fields.items())


def _has_value(name: str, node: Node) -> bool:
    if isinstance(node, Scalar):
        return meaning(node, name) is not None or (name == "evaluation" and node.text.strip() == "-")
    return bool(node.items)


def how_to_begin() -> str:
    """What helps whoever has a card that holds nothing: its first line is complete, the rest is a template."""
    return f"write a card with `mshub new UID`, or begin it so:\n\n{template()}".rstrip()


def _how_to_add(context: CardContext, name: str) -> str:
    strange = [key for key in context.fields if key not in FIELDS and len(key) < 60][:_MAX_GUESSES]
    near = difflib.get_close_matches(name, strange, n=1, cutoff=0.75)
    if not near:
        return f"add a line {name}: ..."
    key = context.fields[near[0]][0]
    return f"call the field {near[0]} in line {context.source.span(key.start, key.end).line} {name}"


@rule(
    "MC007",
    "unknown-key",
    "warning",
    fix="unsafe",
    why="A misspelt field is not read, and nobody is told.",
    bad="licence: Apache-2.0",
    good="license: Apache-2.0",
)
def unknown_key(context: CardContext) -> Iterator[Violation]:
    """A field that no reader knows, with the nearest one that they do; an error where loading needs that."""
    yield from _unknown({name: key for name, (key, _) in context.fields.items()}, sorted(FIELDS))
    for asset in context.assets:
        yield from _unknown({name: key for name, (key, _) in asset.fields.items()}, list(ASSET_FIELDS))


def _unknown(keys: dict[str, Scalar], known: list[str]) -> Iterator[Violation]:
    strange = [name for name in keys if name not in known]
    if not strange:
        return
    free = [name for name in known if name not in keys]
    short = [name for name in strange if len(name) < 60 and name.lower() not in _FIGURES][:_MAX_GUESSES]
    meant = {name: _nearest(name, free) for name in short}
    for name in strange:
        key, near = keys[name], meant.get(name)
        fix = None
        if name.lower() in _FIGURES:
            hint = 'write figures as evaluation: "mAP: 25.17"'
        elif near and list(meant.values()).count(near) == 1:
            fix = Fix(f"call it {near}", edit(key, near), safe=False)
            hint = f"did you mean {near}?"
        elif near:
            hint = f"{near} stands once in a card: choose the one that counts"
        elif name in meant and (taken := _nearest(name, [one for one in known if one in keys])):
            hint = f"delete it: {taken} is there"
        else:
            hint = "the fields and their meaning: mshub schema"
        severity: Severity | None = "error" if near in _LOADED else None
        yield Violation(key.start, key.end, f"unknown field {name[:60]!r}", hint, fix, severity)


def _nearest(name: str, choice: list[str]) -> str | None:
    """The field that was probably meant: `licence`, or `sha256` for asset-sha256."""
    name = name.lower().replace("_", "-")
    near = difflib.get_close_matches(name, choice, n=1, cutoff=0.75)
    return next(iter(near), None) or next((known for known in choice if known.partition("-")[2] == name), None)


@rule(
    "MC008",
    "lossy-version",
    "error",
    fix="safe",
    why="To YAML 1.10 is the number 1.1: the card is filed under another version.",
    bad="mindspore-version: 1.10",
    good='mindspore-version: "1.10"',
)
def lossy_version(context: CardContext) -> Iterator[Violation]:
    """A version without quotes that changes when YAML reads it as a number, such as 1.10."""
    for name in _VERSIONS:
        node = context.scalar(name)
        if node is None or yaml_type(node) != "number":
            continue
        read = _as_number(node.text.strip())
        if read != node.text.strip():
            yield Violation(
                node.start, node.end, f"{name} reads as {read}", f'put it in quotes: "{node.text[:40]}"', quoted(node)
            )


def _as_number(text: str) -> str:
    digits = text.replace("_", "")
    try:
        if re.fullmatch(r"[-+]?0[0-7]+", digits):
            return str(int(digits, 8))
        if re.fullmatch(r"[-+]?[0-9]+", digits):
            return str(int(digits))
        value = float(digits)
    except ValueError:
        return "another number"
    return str(value) if math.isfinite(value) else "infinity"


@rule(
    "MC009",
    "date-format",
    "warning",
    fix="sometimes",
    why="Readers sort cards by date. 2023-2-17 is text to YAML while 2023-02-17 is a date, and sorts after 2023-11-01.",
    bad="update-time: 2023-2-17",
    good='update-time: "2023-02-17"',
)
def date_format(context: CardContext) -> Iterator[Violation]:
    """An update-time that is no ISO date YYYY-MM-DD, or lies in the future."""
    import datetime

    found = context.fields.get("update-time")
    if found is None:
        return
    node = found[1]
    if not isinstance(node, Scalar):
        yield Violation(node.start, node.end, "update-time is no date", 'write it as "2022-06-22"')
        return
    text = meaning(node)
    if text is None:
        return
    numbers = _DATE.fullmatch(text)
    try:
        day = datetime.date(*map(int, numbers.groups())) if numbers else None
    except ValueError:
        day = None
    if day is None:
        yield Violation(node.start, node.end, f"update-time is no date: {text[:40]!r}", 'write it as "2022-06-22"')
    elif not _ISO.fullmatch(text):
        iso = day.isoformat()
        fix = Fix(f"write {iso}", edit(node, f'"{iso}"'))
        yield Violation(node.start, node.end, "update-time is not of the form YYYY-MM-DD", f'write "{iso}"', fix)
    # It is tomorrow already somewhere; and clocks are wrong by less than a day.
    if day is not None and day - datetime.datetime.now(datetime.timezone.utc).date() > datetime.timedelta(days=1):
        hint = "give the day when the card was last changed"
        yield Violation(node.start, node.end, f"update-time lies in the future: {day.isoformat()}", hint)


@rule(
    "MC040",
    "typed-value",
    "info",
    profile="strict",
    fix="safe",
    why="YAML reads 1.7 as a number and 2022-06-22 as a date; readers of the card get another type, and sometimes "
    "another text, than the author wrote.",
    bad="model-version: 1.7",
    good='model-version: "1.7"',
)
def typed_value(context: CardContext) -> Iterator[Violation]:
    """A version without quotes that YAML reads as a number, and a text that it reads as a date."""
    for name in _TYPED:
        node = context.scalar(name)
        kind = yaml_type(node) if node else None
        if node is None or kind is None or kind == "nothing":
            continue
        if name in _VERSIONS and kind == "number" and _as_number(node.text.strip()) != node.text.strip():
            continue  # MC008
        if name not in _VERSIONS and kind != "date":
            continue  # MC064
        hint = f'put it in quotes: "{node.text[:40]}"'
        yield Violation(node.start, node.end, f"{name} reads as a {kind}", hint, quoted(node))


@rule(
    "MC064",
    "misread-text",
    "warning",
    fix="safe",
    why="YAML reads `no` as false and `300` as a number: a name or licence that looks like one is another value to "
    "most readers, or fails them.",
    bad="license: no",
    good='license: "no"',
)
def misread_text(context: CardContext) -> Iterator[Violation]:
    """A text without quotes that YAML reads as a boolean or a number."""
    for name in _TEXTS:
        node = context.scalar(name) if FIELDS[name].kind != "date" else None  # MC009
        kind = yaml_type(node) if node else None
        if node is not None and kind in ("boolean", "number"):
            hint = f'put it in quotes: "{node.text[:40]}"'
            yield Violation(node.start, node.end, f"{name} reads as a {kind}", hint, quoted(node))


@rule(
    "MC042",
    "repeated-version",
    "info",
    profile="strict",
    why="model-version is the model's own version. One that always equals mindspore-version says nothing, and two "
    "models of one MindSpore version cannot be told apart.",
    bad='model-version: "1.7"\nmindspore-version: "1.7"',
    good='model-version: "2"\nmindspore-version: "1.7"',
)
def repeated_version(context: CardContext) -> Iterator[Violation]:
    """A model-version that repeats mindspore-version."""
    mine, framework = context.value("model-version"), context.value("mindspore-version")
    node = context.scalar("model-version")
    if node and mine and mine == framework:
        yield Violation(node.start, node.end, "model-version repeats mindspore-version", "give the model's own version")


@rule(
    "MC043",
    "boilerplate-summary",
    "info",
    profile="strict",
    why="The summary is what people read in a list of models. One that repeats other fields helps nobody to choose.",
    bad="summary: ssd300 is used for cv",
    good="summary: Finds 80 kinds of things on pictures of 300 x 300 pixels",
)
def boilerplate_summary(context: CardContext) -> Iterator[Violation]:
    """A summary of the form `X is used for Y`."""
    node = context.scalar("summary")
    if node and len(node.text) < 130 and _BOILERPLATE.fullmatch(node.text.strip()):
        yield Violation(
            node.start,
            node.end,
            "the summary says nothing that other fields do not",
            "say what it does, on what, how large",
        )


def each_text(node: Node) -> Iterator[Scalar]:
    """The texts of a value or of its list items."""
    if isinstance(node, Scalar):
        yield node
    elif isinstance(node, SeqNode):
        yield from (item for item in node.items if isinstance(item, Scalar))
