"""Rules that need to see all cards of a tree."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from mshub_ssd.lint.context import Violation
from mshub_ssd.lint.finding import Severity
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.tree import Facts, FileFact

_NAMED = 3
_NOTHING_TO_DO = "nothing to do, if the file is meant to be the same"
_WHICH = "run sha256sum on each file, and correct the card that differs"


def _folder(card: Facts) -> str:
    return (card.uid or card.path).rpartition("/")[0]


def _label(card: Facts) -> str:
    return card.uid or card.path


def _model(card: Facts) -> str:
    return _label(card).rpartition("/")[2].removesuffix(".md").removesuffix("_cn")


def _by_digest(cards: Sequence[Facts]) -> dict[str, list[tuple[Facts, FileFact]]]:
    found: dict[str, list[tuple[Facts, FileFact]]] = defaultdict(list)
    for card in cards:
        for file in card.files:
            found[file.sha256].append((card, file))
    return found


@rule(
    "MC014",
    "shared-digest",
    "error",
    scope="tree",
    why="Two models cannot be one file. One of the cards was copied and its digest forgotten, so its checkpoint fails "
    "the check, or passes for the wrong network.",
    bad="asset-sha256: 2c26b46b...       # in a.md and in b.md of one folder",
    good="asset-sha256: fcde2b2e...       # in b.md: its own",
)
def shared_digest(cards: Sequence[Facts]) -> Iterator[tuple[int, Violation]]:
    """One digest under different models of a folder; a warning where one is named as a variant of the other."""
    for entries in _by_digest(cards).values():
        if len(entries) < 2:
            continue
        folders: dict[str, list[tuple[Facts, FileFact]]] = defaultdict(list)
        for card, file in entries:
            folders[_folder(card)].append((card, file))
        for members in folders.values():
            for card, file in members:
                # The same card in another tree, or in another language, is no other model.
                others = {_label(other): other for other, _ in members if _model(other) != _model(card)}
                if others:
                    message = f"same digest as {_list(sorted(others))}"
                    # hrnet and hrnetw48 may be one file under two names.
                    severity: Severity | None = (
                        "warning" if all(_is_variant(card, one) for one in others.values()) else None
                    )
                    yield card.index, Violation(file.start, file.end, message, _WHICH, severity=severity)


def _is_variant(card: Facts, other: Facts) -> bool:
    one, two = card.names[:1], other.names[:1]
    return bool(one and two) and (one[0].startswith(two[0]) or two[0].startswith(one[0]))


@rule(
    "MC034",
    "uid-clash",
    "error",
    scope="tree",
    why="On systems that do not tell capitals from small letters the two files are one, and a checkout loses a card.",
    bad="mindspore/1.7/SSD300.md  and  mindspore/1.7/ssd300.md",
    good="mindspore/1.7/ssd300.md",
)
def uid_clash(cards: Sequence[Facts]) -> Iterator[tuple[int, Violation]]:
    """Two uids that differ in capitals only."""
    found: dict[str, list[Facts]] = defaultdict(list)
    for card in cards:
        found[_label(card).casefold()].append(card)
    for members in found.values():
        names = {_label(card) for card in members}
        if len(names) > 1:
            for card in members:
                others = sorted(names - {_label(card)})
                message = f"the uid differs from {_list(others)} in capitals only"
                yield card.index, Violation(0, 0, message, "rename one of the cards")


@rule(
    "MC035",
    "same-file-elsewhere",
    "info",
    profile="strict",
    scope="tree",
    why="A file that is published anew under another version looks like a new training. Whoever compares versions "
    "should know that nothing was trained in between.",
    bad="asset-link: https://example.org/r1.8/net.ckpt       # the same bytes as .../r1.7/net.ckpt",
    good="asset-link: https://example.org/r1.8/net.ckpt       # bytes of its own",
)
def same_file_elsewhere(cards: Sequence[Facts]) -> Iterator[tuple[int, Violation]]:
    """One digest that is published under several links."""
    for entries in _by_digest(cards).values():
        links = {file.url for _, file in entries}
        if len(links) < 2:
            continue
        for card, file in entries:
            # Other models of the folder are a mistake (MC014).
            same = [
                (other, one)
                for other, one in entries
                if one.url != file.url and (_folder(other) != _folder(card) or _model(other) == _model(card))
            ]
            if not same:
                continue
            others = len({one.url for _, one in same})
            example = _label(same[0][0])
            counted = "has another link" if others == 1 else f"has {others} other links, one"
            message = f"this file {counted} in {example}"
            yield (
                card.index,
                Violation(file.start, file.end, message, _NOTHING_TO_DO),
            )


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_NAMED])
    return shown if len(names) <= _NAMED else f"{shown} and {len(names) - _NAMED} more"
