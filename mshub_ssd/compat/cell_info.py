"""What a card says under the official client's names, and its validator, without the network."""

from __future__ import annotations

import json
import logging
import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import providers, validation
from mshub_ssd.cards import is_card_name
from mshub_ssd.errors import ArgumentTypeError, CardError, MissingCardError, MshubError
from mshub_ssd.files import replace_file
from mshub_ssd.hub import default_hub

if TYPE_CHECKING:
    from mshub_ssd.cards import Card

__all__ = ["CellInfo", "ValidMarkdown", "auto_rename", "sanity_check"]

_log = logging.getLogger(__name__)

# Attribute of `CellInfo` → field of a card.
_NAMED = {
    "name": "model-name",
    "backbone_name": "backbone-name",
    "type": "module-type",
    "fine_tunable": "fine-tunable",
    "input_shape": "input-shape",
    "author": "author",
    "update_time": "update-time",
    "repo_link": "repo-link",
    "user_id": "user-id",
    "backend": "backend",
    "dataset": "train-dataset",
    "license": "license",
    "accuracy": "accuracy",
    "used_for": "used-for",
    "model_version": "model-version",
    "mindspore_version": "mindspore-version",
    "asset": "asset",
    "asset_id": "asset-id",
    "evaluation": "evaluation",
}
_SWITCHES = {"true": True, "false": False}


class CellInfo:
    """What a card says, by the official client's names; nothing is asked over the network.

    Args:
        name: The path of a card, or a uid.

    Attributes:
        name: The card's model-name.
        type: The first part of its module-type, e.g. ``cv``.
        dataset: Its data sets, joined by ``_``.
        evaluation: Its figures, joined by ``|``; None where it gives none, also if it says ``-``.
        model_version: Text, as is `mindspore_version`: ``1.10`` stays ``1.10``.
        asset: Dictionaries with ``asset-link``, ``asset-sha256`` and ``file-format``; None where there is none.
        asset_id: Place of the one that `load` takes, None where there is none.
        backbone_name, fine_tunable, input_shape, author, update_time, repo_link, user_id, backend, license, accuracy,
            used_for: As the card has them, None where it has not. `allow_cache_ckpt` is there only if the card says so.

    Raises:
        MissingCardError: There is no such card (a `FileNotFoundError`).
        CardError: It cannot be read (a `ValueError`).
    """

    name: str | None
    backbone_name: str | None
    type: str | None
    fine_tunable: bool | None
    input_shape: list[Any] | None
    author: str | None
    update_time: Any
    repo_link: str | None
    user_id: str | None
    backend: str | None
    allow_cache_ckpt: Any
    dataset: str | None
    license: str | None
    accuracy: float | None
    used_for: str | None
    model_version: str | None
    mindspore_version: str | None
    asset: list[dict[str, Any]] | None
    asset_id: int | None
    evaluation: str | None

    def __init__(self, name: str | os.PathLike[str]) -> None:
        self.update(name)

    def update(self, md_path: str | os.PathLike[str]) -> None:
        """Say what another card says.

        Args:
            md_path: The path of a card, or a uid.

        Raises:
            MshubError: As for the class.
        """
        header = _header(_card(md_path))
        for attribute, key in _NAMED.items():
            setattr(self, attribute, header.get(key))
        vars(self).pop("allow_cache_ckpt", None)
        if "allow-cache-ckpt" in header:
            self.allow_cache_ckpt = header["allow-cache-ckpt"]

    def __repr__(self) -> str:
        return f"CellInfo(name={self.name!r}, type={self.type!r}, mindspore_version={self.mindspore_version!r})"


class ValidMarkdown:
    """A card to be validated, as ``mshub validate`` does it; nothing is asked over the network.

    Args:
        filename: The path of a card. A Chinese one is checked itself, not its English twin.
    """

    def __init__(self, filename: str | os.PathLike[str]) -> None:
        self.filename = filename

    def check_markdown_file(self) -> dict[str, Any]:
        """The card's fields under their own names, with ``asset-id``, ``uid`` and ``markdown_name``.

        Raises:
            MissingCardError: There is no such file (a `FileNotFoundError`).
            CardError: The linter finds an error in it (a `ValueError`).
        """
        card = _card(self.filename)
        if card.path is None:  # of an archive or a repository
            raise MissingCardError("this card is no file", where=card.uid, hint="give the path of a .md file")
        errors = [one for one in validation.validate(card.path).findings if one.severity == "error"]
        for first in errors[:1]:
            more = f" (and {len(errors) - 1} more)" if errors[1:] else ""
            error = CardError(
                f"{first.code} {first.message}{more}",
                where=f"{first.path}:{first.line}:{first.column}",
                hint=first.help or f"mshub validate {first.path}",
            )
            error.line, error.column = first.line, first.column
            raise error
        return _header(card)

    def extract_info_to_json(self, json_path: str | os.PathLike[str]) -> None:
        """Write `check_markdown_file`'s fields to a file.

        Raises:
            MshubError: As there.
            OSError: The file cannot be written.
        """
        text = json.dumps(self.check_markdown_file(), indent=4, default=str)
        replace_file(Path(json_path), text.encode())


def sanity_check(json_path: str | os.PathLike[str], check_dir: str | os.PathLike[str] = "") -> None:
    """Validate the cards of one folder, and write their fields to a file: a line of JSON for each.

    Args:
        json_path: The file.
        check_dir: The folder.

    Raises:
        CardError: The linter finds an error in one of them; all are looked at, and all that fail are logged.
    """
    lines, first = [], None
    for path in sorted(Path(check_dir).glob("*.md")):
        if not is_card_name(path.name):
            continue
        try:
            header = ValidMarkdown(path).check_markdown_file()
        except MshubError as error:
            _log.warning("%s", error)
            first = first or error
        else:
            lines.append(json.dumps(header, default=str, ensure_ascii=False) + "\n")
    if first is not None:
        raise first
    replace_file(Path(json_path), "".join(lines).encode())


def auto_rename(
    source_file_path: str | os.PathLike[str], save_path: str | os.PathLike[str], md_path: str | os.PathLike[str]
) -> str:
    """Copy a file to ``save_path/<type>/<backbone>/<backbone>_<backend>_<version>_<data set>_<time>.<ending>``.

    Args:
        source_file_path: The file.
        save_path: The folder.
        md_path: The card that the names come from; what it does not say is left out of them.

    Returns:
        The copy's path.

    Raises:
        MissingCardError: There is no such card.
        FileNotFoundError: There is no such file.
    """
    header = _header(_card(md_path))
    source = Path(source_file_path)
    with source.open("rb") as stream:
        folders = [_plain(header.get(key)) for key in ("module-type", "backbone-name")]
        said = [header.get(key) for key in ("backbone-name", "train-backend", "mindspore-version", "train-dataset")]
        name = "_".join([_plain(one) for one in said if one] + [time.strftime("%Y%m%d%H%M%S")])
        target = Path(save_path).joinpath(*filter(None, folders), name + source.suffix)
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("xb") as copy:
            shutil.copyfileobj(stream, copy)
    return str(target)


def _plain(text: object) -> str:
    """A card's word as a part of a path; cards come from strangers."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", str(text or "")).lstrip(".")


def _card(name: str | os.PathLike[str]) -> Card:
    """The card of a path or a uid.

    Raises:
        MissingCardError: There is none.
    """
    text = os.fspath(name) if isinstance(name, str | os.PathLike) else None
    if not isinstance(text, str):
        raise ArgumentTypeError("a card is named by text", expected="a path or a uid", got=repr(type(name)))
    path = Path(text).expanduser()
    if path.is_file() or text.endswith(".md"):
        return default_hub().info(path, "local")
    try:
        return default_hub().info(text, "gitee")
    except KeyError as error:
        raise MissingCardError(
            "no model card of that name", expected="a path or a uid", got=repr(text)[:200], hint="mshub list"
        ) from error


def _header(card: Card) -> dict[str, Any]:
    """A card's fields as the official validator returns them; what the card does not say is left out."""
    kind, _, detail = (card.module_type or "").partition("-")
    accuracy = next((metric.value for metric in card.metrics if metric.name == "accuracy"), None)
    shape = None if card.input_shape is None else _listed(card.input_shape)
    assets = [
        {"file-format": asset.file_format, "asset-link": asset.url, "asset-sha256": asset.sha256}
        for asset in card.assets
    ]
    # What nobody could read as what it should be is there as text.
    extra = {key: _SWITCHES.get(str(value).lower(), value) for key, value in card.extra.items() if key != "evaluation"}
    found = {
        "model-name": card.model_name,
        "backbone-name": card.backbone_name,
        "module-type": kind or None,
        "module-type-detail": detail or None,
        "fine-tunable": card.fine_tunable,
        "input-shape": shape,
        "model-version": card.model_version and str(card.model_version),
        "train-dataset": "_".join(card.datasets) or None,
        "evaluation": " | ".join(_figures(card)) or None,
        "accuracy": accuracy,
        "author": card.author,
        "update-time": card.update_time,
        "repo-link": card.repo_link,
        "user-id": card.user_id,
        "used-for": card.used_for,
        "mindspore-version": card.mindspore_version and str(card.mindspore_version),
        "asset": assets or None,
        "asset-id": _asset_id(card),
        "license": card.license,
        "summary": card.summary,
        "uid": card.uid,
        "markdown_name": card.path.stem if card.path else card.uid.rpartition("/")[2],
    }
    return {**extra, **{key: value for key, value in found.items() if value is not None}}


def _figures(card: Card) -> Iterator[str]:
    for metric in card.metrics:
        if metric.name in card.spans:  # a field of its own, such as `accuracy`
            continue
        spread = "" if metric.spread is None else f" \u00b1 {metric.spread:.15g}"
        yield f"{metric.name}{metric.value:.15g}{spread}"


def _asset_id(card: Card) -> int | None:
    """Place of the asset that loading takes; of the first one where none can be loaded."""
    if not card.assets:
        return None
    try:
        return card.assets.index(providers.choose_asset(card)[0])
    except MshubError:
        return 0


def _listed(value: tuple[Any, ...]) -> list[Any]:
    return [_listed(item) if isinstance(item, tuple) else item for item in value]
