"""Graphs and code on their way from a bundle into the cache."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import checkpoints, foreign, graphs, loading, providers, store
from mshub_ssd.bundles.archive import Bundle, Member
from mshub_ssd.cards import Card
from mshub_ssd.errors import DiskSpaceError, MshubError, TransferError, is_installed
from mshub_ssd.files import writing
from mshub_ssd.providers import Checkpoint, Plan
from mshub_ssd.settings import Settings

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Carried", "Code"]

_log = logging.getLogger(__name__)


@dataclass(frozen=True)
class _Fitting:
    """A graph that this machine would make alike; its bytes, for what is read of them takes ten times their room."""

    plan: Plan
    checkpoint: Checkpoint
    digest: str
    data: bytes


class Carried:
    """The graphs of a bundle: which of them can be used here, and keeping those.

    Args:
        bundle: What is read.
        cards: Its cards by uid, as they will be found here.
        settings: The caches.
    """

    def __init__(self, bundle: Bundle, cards: Mapping[str, Card], settings: Settings) -> None:
        self._bundle, self._cards, self._settings = bundle, cards, settings
        self._fitting: dict[str, _Fitting] = {}
        self._files: dict[str, Path] = {}

    @property
    def uids(self) -> tuple[str, ...]:
        """Cards that have a graph of the bundle: or will have, before `keep`."""
        return tuple(sorted(self._fitting))

    def here(self, digest: str, file: Path | None) -> None:
        """Say where a checkpoint of the bundle lies by now, if it was needed."""
        if file is not None:
            self._files[digest] = file

    def examine(self, member: Member, data: bytes) -> None:
        """Look at a graph, whose bytes were verified; one that cannot be used here is told at INFO and passed over.

        Raises:
            IntegrityError: It is none.
        """
        for uid in member.uids:
            try:
                plan = providers.plan(self._cards[uid])
            except MshubError as error:
                self._pass_over(uid, error.message)
                continue
            checkpoint = plan.checkpoint
            files = [one.sha256 for one in self._bundle.of_kind("checkpoint") if uid in one.uids]
            digest = next((one for one in files if checkpoint and one.startswith(checkpoint.sha256.lower())), None)
            if checkpoint is None or digest is None:
                self._pass_over(uid, "it is not for the checkpoint that would be loaded here")
            elif not is_installed("numpy"):
                self._pass_over(uid, "numpy is not installed")
            elif graphs.read_portable(data, plan, digest) is None:
                self._pass_over(uid, "it is of another version of mshub_ssd, or of another network or checkpoint")
            else:
                self._fitting[uid] = _Fitting(plan, checkpoint, digest, data)

    def keep(self) -> None:
        """Put the graphs into the cache, with the weights of the checkpoints that are here by now.

        Raises:
            IntegrityError: One does not fit its checkpoint.
            CheckpointError: The checkpoint cannot be read.
        """
        for uid, fitting in list(self._fitting.items()):
            found = graphs.read_portable(fitting.data, fitting.plan, fitting.digest)
            assert found is not None, "as in examine"
            try:
                graphs.take_in(found, partial(self._arrays, fitting), self._settings)
            except (DiskSpaceError, TransferError) as error:  # the models can be used without it
                self._pass_over(uid, error.message)
                del self._fitting[uid]

    def _arrays(self, fitting: _Fitting) -> Mapping[str, NDArray[Any]]:
        file, checkpoint = self._files.get(fitting.digest), fitting.checkpoint
        if file is None:  # it lies beside a card that was there already
            return loading.read(checkpoint, settings=self._settings)
        content = store.read_verified(file, fitting.digest, max_bytes=checkpoint.max_bytes)
        return checkpoints.read(file, checkpoint.format, content=content)

    def _pass_over(self, uid: str, reason: str) -> None:
        _log.info("%s: the bundle's graph is passed over, and made anew when it is needed: %s", uid, reason)


class Code:
    """The code of a bundle: which of it networks here would be, and keeping that.

    Args:
        cards: The bundle's cards by uid, as they will be found here.
        settings: The caches.
    """

    def __init__(self, cards: Mapping[str, Card], settings: Settings) -> None:
        self._cards, self._settings = cards, settings
        self._pieces: list[foreign.Piece] = []

    @property
    def pins(self) -> tuple[str, ...]:
        """What is in the cache: or will be, before `keep`."""
        return tuple(sorted(piece.pin for piece in self._pieces))

    def examine(self, member: Member, data: bytes, where: str) -> None:
        """Look at code, whose bytes were verified; what no card means here is told at INFO and passed over.

        That a commit is one of the repository's is proven by nothing but the table that cards are looked up in.

        Raises:
            IntegrityError: It is none, or not what its commit says.
            TrustError: It has links, names that lead elsewhere, or too much.
        """
        piece = foreign.unpack_code(data, where)
        meant = {code for uid in member.uids for code in providers.code_of(self._cards[uid])}
        if providers.Code(piece.repository, piece.commit, piece.path) in meant:
            self._pieces.append(piece)
        else:
            _log.info("the bundle's code %s is passed over: none of its models means it here", piece.pin)

    def keep(self) -> None:
        """Put the code into the cache.

        Raises:
            TransferError, DiskSpaceError: It cannot be written.
        """
        for piece in self._pieces:
            with writing(self._settings.home, "code of repositories"):
                piece.keep(self._settings)
