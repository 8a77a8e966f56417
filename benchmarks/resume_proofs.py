"""Kills a run over many pictures at random moments until it is done, and holds the result against one that was not.

    python benchmarks/resume_proofs.py [--kills N] [--pictures N] [--format jsonl|parquet] [--out FILE]

`mshub detect DIR --resume --out FILE` is started, killed (SIGKILL) after a random time, and started again; some of the
pictures are broken. After each kill every whole line of the rows must be one of the unkilled run's, in its order; when
a run ends by itself, the result must be the same, and the next round begins. Only kills that met a run count.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
from engine_speed import DIGITS, ROOT, machine

BROKEN = 17  # every so manieth picture


def prepare(folder: Path, count: int) -> None:
    """Pictures, some of them broken."""
    from PIL import Image

    digits = Image.open(ROOT / "mshub_ssd/cli/demo_digits.png").convert("RGB").resize((320, 240))
    pixels = np.asarray(digits)
    (folder / "in").mkdir()
    for number in range(count):
        path = folder / f"in/{number}.jpg"
        Image.fromarray(np.roll(pixels, 11 * number, 1)).save(path, quality=90)
        if not number % BROKEN:
            data = path.read_bytes()
            path.write_bytes(data[: len(data) // 2] if number % 2 else b"no picture")


def command(out: str, *more: str) -> list[str]:
    words = ["detect", "in", "--model", DIGITS, "--engine", "openvino", "--max-detections", "5", "-q", "--out", out]
    return [sys.executable, "-m", "mshub_ssd", *words, *more]


def await_moment(process: subprocess.Popen[bytes], rows: Path, chance: random.Random, took: float, count: int) -> bool:
    """Wait for a random moment, while it starts, looks or ends; whether the run had not ended by then."""

    def size() -> int:
        return rows.stat().st_size if rows.exists() else 0

    before, until = size(), time.monotonic() + chance.uniform(0.1, 1) * took
    if chance.random() < 0.8:
        # So many bytes of rows from now on, in steps much shorter than a row takes.
        more = chance.expovariate(1 / (count * 40))
        while process.poll() is None and size() <= before + more:
            time.sleep(0.0005)
        time.sleep(chance.uniform(0, 0.005))
    else:
        while process.poll() is None and time.monotonic() < until:
            time.sleep(0.005)
    return process.poll() is None


def said(folder: Path) -> bytes:
    """What the last run told; some pictures are broken, so it has something to tell."""
    return (folder / "said").read_bytes()


def content(path: Path) -> Any:
    """What a result says, whatever its file looks like."""
    if path.suffix == ".parquet":
        import pyarrow.parquet

        return pyarrow.parquet.read_table(path).to_pylist()
    return path.read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=300)
    parser.add_argument("--pictures", type=int, default=500)
    parser.add_argument("--format", choices=("jsonl", "parquet"), default="jsonl")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    chance = random.Random(arguments.seed)
    begun, kills, runs, torn, rounds, by_rows = time.monotonic(), 0, 0, 0, 0, set()
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        environ = {**os.environ, "PYTHONPATH": str(ROOT), "MSHUB_HOME": str(folder / "home")}
        prepare(folder, arguments.pictures)
        # Parquet files are compared with JSON lines' rows, so both are made once.
        for name in ("whole.jsonl", f"whole.{arguments.format}"):
            assert subprocess.run(command(name), cwd=folder, env=environ, stderr=subprocess.DEVNULL).returncode == 1
        lines, expected = (folder / "whole.jsonl").read_bytes(), content(folder / f"whole.{arguments.format}")
        assert lines.count(b"\n") == arguments.pictures
        took = time.monotonic()
        subprocess.run(command("timed.jsonl"), cwd=folder, env=environ, stderr=subprocess.DEVNULL)
        took = time.monotonic() - took
        while kills < arguments.kills:
            rounds += 1
            out = folder / f"{rounds}.{arguments.format}"
            rows = out if arguments.format == "jsonl" else out.with_name(f"{out.name}.rows.jsonl")
            while True:
                runs += 1
                with (folder / "said").open("wb") as stderr:
                    process = subprocess.Popen(command(out.name, "--resume"), cwd=folder, env=environ, stderr=stderr)
                if kills == arguments.kills:
                    process.wait()
                elif await_moment(process, rows, chance, took, arguments.pictures):
                    process.kill()
                    process.wait()
                    kills += 1
                    kept = rows.read_bytes() if rows.exists() else b""
                    whole = kept[: kept.rfind(b"\n") + 1]
                    torn += kept != whole
                    by_rows.add(whole.count(b"\n"))
                    if not lines.startswith(whole):
                        raise SystemExit(f"after {kills} kills the rows are others: {whole[-300:]!r}")
                    continue
                told = said(folder)
                if process.returncode != 1 or b"could not be looked at" not in told:
                    raise SystemExit(f"after {kills} kills the run ended with {process.returncode}: {told.decode()}")
                break
            if content(out) != expected:
                raise SystemExit(f"after {kills} kills the result is another")
            if arguments.format != "jsonl" and rows.exists():
                raise SystemExit("the rows were left behind")
        found = {
            "command": f"python benchmarks/resume_proofs.py --kills {arguments.kills} --format {arguments.format}",
            **machine(),
            "pictures": arguments.pictures,
            "kills": kills,
            "rounds that ended, each equal to the unkilled run": rounds,
            "runs": runs,
            "different numbers of rows at kills": len(by_rows),
            "torn last lines at kills": torn,
            "minutes": round((time.monotonic() - begun) / 60, 1),
        }
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
