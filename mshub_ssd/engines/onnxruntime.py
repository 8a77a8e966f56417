"""ONNX Runtime on the CPU."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
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
            import onnxruntime
        except (ImportError, OSError) as error:
            raise MissingDependencyError(
                f"ONNX Runtime cannot be imported: {error}", hint=install_hint("onnxruntime")
            ) from error
        self.precision = options.precision
        self._streams = options.streams or 1
        chosen = onnxruntime.SessionOptions()
        chosen.log_severity_level = 3  # errors, which are raised as well
        threads = options.threads
        if threads is not None:
            # Whoever runs a batch works, too; the streams share the threads.
            chosen.intra_op_num_threads = max(1, threads // self._streams)
        try:
            session = onnxruntime.InferenceSession(source.model, chosen, providers=["CPUExecutionProvider"])
        except Exception as error:  # its kinds have no other base in common
            raise UsageError(
                "ONNX Runtime cannot run this model",
                where=source.where,
                got=str(error)[:300],
                hint="make the file anew",
            ) from error
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

    def run(self, batch: NDArray[Any]) -> Any:
        """See `Runner.run`."""
        session = self._session
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
        self._session = None


def _size(size: int | str | None) -> int | None:
    return size if isinstance(size, int) else None  # a free one has a name, or none
