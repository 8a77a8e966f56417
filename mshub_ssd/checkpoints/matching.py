"""Fitting a checkpoint's arrays to a network: wrapper prefixes off, optimizer state out, the rest accounted for.

Training saves its checkpoints from the training cell: every parameter carries the name of the loss cell's field
(``network.``, sometimes twice), and beside it stand optimizer slots (``moments.network.conv1.weight``), and
counters. Which prefix is the wrapper is decided by the network's own names, never guessed from the file alone
when the network is known. Names in PyTorch's spelling are translated first (`torch_names`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mshub_ssd.checkpoints.torch_names import translate
from mshub_ssd.errors import MismatchError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["LoadReport", "match_parameters", "without_wrapping"]

Shape = tuple[int, ...]

# First name component of optimizer slots, as MindSpore's optimizers write them.
_SLOTS = frozenset(
    [
        "accum",
        "accumulation",
        "accumulator",
        "adagrad_accum",
        "adam_m",
        "adam_v",
        "delta",
        "exp_avg",
        "exp_avg_sq",
        "grad_sum",
        "lamb_m",
        "lamb_v",
        "linear",
        "m",
        "mean_grad",
        "mean_square",
        "moment",
        "moment1",
        "moment2",
        "moments",
        "momentum",
        "rms",
        "stat",
        "v",
        "velocity",
        "vhat",
    ]
)
# Names of counters and schedules, after any wrapper prefix.
_COUNTERS = frozenset(
    [
        "beta1_power",
        "beta2_power",
        "current_iterator_step",
        "epoch_num",
        "global_step",
        "last_overflow_iterator_step",
        "learning_rate",
        "learning_rate_group_0",
        "learning_rate_group_1",
        "loss_scale",
        "loss_scale_value",
        "moment_factor",
        "momentum",
        "opt_step",
        "scale_sense",
        "scale_window",
        "step_num",
        "weight_decay",
    ]
)
_LISTED = 12


@dataclass(frozen=True)
class LoadReport:
    """What became of every entry of a checkpoint and every parameter of a network.

    Attributes:
        loaded: Parameters that got their value from the file.
        missing: Parameters of the network that the file does not have.
        unexpected: Entries of the file that the network does not have, and that are no training state.
        wrong_shape: (name, network's shape, file's shape).
        wrong_type: (name, network's type, file's type), where converting would not be safe.
        ignored: Training state: optimizer slots and counters.
        prefix: Wrapper prefix that was taken off the file's names.
        layout: Older layout of names that the file was translated from, or empty.
    """

    loaded: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    wrong_shape: tuple[tuple[str, Shape, Shape], ...] = ()
    wrong_type: tuple[tuple[str, str, str], ...] = ()
    ignored: tuple[str, ...] = ()
    prefix: str = ""
    layout: str = ""

    @property
    def ok(self) -> bool:
        """Every parameter was found with its shape, and nothing was left over."""
        return not (self.missing or self.unexpected or self.wrong_shape or self.wrong_type)

    def __str__(self) -> str:
        def both(rows: tuple[tuple[str, Any, Any], ...]) -> list[str]:
            return [f"{name}: network {want}, file {got}" for name, want, got in rows]

        rows = [
            f"{len(self.loaded)} loaded",
            *_listing("missing in the file", list(self.missing)),
            *_listing("unexpected in the file", list(self.unexpected)),
            *_listing("of another shape", both(self.wrong_shape)),
            *_listing("of another type", both(self.wrong_type)),
        ]
        return "\n".join(rows)


def match_parameters(
    arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[Shape, np.dtype[Any]]]
) -> tuple[dict[str, NDArray[Any]], LoadReport]:
    """Find each parameter of a network in a checkpoint.

    Args:
        arrays: The file's arrays by name.
        expected: Shape and type of each parameter of the network.

    Returns:
        The values that fit, by the network's names and in its order and type, and the full account.
    """
    translation = translate(arrays, expected)
    arrays = {new: arrays[name] for name, new in translation.names.items()}
    prefix = _wrapper_prefix(arrays, expected)
    values: dict[str, NDArray[Any]] = {}
    missing: list[str] = []
    wrong_shape: list[tuple[str, Shape, Shape]] = []
    wrong_type: list[tuple[str, str, str]] = []
    for name, (shape, dtype) in expected.items():
        array = arrays.get(prefix + name)
        if array is None:
            missing.append(name)
        elif array.shape != shape:
            wrong_shape.append((name, shape, array.shape))
        elif array.dtype != dtype and not (array.dtype.kind == "f" and dtype.kind == "f"):
            wrong_type.append((name, str(dtype), str(array.dtype)))
        else:
            # A file's array may be a strided view of a larger one.
            values[name] = array.astype(dtype, order="C", copy=False)
    unexpected, ignored = [], list(translation.dropped)
    for name in arrays:
        inner = name[len(prefix) :] if name.startswith(prefix) else None
        if inner in expected:
            continue
        if _is_training_state(name):
            ignored.append(name)
        else:
            unexpected.append(name if inner is None else inner)
    report = LoadReport(
        loaded=tuple(values),
        missing=tuple(missing),
        unexpected=tuple(unexpected),
        wrong_shape=tuple(wrong_shape),
        wrong_type=tuple(wrong_type),
        ignored=tuple(ignored),
        prefix=prefix,
        layout=translation.layout,
    )
    return values, report


def refuse(report: LoadReport, network: str, where: str, hint: str, got: str | None = None) -> MismatchError:
    """The error for a report that is not `ok`; it carries the report. `got` says whose parameters the file holds."""
    error = MismatchError(
        f"the checkpoint does not fit {network}: {report}",
        where=where,
        expected=f"the parameters of {network}, all of them and no others",
        got=got,
        hint=hint,
    )
    error.report = report
    return error


def without_wrapping(
    arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, object] | None = None
) -> dict[str, NDArray[Any]]:
    """The network's own entries of a checkpoint: names translated, wrapper prefix off, training state left out.

    Args:
        arrays: The file's arrays by name.
        expected: The network's parameter names, where the network is known. Otherwise ``network.`` is taken
            off as often as all remaining entries carry it.
    """
    arrays = {new: arrays[name] for name, new in translate(arrays, expected or ()).names.items()}
    prefix = _common_wrapper(arrays) if expected is None else _wrapper_prefix(arrays, expected)
    return {
        name[len(prefix) :] if name.startswith(prefix) else name: array
        for name, array in arrays.items()
        if not _is_training_state(name) or name[len(prefix) :] in (expected or ())
    }


def _wrapper_prefix(arrays: Mapping[str, object], expected: Mapping[str, object]) -> str:
    """The prefix under which most of the network's names are found; optimizer slots do not count."""
    votes: Counter[str] = Counter()
    longest = max((name.count(".") for name in expected), default=0)
    for name in arrays:
        parts = name.split(".")
        # A name can hide the network's one behind a prefix of any number of components.
        for cut in range(max(len(parts) - longest - 1, 0), len(parts)):
            if parts[0] not in _SLOTS and ".".join(parts[cut:]) in expected:
                votes["".join(f"{part}." for part in parts[:cut])] += 1
        if name in expected and parts[0] in _SLOTS:
            votes[""] += 1
    entries = sum(not _is_training_state(name) for name in arrays)
    best = min(votes, key=lambda prefix: (-votes[prefix], len(prefix), prefix), default="")
    # A few names in common are a coincidence: conv1.weight occurs somewhere in many backbones.
    if 2 * votes[best] < min(len(expected), entries):
        return _common_wrapper(arrays)
    return best


def _common_wrapper(arrays: Mapping[str, object]) -> str:
    """``network.``, as often as all entries but training state carry it."""
    names = [name for name in arrays if not _is_training_state(name)]
    prefix = ""
    while names and all(name.startswith(prefix + "network.") for name in names):
        prefix += "network."
    return prefix


def _is_training_state(name: str) -> bool:
    first, *rest = name.split(".")
    return (first in _SLOTS and bool(rest)) or name.rsplit(".", 1)[-1] in _COUNTERS


def _listing(title: str, rows: list[str]) -> list[str]:
    if not rows:
        return []
    shown = [f"    {row}" for row in rows[:_LISTED]]
    if len(rows) > _LISTED:
        shown.append(f"    … and {len(rows) - _LISTED} more")
    return [f"  {len(rows)} {title}:", *shown]
