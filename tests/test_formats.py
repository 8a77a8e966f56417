"""The table of formats, and that whoever speaks of formats follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from mshub_ssd import checkpoints
from mshub_ssd.errors import CheckpointError, UnsupportedFormatError
from mshub_ssd.formats import FORMATS, ending_of, format_of, main_endings, supported_format
from mshub_ssd.lazy import load


@pytest.mark.parametrize("key", FORMATS)
def test_every_format_is_known_by_its_key_words_and_endings(key: str) -> None:
    one = FORMATS[key]
    assert one.key == key
    assert {format_of(word, "x") for word in (key, *one.words, key.upper(), f".{key} ")} == {one}
    assert {format_of(None, f"net{ending}") for ending in one.endings} == {one}
    assert all(callable(load(place)) for place in (one.reader, one.writer) if place)
    assert bool(one.advice) is (one.reader is None)


@pytest.mark.parametrize(
    ("name", "ending"),
    [
        ("https://host/net.CKPT", ".ckpt"),
        ("https://host/x.safetensors?download=a.b/c", ".safetensors"),
        ("https://host.com/net#x.ckpt", ""),
        ("folder.d/net", ""),
        ("a#b?.pth", ".pth"),
        (".ckpt", ""),
    ],
)
def test_endings_are_those_of_the_path(name: str, ending: str) -> None:
    assert ending_of(name) == ending


def test_the_card_has_the_first_word() -> None:
    assert supported_format("pth", "https://host/net.bin") == "pth"
    assert supported_format("", "https://host/net.pt") == "pth"
    with pytest.raises(UnsupportedFormatError):
        supported_format("whatever", "https://host/net.ckpt")


def test_messages_name_what_can_be_read_and_written() -> None:
    assert main_endings() == ".ckpt, .safetensors or .pth"
    assert main_endings(written=True) == ".ckpt or .safetensors"


def test_what_only_ends_like_a_checkpoint_is_refused(tmp_path: Path) -> None:
    (tmp_path / "net.bin").write_bytes(b"\0" * 100)
    with pytest.raises(CheckpointError):
        checkpoints.read(tmp_path / "net.bin", "")
