"""The rules: small functions with stable codes.

A rule is a generator over a `CardContext` (one card), or over the `Facts` of all cards of a tree. What its docstring
and its decorator say becomes ``docs/rules.md`` and ``mshub validate --explain``.
"""

from __future__ import annotations

import functools
import importlib
import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from mshub_ssd.lint.finding import Severity

__all__ = ["PROFILES", "Profile", "Rule", "all_rules", "rule"]

_MODULES = (
    "structure",
    "text",
    "fields",
    "assets",
    "naming",
    "evaluation",
    "provenance",
    "body",
    "official",
    "leftovers",
    "tree",
    "plan",
    "online",
)

Scope = Literal["card", "tree", "online"]
Profile = Literal["default", "strict"]
PROFILES: tuple[Profile, ...] = ("default", "strict")
"""Each with the rules of those before it."""
FixKind = Literal["safe", "unsafe", "sometimes"]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        code: Stable, never used again once withdrawn.
        name: What it finds, in a few words joined by dashes.
        severity: Unless the configuration says otherwise; single findings may be milder.
        scope: Looks at one ``card``, at the whole ``tree``, or at what the network answered (``online``).
        profile: ``default`` for what breaks loading, misleads people or programs, or is refused by the official
            validator; ``strict`` for house style, which runs with ``--profile strict`` or if selected.
        fix: Whether findings come with a fix: ``safe``, ``unsafe``, ``sometimes`` either, None never.
        what: What it finds.
        why: Why that matters.
        bad: Lines of a card that the rule objects to.
        good: The same lines as they should be.
        check: The function itself.
    """

    code: str
    name: str
    severity: Severity
    scope: Scope
    profile: Profile
    fix: FixKind | None
    what: str
    why: str
    bad: str
    good: str
    check: Callable[..., Iterable[Any]]


_collected: dict[str, Rule] = {}


def rule(
    code: str,
    name: str,
    severity: Severity,
    *,
    why: str,
    bad: str,
    good: str,
    scope: Scope = "card",
    profile: Profile = "default",
    fix: FixKind | None = None,
) -> Callable[[Callable[..., Iterable[Any]]], Callable[..., Iterable[Any]]]:
    """Decorator: enter a function into the rules; its docstring says what it finds."""

    def enter(check: Callable[..., Iterable[Any]]) -> Callable[..., Iterable[Any]]:
        if code in _collected:
            raise RuntimeError(f"two rules have the code {code}")
        what = inspect.cleandoc(check.__doc__ or "")
        _collected[code] = Rule(code, name, severity, scope, profile, fix, what, why, bad, good, check)
        return check

    return enter


@functools.cache
def all_rules() -> Mapping[str, Rule]:
    """Every rule by its code, in the order of the codes."""
    for module in _MODULES:
        importlib.import_module(f"mshub_ssd.lint.rules.{module}")
    return dict(sorted(_collected.items()))
