"""Networks written down by a helper process, which never imports MindSpore, while this one may have."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mshub_ssd
from mshub_ssd import networks
from mshub_ssd.engines.graph import Graph
from mshub_ssd.errors import MshubError, UsageError

__all__ = ["Recording", "record"]

_PATIENCE = 120.0
_MAX_TOLD = 64 << 20


@dataclass(frozen=True)
class Recording:
    """A network as it was written down.

    Attributes:
        graph: What it computes.
        config: Its frozen configuration.
    """

    graph: Graph
    config: Any

    def to_dict(self) -> dict[str, Any]:
        """All of it for JSON."""
        return {"graph": self.graph.to_dict(), "config": networks.config_to_dict(self.config)}

    @classmethod
    def from_dict(cls, content: object) -> Recording:
        """What `to_dict` wrote down.

        Raises:
            IntegrityError: It is something else, or damaged.
        """
        parts = content if isinstance(content, dict) else {}
        return cls(Graph.from_dict(parts.get("graph")), networks.config_from_dict(parts.get("config")))


def record(key: str, arguments: Mapping[str, Any] | None = None, classes: Sequence[str] | None = None) -> Recording:
    """Write a network down.

    Args:
        key: Architecture key, in any spelling.
        arguments: What its constructor is given; plain values, as a card has them.
        classes: Names of its classes.

    Raises:
        UnknownModelError: No such network.
        UsageError: It cannot be built with these arguments, or not be recorded: made of more than the layers that
            `mshub_ssd.networks.backend` gives in any process, or known to this process alone.
        MshubError: The helper process failed.
    """
    key = networks.require(key)
    if networks.registered_here(key):
        raise UsageError(
            f"the network {key} cannot be recorded: only this process knows it",
            hint='engine="mindspore" runs any network; an entry point in mshub_ssd.networks makes one known everywhere',
        )
    try:
        asked = json.dumps({**(arguments or {}), **({"classes": list(classes)} if classes else {})}, allow_nan=False)
    except (TypeError, ValueError) as error:
        raise UsageError(
            f"the arguments of the network {key} are not plain values: {error}",
            expected="numbers, texts, truth values, and lists of them",
        ) from error
    return Recording.from_dict(_ask(key, asked))


def _ask(key: str, asked: str) -> Any:
    import subprocess

    # Started where the package lies: that folder comes first on the helper's path, so it runs this very package,
    # and nothing in the user's current folder.
    folder = Path(mshub_ssd.__file__).parents[1]
    try:
        done = subprocess.run(  # noqa: S603 - this very interpreter
            [sys.executable, "-m", "mshub_ssd.engines.record", key, "-"],
            input=asked.encode(),
            capture_output=True,
            cwd=folder,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise MshubError(f"the process that records networks did not work: {error}", where=key) from error
    try:
        told = json.loads(done.stdout[:_MAX_TOLD])
    except ValueError:
        told = None
    if not isinstance(told, dict):
        raise MshubError(
            "the process that records networks failed",
            where=key,
            got=done.stderr.decode(errors="replace").strip()[-1000:] or f"exit code {done.returncode}",
        )
    if "error" in told:
        raise _rebuilt(told["error"])
    return told


def _below(kind: type[MshubError]) -> Iterator[type[MshubError]]:
    for narrower in kind.__subclasses__():
        yield narrower
        yield from _below(narrower)


def _rebuilt(error: Mapping[str, str | None]) -> MshubError:
    """The error that the helper raised, of its kind."""
    kinds = {kind.code: kind for kind in _below(MshubError)}
    kind = kinds.get(str(error["code"]), MshubError)
    rest = {name: error[name] for name in ("where", "expected", "got", "hint")}
    return kind(str(error["message"]), **rest)
