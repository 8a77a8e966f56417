"""What the rules about a whole tree need to know of each card: little, since it travels between processes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from mshub_ssd.lint.context import CardContext

__all__ = ["Facts", "FileFact", "facts_of"]

_MAX_STEM = 100
_SQUEEZE = re.compile(r"[^a-z0-9]+")
_WORDS = re.compile(r"[a-z]+[0-9]*")
_SETS = re.compile(r"[|,]")
# Folders of the model zoo: in the text, and in links to a repository.
_ZOO = re.compile(r"(?<![\w.-])(?:official|research)/(?:audio|cv|gnn|hpc|lite|mm|nlp|others|recommend|rl)/([\w+.-]+)")
_MAX_PATHS = 100


@dataclass(frozen=True, slots=True)
class FileFact:
    """One asset: its digest and link as written, and where the digest stands."""

    sha256: str
    url: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Facts:
    """One card: its place, name and files.

    Attributes:
        index: Its number in the run.
        path: Its file.
        uid: Its uid.
        model: Its model-name.
        files: Its assets with digests.
        names: What it calls its model, letters and digits only; the first is the file's name without the data set.
        stems: How the names of its files begin, letters and digits only, and where the links stand.
        stray: Where its body names a folder of the model zoo that is not its own, and what to say; None where not.
    """

    index: int
    path: str
    uid: str | None
    model: str | None
    files: tuple[FileFact, ...]
    names: tuple[str, ...] = ()
    stems: tuple[tuple[str, int, int], ...] = ()
    stray: tuple[int, int, str] | None = None

    def places(self) -> Iterator[tuple[int, int]]:
        """Where the rules may have something to say."""
        yield 0, 0
        yield from ((file.start, file.end) for file in self.files)
        yield from ((start, end) for _, start, end in self.stems)
        if self.stray is not None:
            yield self.stray[:2]


def facts_of(context: CardContext, index: int) -> Facts:
    """The facts of one card."""
    files, stems = [], []
    for asset in context.assets:
        node, url = asset.scalar("asset-sha256"), asset.value("asset-link")
        digest = asset.value("asset-sha256")
        if node and url and digest:
            files.append(FileFact(digest.lower(), url, node.start, node.end))
        link = asset.scalar("asset-link")
        if link and url and (stem := squeeze(url.partition("?")[0].rpartition("/")[2][:_MAX_STEM])):
            stems.append((stem, link.start, link.end))
    names = tuple(dict.fromkeys(_names(context)))
    model = context.value("model-name")
    return Facts(index, context.path, context.uid, model, tuple(files), names, tuple(stems), _stray(context, names))


def squeeze(text: str) -> str:
    """Letters and digits of a name, in lower case: what two spellings of one name share."""
    text = text.lower()
    return text if text.isascii() and text.isalnum() else _SQUEEZE.sub("", text)


def _names(context: CardContext) -> Iterator[str]:
    name = context.name[:_MAX_STEM].removesuffix("_cn")
    whole = squeeze(name)
    sets = [squeeze(one) for one in _SETS.split((context.value("train-dataset") or "")[:_MAX_STEM])]
    yield next((whole.removesuffix(one) for one in sets if one and whole.endswith(one) and one != whole), whole)
    title = context.source.title
    network = context.card.network.name if context.card is not None and context.card.network is not None else None
    others = [title[0] if title else None, network, context.value("model-name"), context.value("backbone-name")]
    yield from (one for text in (name, *others) if text and len(one := squeeze(text[:_MAX_STEM])) > 1)


def _stray(context: CardContext, names: tuple[str, ...]) -> tuple[int, int, str] | None:
    """A folder of the zoo that the body names, where none of those it names is that of repo-link or of this model."""
    text, body = context.text, context.source.body
    link = _ZOO.search(context.value("repo-link") or "")
    if link is None or (text.find("official/", body) < 0 and text.find("research/", body) < 0):
        return None
    linked = link[1].rstrip(".").lower()
    first = None
    mine: set[str] = set()
    for count, found in enumerate(_ZOO.finditer(text, body)):
        named = found[1].rstrip(".").lower()
        if named == linked or count > _MAX_PATHS:
            return None
        mine = mine or {*_WORDS.findall(linked), *_WORDS.findall(context.name.lower()), *names}
        if _related(named, mine):
            return None
        first = first or found
    if first is None:
        return None
    shown = first.group().rstrip(".")
    message = f"the body names {shown[:60]}, and repo-link {link.group().rstrip('.')[:60]}"
    return first.start(), first.start() + len(shown), message


def _related(named: str, mine: set[str]) -> bool:
    """Whether a folder may be that of this model under another name."""
    if squeeze(named) in mine:
        return True
    words = set(_WORDS.findall(named))
    fresh = words - mine
    letters = {word.rstrip("0123456789") for word in mine}
    # resnet50 where the card is one of resnet34 is another model; adversarial_pruning of resnet50_adv_pruning is not.
    variant = any(word.rstrip("0123456789") in letters and word[-1].isdigit() for word in fresh)
    return bool(words & mine) and not variant
