"""Figures as regular expressions of the kind that JSON Schema knows: what `mshub_ssd.cards.metrics` reads.

Nothing that it refuses is accepted. There are no lookbehinds and no flags, which many validators lack.
"""

from __future__ import annotations

from mshub_ssd.cards.metrics import MONTHS, NEVER_NEGATIVE, ROUGH_WORDS

__all__ = ["figure_value_pattern", "figures_pattern"]

_UNSIGNED = r"(?:[0-9]{1,200}(?:\.[0-9]{0,200})?|\.[0-9]{1,200})(?:[eE][-+]?[0-9]{1,2})?"
_SPREAD = rf"[ \t]*(?:\u00b1|\+/?-)[ \t]*{_UNSIGNED}"
# 12 % ± 1 is unclear.
_UNITS = rf"(?:{_SPREAD}(?:[ \t]*%)?|[ \t]*%(?:{_SPREAD}[ \t]*%)?)?"
# Latin, Greek, Cyrillic, kana, Chinese and Korean letters.
_ABC = (
    r"\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u02af\u0388-\u038a\u038e-\u03a1\u03a3-\u03f5\u0400-\u0481\u048a-\u0523"
    r"\u3041-\u3096\u30a1-\u30fa\u3400-\u4db5\u4e00-\u9fff\uac00-\ud7a3"
)
_LETTER = rf"[A-Za-z{_ABC}]"
_SPACE = r"[ \t]"
_DECIMAL = r"(?!0?\.(?:50?|75|95)(?![0-9]))[0-9]*\.[0-9]+%?"
_IN_FRONT = r"(?:[^|]*[^=@.0-9|])?"

_END = rf"{_UNITS}{_SPACE}*(?=\||$)"
_FIGURE = rf"[-+]?{_UNSIGNED}{_END}"
_REST = rf"(?:\.[0-9]*)?(?:[eE][-+]?[0-9]+)?{_END}"
# Not the e of 1e3.
_NAME = rf"(?:[A-DF-Za-df-z{_ABC}]|[Ee](?![-+]?[0-9]))"

# Never in a figure: acc76.1, top5acc93.0 and its like, 24,08, mAP@0.5:0.95.
_NEVER = (
    r"[^|]{201}",
    r"[^|]*[0-9]%?[ \t]*[,;\uff0c\uff1b\u3001]",
    r"[^|]*[0-9]\.[0-9]+%?[ \t]*[/&]",
    rf"(?:[^|]*[^0-9|])?[:\uff1a][ \t]*[0-9]+(?:\.[0-9]+)?%?[ \t]+{_LETTER}",
    rf"{_IN_FRONT}{_DECIMAL}[ \t]+{_LETTER}",
    rf"[^|]*=[ \t]*[0-9]+(?:\.[0-9]+)?%?[ \t]+{_LETTER}[^|]*=",
    rf"[^|]*(?:@\[?0?\.[0-9]+(?::0?\.[0-9]+)?|50)[:=\uff1a\uff1d][0.]*95{_END}",
)


def _any_case(text: str) -> str:
    return "".join(f"[{letter}{letter.upper()}]" if letter.isalpha() else letter for letter in text)


def _words(words: tuple[str, ...]) -> str:
    return "|".join(map(_any_case, words))


# Never where no colon or equals sign parts name and value: mAP about 25, v1.10, June 2022, 12 345, acc-76.1.
_NEVER_UNPARTED = (
    r"[^|]*[:\uff1a][ \t]",
    r"[^|]*[ \t]=[ \t]",
    rf"(?:[^|]*[ \t:=(])?(?:{_words(ROUGH_WORDS)})\.?[ \t]*{_FIGURE}",
    rf"(?:[^|]*[ \t])?(?:{_words(('v', 'ver', 'version', 'release'))})\.?[ \t]*{_FIGURE}",
    rf"(?:[^|]*[ \t,])?(?:{_words(MONTHS)})\.?(?:[ \t]+[0-9]{{1,2}}\.?)?[ \t]*[-+]?[0-9]+{_END}",
    rf"[^|]*[0-9][ \t]+(?!100(?![0-9]))[0-9]{{3}}(?![0-9]){_REST}",
    rf"(?:[^|]*[^A-Za-z0-9|])?[0-9]{{1,3}}[ \t]+[0-9]{{3}}(?![0-9]){_REST}",
    rf"{_IN_FRONT}{_DECIMAL}[ \t]+{_FIGURE}",
    rf"[^|]*[0-9][ \t.xX\u00d7*]*[xX\u00d7*^eE][ \t]+{_FIGURE}",
    rf"[^|]*[0-9][ \t.xX\u00d7*]*[xX\u00d7*][ \t.xX\u00d7*]*[xX\u00d7*^eE]?{_FIGURE}",
    rf"[^|]*(?:{_words(NEVER_NEGATIVE)})-{_UNSIGNED}{_END}",
    rf"[^|]*[0-9]_[-+]?[0-9]{{3}}{_END}",
    rf"[^|]*[0-9][ \t]*[-\u2013\u2014][ \t]*{_UNSIGNED}{_END}",
)


def _none_of(patterns: tuple[str, ...]) -> str:
    return "".join(f"(?!{pattern})" for pattern in patterns)


def figure_value_pattern() -> str:
    """What the value of a mapping may be as text: ``0.12 ± 0.01``, ``64.8 %``."""
    return rf"^{_SPACE}*[-+]?{_UNSIGNED}{_UNITS}{_SPACE}*$"


def figures_pattern() -> str:
    """What an evaluation may be as text: ``top1acc64.82 | top5acc: 85.66``."""
    parted = rf"[^|\r\n]*[^|\s@:=\uff1a\uff1d]{_SPACE}*[:=\uff1a\uff1d][ \t:=\uff1a\uff1d]*{_FIGURE}"
    # A dash with spaces around it parts, too.
    before = rf"(?:[A-Za-z0-9_)\]%*'\u2191\u2193{_ABC}]|{_LETTER}\.|[^|0-9]{_SPACE}-)"
    behind_a_gap = rf"[^|\r\n]*{before}{_SPACE}+{_FIGURE}"
    last = rf"(?:[A-DF-WYZa-df-wyz_)\]%\u2191\u2193{_ABC}]|[^0-9.|\s][EXex])"
    unparted = rf"[^|\r\n]*{last}(?![-+]?\.){_FIGURE}"
    free = rf"{_none_of(_NEVER_UNPARTED)}(?:{behind_a_gap}|{unparted})"
    one = rf"{_SPACE}*{_none_of(_NEVER)}(?=[^|]*{_NAME})(?:{parted}|{free})"
    return rf"^(?:{one}(?:\|(?!$)|$))+$"
