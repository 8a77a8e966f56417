"""Rules about what was left over: from another card, from a template, from a merge."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence

from mshub_ssd.cards import FIELDS, Scalar
from mshub_ssd.lint.context import CardContext, Violation
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.fields import each_text
from mshub_ssd.lint.tree import Facts

_MARK = re.compile(r"^(<<<<<<<|=======|>>>>>>>)(?: [^\r\n]*)?\r?$", re.MULTILINE)
_MAX_MARKS = 100
_TODO = re.compile(r"(?:TODO|FIXME|TBD)\b")
# A whole value; the words in angle brackets are those of templates.
_NO_VALUE = re.compile(
    r"(?:todo|tbd|fixme|x{3,}|\.{3,}|lorem ipsum.*"
    r"|<(?:[^<>]*\b)?(?:your|name|required|optional|here|insert|fill|todo|tbd|\.\.\.)(?:\b[^<>]*)?>"
    r"|<\.\.\.>|.*<(?:required|optional)>)",
    re.IGNORECASE | re.DOTALL,
)
_FIRST_LETTERS = frozenset(" \n\tTtFfXx.Ll<[")
_LONGEST = 300
_TEXTS = frozenset(key for key, field in FIELDS.items() if field.kind in ("text", "version", "datasets"))


def is_placeholder(text: str) -> bool:
    """Whether a value stands for one that is still to be written."""
    text = text.strip()
    if text[:1] not in _FIRST_LETTERS or len(text) > _LONGEST:
        return False
    return _TODO.match(text) is not None or _NO_VALUE.fullmatch(text) is not None


@rule(
    "MC056",
    "other-model",
    "warning",
    scope="tree",
    why="A card that was copied and not finished sends people to another model's file or code.",
    bad="asset-link: https://example.org/r1.7/ssdvgg16_coco2017.ckpt       # in ssdresnet34_coco2017.md",
    good="asset-link: https://example.org/r1.7/ssdresnet34_coco2017.ckpt",
)
def other_model(cards: Sequence[Facts]) -> Iterator[tuple[int, Violation]]:
    """An asset whose file name begins with the name of another card, and not with one of this card's own.

    Also a body that names folders of the model zoo, such as `research/cv/NAME`, of which none is the one of repo-link,
    and that share no word with it or with the names of the card.
    """
    folders: dict[str, dict[str, Facts]] = defaultdict(dict)
    for card in cards:
        if card.names:
            folders[_folder(card)].setdefault(card.names[0], card)
    everywhere: dict[str, Facts] = {}
    for members in folders.values():
        everywhere.update(members)
    for card in cards:
        if card.stray is not None:
            start, end, message = card.stray
            yield card.index, Violation(start, end, message, "name the folder of this model, or correct repo-link")
        for stem, start, end in card.stems:
            own = max((len(name) for name in card.names if stem.startswith(name)), default=0)
            other = _longest(stem, folders[_folder(card)]) or (None if own else _longest(stem, everywhere))
            if other and len(other) > own and other not in card.names:
                owner = folders[_folder(card)].get(other) or everywhere[other]
                message = f"the file is named after {owner.uid or owner.path}"
                yield card.index, Violation(start, end, message, "check that file and card belong together")


def _folder(card: Facts) -> str:
    return (card.uid or card.path).rpartition("/")[0]


_SHORTEST_NAME = 4
_LONGEST_NAME = 60


def _longest(stem: str, names: dict[str, Facts]) -> str | None:
    """The longest of the names that a file name begins with."""
    for length in range(min(len(stem), _LONGEST_NAME), _SHORTEST_NAME - 1, -1):
        if stem[:length] in names:
            return stem[:length]
    return None


@rule(
    "MC057",
    "placeholder",
    "warning",
    why="What was still to be written is shown to everybody as if it were the text.",
    bad="summary: TODO",
    good="summary: Finds 80 kinds of things on pictures of 300 x 300 pixels",
)
def placeholder(context: CardContext) -> Iterator[Violation]:
    """A placeholder in a field or the title, such as TODO, TBD or `<your name>`; a paragraph that begins with TODO."""
    for key, (_, value) in context.fields.items():
        if key not in _TEXTS or (isinstance(value, Scalar) and value.text[:1] not in _FIRST_LETTERS):
            continue
        for node in each_text(value):
            if is_placeholder(node.text):
                yield Violation(node.start, node.end, f"{key} is still to be written: {_short(node)}", f"write {key}")
    title = context.source.title
    if title is not None and is_placeholder(title[0]):
        yield Violation(title[1], title[2], "the title is still to be written", "name the model")
    text = context.text
    if "TODO" not in text and "FIXME" not in text and "TBD" not in text:
        return
    for at, token in enumerate(context.tokens):
        if token.type != "paragraph_open" or token.level:
            continue
        if _TODO.match(context.tokens[at + 1].content.lstrip("*_ ")):
            start, end = context.body_range(token.map)
            yield Violation(start, end, "a paragraph is still to be written", "write it, or leave it out")


def _short(node: Scalar) -> str:
    return repr(node.text.strip()[:40])


@rule(
    "MC058",
    "conflict-marker",
    "error",
    why="Two versions of the card stand one below the other, and nobody chose.",
    bad="<<<<<<< ours\nOne look at a picture.\n=======\nA single look.\n>>>>>>> theirs",
    good="One look at a picture.",
)
def conflict_marker(context: CardContext) -> Iterator[Violation]:
    """The lines that a merge leaves where two changes met: `<<<<<<<`, `=======` and `>>>>>>>`."""
    text = context.text
    if "<<<<<<<" not in text or ">>>>>>>" not in text:
        return
    opened: int | None = None
    parted = False
    for count, found in enumerate(_MARK.finditer(text)):
        if count > _MAX_MARKS:
            return
        kind = found[1]
        if kind == "<<<<<<<":
            opened, parted = found.start(), False
        elif kind == "=======":
            parted = opened is not None
        elif opened is not None:
            if parted:
                first = text.find("\n", opened)
                last = context.source.span(found.start(), found.start()).line
                message = f"a merge was not finished: two versions, up to line {last}"
                yield Violation(opened, max(first, opened), message, "choose one of them, and delete the three marks")
            opened, parted = None, False
