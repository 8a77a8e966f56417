"""Crowds, kills and damage for the registry's index: small in the tests, at size in benchmarks/registry_proofs.py."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mshub_ssd
from mshub_ssd.hub.judging import CardJudge
from mshub_ssd.registry import Registry
from mshub_ssd.registry.index import discard

FILE = "cards.sqlite3"
BITS = "1,000 bits"
"""Damage that SQLite, which has no checksums, may not notice inside of a text."""
_ASK = (
    "import sys; from pathlib import Path; from mshub_ssd.registry import Registry;"
    "from mshub_ssd.hub.judging import CardJudge;"
    "r = Registry([sys.argv[1]], [Path(sys.argv[2])], CardJudge());"
    "print(len(r.families()), len(r.uids()), [s.uid for s in r.search('coco2017', 5)])"
)


def write_cards(root: Path, count: int, version: int = 1) -> None:
    """Plain cards, two of a family."""
    for number in range(count):
        path = root / "own" / f"{1 + number % 2}.0" / f"net{number // 2}_coco2017.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_card(path, number, version)


def write_card(path: Path, number: int, version: int = 1) -> None:
    """One card that says which it is, of which version, put in place at once."""
    new = path.with_name(f".{path.name}.new")
    new.write_text(
        f"# net{number}\n\n---\nmodel-name: net{number}\nbackbone-name: back{number % 7}\n"
        f"module-type: cv-object_detection\ntrain-dataset: coco2017\nsummary: state{version} of net{number}\n---\n\n"
        f"body number{number} state{version}\n",
        encoding="utf-8",
    )
    new.replace(path)


def told(registry: Registry) -> dict[str, Any]:
    """Answers of all kinds, to be compared."""
    return {
        "uids": registry.uids(),
        "families": [(one.uid, one.versions, one.loadable) for one in registry.families()],
        "task": [(one.uid, one.facts["task"]) for one in registry.models(task="object-detection", sort="newest")],
        "search": [one.uid for one in registry.search("state1", 40)],
        "other": [one.uid for one in registry.search("state2", 40)],
        "both": [one.uid for one in registry.search("coco2017 back3", 40)],
        "damaged": registry.damaged(),
    }


def asked(root: Path, home: Path) -> dict[str, Any]:
    """What a new registry answers from an index in a cache."""
    return told(Registry([root], [home], CardJudge()))


def truth(root: Path) -> dict[str, Any]:
    """What is right: a new index in an empty cache."""
    home = root.parent / "truth"
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(mode=0o700)
    return asked(root, home)


def process(root: Path, home: Path) -> subprocess.Popen[str]:
    """A process that asks."""
    environ = {**os.environ, "PYTHONPATH": str(Path(mshub_ssd.__file__).parents[1])}
    return subprocess.Popen(
        [sys.executable, "-c", _ASK, str(root), str(home)],
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def run(code: str, *args: object, options: Sequence[str] = ()) -> subprocess.CompletedProcess[str]:
    """Code in a process of its own, which finds this module, and its arguments from `sys.argv[1]` on."""
    places = [str(Path(mshub_ssd.__file__).parents[1]), str(Path(__file__).parent)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, *options, "-c", code, *map(str, args)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, check=False)


def crowd(root: Path, home: Path, count: int) -> tuple[float, set[str]]:
    """So many processes at once: the processor time of all, and what they said."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    processes = [process(root, home) for _ in range(count)]
    said = set()
    for one in processes:
        out, err = one.communicate()
        assert one.returncode == 0, err
        assert not err
        said.add(out)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, said


def kills(root: Path, home: Path, count: int, *, seed: int, cold: bool) -> int:
    """Kill a process that builds (or refreshes) at a random moment, until so many died; each next answer is right.

    Returns:
        How many were started: some were done already.
    """
    chance = random.Random(seed)
    started = died = 0
    cards = sorted(root.rglob("*.md"))
    longest = 1.5
    version = 1
    while died < count:
        started += 1
        if cold:
            for old in (home / "index").glob("*"):
                if len(old.name) == 32:
                    discard(old)
        else:
            version = 3 - version
            for number in chance.sample(range(len(cards)), len(cards) // 3):
                write_card(cards[number], number, version)
        begun = time.monotonic()
        one = process(root, home)
        time.sleep(chance.uniform(0.05, longest))
        one.send_signal(signal.SIGKILL)
        one.communicate()
        died += one.returncode == -signal.SIGKILL
        longest = longest if one.returncode else max(0.3, min(longest, time.monotonic() - begun))
        assert asked(root, home) == truth(root)
        left = [path.name for path in (home / "index").iterdir()]
        assert len(left) <= 2, left
    return started


def damages(file: Path, chance: random.Random) -> dict[str, Any]:
    """Name → what does the damage."""
    data = file.read_bytes()

    def flipped(many: int) -> bytes:
        changed = bytearray(data)
        for _ in range(many):
            changed[chance.randrange(len(changed))] ^= 1 << chance.randrange(8)
        return bytes(changed)

    def zeroed() -> bytes:
        page = chance.randrange(len(data) // 4096)
        return data[: page * 4096] + bytes(4096) + data[(page + 1) * 4096 :]

    def folder() -> None:
        file.unlink()
        file.mkdir()

    def wal_folder() -> None:
        wal = file.with_name(f"{FILE}-wal")
        wal.unlink(missing_ok=True)
        wal.mkdir()

    def foreign() -> None:
        with sqlite3.connect(file) as db:
            db.execute("PRAGMA user_version = 77")
        db.close()

    def other() -> None:
        file.unlink()
        db = sqlite3.connect(file)
        db.execute("CREATE TABLE card (x)")
        db.commit()
        db.close()

    return {
        "empty": lambda: file.write_bytes(b""),
        "no database": lambda: file.write_bytes(b"hello" * 1000),
        "head only": lambda: file.write_bytes(data[:100]),
        "cut in half": lambda: file.write_bytes(data[: len(data) // 2]),
        "one page short": lambda: file.write_bytes(data[:-4096]),
        "a page of zeros": lambda: file.write_bytes(zeroed()),
        "head of zeros": lambda: file.write_bytes(bytes(4096) + data[4096:]),
        BITS: lambda: file.write_bytes(flipped(1000)),
        "a folder": folder,
        "another version": foreign,
        "another database": other,
        "a link to nothing": lambda: (file.unlink(), file.symlink_to("nothing")),
        "garbage as wal": lambda: file.with_name(f"{FILE}-wal").write_bytes(os.urandom(50_000)),
        "garbage as shm": lambda: file.with_name(f"{FILE}-shm").write_bytes(os.urandom(32_768)),
        "a folder as wal": wal_folder,
        "garbage as lock": lambda: (
            file.parent.with_name(f"{file.parent.name}.lock").write_bytes(os.urandom(5000)),
            file.unlink(),
        ),
    }


def index_file(home: Path) -> Path:
    """The file of the only index of a cache."""
    (file,) = (home / "index").glob(f"{'?' * 32}/{FILE}")
    return file
