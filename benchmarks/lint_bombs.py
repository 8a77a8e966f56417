"""Cards made to be expensive: what `lint_mutations.py` and `tests/test_lint_fuzz.py` throw at the linter.

Every bomb is a function from a size in bytes to a text; `bomb` gives the largest one of at most that size.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_CARD = 1 << 20

FRONT = """
model-name: net
backbone-name: resnet50
module-type: cv-object_detection
fine-tunable: True
model-version: "1"
train-dataset: coco2017
evaluation: "mAP: 25.1"
author: Somebody
update-time: "2022-06-22"
repo-link: https://gitee.com/mindspore/models/tree/r1.7/official/cv/net
user-id: MindSpore
used-for: inference
mindspore-version: "1.7"
asset:
- file-format: ckpt
  asset-link: https://example.org/net_coco2017_mAP25.1.ckpt
  asset-sha256: {digest}
license: Apache-2.0
summary: Finds things
""".format(digest="ab" * 32)
BODY = """
## What it is

A net that *finds* things, see [the code](https://example.org/code).

```python
import mshub_ssd as mshub

network = mshub.load("mindspore/1.7/net_coco2017")
```
"""


def card(front: str = FRONT, body: str = BODY, title: str = "# net") -> str:
    return f"{title}\n\n---\n{front}\n---\n{body}"


def _filled(unit: str, room: int) -> str:
    return unit * max(room // len(unit.encode("utf-8", "surrogatepass")), 1)


def _in_body(unit: str, start: str = "", end: str = "\n") -> Callable[[int], str]:
    return lambda room: card(body=f"\n## What it is\n\n{start}{_filled(unit, room)}{end}")


def _in_front(unit: str, start: str = "", end: str = "") -> Callable[[int], str]:
    return lambda room: card(f"{FRONT}{start}{_filled(unit, room)}{end}")


def _numbered(line: str, size: int, front: str = FRONT) -> Callable[[int], str]:
    return lambda room: card(front + "".join(line.replace("%", str(number)) for number in range(room // size)))


def _python(code: str, repeat: bool = True) -> Callable[[int], str]:
    block = f"```python\n{code}\n```\n\n"
    return lambda room: card(body=f"\n## What it is\n\n{block * (max(room // len(block), 1) if repeat else 1)}")


def _with(name: str, value: Callable[[int], str]) -> Callable[[int], str]:
    """A card whose field `name` has another value."""
    return lambda room: card(
        "\n".join(f"{name}: {value(room)}" if line.startswith(f"{name}:") else line for line in FRONT.split("\n"))
    )


def _assets(item: str) -> Callable[[int], str]:
    before, after = FRONT.split("asset:\n")[0], "license: Apache-2.0\nsummary: Finds things\n"
    return lambda room: card(f"{before}asset:\n{_filled(item, room)}{after}")


def _nested(room: int) -> str:
    keys = "".join(f"{' ' * depth}{'k' * 1000}:\n" for depth in range(18))
    return card(f"{FRONT}{keys}{' ' * 18}[{'a,' * min(room // 2, 9000)}]")


_BODIES = {
    **{name: name for name in ("[", "![", "> ", "`a", "*a_", "**a**b", "<a", "&a", "<!-- ", "](", "[a](", "\\*")},
    **{name: name for name in ("#", "-", "~", " ", "\t", "a", "\u202e", "\U0001f600", "[*`<&\\!_", "<![CDATA[")},
    **{f"lines {text!r}": text for text in ("a\n", "\n", "> a\n", ">>>>> a\n", "> a\nb\n", "- a\n", "- a\n\n")},
    **{f"lines {text!r}": text for text in ("1. a\n", "#\n\n", "# a:\n", "***\n", "---\n", "=\n", "a\n=\n", "a  \n")},
    **{
        f"lines {text!r}": text
        for text in ("\ta\n", "   \n", "|a|b|\n", "<div>\n\n", "```\n", "~~~\n\n", "\r", "a\r\n")
    },
    **{f"lines {text!r}": text for text in ("[a]: b\n", "[a]: b\n\n", "[a]: b '\n", "[]: a\n", "<!-- a -->\n")},
    **{
        f"links {text!r}": text for text in ("[a](b) ", "[]() ", "[a](b c) ", "[a](x:y) ", "[a](\u00e9) ", "<http://a>")
    },
    **{f"comments {text!r}": text for text in ("<!-- mshub: ignore[MC001] x -->\n", "<!-- mshub: a -->\n\n")},
    "comments in text": "a <!-- mshub: ignore[MC001] x -->\n\n",
    "no-break spaces": "a\u00a0",
    "zero-width spaces": "a\u200b",
}
_CODES = {
    "parentheses": "(" * 150 + ")" * 150,
    "minus": "-" * 2000 + "1",
    "not": "not " * 1200 + "1",
    "digits": "9" * 5000,
    "list": "[" + "1," * 2400 + "]",
    "names": "a;" * 2400,
    "calls": "a" + "()" * 2400,
    "attributes": "a" + ".b" * 2400,
    "sum": "a" + "+a" * 2400,
    "folded text": '"a"*4000+' * 500 + '""',
    "folded power": "2**" * 1600 + "1",
    "folded shift": "x = 1 << (1 << 40)",
    "folded tuple": "x = (1,) * 1000000000",
    "lambdas": "lambda:" * 700 + "1",
    "comparisons": "a" + "<a" * 2400,
    "f-string": 'f"' + "{a}" * 1600 + '"',
    "conditions": "if a: pass\n" + "elif a: pass\n" * 380,
    "comprehensions": "[" * 60 + "a" + " for a in b]" * 60,
    "blocks": "\n".join(" " * depth + "if 1:" for depth in range(80)),
    "small": "a=1",
    "broken": "x=(",
    "commands": "%a\n" * 1600,
    "session": ">>> a=1\n" * 600,
    "foreign uids": "import mshub\n" + 'mshub.load("a/b")\n' * 250,
    "spaces": " " * 4500 + "a",
}
_FRONTS = {
    "spaces in a value": ("  ", "note: y", "y"),
    "spaces in a comment": ("  ", "# mshub: ignore[MC001] a", "y"),
    "dashes in a comment": ("--", "# mshub: ignore[MC001] a", "y"),
    "lines of spaces": (" \n", "", ""),
    "blank lines": ("\n", "", ""),
    "lines of carriage returns": ("\r", "", ""),
    "comments": ("# a \n", "", ""),
    "suppressions": ("# mshub: ignore[MC001] x\n", "", ""),
    "unreadable suppressions": ("# mshub:\n", "", ""),
    "suppressions behind values": ("- 1 # mshub: ignore[MC001] x\n", "note:\n", ""),
    "one key": ("a: b\n", "", ""),
    "one key in braces": ("a: 1,", "note: {", "}"),
    "keys in braces of lists": ("{a: b},", "note: [", "]"),
    "list": ("a,", "note: [", "]"),
    "brackets": ("[", "", ""),
    "braces": ("{", "", ""),
    "dashes of lists": ("- ", "", ""),
    "question marks": ("? ", "", ""),
    "anchors": ("&a ", "", ""),
    "aliases": ("- *a\n", "", ""),
    "tags": ("! ", "", ""),
    "documents": ("...\n", "", ""),
    "escapes": ("\\u0041", 'note: "', '"'),
    "half characters": ("\\ud800", 'note: "', '"'),
    "open quote": ("a", 'note: "', ""),
    "block text": ("  a\n", "note: |\n", ""),
    "folded text": ("  a\n\n", "note: >\n", ""),
    "text over lines": (" a\n", "note: b\n", ""),
    "tabs": ("\t", "", ""),
    "colons": (": ", "", ""),
    "control characters": ("\x01", "", ""),
    "marks": ("\ufeff", "", ""),
    "next lines": ("\u0085", "", ""),
    "directions": ("\u202e", "note: ", ""),
    "broken items": ("- a: b\n", "x: a: b\nasset: [\n", ""),
    "broken run": (" ", "x: a: b\nk: y", "y ["),
    "broken words": ("a ", "x: a: b\nk: [\n", ""),
    "broken letters": ("a", "x: a: b\nk: [\n", ""),
    "broken fields": ("k: b\n", "x: a: b\n", ""),
    "chinese items": ("- a\uff1a b\n", "\u6a21\u578b\u540d\u79f0\uff1a x\n\u8d44\u6e90\uff1a\n", ""),
    "directives": ("%FOO a\n", "", ""),
}
BOMBS: dict[str, Callable[[int], str]] = {
    **{f"body {name}": _in_body(unit) for name, unit in _BODIES.items()},
    **{f"code {name}": _python(code) for name, code in _CODES.items()},
    **{f"one example, {name}": _python(code * 7, repeat=False) for name, code in _CODES.items()},
    **{f"front {name}": _in_front(*parts) for name, parts in _FRONTS.items()},
    "only directives": lambda room: card("".join(f"%TAG !a{number}! x\n" for number in range(room // 15))),
    "keys": _numbered("key%: b\n", 12),
    "keys with trailing space": _numbered("key%: b  \n", 14),
    "keys with suppressions": _numbered("key%: b # mshub: ignore[MC007] x\n", 36),
    "keys that are nearly right": _numbered("evaluatio%: b\n", 18),
    "keys of a broken item": _numbered(" a%: b\n", 10, "x: a: b\nasset: [\n"),
    "broken lists": lambda room: card("x: a: b\n" + "".join(f"k{n}: [{'a,' * 9000}]\n" for n in range(room // 18_010))),
    "broken lists, dashes": lambda room: card(
        "x: a: b\n" + "".join(f"k{number}: [{'a,' * 2000}-]\n" for number in range(room // 4010))
    ),
    "bare dashes": lambda room: card(
        "".join(f"k{number}: [{'a,' * 270}]\n" for number in range(min(room // 550, 36)))
        + "".join(f"d{number}: -\n" for number in range(40))
    ),
    "nested keys": _nested,
    "long key": lambda room: card(f"{FRONT}? {'k' * (room // 2)}\n: [{'a,' * min(room // 4, 9000)}]"),
    "assets without anything": _assets("- {}\n"),
    "assets of nothing": _assets("-\n"),
    "assets of one line": _with("asset", lambda room: "[" + _filled("{a: b},", room) + "]"),
    "assets of one wide line": _with("asset", lambda room: "[" + _filled("{\u00e9\U0001f600: b},", room) + "]"),
    "assets nearly right": _assets("- {asset-lin: b, asset-sha: b, file-forma: x}\n"),
    "assets alike": _assets(f"- asset-link: http://example.org/a.pt\n  asset-sha256: {'ab' * 32}\n"),
    "assets missing": _assets("- asset-link: nowhere.ckpt\n"),
    "data sets": _with("train-dataset", lambda room: "[" + _filled("none,", room) + "]"),
    "data sets to fix": _with("train-dataset", lambda room: "[" + _filled("COCO2017,", room) + "]"),
    "data sets far apart": _with("train-dataset", lambda room: ("none," + " " * (room // 100)) * 90 + "a"),
    "figures": _with("evaluation", lambda room: '"' + _filled("a1|", room) + '"'),
    "figures in lists": _with("evaluation", lambda room: "[" + _filled("a1|" * 50 + "a1,", room) + "]"),
    "figures in a mapping": lambda room: _with(
        "evaluation", lambda _: "{" + ",".join(f"a{number}: 1" for number in range(min(room // 8, 300_000))) + "}"
    )(room),
    "figures of no value": _with(
        "evaluation", lambda room: "{" + ",".join(f"a{number}: x" for number in range(min(room // 12, 4900))) + "}"
    ),
    "digits": _with("evaluation", lambda room: _filled("a" + "1" * 190 + "x|", room)),
    "digits in a list": _with("evaluation", lambda room: "[" + _filled("a" + "1" * 190 + "x,", room) + "]"),
    "figures and a long file name": lambda room: _with(
        "evaluation", lambda _: '"' + "|".join("a: 1" for _ in range(100)) + '"'
    )(room).replace("net_coco2017_mAP25.1", "a" * (room - 2000)),
    "escaped file name": lambda room: card().replace("net_coco2017", "%41" * (room // 3)),
    "many folders": lambda room: card().replace("/tree/r1.7", "/tree" * (room // 5)),
    "licence": _with("license", lambda room: _filled("x y ", room)),
    "licence in parentheses": _with("license", lambda _: "(" * 90 + "MIT" + ")" * 90),
    "summary": _with("summary", lambda room: _filled("a is used for ", room)),
    "model-name": _with("model-name", lambda room: _filled("N_", room)),
    "version": _with("mindspore-version", lambda room: "1" * room),
    "digest": _with("asset", lambda room: f"[{{asset-link: https://example.org/a.ckpt, asset-sha256: {'a' * room}}}]"),
    "title": lambda room: card(title="# " + _filled("n ", room)),
    "title of hashes": lambda room: card(title="# a" + _filled(" #", room)),
    "blank lines before": lambda room: "\n" * room + card(),
    "fences that are none": lambda room: _filled("--- x\n", room),
    "NULs": lambda room: "\0" * room,
    "line feeds": lambda room: "\n" * room,
    "carriage returns": lambda room: "\r" * room,
    "line separators": lambda room: _filled("\u2028", room),
}


def bomb(name: str, size: int = MAX_CARD) -> bytes:
    """A bomb of at most `size` bytes."""
    room = size
    while True:
        data = BOMBS[name](room).encode("utf-8", "surrogatepass")
        if len(data) <= size or room < 2:
            return data
        room -= max(len(data) - size, room // 100, 1)
