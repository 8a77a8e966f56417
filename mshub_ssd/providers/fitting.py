"""The checkpoint decides: which of several candidates it fills exactly, and how many classes they have."""

from __future__ import annotations

import copy
import dataclasses
import inspect
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mshub_ssd import networks
from mshub_ssd.checkpoints import LoadReport, match_parameters
from mshub_ssd.errors import MismatchError, MshubError, TrustError
from mshub_ssd.providers import packages
from mshub_ssd.providers.recipes import LEVELS, Call, Recipe

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Fitting", "fit"]

_log = logging.getLogger(__name__)

# How often a network is built anew, with other sizes, for one checkpoint.
_MAX_BUILDS = 24
# Class, vocabulary and user counts together.
_MAX_CHANGES = 3
# So many rows of a layer belong to one class: itself, or one for each of some anchors.
_ROWS = (1, 3, 2, 4, 6, 9, 5)
# What arguments that are counts of classes or words are called.
_COUNT = re.compile(r"class|nc$|vocab|label|n_cls|num_emb")
# Where an argument's numbers are no sizes.
_NOT_SIZES = ("name", "dtype", "tensor")

_Place = tuple[Any, ...]


@dataclass(frozen=True)
class Fitting:
    """A candidate that was built, held against a checkpoint.

    Attributes:
        recipe: How it was built; with the sizes that the checkpoint has.
        network: The Cell, without values.
        values: The checkpoint's values for it.
        report: The account.
    """

    recipe: Recipe
    network: Any
    values: Mapping[str, NDArray[Any]]
    report: LoadReport

    @property
    def strange(self) -> int:
        """How many parameters and entries do not fit."""
        report = self.report
        return len(report.missing) + len(report.unexpected) + len(report.wrong_shape) + len(report.wrong_type)


def fit(recipes: Sequence[Recipe], arrays: Mapping[str, NDArray[Any]], build: Callable[[Recipe], Any]) -> Fitting:
    """Build the candidates and keep the one whose parameters are the checkpoint's.

    Where a recipe tells which parameter shows the number of classes, it is built for the checkpoint's. Where none fits
    and shapes alone differ, sizes among the arguments (classes, vocabulary) are changed to what the
    checkpoint has.

    Args:
        recipes: The candidates, the most trusted first.
        arrays: The checkpoint's arrays by name.
        build: Builds a recipe's network without values.

    Returns:
        The one that fits exactly, or the best one, whose report says what does not.

    Raises:
        TrustError: The code of a candidate may not be run.
        MismatchError: Two of equal trust fit exactly.
        MshubError: None can be built.
    """
    tried: list[Fitting] = []
    failure: MshubError | None = None
    shapes = {name: array.shape for name, array in arrays.items()}
    for recipe in recipes:
        try:
            tried.append(_held(packages.sized(recipe, shapes), arrays, build))
        except TrustError:
            if any(fitting.report.ok for fitting in tried):
                break  # code that may run fills it; no need to ask for more
            raise
        except MshubError as error:
            _log.info("%s is left out, it cannot be built: %s", recipe.key, error.message)
            failure = failure or error
    if not tried:
        raise failure or MismatchError("there is no candidate for this checkpoint")
    exact = [fitting for fitting in tried if fitting.report.ok]
    if not exact:
        tried.sort(key=lambda fitting: fitting.strange)
        for fitting in tried:
            found = _resized(fitting, arrays, build)
            if found is not None:
                return found
        return tried[0]
    level = min(LEVELS.index(fitting.recipe.level) for fitting in exact)
    best = [fitting for fitting in exact if LEVELS.index(fitting.recipe.level) == level]
    if len(best) > 1:
        names = " and ".join(_told(fitting.recipe) for fitting in best)
        raise MismatchError(
            f"the checkpoint fits {len(best)} networks equally",
            got=names[:400],
            hint="name one of them in a card of your own: network: " + best[0].recipe.key,
        )
    return best[0]


def _held(recipe: Recipe, arrays: Mapping[str, NDArray[Any]], build: Callable[[Recipe], Any]) -> Fitting:
    network = build(recipe)
    named = _renamed(arrays, recipe.rename)
    return Fitting(recipe, network, *match_parameters(named, networks.parameter_types(network)))


def _renamed(arrays: Mapping[str, NDArray[Any]], rules: Sequence[tuple[str, str]]) -> Mapping[str, NDArray[Any]]:
    """The arrays under the names that a recipe's code has for them."""
    if not rules:
        return arrays
    names = list(arrays)
    for pattern, replacement in rules:
        names = [re.sub(pattern, replacement, name) for name in names]
    # Two of one name are no checkpoint of this network: as they are, they do not fit.
    return dict(zip(names, arrays.values(), strict=True)) if len(set(names)) == len(names) else arrays


def _told(recipe: Recipe) -> str:
    call = recipe.call
    arguments = "" if call is None else f" ({call.callable}, {[*call.args, dict(call.kwargs)]})"
    return recipe.key + arguments


def _resized(fitting: Fitting, arrays: Mapping[str, NDArray[Any]], build: Callable[[Recipe], Any]) -> Fitting | None:
    """The candidate with the checkpoint's sizes, if other sizes are all that it takes."""
    told = packages.sized(fitting.recipe, {name: array.shape for name, array in arrays.items()})
    if told is not fitting.recipe:
        fitting = _held(told, arrays, build)
        if fitting.report.ok:
            return fitting
    left = _MAX_BUILDS
    for _ in range(_MAX_CHANGES):
        better = None
        for recipe in _changed(fitting):
            left -= 1
            if left < 0:
                return None
            try:
                held = _held(recipe, arrays, build)
            except MshubError as error:
                _log.debug("%s does not take other sizes: %s", recipe.key, error.message)
                continue
            if held.report.ok:
                return held
            if held.strange < (better or fitting).strange:
                better = held
        if better is None:
            return None
        fitting = better
    return None


def _changed(fitting: Fitting) -> Iterator[Recipe]:
    """Recipes with another size among the arguments, the likeliest first."""
    report, call = fitting.report, fitting.recipe.call
    if call is None or report.missing or report.unexpected or report.wrong_type:
        return
    pairs = {
        (want, got)
        for _, network, file in report.wrong_shape
        if len(network) == len(file)
        for want, got in zip(network, file, strict=True)
        if want != got
    }
    if not pairs:
        return
    arguments = [list(call.args), dict(call.kwargs)]
    places = [*_numbers(arguments, ()), *_defaults(fitting.network, call)]
    places.sort(key=lambda row: _COUNT.search(str(row[0][-1])) is None)
    seen: set[tuple[tuple[_Place, ...], int]] = set()
    for rows in _ROWS:
        for want, got in sorted(pairs):
            by, rest = divmod(got - want, rows)
            if rest:
                continue
            for place, value in places:
                # All places that say the same, then each alone: a count often stands in several.
                alike = tuple(other for other, same in places if same == value and other[-1] == place[-1])
                for chosen in dict.fromkeys((alike, (place,))):
                    new = value + by
                    if value < 1 or new < 1 or (rows == 1 and value > want) or (chosen, new) in seen:
                        continue
                    seen.add((chosen, new))
                    args, kwargs = _with(arguments, chosen, new)
                    changed = Call(call.callable, tuple(args), kwargs, call.argv)
                    yield dataclasses.replace(fitting.recipe, call=changed)


def _numbers(value: Any, place: _Place) -> Iterator[tuple[_Place, int]]:
    """The whole numbers among arguments, and where they stand."""
    if isinstance(value, int) and not isinstance(value, bool):
        yield place, value
    elif isinstance(value, list):
        for index, item in enumerate(value):
            yield from _numbers(item, (*place, index))
    elif isinstance(value, Mapping):
        for name, item in value.items():
            if name not in _NOT_SIZES:
                yield from _numbers(item, (*place, name))


def _defaults(network: Any, call: Call) -> Iterator[tuple[_Place, int]]:
    """The same of arguments that the call leaves out, where it calls the network's own class."""
    if call.callable.rpartition(":")[2] != type(network).__name__:
        return
    for number, parameter in enumerate(inspect.signature(type(network)).parameters.values()):
        value, left_out = parameter.default, number >= len(call.args) and parameter.name not in call.kwargs
        if left_out and isinstance(value, int) and not isinstance(value, bool):
            yield (1, parameter.name), value


def _with(arguments: list[Any], places: Sequence[_Place], new: int) -> tuple[list[Any], dict[str, Any]]:
    changed = copy.deepcopy(arguments)
    for place in places:
        part: Any = changed
        for step in place[:-1]:
            part = part[step]
        part[place[-1]] = new
    return changed[0], changed[1]
