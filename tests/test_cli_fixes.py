"""``mshub validate``: fixing cards, and the baseline of old debt."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import commands
import pytest
from click.testing import Result
from commands import PATIENCE
from lintcards import CARD, put, spoilt


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder of its own."""
    folder = tmp_path / "repository"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def run(*args: object) -> Result:
    return commands.run("validate", *args)


def test_fix_applies_safe_fixes_only_and_tells_what_remains(here: Path) -> None:
    path = put(here, "MC008", "MC030")
    result = run("own", "--fix")
    assert result.exit_code == 1
    assert path.read_text() == spoilt("MC030").replace('mindspore-version: "1.7"', 'mindspore-version: "1.70"')
    assert "1 fix applied" in result.stdout
    assert "1 card checked: " in result.stdout
    assert "MC030" in result.stdout
    assert "fixed in own/1.0/net_coco2017.md: MC008\n" in result.stdout
    assert "error MC008" not in result.stdout
    again = path.read_bytes()
    assert "applied" not in run("own", "--fix").stdout
    assert path.read_bytes() == again


def test_unsafe_fixes_are_applied_on_request(here: Path) -> None:
    path = put(here, "MC030", "MC047")
    result = run("own", "--profile", "strict", "--fix", "--unsafe-fixes")
    assert (result.exit_code, path.read_text()) == (0, CARD)
    assert "2 fixes applied" in result.stdout


def test_unsafe_fixes_alone_write_nothing_and_say_what_to_add(here: Path) -> None:
    path = put(here, "MC030", "MC047")
    before = path.read_bytes()
    result = run("own", "--unsafe-fixes")
    assert (result.exit_code, result.stdout, path.read_bytes()) == (2, "", before)
    assert "add --fix" in result.stderr
    assert run("own", "--unsafe-fixes", "--diff").exit_code == 1
    assert path.read_bytes() == before


def test_diff_is_a_patch_that_does_what_fix_does(here: Path) -> None:
    paths = [put(here, "MC047", "MC030"), put(here, "MC047", uid="own/1.1/net_coco2017")]
    odd = paths[1].read_bytes().replace(b"A small and fast", "A\tsmall \u2028 and\x0c fäst".encode())
    paths[1].write_bytes(odd)
    before = [path.read_bytes() for path in paths]
    for options in (["--diff"], ["--diff", "--unsafe-fixes"]):
        done = run("own", "--profile", "strict", *options)
        assert done.exit_code == 1
        assert [path.read_bytes() for path in paths] == before, "nothing is changed"
        assert "to apply" in done.stderr
        command = ["patch", "-p1", "--quiet"]
        subprocess.run(command, input=done.stdout_bytes, check=True, cwd=here, timeout=PATIENCE)
        patched = [path.read_bytes() for path in paths]
        for path, data in zip(paths, before, strict=True):
            path.write_bytes(data)
        run("own", "--profile", "strict", "--fix", *options[1:])
        assert [path.read_bytes() for path in paths] == patched
        for path, data in zip(paths, before, strict=True):
            path.write_bytes(data)
    filed = run("own", "--profile", "strict", "--diff", "--output", "fixes.patch")
    assert (filed.exit_code, filed.stdout) == (1, "")
    assert (here / "fixes.patch").read_text(encoding="utf-8").startswith("--- ")


def test_a_diff_of_nothing_is_nothing(here: Path) -> None:
    put(here)
    assert (run("own", "--diff").exit_code, run("own", "--diff").stdout) == (0, "")
    put(here, "MC013")
    result = run("own", "--diff")
    assert (result.exit_code, result.stdout) == (1, ""), "what remains is told by the exit code"
    assert "1 error" in result.stderr


# --- the baseline


def test_day_one_and_after(here: Path) -> None:
    old = put(here, "MC013", "MC057")
    (here / "mshub.toml").write_text('baseline = "known.json"')
    assert run("own").exit_code == 2, "a baseline that is configured must be there"
    wrote = run("own", "--update-baseline")
    assert (wrote.exit_code, wrote.stderr) == (0, "")
    assert "2 findings known, 2 of them new, 0 gone" in wrote.stdout
    assert run("own").exit_code == 0
    put(here, "MC047", uid="own/1.1/new_coco2017")
    assert run("own", "--ignore", "MC014,MC020,MC021").exit_code == 0
    put(here, "MC013", uid="own/1.1/net_coco2017")
    assert run("own").exit_code == 1
    (here / "own/1.1/net_coco2017.md").unlink()
    (here / "own/1.1/new_coco2017.md").unlink()
    old.write_text("\n\n" + spoilt("MC013"))  # one fixed, the other moved down
    healed = run("own")
    assert healed.exit_code == 0
    assert "1 entry of the baseline found nothing any more" in healed.stdout
    facts = json.loads(run("own", "--update-baseline", "--json").stdout)["baseline"]
    assert facts == {"path": str(here / "known.json"), "findings": 1, "added": 0, "removed": 1}
    assert "baseline found nothing" not in run("own").stdout


def test_a_run_over_some_cards_or_rules_knows_its_limits(here: Path) -> None:
    first = put(here, "MC013")
    put(here, "MC057", uid="own/1.1/net_coco2017")
    baseline = ["--baseline", "known.json"]
    run("own", *baseline, "--update-baseline", "--ignore", "MC014,MC035")
    whole = (here / "known.json").read_bytes()
    for args in ([first], ["own", "--select", "MC013"]):
        assert "found nothing any more" not in run(*args, *baseline).stdout
        assert run(*args, *baseline, "--update-baseline").exit_code == 0
        assert (here / "known.json").read_bytes() == whole
    other = run(first, "--baseline", "other.json", "--update-baseline")
    assert (other.exit_code, len(json.loads((here / "other.json").read_text())["cards"])) == (0, 1)


def test_update_baseline_does_not_hide_an_unreadable_path(here: Path) -> None:
    put(here, "MC013")
    result = run("own", "nowhere", "--baseline", "known.json", "--update-baseline")
    assert (result.exit_code, "nowhere" in result.stderr) == (2, True)
    assert run("own", "--baseline", "known.json").exit_code == 0
