"""Hostile and mutated cards: the linter neither fails nor takes long, and its fixes converge.

`benchmarks/lint_mutations.py` does the same 20,000 times, and holds every bomb to the published limits.
"""

from __future__ import annotations

import ast
import os
import random
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

# Tests and benchmarks share their cards; both are in the source distribution.
sys.path.append(str(Path(__file__).resolve().parent.parent / "benchmarks"))

from lint_bombs import BOMBS, FRONT, MAX_CARD, bomb, card
from lint_mutations import CONFIG, MOST_BYTES, UID, WrongError, check_findings, check_fixes, measured, mutated, try_bomb

from mshub_ssd.cards import examine_card
from mshub_ssd.lint.engine import check_text, lint

needs_linux = pytest.mark.skipif(sys.platform != "linux", reason="reads /proc/self and forks")
# A busy machine may take several times the 200 ms that the benchmark allows; what is quadratic takes minutes.
PATIENCE = 1.0
WORST = [
    "body lines 'a\\n'",
    "body lines '\\n'",
    "body lines '- a\\n'",
    "body [",
    "body **a**b",
    "body #",
    "body no-break spaces",
    "body \u202e",
    "body comments '<!-- mshub: a -->\\n\\n'",
    "code folded text",
    "code lambdas",
    "code f-string",
    "code foreign uids",
    "one example, parentheses",
    "one example, minus",
    "one example, digits",
    "front spaces in a value",
    "front spaces in a comment",
    "front lines of spaces",
    "front suppressions",
    "front one key in braces",
    "front brackets",
    "front control characters",
    "front broken items",
    "front broken run",
    "only directives",
    "keys with trailing space",
    "keys of a broken item",
    "bare dashes",
    "long key",
    "nested keys",
    "assets of one wide line",
    "data sets to fix",
    "data sets far apart",
    "figures in lists",
    "figures in a mapping",
    "digits",
    "figures and a long file name",
    "line separators",
]


@needs_linux
@pytest.mark.parametrize("name", WORST)
def test_a_bomb_costs_little_time_and_memory(name: str) -> None:
    check_findings(card().encode(), formats=False)  # a child must not pay for the imports
    data = bomb(name)
    assert len(data) > 2000
    seconds, size, fault = try_bomb(data, PATIENCE)
    assert not fault, f"{name}: {fault}"
    assert seconds <= PATIENCE
    assert size <= MOST_BYTES


@needs_linux
@pytest.mark.parametrize("name", ["front lines of spaces", "lines of both ends", "data sets to fix", "keys to rename"])
def test_many_fixes_cost_no_more_than_their_number(name: str, tmp_path: Path) -> None:
    more = {
        "lines of both ends": card(body="\n## What\n\ntext\n" * 3000).replace("\n", "\r\n").encode(),
        "keys to rename": card(FRONT + "".join(f"evaluatio{number}: b  \n" for number in range(2000))).encode(),
    }
    data = more[name] if name in more else bomb(name, 60_000)
    file = tmp_path / "net.md"
    file.write_bytes(data)
    seconds, _ = measured(lambda: lint([file], CONFIG, fix="unsafe"))
    assert file.read_bytes() != data
    assert seconds < 3 * PATIENCE


def test_every_bomb_of_small_size_is_sound() -> None:
    for name in BOMBS:
        try:
            check_findings(bomb(name, 4000), formats=False)
        except WrongError as error:
            raise AssertionError(f"{name}: {error}") from error


@pytest.mark.parametrize("part", range(4))
def test_mutated_cards(part: int, tmp_path: Path) -> None:
    hub_models = Path(__file__).resolve().parent.parent / "hub_models"
    seeds = [file.read_bytes() for file in sorted(hub_models.rglob("*.md"))[part::4]]
    assert seeds
    for number in range(75):
        name = f"tests {part}:{number}"
        data = mutated(random.Random(name), seeds)
        try:
            check_findings(data, formats=number % 5 == 0)
            check_fixes(data, tmp_path)
        except WrongError as error:
            raise AssertionError(f"mutation {name!r}: {error}\n{data!r}") from error


@settings(max_examples=60)
@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                ["---\n", "---", "# a\n", "\n", "\r", "\r\n", "```python\n", "```\n", "    ", "- ", "[", "]("]
            ),
            st.sampled_from(
                ["asset:\n", "license: Apache2.0", "evaluation: -", "model-version: 1.10", "summary: |\n  "]
            ),
            st.sampled_from(
                ["# mshub: ignore[MC024] x", "<!-- mshub: ignore-card[MC001] y -->", "<x>", ": ", "\ufeff"]
            ),
            st.text(max_size=12),
        ),
        max_size=30,
    )
)
def test_any_text_is_checked(pieces: list[str]) -> None:
    text = "".join(pieces)
    check_findings(text.encode("utf-8", "surrogatepass"))


@settings(max_examples=40)
@given(st.binary(max_size=300))
def test_any_bytes_are_checked(data: bytes) -> None:
    check_findings(data)
    check_findings(b"# net\n\n---\n" + data + b"\n---\n" + data)


@pytest.mark.parametrize("kind", ["spaces", "NULs", "a card with a long line"])
def test_a_card_above_one_mebibyte_is_one_finding(kind: str) -> None:
    data = {
        "spaces": b" " * (MAX_CARD + 1),
        "NULs": b"\0" * (10 * MAX_CARD),
        "a card with a long line": card(body="a" * (10 * MAX_CARD)).encode(),
    }[kind]
    report = check_findings(data)
    assert [one.code for one in report.findings] == ["MC026"]
    largest = data[:MAX_CARD]
    assert [one.code for one in check_findings(largest).findings] != ["MC026"] or kind == "NULs"


@needs_linux
def test_what_lies_above_one_mebibyte_is_not_read(tmp_path: Path) -> None:
    file = tmp_path / "mindspore" / "1.7" / "net_coco2017.md"
    file.parent.mkdir(parents=True)
    file.write_bytes(card().encode())
    os.truncate(file, 1 << 40)  # a tebibyte, most of it a hole
    seconds, size = measured(lambda: lint([file], CONFIG, fix="unsafe"))
    assert seconds < PATIENCE
    assert size < 16 << 20
    report = lint([file], CONFIG, fix="unsafe")
    assert [one.code for one in report.findings] == ["MC026"]
    assert (report.checked, report.fixed) == (1, 0)
    assert file.stat().st_size == 1 << 40


def test_a_fix_changes_nothing_beside_its_place() -> None:
    """Each fix on its own, applied by a patcher of the test's own, leaves a card that no longer needs it."""
    front = (
        FRONT.replace("Apache-2.0", "Apache2.0  # the usual one")
        .replace('"1.7"', "1.10")
        .replace('"2022-06-22"', "2022-6-2")
    )
    front = front.replace("coco2017\n", "COCO2017   \n", 1).replace(
        "https://gitee.com/mindspore/models/tree/r1.7/", "<https://gitee.com/a/b/tree/r1.7/>#"
    )
    text = card(front).replace("#official/cv/net", "")
    findings = check_text(text.encode(), CONFIG, path="net_coco2017.md", uid=UID)
    fixes = [(one.code, one.fix) for one in findings if one.fix and one.fix.safe]
    assert {"MC008", "MC009", "MC024", "MC041", "MC047", "MC055"} <= {code for code, _ in fixes}
    for code, fix in fixes:
        changed = text
        for edit in sorted(fix.edits, key=lambda one: -one.start):
            changed = changed[: edit.start] + edit.text + changed[edit.end :]
        following = check_text(changed.encode(), CONFIG, path="net_coco2017.md", uid=UID)
        assert [one for one in following if one.code == code and one.fix == fix] == []
        assert len([one for one in following if one.code == code]) < len([one for one in findings if one.code == code])
        assert examine_card(changed, uid=UID).card is not None


def test_a_fix_that_would_break_the_card_does_not_hold_up_the_others(tmp_path: Path) -> None:
    text = card(FRONT.replace("Apache-2.0", "Apache2.0"))
    text = text.replace("https://gitee.com/mindspore/models/tree/r1.7/official/cv/net", "<https://example.org:>")
    file = tmp_path / "net.md"
    file.write_text(text, encoding="utf-8")
    lint([file], CONFIG, fix="safe")
    fixed = file.read_text(encoding="utf-8")
    assert "license: Apache-2.0" in fixed
    assert examine_card(fixed, uid=UID).card is not None


@pytest.mark.parametrize(
    "code",
    [
        *(
            "f(a=1, a=2)",
            "f(**a, b=1, **c)",
            "__debug__ = 1",
            "f.__debug__ = 1",
            "f(__debug__=1)",
            "import a as __debug__",
        ),
        *("from __future__ import nothing", "from a import *", "break", "return 1", "nonlocal x", "x: int = 1"),
        *(
            "*a",
            "*a = 1",
            "*a, = b",
            "a, *b, *c = d",
            "[*a, *b]",
            "lambda x, x: 1",
            "def f(x, x): 1",
            "yield 1",
            "await x",
        ),
        *("1 = a", "f() = a", "(a, f()) = b", "None = a", "a.None", "a[1:2, ...] = b", "a = -b * c / d", "del f()"),
    ],
)
def test_an_example_is_python_where_python_compiles_it(code: str) -> None:
    try:
        compile(code, "<example>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
        fits = True
    except SyntaxError:
        fits = False
    text = f"# net\n\n---\nmodel-name: net\n---\n\n## Use\n\n```python\n{code}\n```\n"
    codes = {found.code for found in check_text(text.encode(), CONFIG)}
    assert ("MC037" in codes) is not fits
