"""The official client's traps, by their numbers in docs/migration.md, each sprung through its own door."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import time
import tracemalloc
import urllib.request
from pathlib import Path
from types import ModuleType

import compatlab
import pytest
from checkpointlab import ckpt_entry
from commands import PATIENCE, environment, run
from compatlab import CKPT, UID, Shelf, text
from faultserver import Fault, FaultServer
from shelf import NO_SOCKETS

import mshub_ssd as mshub
from mshub_ssd.errors import (
    CardError,
    IntegrityError,
    MshubError,
    TransferError,
    UnknownModelError,
    UnsupportedFormatError,
    WeakDigestWarning,
)
from mshub_ssd.store.transfer import override_policy

mindspore = pytest.importorskip("mindspore")

official, shelf = compatlab.official, compatlab.shelf  # fixtures
DIGEST = hashlib.sha256(CKPT).hexdigest()
BAD = CKPT[:-1] + b"\x01"


def python(code: str, *args: object, **more: str) -> str:
    """What a Python program says that succeeds."""
    command = [sys.executable, "-c", code, *map(str, args)]
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(**more), timeout=PATIENCE
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_trap_1_a_stranger_cannot_serve_what_it_likes(official: ModuleType, shelf: Shelf) -> None:
    shelf.put(data=BAD)
    with FaultServer() as stranger:
        shelf.put(
            "mindspore/1.8/led_away", link=shelf.server.add("/moved", b"", then=Fault(redirect=stranger.add("/x", BAD)))
        )
        for uid in (UID, "mindspore/1.8/led_away"):
            with pytest.raises(IntegrityError):
                official.load(uid)
        assert stranger.requests


def test_trap_2_what_is_here_needs_no_network(official: ModuleType, shelf: Shelf, tmp_path: Path) -> None:
    path = shelf.put(repo_link="https://repository.invalid/a/b")
    official.load(UID)
    asked = len(shelf.server.requests)
    official.load(UID)
    official.load(str(path), source="local")
    official.info.CellInfo(str(path))
    official._utils.check.ValidMarkdown(path)
    assert len(shelf.server.requests) == asked
    code = NO_SOCKETS + (
        "import mshub_ssd\n"
        "mshub_ssd.install_as_mindspore_hub()\n"
        "import mindspore_hub\n"
        f"print(sorted(mindspore_hub.load_weights({UID!r})))\n"
    )
    assert python(code, MSHUB_OFFLINE="1") == "['bias', 'weight']\n"


def test_trap_3_a_certificate_that_nobody_vouches_for_is_refused(official: ModuleType, shelf: Shelf) -> None:
    trustme = pytest.importorskip("trustme")
    import ssl

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    with FaultServer(tls=context) as server:
        shelf.put(link=server.add("/a.ckpt", CKPT))
        with pytest.raises(TransferError, match="certificate is refused"):
            official.load(UID)
        assert not server.requests


def test_trap_4_a_file_that_failed_once_fails_again(official: ModuleType, shelf: Shelf) -> None:
    shelf.put(data=BAD)
    for _ in range(2):
        with pytest.raises(IntegrityError):
            official.load(UID)
    shelf.put("mindspore/1.8/cut_pets", *[Fault(cut_after=10)] * 20)
    with override_policy(attempts=1), pytest.raises(TransferError):
        official.load("mindspore/1.8/cut_pets")
    shelf.server.add("/mindspore/1.8/cut_pets.ckpt", CKPT)
    assert official.load_weights("mindspore/1.8/cut_pets")["weight"].shape == (3, 2)
    # And a file that rots in the cache is not used.
    kept = mshub.fetch("mindspore/1.8/cut_pets")
    kept.chmod(0o600)
    kept.write_bytes(BAD)
    assert official.load_weights("mindspore/1.8/cut_pets")["bias"].asnumpy().tolist() == [1, 1, 1]
    assert mshub.fetch("mindspore/1.8/cut_pets").read_bytes() == CKPT


@pytest.mark.parametrize("digest", ["", '""', "0" * 64, "1234567812345678", "no", '"' + "g" * 64 + '"'])
def test_trap_5_no_digest_is_not_taken_for_a_match(digest: str, official: ModuleType, shelf: Shelf) -> None:
    shelf.put(digest=digest)
    with pytest.raises(IntegrityError):
        official.load(UID)


def test_trap_5_digests_may_be_written_large_and_short_ones_are_told(official: ModuleType, shelf: Shelf) -> None:
    shelf.put(digest=DIGEST.upper())
    assert official.load_weights(UID)
    shelf.put("mindspore/1.8/short_pets", digest=f'"{DIGEST[:8]}"')
    with pytest.warns(WeakDigestWarning, match=DIGEST):
        official.load_weights("mindspore/1.8/short_pets")


def test_trap_6_a_large_file_takes_little_memory_and_is_refused_before_it_is_loaded(
    official: ModuleType, shelf: Shelf
) -> None:
    large = ckpt_entry("weight", (16 << 20,), "Float32", bytes(64 << 20))
    shelf.put(data=large, digest=hashlib.sha256(large).hexdigest())
    tracemalloc.start()
    try:
        assert mshub.fetch(UID).stat().st_size == len(large)
        assert tracemalloc.get_traced_memory()[1] < len(large) / 3, "the server's copies count too"
    finally:
        tracemalloc.stop()
    # More bytes than the card says are not downloaded to the end, of which there is none here.
    endless = f"<{shelf.server.add('/endless', b'', then=Fault(infinite=True))}>"
    asset = {"file-format": "ckpt", "asset-link": endless, "asset-sha256": f'"{DIGEST}"', "asset-size": str(len(CKPT))}
    shelf.write("mindspore/1.8/endless_pets", text([asset]))
    with pytest.raises(IntegrityError):
        official.load("mindspore/1.8/endless_pets")


def test_trap_7_files_of_this_machine_are_not_fetched_and_formats_are_known_before(
    official: ModuleType, shelf: Shelf, tmp_path: Path
) -> None:
    (tmp_path / "secret.ckpt").write_bytes(CKPT)
    for link in (f"file://{tmp_path}/secret.ckpt", f"{tmp_path}/secret.ckpt", "../../../secret.ckpt", "ftp://h/a.ckpt"):
        shelf.put(link=link)
        with pytest.raises(CardError):
            official.load(UID)
    for ending in ("mindir", "mslite", "ms", "air"):
        shelf.put(f"mindspore/1.8/{ending}_pets", file_format=ending)
        with pytest.raises(UnsupportedFormatError):
            official.load(f"mindspore/1.8/{ending}_pets")
    assert not shelf.server.requests


def test_trap_8_no_code_of_a_repository_runs_and_two_networks_load(
    official: ModuleType, shelf: Shelf, tmp_path: Path
) -> None:
    path = shelf.put()
    repository = path.parent / "tiny"
    (repository / "src").mkdir(parents=True)
    ran = tmp_path / "ran"
    for file in (repository / "mindspore_hub_conf.py", repository / "src" / "__init__.py"):
        file.write_text(f"open({str(ran)!r}, 'w')\ndef create_network(*args): pass\n")
    shelf.put("mindspore/1.8/second_pets")
    before = list(sys.path)
    official.load(UID)
    official.load(str(path), source="local")
    official.load("mindspore/1.8/second_pets")
    assert sys.path == before
    assert not ran.exists()
    assert "src" not in sys.modules


def test_trap_9_nothing_of_a_card_reaches_a_shell(
    official: ModuleType, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*args: object, **kwargs: object) -> None:
        raise AssertionError("a program was started")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    monkeypatch.setattr(os, "system", refuse)
    shelf.put(repo_link=f'"https://gitee.com/a/b/tree/$(touch {tmp_path}/pwned)/c; touch {tmp_path}/pwned"')
    assert official.load(UID)
    assert official.hub_list()
    assert not (tmp_path / "pwned").exists()


def test_trap_10_no_archive_is_unpacked(official: ModuleType, shelf: Shelf) -> None:
    # The official client's unpacking has no caller, and here there is none; a bundle is the one archive that is read.
    assert not hasattr(official._utils, "download")
    shelf.put(link="weights.tar.gz", file_format="tar.gz")
    with pytest.raises(UnsupportedFormatError):
        official.load(UID)


def test_trap_11_importing_says_nothing_waits_for_nothing_and_asks_for_no_version() -> None:
    code = (
        "import sys, time\n"
        "time.sleep = None\n"
        "import mshub_ssd\n"
        "mshub_ssd.install_as_mindspore_hub()\n"
        "import mindspore_hub\n"
        "print(mindspore_hub.__version__, 'mindspore' in sys.modules, len(mindspore_hub.hub_list()) > 10)\n"
    )
    assert python(code) == "2.0.0 False True\n"


@pytest.mark.parametrize("uid", ["mindspore/1.3/albert_squadv1.1", "noah-cvlab/gpu/1.0/resnet-0.65x_v1.0_pets"])
@pytest.mark.parametrize("before", ["gitee.com/mindspore/hub/blob", "github.com/mindspore-ai/hub/tree"])
def test_trap_12_addresses_keep_dots_and_publishers(uid: str, before: str, official: ModuleType, shelf: Shelf) -> None:
    shelf.put(uid)
    for ending in (".md", ""):
        network = official.load(f"https://{before}/master/mshub_res/assets/{uid}{ending}")
        assert network.card.uid == uid


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "gbk"])
def test_trap_13_cards_are_utf8_whatever_the_locale(encoding: str, official: ModuleType, shelf: Shelf) -> None:
    shelf.put(summary="“quoted” \u2013 模型")
    code = (
        "import sys, mshub_ssd\n"
        "mshub_ssd.install_as_mindspore_hub()\n"
        "from mindspore_hub.info import CellInfo\n"
        f"print(CellInfo({UID!r}).name, ascii(mshub_ssd.info({UID!r}).summary[0]))\n"
    )
    locale = {"PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "LC_ALL": "C", "PYTHONIOENCODING": encoding}
    assert python(code, **locale) == "tiny '\\u201c'\n"


def test_trap_14_a_dash_is_no_false_and_versions_are_text(official: ModuleType, shelf: Shelf) -> None:
    for said in ("-", "no"):
        path = shelf.put(evaluation=said, mindspore_version="1.10", model_version="1.10")
        info = official.info.CellInfo(str(path))
        assert (info.evaluation, info.mindspore_version, info.model_version) == (None, "1.10", "1.10")


def test_trap_15_of_several_files_the_first_is_taken_and_a_name_is_not_needed(
    official: ModuleType, shelf: Shelf
) -> None:
    first = {
        "file-format": "ckpt",
        "asset-link": f"<{shelf.server.add('/first.ckpt', CKPT)}>",
        "asset-sha256": f'"{DIGEST}"',
    }
    lite = {**first, "file-format": "mslite", "asset-link": "https://files.invalid/a.ms"}
    last = {**first, "asset-link": f"<{shelf.server.add('/last.ckpt', BAD)}>"}
    path = shelf.write(UID, text([lite, first, last], model_name=None))
    assert official.load(UID).bias.asnumpy().tolist() == [1, 1, 1]
    assert {request.path for request in shelf.server.requests} == {"/first.ckpt"}
    info = official.info.CellInfo(str(path))
    assert (info.asset_id, info.name) == (1, None)


def test_trap_16_a_chinese_card_is_itself(official: ModuleType, shelf: Shelf) -> None:
    shelf.put("mindspore/1.8/tiny_pets_cn", summary="小模型", author="某人")
    shelf.put(mindspore_version='"1.8"')
    assert official.info.CellInfo("mindspore/1.8/tiny_pets_cn").author == "某人"
    broken = shelf.write("mindspore/1.8/tiny_pets_cn", "# 小\n\n---\n\n名称 没有冒号\n\n---\n")
    with pytest.raises(ValueError, match="tiny_pets_cn"):
        official._utils.check.ValidMarkdown(str(broken)).check_markdown_file()


def test_trap_17_one_broken_card_hides_no_other_and_the_exit_code_tells(
    official: ModuleType, shelf: Shelf, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    good = shelf.put(mindspore_version='"1.8"', train_dataset="coco2017", module_type="cv-object_detection")
    shelf.write("mindspore/1.8/a_pets", text([]).replace("author:", "author: ['"))
    shelf.put("mindspore/1.8/z_pets", fine_tunable="perhaps", mindspore_version='"1.8"')
    with pytest.raises(ValueError, match="a_pets"):
        official._utils.check.sanity_check(tmp_path / "all.json", good.parent)
    assert "a_pets" in caplog.text
    assert "z_pets" in caplog.text
    assert "tiny_pets.md" not in caplog.text
    result = run("validate", good.parent)
    assert result.exit_code == 1
    assert all(name in result.output for name in ("a_pets", "z_pets"))
    assert run("validate", good, "--select", "MC008").exit_code == 0


def test_trap_18_folders_are_made_nothing_hangs_and_the_process_is_left_as_it_was(
    official: ModuleType, shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    before = vars(urllib.request).get("_opener")
    official.manage.set_hub_dir("../a/b/c")
    shelf.put(link=shelf.server.add("/empty.ckpt", b""))
    with pytest.raises(MshubError):
        official.load(UID)  # no length to divide by
    shelf.put("mindspore/1.8/slow_pets", Fault(stall_after=10), Fault(status=503))
    started = time.monotonic()
    with override_policy(read=0.2, stall=0.2, backoff=0.01):
        assert official.load("mindspore/1.8/slow_pets")
    assert time.monotonic() - started < PATIENCE / 2
    assert mshub.fetch("mindspore/1.8/slow_pets").is_relative_to(tmp_path / "a" / "b" / "c")
    assert vars(urllib.request).get("_opener") is before
    assert not list((tmp_path / "work").iterdir())


def test_trap_19_listing_needs_neither_git_nor_network() -> None:
    code = NO_SOCKETS + (
        "import subprocess, mshub_ssd\n"
        "subprocess.Popen = None\n"
        "mshub_ssd.install_as_mindspore_hub()\n"
        "import mindspore_hub\n"
        "print('ssd300_coco2017' in mindspore_hub.hub_list('r1.8', force_reload=True))\n"
    )
    assert python(code) == "True\n"


def test_what_was_listed_names_cards(official: ModuleType, shelf: Shelf) -> None:
    shelf.put()
    for name in official.hub_list():
        uids = mshub.list_models(f"*/{name}")
        assert uids
        assert mshub.info(uids[-1])
    with pytest.raises(UnknownModelError):
        mshub.info("mindspore/1.8/not_listed")
