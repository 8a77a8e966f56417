"""OpenVINO on the CPU."""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import threading
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd import cpu
from mshub_ssd.engines.runners import OUTPUTS_KEY, Kept, Options, Shelf, Signature, Source
from mshub_ssd.errors import MissingDependencyError, UsageError, install_hint

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["OpenVinoRunner", "has_bf16"]

_log = logging.getLogger(__name__)

_ISA_HINT = f"unset {cpu.ISA_VARIABLES[0]}, or let mshub_ssd make a Runner before other code uses OpenVINO"

# The first version whose import of a compiled model from memory that stays where it is was tried.
_MAPS_SINCE = (2026, 4)

_once = threading.Lock()
_core: tuple[Any, frozenset[str]] | None = None


class OpenVinoRunner:
    """A model in OpenVINO; see `Runner`.

    Args:
        source: An ONNX file.
        options: How to run it.

    Raises:
        MissingDependencyError: OpenVINO is not installed.
        UsageError: The file is no model that it can run, or the CPU has no bf16 and it was asked for.
    """

    name = "openvino"

    def __init__(self, source: Source, options: Options) -> None:
        core, _ = _opened()
        if options.precision == "bf16" and not has_bf16():
            raise UsageError(
                "this CPU has no bf16",
                expected="a CPU with avx512_bf16 or amx_bf16",
                got="precision='bf16'",
                hint='precision="f32" runs everywhere',
            )
        self.precision = options.precision
        self._where = source.where
        self._shelf = _shelf(source, options.precision)
        # Until it is compiled; a model that was read takes more than its file. Few are needed for another size.
        self._model: Any = None
        self._source: Source | None = source
        kept = self._shelf.find() if self._shelf else None
        self._kept: Path | None = kept.path if kept else None
        if kept:
            self._facts = dict(kept.facts)
        else:
            with self._explained("read"):
                self._model = core.read_model(source.model)
            self._facts = _told(self._model)
        self._signature = Signature(where=self._where, **self._facts)
        # Its own default is bf16 where the CPU has it, so the precision is always stated.
        # By itself it ties threads to the first processors: so does every other process with few threads, and they
        # share those while others idle.
        self._config: dict[str, Any] = {"INFERENCE_PRECISION_HINT": options.precision, "ENABLE_CPU_PINNING": False}
        if options.threads is not None:
            self._config["INFERENCE_NUM_THREADS"] = options.threads
        self._flowing: dict[str, Any] = dict(self._config)
        if options.streams is not None:
            self._flowing["NUM_STREAMS"] = self._config["NUM_STREAMS"] = options.streams
        else:
            self._config["PERFORMANCE_HINT"], self._flowing["PERFORMANCE_HINT"] = "LATENCY", "THROUGHPUT"
        self._streams = options.streams or 1
        # Half of them keep the streams busy, with something to go on with.
        self._depth = 2 * (options.streams or options.threads or os.cpu_count() or 1) + 4
        self._compiling = threading.Lock()
        self._compiled: dict[tuple[int | None, bool], _Compiled] = {}
        self._closed = False

    def run(self, batch: NDArray[Any]) -> Any:
        """See `Runner.run`."""
        batch = self._checked(batch)
        compiled = self._for(batch.shape[0])
        with self._explained("run"):
            outputs = compiled.finish(compiled.start(batch))
        return self._nested(outputs)

    def flow(self) -> _Flow:
        """See `Runner.flow`."""
        return _Flow(self, self._depth)

    def start(self, batch: NDArray[Any]) -> tuple[_Compiled, Any]:
        """For `flow`: what runs a batch, and its request."""
        batch = self._checked(batch)
        compiled = self._for(batch.shape[0], flowing=self._flowing != self._config)
        with self._explained("run"):
            return compiled, compiled.start(batch)

    def finish(self, compiled: _Compiled, request: Any) -> Any:
        """For `flow`: the outputs of what `start` started."""
        with self._explained("run"):
            outputs = compiled.finish(request)
        return self._nested(outputs)

    def run_many(self, batches: Sequence[NDArray[Any]]) -> list[Any]:
        """See `Runner.run_many`."""
        if self._streams == 1 or len(batches) < 2:
            return list(map(self.run, batches))
        checked = list(map(self._checked, batches))
        done: list[Any] = []
        running: deque[tuple[_Compiled, Any]] = deque()
        try:
            with self._explained("run"):
                for batch in checked:
                    # Each stream has one to go on with while Python looks after another.
                    if len(running) == 2 * self._streams:
                        compiled, first = running.popleft()
                        done.append(self._nested(compiled.finish(first)))
                    compiled = self._for(batch.shape[0])
                    running.append((compiled, compiled.start(batch)))
                while running:
                    compiled, first = running.popleft()
                    done.append(self._nested(compiled.finish(first)))
        finally:
            for _, left in running:  # after a failure, which is told; they read the batches
                with contextlib.suppress(RuntimeError):
                    left.wait()
        return done

    def close(self) -> None:
        """See `Runner.close`."""
        with self._compiling:
            self._closed = True
            self._model = self._source = None
            self._compiled = {}

    def _checked(self, batch: Any) -> NDArray[Any]:
        if self._closed:
            raise UsageError("this Runner is closed", hint="make a new one")
        return self._signature.check(batch)

    def _nested(self, outputs: list[NDArray[Any]]) -> Any:
        return self._signature.nested(dict(zip(self._signature.outputs, outputs, strict=True)))

    def _for(self, count: int, *, flowing: bool = False) -> _Compiled:
        """The model compiled for that many pictures: on its own for one, which is quicker, and once for all others."""
        free = self._signature.shape[0] is None
        key = 1 if count == 1 and free else None, flowing
        with self._compiling:
            if self._closed:
                raise UsageError("this Runner is closed", hint="make a new one")
            if key not in self._compiled:
                self._compiled[key] = self._compile(key[0], self._flowing if flowing else self._config)
                ways = 1 if self._flowing == self._config else 2
                if len(self._compiled) == ways * (2 if free else 1):
                    self._source = None
            return self._compiled[key]

    def _compile(self, count: int | None, config: Mapping[str, Any]) -> _Compiled:
        core, _ = _opened()
        if count == 1 and self._kept is not None:
            try:
                return _Compiled(*_imported(core, self._kept, config))
            except (OSError, RuntimeError) as error:
                _log.info("%s: compiled anew, for what was kept cannot be used: %s", self._where, error)
        model, self._model = self._model, None
        if model is None and self._source is not None:
            again = self._source.again()
            with self._explained("read"):
                model = core.read_model(again)
        with self._explained("compile"):
            if count is not None:
                import openvino

                model.reshape(openvino.PartialShape([count, *self._signature.shape[1:]]))
            compiled = core.compile_model(model, "CPU", config)
        if count == 1 and self._shelf:
            self._shelf.keep(compiled, self._facts)
        return _Compiled(compiled)

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


class _Flow:
    """See `Flow`.

    Args:
        runner: Its Runner.
        depth: So many batches are worth having under way.
    """

    def __init__(self, runner: OpenVinoRunner, depth: int) -> None:
        self._runner, self.depth = runner, depth
        self._started: set[_Running] = set()

    def start(self, batch: NDArray[Any]) -> _Running:
        """See `Flow.start`."""
        running = _Running(self._runner, *self._runner.start(batch), batch, self._started)
        self._started.add(running)
        return running

    def close(self) -> None:
        """See `Flow.close`."""
        for running in self._started:  # they read their batches
            with contextlib.suppress(RuntimeError):
                running.wait()
        self._started.clear()


class _Running:
    """See `Running`."""

    def __init__(
        self, runner: OpenVinoRunner, compiled: _Compiled, request: Any, batch: NDArray[Any], started: set[_Running]
    ) -> None:
        self._runner, self._compiled, self._request, self._batch = runner, compiled, request, batch
        self._started = started

    def is_done(self, seconds: float) -> bool:
        """See `Running.is_done`."""
        return bool(self._request.wait_for(int(seconds * 1000)))

    def result(self) -> Any:
        """See `Running.result`."""
        outputs = self._runner.finish(self._compiled, self._request)
        self._started.discard(self)
        return outputs

    def wait(self) -> None:
        """Wait until nothing reads the batch any more."""
        self._request.wait()


class _CompiledForms:
    """A source's shelf, for this OpenVINO, CPU and precision."""

    def __init__(self, shelf: Shelf, precision: str) -> None:
        import openvino

        core, capabilities = _opened()
        self._shelf = shelf
        self._key = {
            "engine": "openvino",
            "version": openvino.get_version(),
            "cpu": [core.get_property("CPU", "FULL_DEVICE_NAME"), *sorted(capabilities), *sorted(cpu.flags())],
            "precision": precision,
            "form": 1,
        }

    def find(self) -> Kept | None:
        kept = self._shelf.find(self._key)
        return kept if kept is not None and set(kept.facts) == {"inputs", "outputs", "nesting"} else None

    def keep(self, compiled: Any, facts: Mapping[str, Any]) -> None:
        if self.find() is not None:  # by another process, or one that OpenVINO refuses, as it would the next
            return
        try:
            content = compiled.export_model().getbuffer()
        except RuntimeError as error:
            _log.info("this OpenVINO cannot export what it compiled: %s", error)
            return
        self._shelf.keep(self._key, content, facts)


def _shelf(source: Source, precision: str) -> _CompiledForms | None:
    """Where compiled forms of the source are kept, if this OpenVINO reads them where they lie."""
    import openvino

    version = re.match(r"(\d+)\.(\d+)", openvino.get_version())
    if source.shelf is None or version is None or tuple(map(int, version.groups())) < _MAPS_SINCE:
        return None
    return _CompiledForms(source.shelf, precision)


def _imported(core: Any, path: Path, config: Mapping[str, Any]) -> tuple[Any, Any]:
    """A compiled model as it was kept, and the memory that it lives in.

    Raises:
        OSError: The file cannot be read.
        RuntimeError: OpenVINO does not take it.
    """
    import numpy as np

    # Mapped, and what is written stays here: OpenVINO insists on memory that may be written to.
    memory = np.memmap(path, np.uint8, "c") if os.name == "posix" else np.fromfile(path, np.uint8)
    return core.import_model(_tensor(memory), "CPU", config), memory


class _Compiled:
    """A compiled model and the requests that are free: one request is for one thread at a time."""

    def __init__(self, model: Any, memory: Any = None) -> None:
        self._model = model
        self._outputs = range(len(model.outputs))
        self._free: deque[Any] = deque()
        # What the model lives in, of which OpenVINO holds none. Last, so that it goes after model and requests.
        self._memory = memory

    def start(self, batch: NDArray[Any]) -> Any:
        """Let a request run a batch, which must stay as it is until that is done."""
        try:
            request = self._free.pop()
        except IndexError:
            request = self._model.create_infer_request()
        # Tensors and no dictionaries: OpenVINO's own way from one to the other takes 3 % of a small network's time.
        request.set_input_tensor(0, _tensor(batch))
        request.start_async()
        return request

    def finish(self, request: Any) -> list[NDArray[Any]]:
        """The outputs, when they are there: copies, for the request will be used again."""
        request.wait()
        outputs = [request.get_output_tensor(number).data.copy() for number in self._outputs]
        self._free.append(request)
        return outputs


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
                with _no_telemetry():
                    import openvino
            except (ImportError, OSError) as error:
                raise MissingDependencyError(
                    f"OpenVINO cannot be imported: {error}", hint=install_hint("openvino")
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


@contextlib.contextmanager
def _no_telemetry() -> Iterator[None]:
    """Import OpenVINO as if its telemetry were not installed, which it does without.

    The import would write to the user's home folder, start a thread and a process, and tell Google Analytics of it.
    Whoever wants that imports OpenVINO first.
    """
    name = "openvino_telemetry"
    if name in sys.modules or "openvino" in sys.modules:
        yield
        return
    sys.modules[name] = None  # type: ignore[assignment] # Python's own sign of a module that is not there
    try:
        yield
    finally:
        del sys.modules[name]


def _told(model: Any) -> dict[str, Any]:
    """What `Signature` wants to know of a model; fit for JSON."""
    return {
        "inputs": [(one.get_any_name(), _shape(one)) for one in model.inputs],
        "outputs": [one.get_any_name() for one in model.outputs],
        "nesting": _metadata(model),
    }


def _shape(port: Any) -> list[int | None]:
    return [size.get_length() if size.is_static else None for size in port.get_partial_shape()]


def _tensor(array: NDArray[Any]) -> Any:
    """An array for OpenVINO; shared, where it may be written to, which OpenVINO insists on."""
    import openvino

    return openvino.Tensor(array, shared_memory=array.flags.writeable)


def _metadata(model: Any) -> str | None:
    place = ["framework", OUTPUTS_KEY]
    return str(model.get_rt_info(place).astype(str)) if model.has_rt_info(place) else None
