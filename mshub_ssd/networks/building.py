"""Cells built and filled: whether MindSpore is there to do it, and what their parameters are."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from mshub_ssd.errors import (
    ArgumentTypeError,
    MissingDependencyError,
    MshubError,
    UsageError,
    install_hint,
    is_installed,
)
from mshub_ssd.networks.constructors import constructor

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from mshub_ssd.networks.backend import nn

__all__ = ["build", "building", "fill", "parameter_types", "require_mindspore"]

# MindSpore's switch for parameters without values holds for the whole process.
_one_at_a_time = threading.RLock()


def require_mindspore() -> None:
    """Make sure that MindSpore is installed and can be used.

    Raises:
        MissingDependencyError: It is not installed, or NumPy is too new for it.
    """
    for package in ("mindspore", "numpy"):
        if not is_installed(package):
            raise MissingDependencyError(
                f"{package} is not installed; networks cannot be built without it",
                hint=install_hint("mindspore"),
            )
    import numpy as np

    if int(np.__version__.split(".")[0]) >= 2:
        raise MissingDependencyError(
            "this NumPy is too new for MindSpore's wheel, which is compiled against NumPy 1",
            expected="numpy<2",
            got=f"numpy {np.__version__}",
            hint="pip install 'numpy<2'",
        )


@contextmanager
def building(*, initialised: bool = True) -> Iterator[None]:
    """Build networks here, and nowhere else in the process at the same time.

    Args:
        initialised: Whether their parameters get random values; a checkpoint would overwrite them anyway.
    """
    from mshub_ssd.networks.backend import no_init_parameters

    with _one_at_a_time:
        if initialised:
            yield
            return
        with no_init_parameters():
            yield


def build(
    key: str,
    args: Sequence[Any] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    card: Mapping[str, Any] | None = None,
    classes: Sequence[str] | None = None,
    initialised: bool = True,
    where: str | None = None,
) -> nn.Cell:
    """Build a network.

    Args:
        key: Architecture key.
        args: The caller's arguments.
        kwargs: The caller's arguments by name; they come before the card's.
        card: The card's arguments.
        classes: The card's names of the classes, which belong to the card's number of classes.
        initialised: As for `building`.
        where: The card, for messages.

    Raises:
        UnknownModelError: No such network.
        UsageError: It cannot be built with these arguments.
        MshubError: What the constructor raises.
    """
    from mshub_ssd.networks.backend import nn

    construct = constructor(key)
    signature = inspect.signature(construct)
    arguments = dict(card or {})
    if classes and any(p.name == "classes" or p.kind is p.VAR_KEYWORD for p in signature.parameters.values()):
        arguments["classes"] = list(classes)
    if args or "num_classes" in (kwargs or {}):
        arguments.pop("classes", None)
        if args:
            arguments.pop("num_classes", None)
    arguments.update(kwargs or {})
    try:
        signature.bind(*args, **arguments)
        with building(initialised=initialised):
            network = construct(*args, **arguments)
    except MshubError:
        raise
    except (TypeError, ValueError, LookupError, ArithmeticError) as error:
        kind = ArgumentTypeError if isinstance(error, TypeError) else UsageError
        raise kind(
            f"the network {key} cannot be built with these arguments: {error}",
            where=where,
            expected=f"{key}{signature}",
            got=", ".join([*map(repr, args), *(f"{name}={value!r}" for name, value in arguments.items())]),
            hint="correct the arguments of load() or of the card's `network:`",
        ) from error
    if not isinstance(network, nn.Cell):
        raise ArgumentTypeError(
            f"the constructor of {key} did not return a network",
            expected="a mindspore.nn.Cell",
            got=repr(type(network)),
        )
    return network


def fill(network: nn.Cell, values: Mapping[str, NDArray[Any]]) -> None:
    """Give a network that was built without values those of a checkpoint, by name; the rest gets random ones."""
    from mshub_ssd.networks.backend import Tensor

    parameters = list(network.get_parameters())
    for parameter in parameters:
        if parameter.name in values:
            parameter.set_data(Tensor(values[parameter.name]))
    if any(parameter.name not in values for parameter in parameters):
        network.init_parameters_data()


def parameter_types(network: Any) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Shape and NumPy type of each parameter of a Cell, by name and in order."""
    import numpy as np

    # MindSpore's types are NumPy's with a capital: Float32, Int64, Bool.
    return {
        parameter.name: (tuple(parameter.shape), np.dtype(str(parameter.dtype).lower()))
        for parameter in network.get_parameters()
    }
