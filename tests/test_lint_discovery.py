"""Which files are cards, what their uids are, and what becomes of those that cannot be read."""

from __future__ import annotations

import contextlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from mshub_ssd.errors import UsageError
from mshub_ssd.lint.config import load_config
from mshub_ssd.lint.discovery import discover
from mshub_ssd.lint.engine import lint
from mshub_ssd.lint.report import Report
from mshub_ssd.registry import Registry

NOBODY = 65534


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    return folder


def touch(*paths: str) -> None:
    for path in paths:
        Path(path).parent.mkdir(parents=True, exist_ok=True)
        Path(path).write_text("# a card\n", encoding="utf-8")


def uids(*paths: str, roots: tuple[Path, ...] = ()) -> dict[str, str | None]:
    cards, unreadable = discover(paths, roots=roots)
    assert unreadable == []
    return {card.path: card.uid for card in cards}


def check(*paths: str) -> Report:
    return lint(paths, load_config(use_file=False))


@pytest.mark.parametrize(
    ("path", "uid"),
    [
        ("hub_models/mindspore/1.7/a.md", "mindspore/1.7/a"),
        ("x/hub_models/somebody/a.md", "somebody/a"),
        ("hub_models/old/hub_models/somebody/1.0/a.md", "somebody/1.0/a"),
        ("hub_models/a.md", "a"),
        ("cards/mindspore/1.10/a_v1.0.md", "mindspore/1.10/a_v1.0"),
        ("cards/noah-cvlab/gpu/1.8/a.md", "noah-cvlab/gpu/1.8/a"),
        ("cards/ascend/1.8/a.md", "cards/ascend/1.8/a"),
        ("cards/somebody/0.7.1/a.md", "somebody/0.7.1/a"),
        # No version, or not of the card's own folder.
        ("cards/somebody/latest/a.md", "cards/somebody/latest/a"),
        ("cards/somebody/7/a.md", "cards/somebody/7/a"),
        ("cards/2.0/somebody/a.md", "cards/2.0/somebody/a"),
        ("cards/v1.7/a.md", "cards/v1.7/a"),
    ],
)
def test_a_uid_comes_from_the_place(path: str, uid: str, here: Path) -> None:
    touch(path)
    assert uids(".") == {path: uid}


def test_a_uid_is_below_the_given_folder_where_nothing_else_tells(here: Path) -> None:
    touch("cards/ours/a.md")
    assert uids("cards") == {"cards/ours/a.md": "ours/a"}
    assert uids("cards/ours") == {"cards/ours/a.md": "a"}
    assert uids("cards/ours/a.md") == {"cards/ours/a.md": None}
    touch("cards/mindspore/1.7/a.md")
    assert uids("cards/mindspore/1.7/a.md") == {"cards/mindspore/1.7/a.md": "mindspore/1.7/a"}


def test_a_configured_root_comes_before_everything(here: Path) -> None:
    touch("cards/hub_models/mindspore/1.7/a.md", "other/mindspore/1.7/a.md")
    found = uids(".", roots=(here / "cards",))
    assert found == {
        "cards/hub_models/mindspore/1.7/a.md": "hub_models/mindspore/1.7/a",
        "other/mindspore/1.7/a.md": "mindspore/1.7/a",
    }


def test_folders_above_the_cards_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "builds/2.0/work").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "builds/2.0/work")
    touch("cards/a.md")
    assert uids("cards") == {"cards/a.md": "a"}


def test_a_folder_is_searched_for_cards_only(here: Path) -> None:
    touch("a.md", "b/c.md", "b/README.md", "readme.md", "CHANGELOG.md", "CONTRIBUTING.md", "b/LICENSE.md")
    touch("b/notes.txt", "b/card.markdown", "b/.hidden.md", ".git/d.md", "b/folder.md/e.md", "README_cn.md")
    assert list(uids(".")) == ["README_cn.md", "a.md", "b/c.md", "b/folder.md/e.md"]
    # The registry, which lists models, has the same idea of a card.
    registry = Registry([here])
    assert {*registry.uids(), *(uid for uid, _ in registry.damaged())} == set(uids(".").values())


def test_a_file_that_is_given_is_a_card_whatever_its_name(here: Path) -> None:
    touch("README.md", "card.txt", ".hidden.md")
    assert list(uids("README.md", "card.txt", ".hidden.md")) == [".hidden.md", "README.md", "card.txt"]


def test_each_card_is_found_once_in_natural_order(here: Path) -> None:
    touch("m/1.9/a.md", "m/1.10/a.md", "m/1.10/b9.md", "m/1.10/b10.md")
    again = uids(".", "m", "./m/1.9/../1.9/a.md", str(here / "m/1.9/a.md"))
    assert list(again) == ["m/1.9/a.md", "m/1.10/a.md", "m/1.10/b9.md", "m/1.10/b10.md"]


def test_paths_outside_the_working_folder_are_shown_whole(here: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("a.md")
    elsewhere = here.parent / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert list(uids("../here")) == [str(here / "a.md")]


def test_links_to_cards_are_cards_and_links_to_folders_are_not_followed(here: Path) -> None:
    touch("real/a.md")
    Path("linked.md").symlink_to("real/a.md")
    Path("again").symlink_to("real")
    Path("real/loop").symlink_to("..")
    assert list(uids(".")) == ["linked.md", "real/a.md"]
    # Given by name, a link is what it leads to.
    assert list(uids("again")) == ["again/a.md"]


def test_a_broken_link_is_told_and_the_others_are_checked(here: Path) -> None:
    touch("a.md")
    Path("broken.md").symlink_to("nowhere.md")
    report = check(".")
    assert [(item.path, item.reason) for item in report.unreadable] == [("broken.md", "No such file or directory")]
    assert (report.checked, report.ok) == (1, False)
    assert {finding.path for finding in report.findings} == {"a.md"}


def test_what_is_no_regular_file_is_told_and_not_waited_for(here: Path) -> None:
    touch("a.md")
    os.mkfifo("pipe.md")
    Path("device.md").symlink_to("/dev/zero")
    report = check(".")
    assert {(item.path, item.reason) for item in report.unreadable} == {
        ("pipe.md", "not a regular file"),
        ("device.md", "not a regular file"),
    }
    assert report.checked == 1


@contextlib.contextmanager
def without_rights() -> Iterator[Path]:
    """A working folder that anybody may read, in the role of nobody where the tests run as root."""
    before, user = Path.cwd(), os.geteuid()
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        os.chdir(name)
        try:
            yield Path(name)
        finally:
            os.seteuid(user)
            os.chdir(before)


def test_folders_and_cards_without_read_permission_are_told() -> None:
    with without_rights() as folder:
        touch("a.md", "secret.md", "locked/b.md", "open/c.md")
        Path("secret.md").chmod(0)
        Path("locked").chmod(0)
        check(".")  # what is imported late, still with all rights
        if os.geteuid() == 0:
            os.seteuid(NOBODY)
        report = check(".")
        with pytest.raises(UsageError) as caught:
            check("locked/b.md")
        os.seteuid(os.getuid())
        (folder / "locked").chmod(0o755)
    assert {(item.path, item.reason) for item in report.unreadable} == {
        ("secret.md", "Permission denied"),
        ("locked", "Permission denied"),
    }
    assert {finding.path for finding in report.findings} == {"a.md", "open/c.md"}
    assert (report.checked, report.ok) == (2, False)
    assert (caught.value.where, caught.value.got) == ("locked/b.md", "Permission denied")


@pytest.mark.parametrize("path", ["nowhere", "nowhere/a.md", "a.md/b.md", "x" * 300, "a\0b", ""])
def test_a_path_that_is_not_there_is_refused(path: str, here: Path) -> None:
    touch("a.md")
    with pytest.raises(UsageError) as caught:
        check("a.md", path)
    assert caught.value.where == (path or '""')
    assert "cannot be read" in caught.value.message


def test_no_path_at_all_is_refused(here: Path) -> None:
    with pytest.raises(UsageError, match="no path"):
        check()


def test_a_folder_without_cards_is_refused(here: Path) -> None:
    touch("README.md")
    with pytest.raises(UsageError, match="no card to check"):
        check(".")


def test_other_markdown_beside_cards_in_their_folders_is_left_alone(here: Path) -> None:
    for name in ("docs/guide.md", "mindspore/1.7/broken.md", "mindspore/1.7/net.md"):
        touch(name)
    Path("docs/guide.md").write_text("# Guide\n\nHow to.\n", encoding="utf-8")
    Path("docs/lost.md").write_text("# net\n\nmodel-name: net\n", encoding="utf-8")
    Path("mindspore/1.7/broken.md").write_text("# net\n\nno fields\n", encoding="utf-8")
    report = check(".")
    broken = {finding.path for finding in report.findings if finding.code == "MC001"}
    assert broken == {"docs/lost.md", "mindspore/1.7/broken.md", "mindspore/1.7/net.md"}


def test_loose_markdown_is_held_for_cards(here: Path) -> None:
    Path("loose.md").write_text("# net\n\nno fields\n", encoding="utf-8")
    assert [finding.code for finding in check(".").findings] == ["MC001"]


def test_a_name_that_is_no_utf_8_is_checked_all_the_same(here: Path) -> None:
    name = os.fsdecode(b"caf\xe9.md")
    try:
        touch(name)
    except OSError:
        pytest.skip("this file system takes UTF-8 names only")
    report = check(".")
    assert report.checked == 1
    assert {finding.path for finding in report.findings} == {name}
    str(report).encode("utf-8")


def test_hundreds_of_findings_of_one_rule_are_cut_with_a_word_about_the_rest(here: Path) -> None:
    fields = "".join(f"strange-{number}: x\n" for number in range(200))
    Path("own").mkdir()
    Path("own/net.md").write_text(f"# net\n\n---\n{fields}---\n\n## What it is\n", encoding="utf-8")
    told = [finding.message for finding in check("own").findings if finding.code == "MC007"]
    assert len(told) == 50
    assert [message.endswith("(and more like this below)") for message in told] == [False] * 49 + [True]
