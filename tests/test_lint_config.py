"""Which rules run and what is left out: the configuration file, and the baseline of old debt."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from lintcards import UID, put

from mshub_ssd.errors import UsageError
from mshub_ssd.lint.baseline import Baseline
from mshub_ssd.lint.config import KEYS, Config, load_config, nearest_rule
from mshub_ssd.lint.engine import lint
from mshub_ssd.lint.finding import Finding
from mshub_ssd.lint.rules import all_rules

ALL = set(all_rules())
DEFAULT = {code for code, rule in all_rules().items() if rule.profile == "default"}


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder without a configuration above it that a test would not expect."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def configured(here: Path, text: str, **options: Any) -> Config:
    (here / "mshub.toml").write_text(text, encoding="utf-8")
    return load_config(here, **options)


def codes_of(config: Config, *paths: Path) -> list[str]:
    return sorted(finding.code for finding in lint(paths, config).findings)


# --- which file


def test_without_a_file_the_defaults_hold(here: Path) -> None:
    config = load_config(here)
    assert config.enabled == DEFAULT
    assert {"MC024", "MC047"} < ALL - DEFAULT
    assert (config.severities, config.ignores, config.exclude, config.roots) == ({}, (), (), ())
    assert (config.baseline, config.file, config.base) == (None, None, here)


def test_the_nearest_file_above_the_path_holds(here: Path) -> None:
    deep = here / "a" / "b"
    deep.mkdir(parents=True)
    (here / "mshub.toml").write_text('ignore = ["MC013"]')
    (here / "a" / "pyproject.toml").write_text('[tool.mshub]\nignore = ["MC057"]')
    assert load_config(deep / "card.md").enabled == DEFAULT - {"MC057"}
    assert load_config(deep).file == here / "a" / "pyproject.toml"
    assert load_config(here).enabled == DEFAULT - {"MC013"}
    assert load_config().file == here / "mshub.toml", "the working folder counts where there is no path"
    assert load_config(Path("a/b/not-there.md")).base == here / "a"


def test_in_one_folder_mshub_toml_wins(here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.mshub]\nignore = ["MC057"]')
    assert load_config(here).enabled == DEFAULT - {"MC057"}
    (here / "mshub.toml").write_text('ignore = ["MC013"]')
    assert load_config(here).enabled == DEFAULT - {"MC013"}


@pytest.mark.parametrize("text", ["[project]\nname = 'x'", "[tool.other]\nmshub = 1", "not = [toml", 'tool = "mshub"'])
def test_a_pyproject_that_says_nothing_to_us_is_passed_over(here: Path, text: str) -> None:
    below = here / "below"
    below.mkdir()
    (below / "pyproject.toml").write_text(text)
    (here / "mshub.toml").write_text('ignore = ["MC013"]')
    assert load_config(below).file == here / "mshub.toml"


def test_a_file_can_be_named_or_refused(here: Path) -> None:
    (here / "mshub.toml").write_text("nonsense = 1")
    other = here / "other" / "strict.toml"
    other.parent.mkdir()
    other.write_text('select = ["ALL"]\nexclude = ["old/*"]')
    assert load_config(here, use_file=False).enabled == DEFAULT
    config = load_config(here, file=other)
    assert (config.enabled, config.base) == (ALL, other.parent)
    shared = here / "pyproject.toml"
    shared.write_text("[project]\nname = 'x'")
    for missing in (here / "none.toml", shared):
        with pytest.raises(UsageError, match=str(missing)):
            load_config(here, file=missing)


# --- what it says


def test_rules_are_chosen_by_code_beginning_and_all(here: Path) -> None:
    twenties = {code for code in ALL if code.startswith("MC02")}
    assert configured(here, 'select = ["MC02", "mc013"]').enabled == twenties | {"MC013"}
    assert configured(here, 'select = ["ALL"]\nignore = ["MC02"]').enabled == ALL - twenties
    assert configured(here, 'ignore = ["MC013"]').enabled == DEFAULT - {"MC013"}
    assert configured(here, "select = []").enabled == set()


def test_the_command_lines_select_replaces_and_its_ignore_adds(here: Path) -> None:
    text = 'select = ["MC013", "MC017"]\nignore = ["MC017"]\nseverity.MC020 = "off"'
    assert configured(here, text, ignore=["MC013"]).enabled == set()
    twenties = {code for code in ALL if code.startswith("MC02")}
    assert configured(here, text, select=["MC02"]).enabled == twenties - {"MC020"}
    assert configured(here, text, select=["MC01"]).enabled == {c for c in ALL if c.startswith("MC01")} - {"MC017"}
    # Who names a rule wants to see it.
    assert configured(here, text, select=["MC020", "MC017"]).enabled == {"MC020", "MC017"}
    assert configured(here, text, select=["MC020"], ignore=["MC020"]).enabled == set()


def test_severities_can_be_changed_and_the_narrower_word_wins(here: Path) -> None:
    put(here, "MC013", "MC057")
    config = configured(here, '[severity]\nMC013 = "info"\nMC05 = "error"\nALL = "warning"\nMC02 = "off"')
    found = {finding.code: finding.severity for finding in lint([here], config).findings}
    assert found == {"MC013": "info", "MC057": "error"}
    assert not {code for code in config.enabled if code.startswith("MC02")}
    assert config.severities["MC006"] == "warning"


def test_cards_can_be_let_off_by_uid_and_by_path(here: Path) -> None:
    first = put(here / "hub_models", "MC013", "MC057")
    second = put(here / "hub_models", "MC013", uid="own/1.1/net_coco2017")
    only_first = codes_of(load_config(here), first)
    both = codes_of(load_config(here), first, second)
    assert "MC013" in only_first
    assert both.count("MC013") == 2
    for glob in (UID, "own/1.0/*", "hub_models/own/1.0/*.md", "./hub_models/own/1.0/*", "*/1.0/*"):
        config = configured(here, f'[per-card-ignores]\n"{glob}" = ["MC013", "MC057"]')
        assert codes_of(config, first) == [code for code in only_first if code not in ("MC013", "MC057")], glob
        assert codes_of(config, second).count("MC013") == 1, glob


def test_paths_are_relative_to_the_file_whatever_the_working_folder(
    here: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    card = put(here / "hub", "MC013", uid="cards/net_coco2017")
    put(here / "hub", "MC013", uid="old/net_coco2017")
    config = '[per-card-ignores]\n"hub/cards/*.md" = ["MC013"]\n"hub/old/*.md" = ["MC057"]'
    (here / "mshub.toml").write_text(config + "\n", encoding="utf-8")
    for folder in (here, here / "hub", here / "hub" / "cards", here.parent):
        monkeypatch.chdir(folder)
        assert "MC013" not in codes_of(load_config(card), card), folder


def test_excluded_folders_and_files_are_not_looked_at(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here, "MC013", uid="old/1.0/net_coco2017")
    kept = put(here, "MC013")
    for glob in ("old", "old/", "old/*", "*/net_coco2017.md"):
        left = lint([here], configured(here, f'exclude = ["{glob}"]')).checked
        assert left == (0 if glob.startswith("*") else 1), glob
    configured(here, 'exclude = ["old"]')
    monkeypatch.chdir(kept.parent)
    assert lint([here], load_config(here)).checked == 1


def test_roots_say_what_a_uid_begins_with(here: Path) -> None:
    card = put(here / "assets" / "cards", uid="own/1.0/net_coco2017")
    config = configured(here, 'roots = ["assets"]')
    assert config.roots == (here / "assets",)
    assert {finding.uid for finding in lint([card], config).findings} == {"cards/own/1.0/net_coco2017"}
    assert codes_of(configured(here, 'roots = ["assets/cards"]'), card) == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("selekt = []", ["selekt", "'select'"]),
        ("per_card_ignores = {}", ["per_card_ignores", "'per-card-ignores'"]),
        ("xyz = 1", ["xyz", "severity"]),
        ("[tool.mshub]\nignore = []", ["tool", "at the top"]),
        ('select = "MC013"', ["select", "a list of texts", "'MC013'"]),
        ("ignore = [13]", ["ignore", "a list of texts", "[13]"]),
        ('ignore = [""]', ["ignore", "a list of texts"]),
        ('ignore = ["MC999"]', ["MC999", "ignore", "--list-rules"]),
        ('ignore = ["MC13"]', ["MC13", "MC013 (malformed-digest)"]),
        ('select = ["malformed-digests"]', ["MC013 (malformed-digest)"]),
        ('select = ["MC013x"]', ["MC013x"]),
        ('select = ["M"]', ["'M'"]),
        ('severity = "error"', ["severity", "a table [severity]"]),
        ('severity.MC013 = "warn"', ["severity.MC013", "'off'", "did you mean 'warning'"]),
        ("severity.MC013 = false", ["severity.MC013", "False"]),
        ('severity.MC777 = "error"', ["MC777", "severity"]),
        ("per-card-ignores = []", ["per-card-ignores", "a table"]),
        ('per-card-ignores."a/*" = "MC013"', ["a/*", "a list of texts"]),
        ('per-card-ignores."a/*" = ["MC1234"]', ["MC1234"]),
        ("exclude = 3", ["exclude", "a list of texts"]),
        ('roots = ["not-there"]', ["roots", "not-there"]),
        ("baseline = true", ["baseline", "a path"]),
        ('baseline = "none.json"', ["none.json", "--update-baseline"]),
        ("select = [", ["not valid TOML"]),
        ("# \udcff", ["not valid TOML"]),
        ("a" + "[" * 100_000, ["not valid TOML"]),
    ],
)
def test_what_makes_no_sense_is_refused_with_place_and_hint(here: Path, text: str, said: list[str]) -> None:
    (here / "mshub.toml").write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(UsageError) as caught:
        load_config(here)
    told = str(caught.value)
    for part in ["mshub.toml" if "none.json" not in text else "next: ", *said]:
        assert part in told
    assert caught.value.hint


def test_in_a_pyproject_the_message_names_the_table(here: Path) -> None:
    (here / "pyproject.toml").write_text('[tool.mshub]\nseverity = "x"')
    with pytest.raises(UsageError, match=r"tool\.mshub\.severity.*\n.*pyproject.toml\n.*\[tool\.mshub\.severity\]"):
        load_config(here)
    (here / "pyproject.toml").write_text("[tool]\nmshub = 3")
    with pytest.raises(UsageError, match=r"tool\.mshub is no table"):
        load_config(here)


def test_a_wrong_code_on_the_command_line_says_which_option(here: Path) -> None:
    with pytest.raises(UsageError, match="--select"):
        load_config(here, select=["MC13"])
    with pytest.raises(UsageError, match="--ignore"):
        load_config(here, ignore=["digest"])


@given(st.text(max_size=12) | st.sampled_from(["MC13", "mc0013", "0", "MC", "12345678901234567890"]))
def test_the_nearest_rule_is_a_rule_or_none(text: str) -> None:
    near = nearest_rule(text)
    assert near is None or near.split()[0] in ALL


@given(
    st.dictionaries(
        st.sampled_from(KEYS) | st.text("abc-", min_size=1, max_size=9),
        st.recursive(
            st.booleans() | st.integers(0, 99) | st.sampled_from(["MC013", "error", "off", "x/*", ""]),
            lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["MC013", "ALL", "g"]), inner),
        ),
    )
)
def test_whatever_a_file_holds_is_understood_or_refused(
    tmp_path_factory: pytest.TempPathFactory, values: dict[str, Any]
) -> None:
    def toml(value: Any) -> str:
        if isinstance(value, dict):
            return "{" + ", ".join(f"{json.dumps(key)} = {toml(item)}" for key, item in value.items()) + "}"
        return json.dumps(value) if not isinstance(value, list) else f"[{', '.join(map(toml, value))}]"

    path = tmp_path_factory.mktemp("config") / "mshub.toml"
    path.write_text("\n".join(f"{key} = {toml(value)}" for key, value in values.items()))
    try:
        config = load_config(file=path)
    except UsageError as error:
        refusal = error
    else:
        assert set(values) <= set(KEYS)
        assert config.enabled <= ALL
        return
    assert refusal.where
    assert refusal.hint


# --- the baseline


def finding(code: str = "MC013", line: str = "a: b", path: str = "x.md", number: int = 1) -> Finding:
    return Finding(code, "name", "error", path, None, number, 1, number, 2, "message", excerpt=line)


def written(here: Path, *findings: Finding, name: str = "base.json") -> Path:
    path = here / name
    Baseline(path.parent).updated(findings).write(path)
    return path


def test_known_findings_are_told_no_more_and_new_ones_are(here: Path) -> None:
    known = Baseline.load(written(here, finding(), finding("MC017"), finding(path="y.md")))
    new = [finding("MC020"), finding(line="a: c"), finding(path="z.md")]
    assert known.filter([finding(), finding("MC017"), finding(path="y.md"), *new]) == (new, 3, 0)
    assert known.filter([finding()]) == ([], 1, 2)
    assert known.filter([finding(number=77, line="   a: b\t")])[:2] == ([], 1), "moved and indented, still known"


def test_equal_lines_are_counted(here: Path) -> None:
    known = Baseline.load(written(here, finding(number=1), finding(number=9)))
    third = finding(number=20)
    assert known.filter([finding(number=2), finding(number=10), third]) == ([third], 2, 0)
    assert known.filter([finding(number=2)]) == ([], 1, 1)


def test_the_file_is_sorted_stable_and_one_line_an_entry(here: Path) -> None:
    findings = [finding(path=path, code=code) for path in ("b.md", "a/x.md") for code in ("MC020", "MC013")]
    first = written(here, *findings).read_bytes()
    assert written(here, *reversed(findings), name="again.json").read_bytes() == first
    more = written(here, *findings, finding(line="new: 1"), name="more.json").read_text().splitlines()
    added = set(more) - set(first.decode().splitlines())
    assert '    "new: 1": 1' in added
    assert first.endswith(b"}\n")


def test_paths_are_relative_to_the_file(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "sub").mkdir()
    path = written(here, finding(path=str(here / "sub" / "x.md")), finding(path="../up.md", line="u"))
    assert set(json.loads(path.read_text())["cards"]) == {"sub/x.md", "../up.md"}
    monkeypatch.chdir(here / "sub")
    assert Baseline.load(path).filter([finding(), finding(path="../../up.md", line="u")]) == ([], 2, 0)


def test_what_a_run_did_not_look_at_is_neither_outdated_nor_lost(here: Path) -> None:
    for name in ("x.md", "y.md"):
        (here / name).touch()
    entries = [finding(), finding("MC017"), finding(path="y.md"), finding(path="gone.md")]
    known = Baseline.load(written(here, *entries))
    assert known.filter([], cards=["x.md"], codes=["MC013"]) == ([], 0, 2)  # one healed, one's card is gone
    assert known.filter([], cards=["x.md", "y.md"]) == ([], 0, 4)
    later = known.updated([finding("MC013", "other")], cards=["x.md"], codes=["MC013"])
    assert known.change_to(later) == (1, 2)
    assert later.filter([finding("MC017"), finding(path="y.md"), finding("MC013", "other")]) == ([], 3, 0)


def test_what_compares_cards_is_outdated_only_where_the_others_are_looked_at(here: Path) -> None:
    for name in ("x.md", "y.md", "z.md"):
        (here / name).touch()
    assert all_rules()["MC014"].scope == "tree"
    known = Baseline.load(written(here, finding("MC014"), finding(path="y.md")))
    assert known.filter([], cards=["x.md"]) == ([], 0, 0)
    assert known.filter([], cards=["x.md", "z.md"]) == ([], 0, 0)
    assert known.filter([], cards=["x.md", "y.md"]) == ([], 0, 2)
    (here / "y.md").unlink()
    assert known.filter([], cards=["x.md", "z.md"]) == ([], 0, 2)


_LINES = st.text(st.characters(codec="utf-8"), max_size=40) | st.text("ab\u202e\x9b", min_size=150, max_size=400)


@given(st.lists(st.tuples(st.sampled_from(["MC013", "MC020"]), _LINES, st.sampled_from(["a.md", "é/b.md"]))))
def test_whatever_the_lines_hold_the_file_knows_them_again(
    tmp_path_factory: pytest.TempPathFactory, rows: list[tuple[str, str, str]]
) -> None:
    findings = [finding(code, line, path) for code, line, path in rows]
    path = tmp_path_factory.mktemp("baseline") / "base.json"
    Baseline(path.parent).updated(findings).write(path)
    text = path.read_text(encoding="utf-8")
    assert all(char == "\n" or char.isprintable() for char in text)
    known = Baseline.load(path)
    assert known.filter(findings) == ([], len(findings), 0)
    assert len(known) == len(findings)


def test_a_line_of_a_mebibyte_does_not_fill_the_file(here: Path) -> None:
    long, other = finding(line="a" * 1_000_000), finding(line="a" * 999_999 + "b")
    path = written(here, long)
    assert path.stat().st_size < 1000
    assert Baseline.load(path).filter([long, other]) == ([other], 1, 0)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xff",
        b"[]",
        b"{}",
        b'{"findings": []}',
        b"[" * 100_000,
        b'{"mshub-baseline": 2, "cards": {}}',
        b'{"mshub-baseline": 1}',
        b'{"mshub-baseline": 1, "cards": []}',
        b'{"mshub-baseline": 1, "cards": {"a": 1}}',
        b'{"mshub-baseline": 1, "cards": {"a": {"MC013": ["x"]}}}',
        b'{"mshub-baseline": 1, "cards": {"a": {"MC013": {"x": 0}}}}',
        b'{"mshub-baseline": 1, "cards": {"a": {"MC013": {"x": true}}}}',
    ],
)
def test_a_foreign_file_is_refused(here: Path, data: bytes) -> None:
    path = here / "base.json"
    path.write_bytes(data)
    with pytest.raises(UsageError, match="is none that this version can read") as caught:
        Baseline.load(path)
    assert str(path) in str(caught.value)
    assert "--update-baseline" in str(caught.value)


def test_a_file_that_cannot_be_read_or_written_is_refused(here: Path) -> None:
    with pytest.raises(UsageError, match="cannot be read: Is a directory"):
        Baseline.load(here)
    with pytest.raises(UsageError, match="is not there"):
        Baseline.load(here / "none.json")
    with pytest.raises(UsageError, match="cannot be written"):
        Baseline(here / "no-folder").write(here / "no-folder" / "base.json")
    assert list(here.iterdir()) == []


def test_a_link_to_the_file_stays_a_link(here: Path) -> None:
    real = written(here, finding())
    real.chmod(0o640)
    link = here / "link.json"
    link.symlink_to(real)
    Baseline(here).updated([finding("MC020")]).write(link)
    assert link.is_symlink()
    assert Baseline.load(real).filter([finding("MC020")]) == ([], 1, 0)
    assert real.stat().st_mode & 0o777 == 0o640
