"""The CPU that networks run on: MindSpore's oneDNN kept where it is fast, and how many threads this process may use."""

from __future__ import annotations

import ctypes
import importlib.util
import logging
import math
import os
import threading
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

__all__ = [
    "ISA_VARIABLES",
    "IsaPlan",
    "cpu_quota",
    "ensure_fast_cpu",
    "grant",
    "isa_plan",
    "plan_isa_limit",
    "thread_limit",
]

_log = logging.getLogger(__name__)

# oneDNN reads either name; the second is the one of its versions before 2.
ISA_VARIABLES = ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
_LIMIT = "AVX2"
_LIMIT_CODE = 7  # dnnl_cpu_isa_avx2
_IN_TIME = 0  # dnnl_success; later calls return dnnl_invalid_arguments

_once = threading.Lock()
_ensured = False
_granted: int | None = None


@dataclass(frozen=True)
class IsaPlan:
    """Whether oneDNN's instruction set must be limited, and why.

    Attributes:
        limit: The instruction set, or None to leave everything as it is.
        reason: The reason, in words.
        library: oneDNN's library in MindSpore's wheel, or None.
    """

    limit: str | None
    reason: str
    library: Path | None = None


def plan_isa_limit(environ: Mapping[str, str], cpu_flags: frozenset[str], libraries: Path | None) -> IsaPlan:
    """Decide about oneDNN's instruction set, from facts alone.

    oneDNN 3 as MindSpore's wheel carries it has no fast float32 convolution for AVX-512 and falls back to its
    reference kernel, 30 to 300 times slower than its AVX2 one.

    Args:
        environ: The process's environment.
        cpu_flags: Feature names of the CPU as Linux writes them.
        libraries: Folder of the wheel's libraries, None if MindSpore is not installed.
    """
    for name in ISA_VARIABLES:
        if environ.get(name):
            return IsaPlan(None, f"{name}={environ[name]} is set")
    if "avx512f" not in cpu_flags:
        return IsaPlan(None, "this CPU has no AVX-512")
    library = libraries / "libdnnl.so.3" if libraries else None
    if library is None or not library.exists():
        return IsaPlan(None, "this MindSpore does not carry oneDNN 3")
    return IsaPlan(_LIMIT, "oneDNN 3 on an AVX-512 CPU runs convolutions on its reference kernel", library)


def isa_plan() -> IsaPlan:
    """`plan_isa_limit` for this process and machine; changes nothing."""
    return plan_isa_limit(os.environ, flags(), _wheel_libraries())


def ensure_fast_cpu() -> None:
    """Apply `plan_isa_limit` to this process, once; safe to call often, before and after MindSpore's import.

    The limit is given to the oneDNN that lies in MindSpore's wheel, and to no other: a variable in the environment
    would slow down every engine of the process that carries one of its own. Where a convolution or a matrix product
    has run already, it warns: the limit has no effect any more.
    """
    global _ensured
    with _once:
        if _ensured:
            return
        _ensured = True
        plan = isa_plan()
    if plan.limit is None or plan.library is None:
        _log.debug("oneDNN is left as it is: %s", plan.reason)
    elif _limit(plan.library):
        _log.info("limited MindSpore's oneDNN to %s: %s", plan.limit, plan.reason)
    else:
        warnings.warn(
            "convolutions will be 30 to 300 times slower than they could be: MindSpore's oneDNN has chosen its "
            "AVX-512 kernels already, because a network ran before mshub_ssd was asked for one. Set "
            f"{ISA_VARIABLES[0]}={plan.limit} before Python starts, or call mshub_ssd.load() first.",
            RuntimeWarning,
            stacklevel=3,
        )


def grant(cpus: int | None) -> None:
    """Tell this process how many CPUs it was given where nothing else tells it: by a scheduler that binds nobody.

    Args:
        cpus: So many; None for all that it may use.
    """
    global _granted
    _granted = cpus


def thread_limit() -> int | None:
    """How many threads can run at once where this process may not use the whole machine; None where it may.

    What counts is the CPUs that the process is bound to, the share of time that its container was given, and what
    `grant` told: an engine that starts a thread for each CPU of the machine is then stopped again and again.
    """
    everywhere = os.cpu_count() or 1
    try:
        allowed = len(os.sched_getaffinity(0))
    except (AttributeError, OSError):  # not on every system
        allowed = everywhere
    quota = cpu_quota()
    if quota is not None:
        allowed = min(allowed, max(1, math.ceil(quota)))
    if _granted is not None:
        allowed = min(allowed, max(1, _granted))
    return allowed if allowed < everywhere else None


def cpu_quota(root: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")) -> float | None:
    """The CPUs' worth of time that control groups leave to this process; None where they set no limit.

    Args:
        root: Where the groups are mounted.
        membership: Which groups the process is in, as the kernel tells it.
    """
    try:
        rows = [line.split(":", 2) for line in membership.read_text(encoding="utf-8").splitlines()]
    except (OSError, ValueError):
        return None
    found: list[float] = []
    for _, controllers, group in (row for row in rows if len(row) == 3):
        if not controllers:  # version 2
            found += [quota for place in _up(root, group) if (quota := _share(place / "cpu.max")) is not None]
        elif "cpu" in controllers.split(","):
            for mount in dict.fromkeys((controllers, "cpu")):
                found += [quota for place in _up(root / mount, group) if (quota := _old_share(place)) is not None]
    return min(found, default=None)


def _up(mount: Path, group: str) -> list[Path]:
    """A group's folder and those above it; in a container, where the path is the host's, the mount point alone."""
    parts = [part for part in group.split("/") if part not in ("", "..")]
    return [mount.joinpath(*parts[:count]) for count in range(len(parts), -1, -1)]


def _share(file: Path) -> float | None:
    try:
        quota, period = file.read_text(encoding="ascii").split()[:2]
        return int(quota) / int(period)
    except (OSError, ValueError, ZeroDivisionError):  # no such group, or `max`
        return None


def _old_share(group: Path) -> float | None:
    try:
        quota, period = (
            int((group / f"cpu.cfs_{name}_us").read_text(encoding="ascii")) for name in ("quota", "period")
        )
        return quota / period if quota > 0 else None
    except (OSError, ValueError, ZeroDivisionError):
        return None


def _limit(library: Path) -> bool:
    """Tell oneDNN; whether it was in time. MindSpore uses this very library: the loader keeps one of each file."""
    try:
        return int(ctypes.CDLL(str(library)).dnnl_set_max_cpu_isa(_LIMIT_CODE)) == _IN_TIME
    except (OSError, AttributeError) as error:
        _log.warning("MindSpore's oneDNN cannot be limited, so convolutions may be slow: %s: %s", library, error)
        return True


def _wheel_libraries() -> Path | None:
    try:
        spec = importlib.util.find_spec("mindspore")
    except (ImportError, ValueError):  # a module put in its place may have no spec
        return None
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / "lib"


def flags() -> frozenset[str]:
    """The CPU's features; empty where the system does not tell, or is not x86."""
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("flags"):
                return frozenset(line.split(":", 1)[1].split())
    except OSError as error:
        _log.debug("cannot read /proc/cpuinfo: %s", error)
    return frozenset()
