"""Thousands of mutated and hostile cards: the linter neither fails nor takes long, and its fixes converge.

    python benchmarks/lint_mutations.py [--count 20000] [--seed 1] [--only bombs|mutations] [--keep FOLDER]

Bombs are cards made to be expensive; each is checked and fixed in a process of its own, which must stay within
200 ms of CPU and 64 MiB above what the process had before. Mutations are seeded: card N of a seed is always the same.
Linux only (it reads /proc). Exits 1 if anything is wrong, and keeps the cards in FOLDER.
"""

from __future__ import annotations

import argparse
import dataclasses
import difflib
import itertools
import json
import mmap
import os
import random
import re
import resource
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

from lint_bombs import BOMBS, FRONT, MAX_CARD, bomb, card

from mshub_ssd.cards import Card, examine_card
from mshub_ssd.lint.config import load_config
from mshub_ssd.lint.engine import check_text, lint
from mshub_ssd.lint.formats import FORMATS, render
from mshub_ssd.lint.report import Report

MOST_SECONDS = 0.2
MOST_BYTES = 64 << 20
UID = "mindspore/1.7/net_coco2017"
CONFIG = load_config(select=["ALL"], use_file=False)
_HANG = 10  # seconds of CPU after which a child is ended
# Which fields a safe fix of a rule may change; all others leave what the card says as it was.
_MEANT = {
    "MC009": {"update_time", "extra"},
    "MC015": {"assets"},
    "MC024": {"license"},
    "MC055": {"assets", "datasets", "extra", "used_for"},
    "MC062": {"datasets"},
}
# A comment that silences nothing is deleted, a thematic break written otherwise, a colon left out of a heading.
_OF_THE_BODY = {"MC004", "MC049", "MC055"}

_CHOICES: dict[str, list[str]] = {
    "model-name": ["net", "Net_V2", "ssd300", "VGG small", '"1e3"', "no", "|\n  net\n  two", "'# net'"],
    "train-dataset": ["coco2017", "COCO2017", "ImageNet2012 | cifar-10", "none", "[COCO2017, mnist]", "{a: b}"],
    "evaluation": ["-", "no", "mAP25.1", "top1acc79 | top5acc94", "mAP@0.5", "{mAP: 25.1}", "[a1, b: 2]", "acc1.7e-05"],
    "update-time": ["2022-06-22", "2022-6-2", "2022/6/2", '"2022-02-30"', "|\n  2022-6-2", "yesterday"],
    "mindspore-version": ["1.7", "1.10", '"1.10"', "0x10", "1_0", "1:30", ".inf", "'1.7'"],
    "model-version": ["1.7", "1.10", "v2", "010"],
    "license": ["Apache2.0", "apache 2.0", "MIT", "MIT AND", "Some Licence", "<MIT>", '"Apache2.0"', ">-\n  Apache2.0"],
    "repo-link": ["<https://gitee.com/a/models/tree/master/b>", "http://a.org", "", "<https://example.org:>", "<x y>"],
    "user-id": ["MindSpore", "Somebody else", "no"],
    "summary": ["-", "net is used for cv", "a\u00a0b", "'it''s'  ", "|\n  a  \n\n  b\n", "# nothing", "\u6a21\u578b"],
    "asset": [
        "-",
        "none",
        "[]",
        "{asset-link: a.ckpt}",
        "\n- asset-link: <https://example.org/a.ms>\n  file-format: .MS  \n  asset-sha256: d231a06e",
        f"\n- asset-link: <https://example.org/a.ckpt>\n  asset-sha256: {'0' * 64}\n  asset-link: b",
        f"\n- file-format: CKPT\n  asset-link: http://example.org/a.ckpt\n  asset-sha256: '{'AB' * 32}'"
        "  # mshub: ignore[MC030] ours",
    ],
}
_CRUMBS = [
    *("---\n", "...\n", "- ", ": ", " #", "# ", "'", '"', "[", "]", "{", "}", ",", "|\n", ">\n", "&a ", "*a", "!!int "),
    *(
        "\t",
        "\r",
        "\r\n",
        "\n",
        "  \n",
        "\0",
        "\x07",
        "\ufeff",
        "\u202e",
        "\u200b",
        "\u00a0",
        "\u2028",
        "\u0085",
        "\uff1a",
    ),
    *("evaluation: -\n", "license: Apache2.0\n", "model-version: 1.10\n", "asset:\n", "-\n    asset-link: a.ckpt\n"),
    *("# mshub: ignore[MC024] known\n", "# mshub: ignore-card[MC013, MC999]\n", "<!-- mshub: ignore[MC039] -->\n"),
    *(
        "```python\n",
        "```\n",
        'mshub.load("a/b")\n',
        "[a]()",
        "![](x:y)",
        "## \n",
        "> > ",
        "- - ",
        "<div>",
        "~",
        "null",
    ),
    *("\U0001f600", "\u6a21\u578b", "%", "@", "?", "\\", "9" * 40, "(" * 30, "%TAG ! a\n", "<<: a\n", "=\n"),
]


def made_card(rng: random.Random) -> bytes:
    """A card such as people write, mistakes included."""
    lines = []
    for part in re.split(r"\n(?=[a-z])", FRONT.strip()):
        name = part.partition(":")[0]
        if rng.random() < 0.04:
            continue
        if name in _CHOICES and rng.random() < 0.4:
            part = f"{name}: {rng.choice(_CHOICES[name])}"
        if rng.random() < 0.05:
            part += rng.choice(["  ", "  # a comment", " # mshub: ignore[MC024,MC040] reason", "\t"])
        lines.append(part)
    if rng.random() < 0.1:
        rng.shuffle(lines)
    text = card("\n" + rng.choice(["\n", "\n\n"]).join(lines) + "\n", title=rng.choice(["# net", "# Net V2", "", "#"]))
    if rng.random() < 0.15:
        text = text.replace("\n", rng.choice(["\r\n", "\r"]))
    if rng.random() < 0.15:
        text = text.rstrip("\r\n")
    return (b"\xef\xbb\xbf" if rng.random() < 0.1 else b"") + text.encode()


def mutated(rng: random.Random, seeds: list[bytes]) -> bytes:
    """A card of our own or one of `seeds`, with up to six mutations."""
    data = made_card(rng) if not seeds or rng.random() < 0.7 else rng.choice(seeds)
    for _ in range(rng.randrange(7)):
        at, end = sorted((rng.randrange(len(data) + 1), rng.randrange(len(data) + 1)))
        match rng.randrange(12):
            case 0:
                data = data[:at] + bytes([rng.randrange(256)]) + data[at + 1 :]
            case 1:
                data = data[:at] + data[at + rng.randrange(1, 8) :]
            case 2 | 3 | 4:
                data = data[:at] + rng.choice(_CRUMBS).encode() + data[at:]
            case 5:
                data = data[:at] + rng.choice(_CRUMBS).encode() * rng.choice([2, 50, 1000]) + data[at:]
            case 6:
                data = data[:end] + data[at : min(end, at + 300)] * rng.choice([1, 2, 20]) + data[end:]
            case 7:
                data = data[:at] if rng.random() < 0.2 else data[:at] + data[min(end, at + 200) :]
            case _:
                data = _with_lines_changed(rng, data)
    return data[: MAX_CARD + rng.randrange(2)]


def _with_lines_changed(rng: random.Random, data: bytes) -> bytes:
    lines = data.splitlines(keepends=True) or [b""]
    at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
    match rng.randrange(7):
        case 0:
            del lines[at]
        case 1:
            lines.insert(other, lines[at])
        case 2:
            lines[at], lines[other] = lines[other], lines[at]
        case 3:
            lines[at] = b" " * rng.randrange(1, 4) + lines[at]
        case 4:
            lines[at] = lines[at].rstrip(b"\r\n") + rng.choice([b"\r\n", b"\r", b"  \n", b"\t\n", b""])
        case 5:
            lines[at] = lines[at].lstrip()
        case _:
            lines[at] = lines[at].replace(b": ", rng.choice([b":", b" : ", b": - ", b": '", b':\t"', b": |\n  "]), 1)
    return b"".join(lines)


# --- what must hold


class WrongError(AssertionError):
    """The linter did something it must not do."""


def expect(true: bool, what: str) -> None:
    if not true:
        raise WrongError(what)


def check_findings(data: bytes, *, formats: bool = True) -> Report:
    """Check a card; the findings lie within it, and every format can tell them."""
    findings = check_text(data, CONFIG, path="net_coco2017.md", uid=UID)
    if len(data) > MAX_CARD:
        expect([one.code for one in findings] == ["MC026"], f"more than MC026: {[one.code for one in findings]}")
    lines = re.split("\r\n|\n|\r", data.decode("utf-8", "replace").removeprefix("\ufeff"))
    for one in findings:
        expect((one.line, one.column) <= (one.end_line, one.end_column), f"{one.code} ends before it begins: {one}")
        if len(data) <= MAX_CARD:
            expect(1 <= one.line <= len(lines), f"{one.code} lies in line {one.line} of {len(lines)}")
            most = len(lines[one.line - 1]) + 2  # behind the last character, and between CR and LF
            expect(1 <= one.column <= most, f"{one.code} lies in column {one.column} of {most}: {one}")
        expect("\n" not in one.message, f"{one.code} has a message of several lines")
    report = Report(tuple(findings), checked=1)
    if formats:
        for name in FORMATS:
            expect(bool(render(report, name)), f"the format {name} says nothing")
        json.loads(render(report, "json"))
    return report


def check_fixes(data: bytes, folder: Path) -> None:
    """Fix a card; safe fixes leave what it says alone, and a second run finds nothing more to do."""
    before = examine_card(data, uid=UID).card
    codes = {one.code for one in check_text(data, CONFIG, path="net_coco2017.md", uid=UID) if one.fix and one.fix.safe}
    for mode in ("safe", "unsafe"):
        file = folder / "mindspore" / "1.7" / "net_coco2017.md"
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(data)
        report = lint([file], CONFIG, fix=mode)  # type: ignore[arg-type]
        fixed = file.read_bytes()
        expect((fixed != data) == bool(report.fixed), f"{mode}: {report.fixed} fixes, but {fixed == data=}")
        lint([file], CONFIG, fix=mode)  # type: ignore[arg-type]
        again = file.read_bytes()
        expect(again == fixed, f"{mode}: a second run changes more:\n{_difference(fixed, again)}")
        after = examine_card(fixed, uid=UID).card
        expect(
            before is None or after is not None,
            f"{mode}: the card cannot be read any more:\n{_difference(data, fixed)}",
        )
        if mode == "safe" and before is not None and after is not None:
            _same_meaning(before, after, codes)
        if mode == "safe" and not codes:
            expect(fixed == data, f"safe: changed without a safe fix:\n{_difference(data, fixed)}")


def _difference(before: bytes, after: bytes) -> str:
    old, new = (data.decode("utf-8", "replace").split("\n") for data in (before, after))
    lines = difflib.unified_diff([repr(line) for line in old], [repr(line) for line in new], lineterm="", n=1)
    return "\n".join(line[:200] for line in itertools.islice(lines, 30))


def _same_meaning(before: Card, after: Card, codes: set[str]) -> None:
    allowed = {"spans", *(name for code in codes for name in _MEANT.get(code, ()))}
    for field in dataclasses.fields(Card):
        old, new = getattr(before, field.name), getattr(after, field.name)
        if field.name == "body":
            if codes & _OF_THE_BODY:
                continue
            old, new = (re.sub("\r\n|\r", "\n", text).rstrip("\n") for text in (old, new))
        expect(field.name in allowed or old == new, f"a safe fix changed {field.name}: {old!r} to {new!r}")


# --- running


def measured(act: Callable[[], object]) -> tuple[float, int]:
    """Seconds of CPU, and bytes that memory rose by."""
    Path("/proc/self/clear_refs").write_text("5")  # VmHWM starts again from here
    memory, start = _status("VmRSS"), time.process_time()
    act()
    return time.process_time() - start, _status("VmHWM") - memory


def _status(key: str) -> int:
    found = re.search(rf"^{key}:\s+(\d+) kB", Path("/proc/self/status").read_text(), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def in_child(act: Callable[[], tuple[float, int]]) -> tuple[float, int, str]:
    """Run in a process of its own: seconds, bytes, and what went wrong."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            resource.setrlimit(resource.RLIMIT_CPU, (_HANG, _HANG + 1))
            resource.setrlimit(resource.RLIMIT_AS, (3 << 30, 3 << 30))
            try:
                answer = (*act(), "")
            except BaseException:  # noqa: BLE001 - told to the parent, which has no other way to know
                answer = (0.0, 0, traceback.format_exc()[-3000:])
            os.write(writing, json.dumps(answer).encode())
        finally:
            os._exit(0)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        answer = stream.read()
    _, status = os.waitpid(child, 0)
    if not answer:
        return float(_HANG), 0, f"the process died or hung: wait status {status}"
    seconds, size, fault = json.loads(answer)
    return seconds, size, fault


def try_bomb(data: bytes, limit: float = MOST_SECONDS) -> tuple[float, int, str]:
    """Check a bomb, up to three times where it is slow: the machine may be."""
    best = (float("inf"), 0, "")
    for _ in range(3):
        seconds, size, fault = in_child(lambda: measured(lambda: check_findings(data, formats=False)))
        if fault:
            return seconds, size, fault
        best = min(best, (seconds, size, ""))
        if best[0] <= limit:
            break
    if best[0] > limit:
        return (*best[:2], f"takes {best[0] * 1000:.0f} ms")
    if best[1] > MOST_BYTES:
        return (*best[:2], f"takes {best[1] / (1 << 20):.0f} MiB")
    return best


def run_bombs(keep: Path) -> Iterator[str]:
    worst: list[tuple[float, int, str]] = []
    for name in BOMBS:
        for size in (20_000, 100_000, MAX_CARD):
            data = bomb(name, size)
            seconds, memory, fault = try_bomb(data)
            worst.append((seconds, memory, f"{name} ({len(data)} bytes)"))
            if fault:
                yield f"bomb {name} ({len(data)} bytes): {fault}"
                (keep / f"bomb-{re.sub('[^a-z0-9]+', '-', name)}-{size}.md").write_bytes(data)
    slow, large = max(worst), max(worst, key=lambda one: one[1])
    print(
        f"{len(worst)} bombs: slowest {slow[0] * 1000:.0f} ms {slow[2]}; "
        f"largest {large[1] / (1 << 20):.0f} MiB {large[2]}"
    )


def run_mutations(seed: int, count: int, seeds: list[bytes], keep: Path) -> Iterator[str]:
    """All mutations in one child; where it dies, the next one goes on behind the card it died of."""
    shared = mmap.mmap(-1, 64)
    at, faults, slowest, largest, spent = 0, 0, (0.0, -1), (0, -1), 0.0
    while at < count and faults < 50:
        reading, writing = os.pipe()
        child = os.fork()
        if not child:
            os.close(reading)
            with os.fdopen(writing, "w") as stream, tempfile.TemporaryDirectory() as scratch:
                for index in range(at, count):
                    shared[:20] = b"%020d" % index
                    resource.setrlimit(resource.RLIMIT_CPU, (int(time.process_time()) + _HANG, resource.RLIM_INFINITY))
                    stream.write(json.dumps([index, *_try_mutation(seed, index, seeds, Path(scratch))]) + "\n")
            os._exit(0)
        os.close(writing)
        with os.fdopen(reading) as stream:
            for line in stream:
                index, seconds, size, fault = json.loads(line)
                slowest, largest = max(slowest, (seconds, index)), max(largest, (size, index))
                spent += seconds
                if fault:
                    faults += 1
                    (keep / f"mutation-{seed}-{index}.md").write_bytes(mutated(_rng(seed, index), seeds))
                    yield f"mutation {seed}:{index}: {fault}"
        _, status = os.waitpid(child, 0)
        last = int(shared[:20])
        at = last + 1
        if status:
            faults += 1
            (keep / f"mutation-{seed}-{last}.md").write_bytes(mutated(_rng(seed, last), seeds))
            yield f"mutation {seed}:{last}: the process died or hung: wait status {status}"
    print(
        f"{at} mutations: {spent / max(at, 1) * 1000:.1f} ms each, slowest {slowest[0] * 1000:.0f} ms ({slowest[1]}), "
        f"largest {largest[0] / (1 << 20):.0f} MiB ({largest[1]})"
    )


def _rng(seed: int, index: int) -> random.Random:
    return random.Random(f"{seed}:{index}")


def _try_mutation(seed: int, index: int, seeds: list[bytes], scratch: Path) -> tuple[float, int, str]:
    data = mutated(_rng(seed, index), seeds)
    try:
        seconds, size = measured(lambda: check_findings(data, formats=False))
        for _ in range(3):
            if seconds > MOST_SECONDS:
                seconds = min(seconds, measured(lambda: check_findings(data, formats=False))[0])
        expect(seconds <= MOST_SECONDS, f"takes {seconds * 1000:.0f} ms")
        expect(size <= MOST_BYTES, f"takes {size / (1 << 20):.0f} MiB")
        if index % 4 == 0:
            check_findings(data)
        check_fixes(data, scratch)
    except Exception as error:  # noqa: BLE001 - any failure is what we are looking for
        fault = str(error) if isinstance(error, WrongError) else traceback.format_exc()
        return 0.0, 0, fault[:3000]
    return seconds, size, ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", choices=["bombs", "mutations"])
    parser.add_argument("--keep", type=Path, default=Path(tempfile.gettempdir(), "lint-mutations"))
    options = parser.parse_args()
    options.keep.mkdir(parents=True, exist_ok=True)
    published = Path(__file__).resolve().parent.parent / "hub_models"
    seeds = [file.read_bytes() for file in sorted(published.rglob("*.md"))]
    check_findings(card().encode())  # imports what is imported on first use
    faults = 0
    if options.only != "mutations":
        for fault in run_bombs(options.keep):
            faults += 1
            print(fault, flush=True)
    if options.only != "bombs":
        for fault in run_mutations(options.seed, options.count, seeds, options.keep):
            faults += 1
            print(fault, flush=True)
    print("nothing wrong" if not faults else f"{faults} faults; the cards are in {options.keep}")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
