"""What every engine gives: a Runner, which takes a batch of pictures and returns the network's outputs."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mshub_ssd import cpu
from mshub_ssd.errors import UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OUTPUTS_KEY", "PRECISIONS", "Flow", "Kept", "Options", "Runner", "Running", "Shelf", "Signature", "Source"]

_log = logging.getLogger(__name__)

_ANEW = "make a new Predictor, or compile it again: its file is then made anew"

PRECISIONS = ("f32", "bf16")

OUTPUTS_KEY = "mshub.outputs"
"""Metadata of an ONNX file: its outputs' names as JSON, nested like the Cell's; one name for a bare tensor."""


class Running(Protocol):
    """A batch on its way through a network."""

    def is_done(self, seconds: float) -> bool:
        """Whether it is through, or will be within so many seconds."""

    def result(self) -> Any:
        """The outputs, see `Runner.run`; waits for them. Called once at most."""


class Flow(Protocol):
    """A network that several batches are on their way through at once; for one thread.

    Attributes:
        depth: So many batches are worth having under way; half of them keep the engine busy.
    """

    depth: int

    def start(self, batch: NDArray[Any]) -> Running:
        """Start with a batch, which must stay as it is until it is through.

        Raises:
            UsageError: The batch does not fit the network, or the Runner was closed.
        """

    def close(self) -> None:
        """Wait for what is under way; nothing can be started any more."""


class Runner(Protocol):
    """A network ready to run. Any number of threads may share one.

    Attributes:
        name: Of the engine: ``openvino``, ``onnxruntime`` or ``mindspore``.
        precision: ``f32`` or ``bf16``, what it computes in; inputs and outputs are float32 in any case.
    """

    name: str
    precision: str

    def run(self, batch: NDArray[Any]) -> Any:
        """Run the network.

        Args:
            batch: float32 [N, 3, H, W].

        Returns:
            The outputs as arrays of the caller's own, nested in tuples as the Cell returns them.

        Raises:
            UsageError: The batch does not fit the network, or the Runner was closed.
        """

    def flow(self) -> Flow:
        """For many batches: the engine does several at once, so that each takes longer, and all together less."""

    def run_many(self, batches: Sequence[NDArray[Any]]) -> list[Any]:
        """`run` for several batches, as many at once as the Runner has streams; the results are in order."""

    def close(self) -> None:
        """Let go of the network; the Runner cannot be used any more."""


class Kept(NamedTuple):
    """What an engine made of a model earlier, in a form of its own.

    Attributes:
        path: The verified file.
        facts: What the engine wrote beside it.
    """

    path: Path
    facts: Mapping[str, Any]


class Shelf(Protocol):
    """Where engines keep what they made of one model, for processes to come."""

    def find(self, key: Mapping[str, Any]) -> Kept | None:
        """What was kept under this key, if nobody else can have written it.

        Args:
            key: All that it depends on besides the model; fit for JSON.
        """

    def keep(self, key: Mapping[str, Any], content: bytes | memoryview, facts: Mapping[str, Any]) -> None:
        """Keep something; where that cannot be done, it is made anew the next time."""


class Options:
    """How an engine shall run, checked.

    Args:
        precision: ``f32`` or ``bf16``.
        threads: So many threads at most, or None for as many as are good.
        streams: So many batches at once, or None for one.

    Attributes:
        threads: None where the engine may use the whole machine, and knows best how.

    Raises:
        UsageError: One of them makes no sense.
    """

    def __init__(self, precision: str, threads: int | None, streams: int | None) -> None:
        if precision not in PRECISIONS:
            raise UsageError("no such precision", expected=" or ".join(PRECISIONS), got=repr(precision)[:80])
        for name, value in (("threads", threads), ("streams", streams)):
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise UsageError(f"{name} is not a number of them", expected="1 or more, or None", got=repr(value)[:80])
        if threads is None:
            threads = cpu.thread_limit()
            if threads is not None:
                _log.debug("%d threads: this process may not use more of the machine", threads)
        self.precision = precision
        self.threads = threads
        self.streams = streams


class Signature:
    """What a model takes and returns.

    Args:
        inputs: Name and shape of each input; None for a size that is free.
        outputs: Names of its outputs, in order.
        nesting: Its `OUTPUTS_KEY`; None where the file says nothing of it.
        where: The file, for messages.

    Raises:
        UsageError: It takes other than one picture batch, or names outputs that it does not have.
    """

    def __init__(
        self,
        inputs: Sequence[tuple[str, Sequence[int | None]]],
        outputs: Sequence[str],
        nesting: str | None,
        where: str,
    ) -> None:
        if len(inputs) != 1:
            raise UsageError(
                "a Runner feeds one input", where=where, expected="a model with one input", got=f"{len(inputs)} inputs"
            )
        self.input, shape = inputs[0]
        self.shape = tuple(shape)
        self.outputs = tuple(outputs)
        self._nested = self.outputs if nesting is None else _tuples(_parsed(nesting))
        if sorted(_flat(self._nested)) != sorted(self.outputs):
            raise UsageError(
                "the model's list of outputs does not fit its outputs",
                where=where,
                expected=", ".join(self.outputs),
                got=(nesting or "")[:200],
                hint="make the file anew",
            )
        if nesting is None and len(self.outputs) == 1:
            self._nested = self.outputs[0]

    def check(self, batch: Any) -> NDArray[Any]:
        """The batch as the engines want it: C order, float32.

        Raises:
            UsageError: It is something else, or of another shape.
        """
        import numpy as np

        if not isinstance(batch, np.ndarray):
            raise UsageError("a Runner takes arrays", expected=self.wanted, got=repr(type(batch)))
        fits = batch.ndim == len(self.shape) and all(
            want is None or want == got for want, got in zip(self.shape, batch.shape, strict=True)
        )
        if not fits or batch.dtype != np.float32 or not batch.size:
            raise UsageError(
                "the batch does not fit the network",
                expected=self.wanted,
                got=f"{batch.dtype} {list(batch.shape)}",
                hint="let the family's preprocess make it of pictures",
            )
        return np.ascontiguousarray(batch)

    @property
    def wanted(self) -> str:
        """The input, in words."""
        return f"float32 [{', '.join('N' if size is None else str(size) for size in self.shape)}]"

    def nested(self, arrays: dict[str, NDArray[Any]]) -> Any:
        """Outputs by name, nested as the Cell returns them."""
        return _placed(self._nested, arrays)


class Source:
    """An ONNX file, which an engine may want to read again, for a batch of another size.

    Args:
        model: Its bytes, or its path.
        digest: Its SHA-256, where somebody has verified the file just now. Then it is read where it lies, and later
            only if it is still the same; any other file is held in memory.

        shelf: Where what an engine makes of it may be kept.

    Attributes:
        model: The bytes or the path, for the first reading.
        where: What it is called in messages.

    Raises:
        UsageError: The file cannot be read.
    """

    def __init__(self, model: bytes | str | Path, digest: str | None = None, shelf: Shelf | None = None) -> None:
        self.shelf = shelf
        self.where = "the model given as bytes" if isinstance(model, bytes) else str(model)
        self._digest = digest
        self.model = model if isinstance(model, bytes) else str(model)
        if not isinstance(self.model, bytes) and digest is None:
            self.model = self._read(self.model)

    def again(self) -> bytes:
        """The bytes that were read first.

        Raises:
            UsageError: The file is not there any more, or has changed.
        """
        if isinstance(self.model, bytes):
            return self.model
        content = self._read(self.model)
        got = hashlib.sha256(content).hexdigest()
        if got != self._digest:
            raise UsageError(
                "the file of this network has changed since it was first read",
                where=self.where,
                expected=f"sha256 {self._digest}",
                got=f"sha256 {got}",
                hint=_ANEW,
            )
        return content

    def _read(self, path: str) -> bytes:
        try:
            return Path(path).read_bytes()
        except OSError as error:
            raise UsageError(
                "the file of this network cannot be read", where=self.where, got=error.strerror, hint=_ANEW
            ) from error


def _parsed(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return ()


def _tuples(names: Any) -> Any:
    return tuple(map(_tuples, names)) if isinstance(names, list) else names


def _placed(names: Any, arrays: dict[str, NDArray[Any]]) -> Any:
    # No function inside of `nested` that calls itself: it would hold the arrays until the collector comes along.
    return arrays[names] if isinstance(names, str) else tuple(_placed(name, arrays) for name in names)


def _flat(names: Any) -> list[str]:
    return [name for part in names for name in _flat(part)] if isinstance(names, tuple) else [str(names)]
