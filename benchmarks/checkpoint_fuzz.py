"""Checkpoints of any content: read as PyTorch wrote them, or refused in an error of ours, in little time and memory.

    python benchmarks/checkpoint_fuzz.py [--count 50000] [--seed 1] [--size 5000000] [--only NAME] [--json FILE]

Experiments: bombs (files made to be expensive, of up to `--size` bytes, each in a process of its own), mutations
(`--count` damaged .pth, .ckpt and .safetensors files), torch (a fifth of `--count` files written by the PyTorch that is
installed, compared bit by bit). No file may take more than 2 s of CPU or 256 MiB above the idle process. Mutations and
samples are seeded: number N of a seed is always the same. Linux only (it reads /proc). Exits 1 if anything is wrong,
and keeps the files of mutations and bombs in a folder it names.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "tests")]

import checkpointfuzz  # noqa: E402 - needs the path

# Of what should be read, this much may be refused: negatives of 16 bits and of complex numbers, which hardly occur.
MOST_REFUSED = 0.1


def torch_files(count: int, seed: int, folder: Path) -> dict[str, Any]:
    """Samples of PyTorch; an experiment without it proves nothing, and says so."""
    try:
        import torchlab
    except ImportError:
        return {"faults": ["PyTorch is not installed"]}
    found = torchlab.differences(count, seed, folder)
    faults = [f"{found['different']} files are read otherwise than PyTorch wrote them"] if found["different"] else []
    if not found["read, bit-equal"] or found["refused, share of what should be read"] > MOST_REFUSED:
        faults.append("too much is refused")
    return {**found, "faults": faults}


def damaged(count: int, seed: int, folder: Path, largest_bomb: int) -> dict[str, Any]:
    """Mutations; where nothing is read, or nothing refused, they prove nothing."""
    found = checkpointfuzz.mutations(count, seed, folder, largest_bomb)
    for kind in ("pth", "ckpt", "safetensors"):
        for what in ("read", "refused"):
            if found["outcomes"].get(f"{kind} {what}", 0) < count / 100:
                found["faults"].append(f"hardly any .{kind} file was {what}")
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=50_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--size", type=int, default=5_000_000)
    parser.add_argument("--only", choices=["bombs", "mutations", "torch"], action="append")
    parser.add_argument("--json", type=Path, default=Path(__file__).parent / "results" / "checkpoint_fuzz.json")
    options = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="checkpoint-fuzz-"))
    experiments: dict[str, Callable[[], dict[str, Any]]] = {
        "bombs": lambda: checkpointfuzz.bombs(options.size, folder),
        "mutations": lambda: damaged(options.count, options.seed, folder, min(options.size, 100_000)),
        # Last: PyTorch's memory would count as idle.
        "torch": lambda: torch_files(options.count // 5, options.seed, folder),
    }
    report: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    report["command"] = "python benchmarks/checkpoint_fuzz.py"
    report["machine"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs"
    faults = 0
    for name, run in experiments.items():
        if options.only and name not in options.only:
            continue
        begun = time.monotonic()
        found = {**run(), "python": platform.python_version(), "seconds": round(time.monotonic() - begun, 1)}
        report[name] = found
        rows = found.get("bytes, outcome, s, MiB")
        print(
            json.dumps({name: {key: value for key, value in found.items() if value is not rows}}, indent=2), flush=True
        )
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(report, indent=2, ensure_ascii=False) + "\n")
        faults += len(found["faults"])
    for left in ("now.pth", "now.ckpt", "now.safetensors"):
        (folder / left).unlink(missing_ok=True)
    if not any(folder.iterdir()):
        folder.rmdir()
    print("nothing wrong" if not faults else f"{faults} faults; files are in {folder}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
