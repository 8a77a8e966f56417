"""Users and passwords in urls, and how they are kept out of messages, logs and reports.

People write urls with passwords that hold ``/``, ``?``, ``#`` or ``@`` as they are. No parser takes such a password for
one, so this module does not ask where a url's authority ends, but what can be shown without doubt.
"""

from __future__ import annotations

import bisect
import functools
import itertools
import re

__all__ = ["ENCODE", "ambiguous", "file_name", "hide", "mask", "redact", "scrub"]

ENCODE = "percent-encode user and password: %2F for /, %3F for ?, %23 for #, %40 for @, %5C for a backslash"
"""What to do about a url that `ambiguous` finds."""

_LONGEST_SHOWN = 300
_LONGEST_URL = 4096  # in a text: what is looked at must not grow with the square of it
# Also as it looks encoded, once or twice, and in the forms that Unicode folds to it.
_AT = ("@", "%40", "%2540", "\uff20", "\ufe6b")
_START = re.compile(r"(?<![\w:@%.+-])(?:[A-Za-z][A-Za-z0-9+.-]{0,30}:[/\\]{2,}|https?:[/\\]*)", re.IGNORECASE)
_FIRST = re.compile(r"[\x00-\x20]*(?:[A-Za-z][A-Za-z0-9+.-]{0,30}:[/\\]{2,}|https?:[/\\]*|[/\\]{2,})", re.IGNORECASE)
_END_OF_AUTHORITY = re.compile(r"[/\\?#]")
_END_OF_PATH = re.compile(r"[?#]")
_END_OF_WORD = re.compile(r"[\s\"'`<>]")
_END_OF_LINE = re.compile(r"\r\n|\r|\n")
# Words with an @ in them; looking ahead from their beginnings only keeps this linear.
_WORD = re.compile(rf"(?<![^\s\"'`<>])(?=[^\s\"'`<>]*?(?:{'|'.join(_AT)}))[^\s\"'`<>]+")
_A_PATH = re.compile(r"[.~]|/(?!/)")
_ODD = re.compile(r"[\x00-\x1f\x7f\\]")
# A host, perhaps with a port: nothing in it can be a password.
_PLAIN = re.compile(r"(?:\[[0-9A-Fa-f:.%]*\]|[\w.-]*)(?::[0-9]*)?")
# A host that is none other even where an @ follows: `u:12` might be a user and half a password.
_CERTAIN = re.compile(
    r"(?:localhost|[0-9]{1,3}(?:\.[0-9]{1,3}){3}|\[[0-9A-Fa-f:.%]+\])(?::[0-9]+)?"
    r"|[\w-]+(?:\.[\w-]+)+\.?|[a-z][a-z0-9-]*"
)
_HIDDEN = "..."
_SSH_USER = "git"  # everybody's, and no secret
_CONTAINERS = ("az://", "abfs://", "abfss://")
_CONTAINER = re.compile(r"[a-z0-9$-]{3,63}@(?=[a-z0-9]+\.[a-z])")  # of `abfs://container@account.host/key`, no user


def redact(url: object) -> str:
    """A url fit for a message: no userinfo, no query, no fragment, nothing that moves a terminal's cursor."""
    text = url if isinstance(url, str) else repr(url)
    shown, after = "", 0
    for start, end in _secrets(text, whole=True, sure=True):
        # Of the usual form, nothing but the host is left; elsewhere the reader is told that something is missing.
        usual = _END_OF_AUTHORITY.search(text, start, end) is None and text[end : end + 1] == "@"
        shown, after = shown + text[after:start] + ("" if usual else _HIDDEN), end + 1 if usual else end
    text = re.sub(r"\?.*", "?...", (shown + text[after:]).partition("#")[0], flags=re.DOTALL)
    text = "".join(char if char.isprintable() else f"%{ord(char):02X}" for char in text)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[: _LONGEST_SHOWN - 3]}..."


def file_name(url: str) -> str:
    """Last part of a url's path, fit for a message."""
    return redact(url).rstrip("?.").rpartition("/")[2][-40:] or "download"


def hide(url: str) -> str:
    """A url, or a path, without user and password; the rest as it stands."""
    return _without(url, _secrets(url, whole=True))


def scrub(text: str) -> str:
    """A text without the users and passwords of urls in it."""
    if text.isascii() and "@" not in text and "%" not in text and not _may_start(text):
        return text  # most texts, at next to no cost
    return _scrubbed(text) if len(text) < _LONGEST_SHOWN else _without(text, _secrets(text))


def _may_start(text: str) -> bool:
    """Whether `_START` may find something."""
    return ":" in text and (":/" in text or ":\\" in text or "http" in text.lower())


@functools.lru_cache(1024)
def _scrubbed(text: str) -> str:
    # Findings say the same about many cards.
    return _without(text, _secrets(text))


def mask(text: str, *, whole: bool = False) -> str:
    """A text with an asterisk for each character of the users and passwords of urls, so that columns stay.

    Args:
        text: The text, nothing of which was cut off.
        whole: It is one url, whatever spaces and quotes are in it.
    """
    if not any(form in text for form in _AT):
        return text  # no userinfo
    spans = [(start, end) for start, end in _secrets(text, whole=whole) if text.startswith(_AT, end)]
    return _without(text, spans, "*")


def ambiguous(url: str) -> bool:
    """Whether it cannot be told where user and password of a url end: one of them is not percent-encoded."""
    found = _FIRST.match(url)
    if found is None or _last_at(url, found.end(), len(url)) is None:
        return False
    authority, *rest = _END_OF_AUTHORITY.split(url[found.end() :], maxsplit=1)
    certain = _PLAIN.fullmatch(authority.rpartition("@")[2]) and not _ODD.search(url)
    return not certain or ("@" in authority and any("@" in part for part in rest))


def _without(text: str, spans: list[tuple[int, int]], each: str | None = None) -> str:
    """The text with `...` for each span, or with `each` for each character of them."""
    pieces, at = [], 0
    for start, end in spans:
        pieces += [text[at:start], _HIDDEN if each is None else each * (end - start)]
        at = end
    return "".join([*pieces, text[at:]])


def _secrets(text: str, *, whole: bool = False, sure: bool = False) -> list[tuple[int, int]]:
    """Where in a text users and passwords stand, or may stand.

    Args:
        text: The text.
        whole: It is one url, whatever spaces and quotes are in it.
        sure: Nor is it a path, where it has no scheme.
    """
    last = _last_at(text, 0, len(text))
    spans: list[tuple[int, int]] = []
    # `//host` alone hides nobody.
    found = (_FIRST.match if whole and (last or _START.search(text)) else _START.search)(text)
    if whole and found is None and last is not None and (sure or ":" in text[: last[0]]):
        return [(0, last[0])]
    while found is not None:
        span, limit = _userinfo(text, found.end(), whole), min(len(text), found.end() + _LONGEST_URL)
        if span is not None:
            spans.append(span)
        found = _START.search(text, span[1] if span else _stop(_END_OF_AUTHORITY, text, found.end(), limit))
    return spans if whole or last is None else sorted([*spans, *_bare(text, spans)])


def _userinfo(text: str, begin: int, whole: bool) -> tuple[int, int] | None:
    """What to hide of the url whose authority begins there."""
    if text[max(0, begin - 8) : begin].lower().endswith(_CONTAINERS) and (found := _CONTAINER.match(text, begin)):
        begin = found.end()
    limit = len(text) if whole else min(len(text), begin + _LONGEST_URL)
    word = limit if whole else _stop(_END_OF_WORD, text, begin, limit)
    end = _stop(_END_OF_AUTHORITY, text, begin, word)
    name, last = text[begin:end], _last_at(text, begin, word)
    # `team/joe:password@host`: a user may hold a slash, too.
    path = text[end : _stop(_END_OF_PATH, text, end, last[0])] if last else ""
    certain = _CERTAIN.fullmatch(name) and ":" not in path
    if (certain or text[begin : last[0]] == _SSH_USER) if last else _PLAIN.fullmatch(name):
        return None
    if last is not None and _PLAIN.fullmatch(text[last[1] : _stop(_END_OF_AUTHORITY, text, last[1], word)]):
        return begin, last[0]
    # A password with spaces, quotes or a line's end in it.
    ends = (
        [limit] if whole else [found.end() for found in itertools.islice(_END_OF_LINE.finditer(text, begin, limit), 2)]
    )
    for until in [*ends, limit][:2]:
        if later := _last_at(text, begin, until):
            return begin, later[0]
    colon = name.find(":")
    # Cut off before its @, or a port that is none.
    return None if colon < 0 else (begin + colon + 1, word)


def _bare(text: str, spans: list[tuple[int, int]]) -> list[tuple[int, int]]:
    """What to hide of `user:password@host` without a scheme."""
    found, ends = [], [end for _, end in spans]
    for word in _WORD.finditer(text):
        start, end = word.span()
        at = bisect.bisect_right(ends, start)
        known = at < len(spans) and spans[at][0] < end
        last = None if known or _A_PATH.match(text, start) else _last_at(text, start, end)
        if last and ":" in text[start : last[0]].partition("@")[0] and not _START.search(text, start, end):
            found.append((start, last[0]))
    return found


def _last_at(text: str, start: int, end: int) -> tuple[int, int] | None:
    """Where the last @ begins and ends."""
    found = None
    for form in _AT:
        at = text.rfind(form, start, end)
        if at >= 0 and (found is None or at >= found[0]):
            found = at, at + len(form)
    return found


def _stop(pattern: re.Pattern[str], text: str, start: int, end: int) -> int:
    return found.start() if (found := pattern.search(text, start, end)) else end
