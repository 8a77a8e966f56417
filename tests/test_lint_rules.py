"""Every rule on cards that have its mistakes, and on cards that come close to them.

A rule's fixtures lie in ``tests/lint/CODE``: ``bad.md``, which the tests place as ``mindspore/1.7/ssd300_coco2017.md``,
or a tree ``bad``; ``good`` likewise; ``expected.txt``, what ``mshub validate . --select CODE`` prints in the bad tree;
``expected-fixed`` and, where they do more, ``expected-fixed-unsafe``: the cards that fixes change, afterwards. After a
change of a message or a new fixture ``REGENERATE_LINT=1 pytest tests/test_lint_rules.py`` writes the expected files
anew; read their diff before you commit it.
"""

from __future__ import annotations

import difflib
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import pytest

from mshub_ssd.lint.config import load_config
from mshub_ssd.lint.engine import FixMode, lint
from mshub_ssd.lint.formats import render
from mshub_ssd.lint.report import Report
from mshub_ssd.lint.rules import Rule, all_rules
from mshub_ssd.validation import plan_card

FIXTURES = Path(__file__).parent / "lint"
BASE = (FIXTURES / "base.md").read_text(encoding="utf-8")
PLACE = "mindspore/1.7/ssd300_coco2017.md"
REGENERATE = "REGENERATE_LINT" in os.environ
OFFLINE = {code: rule for code, rule in all_rules().items() if rule.scope != "online"}
HOW_TO = "if that is meant: REGENERATE_LINT=1 pytest tests/test_lint_rules.py, and read the diff"

# A comment can be idle only where the rule it silences runs.
ALSO_SELECTED = {"MC049": ["MC024", "MC046"]}

# What a good fixture needs to come close to its rule, and another rule remarks.
ALSO_FOUND = {
    "MC001": {"MC004", "MC046", "MC055"},  # full-width colons inside of texts
    "MC005": {"MC032", "MC053", "MC063"},  # the same keys in two assets
    "MC006": {"MC020", "MC055", "MC061"},  # fields that the official hub does not ask for; a list of data sets
    "MC007": {"MC053"},  # arguments and class names that no network takes
    "MC008": {"MC040"},  # a version without quotes that survives
    "MC009": {"MC040"},  # a date without quotes
    "MC011": {"MC046"},  # the sign \u00b1
    "MC015": {"MC055", "MC063"},
    "MC020": {"MC055"},  # a list of data sets
    "MC021": {"MC046"},  # a Chinese title
    "MC023": {"MC060"},  # a figure in the file name that was rounded otherwise
    "MC025": {"MC044"},  # a card that translates another
    "MC026": {"MC046", "MC048"},  # text beyond ASCII; a body of a mebibyte
    "MC027": {"MC053"},  # very many class names
    "MC028": {"MC053", "MC055"},
    "MC030": {"MC055"},  # a link in the summary
    "MC031": {"MC055", "MC063"},
    "MC032": {"MC055", "MC063"},
    "MC033": {"MC032", "MC063"},
    "MC038": {"MC004"},
    "MC040": {"MC055"},
    "MC041": {"MC055"},
    "MC045": {"MC046"},
    "MC048": {"MC032", "MC063"},
    "MC049": {"MC055"},  # comments that are none, in the summary
    "MC055": {"MC020", "MC021", "MC038", "MC046"},  # a full-width colon; an argument called as the model is
    "MC060": {"MC055"},  # a file of another kind than the official hub knows
}


def many(text: str, number: int) -> str:
    return ", ".join([text] * number)


# Cards of bad trees that rules about trees need to find others by.
INNOCENT = {"MC034": {"six/mindspore/1.7/ssd512_coco2017.md"}}

# Cards too large to be kept as files.
MADE: Mapping[str, Mapping[str, Callable[[], str]]] = {
    "MC026": {
        "bad/large.md": lambda: BASE.ljust((1 << 20) + 1, "x"),
        f"good/{PLACE.replace('ssd300', 'ssdlite')}": lambda: _named("ssdlite").ljust((1 << 20) - 1, "x") + "\n",
    },
    "MC027": {
        "bad/many.md": lambda: _plant(BASE, f"network: [{many('a', 10_000)}]"),
        f"good/{PLACE.replace('ssd300', 'ssdlite')}": lambda: _plant(
            _named("ssdlite"), f"classes: [{many('a', 9_900)}]"
        ),
    },
    "MC048": {
        "bad/emphasis.md": lambda: f"{BASE}\n[The paper](paper.md) {'*a* ' * 20_000}\n",
        "bad/links.md": lambda: f"{BASE}\n{'[a](' * 20_000}\n",
        "bad/quotes.md": lambda: f"{BASE}\n" + "> > > > > > a\n\n" * 2_000,
        "bad/lines.md": lambda: BASE + "\n" * 5_001,
        "bad/length.md": lambda: f"{BASE}\n{'A line of plain words. ' * 5_000}\n",
        "bad/assets.md": lambda: _plant(BASE, _assets(51)),
        f"good/{PLACE}": lambda: BASE + "\nA long body of *plain* words, `code` and [links](paper.md).\n" * 300,
        f"good/{PLACE.replace('ssd300', 'ssdlite')}": lambda: _plant(_named("ssdlite"), _assets(50)),
    },
}


def _assets(number: int) -> str:
    link = "https://example.org/ssdlite_coco2017_mAP25.17.ckpt"
    lines = [f"- file-format: ckpt\n  asset-link: {link}?{at}\n  asset-sha256: {_digest(at)}" for at in range(number)]
    return "\n".join(["asset:", *lines])


def _digest(number: int) -> str:
    return hashlib.sha256(f"file {number}".encode()).hexdigest()


def _named(name: str) -> str:
    """The base card as that of another model."""
    return BASE.replace("ssd300", name).replace("662b72854cb4", "000000000000")


def _lay_out(code: str, kind: str, folder: Path) -> dict[str, bytes]:
    """Put a rule's fixture into a folder, and tell what is in it."""
    single = FIXTURES / code / f"{kind}.md"
    if single.is_file():
        (folder / PLACE).parent.mkdir(parents=True)
        shutil.copyfile(single, folder / PLACE)
    elif (FIXTURES / code / kind).is_dir():
        shutil.copytree(FIXTURES / code / kind, folder, dirs_exist_ok=True)
    for path, make in MADE.get(code, {}).items():
        if path == f"{kind}.md":
            _write(folder / PLACE, make())
        elif path.startswith(f"{kind}/"):
            _write(folder / path.removeprefix(f"{kind}/"), make())
    return _cards(folder)


def _write(file: Path, text: str) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(text.encode("utf-8"))


def _cards(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in sorted(folder.rglob("*.md"))}


def _run(code: str | None, fix: FixMode = "none") -> Report:
    """What is found in the working folder, by one rule or by all that are on by default."""
    select = None if code is None else [code, *ALSO_SELECTED.get(code, [])]
    return lint(["."], load_config(select=select, profile="strict", use_file=False), fix=fix, planner=plan_card)


def _compare(file: Path, got: str | None, what: str) -> None:
    """Hold a text against the one in a file; None: there is none, and there must be no file."""
    if REGENERATE:
        if got is None:
            file.unlink(missing_ok=True)
        else:
            _write(file, got)
        return
    expected = file.read_bytes().decode("utf-8") if file.is_file() else None
    if got == expected:
        return
    name = str(file.relative_to(FIXTURES.parent))
    if got is None or expected is None:
        pytest.fail(f"{name} is {'not expected' if got is None else 'missing'} ({what}); {HOW_TO}", pytrace=False)
    lines = difflib.unified_diff(expected.splitlines(), got.splitlines(), name, what, lineterm="")
    pytest.fail("\n".join([*lines, HOW_TO]), pytrace=False)


# --- fixtures ---------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    place = tmp_path / "cards"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


@pytest.mark.skipif(REGENERATE, reason="the expected files are being written")
def test_every_rule_has_fixtures_and_every_fixture_a_rule() -> None:
    kinds = {
        code: {path.name.removesuffix(".md").removesuffix(".txt") for path in (FIXTURES / code).iterdir()}
        | {path.partition("/")[0].removesuffix(".md") for path in MADE.get(code, {})}
        for code in (path.name for path in FIXTURES.iterdir() if path.is_dir())
    }
    assert set(kinds) == set(OFFLINE)
    for code, found in kinds.items():
        assert {"bad", "good", "expected"} <= found, code
        assert found <= {"bad", "good", "expected", "expected-fixed", "expected-fixed-unsafe"}, code
        for fixed in (FIXTURES / code).glob("expected-fixed*/**/*.md"):
            parts = fixed.relative_to(FIXTURES / code).parts
            assert FIXTURES.joinpath(code, "bad", *parts[1:]).is_file(), f"{fixed} is of no bad card"


def test_the_base_card_is_sound(folder: Path) -> None:
    _write(folder / PLACE, BASE)
    report = _run(None)
    assert (report.checked, str(report)) == (1, "1 card checked, nothing found")


@pytest.mark.parametrize("code", OFFLINE)
def test_bad_cards_are_told_as_expected(code: str, folder: Path) -> None:
    rule = OFFLINE[code]
    cards = _lay_out(code, "bad", folder)
    report = _run(code)
    _compare(FIXTURES / code / "expected.txt", f"{render(report, 'full')}\n", f"mshub validate . --select {code}")
    found = [finding for finding in report.findings if finding.code == code]
    assert _without_finding(code, cards, report) == set()
    assert rule.severity in {finding.severity for finding in found}
    assert all(finding.name == rule.name for finding in found)
    # What the rule says about its fixes is true.
    kinds = {finding.fix.safe for finding in found if finding.fix}
    if rule.fix is None:
        assert kinds == set()
    elif rule.fix == "sometimes":
        assert kinds
    else:
        assert kinds == {rule.fix == "safe"}
    assert _cards(folder) == cards


def _without_finding(code: str, cards: Mapping[str, bytes], report: Report) -> set[str]:
    """Cards of a bad tree in which nothing was found, but for the innocent ones that tree rules need."""
    found = {finding.path for finding in report.findings if finding.code == code}
    return set(cards) - found - INNOCENT.get(code, set())


@pytest.mark.parametrize("code", OFFLINE)
def test_good_cards_are_clean(code: str, folder: Path) -> None:
    cards = _lay_out(code, "good", folder)
    report = _run(code)
    assert [str(report)] == [f"{len(cards)} card{'s' * (len(cards) > 1)} checked, nothing found"] or code == "MC049"
    everything = _run(None)
    others = {finding.code for finding in everything.findings}
    assert others == ALSO_FOUND.get(code, set()), str(everything)
    assert everything.checked == len(cards)


@pytest.mark.parametrize("mode", ["safe", "unsafe"])
@pytest.mark.parametrize("code", [code for code, rule in OFFLINE.items() if rule.fix])
def test_fixes_do_what_is_expected_and_converge(code: str, mode: FixMode, folder: Path) -> None:
    before = _lay_out(code, "bad", folder)
    fixable = {
        finding.path for finding in _run(code).findings if finding.fix and (finding.fix.safe or mode == "unsafe")
    }
    fixed = _run(code, mode)
    after = _cards(folder)
    changed = {path: data for path, data in after.items() if data != before[path]}
    assert set(changed) == fixable
    assert [finding for finding in fixed.findings if finding.fix and (finding.fix.safe or mode == "unsafe")] == []
    again = _run(code, mode)
    assert (again.fixed, _cards(folder)) == (0, after)
    assert again.findings == fixed.findings
    _compare_trees(code, mode, changed, before, folder)


def _compare_trees(
    code: str, mode: FixMode, changed: Mapping[str, bytes], before: Mapping[str, bytes], folder: Path
) -> None:
    """Hold fixed cards against the expected ones; unsafe fixes have files only for the cards they change further."""
    if mode == "unsafe":
        alone = folder.parent / "safe"
        alone.mkdir()
        _lay_out(code, "bad", alone)
        os.chdir(alone)
        _run(code, "safe")
        safe = _cards(alone)
        changed = {path: data for path, data in changed.items() if data != safe[path]}
    stem = "expected-fixed" if mode == "safe" else "expected-fixed-unsafe"
    for path in before:
        data = changed.get(path)
        single = (FIXTURES / code / "bad.md").is_file()
        file = FIXTURES / code / (f"{stem}.md" if single else f"{stem}/{path}")
        _compare(file, None if data is None else data.decode("utf-8"), f"bad cards after --{mode} fixes")


# --- the examples in the rules ----------------------------------------------------------------------------------

_IN_ASSET = ("file-format", "asset-link", "asset-sha256")
_DIGEST = "04f5361e7b26f281f3a74052374dc8de68517cd9a5cea1402943f84af3ea5808"


def _plant(text: str, example: str) -> str:
    """Put the fields of an example in the place of those of the same name."""
    example = example.replace("<64 hex digits>", _DIGEST).replace("<NUL>", "\0")
    for block in re.findall(r"^[^\s-].*\n?(?:^[\s-].*\n?)*", example, re.MULTILINE):
        key, lines = block.partition(":")[0], block.rstrip("\n") + "\n"
        if key in _IN_ASSET:
            pattern, lines = rf"(?<=[- ] ){key}:.*\n", lines
        else:
            pattern = rf"^{re.escape(key)}:.*\n(?:^[ -](?!--).*\n)*"
        text, count = re.subn(pattern, lambda _, lines=lines: lines, text, count=1, flags=re.MULTILINE)
        if not count:
            text = text.replace("license:", f"{lines}license:", 1)
    return text


def _fields(example: str, _: Rule, *, place: str = PLACE, besides: str = "") -> dict[str, str]:
    return {place: _plant(_plant(BASE, besides), example)}


def _head(example: str, _: Rule) -> dict[str, str]:
    """The example begins the card; what it leaves out is as in the base card."""
    top, _, fields = example.partition("---")
    return {PLACE: _plant(f"{top}---\n{BASE.partition('---')[2].lstrip()}", fields.strip())}


def _tail(example: str, _: Rule) -> dict[str, str]:
    """The example is the end of the front matter and the body."""
    return {PLACE: "---".join(BASE.split("---")[:2]) + example + "\n"}


def _body(example: str, _: Rule) -> dict[str, str]:
    return {PLACE: f"{BASE}\n{example}\n"}


def _snippet(example: str, _: Rule) -> dict[str, str]:
    return {PLACE: re.sub("^network = .*$", lambda _: example, BASE, flags=re.MULTILINE)}


def _twins(example: str, rule: Rule) -> dict[str, str]:
    """Two cards of one folder: one with the bad example, the other with this one."""
    return {
        PLACE.replace("ssd300", "a"): _plant(BASE, rule.bad),
        PLACE.replace("ssd300", "b"): _plant(BASE, example),
    }


def _mirrors(example: str, rule: Rule) -> dict[str, str]:
    """Two cards with different links to the same bytes, or, where the example is good, to their own."""
    own = f"asset-sha256: {_DIGEST}" if example == rule.good else ""
    return {PLACE: BASE, PLACE.replace("1.7", "1.8"): _plant(_plant(BASE, own), example)}


def _neighbours(example: str, _: Rule) -> dict[str, str]:
    """Two models of one folder, the example in the first."""
    cards = {name: _named(name) for name in ("ssdresnet34", "ssdvgg16")}
    cards["ssdresnet34"] = _plant(cards["ssdresnet34"], example)
    return {PLACE.replace("ssd300", name): text for name, text in cards.items()}


def _paths(example: str, _: Rule) -> dict[str, str]:
    # In folders of their own: not every file system tells capitals from small letters.
    return {f"{number}/{path}": BASE for number, path in enumerate(re.findall(r"\S+\.md", example))}


# Where an example is no field of the base card, or takes another place or field for granted.
HOW: dict[str, Callable[[str, Rule], dict[str, str]]] = {
    "MC004": _body,
    "MC014": _twins,
    "MC015": partial(_fields, besides="asset-link: https://example.org/net.ms"),
    "MC020": partial(_fields, place="mindspore/1.7/ssdresnet50fpn_coco2017.md"),
    "MC021": _head,
    "MC023": partial(_fields, besides="asset-link: https://example.org/net_acc79.54.ckpt"),
    "MC025": _snippet,
    "MC031": partial(_fields, place="mindspore/1.7/stpm_coco2017.md"),
    "MC034": _paths,
    "MC035": _mirrors,
    "MC036": partial(
        _fields, place="mindspore/1.10/ssd300_coco2017.md", besides="repo-link: https://example.org\nasset-link: a.ckpt"
    ),
    "MC037": _body,
    "MC038": _tail,
    "MC039": _body,
    "MC056": _neighbours,
    "MC058": _body,
}

# Examples in words.
PROSE = {
    "MC003": "byte order marks and line ends cannot be seen in a line of text",
    "MC048": "a body that is too much is too much for an example, too",
}


@pytest.mark.parametrize("code", [code for code in OFFLINE if code not in PROSE])
def test_examples_of_the_rules_are_true(code: str, folder: Path) -> None:
    rule = OFFLINE[code]
    for example, objects in ((rule.bad, True), (rule.good, False)):
        cards = HOW.get(code, _fields)(example, rule)
        here = folder / ("bad" if objects else "good")
        for path, text in cards.items():
            _write(here / path, text)
        os.chdir(here)
        report = _run(code)
        assert report.checked == len(cards)
        assert bool([finding for finding in report.findings if finding.code == code]) is objects, f"{example}\n{report}"


def test_examples_in_words_are_marked_as_such() -> None:
    marked = {code for code, rule in OFFLINE.items() if rule.bad.startswith("(") or rule.good.startswith("(")}
    assert marked == set(PROSE)


# --- comments in the card that silence findings -----------------------------------------------------------------

LICENCE = "license: Apache2.0"  # MC024
LINK = "[the paper](htps://example.org/)"  # MC039
SELECTED = ["MC013", "MC024", "MC039", "MC046", "MC049"]


def _front(fields: str) -> str:
    """The base card with these lines in the place of its licence, and no other field of their names."""
    text = BASE
    for key in re.findall(r"^([a-z][a-z-]*):", fields, re.MULTILINE):
        if key != "license":
            text = re.sub(rf"^{key}:.*\n", "", text, flags=re.MULTILINE)
    return text.replace("license: Apache-2.0", fields)


def _codes(text: str, select: list[str] | None = None) -> tuple[list[str], int]:
    """Codes of what is found in a card in the working folder, and the number of suppressed findings."""
    _write(Path(PLACE), text)
    report = lint(["."], load_config(select=select or SELECTED, use_file=False))
    return [finding.code for finding in report.findings], report.suppressed


@pytest.mark.parametrize(
    ("fields", "found"),
    [
        (f"{LICENCE}   # mshub: ignore[MC024] as published", []),
        (f"{LICENCE} #mshub:ignore[MC024]as published", []),
        (f"# mshub: ignore[MC024] as published\n{LICENCE}", []),
        (f"# mshub: ignore[MC024] as published\n\n# another comment\n\n{LICENCE}", []),
        (f"{LICENCE}   # mshub: ignore[ mc013 , MC024 ]: as published", ["MC049"]),
        (f"author: us   # mshub: ignore-card[MC024] as published\n{LICENCE}", []),
        (f"{LICENCE}\n# mshub: ignore-card[MC024] as published", []),
        # Reasons are asked for, and do not decide.
        (f"{LICENCE}   # mshub: ignore[MC024]", ["MC049"]),
        (f"{LICENCE}   # mshub: ignore[MC024] :", ["MC049"]),
        # Another line, another code, no code, no word.
        (f"author: us   # mshub: ignore[MC024] as published\n{LICENCE}", ["MC049", "MC024"]),
        (f"# mshub: ignore[MC024] as published\nauthor: us\n{LICENCE}", ["MC049", "MC024"]),
        (f"{LICENCE}\n# mshub: ignore[MC024] as published", ["MC024", "MC049"]),
        (f"{LICENCE}   # mshub: ignore[MC013] as published", ["MC024", "MC049"]),
        (f"{LICENCE}   # mshub: ignore[MC999] as published", ["MC024", "MC049"]),
        (f"{LICENCE}   # mshub: ignore[license] as published", ["MC024", "MC049"]),
        (f"{LICENCE}   # mshub: ignore[MC02] as published", ["MC024", "MC049"]),
        (f"{LICENCE}   # mshub: ignore[] as published", ["MC024", "MC049"]),
        (f"{LICENCE}   # mshub: ignore as published", ["MC024", "MC049"]),
        (f"{LICENCE}   # mshub: noqa", ["MC024", "MC049"]),
        (f"{LICENCE}   # mshub ignore[MC024] as published", ["MC024"]),
        (f"{LICENCE}   # see mshub: ignore[MC024] as published", ["MC024"]),
        # No comments to YAML.
        (f'{LICENCE}\nsummary: "# mshub: ignore-card[MC024] as published"', ["MC024"]),
        (f"{LICENCE}\nsummary: '# mshub: ignore-card[MC024] as published'", ["MC024"]),
        (f"{LICENCE}\nsummary: |\n  # mshub: ignore-card[MC024] as published", ["MC024"]),
        (f"{LICENCE}\nsummary: a#mshub:ignore-card[MC024] as published", ["MC024"]),
        (f"{LICENCE}\nsummary: <!-- mshub: ignore-card[MC024] as published -->", ["MC024"]),
    ],
)
def test_comments_in_the_front_matter(fields: str, found: list[str], folder: Path) -> None:
    codes, suppressed = _codes(_front(fields))
    assert codes == found
    assert suppressed == ("MC024" not in found)


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (f"{LINK} <!-- mshub: ignore[MC039] as published -->", []),
        (f"See <!--mshub:ignore[MC039]as published--> {LINK} and more", []),
        (f"<!-- mshub: ignore[MC039] as published -->\n{LINK}", []),
        (f"<!-- mshub: ignore[MC039] as published -->\n\n<!-- another -->\n\n{LINK}", []),
        (f"- a list\n- {LINK} <!-- mshub: ignore[MC039] as published -->", []),
        (f"<!-- mshub: ignore-card[MC039] as published -->\n\nA line.\n\n{LINK}", []),
        (f"{LINK}\n\n<!-- mshub: ignore-card[MC039] as published -->", []),
        (f"{LINK} <!-- mshub: ignore[MC039] -->", ["MC049"]),
        (f"{LINK}\n\n<!-- mshub: ignore[MC039] as published -->", ["MC039", "MC049"]),
        (f"<!-- mshub: ignore[MC039] as published -->\n\nA line.\n\n{LINK}", ["MC049", "MC039"]),
        (f"{LINK} <!-- mshub: ignore[MC013] as published -->", ["MC039", "MC049"]),
        (f"{LINK} <!-- mshub: ignored -->", ["MC039", "MC049"]),
        # No comments to Markdown.
        (f"{LINK} # mshub: ignore[MC039] as published", ["MC039"]),
        (f"{LINK} `<!-- mshub: ignore[MC039] as published -->`", ["MC039"]),
        (f"```\n<!-- mshub: ignore-card[MC039] as published -->\n```\n\n{LINK}", ["MC039"]),
        (f"    <!-- mshub: ignore-card[MC039] as published -->\n\n{LINK}", ["MC039"]),
        (f"> ```html\n> <!-- mshub: ignore-card[MC039] as published -->\n> ```\n\n{LINK}", ["MC039"]),
    ],
)
def test_comments_in_the_body(body: str, found: list[str], folder: Path) -> None:
    codes, suppressed = _codes(f"{BASE}\n{body}\n")
    assert codes == found
    assert suppressed == ("MC039" not in found)


def test_comments_work_in_broken_cards_and_with_any_line_ends(folder: Path) -> None:
    broken = _plant(BASE, f"author: us: the team\n{LICENCE}   # mshub: ignore[MC024] as published")
    assert _codes(broken, ["MC001", "MC024", "MC049"]) == (["MC001"], 1)
    for end in ("\r\n", "\r"):
        text = _plant(BASE, f"# mshub: ignore[MC024] as published\n{LICENCE}") + f"\n{LINK}\n"
        assert _codes(text.replace("\n", end)) == (["MC039"], 1)


def test_a_comment_is_idle_only_where_its_rule_runs(folder: Path) -> None:
    text = _plant(BASE, "license: Apache-2.0   # mshub: ignore[MC024, MC018, MC014] as published")
    assert _codes(text, ["MC049"]) == ([], 0)
    assert _codes(text, ["MC049", "MC024"]) == (["MC049"], 0)


def test_comments_silence_rules_about_the_tree(folder: Path) -> None:
    _write(folder / "mindspore/1.7/ssd512_coco2017.md", BASE)
    codes = ["MC014", "MC049"]
    assert _codes(BASE, codes) == (["MC014", "MC014"], 0)
    digest = re.search("asset-sha256: .*", BASE)
    assert digest
    assert _codes(_plant(BASE, f"{digest[0]}   # mshub: ignore[MC014] one file"), codes) == (["MC014"], 1)
    assert _codes(_plant(BASE, "license: MIT   # mshub: ignore-card[MC014] one file"), codes) == (["MC014"], 1)


# --- severities, cards that are let off, broken cards -----------------------------------------------------------


def test_severities_and_exceptions_come_from_the_configuration(folder: Path) -> None:
    text = _plant(BASE, f"{LICENCE}\nrepo-link: https://gitee.com/a/b/tree/master")
    _write(folder / "hub_models" / PLACE, text)
    _write(folder / "hub_models/somebody/1.0/ssd300_coco2017.md", text)
    _write(
        folder / "mshub.toml",
        'select = ["MC017", "MC024", "MC047"]\n[severity]\nMC024 = "error"\nMC017 = "info"\n'
        '[per-card-ignores]\n"somebody/*" = ["MC024"]\n"hub_models/mindspore/1.7/*.md" = ["MC017"]\n',
    )
    report = lint(["hub_models"], load_config(folder))
    assert [(finding.uid, finding.code, finding.severity) for finding in report.findings] == [
        ("mindspore/1.7/ssd300_coco2017", "MC024", "error"),
        ("somebody/1.0/ssd300_coco2017", "MC017", "info"),
    ]


def test_a_card_can_be_let_off_rules_about_the_tree(folder: Path) -> None:
    _write(folder / PLACE, BASE)
    _write(folder / "mindspore/1.7/ssd512_coco2017.md", BASE)
    _write(folder / "mshub.toml", 'select = ["MC014"]\n[per-card-ignores]\n"mindspore/1.7/ssd300*" = ["MC014"]\n')
    found = lint(["."], load_config(folder)).findings
    assert [finding.uid for finding in found] == ["mindspore/1.7/ssd512_coco2017"]


def test_a_card_that_is_let_off_needs_no_comment_and_may_have_one(folder: Path) -> None:
    _write(folder / PLACE, _plant(BASE, f"{LICENCE}   # mshub: ignore[MC024] as published"))
    _write(folder / "mshub.toml", '[per-card-ignores]\n"mindspore/*" = ["MC024"]\n')
    assert lint(["."], load_config(folder)).findings == ()


def test_a_syntax_error_hides_nothing(folder: Path) -> None:
    mistakes = {
        "MC008": "model-version: 1.10",
        "MC009": "update-time: 2022-6-22",
        "MC010": "evaluation: -",
        "MC013": "asset-sha256: d231a06e",
        "MC016": "repo-link: nowhere",
        "MC055": "train-dataset: COCO2017",
        "MC024": LICENCE,
        "MC028": "input-shape: 300",
        "MC043": "summary: ssd300 is used for cv",
    }
    text = _plant(BASE, "\n".join(mistakes.values())) + f"\n{LINK}\n"
    _write(folder / PLACE, text)
    alone = lint(["."], load_config(profile="strict", use_file=False))
    assert {finding.code for finding in alone.findings} == {*mistakes, "MC039"}
    for broken in ("author: us: the team", 'author: "us', "author: [us", "author: @us", "author: us\n  you: - me"):
        _write(folder / PLACE, _plant(text, broken))
        both = lint(["."], load_config(profile="strict", use_file=False))
        assert {finding.code for finding in both.findings} == {"MC001", *mistakes, "MC039"}, f"{broken}\n{both}"


def test_full_width_colons_hide_neither_names_nor_mistakes(folder: Path) -> None:
    """Of a card that is no YAML at all the fields are read line by line."""
    front = (
        "\u6a21\u578b\u540d\u79f0\uff1aresnet\n\u8f93\u5165\u5f62\u72b6\uff1a300\n\u8bb8\u53ef\u8bc1\uff1aApache2.0\n"
    )
    _write(folder / PLACE, f"# ssd300\n\n---\n{front}---\n\n## What it is\n\n{LINK}\n")
    codes = [
        finding.code
        for finding in lint(["."], load_config(ignore=["MC006", "MC061"], profile="strict", use_file=False)).findings
    ]
    assert sorted(codes) == ["MC001", "MC020", "MC021", "MC024", "MC039", "MC046"]


def test_a_card_whose_fields_are_all_empty_is_told_once_a_field(folder: Path) -> None:
    front = re.sub(r"^([a-z-]+):.*\n(?:^[ -](?!--).*\n)*", r"\1:\n", BASE, flags=re.MULTILINE)
    _write(folder / PLACE, front)
    report = lint(["."], load_config(profile="strict", use_file=False, select=["MC006"]))
    assert len(report.findings) == 1, "a card that holds nothing at all gets a template"
    _write(folder / PLACE, front.replace("\nsummary:", "\nmindspore-lite: none of its own\nsummary:"))
    report = lint(["."], load_config(profile="strict", use_file=False))
    codes = [finding.code for finding in report.findings]
    # All required fields, and three that are worth having.
    assert sorted(codes) == ["MC006"] * 13 + ["MC061"] * 3, str(report)


@pytest.mark.parametrize(
    "text", ["", "\n", "# ssd300\n", "---\n---\n", "---\n# a comment\n---\n", "words\n---\nwords\n"]
)
def test_what_is_no_card_at_all_gets_no_advice_about_fields(text: str, folder: Path) -> None:
    _write(folder / PLACE, text)
    report = lint(["."], load_config(select=["ALL"], use_file=False))
    errors = {finding.code for finding in report.findings}
    assert errors - {"MC038"} == {"MC001"}, str(report)
