"""What maintainers of cards are promised: the rules' reference, the guide, the pre-commit hook, the CI doors."""

from __future__ import annotations

import itertools
import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from click.testing import CliRunner
from lintcards import CARD, SHORT, put
from markdown_it import MarkdownIt

import mshub_ssd
from mshub_ssd.cli.app import cli
from mshub_ssd.cli.validate import validate_command
from mshub_ssd.lint import explain
from mshub_ssd.lint.config import KEYS, load_config
from mshub_ssd.lint.formats import FORMATS
from mshub_ssd.lint.rules import all_rules

ROOT = Path(__file__).resolve().parent.parent
SOURCE = Path(mshub_ssd.__file__).parent.parent
PATIENCE = 120
GUIDE = (ROOT / "docs" / "linting.md").read_text(encoding="utf-8")


@pytest.fixture
def repository(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A git repository of two cards, one of them wrong, and files that are none; `mshub` is on the path."""
    for name in ("NO_COLOR", "FORCE_COLOR", "GITHUB_WORKSPACE", "CI_PROJECT_DIR"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repository"
    put(folder / "hub_models")
    (folder / "mshub.toml").write_text('profile = "strict"\n', encoding="utf-8")
    put(folder / "hub_models", "MC013", "MC047", uid="own/1.1/net_coco2017")
    for name in ("README.md", "hub_models/README.md", "docs/guide.md"):
        (folder / name).parent.mkdir(exist_ok=True)
        (folder / name).write_text("# no card\n", encoding="utf-8")
    programs = tmp_path / "bin"
    programs.mkdir()
    (programs / "mshub").write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -m mshub_ssd "$@"\n')
    (programs / "mshub").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(SOURCE))
    monkeypatch.chdir(folder)
    git("init", "--quiet")
    git("add", ".")
    return folder


def git(*args: str) -> str:
    return subprocess.run(["git", *args], check=True, capture_output=True, text=True, timeout=PATIENCE).stdout


def blocks(language: str) -> list[str]:
    tokens = MarkdownIt().parse(GUIDE)
    return [token.content for token in tokens if token.type == "fence" and token.info == language]


# --- the reference


def test_the_reference_is_current() -> None:
    command = explain.REGENERATE
    how, _, file = command.partition(" > ")
    shown = CliRunner().invoke(cli, shlex.split(how)[1:], prog_name="mshub")
    assert shown.exit_code == 0
    assert (ROOT / file).read_bytes() == shown.stdout_bytes, f"{file} is not what the code says; run: {command}"
    assert command in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")


def test_the_reference_is_sound_markdown() -> None:
    text = explain.rule_reference(list(all_rules().values()))
    tokens = MarkdownIt("commonmark", {"html": True}).enable("table").parse(text)
    headings = {
        re.sub(r"[^\w -]", "", after.content.lower()).replace(" ", "-")
        for token, after in itertools.pairwise(tokens)
        if token.type == "heading_open"
    }
    children = [child for token in tokens for child in token.children or ()]
    links = {str(child.attrs["href"]) for child in children if child.type == "link_open"}
    assert {link[1:] for link in links if link.startswith("#")} == headings - {"rules"}
    assert len(headings) == len(all_rules()) + 1
    assert not [child.content for child in children if child.type == "html_inline"], "needs backticks in a docstring"
    assert [token.type for token in tokens].count("html_block") == 1
    assert sum(token.type == "tr_open" for token in tokens) == len(all_rules()) + 1
    fences = [token.content for token in tokens if token.type == "fence"]
    assert len(fences) == 2 * len(all_rules())
    for fence in fences:
        assert all(line.isprintable() for line in fence.splitlines()), "what cannot be seen is spelt out"


@pytest.mark.parametrize("rule", all_rules().values(), ids=lambda rule: rule.code)
def test_every_rule_says_what_a_reader_needs(rule: Any) -> None:
    assert re.fullmatch(r"MC\d{3}", rule.code)
    assert re.fullmatch(r"[a-z]+(-[a-z]+)*", rule.name)
    for text in (rule.what, rule.why):
        assert text.endswith(".")
        assert len(text) > 20
    assert rule.bad.strip()
    assert rule.good.strip()
    assert rule.bad != rule.good
    shown = explain.explained(rule)
    assert all(len(line) <= 120 for line in shown.splitlines())
    for part in (rule.code, rule.name, rule.severity, f"ignore[{rule.code}]"):
        assert part in shown


def test_names_of_rules_are_unique() -> None:
    names = [rule.name for rule in all_rules().values()]
    assert len(set(names)) == len(names)


# --- the guide


def test_the_guides_commands_run(repository: Path) -> None:
    commands = [line for block in blocks("sh") for line in block.splitlines() if line.startswith("mshub ")]
    commands = [command for command in commands if "--online" not in command]
    assert len(commands) >= 11
    for command in commands:
        done = subprocess.run(command, shell=True, capture_output=True, text=True, check=False, timeout=PATIENCE)
        assert done.returncode in (0, 1), command + done.stderr
        assert "error: " not in done.stderr
    # By then the fixes are applied and the rest is in the baseline.
    assert "  \n" not in (repository / "hub_models/own/1.1/net_coco2017.md").read_text()
    assert done.returncode == 0
    assert "known to the baseline" in done.stdout


def test_the_guide_names_options_that_exist_and_all_keys_and_formats() -> None:
    known = {name for item in validate_command.params for name in item.opts}
    assert set(re.findall(r"(?<![\w-])--[a-z][a-z-]+", GUIDE)) - {"--quiet"} <= known
    for name in (*KEYS, *FORMATS):
        assert re.search(rf"^\| `{name}`", GUIDE, re.MULTILINE), name


def test_the_guides_example_is_what_is_shown(repository: Path) -> None:
    (example,) = (block for block in blocks("text") if "[malformed-digest]" in block)
    path = put(repository / "hub_models", uid="own/1.1/net_coco2017")
    path.write_text(re.sub(r'asset-sha256: "\w+"', 'asset-sha256: "d231a06e"', path.read_text()), encoding="utf-8")
    done = CliRunner().invoke(cli, ["validate", "hub_models", "--profile", "default"])
    assert example in done.stdout


def test_the_guides_links_lead_somewhere() -> None:
    children = [child for token in MarkdownIt().parse(GUIDE) for child in token.children or ()]
    links = {str(child.attrs["href"]) for child in children if child.type == "link_open"}
    assert links == {"rules.md", "cards.md"}
    assert all((ROOT / "docs" / link).is_file() for link in links)


def test_the_guides_configuration_is_understood(tmp_path: Path) -> None:
    (example,) = blocks("toml")
    path = tmp_path / "mshub.toml"
    path.write_text(example)
    config = load_config(file=path, read_baseline=False)
    assert config.baseline_file == tmp_path / "mshub-baseline.json"
    assert not {"MC042", "MC035"} & config.enabled
    assert config.severities["MC020"] == "info"
    assert "MC024" in config.let_off(tmp_path / "x.md", "thirdparty/1.0/net")
    assert "MC031" in config.let_off(tmp_path / "hub_models/own/1.3/net.md", None)


def test_the_guides_comments_silence(repository: Path) -> None:
    (example,) = (block for block in blocks("text") if "mshub: ignore" in block)
    fields, body = re.fullmatch(r"---\n(.*)---\n(.*)", example, re.DOTALL).groups()  # type: ignore[union-attr]
    digest, master, card = fields.split("\n\n")
    wrong = CARD.replace("tree/r1.7", "tree/master").replace("model-name: net\n", "model-name: other\n")
    wrong = re.sub(r'asset-sha256: "\w+"', f"asset-sha256: {SHORT}", wrong)
    wrong += body.split("-->\n")[1]
    silenced = re.sub(r'asset-sha256: "\w+"', digest.strip(), wrong)
    silenced = re.sub(r"repo-link: .*", master, silenced).replace("\nlicense:", f"\n{card}\nlicense:")
    silenced = silenced.replace(body.split("-->\n")[1], body)
    path = put(repository / "hub_models")

    def found(text: str) -> dict[str, Any]:
        path.write_text(text, encoding="utf-8")
        done = CliRunner().invoke(
            cli, ["validate", str(path), "--json", "--level=warning", "--profile=strict", "--ignore=MC021"]
        )
        return json.loads(done.stdout)["summary"]

    assert set(found(wrong)["codes"]) == {"MC013", "MC017", "MC020", "MC039"}
    summary = found(silenced)
    assert (summary["codes"], summary["suppressed"]) == ({}, 4)
    reasonless = found(silenced.replace(" there is no release yet", ""))
    assert set(reasonless["codes"]) >= {"MC049"}


def test_gitlabs_job_leaves_a_report_and_fails(repository: Path) -> None:
    (job,) = (value for block in blocks("yaml") for key, value in yaml.safe_load(block).items() if key == "model-cards")
    install, check = job["script"]
    assert install == "pip install --quiet mshub_ssd", "the light core"
    done = subprocess.run(["sh", "-e", "-c", check], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (done.returncode, "MC013" in done.stdout) == (1, True)
    report = repository / job["artifacts"]["reports"]["codequality"]
    assert {entry["check_name"] for entry in json.loads(report.read_text())} >= {"MC013"}


# --- pre-commit


def hook() -> dict[str, Any]:
    (only,) = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    return only


@pytest.mark.parametrize(
    ("path", "card"),
    [
        ("hub_models/own/1.0/net.md", True),
        ("deep/hub_models/net.md", True),
        ("mindspore/1.7/net_coco2017.md", True),
        ("res/assets/noah-cvlab/gpu/1.0/net.md", True),
        ("1.10/net.md", True),
        ("README.md", False),
        ("docs/guide.md", False),
        ("hub_models/README.md", False),
        ("hub_models/own/1.0/ReadMe.md", False),
        ("hub_models/own/1.0/.hidden.md", False),
        ("hub_models/own/1.0/net.ckpt", False),
        ("my_hub_models/net.md", False),
        ("v1.7/notes.md", False),
        ("2024/notes.md", False),
    ],
)
def test_the_hook_picks_cards(path: str, card: bool) -> None:
    chosen = re.search(hook()["files"], path) and not re.search(hook()["exclude"], path)
    assert bool(chosen) is card


def test_the_hooks_command_checks_what_is_committed(repository: Path) -> None:
    files = [path for path in git("ls-files").splitlines() if re.search(hook()["files"], path)]
    files = [path for path in files if not re.search(hook()["exclude"], path)]
    assert files == ["hub_models/own/1.0/net_coco2017.md", "hub_models/own/1.1/net_coco2017.md"]
    assert (hook()["id"], hook()["language"], hook()["require_serial"]) == ("mshub-validate", "python", True)
    assert "additional_dependencies" not in hook(), "the light core"
    command = shlex.split(hook()["entry"])
    bad = subprocess.run([*command, *files], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (bad.returncode, "1.1/net_coco2017.md" in bad.stdout) == (1, True)
    good = subprocess.run([*command, files[0]], capture_output=True, text=True, check=False, timeout=PATIENCE)
    assert (good.returncode, good.stdout) == (0, "1 card checked, nothing found\n")


def test_the_guides_hook_is_the_one_there_is() -> None:
    (config,) = (yaml.safe_load(block) for block in blocks("yaml") if "repos:" in block)
    assert [one["id"] for repo in config["repos"] for one in repo["hooks"]] == [hook()["id"]]


# --- GitHub


def action() -> dict[str, Any]:
    return yaml.safe_load((ROOT / "action.yml").read_text(encoding="utf-8"))


def script(name: str) -> tuple[str, dict[str, str]]:
    (step,) = (step for step in action()["runs"]["steps"] if step.get("name") == name)
    assert step["shell"] == "bash"
    return step["run"], step["env"]


def run_script(name: str, folder: Path, **inputs: str) -> subprocess.CompletedProcess[str]:
    """A step's script as a runner would call it, with a runner's environment."""
    text, wanted = script(name)
    given = {"paths": ".", "args": "", "format": "github", "sarif": "", "python-version": "", **inputs}
    values = {f"${{{{ inputs.{key} }}}}": value for key, value in given.items()}
    values["${{ github.action_path }}"] = str(ROOT)
    environ = {**os.environ, "RUNNER_TEMP": str(folder), **{key: values[value] for key, value in wanted.items()}}
    command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", text]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False, timeout=PATIENCE)


@pytest.fixture
def runner(repository: Path, tmp_path: Path) -> Path:
    """A runner's temporary folder, in which the package is installed already."""
    python = tmp_path / "runner" / "mshub-validate" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} "$@"\n')
    python.chmod(0o755)
    return tmp_path / "runner"


def test_the_actions_inputs_are_those_of_the_guide_and_no_part_of_a_script() -> None:
    whole = action()
    assert whole["runs"]["using"] == "composite"
    for step in whole["runs"]["steps"]:
        assert "${{" not in step.get("run", "")
    rows = re.findall(r"^\| `([a-z-]+)` \| .* \| (.*) \|$", GUIDE.split("**GitHub.**")[1], re.MULTILINE)
    assert [name for name, _ in rows] == list(whole["inputs"])
    for name, default in rows:
        value = whole["inputs"][name]["default"]
        assert value in ("", default.strip("`"))
    (example,) = (yaml.safe_load(block) for block in blocks("yaml") if "jobs:" in block)
    assert set(example["jobs"]["cards"]["steps"][-1]["with"]) <= set(whole["inputs"])
    used = {name for step in whole["runs"]["steps"] for name in re.findall(r"inputs\.([a-z-]+)", json.dumps(step))}
    assert used == set(whole["inputs"])


def test_the_action_installs_itself_and_no_extra(repository: Path, tmp_path: Path) -> None:
    log = tmp_path / "calls"
    fake = f"""#!/bin/sh
echo "python3 $*" >> {log}
mkdir -p "$3/bin"
printf '#!/bin/sh\\necho "python $*" >> {log}\\n' > "$3/bin/python"
chmod +x "$3/bin/python"
"""
    python3 = tmp_path / "bin" / "python3"
    python3.write_text(fake)
    python3.chmod(0o755)
    done = run_script("Install", tmp_path)
    assert done.returncode == 0, done.stderr
    made, installed = log.read_text().splitlines()
    assert made == f"python3 -m venv {tmp_path}/mshub-validate"
    assert installed == f"python -m pip install --quiet --disable-pip-version-check {ROOT}"


def test_the_action_annotates_and_fails(runner: Path, repository: Path) -> None:
    done = run_script("Validate", runner, paths="hub_models")
    assert done.returncode == 1
    assert re.search(r"^::error file=hub_models/own/1\.1/net_coco2017\.md,line=\d+,", done.stdout, re.MULTILINE)
    good = run_script("Validate", runner, paths="hub_models/own/1.0")
    assert (good.returncode, good.stderr) == (0, "")
    assert run_script("Validate", runner, paths="nowhere").returncode == 2


def test_the_action_takes_several_paths_options_and_sarif(runner: Path, repository: Path) -> None:
    spaced = repository / "with space" / "1.1"
    (repository / "hub_models" / "own" / "1.1").rename(spaced.parent.mkdir() or spaced)
    both = {"paths": "hub_models\n\n  \nwith space", "args": "--select\nMC013 --jobs 1", "format": "json"}
    done = run_script("Validate", runner, sarif="out.sarif", **both)
    assert done.returncode == 1, done.stderr
    answer = json.loads(done.stdout)
    assert (answer["summary"]["cards"], answer["summary"]["codes"]) == (2, {"MC013": 1})
    results = json.loads((repository / "out.sarif").read_text())["runs"][0]["results"]
    assert [result["ruleId"] for result in results] == ["MC013"]
    assert run_script("Validate", runner, sarif="no/folder/out.sarif", **both).returncode != 0


@pytest.mark.parametrize("name", ["paths", "args", "format", "sarif"])
def test_an_input_is_never_a_command(runner: Path, repository: Path, name: str) -> None:
    done = run_script("Validate", runner, **{name: '$(touch owned) `touch owned`"; touch owned; #'})
    assert done.returncode != 0
    assert not (repository / "owned").exists()


def test_an_input_for_paths_is_no_option(runner: Path, repository: Path) -> None:
    done = run_script("Validate", runner, paths="--fix\nhub_models")
    assert done.returncode == 2
    assert "  \n" in (repository / "hub_models/own/1.1/net_coco2017.md").read_text(), "nothing was fixed"
