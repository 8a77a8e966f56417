"""Bundles for tests and for ``benchmarks/bundle_proofs.py``: good ones, forged ones, damaged ones."""

from __future__ import annotations

import json
import os
import random
import tempfile
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from faultserver import FaultServer, noise
from shelf import Shelf, card_text, sha256, tree

from mshub_ssd import store
from mshub_ssd.bundles import archive
from mshub_ssd.errors import MshubError
from mshub_ssd.hub import Hub

CAT, TWIN, DOG, BIRD, FISH = "own/1.0/cat", "own/1.1/cat", "own/1.0/dog", "own/1.0/bird", "other/2.0/fish"
ALL = sorted([CAT, TWIN, DOG, BIRD, FISH])
DATA = {CAT: noise(30_000, 1), TWIN: noise(30_000, 1), DOG: noise(700, 2), BIRD: noise(512, 3), FISH: b""}
KINDS = ("flip", "cut", "grow", "swap", "copy", "header", "manifest")


def fill(shelf: Shelf) -> None:
    """Cards of all kinds: two share a file, one states 8 digits, one has its file beside it, one's file is empty."""
    for uid in (CAT, TWIN, FISH):
        shelf.put(uid, DATA[uid])
    shelf.put(DOG, DATA[DOG], digits=8)
    shelf.put(BIRD, DATA[BIRD], beside=True, link="files/bird.ckpt")


def make(folder: Path) -> Path:
    """A bundle of all of them; its cards lie in `folder`, too."""
    before = {name: os.environ.get(name) for name in ("MSHUB_HOME", "MSHUB_REGISTRY")}
    try:
        with FaultServer() as server:
            fill(Shelf(folder / "cards", server))
            os.environ |= {"MSHUB_HOME": str(folder / "home"), "MSHUB_REGISTRY": str(folder / "cards")}
            Hub().make_bundle(ALL, folder / "all.tar")
    finally:
        for name, value in before.items():
            os.environ.pop(name)
            if value is not None:
                os.environ[name] = value
    return folder / "all.tar"


def packed(name: str, data: bytes) -> bytes:
    """A member as it stands in an archive."""
    return archive.header(name, len(data)) + data + archive.padding(len(data))


def forge(
    path: Path,
    members: list[tuple[str, bytes, list[str]]],
    *,
    stated: Callable[[list[dict[str, Any]]], Any] = lambda items: items,
    **fields: Any,
) -> Path:
    """An archive in the bundles' form, with whatever members; `stated` and `fields` change its manifest."""
    items = [{"path": name, "sha256": sha256(data), "size": len(data), "uids": uids} for name, data, uids in members]
    manifest = {"format": "mshub-bundle", "version": 1, "members": stated(items), **fields}
    head = json.dumps(manifest, indent=1).encode() + b"\n"
    parts = [packed(archive.MANIFEST, head), *(packed(name, data) for name, data, _ in members)]
    path.write_bytes(b"".join(parts) + archive.END)
    return path


def pair(uid: str = CAT, data: bytes = b"cat", link: str = "https://files.example/cat.ckpt") -> list[Any]:
    """Members of a bundle with one card and its file."""
    card = card_text(link, sha256(data)).encode()
    return [(f"cards/{uid}.md", card, [uid]), (f"files/{sha256(data)}", data, [uid])]


def attack(whole: bytes, kind: str, seed: int) -> str | None:
    """Change a bundle at random and install it: it is refused, no card comes, and nothing is written elsewhere.

    ``MSHUB_HOME`` is changed.

    Args:
        whole: A bundle as `make` makes it.
        kind: What to change, one of `KINDS`.
        seed: Of the change.

    Returns:
        Why it was refused, in short; None where the change changes nothing.
    """
    data = mutated(whole, random.Random(seed), kind)
    memory = Path("/dev/shm")  # where syncing costs nothing
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else None) as folder:
        sandbox = Path(folder)
        path = sandbox / "b.tar"
        path.write_bytes(data)
        os.environ["MSHUB_HOME"] = str(sandbox / "home")
        before = tree(sandbox)
        try:
            done = Hub().install_bundle(path)
        except MshubError as error:
            said = error.message
        else:
            assert data == whole, f"a bundle with a {kind} was installed: {seed}"
            assert done.new == tuple(ALL)
            return None
        after = tree(sandbox)
        assert data != whole, said
        assert not any(name.startswith("home/cards") for name in after)
        assert {name: what for name, what in after.items() if not name.startswith("home")} == before
        assert all(entry.digest == sha256(entry.path.read_bytes()) for entry in store.entries())
    # Without the names in it, which tell nothing about many.
    return said.partition(": ")[2].partition(" where the manifest ")[0].partition(" the member ")[0] or said


def hostile(count: int, *, seed: int) -> dict[str, Any]:
    """So many damaged bundles; figures."""
    chance = random.Random(seed)
    said = Counter[str]()
    with tempfile.TemporaryDirectory() as folder:
        whole = make(Path(folder)).read_bytes()
        outside = tree(Path(folder))
        while said.total() < count:
            found = attack(whole, KINDS[said.total() % len(KINDS)], chance.randrange(1 << 32))
            if found is not None:
                said[found] += 1
        assert tree(Path(folder)) == outside
    return {"bundles": count, "refused": said.total(), "refusals": dict(said)}


def mutated(data: bytes, chance: random.Random, kind: str) -> bytes:
    at = chance.randrange(len(data))
    block = chance.randrange(len(data) // 512) * 512
    other = chance.randrange(len(data) // 512) * 512
    if kind == "flip":
        return data[:at] + bytes([data[at] ^ (1 << chance.randrange(8))]) + data[at + 1 :]
    if kind == "cut":
        return data[:at] + data[at + chance.randrange(1, 2000) :]
    if kind == "grow":
        return data[:at] + chance.randbytes(chance.randrange(1, 2000)) + data[at:]
    if kind == "copy":
        return data[:block] + data[other : other + 512] + data[block:]
    if kind == "swap":
        low, high = sorted((block, other))
        one, two = data[low : low + 512], data[high : high + 512]
        return data[:low] + two + data[low + 512 : high] + (one if high > low else b"") + data[high + 512 :]
    if kind == "header":  # a field of some header, with a good checksum
        heads = [place for place in range(0, len(data), 512) if data[place + 257 : place + 262] == b"ustar"]
        place = chance.choice(heads)
        head = bytearray(data[place : place + 512])
        field, width = chance.choice([(0, 100), (100, 8), (124, 11), (136, 11), (156, 1), (157, 100), (345, 155)])
        value = chance.choice([b"../../evil", b"/evil", b"7", b"2", b"\xff", b"00000000000", b"x" * 100])
        head[field : field + width] = value[:width].ljust(width, b"\0")
        head[148:156] = b" " * 8
        head[148:156] = f"{sum(head):06o}".encode() + b"\0 "
        return data[:place] + bytes(head) + data[place + 512 :]
    length = int(data[124:135], 8)
    text = data[512 : 512 + length].decode()
    word = chance.choice(
        ['"cards/', '"files/', "own/1.0/", '"size": ', '"uids": [', "cat", '"sha256": "', "mshub-bundle"]
    )
    new = chance.choice(["../", "/", "1", "e", '"', "[", "\\u0000", "own/1.0/dog", "9" * 5000, ""])
    places = [place for place in range(len(text)) if text.startswith(word, place)]
    place = chance.choice(places) + len(word)
    body = (text[:place] + new + text[place + chance.randrange(2) :]).encode()
    return packed(archive.MANIFEST, body) + data[512 + length + -length % 512 :]
