"""One session: settings, the cards, and the networks that were loaded for pictures.

`mshub_ssd.load` and its neighbours are the methods of a `Hub` that follows the environment; a program that wants
other settings, or several at once, makes Hubs of its own.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

from mshub_ssd import settings as _settings
from mshub_ssd.cards import Uids
from mshub_ssd.errors import (
    ArgumentTypeError,
    MshubError,
    UnknownModelError,
    UnsupportedFormatError,
    UsageError,
    needing_extra,
)
from mshub_ssd.hub.locking import Locking
from mshub_ssd.hub.naming import CardUrls, card_file
from mshub_ssd.hub.seeing import Seeing
from mshub_ssd.schemes import is_url
from mshub_ssd.settings import Settings

if TYPE_CHECKING:
    import mindspore
    from mindspore import nn

    from mshub_ssd.bundles import Bundle, Installed
    from mshub_ssd.cards import Card
    from mshub_ssd.compiling import Compiled
    from mshub_ssd.providers import Checkpoint, Plan, Standing
    from mshub_ssd.registry import Account, Registry
    from mshub_ssd.store import Plan as DownloadPlan

__all__ = ["Hub", "default_hub"]

_log = logging.getLogger(__name__)

Folders = str | Path | Sequence[str | Path]


class Hub(Seeing, Locking):
    """A session with settings, model cards and loaded networks of its own; may be used by many threads.

    What is not given here follows from the environment and the user's file as they are when the Hub is made. The
    cards are looked up anew each time, so what is edited, added or removed is seen.

    Args:
        registry: Places with cards that are searched before all others, instead of ``MSHUB_REGISTRY``: folders,
            archives, bare repositories, urls, names of added registries.
        home: Root of the download cache, or several of them, instead of ``MSHUB_HOME``.
        offline: Forbid the network, or allow it.
        endpoint: A mirror, tried first as ``<endpoint>/<host>/<path>``.
        token: Secret sent to the endpoint's host only.
        verify_always: Hash cached files on every use.
        connections: Connections per download, 1 to 16.
        max_networks: So many networks are kept for `detect` and `classify` by uid, those used last.
            Networks are large.

    Attributes:
        settings: What holds in this session.

    Raises:
        UsageError: An argument, a variable or the user's file makes no sense.
    """

    def __init__(
        self,
        registry: Folders | None = None,
        home: Folders | None = None,
        offline: bool | None = None,
        *,
        endpoint: str | None = None,
        token: str | None = None,
        verify_always: bool | None = None,
        connections: int | None = None,
        max_networks: int = 1,
    ) -> None:
        super().__init__(max_networks)
        self._settings = _settings.current(
            registry=registry,
            home=home,
            offline=offline,
            endpoint=endpoint,
            token=token,
            verify=verify_always,
            connections=connections,
        )
        self._closed = False
        self._urls = CardUrls()

    def __enter__(self) -> Hub:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let go of the networks; the Hub cannot be used any more. Networks that `load` returned are not touched."""
        self._closed = True
        self._forget()

    @property
    def settings(self) -> Settings:
        """What holds in this session.

        Raises:
            UsageError: It was closed.
        """
        if self._closed:
            raise UsageError("this Hub is closed", hint="make a new one: mshub_ssd.Hub()")
        return self._settings

    @property
    def registry(self) -> Registry:
        """The cards, as their folders are now.

        Raises:
            UsageError: A folder of cards does not exist.
        """
        from mshub_ssd.hub.judging import CardJudge
        from mshub_ssd.registry import default_registry

        return default_registry(self.settings, CardJudge())

    def info(self, name: str | Path, source: str | None = None) -> Card:
        """The card of a uid, of a card file, or at a url.

        Args:
            name: A uid such as ``mindspore/1.7/ssdresnet50fpn_coco2017``, the path of a card file, or the url of one:
                of the file itself, or of GitHub's or Gitee's page that shows it.
            source: ``"local"`` forces `name` to be a path; ``"gitee"`` and ``"github"`` are accepted and mean a uid.

        Raises:
            UnknownModelError: No such uid, no such file.
            CardError: The card cannot be read.
            TransferError: It is a url, and cannot be downloaded.
            OfflineError: It is a url, and the network is forbidden.
            ArgumentTypeError: `name` is neither text nor a path.
            UsageError: `source` is not one of the known words.
        """
        return self.read_card(name, source)[0]

    def read_card(self, name: str | Path, source: str | None = None) -> tuple[Card, bytes]:
        """`info`, and the bytes that the card was read from."""
        path = card_file(name, source)
        if path is not None:
            # Listing goes through this module and needs no parser.
            from mshub_ssd.cards import read_card_with_text

            return read_card_with_text(path)
        if isinstance(name, str) and is_url(name):
            return self._urls.read(name, self.settings)
        from mshub_ssd.registry import read_with_text

        return read_with_text(*self.registry.entry(str(name)))

    def registries(self, name: str | None = None, *, complete: bool = False) -> Iterator[Account]:
        """What there is to tell about each place with cards, in the order they are searched.

        Args:
            name: Only those of this name.
            complete: Look at every card now, even where nothing seems to have changed.
        """
        from mshub_ssd.hub.judging import CardJudge
        from mshub_ssd.registry import accounts

        return accounts(self.settings, CardJudge(), name=name, complete=complete)

    def list_models(
        self,
        pattern: str = "*",
        *,
        task: str | None = None,
        dataset: str | None = None,
        backbone: str | None = None,
        publisher: str | None = None,
        network: str | None = None,
        mindspore_version: str | None = None,
        loadable: bool | None = None,
        sort: str | None = None,
        limit: int | None = None,
    ) -> list[str]:
        """Uids of the models that fit all filters, every version of each.

        Filters compare without case, and may hold the wildcards ``*``, ``?`` and ``[...]``.

        Args:
            pattern: Wildcard for the uid; ``*`` also matches ``/``.
            task: E.g. ``object-detection``.
            dataset: Name of a training data set.
            backbone: Name of the backbone, or a word of it.
            publisher: First part of the uid.
            network: Architecture key, e.g. ``ssd_vgg16``.
            mindspore_version: The card's MindSpore version, e.g. ``"1.10"``.
            loadable: Only models that `load` has a network and a checkpoint for (True), or only the others (False).
            sort: ``name`` (1.9 before 1.10; the default), ``newest`` or ``size``.
            limit: At most so many.

        Raises:
            UsageError: A filter is not text, there is no such order, or `limit` is no number of models.
        """
        found = self.registry.list_models(
            pattern,
            task=task,
            dataset=dataset,
            backbone=backbone,
            publisher=publisher,
            network=network,
            mindspore_version=mindspore_version,
            loadable=loadable,
            sort=sort or "name",
            limit=limit,
        )
        return Uids(found)

    def search(self, text: str, limit: int | None = None) -> list[str]:
        """Find models by words: names, titles, data sets, tasks, backbones, summaries and bodies; see docs/search.md.

        Args:
            text: Words in English or Chinese; hyphens and case do not matter, and one letter in five may be wrong.
            limit: At most so many.

        Returns:
            Of each model its newest uid that can be loaded, else its newest; the best comes first.
        """
        return Uids(shown.uid for shown in self.registry.search(text, limit))

    def plan(self, name: str | Path, source: str | None = None, *, pretrained: bool = True) -> Plan:
        """What `load` would do: the network, why it, and the checkpoint. Nothing is fetched, opened or built.

        Args:
            name: A uid or the path of a card file.
            source: As for `info`.
            pretrained: With the card's checkpoint.

        Raises:
            UnknownModelError: No such card, or one of no network that is known here.
            CardError: The card cannot be read, or its asset-link makes no sense.
            UnsupportedFormatError: No asset can be loaded; names the newest card of the same network that has one.
            IntegrityError: The asset has no digest.
        """
        from mshub_ssd import providers

        card = self.info(name, source)
        with self._advising(card):
            return providers.plan(card, pretrained=pretrained)

    def checkpoint(self, name: str | Path, source: str | None = None) -> Checkpoint:
        """The checkpoint of a card; nothing is fetched or opened.

        Args:
            name: A uid or the path of a card file.
            source: As for `info`.

        Raises:
            MshubError: As for `plan`, but that the network need not be known.
        """
        return self._checkpoint(self.info(name, source))

    def standing(self, card: Card) -> Standing:
        """Whether a card can be loaded here, and as what; without a checkpoint, the hint names a sibling with one."""
        from mshub_ssd import providers

        found = providers.standing(card)
        if found.error is not None:
            self._advise(card, found.error)
        return found

    def load(
        self,
        name: str | Path,
        *args: Any,
        source: str | None = None,
        pretrained: bool = True,
        force_reload: bool = False,
        strict: bool = True,
        trust_repo: bool = False,
        locked: str | Path | None = None,
        **kwargs: Any,
    ) -> nn.Cell:
        """A ready-to-infer network from a model card.

        Args:
            name: A uid such as ``mindspore/1.7/ssdresnet50fpn_coco2017``, or the path of a card file.
            *args: Passed on to the network's constructor.
            source: As for `info`.
            pretrained: Load the card's checkpoint; otherwise the weights are initialised at random.
            force_reload: Download the checkpoint again even if it is cached.
            strict: Refuse a checkpoint whose parameters are not exactly the network's. With False, load what
                fits; the account is at ``network.load_report``.
            trust_repo: Consent, recorded, to run the code of the repository that the card links, at the commit that
                this library names for it; needed where neither this library nor an installed package has the network.
            locked: A lock file; a model that is not in it, or says something else by now, is refused.
            **kwargs: Passed on to the constructor, before the card's own arguments, e.g. ``num_classes=21``.

        Returns:
            The network in inference mode, with ``card``, ``config`` and ``load_report``.

        Raises:
            MshubError: In one of its kinds; every failure arrives as one.
        """
        _check_switches(pretrained=pretrained, force_reload=force_reload, strict=strict, trust_repo=trust_repo)
        with needing_extra("mshub_ssd.load"):
            from mshub_ssd import loading

            plan = self.plan(name, source, pretrained=pretrained)
            if locked is not None:
                from mshub_ssd import lockfile

                file = Path(locked)
                exact = plan if pretrained else self.plan(name, source)
                lockfile.check(plan.card.uid, exact, lockfile.read_lock(file), file)
            return loading.load(
                plan,
                args,
                kwargs,
                settings=self.settings,
                force=force_reload,
                strict=strict,
                trust_repo=trust_repo,
            )

    def load_weights(
        self, name: str | Path, source: str | None = None, force_reload: bool = False
    ) -> dict[str, mindspore.Parameter]:
        """The parameters of a card's checkpoint, named as in the network.

        Args:
            name: A uid or the path of a card file.
            source: As for `info`.
            force_reload: Download the checkpoint again even if it is cached.

        Returns:
            Parameters by name; the training wrapper's prefix is taken off, optimizer state left out.

        Raises:
            MshubError: In one of its kinds.
        """
        _check_switches(force_reload=force_reload)
        with needing_extra("mshub_ssd.load_weights"):
            from mshub_ssd import loading, providers

            card = self.info(name, source)
            checkpoint = self._checkpoint(card)
            try:
                recipe = providers.choose_network(card)
            except UnknownModelError:
                recipe = None
            return loading.load_weights(checkpoint, recipe, settings=self.settings, force=force_reload)

    def fetch(self, name: str | Path) -> Path:
        """The verified checkpoint file of a card, downloaded if need be.

        Args:
            name: A uid or the path of a card file.

        Raises:
            MshubError: In one of its kinds.
        """
        from mshub_ssd import loading

        return loading.fetch(self.checkpoint(name), settings=self.settings)

    def fetch_many(self, names: Sequence[str | Path]) -> list[Path | MshubError]:
        """`fetch` for several cards, several downloads at once.

        Args:
            names: Uids or paths of card files.

        Returns:
            For each, in order, the verified file or the error that kept it away: one failure does not stop the others.
        """
        from mshub_ssd import loading

        if isinstance(names, str) or not isinstance(names, Iterable):
            raise ArgumentTypeError("fetch_many takes several names", expected="a list of uids", got=repr(type(names)))
        listed = list(names)
        if not all(isinstance(name, str | Path) for name in listed):
            got = repr(list(map(type, listed)))[:200]
            raise ArgumentTypeError("a model is named by text", expected="a list of uids", got=got)

        def wanted(name: str | Path) -> Checkpoint | MshubError:
            try:
                return self.checkpoint(name)
            except MshubError as error:
                return error

        return loading.fetch_many(map(wanted, listed), settings=self.settings)

    def plan_fetch(self, name: str | Path) -> DownloadPlan:
        """What `fetch` would do: the file that is here, or the addresses it would be downloaded from. No network.

        Args:
            name: A uid or the path of a card file.

        Raises:
            MshubError: What `fetch` would refuse; an `OfflineError` where a download is needed and forbidden.
        """
        from mshub_ssd import loading

        return loading.plan_fetch(self.checkpoint(name), settings=self.settings)

    def make_bundle(
        self,
        names: Sequence[str | Path],
        out: str | Path,
        *,
        force: bool = False,
        with_graph: bool = False,
        with_code: bool = False,
    ) -> Bundle:
        """Write cards and their checkpoints to a bundle; the checkpoints come from the cache or are downloaded.

        The same cards give the same bytes. The file appears when it is whole.

        Args:
            names: Uids or paths of card files.
            out: The archive.
            force: Overwrite it.
            with_graph: Write the networks down, too: where the bundle is installed, the first detection need not.
            with_code: Take the code of repositories along that the networks may be; where the bundle is installed, it
                still needs consent.

        Raises:
            TrustError: You have not consented to such code here.
            MshubError: A card cannot be found or read, a checkpoint or code cannot be had, a network cannot be written
                down, or `out` cannot be written.
        """
        from mshub_ssd import bundles

        cards = []
        for name in names:
            cards.append(self.read_card(name))
            self._checkpoint(cards[-1][0])  # or the refusal of one without a checkpoint would name no sibling
        kinds = {"with_graph": with_graph, "with_code": with_code}
        return bundles.write(cards, Path(out), settings=self.settings, force=force, **kinds)

    def install_bundle(
        self,
        path: str | Path,
        *,
        force: bool = False,
        dry_run: bool = False,
        with_graphs: bool = True,
        with_code: bool = True,
        advance: Callable[[int], None] = lambda count: None,
    ) -> Installed:
        """Take a bundle in: checkpoints into the cache, cards to where this Hub finds them; all of them or none.

        Its graphs go into the cache of graphs, with the checkpoints' weights; those that this version would make
        otherwise are passed over.

        Args:
            path: The archive.
            force: Replace cards of the same uids that say something else, and files beside them.
            dry_run: Verify the whole archive and decide, and write nothing.
            with_graphs: Keep its graphs, too. They are as trustworthy as whoever made the bundle.
            with_code: Keep its code of repositories, too. It is proven by git's hashes, and runs only with consent.
            advance: Told about the bytes read.

        Raises:
            MshubError: The archive is damaged, a card in it cannot be read or is there already as another one, or the
                cache cannot be written.
        """
        from mshub_ssd import bundles

        return bundles.install(
            Path(path),
            settings=self.settings,
            force=force,
            dry_run=dry_run,
            with_graphs=with_graphs,
            with_code=with_code,
            advance=advance,
        )

    def compile(
        self,
        model: str | Path | nn.Cell,
        engine: str = "auto",
        precision: str = "f32",
        *,
        threads: int | None = None,
        streams: int | None = None,
    ) -> Compiled:
        """A network on an engine, to be called like the Cell, with arrays or tensors; see docs/engines.md.

        On OpenVINO and ONNX Runtime it is a snapshot: what becomes of a Cell's weights later does not count. A uid
        needs no MindSpore there. On MindSpore it is the Cell itself, compiled.

        Args:
            model: A uid, the path of a card, or a network from `load`.
            engine: ``openvino``, ``onnxruntime``, ``mindspore``; ``auto`` for the first of them that is installed, or
                MindSpore where its device is not the CPU.
            precision: ``f32``; ``bf16`` on OpenVINO where the CPU has it.
            threads: So many threads at most; None for as many as the engine likes, within the container's limits.
            streams: So many batches at once in `Compiled.map`; they share the threads.

        Raises:
            UsageError: An option makes no sense, the CPU has no bf16, or the Cell is not one of this library.
            MissingDependencyError: The engine is not installed.
            MshubError: In one of its kinds: the model cannot be loaded.
        """
        with needing_extra("mshub_ssd.compile"):
            from mshub_ssd import compiling

            wanted = self.plan(model) if isinstance(model, str | Path) else model
            return compiling.Compiled(compiling.ready(wanted, self.settings, engine, precision, threads, streams))

    def _checkpoint(self, card: Card) -> Checkpoint:
        from mshub_ssd import providers

        with self._advising(card):
            return providers.choose_checkpoint(card)

    @contextlib.contextmanager
    def _advising(self, card: Card) -> Iterator[None]:
        try:
            yield
        except MshubError as error:
            self._advise(card, error)
            raise

    def _advise(self, card: Card, error: MshubError) -> None:
        """Let the refusal of a card without a checkpoint name the newest one of the very same network that has one."""
        from mshub_ssd.hub.judging import CardJudge

        if not isinstance(error, UnsupportedFormatError):
            return
        kind = CardJudge()(card).kind
        sibling = None if kind is None else self.registry.newest_of_kind(kind)
        if sibling is not None:
            error.hint = f"load {sibling}, the same network with a checkpoint; {error.hint}"


_default: Hub | None = None
_choosing = threading.Lock()


def default_hub() -> Hub:
    """The Hub behind the module's functions; a new one when the environment or the user's file says something else.

    Raises:
        UsageError: A variable or the user's file makes no sense.
    """
    global _default
    fresh = Hub()
    with _choosing:
        if _default is None or _default.settings != fresh.settings:
            _default = fresh
        return _default


def _check_switches(**switches: object) -> None:
    """Refuse what is neither True nor False: the text "False" would be true."""
    for name, value in switches.items():
        if not isinstance(value, bool):
            raise ArgumentTypeError(f"`{name}` is neither True nor False", expected="a bool", got=repr(value)[:200])
