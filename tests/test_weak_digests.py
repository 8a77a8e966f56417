"""Digests of fewer than 64 digits: shown as weak, and told when a file is believed because of one."""

from __future__ import annotations

import json
import warnings
import zlib
from pathlib import Path

import pytest
from commands import answer, process, run
from faultserver import FaultServer, noise
from shelf import Shelf, sha256

import mshub_ssd
from mshub_ssd import store
from mshub_ssd.errors import IntegrityError, WeakDigestWarning
from mshub_ssd.hub import Hub
from mshub_ssd.settings import Settings

CAT, DOG = "own/1.0/cat", "own/1.0/dog"


@pytest.fixture
def shelf(tmp_path: Path, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    return Shelf(tmp_path / "cards", fault_server)


@pytest.fixture
def cat(shelf: Shelf, request: pytest.FixtureRequest) -> str:
    """A card with 12 digits; its bytes are those of the test, since each file is told once per process."""
    return shelf.put(CAT, noise(3000, zlib.crc32(request.node.nodeid.encode())), digits=12)


def warned(call: object) -> list[str]:
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        call()  # type: ignore[operator]
    return [str(one.message) for one in found if issubclass(one.category, WeakDigestWarning)]


def test_the_first_use_is_told_with_what_to_write_and_later_ones_are_not(shelf: Shelf, cat: str) -> None:
    (told,) = warned(lambda: mshub_ssd.fetch(CAT))
    assert told.startswith(f"{CAT}: the card gives only 12 of the 64 digits")
    assert "on record" in told
    assert told.endswith(f"asset-sha256: {cat}")
    assert "\n" not in told
    assert warned(lambda: mshub_ssd.fetch(CAT)) == []
    # The full digest counts from now on, as before.
    shelf.server.add(f"/{CAT}.ckpt", b"another file")
    with pytest.raises(IntegrityError, match="recorded on first use"):
        store.fetch([shelf.url(CAT)], cat[:12], force=True)


def test_it_is_a_warning_that_can_be_made_an_error(shelf: Shelf, cat: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error", WeakDigestWarning)
        with pytest.raises(WeakDigestWarning):
            mshub_ssd.fetch(CAT)
    assert issubclass(WeakDigestWarning, UserWarning)


def test_several_downloads_tell_it_for_each(shelf: Shelf, cat: str) -> None:
    shelf.put(DOG, noise(3000, 77), digits=63)
    shelf.put("own/1.0/whole", noise(3000, 78))
    told = warned(lambda: Hub().fetch_many([CAT, DOG, "own/1.0/whole"]))
    assert sorted(text.partition(":")[0] for text in told) == [CAT, DOG]
    assert "only 63 of the 64" in "".join(told)


def test_a_download_that_fails_believes_nothing(shelf: Shelf, cat: str) -> None:
    shelf.server.add(f"/{CAT}.ckpt", b"another file")

    def call() -> None:
        with pytest.raises(IntegrityError):
            mshub_ssd.fetch(CAT)

    assert warned(call) == []


def test_a_whole_digest_and_a_listing_tell_nothing(shelf: Shelf, cat: str, tmp_path: Path) -> None:
    shelf.put(DOG, b"dog")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        mshub_ssd.fetch(DOG)
        mshub_ssd.list_models(loadable=True)
        mshub_ssd.info(CAT)
        mshub_ssd.search("small")
        Hub().plan_fetch(CAT)
        store.cached([shelf.url(CAT)], cat[:12], Settings(home=tmp_path))
    for command in (
        ("list", "--json"),
        ("info", CAT),
        ("fetch", "--dry-run", CAT),
        ("cache", "ls"),
        ("search", "small"),
    ):
        assert run(*command).stderr == ""


def test_a_file_beside_its_card_is_told_too(shelf: Shelf) -> None:
    digest = shelf.put(CAT, noise(100, 5), digits=8, beside=True)
    (told,) = warned(lambda: mshub_ssd.fetch(CAT))
    assert "only 8 of the 64 digits" in told
    assert "nothing is on record" in told
    assert told.endswith(digest)
    assert warned(lambda: mshub_ssd.fetch(CAT)) == [], "once per process"


def test_fetch_tells_it_in_one_line_whenever_it_is_used(shelf: Shelf, cat: str) -> None:
    for _ in range(2):  # at first use, and later
        done = process("fetch", CAT)
        assert done.returncode == 0
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"warning: {CAT}: the card gives only 12 of the 64 digits")
        assert Path(done.stdout.strip()).name == cat
    assert process("fetch", "-q", CAT).stderr == ""
    done = process("fetch", CAT, "--json")
    assert json.loads(done.stdout)[0]["sha256_digits"] == 12
    assert json.loads(done.stdout)[0]["sha256"] == cat


def test_programs_are_told_everywhere_by_the_same_field(shelf: Shelf, cat: str) -> None:
    shelf.put(DOG, b"dog")
    for uid, digits in ((CAT, 12), (DOG, 64)):
        assert answer("info", uid)["assets"][0]["sha256_digits"] == digits
        assert answer("fetch", "--dry-run", uid)[0]["sha256_digits"] == digits
        findings = json.loads(run("doctor", uid, "--json").stdout)["findings"]
        (asset,) = (one for one in findings if one["subject"] == "asset")
        assert asset["facts"]["sha256_digits"] == digits
        assert asset["state"] == ("note" if digits < 64 else "ok")
        assert mshub_ssd.info(uid).assets[0].sha256_digits == digits
        assert mshub_ssd.info(uid).to_dict()["assets"][0]["sha256_digits"] == digits


def test_people_are_told_everywhere_in_the_same_words(shelf: Shelf, cat: str) -> None:
    words = "(12 of 64 digits, which prove little)"
    shelf.put(DOG, b"dog")
    for command in (("info",), ("fetch", "--dry-run"), ("doctor",)):
        assert f"{cat[:12]}  {words}" in run(*command, CAT).stdout
        assert "prove little" not in run(*command, DOG).stdout
    mshub_ssd.fetch(CAT)
    assert words in run("fetch", "--dry-run", CAT).stdout


def test_what_is_no_digest_has_no_digits(shelf: Shelf) -> None:
    path = shelf.folder / f"{CAT}.md"
    shelf.put(CAT, b"cat")
    path.write_text(path.read_text().replace(sha256(b"cat"), "no digest"))
    assert mshub_ssd.info(CAT).assets[0].sha256_digits is None
    assert "prove little" not in run("info", CAT).stdout


def test_the_bundled_cards_with_short_digests_are_shown_as_such() -> None:
    found = {uid: mshub_ssd.info(uid).assets for uid in mshub_ssd.list_models("openmmlab/*")}
    assert [assets[0].sha256_digits for assets in found.values() if assets] == [8, 8, 8]
