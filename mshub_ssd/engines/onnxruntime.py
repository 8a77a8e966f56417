"""ONNX Runtime on the CPU."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, TimeoutError
from typing import TYPE_CHECKING, Any

from mshub_ssd.engines.runners import OUTPUTS_KEY, Options, Signature, Source
from mshub_ssd.errors import MissingDependencyError, UsageError, install_hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OnnxRuntimeRunner"]


class OnnxRuntimeRunner:
    """A model in ONNX Runtime; see `Runner`.

    Args:
        source: An ONNX file.
        options: How to run it.

    Raises:
        MissingDependencyError: ONNX Runtime is not installed.
        UsageError: The file is no model that it can run, or bf16 was asked for.
    """

    name = "onnxruntime"

    def __init__(self, source: Source, options: Options) -> None:
        if options.precision != "f32":
            raise UsageError(
                "ONNX Runtime computes in float32 on CPUs",
                expected='precision="f32"',
                got=f"precision={options.precision!r}",
                hint='engine="openvino" has bf16 where the CPU has it',
            )
        try:
            import onnxruntime  # noqa: F401 - a first time
        except (ImportError, OSError) as error:
            raise MissingDependencyError(
                f"ONNX Runtime cannot be imported: {error}", hint=install_hint("onnxruntime")
            ) from error
        self.precision = options.precision
        self._streams = options.streams or 1
        threads = options.threads
        self._depth = 2 * (options.streams or threads or os.cpu_count() or 1)
        # Whoever runs a batch works, too; the streams share the threads.
        session = _session(source.model, source.where, None if threads is None else max(1, threads // self._streams))
        self._signature = Signature(
            [
                (one.name, [size if isinstance(size, int) else None for size in one.shape])
                for one in session.get_inputs()
            ],
            [one.name for one in session.get_outputs()],
            session.get_modelmeta().custom_metadata_map.get(OUTPUTS_KEY),
            source.where,
        )
        self._session: Any = session
        # For batches at once, each of which is run by one thread; made when it is wanted.
        self._source: Source | None = source
        self._flowing: Any = None
        self._opening = threading.Lock()

    def run(self, batch: NDArray[Any]) -> Any:
        """See `Runner.run`."""
        return self._run(self._session, batch)

    def flow(self) -> _Flow:
        """See `Runner.flow`."""
        with self._opening:
            if self._flowing is None and self._source is not None:
                self._flowing = _session(self._source.again(), self._source.where, 1)
                self._source = None
        return _Flow(lambda batch: self._run(self._flowing, batch), self._depth)

    def _run(self, session: Any, batch: NDArray[Any]) -> Any:
        if session is None:
            raise UsageError("this Runner is closed", hint="make a new one")
        signature = self._signature
        outputs = session.run(None, {signature.input: signature.check(batch)})
        return signature.nested(dict(zip(signature.outputs, outputs, strict=True)))

    def run_many(self, batches: Sequence[NDArray[Any]]) -> list[Any]:
        """See `Runner.run_many`."""
        if self._streams == 1 or len(batches) < 2:
            return list(map(self.run, batches))
        with ThreadPoolExecutor(self._streams) as pool:
            return list(pool.map(self.run, batches))

    def close(self) -> None:
        """See `Runner.close`."""
        with self._opening:
            self._session = self._flowing = self._source = None


class _Flow:
    """See `Flow`: half as many threads as there may be batches under way."""

    def __init__(self, run: Callable[[NDArray[Any]], Any], depth: int) -> None:
        self.depth = depth
        self._run, self._pool = run, ThreadPoolExecutor((depth + 1) // 2, thread_name_prefix="mshub-network")

    def start(self, batch: NDArray[Any]) -> _Running:
        """See `Flow.start`."""
        return _Running(self._pool.submit(self._run, batch))

    def close(self) -> None:
        """See `Flow.close`."""
        self._pool.shutdown(cancel_futures=True)


class _Running:
    """See `Running`."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def is_done(self, seconds: float) -> bool:
        """See `Running.is_done`."""
        try:
            self._future.exception(seconds)
        except TimeoutError:
            return False
        return True

    def result(self) -> Any:
        """See `Running.result`."""
        return self._future.result()


def _session(model: bytes | str, where: str, threads: int | None) -> Any:
    """A model ready to run on so many threads, None for as many as ONNX Runtime likes."""
    import onnxruntime

    chosen = onnxruntime.SessionOptions()
    chosen.log_severity_level = 3  # errors, which are raised as well
    if threads is not None:
        chosen.intra_op_num_threads = threads
    try:
        return onnxruntime.InferenceSession(model, chosen, providers=["CPUExecutionProvider"])
    except Exception as error:  # its kinds have no other base in common
        raise UsageError(
            "ONNX Runtime cannot run this model",
            where=where,
            got=str(error)[:300],
            hint="make the file anew",
        ) from error


def _size(size: int | str | None) -> int | None:
    return size if isinstance(size, int) else None  # a free one has a name, or none
