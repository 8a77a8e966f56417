"""``mshub validate`` and ``mshub schema``: what is printed where, what is changed, and which exit code follows."""

from __future__ import annotations

import dataclasses
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from typing import Any

import click
import commands
import pytest
from click.testing import Result
from commands import PATIENCE, environment
from lintcards import UID, put

import mshub_ssd
from mshub_ssd.cli.validate import validate_command
from mshub_ssd.lint.formats import FORMATS
from mshub_ssd.lint.report import Report
from mshub_ssd.lint.rules import all_rules
from mshub_ssd.lint.schema import front_matter_schema

SOURCE = Path(mshub_ssd.__file__).parent.parent


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own, and no CI around it."""
    for name in ("NO_COLOR", "FORCE_COLOR", "GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*args: object) -> Result:
    return commands.run("validate", *args)


def process(*args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    return commands.process(*args, errors="replace", **options)


def codes(result: Result) -> list[str]:
    return [finding["code"] for finding in json.loads(result.stdout)["findings"]]


# --- exit codes and where things are printed


def test_a_clean_tree_is_one_line_and_exit_code_0(here: Path) -> None:
    put(here)
    result = run(here)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "1 card checked, nothing found\n", "")


@pytest.mark.parametrize(("code", "status"), [("MC013", 1), ("MC057", 1), ("MC047", 0)])
def test_errors_and_warnings_are_exit_code_1_and_infos_are_clean(here: Path, code: str, status: int) -> None:
    put(here, code)
    result = run("own", "--format", "json", "--profile", "strict")
    assert (result.exit_code, codes(result), result.stderr) == (status, [code], "")
    assert json.loads(result.stdout)["summary"]["ok"] is (status == 0)


def test_text_shows_place_line_and_help(here: Path) -> None:
    put(here, "MC013")
    shown = run("own").stdout
    assert re.search(r"^own/1\.0/net_coco2017\.md:\d+:17: error MC013 .*\[malformed-digest\]$", shown, re.MULTILINE)
    assert re.search(r'^\d+ \|   asset-sha256: "d0b0449b"\n\s+\|\s{17}\^+$', shown, re.MULTILINE)
    assert shown.splitlines()[-1] == "1 card checked: 1 error"


@pytest.mark.parametrize(
    "args",
    [
        [],
        ["no-such-path"],
        ["own", "--no-such-option"],
        ["own", "--format", "xml"],
        ["own", "--format", "markdown"],
        ["own", "--json", "--format", "sarif"],
        ["own", "--select", "MC999"],
        ["own", "--ignore", "nonsense"],
        ["own", "--select", "MC013", "--ignore", "MC0"],
        ["own", "--jobs", "0"],
        ["own", "--level", "fatal"],
        ["own", "--config", "mshub.toml", "--no-config"],
        ["own", "--config", "not-there.toml"],
        ["own", "--baseline", "not-there.json"],
        ["own", "--update-baseline"],
        ["own", "--update-baseline", "--diff", "--baseline", "b.json"],
        ["own", "--diff", "--format", "json"],
        ["own", "--diff", "--statistics"],
        ["own", "--statistics", "--format", "json"],
        ["own", "--output", "no-folder/out.txt"],
        ["own", "--output", "own"],
        ["own", "--profile", "lax"],
        ["own", "--profile", "strict", "--select", "MC013"],
        ["own", "--unsafe-fixes"],
        ["own", "--diff", "--format", "full"],
        ["own", "--statistics", "--format", "concise"],
        ["own", "--deep"],
        ["own", "--allow-private"],
        ["--explain", "MC999"],
        ["--explain", ","],
        ["--explain", "MC013", "--format", "sarif"],
        ["--list-rules", "--format", "markdown"],
    ],
)
def test_wrong_usage_is_exit_code_2_and_gives_no_report(here: Path, args: list[str]) -> None:
    put(here)
    result = run(*args)
    assert result.exit_code == 2
    # Programs that asked for JSON get the error, too.
    assert not result.stdout or (any("json" in word for word in args) and set(json.loads(result.stdout)) == {"error"})
    assert re.match("Usage: mshub|error: ", result.stderr)
    assert sorted(path.name for path in here.rglob("*") if path.is_file()) == ["net_coco2017.md"]


def test_without_a_path_it_says_what_to_type(here: Path) -> None:
    assert "mshub validate hub_models" in run().stderr


def test_a_wrong_configuration_is_exit_code_2(here: Path) -> None:
    put(here)
    (here / "mshub.toml").write_text("selekt = []")
    result = run("own")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "did you mean 'select'?" in result.stderr
    assert run("own", "--no-config").exit_code == 0


def test_what_can_be_read_is_told_though_a_path_is_missing(here: Path) -> None:
    put(here, "MC013")
    result = run("nowhere", "own", "--json")
    assert (result.exit_code, codes(result)) == (2, ["MC013"])
    assert json.loads(result.stdout)["summary"]["unreadable"][0]["path"] == "nowhere"
    text = run("nowhere", "own")
    assert "nowhere: error cannot be read: no such file or folder" in text.stdout
    assert (text.exit_code, "MC013" in text.stdout) == (2, True)


def test_a_card_that_cannot_be_read_is_exit_code_2(here: Path) -> None:
    put(here)
    (here / "own" / "1.0" / "gone.md").symlink_to("no-such-file")
    result = run("own")
    assert result.exit_code == 2
    assert "own/1.0/gone.md: error cannot be read: No such file" in result.stdout


def test_a_card_that_cannot_be_parsed_is_a_finding(here: Path) -> None:
    path = put(here, "MC013")
    path.write_text(path.read_text().replace("user-id: own", "user-id: [own"))
    result = run("own", "--json")
    assert result.exit_code == 1
    assert {"MC001", "MC013"} <= set(codes(result))


# --- formats


def test_every_format_is_offered_and_no_other() -> None:
    (option,) = [item for item in validate_command.params if item.name == "format_"]
    assert isinstance(option.type, click.Choice)
    assert tuple(option.type.choices) == (*FORMATS, "markdown")


@pytest.mark.parametrize("name", FORMATS)
def test_formats_go_to_stdout_or_a_file(here: Path, name: str) -> None:
    put(here, "MC013", "MC047")
    result = run("own", "--format", name)
    assert result.exit_code == 1
    filed = run("own", "--format", name, "--output", "report")
    assert (filed.exit_code, filed.stdout, filed.stderr) == (1, "", "wrote report\n")
    assert (here / "report").read_bytes() == result.stdout_bytes
    assert result.stdout.endswith("\n")
    if name == "junit":
        assert ElementTree.fromstring(result.stdout).find(".//failure") is not None
    elif name == "github":
        assert "::error file=own/1.0/net_coco2017.md,line=" in result.stdout
    elif name not in ("text", "full", "concise"):
        assert json.loads(result.stdout)


def test_a_flood_is_summed_up_and_each_finding_is_a_line(here: Path) -> None:
    for number in range(30):
        put(here, "MC013", uid=f"own/1.{number}/net_coco2017")
    table, lines, counts = run("own", "--ignore", "MC014").stdout.split("\n\n")
    assert [row.split() for row in table.splitlines()[1:]] == [["30", "MC013", "error", "malformed-digest"]]
    places = [re.match(r"own/1\.(\d+)/net_coco2017\.md:\d+:17: error MC013 ", line) for line in lines.splitlines()]
    assert [place and place[1] for place in places] == [str(number) for number in range(30)]
    assert counts.startswith("30 cards checked: 30 errors\n")
    assert run("own", "--ignore", "MC014", "--statistics").stdout.startswith(f"{table}\n\n30 cards checked")
    # The last line keeps its word.
    assert re.search("--select.*--format full", counts.splitlines()[-1])
    one = run("own/1.7/net_coco2017.md").stdout
    assert (one.count("MC013"), one.count(" help: "), "^^^" in one) == (1, 1, True)
    whole = run("own", "--ignore", "MC014", "--format", "full").stdout
    assert (whole.count("MC013"), whole.count(" help: ")) == (30, 30)
    assert not re.search("^findings ", whole)


def test_a_flood_that_a_level_hides_is_none(here: Path) -> None:
    for number in range(30):
        put(here, "MC047", *(["MC013"] if number == 3 else []), uid=f"own/1.{number}/net_coco2017")
    text = run("own", "--profile", "strict", "--level", "error").stdout
    assert (text.count("MC013"), text.count(" help: "), "MC047" in text) == (1, 1, False)
    assert re.search(r"^\d+ of them not shown", text, re.MULTILINE)


def test_json_is_short_for_its_format(here: Path) -> None:
    put(here, "MC013")
    assert run("own", "--json").stdout == run("own", "--format", "json").stdout
    assert run("own", "--json", "--format", "json").exit_code == 1


@pytest.mark.parametrize(
    ("name", "variable", "field"), [("github", "GITHUB_WORKSPACE", "file="), ("gitlab", "CI_PROJECT_DIR", '"path": "')]
)
def test_ci_systems_get_paths_from_the_top_of_the_repository(
    here: Path, monkeypatch: pytest.MonkeyPatch, name: str, variable: str, field: str
) -> None:
    put(here, "MC013")
    monkeypatch.chdir(here / "own")
    assert f"{field}1.0/net_coco2017.md" in run(".", "--format", name).stdout
    monkeypatch.setenv(variable, str(here))
    assert f"{field}own/1.0/net_coco2017.md" in run(".", "--format", name).stdout


def test_colours_are_for_terminals_unless_the_user_says_otherwise(here: Path) -> None:
    put(here, "MC013")

    def on_a_terminal(**more: str) -> bytes:
        ours, theirs = pty.openpty()
        try:
            process("validate", "own", stdout=theirs, env=environment(TERM="xterm", **more))
            os.write(theirs, b"end")  # or nothing to read would be a wait without end
            return os.read(ours, 65536)
        finally:
            os.close(ours)
            os.close(theirs)

    assert b"\x1b[" in on_a_terminal()
    assert b"\x1b[" not in on_a_terminal(NO_COLOR="1")
    assert "\x1b[" not in process("validate", "own").stdout
    assert "\x1b[" in process("validate", "own", env=environment(FORCE_COLOR="1")).stdout
    assert "\x1b[" not in process("validate", "own", env=environment(FORCE_COLOR="1", NO_COLOR="1")).stdout
    process("validate", "own", "--output", "out.txt", env=environment(FORCE_COLOR="1"))
    assert "\x1b[" not in (here / "out.txt").read_text()
    assert "\x1b[" not in process("validate", "own", "--json", env=environment(FORCE_COLOR="1")).stdout


def test_a_card_cannot_command_the_terminal(here: Path) -> None:
    path = put(here)
    path.write_text(path.read_text().replace("user-id: own", 'user-id: "own\\e]0;owned\\a" # \u202e'))
    for args in (["own"], ["own", "--diff"], ["own", "--statistics"]):
        result = run(*args)
        assert not {"\x1b", "\x07"} & set(result.stdout + result.stderr), args


def test_level_hides_milder_findings_and_nothing_else(here: Path) -> None:
    put(here, "MC013", "MC057", "MC047")
    assert codes(run("own", "--profile", "strict", "--json")) == ["MC057", "MC047", "MC013"]
    for level, shown in (("info", 3), ("warning", 2), ("error", 1)):
        result = run("own", "--profile", "strict", "--json", "--level", level)
        answer = json.loads(result.stdout)
        assert (result.exit_code, len(answer["findings"])) == (1, shown)
        assert (answer["summary"]["warnings"], answer["summary"]["infos"]) == (1, 1)
    text = run("own", "--profile", "strict", "--level", "error").stdout
    assert "1 card checked: 1 error, 1 warning, 1 info" in text
    assert "2 of them not shown" in text
    put(here, "MC057")
    hidden = run("own", "--profile", "strict", "--level", "error")
    assert (hidden.exit_code, "nothing found" in hidden.stdout) == (1, False)


def test_statistics_count_the_rules(here: Path) -> None:
    put(here, "MC013", "MC047")
    put(here, "MC047", uid="own/1.1/net_coco2017")
    head, first, second, *rest = run("own", "--profile", "strict", "--statistics").stdout.splitlines()
    assert head.split() == ["findings", "fixable", "code", "severity", "name"]
    rows = [line.split() for line in (first, second, *rest)]
    assert ["2", "2", "MC047", "info", "trailing-space"] in rows
    assert ["1", "MC013", "error", "malformed-digest"] in rows
    assert "2 cards checked" in rest[-2]
    put(here, uid="own/1.1/net_coco2017")
    put(here)
    assert (
        run("own", "--profile", "strict", "--statistics", "--ignore", "MC035").stdout
        == "2 cards checked, nothing found\n"
    )


def test_the_end_of_the_reader_and_of_the_disk(here: Path) -> None:
    put(here, "MC013")
    with Path("/dev/full").open("w") as full:
        for args in (["own"], ["own", "--format", "sarif"], ["own", "--unsafe-fixes", "--diff"]):
            put(here, "MC013", "MC030")
            done = process("validate", *args, stdout=full)
            assert done.stderr.startswith("error: the output cannot be written: No space left on device\n")
    reading, writing = os.pipe()
    os.close(reading)
    try:
        done = process("validate", "own", "--format", "github", stdout=writing)
    finally:
        os.close(writing)
    assert (done.returncode, done.stderr) == (141, "")


# --- which rules


def test_select_and_ignore_take_lists_and_repeat(here: Path) -> None:
    put(here, "MC013", "MC057", "MC047")
    assert codes(run("own", "--json", "--select", "MC013, mc047")) == ["MC047", "MC013"]
    assert codes(run("own", "--json", "--select", "MC013", "--select", "MC057")) == ["MC057", "MC013"]
    assert codes(run("own", "--json", "--ignore", "MC013,MC04")) == ["MC057"]
    assert "MC047" in codes(run("own", "--json", "--select", "ALL"))


def test_profiles_are_chosen_on_the_command_line_and_in_the_file(here: Path) -> None:
    put(here, "MC013", "MC047")
    strict = ["MC047", "MC013"]
    assert codes(run("own", "--json")) == codes(run("own", "--json", "--profile", "default")) == ["MC013"]
    assert codes(run("own", "--json", "--profile", "strict")) == strict
    (here / "mshub.toml").write_text('profile = "strict"')
    assert codes(run("own", "--json")) == strict
    assert codes(run("own", "--json", "--profile", "default")) == ["MC013"]
    (here / "mshub.toml").write_text('extend-select = ["MC047"]')
    assert codes(run("own", "--json")) == ["MC047", "MC013"]
    (here / "mshub.toml").write_text('profile = "strikt"')
    assert "'default' or 'strict'" in run("own").stderr


def test_the_nearest_configuration_of_the_first_path_holds(here: Path) -> None:
    put(here / "a", "MC013")
    put(here / "b", "MC013", uid="own/1.1/net_coco2017")
    (here / "a" / "mshub.toml").write_text('severity.MC013 = "info"')
    assert run("a", "b", "--ignore", "MC014").exit_code == 0
    assert run("b", "a", "--ignore", "MC014").exit_code == 1
    assert run("b", "--config", "a/mshub.toml").exit_code == 0


def test_list_rules_tells_how_it_is_here(here: Path) -> None:
    (here / "mshub.toml").write_text('ignore = ["MC057"]\nseverity.MC013 = "info"')
    shown = run("--list-rules").stdout.splitlines()
    assert [line.split()[0] for line in shown] == ["code", *all_rules()]
    rows = {row["code"]: row for row in json.loads(run("--list-rules", "--json").stdout)}
    assert (rows["MC057"]["enabled"], rows["MC024"]["enabled"], rows["MC013"]["enabled"]) == (False, False, True)
    assert rows["MC013"]["severity"] == "info"
    assert any(re.match(r"MC013  info +yes ", line) for line in shown)
    assert any(re.match(r"MC057  warning +no ", line) for line in shown)


@pytest.mark.parametrize("wanted", [["MC013"], ["mc013"], ["malformed-digest"], ["malformed_digest"]])
def test_explain_tells_everything_about_a_rule(wanted: list[str]) -> None:
    result = run("--explain", *wanted)
    rule = all_rules()["MC013"]
    assert (result.exit_code, result.stderr) == (0, "")
    shown = " ".join(result.stdout.split())
    for part in ("MC013 malformed-digest", rule.severity, rule.what, rule.why, rule.bad, rule.good, "ignore[MC013]"):
        assert " ".join(part.split()) in shown


def test_explain_takes_several_and_all_and_other_forms(here: Path) -> None:
    (here / "mshub.toml").write_text("nonsense = 1")  # explaining needs no configuration
    several = run("--explain", "MC017,MC013", "--explain", "MC04", "--json")
    forties = [code for code in all_rules() if code.startswith("MC04")]
    assert [rule["code"] for rule in json.loads(several.stdout)] == ["MC013", "MC017", *forties]
    whole = run("--explain", "all")
    assert whole.exit_code == 0
    assert [line.split()[0] for line in whole.stdout.splitlines() if re.match(r"MC\d{3} ", line)] == list(all_rules())
    unknown = run("--explain", "malformed-digests")
    assert (unknown.exit_code, "MC013 (malformed-digest)" in unknown.stderr) == (2, True)


# --- the network, progress, processes


def test_online_checks_are_asked_only_on_request(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here)
    asked: list[Any] = []
    answers = {"https://example.org": "fine"}

    def gather(paths: Any, config: Any, **options: Any) -> dict[str, str]:
        asked.append((paths, options))
        return answers

    monkeypatch.setattr("mshub_ssd.online.gather", gather)
    handed: list[Any] = []
    monkeypatch.setattr(
        "mshub_ssd.lint.lint", lambda *_, **options: handed.append(options["answers"]) or Report(checked=1)
    )
    assert run("own").exit_code == 0
    assert (asked, handed) == ([], [None])
    assert run("own", "--online", "--deep", "--allow-private", "--max-size", "2").exit_code == 0
    assert asked == [(["own"], {"deep": True, "allow_private": True, "max_bytes": 2_000_000})]
    assert handed[1] is answers


def test_a_long_run_shows_its_progress_on_a_terminal_only(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(here)
    code = (
        "import sys, mshub_ssd.cli.validate as v; v._SLOW = {slow}; from mshub_ssd.cli import main; main(sys.argv[1:])"
    )

    def shown(slow: float) -> tuple[str, str]:
        ours, theirs = pty.openpty()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
            command = [sys.executable, "-c", code.format(slow=slow), "validate", "own"]
            done = subprocess.run(
                command, stdout=subprocess.PIPE, stderr=theirs, env=environment(), check=True, timeout=PATIENCE
            )
            os.write(theirs, b"end")
            return done.stdout.decode(), os.read(ours, 65536).decode()
        finally:
            os.close(ours)
            os.close(theirs)

    out, err = shown(0.0)
    assert out == "1 card checked, nothing found\n"
    assert "card [" in err
    assert shown(1000.0) == ("1 card checked, nothing found\n", "end")
    assert process("validate", "own").stderr == ""


def test_many_cards_on_several_processes_are_told_as_on_one(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(200):
        put(here, *(["MC013"] if number % 7 == 0 else []), uid=f"own/1.{number}/net_coco2017")
    one, two = (run("own", "--json", "--ignore", "MC014", "--jobs", jobs) for jobs in (1, 2))
    assert one.stdout == two.stdout
    assert codes(one).count("MC013") == 29
    texts = [[], ["--level", "error"], ["--format", "full"], ["--format", "concise"]]
    for more in (*texts, ["--statistics"], ["--format", "sarif"], ["--diff"]):
        for color in ("", "1"):
            monkeypatch.setenv("FORCE_COLOR", color)
            one, two = (run("own", *more, "--jobs", jobs) for jobs in (1, 2))
            assert one.stdout == two.stdout
            assert ("\x1b[" in two.stdout) == (bool(color) and more in texts)


def test_the_overview_and_the_list_do_not_load_the_linter() -> None:
    code = (
        "import sys\nfrom mshub_ssd.cli import main\n"
        "try: main({args})\n"
        "finally: print([name for name in sys.modules if name.startswith('mshub_ssd.lint')], file=sys.stderr)"
    )
    for args in (["--help"], ["list"], ["validate", "--help"]):
        command = [sys.executable, "-c", code.format(args=args)]
        done = subprocess.run(command, capture_output=True, text=True, env=environment(), check=True, timeout=PATIENCE)
        assert done.stderr == "[]\n", args


def test_validating_needs_nothing_heavy(here: Path) -> None:
    put(here, "MC013")
    code = (
        "import sys\nfrom mshub_ssd.cli import main\n"
        "for name in ('mindspore', 'numpy', 'requests', 'cv2', 'PIL'): sys.modules[name] = None\n"
        "main(['validate', 'own', '--format', 'sarif'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment(), check=False, timeout=PATIENCE
    )
    assert (done.returncode, done.stderr) == (1, "")
    assert json.loads(done.stdout)["runs"]


def test_all_of_a_report_survives_being_cut_to_a_level() -> None:
    whole = Report(checked=3, suppressed=1, baselined=2, outdated=4, fixes=(("a.md", ("MC003",) * 5),), diff="x")
    part = whole.from_level("error")
    assert {item.name: getattr(part, item.name) for item in dataclasses.fields(Report)} == {
        item.name: getattr(whole, item.name) for item in dataclasses.fields(Report)
    }


# --- schema


def test_schema_prints_the_schema(here: Path) -> None:
    result = commands.run("schema")
    assert (result.exit_code, json.loads(result.stdout)) == (0, front_matter_schema())
    filed = commands.run("schema", "--output", "card.schema.json")
    assert (filed.exit_code, filed.stdout) == (0, "")
    assert (here / "card.schema.json").read_text() == result.stdout
    assert commands.run("schema", "--output", "no/such/folder.json").exit_code == 1
    assert UID not in result.stdout
