"""Words that the validator of the official hub refuses."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator

from mshub_ssd.cards import FIELDS, Node, Scalar, SeqNode
from mshub_ssd.formats import format_of
from mshub_ssd.lint.context import CardContext, Violation, edit, meaning
from mshub_ssd.lint.finding import Fix
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.fields import each_text, yaml_type
from mshub_ssd.lint.rules.leftovers import is_placeholder
from mshub_ssd.lint.rules.naming import refused_spelling

_AREAS = ("audio", "cross", "cv", "cvtmodel", "gnn", "hpc", "mm", "nlp", "other", "recommend", "rl")
# What people write for them.
_AREAS_MEANT = {
    "vision": "cv",
    "image": "cv",
    "images": "cv",
    "video": "cv",
    "text": "nlp",
    "language": "nlp",
    "speech": "audio",
    "sound": "audio",
    "graph": "gnn",
    "multimodal": "mm",
    "recommendation": "recommend",
    "recommender": "recommend",
    "reinforcement": "rl",
    "science": "hpc",
    "others": "other",
    "misc": "other",
}
_PURPOSES = ("inference", "extract-feature", "transfer-learning")
_PURPOSES_MEANT = {
    "predict": "inference",
    "prediction": "inference",
    "infer": "inference",
    "features": "extract-feature",
    "feature-extraction": "extract-feature",
    "fine-tuning": "transfer-learning",
    "finetuning": "transfer-learning",
    "finetune": "transfer-learning",
    "fine-tune": "transfer-learning",
    "transfer": "transfer-learning",
}
_FORMATS = ("air", "ckpt", "mindir", "mslite", "onnx")
_SWITCHES = ("fine-tunable", "allow-cache-ckpt")
# The validator allows colons in these; of accuracy, and of unknown fields, other findings tell.
_COLONS_ALLOWED = ("repo-link", "asset", "evaluation", "accuracy")
_COLON_AT_END = re.compile(r":[ \t#]*(?=[\r\n]|\Z)")
_MAX_LENGTH = 100
_MAX_WORDS = 20


@rule(
    "MC055",
    "official-vocabulary",
    "warning",
    fix="sometimes",
    why="The official hub knows few words for some fields, and its validator refuses a card with others. Programs that "
    "choose models by these words do not find it, whoever published it.",
    bad="used-for: inferrence",
    good="used-for: inference",
)
def official_vocabulary(context: CardContext) -> Iterator[Violation]:
    """A value that the validator of the official hub refuses.

    In all cards: the first part of module-type, words in used-for, and fine-tunable, allow-cache-ckpt and accuracy of
    another type. Only in cards of its own publishers: a colon in a text, a heading that ends with one, formats of files
    and spellings of data sets that it does not know.
    """
    if not context.fields or context.name.endswith("_cn"):
        return
    yield from _area(context)
    yield from _purposes(context)
    yield from _switches(context)
    yield from _accuracy(context)
    if context.judged:
        yield from _colons(context)
        yield from _headings(context)
        yield from _formats(context)
        yield from _datasets(context)


def _area(context: CardContext) -> Iterator[Violation]:
    node, text = context.scalar("module-type"), context.value("module-type")
    if node is None or text is None:
        return
    word, dash, rest = text.partition("-")
    if word.lower() in _AREAS or is_placeholder(text):
        return
    near = _near(word, _AREAS, _AREAS_MEANT)
    fix = Fix(f"write {near}", edit(node, f"{near}{dash}{rest}"), safe=False) if near and node.plain else None
    hint = f"begin it with {near}" if near else f"begin it with one of {', '.join(_AREAS)}"
    message = f"module-type begins with {word[:40]!r}, which the hub does not know"
    yield Violation(node.start, node.end, message, hint, fix)


def _purposes(context: CardContext) -> Iterator[Violation]:
    node = context.scalar("used-for")
    if node is None or meaning(node) is None or all(word in _PURPOSES for word in node.text.lower().split("/")):
        return
    # What stands between two slashes counts with its spaces: that is for `words` to keep.
    words = node.text.strip().split("/", _MAX_WORDS)
    meant = [word if word.lower() in _PURPOSES else _near(word.strip(), _PURPOSES, _PURPOSES_MEANT) for word in words]
    wrong = next((word for word in words if word.lower() not in _PURPOSES), None)
    if wrong is None or is_placeholder(node.text):
        return
    fix = None
    if all(meant):
        right = "/".join(word for word in meant if word)
        safe = right.lower() == "".join(node.text.lower().split())
        fix = Fix(f"write {right}", edit(node, right), safe=safe)
    hint = f"write {right}" if fix else f"choose of {', '.join(_PURPOSES)}; / stands between two of them"
    yield Violation(node.start, node.end, f"used-for has {wrong[:40]!r}, which the hub does not know", hint, fix)


def _near(word: str, known: tuple[str, ...], meant: dict[str, str]) -> str | None:
    word = word.lower()
    if len(word) > _MAX_LENGTH:
        return None
    if word in known:
        return word
    near = meant.get(word.replace(" ", "-").replace("_", "-"))
    return near or next(iter(difflib.get_close_matches(word, known, n=1, cutoff=0.75)), None)


def _switches(context: CardContext) -> Iterator[Violation]:
    for key in _SWITCHES:
        found = context.fields.get(key)
        node = found[1] if found else None
        if node is None or not isinstance(node, Scalar) or meaning(node) is None or yaml_type(node) == "boolean":
            continue
        word = node.text.strip().lower()
        fix = Fix(f"write {word.title()}", edit(node, word.title())) if word in ("true", "false") else None
        yield Violation(node.start, node.end, f"{key} is text, no switch", "write True or False, without quotes", fix)


def _accuracy(context: CardContext) -> Iterator[Violation]:
    node = context.scalar("accuracy")
    if node is None or meaning(node) is None or yaml_type(node) == "number" or is_placeholder(node.text):
        return
    text = node.text.strip()
    fix = None
    if not node.plain and yaml_type(Scalar(text, True, node.start, node.end)) == "number":
        fix = Fix("take the quotes off", edit(node, text))
    yield Violation(
        node.start, node.end, "accuracy is no number", "write one number, and all of them in evaluation", fix
    )


def _colons(context: CardContext) -> Iterator[Violation]:
    for key, (_, node) in context.fields.items():
        if key in _COLONS_ALLOWED or key not in FIELDS:
            continue
        at = _colon(context, node)
        if at is not None:
            message = f"{key[:40]} has a colon, which the official validator refuses"
            yield Violation(*at, message, "write it without")


def _colon(context: CardContext, node: Node) -> tuple[int, int] | None:
    """Where the first colon of a value is; mappings are this library's own, and unknown there."""
    items = node.items[:_MAX_WORDS] if isinstance(node, SeqNode) else [node]
    for item in items:
        if isinstance(item, Scalar) and ":" in item.text:
            at = context.text.find(":", item.start, item.end)
            return (at, at + 1) if at >= 0 else (item.start, item.end)
    return None


def _headings(context: CardContext) -> Iterator[Violation]:
    for token, text in context.headings if _COLON_AT_END.search(context.body) else ():
        if token.level or not text.endswith(":"):
            continue
        start, end = context.body_range(token.map)
        colon = context.text.rfind(":", start, end)
        edits = edit((colon, colon + 1), "")
        # `# Title: #`, or a title above a line of dashes, is not worth a fix.
        fix = Fix("delete it", edits) if colon == end - 1 and "\n" not in context.text[start:end] else None
        message = "the heading ends with a colon, which the official validator refuses"
        yield Violation(start, end, message, "leave the colon out", fix)


def _formats(context: CardContext) -> Iterator[Violation]:
    for asset in context.assets:
        node, word = asset.scalar("file-format"), asset.value("file-format")
        if node is None or word is None or word.lower() in _FORMATS:
            continue
        if (known := format_of(word, "")) and known is format_of(None, asset.value("asset-link") or ""):
            if known.key in _FORMATS:
                fix = Fix(f"say {known.key}", edit(node, known.key))
                message = f"the official hub says {known.key}"
                yield Violation(node.start, node.end, message, f"say file-format: {known.key}", fix)
            else:
                message = f"the official hub knows no {word[:40]} files"
                yield Violation(node.start, node.end, message, f"give one of {', '.join(_FORMATS)}")


def _datasets(context: CardContext) -> Iterator[Violation]:
    found = context.fields.get("train-dataset")
    if found is None:
        return
    if isinstance(found[1], SeqNode) and found[1].items:
        message = "a list of data sets, which the official validator refuses"
        yield Violation(found[1].start, found[1].end, message, "write one text: coco2017_voc2012")
        return
    for node in each_text(found[1]):
        if right := refused_spelling(node.text.strip()):
            fix = Fix(f"write {right}", edit(node, right))
            yield Violation(node.start, node.end, f"the official hub knows {right} only", f"write {right}", fix)
