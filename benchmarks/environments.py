"""Does it run where it says, and what does it cost to begin: fresh environments, made of nothing.

    python benchmarks/environments.py matrix [--python PYTHON ...] [--extra EXTRA ...] [--tests PROCESSES] [--json FILE]
    python benchmarks/environments.py doors [--rounds N] [--warm] [--extra EXTRA ...] [--json FILE]

`matrix`: for each Python and each extra a new virtual environment with the wheel of this tree; there the commands of a
first quarter of an hour run, and what `detect` finds on the demo's picture is compared with what MindSpore's Cell finds
there. Told are seconds, bytes downloaded and bytes installed. `--tests` installs the extra `dev` besides and runs the
tests; those that need MindSpore skip themselves.

`doors`: the README's first command with each extra, in a fresh clone of the last commit, in turn. Nothing of pip's
cache is used; with `--warm` once more with a cache that holds everything.

Exits with 1 if anything is not as expected. Both need the network.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
EXTRAS = ("none", "openvino", "onnxruntime")
DOORS = ("onnxruntime", "openvino", "mindspore")
TOLD = ("numpy", "onnxruntime", "opencv-python-headless", "openvino", "mindspore")

# What MindSpore's Cell finds: name, score, box.
EXPECTED = [
    ("0", 0.966, (201.7, 337.7, 280.3, 456.9)),
    ("2", 0.955, (364.2, 353.3, 437.2, 450.2)),
    ("3", 0.948, (355.9, 181.2, 454.8, 300.5)),
    ("6", 0.942, (43.9, 12.6, 135.4, 148.1)),
    ("3", 0.939, (516.3, 333.0, 602.1, 461.8)),
    ("4", 0.935, (211.8, 24.8, 283.1, 119.7)),
    ("9", 0.907, (367.9, 29.3, 436.3, 138.8)),
    ("7", 0.870, (210.2, 182.9, 291.6, 300.4)),
    ("5", 0.853, (522.5, 189.6, 587.6, 289.2)),
    ("1", 0.833, (541.3, 20.9, 620.1, 122.2)),
    ("8", 0.821, (49.0, 338.0, 108.4, 440.9)),
]


class UnexpectedError(Exception):
    """Something is not as this library promises."""


def timed(command: Sequence[str | Path], code: int = 0, **options: Any) -> tuple[float, str]:
    """Seconds that a command takes, and what it says on both streams."""
    begun = time.perf_counter()
    done = subprocess.run(
        list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False, **options
    )
    taken = time.perf_counter() - begun
    if done.returncode != code:
        raise UnexpectedError(f"{' '.join(map(str, command))}: exit code {done.returncode}\n{done.stdout[-2000:]}")
    return round(taken, 2), done.stdout


def megabytes(folder: Path) -> float:
    """Bytes of all files, in 10^6."""
    return round(sum(path.lstat().st_size for path in folder.rglob("*") if not path.is_dir()) / 1e6, 1)


def pythons() -> list[str]:
    """One interpreter for each version from 3.10 on: of the path, or of pyenv."""
    found: dict[str, str] = {}
    places = [shutil.which(f"python3.{minor}") for minor in range(10, 20)]
    places += sorted(map(str, (Path.home() / ".pyenv" / "versions").glob("3.*/bin/python")))
    for place in filter(None, places):
        program = "import sys; print(sys.version_info[:2] >= (3, 10), *sys.version_info[:2])"
        said = subprocess.run([place, "-c", program], capture_output=True, text=True, check=False).stdout.split()
        if said[:1] == ["True"]:
            found.setdefault(".".join(said[1:]), place)
    return [found[version] for version in sorted(found, key=lambda text: int(text.split(".")[1]))]


def check_detections(found: Sequence[dict[str, Any]]) -> None:
    """Compare with `EXPECTED`."""
    same = len(found) == len(EXPECTED) and all(
        one["name"] == name
        and abs(one["score"] - score) < 0.01
        and all(abs(got - side) < 0.5 for got, side in zip(one["box"], box, strict=True))
        for one, (name, score, box) in zip(found, EXPECTED, strict=True)
    )
    if not same:
        raise UnexpectedError(f"other detections: {found}")


def smoke(venv: Path, folder: Path, light: bool) -> dict[str, float]:
    """Run the commands; seconds of each.

    Args:
        venv: The environment.
        folder: An empty one to work in.
        light: Whether there is no engine.
    """
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("MSHUB_", "PYTHON"))}
    options: dict[str, Any] = {"cwd": folder, "env": {**environ, "MSHUB_HOME": str(folder / "home")}}
    mshub = venv / "bin" / "mshub"
    seconds = {}
    for name, arguments, code in (
        ("version", ["--version"], 0),
        ("list", ["list"], 0),
        ("search", ["search", "ssd"], 0),
        ("validate", ["validate", ROOT / "hub_models"], 0),
        ("doctor", ["doctor"], int(light)),
        ("demo", ["demo"], int(light)),
    ):
        seconds[name], said = timed([mshub, *arguments], code, **options)
        if "Traceback" in said or (light and code and "pip install" not in said):
            raise UnexpectedError(f"mshub {name} says {said[-2000:]}")
    if not light:
        program = "import mshub_ssd, pathlib; print(pathlib.Path(mshub_ssd.__file__).parent / 'cli/demo_digits.png')"
        picture = timed([venv / "bin" / "python", "-c", program], **options)[1].strip()
        seconds["detect"], said = timed([mshub, "detect", picture, "--model", DIGITS, "--json"], **options)
        check_detections(json.loads(said)["detections"])
    return seconds


def versions(venv: Path) -> dict[str, str]:
    """Of the packages in `TOLD` that are installed."""
    said = timed([venv / "bin" / "pip", "list", "--format", "json", "--disable-pip-version-check"])[1]
    listed = json.loads(said[said.index("[") : said.rindex("]") + 1])
    return {one["name"]: one["version"] for one in listed if one["name"] in TOLD}


def environment(python: str, extra: str, wheel: Path, tests: int | None) -> dict[str, Any]:
    """Make one, try it, and tell."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        venv, files, work = folder / "venv", folder / "files", folder / "work"
        work.mkdir()
        timed([python, "-m", "venv", venv])
        pip = [venv / "bin" / "pip", "--disable-pip-version-check", "--no-cache-dir"]
        wanted = str(wheel) if extra == "none" else f"{wheel}[{extra}]"
        download, _ = timed([*pip, "download", "-q", "-d", files, wanted])
        before = megabytes(venv)
        install, _ = timed([*pip, "install", "-q", "--no-index", "--find-links", files, wanted])
        told: dict[str, Any] = {
            "python": timed([venv / "bin" / "python", "-c", "import platform; print(platform.python_version())"])[1][
                :-1
            ],
            "extra": extra,
            "versions": versions(venv),
            "downloaded_mb": megabytes(files),
            "installed_mb": round(megabytes(venv) - before, 1),
            "download_seconds": download,
            "install_seconds": install,
            "seconds": smoke(venv, work, extra == "none"),
        }
        if tests is not None:
            timed([*pip, "install", "-q", f"{wheel}[{'dev' if extra == 'none' else f'{extra},dev'}]"])
            environ = {**os.environ, "PYTHONPATH": str(ROOT)}
            command = [venv / "bin" / "python", "-m", "pytest", "-q", "-n", tests, "-p", "no:cacheprovider"]
            told["test_seconds"], said = timed(command, cwd=ROOT, env=environ)
            told["tests"] = {word: int(count) for count, word in re.findall(r"(\d+) (passed|skipped)", said)}
        return told


def matrix(options: argparse.Namespace) -> list[dict[str, Any]]:
    """All environments, each tried."""
    found = []
    with tempfile.TemporaryDirectory() as folder:
        timed([sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "-w", folder, ROOT])
        (wheel,) = Path(folder).glob("*.whl")
        for python in options.python or pythons():
            for extra in options.extra or EXTRAS:
                found.append(environment(python, extra, wheel, options.tests))
                print(json.dumps(found[-1]), flush=True)
    return found


def door(extra: str, cache: Path | None) -> dict[str, Any]:
    """From nothing to the demo's answer, as the README says it.

    Args:
        extra: The extra.
        cache: Of pip; None for none.
    """
    with tempfile.TemporaryDirectory() as name:
        folder, home = Path(name) / "clone", Path(name) / "home"
        timed(["git", "clone", "-q", ROOT, folder])
        environ = {name: value for name, value in os.environ.items() if not name.startswith(("MSHUB_", "PYTHON"))}
        environ["MSHUB_HOME"] = str(home)
        environ |= {"PIP_NO_CACHE_DIR": "1"} if cache is None else {"PIP_CACHE_DIR": str(cache)}
        run: dict[str, Any] = {"cwd": folder, "env": environ}
        venv, _ = timed(["python3", "-m", "venv", ".venv"], **run)
        install, _ = timed([".venv/bin/pip", "install", "-q", f".[{extra}]"], **run)
        demo, _ = timed([".venv/bin/mshub", "demo"], **run)
        again, _ = timed([".venv/bin/mshub", "demo"], **run)
        return {
            "extra": extra,
            "pip_cache": "none" if cache is None else "warm",
            "seconds": round(venv + install + demo, 1),
            "venv_seconds": venv,
            "install_seconds": install,
            "demo_seconds": demo,
            "second_demo_seconds": again,
            "venv_mb": megabytes(folder / ".venv"),
        }


def doors(options: argparse.Namespace) -> list[dict[str, Any]]:
    """The doors in turn, so many rounds; at the end, on demand, with what pip has kept."""
    extras = options.extra or DOORS
    found = []
    for number in range(options.rounds):
        # Every other round the other way round, lest the same one always comes first.
        for extra in extras if number % 2 == 0 else reversed(extras):
            found.append(door(extra, None))
            print(json.dumps(found[-1]), flush=True)
    if options.warm:
        with tempfile.TemporaryDirectory() as cache:
            for extra in extras:
                door(extra, Path(cache))  # fills it
                found.append(door(extra, Path(cache)))
                print(json.dumps(found[-1]), flush=True)
    return found


def summary(found: Sequence[dict[str, Any]]) -> dict[str, dict[str, float]]:
    """Medians of the rounds without a cache."""
    cold = [one for one in found if one["pip_cache"] == "none"]
    return {
        extra: {
            key: round(statistics.median(one[key] for one in cold if one["extra"] == extra), 1)
            for key in ("seconds", "install_seconds", "demo_seconds", "venv_mb")
        }
        for extra in dict.fromkeys(one["extra"] for one in cold)
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["matrix", "doors"])
    parser.add_argument("--python", action="append", help="an interpreter; by default all from 3.10 on that are found")
    parser.add_argument("--extra", action="append", help="an extra, or none")
    parser.add_argument("--tests", type=int, metavar="PROCESSES", help="run the tests, too, in so many processes")
    parser.add_argument("--rounds", type=int, default=2)
    parser.add_argument("--warm", action="store_true", help="once more with a filled cache of pip")
    parser.add_argument("--json", type=Path, help="keep the figures here, beside those of the other part")
    options = parser.parse_args()
    try:
        found = matrix(options) if options.what == "matrix" else doors(options)
    except UnexpectedError as error:
        print(error, file=sys.stderr)
        return 1
    told: dict[str, Any] = {"rows": found}
    if options.what == "doors":
        told["medians"] = summary(found)
        print(json.dumps(told["medians"], indent=1))
    told |= {
        "date": datetime.now(timezone.utc).date().isoformat(),
        "machine": f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPUs",
    }
    if options.json:
        kept = json.loads(options.json.read_text(encoding="utf-8")) if options.json.exists() else {}
        kept[options.what] = told
        options.json.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
