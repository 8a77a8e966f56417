"""The part of a Hub that writes lock files, and brings what they name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mshub_ssd.errors import MshubError

if TYPE_CHECKING:
    from mshub_ssd.bundles import Installed
    from mshub_ssd.lockfile import Difference
    from mshub_ssd.providers import Plan

__all__ = ["Locking"]


class Locking:
    """What `Hub` adds to cards and checkpoints: `lock` and `sync`."""

    plan: Callable[..., Plan]
    install_bundle: Callable[..., Installed]
    fetch_many: Callable[..., list[Path | MshubError]]

    def lock(
        self, names: Sequence[str | Path], path: str | Path = "mshub.lock", *, dry_run: bool = False
    ) -> dict[str, list[Difference] | None]:
        """Write a lock file: the digests of the cards and checkpoints of models, and what loading goes by.

        The models named are added or renewed, the others in the file stay; without names all of them are renewed.

        Args:
            names: Uids or paths of card files.
            path: The lock file.
            dry_run: Write nothing.

        Returns:
            For each model in what it differs from what was locked, None for a new one.

        Raises:
            MshubError: A model has no checkpoint that could be loaded, or the file cannot be read or written.
        """
        from mshub_ssd import lockfile

        file = Path(path)
        models = lockfile.read_lock(file) if file.exists() or not names else {}
        found: dict[str, list[Difference] | None] = {}
        for name in names or list(models):
            plan = self.plan(name)
            now = lockfile.locked_model(plan)
            uid = plan.card.uid
            found[uid] = list(lockfile.differences(models[uid], now)) if uid in models else None
            models[uid] = now
        if not dry_run:
            lockfile.write_lock(file, models)
        return found

    def sync(
        self, path: str | Path = "mshub.lock", *, locked: bool = False, bundle: str | Path | None = None
    ) -> dict[str, Path | MshubError]:
        """Bring the checkpoints of a lock file's models to the cache: from there, a bundle, or the network.

        Args:
            path: The lock file.
            locked: Refuse cards that say something else by now; otherwise the file is renewed.
            bundle: A bundle whose cards and checkpoints are taken in first.

        Returns:
            By uid the verified file, or the error that kept it away: one failure does not stop the others.

        Raises:
            MshubError: The lock file or the bundle cannot be read.
        """
        from mshub_ssd import lockfile

        file = Path(path)
        models = lockfile.read_lock(file)
        if bundle is not None:
            self.install_bundle(bundle)
        if not locked:
            self.lock([], file)
        results: dict[str, Path | MshubError] = {}
        for uid in models:
            try:
                if locked:
                    lockfile.check(uid, self.plan(uid), models, file)
            except MshubError as error:
                results[uid] = error
        wanted = [uid for uid in models if uid not in results]
        results.update(zip(wanted, self.fetch_many(wanted), strict=True))
        return {uid: results[uid] for uid in models}
