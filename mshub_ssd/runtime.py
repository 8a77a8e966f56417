"""MindSpore on this machine: the CPU instruction set limit, building Cells, and calling them on arrays."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import os
import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = [
    "IsaPlan",
    "call",
    "device_target",
    "ensure_fast_cpu",
    "isa_plan",
    "parameter_types",
    "plan_isa_limit",
    "require_mindspore",
    "to_arrays",
    "uninitialised_parameters",
]

_log = logging.getLogger(__name__)

# oneDNN reads either name; the second is the one of its versions before 2.
_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_LIMIT = "AVX2"
_LIMIT_CODE = 7  # dnnl_cpu_isa_avx2
_IN_TIME = 0  # dnnl_success; later calls return dnnl_invalid_arguments

_ensured = False


@dataclass(frozen=True)
class IsaPlan:
    """Whether oneDNN's instruction set must be limited, and why.

    Attributes:
        limit: Value for ``ONEDNN_MAX_CPU_ISA``, or None to leave everything as it is.
        reason: The reason, in words.
        library: oneDNN's library in MindSpore's wheel, or None.
    """

    limit: str | None
    reason: str
    library: Path | None = None


def require_mindspore() -> None:
    """Make sure that MindSpore is installed and can be used.

    Raises:
        MissingDependencyError: It is not installed, or NumPy is too new for it.
    """
    for package in ("mindspore", "numpy"):
        if _find(package) is None:
            raise MissingDependencyError(
                f"{package} is not installed; networks cannot be built without it",
                hint="pip install 'mshub_ssd[mindspore]'",
            )
    import numpy as np

    if int(np.__version__.split(".")[0]) >= 2:
        raise MissingDependencyError(
            "this NumPy is too new for MindSpore's wheel, which is compiled against NumPy 1",
            expected="numpy<2",
            got=f"numpy {np.__version__}",
            hint="pip install 'numpy<2'",
        )


def device_target() -> str:
    """The device that networks run on as things are, e.g. ``CPU`` or ``Ascend``.

    Raises:
        MissingDependencyError: MindSpore is there, but cannot be imported.
    """
    try:
        import mindspore
    except (ImportError, OSError) as error:
        raise MissingDependencyError(
            f"MindSpore cannot be imported: {error}",
            hint="pip install --force-reinstall 'mshub_ssd[mindspore]'",
        ) from error
    return str(mindspore.get_context("device_target"))


def plan_isa_limit(environ: Mapping[str, str], cpu_flags: frozenset[str], libraries: Path | None) -> IsaPlan:
    """Decide about oneDNN's instruction set, from facts alone.

    oneDNN 3 as MindSpore's wheel carries it has no fast float32 convolution for AVX-512 and falls back to its
    reference kernel, 30 to 300 times slower than its AVX2 one.

    Args:
        environ: The process's environment.
        cpu_flags: Feature names of the CPU as Linux writes them.
        libraries: Folder of the wheel's libraries, None if MindSpore is not installed.
    """
    for name in _VARIABLES:
        if environ.get(name):
            return IsaPlan(None, f"{name}={environ[name]} is set")
    if "avx512f" not in cpu_flags:
        return IsaPlan(None, "this CPU has no AVX-512")
    library = libraries / "libdnnl.so.3" if libraries else None
    if library is None or not library.exists():
        return IsaPlan(None, "this MindSpore does not carry oneDNN 3")
    return IsaPlan(_LIMIT, "oneDNN 3 on an AVX-512 CPU runs convolutions on its reference kernel", library)


def ensure_fast_cpu() -> IsaPlan:
    """Apply `plan_isa_limit` to this process, once; safe to call often.

    Sets ``ONEDNN_MAX_CPU_ISA`` where needed, also when MindSpore is imported already, as long as no
    convolution or matrix product has run. After that it warns: the limit has no effect any more.
    """
    global _ensured
    plan = isa_plan()
    if _ensured or plan.limit is None:
        return plan
    _ensured = True
    os.environ[_VARIABLES[0]] = plan.limit
    if "mindspore" in sys.modules and plan.library and not _limit_loaded_library(plan.library):
        warnings.warn(
            "convolutions will be 30 to 300 times slower than they could be: oneDNN has chosen its AVX-512 "
            "kernels already, because a network ran before mshub_ssd was asked for one. Set "
            f"{_VARIABLES[0]}={plan.limit} before Python starts, or call mshub_ssd.load() first.",
            RuntimeWarning,
            stacklevel=3,
        )
    else:
        _log.info("set %s=%s: %s", _VARIABLES[0], plan.limit, plan.reason)
    return plan


def isa_plan() -> IsaPlan:
    """`plan_isa_limit` for this process and machine; changes nothing."""
    return plan_isa_limit(os.environ, _cpu_flags(), _wheel_libraries())


@contextmanager
def uninitialised_parameters() -> Iterator[None]:
    """Build networks without drawing random values, which a checkpoint overwrites anyway."""
    try:
        from mindspore.nn.utils import no_init_parameters
    except ImportError:
        # Other versions of MindSpore: slower, and just as right.
        yield
        return
    with no_init_parameters():
        yield


def parameter_types(network: Any) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and NumPy type of each parameter of a Cell, by name and in order."""
    import numpy as np

    # MindSpore's types are NumPy's with a capital: Float32, Int64, Bool.
    return {
        parameter.name: (tuple(parameter.shape), np.dtype(str(parameter.dtype).lower()))
        for parameter in network.get_parameters()
    }


def call(network: Any, *arrays: NDArray[Any]) -> Any:
    """Run a Cell on NumPy arrays, in the user's mode and on the user's device.

    Args:
        network: A Cell that takes one tensor per array and returns a tensor or a tuple of tensors.
        arrays: The inputs.

    Returns:
        The outputs as arrays, see `to_arrays`.
    """
    import mindspore

    return to_arrays(network(*(mindspore.Tensor(array) for array in arrays)))


def to_arrays(output: Any) -> Any:
    """A network's output with its tensors, however nested in tuples or lists, as arrays in tuples."""
    if isinstance(output, tuple | list):
        return tuple(map(to_arrays, output))
    return output.asnumpy() if hasattr(output, "asnumpy") else output


def _limit_loaded_library(library: Path) -> bool:
    """Tell oneDNN itself; whether it was in time. The environment alone cannot tell."""
    try:
        return int(ctypes.CDLL(str(library)).dnnl_set_max_cpu_isa(_LIMIT_CODE)) == _IN_TIME
    except (OSError, AttributeError) as error:
        _log.debug("cannot ask %s: %s", library, error)
        return True


def _find(package: str) -> ModuleSpec | None:
    try:
        return importlib.util.find_spec(package)
    except ImportError:
        return None


def _wheel_libraries() -> Path | None:
    spec = _find("mindspore")
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "lib"


def _cpu_flags() -> frozenset[str]:
    """The CPU's features; empty where the system does not tell, or is not x86."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return frozenset(line.split(":", 1)[1].split())
    except OSError as error:
        _log.debug("cannot read /proc/cpuinfo: %s", error)
    return frozenset()
