"""Rules about figures: how they are written, and whether card and file give the same."""

from __future__ import annotations

import functools
import itertools
import json
import re
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal

from mshub_ssd.cards import METRIC_KEYS, Entry, Scalar, SeqNode, read_evaluation, read_value
from mshub_ssd.lint.context import CardContext, Violation, edit, meaning
from mshub_ssd.lint.finding import Fix
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.assets import file_name
from mshub_ssd.lint.rules.fields import quoted, yaml_type
from mshub_ssd.lint.tree import squeeze

_NONE_GIVEN = {"-", "none", "n/a", "na", "nil", "no"}
# Letters and a number, or any name that a separator ends.
_CLEAR = re.compile(r"(?:[A-Za-z]+|.*[ \t:=])[0-9]+(?:\.[0-9]+)?[ \t]*%?|.*[:=].*")
_SIGNS = re.compile(r"[=%@]")
_MAX_FIGURES = 200
_MAX_FILES = 3
_MAX_NAMES = 50

_NO_DATASET = {"custom", "tbd", "todo", "unknown", "xxx"}
_LETTERS = re.compile(r"[^a-z0-9.+-]+")
_NO_PART = re.compile(r"[^a-z0-9._+-]+")
_LONGEST_NAME = 300
_WORDS = re.compile(r"[a-z]+")
# Names that a framework gives, of which nobody expects to name data set and figure.
_GENERIC = {
    *("best", "checkpoint", "checkpoints", "ckpt", "dict", "ema", "epoch", "final", "last", "latest", "mindspore"),
    *("model", "models", "net", "network", "param", "params", "pretrained", "pytorch", "state", "step", "weight"),
    "weights",
}


@rule(
    "MC010",
    "evaluation-trap",
    "warning",
    profile="strict",
    fix="safe",
    why="`-` is a syntax error in most YAML readers, and `no` is the boolean false. The official tools write so where "
    "no figure was published, and read over it as this library does; others stumble.",
    bad="evaluation: -",
    good='evaluation: "-"',
)
def evaluation_trap(context: CardContext) -> Iterator[Violation]:
    """An evaluation that YAML does not read as text: a bare dash, `no`, `true`."""
    node = context.scalar("evaluation")
    if node is None or not node.plain:
        return
    text = node.text.strip()
    if text == "-" or yaml_type(node) == "boolean":
        what = "is no valid YAML" if text == "-" else f"reads as {str(text.lower() in ('yes', 'true', 'on')).lower()}"
        yield Violation(
            node.start, node.end, f"evaluation {what}", "give the figures, or put it in quotes", quoted(node)
        )


@rule(
    "MC011",
    "unreadable-evaluation",
    "error",
    fix="sometimes",
    why="Figures are compared by programs, which read 24,08 as 24, as 8 or not at all. Each needs a name and a value.",
    bad='evaluation: "mAP: 24,08"',
    good='evaluation: "mAP: 24.08"',
)
def unreadable_evaluation(context: CardContext) -> Iterator[Violation]:
    """A figure with a decimal comma, or another sign that programs misread.

    A warning where no metric and value can be read, or a metric stands twice.
    """
    for name in context.fields:
        if len(name) in (3, 8) and name.lower() in METRIC_KEYS:
            node = context.fields[name][1]
            if not isinstance(node, Scalar) or (meaning(node) or "-").lower() not in _NONE_GIVEN:
                entry = read_value(name, node, context.text)
                if entry.metric or entry.reason != "no number":  # any other is an unknown field like others
                    yield from _unreadable(context, entry)
    found = context.fields.get("evaluation")
    if found is None or (isinstance(found[1], Scalar) and not _says_something(found[1])):
        return
    names: set[str] = set()
    for entry in context.once(_figures_of):
        yield from _unreadable(context, entry)
        if entry.metric is not None and entry.key is None:
            if entry.metric.name in names:
                message = f"the metric {entry.metric.name[:40]!r} stands twice"
                yield Violation(entry.start, entry.end, message, "correct one of the two names", None, "warning")
            names.add(entry.metric.name)


def _figures_of(context: CardContext) -> list[Entry]:
    """The figures of the card's evaluation."""
    return list(itertools.islice(read_evaluation(context.fields["evaluation"][1], context.text), _MAX_FIGURES))


def _says_something(node: Scalar) -> bool:
    return node.text.strip().lower() not in _NONE_GIVEN and meaning(node) is not None


def _unreadable(context: CardContext, entry: Entry) -> Iterator[Violation]:
    shown, place = repr(entry.text[:40]), (entry.start, entry.end)
    there = context.text[entry.start : entry.end] == entry.text
    if entry.metric is not None:
        if entry.mended is not None:
            what = "a decimal comma" if "," in entry.text else "a sign that is no ASCII one"
            fix = Fix(f"write {entry.mended[:40]}", edit(place, entry.mended)) if there else None
            yield Violation(*place, f"{what}: {shown}", f"write `{entry.mended[:40]}`", fix)
        return
    if entry.key is not None:
        why = "" if entry.reason == "no number" else f" ({entry.reason})"
        message, hint = f"the value of {entry.key[:40]} is no number{why}", "give one number per metric"
        yield Violation(*place, message, hint, None, "warning")
        return
    hint = "write `top1acc: 64.82 | top5acc: 85.66`"
    fix = None
    if entry.mended is not None:
        hint = f"write `{entry.mended[:80]}`"
        fix = Fix("part the figures", edit(place, entry.mended), safe=False) if there else None
    yield Violation(*place, f"{entry.reason}: {shown}" if entry.text else entry.reason, hint, fix, "warning")


@rule(
    "MC059",
    "ambiguous-evaluation",
    "info",
    profile="strict",
    fix="sometimes",
    why="A name with digits or signs leaves it open where the value begins, and other readers may see it elsewhere.",
    bad="evaluation: F1score61.94",
    good='evaluation: "F1score: 61.94"',
)
def ambiguous_evaluation(context: CardContext) -> Iterator[Violation]:
    """A name with digits or signs that runs into its value, or that other readers may split."""
    found = context.fields.get("evaluation")
    if found is None:
        return
    left = _MAX_FIGURES
    for item in found[1].items if isinstance(found[1], SeqNode) else [found[1]]:
        if left > 0 and isinstance(item, Scalar) and _says_something(item):
            whole = item is found[1]
            read = context.once(_figures_of) if whole else read_evaluation(item, context.text)
            entries = list(itertools.islice(read, left))
            left -= len(entries)
            yield from _ambiguous(context, item, entries)


def _ambiguous(context: CardContext, node: Scalar, entries: list[Entry]) -> Iterator[Violation]:
    doubtful = []
    for entry in entries:
        if entry.metric is None:
            continue
        name = entry.metric.name
        if _SIGNS.search(name):
            hint = f"write evaluation as a mapping: {{{json.dumps(name[:40])}: {entry.metric.value:.15g}}}"
            yield Violation(entry.start, entry.end, f"other readers may split {name[:40]!r} in the wrong place", hint)
        elif not _CLEAR.fullmatch(entry.mended or entry.text):
            doubtful.append((entry, name))
    fix = None
    if doubtful and all(entry.metric for entry in entries) and "\n" not in context.text[node.start : node.end]:
        clear = " | ".join(map(_separated, entries))
        if '"' not in clear and "\\" not in clear and not _SIGNS.search(clear):
            fix = Fix("separate names and values", edit(node, f'"{clear}"'), safe=False)
    for entry, name in doubtful:
        message = f"where {name!r} ends and its value begins is a guess"
        yield Violation(entry.start, entry.end, message, f"write `{name}: ...`", fix)


def _separated(entry: Entry) -> str:
    text, name = entry.mended or entry.text, entry.metric.name if entry.metric else ""
    return f"{name}: {text[len(name) :].lstrip(' :=').strip()}" if name and text.startswith(name) else text


@rule(
    "MC023",
    "evaluation-mismatch",
    "warning",
    why="Published file names carry the figure. When the card says another one, it describes another file.",
    bad="evaluation: acc80.04      # and asset-link: .../net_acc79.54.ckpt",
    good="evaluation: acc79.54      # and asset-link: .../net_acc79.54.ckpt",
)
def evaluation_mismatch(context: CardContext) -> Iterator[Violation]:
    """A figure that is another one in the asset's file name.

    376, 37.6, 0.376 and 37.60 are equal, and so is what rounding explains.
    """
    for entry, given in context.once(_compared):
        if given:
            message = f"the asset's file name says {', '.join(given[:3])}"
            yield Violation(entry.start, entry.end, message, "let card and file agree")


@rule(
    "MC060",
    "asset-name",
    "info",
    profile="strict",
    why="A downloaded file lies among others, without its card. Published files are named after model, data set and "
    "figure, so that people can tell what they have.",
    bad="asset-link: https://example.org/ssd300_v2.ckpt",
    good="asset-link: https://example.org/ssd300_coco2017_mAP25.17.ckpt",
)
def asset_name(context: CardContext) -> Iterator[Violation]:
    """An asset whose file name gives neither the data set nor the figure of the card.

    Names such as `model.safetensors`, which tell nothing at all, are left alone.
    """
    files = [name for name in _file_names(context) if not _is_generic(name)]
    if not files:
        return
    names = [name for name in context.card.datasets if name.lower() not in _NO_DATASET] if context.card else []
    known = [one for one in map(squeeze, names[:_MAX_NAMES]) if one]
    squeezed = "/".join(map(squeeze, files))
    if known and not any(one in squeezed for one in known):
        node = context.fields["train-dataset"][1]
        message = f"the asset's file name does not name the data set: {files[0][:80]}"
        yield Violation(node.start, node.end, message, "name files after model, data set and figure")
    # The names of a mapping, `mAP@0.5` or `AR, small`, are not made for file names.
    silent = [
        (one, one.metric.name) for one, given in context.once(_compared) if given == [] and one.metric and not one.key
    ]
    if silent:
        shown = ", ".join(f"{name} {entry.number}" for entry, name in silent[:4])
        message = f"the asset's file name does not give {shown[:80]}"
        hint = "name files after model, data set and figure"
        yield Violation(silent[0][0].start, silent[-1][0].end, message, hint)


def _file_names(context: CardContext) -> list[str]:
    """The names of the published files; what lies beside the card is named as its owner likes."""
    links = (asset.value("asset-link") for asset in context.assets)
    return [file_name(link) for link in links if link and "://" in link]


def _is_generic(name: str) -> bool:
    return len(name) < _LONGEST_NAME and _GENERIC.issuperset(_WORDS.findall(name.lower().rpartition(".")[0]))


def _compared(context: CardContext) -> list[tuple[Entry, list[str] | None]]:
    return list(_comparisons(context))


def _comparisons(context: CardContext) -> Iterator[tuple[Entry, list[str] | None]]:
    """Each figure of the card, with the other ones that file names give for its metric; [] where they give none.

    None where they give the same one, or what cannot be compared.
    """
    found = context.fields.get("evaluation")
    if found is None or (isinstance(found[1], Scalar) and not _says_something(found[1])):
        return
    names = _file_names(context)[:_MAX_FILES]
    if not names:
        return
    # `_` stays: it parts figures.
    files = [_NO_PART.sub("", name.lower()[:_LONGEST_NAME].rpartition(".")[0]) for name in names]
    bare = [_LETTERS.sub("", file) for file in files]
    entries = context.once(_figures_of)
    often = Counter(entry.metric.name for entry in entries if entry.metric)
    for entry in entries:
        if entry.metric is None:
            continue
        written = _LETTERS.sub("", f"{entry.key or ''}{entry.text}".lower())
        name = squeeze(entry.metric.name)
        if not name or any(_holds(file, written) for file in bare):
            yield entry, None
            continue
        named = [one for file in files for one in _figures(file, name)]
        sure = [number for number, is_sure in named if is_sure]
        if any(_equal(entry.number, number) for number, _ in named):
            yield entry, None
        elif often[entry.metric.name] > 1 or not sure or any(_nearly(entry.number, number) for number in sure):
            yield entry, None if named and not sure else []  # of a name that stands twice MC011 tells
        else:
            yield entry, sure


def _holds(file: str, written: str) -> bool:
    """Whether a file name holds a figure letter by letter; 79.5 in 79.54 is the same rounded, 7 in 79 is another."""
    at = file.find(written)
    return at >= 0 and ("." in written or not file[at + len(written) : at + len(written) + 1].isdigit())


@functools.lru_cache(256)
def _behind(name: str) -> re.Pattern[str]:
    """Finds the number behind a metric's name, however the name is parted: top1acc, top1-acc, top1_acc."""
    letters = r"[^a-z0-9]*".join(name)
    return re.compile(
        rf"(?<![a-z0-9]){letters}[^a-z0-9]*(?P<number>[0-9]{{1,9}}(?:\.[0-9]{{1,9}})?)(?P<rest>[-_]?[0-9a-z]*)"
    )


def _figures(file: str, name: str) -> Iterator[tuple[str, bool]]:
    """The numbers behind a metric's name in a file name, and whether each is surely the figure."""
    for found in _behind(name).finditer(file):
        number, rest = found["number"], found["rest"]
        whole, point, _ = number.partition(".")
        if point:
            yield number, len(whole) < 4  # of map5043.1 the 50 is the name's
            continue
        if rest.lstrip("-_").isdigit() and len(rest) < 6:
            yield f"{number}.{rest.lstrip('-_')}", False  # acc79-54
        # map50_55.3 and top1acc76 name thresholds and ranks, acc7 may be anything.
        yield number, 2 <= len(whole) <= 4 and not rest[:1].isalnum() and not (rest[1:2].isdigit() and len(rest) < 6)


def _equal(card: str, file: str) -> bool:
    """Whether two figures are the same, written otherwise or rounded."""
    ours, theirs = Decimal(card), Decimal(file)
    if "." not in file:
        # Names of files lose the point: 376 is 37.6.
        written = {ours.scaleb(-places).normalize() for places in range(-len(file), 3)}
        return theirs.normalize() in written or ("." in card and abs(ours - theirs) < 1)
    for places in (0, 2, -2):
        one = theirs.scaleb(places)
        if ours == one or (_unit(ours) != _unit(one) and abs(ours - one) < max(_unit(ours), _unit(one))):
            return True
    return False


def _nearly(card: str, file: str) -> bool:
    """Whether a figure without its point differs in its last digit only: it was rounded by other hands."""
    ours = Decimal(card)
    shifted = [] if "." in file else [Decimal(file).scaleb(-places) for places in range(1, len(file) + 1)]
    return any(abs(ours - one) <= max(_unit(ours), _unit(one)) for one in shifted)


def _unit(number: Decimal) -> Decimal:
    """What one in the last digit is worth."""
    return Decimal(1).scaleb(int(number.as_tuple().exponent))
