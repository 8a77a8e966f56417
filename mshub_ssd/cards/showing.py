"""Cards and lists of uids for people: a line, a text, and a table for a notebook. Cards come from strangers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mshub_ssd.redaction import hide, scrub
from mshub_ssd.terminal import brief, counted, html_block, html_table, html_text, size_text, table

if TYPE_CHECKING:
    from mshub_ssd.cards.model import Asset, Card

__all__ = ["Uids", "asset_line", "html", "line", "shape_text", "text"]

_COLUMNS = 300
_MANY = 20
"""So many files, figures and class names of a card are shown, and so many models of a list in a notebook."""


class Uids(list[str]):
    """A list of uids: a plain one for programs, which a notebook shows as a table with a row for each model."""

    __slots__ = ()

    def __reduce__(self) -> tuple[Any, ...]:
        return list, (list(self),)  # whoever reads it elsewhere gets a list

    def _repr_html_(self) -> str:
        models: dict[tuple[str, str], list[str]] = {}
        for uid in self:
            publisher, _, rest = uid.partition("/") if "/" in uid else ("", "", uid)
            version, _, name = rest.rpartition("/")
            models.setdefault((publisher, name), []).append(version)
        count = f"{counted(len(self), 'uid')} of {counted(len(models), 'model')}"
        rows = [(name, publisher, _few(versions)) for (publisher, name), versions in models.items()]
        more = f", {_MANY} of them here" if len(rows) > _MANY else ""
        shown = html_table(rows[:_MANY], ("model", "publisher", "versions")) if rows else ""
        return html_block(shown, f"<p>{count}{more}</p>")


def line(card: Card) -> str:
    """A card in one line."""
    says = [card.task, ", ".join(card.datasets), _few(map(str, card.metrics[:3]))]
    said = ", ".join(part for part in says if part)
    return _line(f"<Card {card.uid}{': ' if said else ''}{said}>")


def asset_line(asset: Asset) -> str:
    """An asset in one line."""
    digest = f"sha256 {asset.sha256[:12]}" if asset.sha256 else "no sha256"
    size = "" if asset.size is None else f", {size_text(asset.size)}"
    return _line(f"<Asset {asset.file_format or 'of no format'}: {hide(asset.url)}, {digest}{size}>")


def text(card: Card) -> str:
    """A card as text: heading, summary, and what it says field by field."""
    head = [_line(scrub(part)) for part in (card.title or card.uid, card.summary) if part]
    rows = [(label, _line(value)) for label, value in _rows(card)]
    return "\n\n".join([*head, table(rows)])


def html(card: Card) -> str:
    """A card for a notebook; nothing of it is taken for HTML, and nothing is fetched."""
    head = f"<b>{html_text(scrub(card.title or card.uid))}</b>"
    summary = f"<br>{html_text(scrub(card.summary))}" if card.summary else ""
    return html_block(f"<p>{head}{summary}</p>", html_table(list(_rows(card))))


def shape_text(shape: tuple[Any, ...] | None) -> str:
    """E.g. ``3 x 300 x 300``; several inputs are joined by ``and``."""
    if not shape:
        return ""
    if any(isinstance(side, tuple) for side in shape):
        return " and ".join(shape_text(side if isinstance(side, tuple) else (side,)) for side in shape)
    return " x ".join(map(str, shape))


def _rows(card: Card) -> Iterator[tuple[str, str]]:
    said = (
        ("uid", card.uid),
        ("task", card.task or card.module_type),
        ("network", card.network and card.network.name),
        ("backbone", card.backbone_name),
        ("input", shape_text(card.input_shape)),
        ("data sets", _few(card.datasets)),
        ("classes", _few(card.classes or ())),
        ("metrics", _few(map(str, card.metrics))),
        ("MindSpore", card.mindspore_version),
        ("author", ", ".join(str(part) for part in (card.author, card.update_time) if part)),
        ("licence", card.license),
        ("repository", card.repo_link and hide(card.repo_link)),
        *((asset.file_format or "asset", _asset_text(asset)) for asset in card.assets[:_MANY]),
        ("more", counted(len(card.assets) - _MANY, "file") if card.assets[_MANY:] else ""),
        ("card", str(card.path or card.origin or "")),
    )
    for label, value in said:
        if value:
            yield _line(label), scrub(str(value))


def _asset_text(asset: Asset) -> str:
    size = "" if asset.size is None else f", {size_text(asset.size)}"
    return f"{hide(asset.url)}{size}, sha256 {asset.sha256 or 'not given'}"


def _few(texts: Iterable[str]) -> str:
    listed = list(texts)
    more = f" and {len(listed) - _MANY} more" if listed[_MANY:] else ""
    return ", ".join(listed[:_MANY]) + more


def _line(value: str) -> str:
    return brief(value, _COLUMNS)
