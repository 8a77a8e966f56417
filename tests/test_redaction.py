"""Users and passwords in urls: whatever form they are written in, nobody gets to see them."""

from __future__ import annotations

import json
import logging
import pickle
from pathlib import Path

import pytest
from commands import run
from hypothesis import given, settings
from hypothesis import strategies as st
from lintcards import CARD, DIGEST

import mshub_ssd
from mshub_ssd import errors, redaction, store
from mshub_ssd.errors import MshubError, TransferError, UsageError
from mshub_ssd.settings import Settings
from mshub_ssd.store import transfer

SECRET = "S3CR3T"
ODD = [
    "http://u:S3CR3T/x@host/a",
    "http://u:S3?CR3T/S3CR3T@host/",
    "http://u:p?S3CR3T@host/",
    "http://u:p#S3CR3T@host/",
    "http://u:12/S3CR3T@host/a.ckpt",
    "http://joe.doe:12/S3CR3T@host/a",
    "http://u:S3CR3T@x/y@host/a",
    "http://u@corp.com:S3CR3T/x@host/a",
    "http://u:p\\S3CR3T@host/a",
    "http:\\\\u:S3CR3T@host\\a",
    "http:/u:S3CR3T@host/a",
    "http:u:S3CR3T@host/a",
    "HTTP://u:S3CR3T/x@host/a",
    "hTTps://u:p/S3CR3T@HOST/a",
    "http://u:S3CR3T%40host/a",
    "http://u:x%2FS3CR3T/y@host/a",
    "http://u:a://S3CR3T@host/a",
    "http://u:p\tS3CR3T@host/a",
    "ht\ttp://u:p/S3CR3T@host/a",
    "http://u:p\nS3CR3T/x@host/a",
    " http://u:S3CR3T/x@host/a",
    "//u:S3CR3T@host/a",
    "u:S3CR3T@host/a",
    "S3CR3T:x-oauth-basic@host/a",
    "https://S3CR3T@host/a",
    "https://u:S3CR3T\uff20host/a",
    "https://mirror.example/http://u:S3CR3T/x@host/a",
]
FINE = [
    "https://host/a@v1/file.ckpt",
    "https://gitee.com/owner@team/x@v1/file.ckpt",
    "http://localhost:8080/a@v1/file.ckpt",
    "http://127.0.0.1:8080/a@v1/file.ckpt",
    "http://[::1]:8080/a@v1/file.ckpt",
    "https://example.org:8443/file.ckpt",
]

scheme = st.sampled_from(
    ["http://", "https://", "HTTP://", "http:", "http:/", "http:\\\\", "ht\ttp://", " http://", "//", ""]
)
user = st.sampled_from(["u", "U", "", "joe.doe", "joe@corp.com", "joe%40corp.com", "u u", "a/b"])
noise = st.lists(st.sampled_from([*"/?#\\@:%\t\n 'x1.[]<>\"", "%40", "%2F", "12/", "://", "http://"]), max_size=3).map(
    "".join
)
host = st.sampled_from(["host", "files.example", "host:80", "127.0.0.1:1", "[::1]:80", "HOST", ""])
tail = st.sampled_from(["", "/a", "/a@v1/f.ckpt", "?q=1", "?q=a@b", "#x", "/x y"])


@st.composite
def planted(draw: st.DrawFn) -> str:
    separator = draw(st.sampled_from(["@", "%40", "\uff20"]))
    secret = draw(noise) + SECRET + draw(noise)
    return f"{draw(scheme)}{draw(user)}:{secret}{separator}{draw(host)}{draw(tail)}"


@settings(max_examples=1500, deadline=None)
@given(planted())
def test_no_form_of_a_url_gives_its_password_away(url: str) -> None:
    assert SECRET not in redaction.redact(url)
    assert SECRET not in redaction.redact([url])
    assert SECRET not in redaction.hide(url)
    assert SECRET not in redaction.mask(url, whole=True)
    assert len(redaction.mask(url)) == len(url)


@settings(max_examples=300, deadline=None)
@given(planted())
def test_no_error_of_the_store_gives_it_away(url: str) -> None:
    for ask in (
        lambda: store.fetch([url], "0" * 64, settings=Settings(home=Path("/dev/null"), offline=True)),
        lambda: store.plan([url], "0" * 64, settings=Settings(home=Path("/dev/null"))),
        lambda: store.plan(["https://x.example/a"], "0" * 64, settings=Settings(home=Path("/dev/null"), endpoint=url)),
    ):
        try:
            told = [*ask().shown]  # type: ignore[attr-defined]
        except MshubError as error:
            told = [str(error), repr(error), *map(str, vars(error).values())]
        assert not [text for text in told if SECRET in text]
    assert SECRET not in repr(Settings(home=Path("/x"), endpoint=url))


@pytest.mark.parametrize("url", ODD)
def test_texts_with_such_urls_are_scrubbed(url: str) -> None:
    for text in (f"see {url} now", f"got {url!r}, which is odd", f"<{url}>"):
        assert SECRET not in redaction.scrub(text).replace(f"http:{url}", "")
        assert SECRET not in str(UsageError(text, where=text, got=text, expected=text, hint=text))
        assert SECRET not in repr(UsageError(text))
        assert SECRET not in repr(pickle.loads(pickle.dumps(UsageError(text))))


@pytest.mark.parametrize("url", FINE)
def test_what_is_certainly_a_path_stays_readable(url: str) -> None:
    assert redaction.redact(url) == redaction.hide(url) == redaction.scrub(url) == redaction.mask(url) == url
    assert not redaction.ambiguous(url)
    assert store.plan([url], "0" * 64, settings=Settings(home=Path("/x"))).shown == (url,)


def test_other_texts_are_left_alone() -> None:
    text = "mail joe@x.org, mAP@0.5:0.95, /srv/a:b@c/x.md, card.md:3:4, git@github.com:o/r, ssh://git@host/x, 12:30"
    assert redaction.scrub(text) == redaction.mask(text) == text


def test_long_hostile_texts_take_no_time() -> None:
    # Quadratic work on any of these would take hours.
    for text in ("https://a.b/@" * 80_000, "http://u:x " * 90_000, "a:@ " * 250_000, "x" * 1_000_000 + "@"):
        redaction.scrub(text)


@pytest.mark.parametrize(
    "url",
    [
        "http://u:S3CR3T/x@host/a",
        "http://u:p?S3CR3T@host/",
        "http://u:p#S3CR3T@host/",
        "http://u:S3CR3T@x/y@host/a",
        "http://u:p\\S3CR3T@host/a",
        "http://u:p\tS3CR3T@host/a",
        "http://u:S3CR3T%40host/a",
    ],
)
def test_such_urls_are_refused_with_how_to_write_them(url: str) -> None:
    with pytest.raises(TransferError) as caught:
        store.fetch([url], "0" * 64)
    assert "%2F for /" in str(caught.value.hint)
    with pytest.raises(UsageError, match="MSHUB_ENDPOINT") as caught_too:
        store.plan(["https://x.example/a"], "0" * 64, settings=Settings(home=Path("/x"), endpoint=url))
    assert "%2F for /" in str(caught_too.value.hint)


def test_an_encoded_password_is_used_as_it_is_meant(fault_server) -> None:
    url = fault_server.add("/a@v1/f", b"abc").replace("http://", "http://u:p%2Fq%40r@").replace("@v1", "%40v1")
    with transfer.override_policy(backoff=0.001, longest_wait=0.004):
        answer = store.probe(url, allow_private=True)
    assert (answer.final_url, SECRET in str(answer)) == (f"{fault_server.base}/a%40v1/f", False)
    assert fault_server.requests[0].headers["authorization"] == "Basic dTpwL3FAcg=="


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "cards").mkdir()
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    return tmp_path / "cards"


@pytest.mark.parametrize("url", ODD)
@pytest.mark.parametrize("quoted", [True, False], ids=["quoted", "plain"])
def test_no_command_shows_the_password_of_an_asset_link(
    shelf: Path, url: str, quoted: bool, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    link = json.dumps(url, ensure_ascii=False) if quoted else url
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")  # nothing leaves this machine
    text = f"# net\n\n---\n\nmodel-name: net\nrepo-link: {link}\nasset:\n- file-format: ckpt\n"
    card = shelf / "net.md"
    card.write_text(f"{text}  asset-link: {link}\n  asset-sha256: {'0' * 64}\n\n---\n\nSee {url}\n", encoding="utf-8")
    told = ""
    for command in (
        *[("info", "net"), ("info", "net", "--json"), ("list", "net", "--json"), ("-vv", "fetch", "net", "--offline")],
        *[("-vv", "fetch", "net", "--dry-run", "--json"), ("-vv", "doctor", "net", "--json"), ("doctor", "net")],
        *[
            ("-vv", "validate", str(shelf), "--jobs", "1", "--format", form)
            for form in ("text", "json", "sarif", "junit", "gitlab")
        ],
        ("validate", str(shelf), "--baseline", str(shelf / "old.json"), "--update-baseline"),
    ):
        with caplog.at_level(logging.DEBUG, "mshub_ssd"):
            result = run(*command)
        told += result.output
    told += (shelf / "old.json").read_text()
    try:
        told += repr(mshub_ssd.info("net"))
        with transfer.override_policy(backoff=0.001, longest_wait=0.004):
            mshub_ssd.fetch("net")
    except MshubError as error:
        told += f"{error}{error!r}"
    lines = [line for line in (told + caplog.text).splitlines() if SECRET in line]
    assert not lines


def test_validate_finds_such_a_link_and_offers_no_fix_that_holds_it(shelf: Path) -> None:
    text = CARD.replace("asset-link: ", "asset-link: <http://u:S3CR3T/x@host/a.ckpt>  # ", 1)
    assert text != CARD
    (shelf / "net.md").write_text(text, encoding="utf-8")
    result = run("validate", str(shelf), "--json")
    assert SECRET not in result.output
    found = [one for one in json.loads(result.stdout)["findings"] if one["code"] == "MC029"]
    assert "percent-encoded" in found[0]["message"]


def test_a_finding_points_at_the_same_columns(shelf: Path) -> None:
    text = CARD.replace("asset-link: ", "asset-link: http://u:S3CR3T@host.example/a.ckpt  # ", 1)
    (shelf / "net.md").write_text(text, encoding="utf-8")
    said = run("validate", str(shelf), "--select", "MC030").stdout.splitlines()
    line = next(number for number, text in enumerate(said) if "http://" in text)
    assert "http://********@host.example/a.ckpt" in said[line]
    assert said[line].index("http") == said[line + 1].index("^")


def test_every_error_is_scrubbed_by_its_root() -> None:
    for name in errors.__all__:
        kind = getattr(errors, name)
        if isinstance(kind, type) and issubclass(kind, MshubError):
            error = kind("http://u:S3CR3T@h/", where="u:S3CR3T@h")
            error.hint = "curl http://u:S3CR3T/x@h/"
            assert SECRET not in str(error)
            assert SECRET not in repr(error)
    assert DIGEST in str(UsageError(DIGEST))
