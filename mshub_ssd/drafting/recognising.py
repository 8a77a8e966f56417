"""Which network a checkpoint is for, with how many classes: by its parameters where networks can be built here."""

from __future__ import annotations

import inspect
import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from mshub_ssd import networks, providers
from mshub_ssd.checkpoints import LoadReport, match_parameters
from mshub_ssd.errors import MshubError, UsageError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from mshub_ssd.cards import Card
    from mshub_ssd.providers import Fit

__all__ = [
    "GUESSED",
    "Match",
    "can_build",
    "choose",
    "count_text",
    "described",
    "fitted",
    "recognise",
    "refuse",
    "refuse_arguments",
    "with_arguments",
]

GUESSED = ("hidden_units", "num_classes")
"""Arguments that the shapes of a checkpoint tell."""

_NEAREST = 4
_MOST_NAMED = 3
_MOST_RECIPES = 20


@dataclass(frozen=True)
class Match:
    """A network that a checkpoint fills, parameter by parameter.

    Attributes:
        key: Architecture key.
        arguments: What the constructor needs besides the number of classes.
        num_classes: As the constructor counts; None where it does not take a number.
        names: How many class names belong to it, without a background; None where that is not known.
        standard: Whether the number of classes is the constructor's own.
        side: Of the square input in pixels, None where that is not known.
        like: The card whose arguments these are.
        report: The account, parameter by parameter; None where there was no checkpoint to compare.
    """

    key: str
    arguments: Mapping[str, Any] = field(default_factory=dict)
    num_classes: int | None = None
    names: int | None = None
    standard: bool = True
    side: int | None = None
    like: Card | None = None
    report: LoadReport | None = None


def can_build() -> bool:
    """Whether networks can be built here."""
    try:
        networks.require_mindspore()
    except MshubError:
        return False
    return True


def recognise(arrays: Mapping[str, NDArray[Any]], cards: Iterable[Card]) -> tuple[list[Match], list[Fit]]:
    """The networks that a checkpoint fits, and the nearest where it fits none.

    Each is tried as it is built without arguments, then with another number of classes and of hidden units, then with
    the arguments of cards that give some.

    Args:
        arrays: The checkpoint's, by name.
        cards: Those whose arguments are worth trying.
    """
    ranking = providers.fits(arrays)
    found = [described(fit.key, {}, fit.report) for fit in ranking if fit.exact]
    if not found:
        tried = [fitted(arrays, fit.key, {}, fit.report) for fit in ranking[:_NEAREST]]
        found = [one for one in tried if one.report and one.report.ok]
    if not found:
        for card in _recipes(cards):
            assert card.network is not None
            arguments = {k: v for k, v in card.network.arguments.items() if k not in ("num_classes", "classes")}
            match = fitted(arrays, networks.require(card.network.name), arguments)
            if match.report and match.report.ok:
                found.append(replace(match, like=card))
                break
    nearest = [fit for fit in ranking if count_text(fit.report) == count_text(ranking[0].report)]
    return found, [] if found else nearest[:_MOST_NAMED]


def _recipes(cards: Iterable[Card]) -> list[Card]:
    """One card for each set of arguments."""
    seen: dict[str, Card] = {}
    for card in cards:
        if card.network is None or networks.find(card.network.name) is None:
            continue
        arguments = {k: v for k, v in card.network.arguments.items() if k not in ("num_classes", "classes")}
        if arguments and len(seen) < _MOST_RECIPES:
            seen.setdefault(f"{card.network.name} {sorted(arguments.items())!r}", card)
    return list(seen.values())


def fitted(
    arrays: Mapping[str, NDArray[Any]], key: str, arguments: Mapping[str, Any], report: LoadReport | None = None
) -> Match:
    """A network with the numbers of classes and hidden units of a checkpoint; the report says whether it fits then.

    Args:
        arrays: The checkpoint's, by name.
        key: Architecture key.
        arguments: The constructor's; those among them that could be guessed are kept.
        report: The account of the network without arguments, where it is known.

    Raises:
        UsageError: The network cannot be built with these arguments.
    """
    known = {name: value for name, value in arguments.items() if name != "classes"}
    if report is None:
        report = _compared(arrays, key, known)
    # Where the width of the hidden layers differs, too, the number of classes shows only once that is right.
    for name, guess in zip(GUESSED, (_hidden_units, _class_count), strict=True):
        usual = _usual(key, name)
        value = None if report.ok or name in known or usual is None else guess(report, usual)
        if value is not None:
            try:
                report = _compared(arrays, key, {**known, name: value})
            except UsageError:  # a number that the network does not take
                break
            known[name] = value
    return described(key, known, report)


def _compared(arrays: Mapping[str, NDArray[Any]], key: str, arguments: Mapping[str, Any]) -> LoadReport:
    return match_parameters(arrays, networks.parameter_types(_built(key, arguments)))[1]


def described(key: str, arguments: Mapping[str, Any], report: LoadReport | None = None) -> Match:
    """What is known of a network: from building it where that can be done, else from the table.

    Raises:
        UsageError: It cannot be built with these arguments.
    """
    spec = networks.NETWORKS.get(key)
    rest = {name: value for name, value in arguments.items() if name not in ("num_classes", "classes")}
    count = arguments.get("num_classes")
    if can_build():
        config = getattr(_built(key, {**rest, **({} if count is None else {"num_classes": count})}), "config", None)
        known = _usual(key, "num_classes")
        number = getattr(config, "num_classes", count)
        names = getattr(config, "class_names", None)
        side = getattr(config, "image_size", None)
        return Match(key, rest, number, names and len(names), number == known, side, report=report)
    standard = count is None or (spec is not None and count == spec.num_classes)
    number = spec.num_classes if spec is not None and count is None else count
    names = None if spec is None or number is None else number - spec.background
    return Match(key, rest, number, names, standard, arguments.get("image_size"), report=report)


def _built(key: str, arguments: Mapping[str, Any]) -> Any:
    return networks.build(key, card=arguments, initialised=False, where="--network")


def _usual(key: str, name: str) -> int | None:
    """The number that a network has by itself, None where it takes no such argument."""
    parameter = inspect.signature(networks.constructor(key)).parameters.get(name)
    return parameter.default if parameter is not None and isinstance(parameter.default, int) else None


def _hidden_units(report: LoadReport, usual: int) -> int | None:
    """The width of the hidden layers that would fit: one of them is square."""
    widths = {
        got[0]
        for _, want, got in report.wrong_shape
        if tuple(want) == (usual, usual) and len(got) == 2 and got[0] == got[1]
    }
    return widths.pop() if len(widths) == 1 else None


def _class_count(report: LoadReport, usual: int) -> int | None:
    """The number of classes with which all shapes would fit; None if there is none.

    Where only the number of classes differs, some sides of some parameters are so many times that number.
    """
    if not report.wrong_shape or report.missing or report.unexpected or report.wrong_type:
        return None
    counts = set()
    for _, want, got in report.wrong_shape:
        sides = [pair for pair in zip(want, got, strict=False) if pair[0] != pair[1]]
        if len(want) != len(got) or len(sides) != 1 or (sides[0][1] * usual) % sides[0][0]:
            return None
        counts.add(sides[0][1] * usual // sides[0][0])
    count = counts.pop()
    return count if not counts and count > 1 else None


def count_text(report: LoadReport) -> str:
    """How many parameters fit, in words."""
    rest = len(report.missing) + len(report.unexpected) + len(report.wrong_shape) + len(report.wrong_type)
    return f"{len(report.loaded)} parameters fit, {rest} do not"


def choose(matches: Sequence[Match], hint: str | None) -> Match | None:
    """The match to take unasked: the only one, or the one that names speak for."""
    if len(matches) == 1:
        return matches[0]
    return next((one for one in matches if one.key == hint), None)


def with_arguments(key: str, arguments: Mapping[str, Any]) -> str:
    """A network as `--network` takes it from a shell."""
    rows = "".join(f", {name}: {json.dumps(value)}" for name, value in arguments.items())
    return f"--network {shlex.quote(f'{{name: {key}{rows}}}') if rows else key}"


def refuse(
    key: str, report: LoadReport, where: str, others: Sequence[Match], arguments: Iterable[str], otherwise: str
) -> UsageError:
    """The error for a network that a checkpoint does not fit.

    Args:
        key: Architecture key.
        report: How it does not.
        where: What names the network.
        others: Those that it does fit.
        arguments: Names of those that were given.
        otherwise: What to do where no argument would help.
    """
    fitting = " or ".join(one.key for one in others)
    spec, given = networks.NETWORKS.get(key), set(arguments)
    rest = [name for name in (spec.arguments if spec else ()) if name not in {*given, *GUESSED, "classes"}]
    if fitting:
        hint = f"--network {others[0].key}"
    elif rest and given:
        hint = f"correct the arguments, or give others that it was built with, too: {', '.join(rest)}"
    elif rest:
        hint = f"give the arguments that it was built with, as in --network '{{name: {key}, {rest[0]}: ...}}'"
    else:
        hint = otherwise
    return UsageError(
        f"the checkpoint does not fit the network {key}: {count_text(report)}",
        where=where,
        expected=f"the parameters of {key}",
        got=f"the parameters of {fitting}" if fitting else str(report),
        hint=hint,
    )


def refuse_arguments(arrays: Mapping[str, NDArray[Any]], key: str, arguments: Mapping[str, Any]) -> None:
    """Refuse numbers for which a checkpoint has others.

    Raises:
        UsageError: With the right ones the checkpoint fits.
    """
    free = fitted(arrays, key, {name: value for name, value in arguments.items() if name not in GUESSED})
    if free.report is None or not free.report.ok:
        return
    right = {"num_classes": free.num_classes, **free.arguments}
    given = [name for name in GUESSED if name in arguments]
    found = {name: right.get(name, _usual(key, name)) for name in given}
    wrong = [name for name in given if found[name] != arguments[name]]
    raise UsageError(
        f"the checkpoint is for a network {key} with {_rows(found, wrong)}, not with {_rows(arguments, wrong)}",
        where="--network",
        expected=_rows(found, wrong),
        got=_rows(arguments, wrong),
        hint=with_arguments(key, {**arguments, **found}),
    )


def _rows(arguments: Mapping[str, Any], names: Iterable[str]) -> str:
    return " and ".join(f"{name}: {arguments[name]}" for name in names)
