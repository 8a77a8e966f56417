"""How long `mshub validate` takes for 3,000 cards, against what reading and parsing them alone takes.

    python benchmarks/lint_speed.py FOLDER [--rounds 5] [--cards 3000] [--json FILE]

The cards of FOLDER (publisher/version/name.md) are copied under further names into a temporary tree. Then, in turn and
several times, each as a process of its own:

- parts: read every file, yaml.load(CSafeLoader) its front matter, markdown_it parses its body: one plain loop,
  clocked inside of the process, so that starting Python and importing do not count;
- all cores: `mshub validate --select ALL` on the whole tree, output to a file, clocked from outside, start included;
- one core: the same with --jobs 1.

Both sides find their bytecode, as installed packages do, whatever PYTHONDONTWRITEBYTECODE says here.

Ratios are taken within a round, because other work on the machine slows both sides; the medians count. Where another
program keeps a core busy, the seconds of processors still tell the truth. Exits 1 where validating with all cores
takes more than 1.5 times as long as the parts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

_MOST = 1.5
_PARTS = """
import gc, re, sys, time
from pathlib import Path
import yaml
from markdown_it import MarkdownIt
fence = re.compile(r"^---[ \\t]*\\r?$", re.MULTILINE)
parser = MarkdownIt()
files = sorted(Path(sys.argv[1]).rglob("*.md"))
began, busy = time.perf_counter(), time.process_time()
clock = dict(read=0.0, yaml=0.0, markdown=0.0)
for file in files:
    start = time.perf_counter()
    text = file.read_bytes().decode("utf-8")
    read = time.perf_counter()
    fences = [found.span() for found in fence.finditer(text)][:2]
    try:
        yaml.load(text[fences[0][1] : fences[1][0]], Loader=yaml.CSafeLoader)
    except yaml.YAMLError:
        pass
    loaded = time.perf_counter()
    parser.parse(text[fences[1][1] :])
    parsed = time.perf_counter()
    clock["read"] += read - start
    clock["yaml"] += loaded - read
    clock["markdown"] += parsed - loaded
print(time.perf_counter() - began, time.process_time() - busy, len(files), *clock.values())
"""


def copy_cards(folder: Path, target: Path, count: int) -> None:
    """Write `count` cards with uids of their own; every copy is distinct in its body, too."""
    sources = [(file.relative_to(folder), file.read_bytes()) for file in sorted(folder.rglob("*.md"))]
    if not sources:
        sys.exit(f"no cards below {folder}")
    for number in range(count):
        relative, data = sources[number % len(sources)]
        copy = number // len(sources)
        name = relative if not copy else relative.with_name(f"{relative.stem}_{copy}.md")
        file = target / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data if not copy else data + f"\nCopy {copy}.\n".encode())


def with_bytecode(folder: Path) -> dict[str, str]:
    """The environment in which Python keeps the bytecode of all packages in a folder."""
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return {**kept, "PYTHONPYCACHEPREFIX": str(folder)}


def time_parts(tree: Path, environ: dict[str, str]) -> list[float]:
    command = [sys.executable, "-c", _PARTS, str(tree)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environ)
    return [float(word) for word in done.stdout.split()]


def time_validate(tree: Path, output: Path, environ: dict[str, str], *more: str) -> tuple[float, float]:
    """Seconds on the wall and of all cores."""
    command = [sys.executable, "-m", "mshub_ssd", "validate", "--no-config", "--select", "ALL", *more, str(tree)]
    before = os.times()
    start = time.perf_counter()
    with output.open("wb") as stream:
        done = subprocess.run(command, stdout=stream, stderr=subprocess.PIPE, check=False, env=environ)
    wall = time.perf_counter() - start
    after = os.times()
    if done.returncode != 1 or not output.stat().st_size:
        sys.exit(f"mshub validate did not do its work: exit {done.returncode}\n{done.stderr.decode()}")
    busy = after.children_user + after.children_system - before.children_user - before.children_system
    return wall, busy


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--cards", type=int, default=3000)
    parser.add_argument("--json", type=Path, metavar="FILE")
    options = parser.parse_args()
    rounds: list[dict[str, float]] = []
    with tempfile.TemporaryDirectory() as scratch:
        tree, output = Path(scratch, "cards"), Path(scratch, "findings.txt")
        copy_cards(options.folder, tree, options.cards)
        environ = with_bytecode(Path(scratch, "bytecode"))
        time_parts(tree, environ)  # fills the page cache, and writes bytecode
        time_validate(tree, output, environ)
        print(f"{'parts':>8} {'all cores':>10} {'ratio':>6} {'one core':>9} {'ratio':>6}   seconds")
        for _ in range(options.rounds):
            parts, cpu, cards, read, loaded, parsed = time_parts(tree, environ)
            wall, busy = time_validate(tree, output, environ)
            alone, _ = time_validate(tree, output, environ, "--jobs", "1")
            rounds.append(
                {
                    "cards": cards,
                    "parts": parts,
                    "parts_cpu": cpu,
                    "read": read,
                    "yaml": loaded,
                    "markdown": parsed,
                    "all_cores": wall,
                    "all_cores_cpu": busy,
                    "one_core": alone,
                    "ratio": wall / parts,
                    "ratio_one_core": alone / parts,
                }
            )
            print(f"{parts:8.2f} {wall:10.2f} {wall / parts:6.2f} {alone:9.2f} {alone / parts:6.2f}", flush=True)
        size = output.stat().st_size
    medians = {key: statistics.median(one[key] for one in rounds) for key in rounds[0]}
    print(
        f"median over {options.rounds} rounds, {medians['cards']:.0f} cards: parts {medians['parts']:.2f} s "
        f"(read {medians['read']:.2f}, yaml {medians['yaml']:.2f}, markdown {medians['markdown']:.2f}), validate "
        f"{medians['all_cores']:.2f} s, ratio {medians['ratio']:.2f}; "
        f"one core {medians['one_core']:.2f} s, ratio {medians['ratio_one_core']:.2f}; "
        f"seconds of processors: parts {medians['parts_cpu']:.2f}, validate {medians['all_cores_cpu']:.2f}; "
        f"output {size} bytes"
    )
    if options.json:
        options.json.write_text(json.dumps({"medians": medians, "rounds": rounds, "most": _MOST}, indent=2) + "\n")
    return 0 if medians["ratio"] <= _MOST else 1


if __name__ == "__main__":
    sys.exit(main())
