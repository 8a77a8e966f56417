"""OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import logging
import os
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import cpu
from mshub_ssd.engines.runners import OUTPUTS_KEY, Options, Signature, source_of
from mshub_ssd.errors import MissingDependencyError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OpenVinoRunner", "has_bf16"]

_log = logging.getLogger(__name__)

_ISA_HINT = f"unset {cpu.ISA_VARIABLES[0]}, or let mshub_ssd make a Runner before other code uses OpenVINO"

_once = threading.Lock()
_core: tuple[Any, frozenset[str]] | None = None


class OpenVinoRunner:
    """A model in OpenVINO; see `Runner`.

    Args:
        model: The bytes of an ONNX file, or its path.
        options: How to run it.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        UsageError: The file is no model that it can run, or the CPU has no bf16 and it was asked for.
    """

    name = "openvino"

    def __init__(self, model: bytes | str | Path, options: Options) -> None:
        core, _ = _opened()
        if options.precision == "bf16" and not has_bf16():
            raise UsageError(
                "this CPU has no bf16",
                expected="a CPU with avx512_bf16 or amx_bf16",
                got="precision='bf16'",
                hint='precision="f32" runs everywhere',
            )
        self.precision = options.precision
        self._where = source_of(model)
        with self._explained("read"):
            self._model: Any = core.read_model(model if isinstance(model, bytes) else str(model))
        self._signature = Signature(
            [(one.get_any_name(), _shape(one)) for one in self._model.inputs],
            [one.get_any_name() for one in self._model.outputs],
            _metadata(self._model),
            self._where,
        )
        # Its own default is bf16 where the CPU has it, so the precision is always stated.
        self._config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": options.precision}
        if options.threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = options.threads
        if options.streams is not None:
            self._config["NUM_STREAMS"] = options.streams
        else:
            self._config["PERFORMANCE_HINT"] = "LATENCY"
        self._streams = options.streams or 1
        self._compiling = threading.Lock()
        self._compiled: dict[int | None, _Compiled] = {}
        self._closed = False

    def run(self, batch: NDArray[Any]) -> Any:
        """See `Runner.run`."""
        batch = self._checked(batch)
        compiled = self._for(batch.shape[0])
        request = compiled.take()
        try:
            with self._explained("run"):
                # Shared: the batch outlives the call. Outputs are copied, for the request will be used again.
                results = request.infer({0: batch}, share_inputs=True)
            outputs = [results[index] for index in range(len(self._signature.outputs))]
        finally:
            compiled.give_back(request)
        return self._signature.nested(dict(zip(self._signature.outputs, outputs, strict=True)))

    def run_many(self, batches: Sequence[NDArray[Any]]) -> list[Any]:
        """See `Runner.run_many`."""
        if self._streams == 1 or len(batches) < 2:
            return list(map(self.run, batches))
        checked = list(map(self._checked, batches))
        done: list[Any] = [None] * len(checked)
        names = self._signature.outputs
        for count in dict.fromkeys(batch.shape[0] for batch in checked):
            compiled = self._for(count)
            # One queue per call: a queue is for one thread.
            queue = compiled.queue(2 * self._streams)

            def keep(request: Any, index: int) -> None:
                arrays = [request.get_output_tensor(number).data.copy() for number in range(len(names))]
                done[index] = self._signature.nested(dict(zip(names, arrays, strict=True)))

            queue.set_callback(keep)
            with self._explained("run"):
                for index, batch in enumerate(checked):
                    if batch.shape[0] == count:
                        queue.start_async({0: batch}, index, share_inputs=True)
                queue.wait_all()
        return done

    def close(self) -> None:
        """See `Runner.close`."""
        self._closed = True
        self._model = None
        self._compiled = {}

    def _checked(self, batch: Any) -> NDArray[Any]:
        if self._closed:
            raise UsageError("this Runner is closed", hint="make a new one")
        return self._signature.check(batch)

    def _for(self, count: int) -> _Compiled:
        """The model compiled for that many pictures: on its own for one, which is quicker, and once for all others."""
        free = self._signature.shape[0] is None
        key = 1 if count == 1 and free else None
        with self._compiling:
            if self._closed:
                raise UsageError("this Runner is closed", hint="make a new one")
            if key not in self._compiled:
                core, _ = _opened()
                model = self._model
                with self._explained("compile"):
                    if key is not None:
                        import openvino

                        model = model.clone()
                        model.reshape(openvino.PartialShape([key, *self._signature.shape[1:]]))
                    self._compiled[key] = _Compiled(core.compile_model(model, "CPU", self._config))
            return self._compiled[key]

    @contextlib.contextmanager
    def _explained(self, what: str) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:
            raise UsageError(
                f"OpenVINO cannot {what} this model",
                where=self._where,
                got=" ".join(str(error).split())[:300],
                hint=_ISA_HINT if self.precision == "bf16" else "make the file anew",
            ) from error


class _Compiled:
    """A compiled model and the requests that are free: one request is for one thread at a time."""

    def __init__(self, model: Any) -> None:
        self._model = model
        self._free: deque[Any] = deque()

    def take(self) -> Any:
        try:
            return self._free.pop()
        except IndexError:
            return self._model.create_infer_request()

    def give_back(self, request: Any) -> None:
        self._free.append(request)

    def queue(self, jobs: int) -> Any:
        import openvino

        return openvino.AsyncInferQueue(self._model, jobs)


def has_bf16() -> bool:
    """Whether OpenVINO computes in bf16 on this CPU.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
    """
    return "BF16" in _opened()[1]


def _opened() -> tuple[Any, frozenset[str]]:
    """OpenVINO for this process, and what its CPU can do.

    It carries a oneDNN of its own, which reads the variable that may limit MindSpore's when it is first asked for
    anything, and would be slowed down by it for good, or fail in bf16. So it is asked while the variable is away.
    """
    global _core
    with _once:
        if _core is None:
            try:
                import openvino
            except (ImportError, OSError) as error:
                raise MissingDependencyError(
                    f"OpenVINO cannot be imported: {error}", hint="pip install 'mshub_ssd[openvino]'"
                ) from error
            hidden = {name: os.environ.pop(name) for name in cpu.ISA_VARIABLES if name in os.environ}
            try:
                core = openvino.Core()
                capabilities = core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
            finally:
                os.environ.update(hidden)
            for name in hidden:
                _log.info("%s is kept from OpenVINO, which has a oneDNN of its own", name)
            _core = core, frozenset(capabilities)
        return _core


def _shape(port: Any) -> list[int | None]:
    return [size.get_length() if size.is_static else None for size in port.get_partial_shape()]


def _metadata(model: Any) -> str | None:
    place = ["framework", OUTPUTS_KEY]
    return str(model.get_rt_info(place).astype(str)) if model.has_rt_info(place) else None
