"""The text of a new card: what readers look for, in a few sentences made of its fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from mshub_ssd import networks
from mshub_ssd.cards import escaped
from mshub_ssd.formats import FORMATS

if TYPE_CHECKING:
    from mshub_ssd.drafting.recognising import Match

__all__ = ["body_text"]

_MOST_NAMES = 20


def body_text(uid: str, values: Mapping[str, Any], match: Match | None) -> str:
    """The sections of a card.

    Args:
        uid: The card's uid.
        values: Its fields, as `mshub_ssd.cards.card_text` takes them.
        match: Its network, where that is known.
    """
    family, licence = _family(match), str(values.get("license") or "")
    sections = [
        ("What it is", _what(values, match, family)),
        ("Input and output", _formats(values, family)),
        ("Use", _use(uid, values, match, family)),
        ("Metrics", _metrics(values)),
        ("Licence", f"The checkpoint is published under {escaped(licence)}." if licence else ""),
    ]
    return "\n\n".join(f"## {title}\n\n{text}" for title, text in sections if text)


def _family(match: Match | None) -> str | None:
    spec = networks.NETWORKS.get(match.key) if match else None
    return None if spec is None else "classifier" if spec.family == "classifier" else "detector"


def _what(values: Mapping[str, Any], match: Match | None, family: str | None) -> str:
    summary = escaped(str(values.get("summary") or "")).rstrip(".")
    blocks = [f"{summary}."] if summary else []
    sentences = []
    if match is not None and family is not None:
        article = "a detector" if family == "detector" else "a classifier"
        sentences.append(f"It is {article}, the network `{match.key}`" + _trained(values) + ".")
    elif _trained(values):
        sentences.append(f"It was{_trained(values).removeprefix(',')}.")
    names: Sequence[str] = values.get("classes") or ()
    if names and len(names) <= _MOST_NAMES:
        sentences.append(f"It knows {_counted(len(names))}: {', '.join(map(escaped, names))}.")
    elif names:
        sentences.append(f"It knows {_counted(len(names))}, which `classes` above lists.")
    return "\n\n".join([*blocks, " ".join(sentences)] if sentences else blocks)


def _counted(number: int) -> str:
    return "one class" if number == 1 else f"{number} classes"


def _trained(values: Mapping[str, Any]) -> str:
    sets = values.get("train-dataset") or ()
    names = [sets] if isinstance(sets, str) else list(sets)
    return f", trained on {' and '.join(map(escaped, names))}" if names else ""


def _formats(values: Mapping[str, Any], family: str | None) -> str:
    shape = values.get("input-shape")
    flat = isinstance(shape, Sequence) and len(shape) == 3 and all(isinstance(side, int) for side in shape)
    if family is None or not flat:
        sides = f"One input has the shape {list(shape)}, without the batch." if shape else ""
        return sides
    rows = [
        "| | |",
        "|---|---|",
        f"| Input | float32 tensor (N, {', '.join(map(str, shape or ()))}), RGB, normalised |",
    ]
    if family == "detector":
        rows.append("| Output | offsets to the default boxes, and a score for each box and class |")
        door = "`mshub.detect` resizes and normalises a picture, and makes boxes with names of the outputs."
    else:
        rows.append("| Output | a logit for each class |")
        door = "`mshub.classify` resizes and normalises a picture, and names the best classes."
    return "\n".join([*rows, "", door])


def _use(uid: str, values: Mapping[str, Any], match: Match | None, family: str | None) -> str:
    formats = [kind for one in values.get("asset") or () if (kind := FORMATS.get(str(one.get("file-format"))))]
    if formats and all(kind.reader is None for kind in formats):
        return f"The file is for programs that read {formats[0].key}; `mshub.load` cannot."
    if match is None:
        return (
            "The network is none that `mshub_ssd` brings along. Before the checkpoint can be loaded with it, the code "
            "of the network must be registered (`mshub_ssd.register_network`), and its key be named in `network` above."
        )
    lines = {
        "detector": (
            f'detections = mshub.detect("{uid}", "picture.jpg")',
            "print(detections.names, detections.scores)",
        ),
        "classifier": (f'best = mshub.classify("{uid}", "picture.jpg", top_k=5)', "print(best.names, best.scores)"),
    }
    code = lines.get(family or "", (f'network = mshub.load("{uid}")',))
    return "\n".join(["```python", "import mshub_ssd as mshub", "", *code, "```"])


def _metrics(values: Mapping[str, Any]) -> str:
    figures: Mapping[str, float | str] = values.get("evaluation") or {}
    if not figures:
        return ""
    rows = [f"| {escaped(name)} | {value} |" for name, value in figures.items()]
    return "\n".join(["As its author measured them:", "", "| Metric | Value |", "|---|---|", *rows])
