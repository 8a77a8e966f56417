"""A card that is being written: what is known of it, and the file it becomes."""

from __future__ import annotations

import datetime
import importlib.metadata
import re
import tempfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import checkpoints, networks, providers, store
from mshub_ssd.cards import FIELDS, Card, Metric, card_text, is_card_name, parse_card, template, valid_uid
from mshub_ssd.drafting import files, recognising
from mshub_ssd.drafting.body import body_text
from mshub_ssd.drafting.recognising import Match
from mshub_ssd.errors import CardError, MissingDependencyError, MshubError, UnknownModelError, UsageError
from mshub_ssd.files import lies_in, make_folders, new_file
from mshub_ssd.hub import Hub

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mshub_ssd import lint
    from mshub_ssd.drafting.files import NewFile

__all__ = ["Draft", "figure_value", "find_registry"]

_PART = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_VERSION = re.compile(r"[0-9]+(?:\.[0-9]+)*")
_FOLDER = "hub_models"
_AREAS = {"classifier": "cv-classification"}
_DETECTION = "cv-object_detection"
# Of a draft the file may not be there yet, and the example in its place is none.
_LATER = ("MC029",)
# Fields of which the linter knows one right spelling.
_SPELT = ("license", "train-dataset")
_NO_NETWORK = ("none", "-")
_SHORT = (int, float, str)


def find_registry() -> Path:
    """The folder that new cards go to: ``hub_models`` in the working folder, else the working folder itself."""
    return Path(_FOLDER) if Path(_FOLDER).is_dir() else Path()


class Draft:
    """A card that is being written.

    Attributes:
        uid: Its uid.
        root: The folder of cards that it will be in.
        path: The file it will be.
        values: Fields that are known, by their keys.
        file: The checkpoint, once it is named.
        match: The network, once it is known.
        names: Names of the classes that were given.
        notes: What was filled in and why, in sentences.

    Args:
        hub: The session: caches, and the cards that others are compared with.
        uid: As `uid`.
        root: As `root`; by default see `find_registry`.
        force: Whether an existing card, and a file beside it, may be replaced.

    Raises:
        UsageError: That is no uid for a new card, or the card is there already.
    """

    def __init__(self, hub: Hub, uid: str, root: Path | None = None, *, force: bool = False) -> None:
        self.hub = hub
        self.root = find_registry() if root is None else root
        self.uid = _checked_uid(uid, self.root)
        self.force = force
        self.path = self.root / f"{self.uid}.md"
        if self.path.exists() and not force:
            raise UsageError(
                "the card is there already",
                where=str(self.path),
                hint="choose another uid; --force writes it anew",
            )
        self.file: NewFile | None = None
        self.source: Path | None = None
        self.match: Match | None = None
        self.names: tuple[str, ...] = ()
        self.notes: list[str] = []
        self.candidates: list[Match] = []
        self.compared = False
        self.networkless = False
        self.unfit = ""
        self.arrays: dict[str, NDArray[Any]] | None = None
        self.values: dict[str, Any] = {"update-time": datetime.date.today(), "used-for": "inference"}
        last = self.uid.rpartition("/")[2]
        self.model, _, self.dataset = last.rpartition("_") if "_" in last else (last, "", "")
        self.values["model-name"] = self.model
        if "/" in self.uid:
            self.values["user-id"] = self.uid.partition("/")[0]

    @property
    def folder(self) -> Path:
        """The card's folder."""
        return self.path.parent

    @property
    def folder_version(self) -> str | None:
        """The version that the uid names, as in ``me/1.0/net``."""
        part = (self.uid.split("/")[-2:-1] or [""])[0]
        return part if _VERSION.fullmatch(part) else None

    @property
    def official(self) -> bool:
        """Whether the card is one of the official hub's publishers, which asks for more fields."""
        from mshub_ssd import lint

        return lint.CardContext(b"", path=f"{self.uid}.md", uid=self.uid).official

    def installed_mindspore(self) -> str | None:
        """The version of MindSpore that is installed here."""
        try:
            return importlib.metadata.version("mindspore")
        except importlib.metadata.PackageNotFoundError:
            return None

    # --- the checkpoint

    def take_checkpoint(self, text: str) -> None:
        """Name the checkpoint.

        Raises:
            MshubError: It cannot be read, or has no ending that is known.
        """
        self.notes.clear()
        self.file = files.find(text, self.folder, self.hub.settings)
        self.source = self.file.path
        if not files.is_url(text):
            self._look_inside()

    def take_url(self, url: str) -> None:
        """Say where the checkpoint, a file, will be published: the card links it there.

        Raises:
            UsageError: That is no address of such a file.
        """
        assert self.file is not None
        self.file = files.published(self.file, url.strip())
        self.notes.append("the card links the url, which was not asked: publish this very file there")

    def take_digest(self, sha256: str, *, fetch: bool = False) -> None:
        """Say what the checkpoint must be.

        Args:
            sha256: 64 hex digits; empty to download a url and take the digest of what comes.
            fetch: Whether it may be downloaded.

        Raises:
            MshubError: It is another file, or cannot be had.
        """
        assert self.file is not None
        here = self.file.path is not None
        self.file = files.digested(self.file, sha256, fetch=fetch, settings=self.hub.settings, label=self.uid)
        if here:
            return
        if fetch and not sha256:
            self.notes.append(
                "asset-sha256 is the digest of what the server sent just now: compare it with its maker's"
            )
        self._look_inside()

    def copy_beside(self) -> None:
        """Let the checkpoint be copied into the card's folder.

        Raises:
            UsageError: Another file of that name is there.
        """
        assert self.file is not None
        self.file = files.copied(self.file, self.folder, force=self.force)

    def _look_inside(self) -> None:
        """Read the checkpoint, and find the networks that it fits; where that cannot be done, say so."""
        self.candidates, self.arrays, self.compared, self.unfit = [], None, False, ""
        file = self.file
        assert file is not None
        if not file.loadable:
            self.notes.append(f"a {file.format} file is for other programs: mshub.load cannot read it")
            return
        if file.path is None:
            self.notes.append("the checkpoint was not looked at, for it is not here: --fetch downloads it")
            return
        try:
            self.arrays = checkpoints.read(file.path, file.format)
        except MissingDependencyError as error:
            self.notes.append(f"the checkpoint was not looked at: {error.message}")
            return
        if not recognising.can_build():
            self.notes.append("the checkpoint was not compared with the known networks, for MindSpore is not here")
            return
        self.candidates, nearest = recognising.recognise(self.arrays, self._cards())
        self.compared = True
        if not self.candidates:
            keys = " and ".join(fit.key for fit in nearest)
            verb = "are" if len(nearest) > 1 else "is"
            like = f"; the nearest {verb} {keys}: {recognising.count_text(nearest[0].report)}" if nearest else ""
            self.unfit = f"the checkpoint fits no known network, with any number of classes or hidden units{like}"
            self.notes.append(self.unfit)

    def _cards(self) -> list[Card]:
        return list(self.hub.registry.cards())

    # --- the network

    def named_network(self) -> str | None:
        """The network that uid and file names speak for, None if they name none."""
        asset = f"asset:\n- asset-link: {self.file.name}.ckpt\n" if self.file else ""
        try:
            return providers.choose_network(parse_card(f"---\nmodel-name: x\n{asset}---\n", uid=self.uid)).key
        except MshubError:
            return None

    def best_match(self) -> Match | None:
        """One of the networks that fit: the one that names speak for, or the first."""
        return self.likely_match() or (self.candidates[0] if self.candidates else None)

    def likely_match(self) -> Match | None:
        """The network to take unasked."""
        return recognising.choose(self.candidates, self.named_network())

    def take_network(self, text: str) -> None:
        """Name the network: by its key, or as the card will, with arguments.

        Raises:
            MshubError: There is no such network, it takes no such arguments, or the checkpoint does not fit it.
        """
        if text.strip().lower() in _NO_NETWORK:
            self.leave_network()
            return
        card = _network_card(text)
        assert card.network is not None
        key, arguments = networks.require(card.network.name), dict(card.network.arguments)
        providers.plan(card, pretrained=False)  # refuses arguments that it does not take
        candidate = next((one for one in self.candidates if one.key == key), None)
        if candidate is not None and not arguments:
            self.use(candidate)
            return
        if self.compared and self.arrays is not None:
            match = recognising.fitted(self.arrays, key, arguments)
            if match.report is not None and not match.report.ok:
                recognising.refuse_arguments(self.arrays, key, arguments)
                where, none = str(self.file.link if self.file else ""), "name another network, or --network none"
                raise recognising.refuse(key, match.report, where, self.candidates, arguments, none)
            self.use(match)
        else:
            self.use(recognising.described(key, arguments))

    def leave_network(self) -> None:
        """Let the card name no network."""
        self.networkless = True
        self.notes.append("no network: the card names none")

    def use(self, match: Match) -> None:
        """Take a network, and what follows from it."""
        self.match, self.networkless = match, False
        self.notes = [line for line in self.notes if line != self.unfit]
        spec = networks.NETWORKS.get(match.key)
        if match.report is not None:
            found = {} if match.standard else {"num_classes": match.num_classes}
            found |= {} if match.like else match.arguments
            told = ", ".join(f"{name} {value}" if isinstance(value, _SHORT) else name for name, value in found.items())
            like = f", with the arguments of {match.like.uid}" if match.like else ""
            found_as = f"{match.key} with {told}" if told else match.key
            count = len(match.report.loaded)
            self.notes.append(f"network {found_as}{like}: all {count} parameters of the checkpoint fit")
        if spec is not None:
            self.values.setdefault("module-type", _AREAS.get(spec.family, _DETECTION))
        same = self._relative(match.key)
        if match.side is not None:
            self.values.setdefault("input-shape", [3, match.side, match.side])
        elif same is not None and same.input_shape and not match.arguments:
            self.values.setdefault("input-shape", [*same.input_shape])
        backbone = same.backbone_name if same else None
        self.values.setdefault("backbone-name", backbone or match.key.removeprefix("ssd_"))

    def _relative(self, key: str) -> Card | None:
        """The last card in the registry that says it is of this network."""
        found = None
        for card in self._cards():
            try:
                if providers.choose_network(card).key == key and card.backbone_name:
                    found = card
            except UnknownModelError:
                continue
        return found

    def refuse_named_network(self) -> None:
        """Refuse a checkpoint that does not fit the network which `load` would take by the card's names.

        Raises:
            UsageError: It does not.
        """
        key = self.named_network()
        if self.match is None and self.compared and self.arrays is not None and key is not None:
            report = recognising.fitted(self.arrays, key, {}).report
            assert report is not None
            where, other = f"{self.uid}, which names {key}", "choose a uid that names no known network"
            raise recognising.refuse(key, report, where, self.candidates, (), other)

    def conclude(self) -> None:
        """Note what keeps the card from being loaded here."""
        if self.match is not None or self.file is None or not self.file.loadable:
            return
        key = self.named_network()
        if key is not None:
            self.notes.append(f"mshub.load takes {key} all the same, which the uid or the file's name speaks for")
            return
        known = "--network KEY" if not self.compared else "--network '{name: KEY, ...}' with arguments that fit"
        self.notes.append(
            "this card cannot be loaded here until its network is registered: "
            f"mshub_ssd.register_network(...), or {known}"
        )

    # --- the classes

    @property
    def needs_classes(self) -> bool:
        """Whether the classes cannot be those that the network names by itself."""
        spec = networks.NETWORKS.get(self.match.key) if self.match else None
        if self.match is None or spec is None or self.names:
            return False
        sets = [_squeezed(name) for name in self.values.get("train-dataset", ())]
        return not self.match.standard or sets != [spec.classes]

    def known_classes(self) -> tuple[str, ...] | None:
        """The names that a card of the same network and data has."""
        like = self.match.like if self.match else None
        same = like is not None and list(like.datasets) == self.values.get("train-dataset")
        fits = like is not None and like.classes is not None and len(like.classes) == (self.match and self.match.names)
        return like.classes if like is not None and same and fits else None

    def take_classes(self, names: list[str]) -> None:
        """Name the classes, in the network's order.

        Raises:
            UsageError: There are not as many as the network tells apart.
        """
        if len(set(names)) < len(names):
            twice = next(name for name in names if names.count(name) > 1)
            raise UsageError("a class is named twice", got=repr(twice), hint="correct --classes")
        match = self.match
        if match is not None and match.names is not None and len(names) != match.names:
            background = len(names) == match.names + 1 == match.num_classes
            known = self.compared or not match.standard
            if known:
                raise UsageError(
                    f"the network tells {match.names} classes apart",
                    where="--classes",
                    expected=f"{match.names} names, in the network's order, without a background",
                    got=f"{len(names)} names",
                    hint="leave the background out" if background else "correct --classes",
                )
        self.names = tuple(names)

    def _network_value(self) -> str | dict[str, Any] | None:
        match = self.match
        if match is None:
            return None
        count = None if match.standard else match.num_classes
        if not self.compared and self.names and len(self.names) != match.names:
            spec = networks.NETWORKS.get(match.key)
            if spec is not None:
                count = len(self.names) + spec.background
        value = {"name": match.key, **({} if count is None else {"num_classes": count}), **match.arguments}
        return match.key if len(value) == 1 else value

    # --- the card

    def fields(self) -> dict[str, Any]:
        """All fields, as `card_text` takes them."""
        values = dict(self.values)
        values.setdefault("backbone-name", values["model-name"])
        values.setdefault("author", values.get("user-id"))
        values.setdefault("fine-tunable", self.file is None or self.file.loadable)
        values["network"] = self._network_value()
        values["classes"] = list(self.names)
        if self.file is not None:
            asset = {"file-format": self.file.format, "asset-link": self.file.link}
            values["asset"] = [{**asset, "asset-sha256": self.file.sha256, "asset-size": self.file.size}]
        return values

    def text(self) -> str:
        """The card as it will be written, with the linter's safe fixes.

        Raises:
            UsageError: A value cannot be written to a card.
        """
        return self._reviewed(self.fields())[0]

    def objections(self, key: str) -> list[lint.Finding]:
        """What the linter says to a field as it is known now; the rest of the card is made up.

        Raises:
            UsageError: The value cannot be written to a card.
        """
        example = parse_card(template(), uid="example")
        made_up = {name: value for name in FIELDS if name != "asset" and (value := _plain(example, name)) is not None}
        known = {name: value for name, value in self.fields().items() if value is not None}
        text, findings = self._reviewed({**made_up, **known})
        span = parse_card(text, uid=self.uid).spans.get(key)
        return [one for one in findings if span and span.line <= one.line <= span.end_line]

    def _reviewed(self, values: Mapping[str, Any]) -> tuple[str, list[lint.Finding]]:
        """The card of some values, spelt as the linter would have it, and what is left to say about it."""
        from mshub_ssd import lint  # not before: `mshub --help` must not load the linter

        known = {key: value for key, value in values.items() if value is not None}
        text = ""
        with tempfile.TemporaryDirectory(prefix="mshub-") as folder:
            path = Path(folder) / _FOLDER / f"{self.uid}.md"
            make_folders(path.parent)
            for _ in range(2):
                text = card_text(str(known["model-name"]), known, body_text(self.uid, known, self.match))
                path.write_bytes(text.encode())
                lint.lint([path], lint.load_config(use_file=False, profile="strict", ignore=_LATER), fix="safe")
                # Once more, so that the body says it likewise.
                spelt = parse_card(path.read_bytes(), uid=self.uid)
                known |= {key: _plain(spelt, key) for key in _SPELT if key in known}
            report = lint.lint([path], lint.load_config(use_file=False, ignore=_LATER))
        return text, list(report.findings)

    def write(self, text: str) -> Path | None:
        """Write the card, and the checkpoint: beside it where it was to be copied, into the cache where it has a url.

        Returns:
            The copy of the checkpoint, if one was made.

        Raises:
            MshubError: Something cannot be written.
        """
        file, copy = self.file, None
        make_folders(self.folder)
        if file is not None and self.source is not None and file.sha256 is not None:
            if files.is_url(file.link):
                # So the card can be tried before anything is published.
                store.add(self.source, file.sha256, urls=[file.link], label=self.uid, settings=self.hub.settings)
            else:
                copy = files.place(self.source, file, self.folder)
        try:
            with new_file(self.path, replace=self.force, mode=0o666) as stream:
                stream.write(text.encode())
        except OSError as error:
            raise UsageError(
                f"the card cannot be written: {error.strerror or error}", where=str(self.path), hint="check the folder"
            ) from error
        return copy

    def foreseen(self, text: str) -> lint.Report:
        """What `check` would say to the card, which is not written."""
        from mshub_ssd import lint
        from mshub_ssd.validation import plan_card

        file, beside = self.file, self.path
        ignored: tuple[str, ...] = ()
        if file is not None and file.path is not None and not files.is_url(file.link):
            ignored = _LATER  # it will be beside the card, if it is not yet
            beside = self.path if lies_in(file.path, self.folder) else file.path.absolute().parent / self.path.name
        with tempfile.TemporaryDirectory(prefix="mshub-") as folder:
            path = Path(folder) / _FOLDER / f"{self.uid}.md"
            make_folders(path.parent)
            path.write_bytes(text.encode())
            config = lint.load_config(self.path, ignore=ignored)
            report = lint.lint([path], config, planner=lambda card: plan_card(replace(card, path=beside)))
        return replace(report, findings=tuple(replace(one, path=str(self.path)) for one in report.findings))

    def check(self) -> lint.Report:
        """What `mshub validate` says to the written card."""
        from mshub_ssd.validation import validate

        return validate(self.path)

    @property
    def listed(self) -> bool:
        """Whether the uid leads to the card, going by the folders that are searched."""
        try:
            return self.hub.registry.path(self.uid).resolve() == self.path.resolve()
        except MshubError:
            return False


def figure_value(metric: Metric) -> float | str:
    """A figure as `card_text` takes it."""
    return metric.value if metric.spread is None else f"{metric.value:.15g} \u00b1 {metric.spread:.15g}"


def _checked_uid(uid: str, root: Path) -> str:
    text = uid.strip().removesuffix(".md").removeprefix("./")
    last = text.rpartition("/")[2]
    example = "publisher/version/name, as in mindspore/1.7/ssd300_coco2017"
    if root.name and text.startswith(f"{root.name}/"):
        raise UsageError(
            f"a uid does not begin with the folder of cards, {root.name}",
            expected=example,
            got=repr(uid),
            hint=f"mshub new {text.removeprefix(f'{root.name}/')}",
        )
    if not valid_uid(text) or not _PART.fullmatch(last) or not is_card_name(f"{last}.md"):
        raise UsageError(
            "this is no uid for a card",
            expected=f"{example}: letters, digits, _ and - (dots in the parts before the last, too)",
            got=repr(uid),
            hint="mshub new me/1.0/net_dataset",
        )
    return text


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _network_card(text: str) -> Card:
    """A card with a network, written as in a card.

    Raises:
        UsageError: It names none.
    """
    wrong = UsageError(
        "this names no network",
        where="--network",
        expected=f"{', '.join(networks.names())}; or a mapping with arguments, {{name: ssd300, num_classes: 4}}",
        got=repr(text[:80]),
        hint="--network KEY, or leave it out: the one that fits is taken",
    )
    try:
        card = parse_card(f"---\nnetwork: {' '.join(text.split())}\n---\n", uid="--network")
    except CardError:
        raise wrong from None
    if card.network is None:
        raise wrong
    return card


def _plain(card: Card, key: str) -> Any:
    """A field of a card as `card_text` takes it."""
    value = getattr(card, FIELDS[key].attribute, None) if FIELDS[key].attribute else None
    if key == "evaluation":
        return {one.name: figure_value(one) for one in value or ()}
    if key == "asset":
        return [
            {"file-format": one.file_format, "asset-link": one.url, "asset-sha256": one.sha256} for one in value or ()
        ]
    return list(value) if isinstance(value, tuple) else value
