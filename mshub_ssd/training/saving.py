"""What a training remembers: one file, replaced as a whole, so that a kill at any moment costs minutes at most."""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mshub_ssd import checkpoints
from mshub_ssd.errors import CheckpointError, UsageError
from mshub_ssd.files import unfinished
from mshub_ssd.store import locks

__all__ = ["State", "Store", "refuse_changes"]

_STATE = "training.ckpt"
_FACTS = "facts"
_FORMAT = 1

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class State:
    """Where a training stands.

    Attributes:
        facts: Plain data: the plan, the pace, what was measured.
        weights: The network's parameters.
        first: Running means of the gradients of what learns now.
        second: Running means of their squares.
    """

    facts: dict[str, Any]
    weights: Arrays
    first: Arrays
    second: Arrays


class Store:
    """The files of a training.

    Args:
        folder: Where they are; it exists.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.path = folder / _STATE

    @contextlib.contextmanager
    def alone(self) -> Iterator[None]:
        """Work in the folder while nobody else does, as far as its file system can tell.

        Raises:
            UsageError: Somebody else does.
        """
        try:
            fd = os.open(self.folder, os.O_RDONLY)
        except OSError:  # folders cannot be opened on Windows
            yield
            return
        try:
            if locks.try_lock(fd) is False:
                raise UsageError(
                    "another process is training in this folder",
                    where=str(self.folder),
                    hint="wait until it has ended, or choose another folder",
                )
            yield
        finally:
            locks.close(fd)

    def load(self) -> State | None:
        """The state that was saved last; None where nothing was.

        Raises:
            CheckpointError: It is damaged, or something else.
        """
        if not self.path.exists():
            return None
        arrays = checkpoints.read(self.path, "ckpt")
        try:
            facts = json.loads(bytes(arrays.pop(_FACTS).tobytes()).rstrip(b" "))
            sound = facts["format"] == _FORMAT
        except (LookupError, ValueError, TypeError) as error:
            raise self._damaged("it holds no account of a training") from error
        if not sound:
            raise self._damaged(f"it is of the format {facts['format']!r}")
        parts: dict[str, dict[str, NDArray[Any]]] = {"weights": {}, "first": {}, "second": {}}
        for name, array in arrays.items():
            part, _, inner = name.partition("/")
            if part not in parts:
                raise self._damaged(f"it holds {name[:80]!r}")
            parts[part][inner] = array
        return State(facts, **parts)

    def save(self, state: State) -> None:
        """Replace what was saved.

        Raises:
            CheckpointError: It cannot be written.
        """
        text = json.dumps({"format": _FORMAT, **state.facts}, sort_keys=True).encode()
        arrays: dict[str, NDArray[Any]] = {_FACTS: np.frombuffer(text, dtype=np.uint8)}
        for part in ("weights", "first", "second"):
            arrays |= {f"{part}/{name}": array for name, array in getattr(state, part).items()}
        checkpoints.write(self.path, arrays, overwrite=True, durable=True)

    def best_path(self, step: int) -> Path:
        """Where the weights of the best step so far are kept until the end."""
        return self.folder / f"best-{step:07}.ckpt"

    def save_best(self, step: int, weights: Arrays) -> None:
        """Keep the weights of a step; the state that is saved next names it."""
        checkpoints.write(self.best_path(step), weights, overwrite=True, durable=True)

    def load_best(self, step: int) -> dict[str, NDArray[Any]]:
        """The weights that `save_best` kept.

        Raises:
            CheckpointError: They are gone, or damaged.
        """
        return checkpoints.read(self.best_path(step), "ckpt")

    def tidy(self, best: int | None) -> None:
        """Remove what no state names any more, and what was being written when a process was killed."""
        for path in self.folder.iterdir():
            named = path.name.startswith("best-") and path.name.endswith(".ckpt")
            left = unfinished(path.name) is not None
            if left or (named and (best is None or path != self.best_path(best))):
                with contextlib.suppress(FileNotFoundError):
                    path.unlink()

    def finish(self) -> None:
        """Remove all that is of use while training only."""
        self.tidy(None)
        self.path.unlink(missing_ok=True)

    def _damaged(self, reason: str) -> CheckpointError:
        return CheckpointError(
            f"what the training had remembered cannot be used: {reason}",
            where=str(self.path),
            hint="begin anew in another folder",
        )


def refuse_changes(before: Mapping[str, Any], now: Mapping[str, Any], where: Path) -> None:
    """Refuse to go on with other data or options than a training began with.

    Raises:
        UsageError: Something differs.
    """
    changed = [name for name in now if before.get(name) != now[name]]
    if changed:
        raise UsageError(
            f"this training began with other options: {', '.join(changed)}",
            where=str(where),
            expected=", ".join(f"{name} {_shown(before.get(name))}" for name in changed),
            got=", ".join(f"{name} {_shown(now[name])}" for name in changed),
            hint="resume with the same options and data, or begin anew in another folder",
        )


def _shown(value: Any) -> str:
    text = json.dumps(value)
    return text if len(text) <= 60 else f"{text[:59]}…"
