"""Whose parameters are these? A checkpoint's names and shapes against every known network.

Each network is built to be asked, without drawing values for its parameters: some seconds for all of them, so this
is for error messages and ``mshub doctor`` only.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from mshub_ssd import networks
from mshub_ssd.checkpoints import LoadReport, match_parameters
from mshub_ssd.errors import MissingDependencyError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Fit", "fits", "owner"]

_log = logging.getLogger(__name__)

# A network is worth naming when this share of all parameters, its own and the file's, are the same.
_ALIKE = 0.9


@dataclass(frozen=True)
class Fit:
    """How well a checkpoint fits a network that was built without arguments.

    Attributes:
        key: Architecture key.
        report: The account, parameter by parameter.
    """

    key: str
    report: LoadReport

    @property
    def exact(self) -> bool:
        """The checkpoint holds this network's parameters and no others."""
        return self.report.ok

    @property
    def share(self) -> float:
        """Parameters that fit, as a share of all that either side has: 0 to 1."""
        report = self.report
        strange = len(report.missing) + len(report.unexpected) + len(report.wrong_shape) + len(report.wrong_type)
        return len(report.loaded) / max(len(report.loaded) + strange, 1)


def fits(arrays: Mapping[str, NDArray[Any]]) -> list[Fit]:
    """The known networks that have parameters in common with a checkpoint, best first.

    Args:
        arrays: The file's arrays by name, wrapper prefix and training state included.
    """
    found = []
    for key in networks.names():
        expected = _expected(networks.constructor(key))
        if expected:
            fit = Fit(key, match_parameters(arrays, expected)[1])
            if fit.report.loaded:
                found.append(fit)
    return sorted(found, key=lambda fit: -fit.share)


def owner(arrays: Mapping[str, NDArray[Any]], refused: str) -> str | None:
    """In words, whose parameters a checkpoint holds that does not fit where it was meant to.

    Args:
        arrays: The file's arrays by name.
        refused: Key of the network it was refused for.

    Returns:
        E.g. ``the parameters of ssd_mobilenetV2``; None if no known network is more like it than the refused one, or
        where networks cannot be built to be asked, for want of MindSpore.
    """
    try:
        networks.require_mindspore()
    except MissingDependencyError as error:
        _log.info("whose parameters these are cannot be told: %s", error.message)
        return None
    ranking = fits(arrays)
    exact = [fit.key for fit in ranking if fit.exact]
    if refused in exact:
        return f"the parameters of {refused} as it is built without arguments"
    if exact:
        return f"the parameters of {' or '.join(exact)}" + (", which are one network" if len(exact) > 1 else "")
    if not ranking or ranking[0].key == refused or ranking[0].share < _ALIKE:
        return None
    best = ranking[0]
    rest = len(best.report.missing) + len(best.report.wrong_shape) + len(best.report.wrong_type)
    return f"nearly the parameters of {best.key}: {len(best.report.loaded)} fit, {rest} do not"


@lru_cache(maxsize=64)
def _expected(build: Callable[..., Any]) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]] | None:
    """Shapes and types of a network's parameters by name, None if it cannot be built without arguments."""
    try:
        with networks.building(initialised=False):
            return networks.parameter_types(build())
    except Exception as error:  # noqa: BLE001 - somebody's constructor must not hide the error that is being told
        _log.debug("left out, it cannot be built without arguments: %s: %s", build, error)
        return None
