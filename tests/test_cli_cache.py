"""`mshub fetch` and `mshub cache`: what is downloaded, kept, and told."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from commands import PATIENCE, answer, environment, interrupted, refused, run, started
from faultserver import Fault, FaultServer, noise
from shelf import Shelf, as_nobody, command_without_sockets, read_only, sha256, tree, without_sockets

from mshub_ssd import store
from mshub_ssd.errors import OfflineError
from mshub_ssd.settings import Settings

CAT, DOG, TWIN = "own/1.0/cat", "own/1.0/dog", "own/1.1/cat"
DAY = 86400


@pytest.fixture
def shelf(tmp_path: Path, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    return Shelf(tmp_path / "cards", fault_server)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "mshub-home"


@pytest.fixture
def pets(shelf: Shelf) -> dict[str, str]:
    """Three models; two of them have the same checkpoint under different addresses."""
    cat, dog = noise(30_000, 1), noise(20_000, 2)
    return {CAT: shelf.put(CAT, cat), DOG: shelf.put(DOG, dog), TWIN: shelf.put(TWIN, cat)}


def blob(home: Path, digest: str) -> Path:
    return home / "v1" / "blobs" / "sha256" / digest[:2] / digest


def flip(path: Path) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)


def last_used(path: Path, days: float) -> None:
    when = time.time() - days * DAY
    os.utime(path, (when, when))


# --- fetch


def test_fetch_takes_several_uids_and_keeps_their_order(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    result = run("fetch", DOG, CAT, TWIN, DOG)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.splitlines() == [str(blob(home, pets[uid])) for uid in (DOG, CAT, TWIN)]
    assert len(store.entries()) == 2
    assert shelf.server.sent == 50_000, "equal bytes travel once"
    facts = answer("fetch", CAT, DOG)
    assert [(one["uid"], one["sha256"], one["size"]) for one in facts] == [
        (CAT, pets[CAT], 30_000),
        (DOG, pets[DOG], 20_000),
    ]


def test_one_failure_does_not_stop_the_others(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    gone = shelf.put("own/1.0/gone", b"gone", served=False)
    result = run("fetch", "own/1.0/gone", "own/1.0/none", DOG)
    assert result.exit_code == 1
    assert result.stdout.splitlines() == [str(blob(home, pets[DOG]))]
    assert "404" in result.stderr
    assert "no model card of that name" in result.stderr
    assert not blob(home, gone).exists()
    whole = run("fetch", "own/1.0/gone", DOG, CAT, "--json")
    assert whole.exit_code == 1
    lost, *others = json.loads(whole.stdout)
    assert (lost["uid"], lost["error"]["code"]) == ("own/1.0/gone", "transfer")
    assert "404" in lost["error"]["got"]
    assert [one["uid"] for one in others] == [DOG, CAT]
    plan = json.loads(run("fetch", "own/1.0/none", CAT, "--dry-run", "--json").stdout)
    assert (plan[0]["error"]["code"], plan[1]["uid"]) == ("unknown-model", CAT)


def test_wildcards_mean_models_with_a_checkpoint(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    bare = shelf.folder / "own/1.0/bare.md"
    bare.write_text("# bare\n\n---\n\nmodel-name: bare\n\n---\n\n## It\n", encoding="utf-8")
    result = run("fetch", "own/1.0/*", TWIN, CAT)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [str(blob(home, pets[uid])) for uid in (CAT, DOG, TWIN)]
    assert result.stderr == "warning: own/1.0/*: 1 left out, without a checkpoint that can be loaded\n"
    assert "no model fits" in refused("fetch", "own/9.*")
    assert "no model with a checkpoint fits" in refused("fetch", "own/*/ba[r]e")
    odd = shelf.folder / "odd[1].md"
    odd.write_bytes((shelf.folder / f"{DOG}.md").read_bytes())
    assert run("fetch", odd).stdout.splitlines() == [str(blob(home, pets[DOG]))], "a file's name is no wildcard"


def test_the_size_is_told_before_a_download(
    shelf: Shelf, pets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    card = shelf.folder / f"{CAT}.md"
    card.write_text(card.read_text().replace("  asset-sha256", "  asset-size: 30000\n  asset-sha256"))
    assert re.search(r"^  size +30 kB$", run("info", CAT).stdout, re.MULTILINE)
    assert "  size" not in run("info", DOG).stdout
    assert [answer("info", uid)["size"] for uid in (CAT, DOG)] == [30_000, None]
    assert [one["size"] for one in answer("list", "own/1.0/*")] == [30_000, None]
    assert [one["size"] for one in answer("fetch", "--dry-run", CAT, DOG)] == [30_000, None]
    plan = run("fetch", "--dry-run", CAT, DOG).stdout
    assert re.search(rf"^{CAT}\n  from .*\n  size +30 kB\n  sha256 ", plan)
    assert plan.endswith("0 of 2 here, 2 files to download, at least 30 kB.\n")
    assert run("fetch", "--dry-run", CAT).stdout.endswith("1 file to download, 30 kB.\n")
    monkeypatch.setattr("mshub_ssd.cli.models.on_terminal", lambda: True)
    monkeypatch.setenv("COLUMNS", "200")
    _, cat, dog = run("list", "own/1.0/*").stdout.splitlines()
    assert cat.split()[-3:-1] == ["30", "kB"]
    assert "kB" not in dog
    run("fetch", DOG)
    assert [one["size"] for one in answer("fetch", "--dry-run", CAT, DOG)] == [30_000, 20_000]


def test_dry_run_tells_and_touches_nothing(shelf: Shelf, pets: dict[str, str], home: Path, tmp_path: Path) -> None:
    shelf.put("own/1.0/bird", b"bird", beside=True)
    here = run("fetch", DOG).stdout.strip()
    shelf.server.requests.clear()
    before = tree(tmp_path)
    facts = {one["uid"]: one for one in answer("fetch", "own/*", "--dry-run")}
    assert facts[DOG] == {
        "uid": DOG,
        "sha256": pets[DOG],
        "sha256_digits": 64,
        "path": here,
        "size": 20_000,
        "sources": [],
        "kept": 0,
    }
    assert (facts[CAT]["path"], facts[CAT]["sources"]) == (None, [shelf.url(CAT)])
    assert facts["own/1.0/bird"]["path"] == str(shelf.folder / "own/1.0/bird.ckpt")
    shown = run("fetch", "--dry-run", CAT, DOG, TWIN).stdout
    assert shelf.url(CAT) in shown
    assert here in shown
    assert "1 of 3 here, 1 file to download." in shown
    assert command_without_sockets("fetch", "--dry-run", CAT, DOG, TWIN) == shown
    # Looking at the cards leaves their index.
    assert {name: what for name, what in tree(tmp_path).items() if "/index" not in name} == before
    assert shelf.server.requests == []
    assert "forbidden" in refused("fetch", "--dry-run", "--offline", CAT)


def test_dry_run_shows_the_mirror_but_no_secret(
    shelf: Shelf, pets: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSHUB_ENDPOINT", "https://user:secret@mirror.example/hub")
    monkeypatch.setenv("MSHUB_TOKEN", "hidden")
    result = run("fetch", "--dry-run", CAT)
    assert f"https://mirror.example/hub/{shelf.server.host}/{CAT}.ckpt" in result.stdout
    assert "secret" not in result.output
    assert "hidden" not in result.output


@pytest.mark.parametrize("place", ["before", "after"])
def test_offline_forbids_the_network_for_one_run(shelf: Shelf, pets: dict[str, str], place: str) -> None:
    def offline(*args: object) -> tuple[object, ...]:
        return ("--offline", *args) if place == "before" else (*args, "--offline")

    said = refused(*offline("fetch", CAT))
    assert "the network is forbidden" in said
    assert pets[CAT] in said
    assert shelf.server.requests == []
    assert "MSHUB_OFFLINE" not in os.environ
    path = run("fetch", CAT).stdout
    assert run(*offline("fetch", CAT)).stdout == path


@pytest.mark.parametrize("command", ["fetch", "detect", "classify", "doctor", "bundle make"])
def test_all_that_downloads_takes_offline(command: str) -> None:
    assert "--offline" in run(*command.split(), "-h").stdout


def test_with_sockets_blocked_every_cached_path_works(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    path = run("fetch", CAT).stdout
    run("fetch", DOG)
    for command in (["fetch", CAT], ["cache", "path", CAT], ["fetch", "--offline", CAT]):
        assert command_without_sockets(*command) == path
    shown = command_without_sockets("cache", "ls", "--long")
    assert pets[DOG] in shown
    assert "2 files verified" in command_without_sockets("cache", "verify")
    program = f"import mshub_ssd; print(mshub_ssd.fetch({CAT!r}))"
    assert without_sockets(program) == path


@contextlib.contextmanager
def fetching(home: Path, *uids: str) -> Iterator[subprocess.Popen[str]]:
    """`mshub fetch` in a process, once some of each checkpoint has arrived."""
    child = started("fetch", *uids)
    try:
        until = time.monotonic() + PATIENCE
        while sum(part.stat().st_size >= 10_000 for part in (home / "v1" / "tmp").glob("*.part")) < len(uids):
            assert child.poll() is None
            assert time.monotonic() < until
            time.sleep(0.01)
        yield child
    finally:
        child.kill()
        child.communicate()


def test_ctrl_c_keeps_the_part_and_says_how_to_go_on(shelf: Shelf, home: Path) -> None:
    data = noise(40_000)
    digest = shelf.put(CAT, data)
    shelf.server.add(f"/{CAT}.ckpt", data, Fault(stall_after=10_000))
    with fetching(home, CAT) as child:
        living = run("cache", "ls", "--all").stdout
        assert "is downloading it" in living
        assert run("cache", "prune").stdout == "Nothing to remove.\n", "what is under way stays"
        out, err = interrupted(child)
    assert (child.returncode, out) == (130, "")
    assert err.splitlines()[-1] == "interrupted"
    assert f"fetch {CAT}\n" in err
    assert "Traceback" not in err
    assert answer("fetch", "--dry-run", CAT)[0]["kept"] == 10_000
    assert "10 kB of it are here already" in run("fetch", "--dry-run", CAT).stdout
    (part,) = answer("cache", "ls", "--all")
    assert (part["kind"], part["size"], part["uids"]) == ("part", 10_000, [CAT])
    assert "interrupted; fetching goes on after it" in run("cache", "ls", "--all").stdout
    assert run("fetch", CAT).stdout.strip() == str(blob(home, digest))
    assert shelf.server.seen(f"/{CAT}.ckpt")[-1].headers["range"] == "bytes=10000-"


def test_ctrl_c_stops_several_downloads_and_keeps_all_parts(shelf: Shelf, home: Path) -> None:
    for number, uid in enumerate((CAT, DOG)):
        data = noise(40_000, number)
        shelf.put(uid, data)
        shelf.server.add(f"/{uid}.ckpt", data, Fault(stall_after=10_000))
    with fetching(home, CAT, DOG) as child:
        asked = len(shelf.server.requests)
        out, err = interrupted(child)
    assert (child.returncode, out) == (130, "")
    assert len(shelf.server.requests) == asked, "nobody was asked again"
    assert f"fetch {CAT} {DOG}\n" in err
    assert [one["kept"] for one in answer("fetch", "--dry-run", CAT, DOG)] == [10_000, 10_000]
    assert len(run("fetch", CAT, DOG).stdout.splitlines()) == 2


def test_progress_is_for_people_and_silence_for_logs(shelf: Shelf, pets: dict[str, str]) -> None:
    ours, theirs = pty.openpty()
    try:
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 25, 80, 0, 0))
        command = [sys.executable, "-m", "mshub_ssd", "fetch", CAT, DOG]
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=theirs, env=environment(), timeout=PATIENCE)
        shown = os.read(ours, 65536).decode()
    finally:
        os.close(ours)
        os.close(theirs)
    assert done.returncode == 0
    assert "2 files" in shown
    assert run("cache", "rm", CAT, DOG).exit_code == 0
    assert run("fetch", CAT, DOG).stderr == ""


# --- ls


def test_an_empty_cache_says_how_to_fill_it(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    result = run("cache", "ls")
    assert (result.exit_code, result.stdout) == (0, "")
    assert str(home) in result.stderr
    assert "fetch UID" in result.stderr
    assert answer_quietly("cache", "ls") == []
    assert answer_quietly("cache", "verify") == []
    assert run("cache", "prune").stdout == "Nothing to remove.\n"
    assert not home.exists()


def answer_quietly(*args: object) -> object:
    return json.loads(run(*args, "--json", "-q").stdout)


def test_ls_shows_who_shares_a_file_and_when_it_was_used(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    run("fetch", CAT, DOG)
    last_used(blob(home, pets[DOG]), 3)
    rows = run("cache", "ls").stdout.splitlines()
    assert rows[0].split() == ["digest", "size", "used", "for"]
    cat = next(row for row in rows if row.startswith(pets[CAT][:12]))
    dog = next(row for row in rows if row.startswith(pets[DOG][:12]))
    assert cat.endswith(f"30 kB  just now    {CAT}, shared by 2 uids")
    assert dog.endswith(f"20 kB  3 days ago  {DOG}")
    assert rows[-1] == "2 files, 50 kB in all"
    long = run("cache", "ls", "--long").stdout
    assert pets[CAT] in long
    assert TWIN in long
    facts = {one["digest"]: one for one in answer("cache", "ls")}
    assert facts[pets[CAT]]["uids"] == [CAT, TWIN]
    assert facts[pets[CAT]]["labels"] == [CAT]
    assert facts[pets[DOG]]["size"] == 20_000
    assert facts[pets[DOG]]["path"] == str(blob(home, pets[DOG]))


def test_ls_shows_files_without_a_card(shelf: Shelf, pets: dict[str, str]) -> None:
    run("fetch", DOG)
    (shelf.folder / f"{DOG}.md").unlink()
    assert f"{DOG}, which no card names" in run("cache", "ls").stdout


def test_ls_all_shows_what_was_found_damaged(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    run("fetch", CAT, DOG)
    flip(blob(home, pets[CAT]))
    run("cache", "verify")
    assert [one["kind"] for one in answer("cache", "ls")] == ["file"]
    assert [one["kind"] for one in answer("cache", "ls", "--all")] == ["file", "quarantined"]
    shown = run("cache", "ls", "--all").stdout
    assert "(quarantined)" in shown
    assert "1 file and 1 other thing, 50 kB in all" in shown


def test_several_caches(
    shelf: Shelf, pets: dict[str, str], home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run("fetch", CAT)
    monkeypatch.setenv("MSHUB_HOME", os.pathsep.join([str(tmp_path / "new"), str(home)]))
    run("fetch", CAT, DOG)
    facts = {one["digest"]: one["home"] for one in answer("cache", "ls")}
    assert facts == {pets[CAT]: str(home), pets[DOG]: str(tmp_path / "new")}
    shown = run("cache", "ls").stdout
    assert shown.startswith(f"{tmp_path / 'new'}:\n")
    assert f"{home}:\n" in shown
    assert run("cache", "path").stdout.splitlines() == [str(tmp_path / "new"), str(home)]
    assert [(one["path"], one["receives"]) for one in answer("cache", "path")] == [
        (str(tmp_path / "new"), True),
        (str(home), False),
    ]


# --- verify


def test_verify_finds_and_quarantines_what_is_wrong(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    run("fetch", CAT, DOG)
    assert run("cache", "verify").stdout == "2 files verified, 50 kB: all as promised\n"
    victim = blob(home, pets[CAT])
    status = victim.stat()
    flip(victim)
    os.utime(victim, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert run("cache", "verify", DOG).exit_code == 0
    result = run("cache", "verify")
    assert result.exit_code == 1
    assert f"damaged: {victim}" in result.stdout
    assert f"fetch {CAT}" in result.stdout
    assert "2 files verified, 50 kB: 1 damaged" in result.stdout
    assert not victim.exists()
    assert run("fetch", CAT).exit_code == 0
    assert sha256(victim.read_bytes()) == pets[CAT]
    flip(victim)
    whole = run("cache", "verify", CAT, "--json")
    assert whole.exit_code == 1
    (facts,) = json.loads(whole.stdout)
    assert (facts["digest"], facts["moved"]) == (pets[CAT], True)
    assert facts["fault"]


# --- prune and rm


def test_prune_removes_rubbish_and_what_was_asked_for(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    bird = shelf.put("own/1.0/bird", noise(10_000, 3))
    run("fetch", "own/*")
    for digest, days in ((pets[CAT], 40), (pets[DOG], 20), (bird, 1)):
        last_used(blob(home, digest), days)
    before = tree(home)
    assert run("cache", "prune").stdout == "Nothing to remove.\n"
    plan = run("cache", "prune", "--unused-for", "30d", "--dry-run").stdout
    assert f"would remove {pets[CAT][:12]}" in plan
    assert "1 file: 30 kB would be freed" in plan
    assert tree(home) == before
    facts = answer("cache", "prune", "--unused-for", "2w", "--dry-run")
    assert facts["dry_run"] is True
    assert {one["digest"] for one in facts["removed"]} == {pets[CAT], pets[DOG]}
    assert facts["freed"] == 50_000
    assert "1 file: 30 kB freed" in run("cache", "prune", "--max-size", "30 kB").stdout
    assert {entry.digest for entry in store.entries()} == {pets[DOG], bird}
    answer("cache", "prune", "--max-size", "0.01MB")
    assert [entry.digest for entry in store.entries()] == [bird]
    flip(blob(home, bird))
    run("cache", "verify")
    assert run("cache", "prune").stdout == "1 quarantined file: 10 kB freed\n"
    assert store.entries(kinds=("file", "part", "quarantined", "rubbish")) == []


@pytest.mark.parametrize(
    "args", [["--unused-for", "30"], ["--unused-for", "-1d"], ["--max-size", "10"], ["--max-size", "xGB"]]
)
def test_prune_wants_units(args: list[str]) -> None:
    assert "such as" in refused("cache", "prune", *args, code=2)


def test_rm_takes_digests_and_uids(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    run("fetch", CAT, DOG)
    before = tree(home)
    assert "would remove" in run("cache", "rm", TWIN, "--dry-run").stdout
    assert tree(home) == before
    facts = answer("cache", "rm", TWIN, pets[DOG][:8])
    assert {one["digest"] for one in facts["removed"]} == {pets[CAT], pets[DOG]}
    assert (facts["freed"], facts["kept"]) == (50_000, [])
    assert store.entries() == []
    assert f"nothing of {CAT} is in the cache" in refused("cache", "rm", CAT)
    assert "holds no such file" in refused("cache", "rm", "0" * 64)
    assert "no model card" in refused("cache", "rm", "own/1.0/ca")
    shelf.put("own/1.0/bird", b"bird", beside=True)
    assert "bird.ckpt, which lies beside its card" in refused("cache", "rm", "own/1.0/bird")


def test_rm_of_a_model_with_a_short_digest_takes_the_recorded_file_only(shelf: Shelf, home: Path) -> None:
    digest = shelf.put(CAT, noise(1000), digits=8)
    assert "nothing of" in refused("cache", "rm", CAT)
    run("fetch", CAT)
    assert answer("cache", "rm", CAT)["removed"][0]["digest"] == digest


# --- path


def test_path_tells_what_is_here_and_where(shelf: Shelf, pets: dict[str, str], home: Path) -> None:
    shelf.put("own/1.0/bird", b"bird", beside=True)
    assert run("cache", "path").stdout == f"{home}\n"
    said = refused("cache", "path", CAT)
    assert f"fetch {CAT}" in said
    assert shelf.server.requests == []
    run("fetch", CAT)
    assert run("cache", "path", TWIN).stdout == f"{blob(home, pets[CAT])}\n"
    assert answer("cache", "path", CAT) == {"uid": CAT, "path": str(blob(home, pets[CAT]))}
    assert run("cache", "path", "own/1.0/bird").stdout == f"{shelf.folder}/own/1.0/bird.ckpt\n"
    flip(blob(home, pets[CAT]))
    assert "not in the cache" in refused("cache", "path", CAT), "a damaged file is not here"


# --- add


def test_add_takes_in_a_file_for_all_models_that_promise_it(
    shelf: Shelf, pets: dict[str, str], home: Path, tmp_path: Path
) -> None:
    carried = tmp_path / "stick" / "whatever.bin"
    carried.parent.mkdir()
    carried.write_bytes(noise(30_000, 1))
    (facts,) = answer("cache", "add", carried)
    assert facts == {
        "file": str(carried),
        "path": str(blob(home, pets[CAT])),
        "sha256": pets[CAT],
        "size": 30_000,
        "uids": [CAT, TWIN],
    }
    assert f"for {CAT}, {TWIN}" in run("cache", "add", carried).stdout
    assert shelf.server.requests == []
    assert command_without_sockets("fetch", CAT, TWIN).splitlines() == [facts["path"]] * 2
    assert answer("cache", "ls")[0]["labels"] == [CAT, TWIN]
    assert store.entries(kinds=("part", "rubbish")) == []


def test_add_records_which_file_a_short_digest_means(shelf: Shelf, home: Path, tmp_path: Path) -> None:
    data = noise(3000)
    digest = shelf.put(CAT, data, digits=8)
    carried = tmp_path / "cat.ckpt"
    carried.write_bytes(data)
    assert answer("cache", "add", carried)[0]["uids"] == [CAT]
    assert command_without_sockets("fetch", CAT) == f"{blob(home, digest)}\n"
    offline = Settings(home=home, offline=True)
    assert store.fetch([shelf.url(CAT)], digest[:8], settings=offline) == blob(home, digest)
    with pytest.raises(OfflineError):
        store.fetch([shelf.url(DOG)], digest[:8], settings=offline)


def test_add_refuses_what_no_card_names(shelf: Shelf, pets: dict[str, str], home: Path, tmp_path: Path) -> None:
    stranger, cut = tmp_path / "stranger.ckpt", tmp_path / "cat.ckpt"
    stranger.write_bytes(b"stranger")
    cut.write_bytes(noise(30_000, 1)[:-1])
    said = refused("cache", "add", stranger)
    assert sha256(b"stranger") in said
    assert "--sha256 DIGEST" in said
    assert f"{pets[CAT]} for {CAT}" in refused("cache", "add", cut), "its name says what it should have been"
    assert "No such file" in refused("cache", "add", tmp_path / "none")
    assert "regular file" in refused("cache", "add", tmp_path)
    assert [part.name for part in home.iterdir()] == ["index"]
    assert "not the one that is wanted" in refused("cache", "add", stranger, "--sha256", "0" * 64)
    assert "64 hex digits" in refused("cache", "add", stranger, "--sha256", "nonsense")
    refused("cache", "add", stranger, cut, "--sha256", "0" * 64, code=2)
    assert store.entries(kinds=("file", "part", "quarantined")) == []
    (facts,) = answer("cache", "add", stranger, "--sha256", sha256(b"stranger")[:12].upper())
    assert (facts["path"], facts["uids"]) == (str(blob(home, sha256(b"stranger"))), [])
    assert "no card names it" in run("cache", "ls").stdout


def test_add_goes_on_after_a_refusal(shelf: Shelf, pets: dict[str, str], tmp_path: Path) -> None:
    good, bad = tmp_path / "good", tmp_path / "bad"
    good.write_bytes(noise(20_000, 2))
    bad.write_bytes(b"bad")
    result = run("cache", "add", bad, good, "--json")
    assert result.exit_code == 1
    left, taken = json.loads(result.stdout)
    assert (left["file"], left["error"]["code"]) == (str(bad), "integrity")
    assert taken["uids"] == [DOG]
    assert result.stderr.startswith("error: no model card names this file")


def test_add_says_where_a_file_beside_its_card_goes(shelf: Shelf, tmp_path: Path) -> None:
    shelf.put(CAT, b"cat", beside=True)
    (shelf.folder / f"{CAT}.ckpt").unlink()
    carried = tmp_path / "carried"
    carried.write_bytes(b"cat")
    assert f"cp {carried} {shelf.folder}/{CAT}.ckpt" in refused("cache", "add", carried)


# --- a cache that cannot be written


def test_a_read_only_cache_is_served_and_left_alone(fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as folder:
        room = Path(folder)
        room.chmod(0o755)  # for nobody
        shelf = Shelf(room / "cards", fault_server)
        cat, bird = shelf.put(CAT, noise(30_000)), shelf.put("own/1.0/bird", b"bird")
        (room / "carried").write_bytes(b"bird")
        home = room / "home"
        monkeypatch.setenv("MSHUB_REGISTRY", str(room / "cards"))
        monkeypatch.setenv("MSHUB_HOME", str(home))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(room))
        run("fetch", CAT)
        with read_only(home):
            before = tree(home)
            path = f"{blob(home, cat)}\n"
            assert as_nobody("fetch", CAT) == (0, path, "")
            assert as_nobody("cache", "path", CAT) == (0, path, "")
            assert as_nobody("cache", "verify")[0] == 0
            code, out, err = as_nobody("cache", "rm", CAT)
            assert (code, out) == (1, "Nothing to remove.\n")
            assert "the cache is read-only" in err
            for command in (["fetch", "own/1.0/bird"], ["cache", "add", room / "carried"]):
                code, out, err = as_nobody(*command)
                assert (code, out) == (1, "")
                assert "MSHUB_HOME" in err
            (facts,) = json.loads(as_nobody("cache", "path", "--json")[1])
            assert (facts["writable"], facts["receives"]) == (False, False)
            assert tree(home) == before
        assert not blob(home, bird).exists()


def test_help_says_what_there_is() -> None:
    shown = run("cache", "-h").stdout
    for command in ("ls", "verify", "prune", "rm", "path", "add"):
        assert f"\n  {command} " in shown
        assert "--json" in run("cache", command, "-h").stdout
