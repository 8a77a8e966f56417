"""Which rules run, how severe they are, and what is left out: ``mshub.toml``, or ``[tool.mshub]`` in pyproject.toml."""

from __future__ import annotations

import difflib
import fnmatch
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NoReturn

from mshub_ssd.errors import UsageError
from mshub_ssd.files import NotRegularError, read_regular
from mshub_ssd.lint.baseline import Baseline
from mshub_ssd.lint.finding import SEVERITIES, Severity
from mshub_ssd.lint.rules import PROFILES, all_rules

__all__ = ["KEYS", "Config", "expand_codes", "load_config", "nearest_rule"]

KEYS = ("profile", "select", "extend-select", "ignore", "severity", "per-card-ignores", "exclude", "roots", "baseline")
"""What a configuration file may hold."""

_OWN_FILE = "mshub.toml"
_SHARED_FILE = "pyproject.toml"
_ALL = "ALL"
_OFF = "off"
_NUMBER = re.compile(r"(?:MC)?([0-9]+)", re.IGNORECASE | re.ASCII)
_SELECTOR = re.compile(r"MC[0-9]{0,3}")


@dataclass(frozen=True)
class Config:
    """What a run is to do.

    Attributes:
        enabled: Codes of the rules that run.
        severities: How severe a rule's findings are, where not as the rule says.
        ignores: Wildcards for uids and paths, and the codes that such cards are not held to.
        exclude: Wildcards for paths relative to `base` that are left out.
        roots: Registry folders: a card's uid is its path below one.
        baseline: Known findings.
        base: Folder of the configuration file, the working folder without one.
        file: The configuration file.
        baseline_file: Where `baseline` is, or is to be written.
    """

    enabled: frozenset[str]
    severities: Mapping[str, Severity] = field(default_factory=dict)
    ignores: tuple[tuple[str, frozenset[str]], ...] = ()
    exclude: tuple[str, ...] = ()
    roots: tuple[Path, ...] = ()
    baseline: Baseline | None = None
    base: Path = field(default_factory=Path.cwd)
    file: Path | None = None
    baseline_file: Path | None = None

    def let_off(self, file: str | Path, uid: str | None) -> frozenset[str]:
        """The codes that a card is not held to.

        Args:
            file: The card's file.
            uid: The card's uid, if known.
        """
        if not self.ignores:
            return frozenset()
        path = os.path.relpath(file, self.base).replace(os.sep, "/")
        fitting = (
            codes
            for glob, codes in self.ignores
            if fnmatch.fnmatchcase(path, glob) or (uid is not None and fnmatch.fnmatchcase(uid, glob))
        )
        return frozenset().union(*fitting)


def load_config(
    start: Path | None = None,
    *,
    select: Sequence[str] | None = None,
    ignore: Sequence[str] = (),
    profile: str | None = None,
    file: Path | None = None,
    use_file: bool = True,
    baseline: Path | None = None,
    read_baseline: bool = True,
) -> Config:
    """Find and read the configuration that holds for a path.

    Args:
        start: The path; the nearest file in its folder or above holds. By default the working folder.
        select: Rules that run, instead of the file's: codes, their beginnings such as ``MC02``, or ``ALL``. A rule
            named by its whole code runs even where the file ignores it or turns it off.
        ignore: Rules that do not run, besides the file's.
        profile: ``default`` or ``strict``: the rules that run, instead of the file's `profile` and `select`.
        file: The file itself, nothing is searched.
        use_file: Whether to read a file at all.
        baseline: The baseline file, instead of the one in the file.
        read_baseline: Whether to read the baseline file; it must then exist.

    Raises:
        UsageError: A file cannot be read, holds something that makes no sense, or a rule does not exist.
    """
    path, table = None, dict[str, Any]()
    if file is not None:
        path, table = Path(os.path.abspath(file)), _given(file)
    elif use_file:
        path, table = _search(Path(os.path.abspath(start or Path.cwd())))
    reader = _Reader(path, table)
    base = path.parent if path else Path.cwd()
    severities, off = reader.severities()
    if profile is not None:
        enabled = _codes_of(profile)
    else:
        enabled = reader.codes("select") if "select" in table else _codes_of(reader.profile())
    enabled = (enabled | reader.codes("extend-select")) - reader.codes("ignore") - off
    if select is not None:
        wanted = expand_codes(select, "select")
        named = {text.strip().upper() for text in select} & set(all_rules())
        hidden = reader.codes("ignore") | off
        enabled = (wanted - hidden) | named
    enabled -= expand_codes(ignore, "ignore")
    found_baseline = reader.path("baseline")
    if baseline is not None:
        found_baseline = Path(os.path.abspath(baseline))
    return Config(
        enabled=frozenset(enabled),
        severities=severities,
        ignores=reader.per_card_ignores(),
        exclude=tuple(reader.texts("exclude")),
        roots=reader.roots(),
        baseline=Baseline.load(found_baseline) if found_baseline and read_baseline else None,
        base=base,
        file=path,
        baseline_file=found_baseline,
    )


def nearest_rule(text: str) -> str | None:
    """The rule that was probably meant, as ``MC013 (malformed-digest)``, or None."""
    rules = all_rules()
    names = {rule.name: code for code, rule in rules.items()}
    wanted = text.strip()
    number = _NUMBER.fullmatch(wanted)
    if number:
        # MC13, mc0013 and 13 mean MC013, which no measure of likeness knows.
        padded = f"MC{number[1].lstrip('0'):0>3}"
        near = [padded] if padded in rules else difflib.get_close_matches(padded, rules, n=1, cutoff=0.7)
    else:
        near = difflib.get_close_matches(wanted.lower().replace("_", "-"), names, n=1, cutoff=0.6)
        near = [names[name] for name in near]
    return f"{near[0]} ({rules[near[0]].name})" if near else None


def _codes_of(profile: str) -> set[str]:
    if profile not in PROFILES:
        raise UsageError("there is no such profile", expected=" or ".join(PROFILES), got=repr(profile))
    meant = PROFILES[: PROFILES.index(profile) + 1]
    return {code for code, rule in all_rules().items() if rule.profile in meant}


def _search(start: Path) -> tuple[Path | None, dict[str, Any]]:
    for folder in (start, *start.parents):
        for path in (folder / _OWN_FILE, folder / _SHARED_FILE):
            if (table := _load(path)) is not None:
                return path, table
    return None, {}


def _given(file: Path) -> dict[str, Any]:
    table = _load(file)
    if table is None and not file.is_file():
        raise UsageError("the configuration file is not there", where=str(file), hint="give another --config FILE")
    if table is None:
        raise UsageError(
            "the configuration file says nothing about cards", where=str(file), expected="a table [tool.mshub]"
        )
    return table


def _load(path: Path) -> dict[str, Any] | None:
    """What a file says; None where it is not there, or says nothing about cards."""
    data = _read(path)
    if data is None or path.name != _SHARED_FILE:
        return data if data is None else _parse(path, data)
    # Other people's projects may be broken; without the word they hold nothing for us.
    return _tool_table(path, _parse(path, data)) if b"mshub" in data else None


def _read(path: Path) -> bytes | None:
    try:
        return read_regular(path, 1 << 20)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except NotRegularError as error:
        if path.is_dir():
            return None
        raise _unreadable(path, str(error.strerror)) from error
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else None
        raise _unreadable(path, reason or str(error)) from error


def _unreadable(path: Path, reason: str) -> UsageError:
    return UsageError(
        f"the configuration file cannot be read: {reason}",
        where=str(path),
        hint="correct its permissions, or leave it out: --no-config",
    )


def _parse(path: Path, data: bytes) -> dict[str, Any]:
    if sys.version_info >= (3, 11):
        import tomllib
    else:
        import tomli as tomllib
    try:
        return tomllib.loads(data.decode("utf-8"))
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise UsageError(
            f"the configuration file is not valid TOML: {error}", where=str(path), hint=f"correct {path}"
        ) from error


def _tool_table(path: Path, table: dict[str, Any]) -> dict[str, Any] | None:
    tools = table.get("tool")
    if not isinstance(tools, dict) or "mshub" not in tools:
        return None
    ours = tools["mshub"]
    if not isinstance(ours, dict):
        raise UsageError(
            "tool.mshub is no table",
            where=str(path),
            expected="a table [tool.mshub]",
            got=_shown(ours),
            hint=f"correct {path}",
        )
    return ours


class _Reader:
    """The values of a file, each checked."""

    def __init__(self, path: Path | None, table: dict[str, Any]) -> None:
        self._path = path
        self._table = table
        for key in table:
            if key not in KEYS:
                self._unknown(key)

    def codes(self, key: str) -> set[str]:
        return expand_codes(self.texts(key), key, self._path)

    def texts(self, key: str) -> list[str]:
        return self._texts(self._table.get(key, []), key)

    def profile(self) -> str:
        value = self._table.get("profile", PROFILES[0])
        if value not in PROFILES:
            self._refuse("profile", " or ".join(map(repr, PROFILES)), value)
        return str(value)

    def path(self, key: str) -> Path | None:
        if key not in self._table:
            return None
        value = self._table[key]
        if not isinstance(value, str) or not value.strip():
            self._refuse(key, "a path", value)
        return self._absolute(value)

    def roots(self) -> tuple[Path, ...]:
        found = tuple(map(self._absolute, self.texts("roots")))
        for root in found:
            if not root.is_dir():
                self._refuse("roots", "folders of cards, relative to the configuration file", str(root))
        return found

    def severities(self) -> tuple[dict[str, Severity], set[str]]:
        """How severe, and which rules are off; what names fewer rules wins."""
        chosen: dict[str, str] = {}
        table = self._tables("severity")
        for selector, word in sorted(table.items(), key=lambda item: 0 if item[0].upper() == _ALL else len(item[0])):
            if word not in (*SEVERITIES, _OFF):
                near = (
                    difflib.get_close_matches(word.lower(), [*SEVERITIES, _OFF], n=1) if isinstance(word, str) else []
                )
                hint = f"did you mean {near[0]!r}?" if near else None
                self._refuse(f"severity.{selector}", ", ".join(map(repr, (*SEVERITIES, _OFF))), word, hint)
            for code in expand_codes([selector], "severity", self._path):
                chosen[code] = word
        known = {code: severity for code, word in chosen.items() for severity in SEVERITIES if severity == word}
        return known, {code for code, word in chosen.items() if word == _OFF}

    def per_card_ignores(self) -> tuple[tuple[str, frozenset[str]], ...]:
        found = []
        for glob, codes in self._tables("per-card-ignores").items():
            key = f"per-card-ignores.{glob!r}"
            found.append((glob.removeprefix("./"), frozenset(expand_codes(self._texts(codes, key), key, self._path))))
        return tuple(found)

    def _tables(self, key: str) -> dict[str, Any]:
        value = self._table.get(key, {})
        if not isinstance(value, dict):
            self._refuse(key, f"a table [{self._prefix()}{key}]", value)
        return value

    def _texts(self, value: object, key: str) -> list[str]:
        if not isinstance(value, list) or not all(isinstance(item, str) and item.strip() for item in value):
            self._refuse(key, "a list of texts", value)
        return value

    def _absolute(self, text: str) -> Path:
        assert self._path is not None
        return Path(os.path.abspath(self._path.parent / Path(text).expanduser()))

    def _prefix(self) -> str:
        return "tool.mshub." if self._path and self._path.name == _SHARED_FILE else ""

    def _unknown(self, key: str) -> NoReturn:
        if key == "tool" and not self._prefix():
            hint = f"in {_OWN_FILE} the keys stand at the top, without [tool.mshub]"
        else:
            near = difflib.get_close_matches(key.lower().replace("_", "-"), KEYS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"correct {self._path}"
        raise UsageError(
            f"the configuration has an unknown key: {self._prefix()}{key}",
            where=str(self._path),
            expected=", ".join(KEYS),
            got=repr(key),
            hint=hint,
        )

    def _refuse(self, key: str, expected: str, got: object, hint: str | None = None) -> NoReturn:
        raise UsageError(
            f"the configuration has a value that makes no sense: {self._prefix()}{key}",
            where=str(self._path),
            expected=expected,
            got=_shown(got),
            hint=hint or f"correct {self._path}",
        )


def expand_codes(selectors: Iterable[str], key: str, path: Path | None = None) -> set[str]:
    """The codes that some selectors mean: codes, their beginnings, or ``ALL``.

    Args:
        selectors: The selectors.
        key: The option that holds them, or the key in a file.
        path: The file.

    Raises:
        UsageError: There is no such rule; names the nearest.
    """
    known = all_rules()
    codes: set[str] = set()
    for selector in selectors:
        text = selector.strip().upper()
        if text == _ALL:
            codes |= set(known)
            continue
        meant = {code for code in known if code.startswith(text)} if _SELECTOR.fullmatch(text) else set()
        if not meant:
            near = nearest_rule(selector)
            raise UsageError(
                f"there is no rule {selector.strip()!r}",
                where=f"{path}, {key}" if path else f"--{key}",
                expected="a code such as MC013, the beginning of some such as MC02, or ALL",
                got=repr(selector),
                hint=f"did you mean {near}?" if near else "see all rules: mshub validate --list-rules",
            )
        codes |= meant
    return codes


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:117]}..."
