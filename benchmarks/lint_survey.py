"""Is every mistake of a folder of cards found, at its line?

An independent scan (regular expressions and PyYAML, nothing of the linter's) counts the mistakes that published
cards have; then the linter runs over the same folder with all rules, and each mistake must be among its findings.

    python benchmarks/lint_survey.py FOLDER [--uids]

FOLDER is laid out as a registry: publisher/version/name.md. Exits 1 if a mistake is missed.
"""

from __future__ import annotations

import argparse
import datetime
import functools
import re
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

import mshub_ssd

_SPDX = {"Apache-2.0", "MIT", "BSD-2-Clause", "BSD-3-Clause", "GPL-2.0-only", "GPL-3.0-only", "MPL-2.0", "CC0-1.0"}
_NO_DATASET = {"none", "n/a", "-", "na", "custom", "unknown", "todo", "tbd"}
_ODD_SPACES = re.compile("[\u00a0\u1680\u2000-\u200b\u202f\u205f\u2060\u3000\ufeff]")
_CJK = re.compile("[\u3000-\u303f\u4e00-\u9fff\uff00-\uffef]")


@dataclass(frozen=True)
class Line:
    """One `key: value` of the front matter."""

    key: str
    value: str
    number: int
    nested: bool
    starts_item: bool


class Card:
    """A card, taken apart by lines."""

    def __init__(self, folder: Path, file: Path) -> None:
        self.uid = file.relative_to(folder).as_posix().removesuffix(".md")
        self.path = file
        self.data = file.read_bytes()
        text = self.data.decode("utf-8", "replace")
        # Lines as editors count them; str.splitlines knows more ends than they do.
        self.lines = re.split("\r\n|\n|\r", text)
        fences = [index for index, line in enumerate(self.lines) if line.startswith("---")]
        first, last = (fences[0], fences[1]) if len(fences) > 1 else (0, 0)
        self.front = range(first + 1, last)
        self.body = range(last + 1, len(self.lines))
        self.fields: dict[str, Line] = {}
        self.items: list[dict[str, list[Line]]] = []
        item_starts = False
        for index in self.front:
            found = re.match(r"(\s*)(-\s+)?([A-Za-z][\w-]*)[ \t]*:(?:[ \t]+(.*))?$", self.lines[index])
            if re.match(r"\s*-\s*$", self.lines[index]) or (found and found[2]):
                self.items.append({})
                item_starts = True
            if not found:
                continue
            nested = bool(found[1] or found[2])
            line = Line(found[3], (found[4] or "").strip(), index + 1, nested, item_starts)
            item_starts = False
            if not nested:
                self.fields.setdefault(line.key, line)
            elif self.items:
                self.items[-1].setdefault(line.key, []).append(line)

    @functools.cached_property
    def front_text(self) -> str:
        """The front matter."""
        return "\n".join(self.lines[index] for index in self.front)

    @functools.cached_property
    def plain(self) -> Any:
        """What YAML reads; the error where it reads nothing."""
        return _loaded(self.front_text)

    @functools.cached_property
    def fixed(self) -> Any:
        """The same, with a bare dash behind `evaluation:` read as the official tools do."""
        return _loaded(re.sub(r"(?m)^(evaluation:[ \t]*)-[ \t]*$", r"\1no", self.front_text))

    @property
    def values(self) -> dict[str, Any]:
        """What YAML reads where it is a mapping."""
        return self.fixed if isinstance(self.fixed, dict) else {}

    def raw(self, key: str) -> str:
        """A field as written, without quotes and angle brackets."""
        return _bare(self.fields[key].value) if key in self.fields else ""

    def at(self, key: str) -> int:
        """The line of a field, 0 where it is not there."""
        return self.fields[key].number if key in self.fields else 0

    def of_items(self, key: str) -> list[Line]:
        """A key of all assets."""
        return [line for item in self.items for line in item.get(key, [])]

    @property
    def links(self) -> list[str]:
        """The links of all assets."""
        return [_bare(line.value) for line in self.of_items("asset-link")]

    @property
    def files(self) -> list[str]:
        """Their file names."""
        return [link.rpartition("/")[2] for link in self.links]

    @property
    def stem(self) -> str:
        """The last part of the uid."""
        return self.uid.rpartition("/")[2]

    @property
    def sets(self) -> list[str]:
        """The data sets."""
        return [name.strip() for name in re.split(r"[|,]", self.raw("train-dataset")) if name.strip()]

    @property
    def pieces(self) -> list[str]:
        """The figures, each name and value."""
        value = self.raw("evaluation")
        if value.lower() in {"", "-", "no", "none", "n/a"}:
            return []
        return [piece.strip() for piece in value.split("|")]


def _loaded(text: str) -> Any:
    try:
        return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except yaml.YAMLError as error:
        return error


def _bare(value: str) -> str:
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        value = value[1:-1]
    return value[1:-1].strip() if value.startswith("<") and value.endswith(">") else value


def _letters(text: str) -> str:
    return re.sub(r"[^a-z0-9]", "", text.lower())


def _split_metric(piece: str) -> tuple[str, str] | None:
    found = re.fullmatch(r"(.*?)([0-9]+(?:\.[0-9]+)?)\s*%?", piece)
    return (found[1], found[2]) if found else None


# Each scan yields the lines of its mistake; 0 where the mistake has no line of its own.
Scan = Callable[[Card], Iterator[int]]
SCANS: dict[str, tuple[str, Scan]] = {}


def mistake(name: str, codes: str) -> Callable[[Scan], Scan]:
    """Decorator: a mistake and the rules of which one must find it; `A+B` where both must."""

    def enter(scan: Scan) -> Scan:
        SCANS[name] = (codes, scan)
        return scan

    return enter


def simple(name: str, codes: str, key: str, test: Callable[[Card], bool]) -> None:
    """Enter a mistake of one top-level field."""
    SCANS[name] = (codes, lambda card: iter([card.at(key)] if card.values and test(card) else []))


for _key in ("mindspore-version", "model-version"):

    def _is_float(card: Card, key: str = _key) -> bool:
        return isinstance(card.values.get(key), float)

    def _is_lossy(card: Card, key: str = _key) -> bool:
        return _is_float(card, key) and str(card.values[key]) != card.raw(key)

    simple(f"{_key}-float", "MC040 MC008", _key, _is_float)
    simple(f"{_key}-float-lossy", "MC008", _key, _is_lossy)

simple(
    "license-not-SPDX",
    "MC024",
    "license",
    lambda card: bool(card.raw("license")) and card.raw("license") not in _SPDX,
)
simple(
    "autolink-brackets-repo-link",
    "MC041",
    "repo-link",
    lambda card: "repo-link" in card.fields and card.fields["repo-link"].value.startswith("<"),
)
simple(
    "model-version-equals-mindspore-version",
    "MC042",
    "model-version",
    lambda card: bool(card.raw("model-version")) and card.raw("model-version") == card.raw("mindspore-version"),
)
simple(
    "boilerplate-summary",
    "MC043",
    "summary",
    lambda card: re.fullmatch(r"\S+(?: \S+)? is used for \S+(?: \S+)*", card.raw("summary")) is not None,
)
simple(
    "update-time-yaml-date",
    "MC040",
    "update-time",
    lambda card: isinstance(card.values.get("update-time"), datetime.date),
)
simple(
    "update-time-string-or-other",
    "MC009",
    "update-time",
    lambda card: "update-time" in card.values and not isinstance(card.values["update-time"], datetime.date),
)
simple(
    "update-time-not-YYYY-MM-DD",
    "MC009",
    "update-time",
    lambda card: "update-time" in card.values and not re.fullmatch(r"\d{4}-\d\d-\d\d", card.raw("update-time")),
)
simple(
    "evaluation-metric-name-has-digits",
    "MC059 MC011",
    "evaluation",
    lambda card: any((split := _split_metric(one)) and re.search(r"\d", split[0]) for one in card.pieces),
)
simple(
    "evaluation-unparsable",
    "MC059 MC011",
    "evaluation",
    lambda card: any(not re.fullmatch(r"[A-Za-z]\w*?\s*[:=]?\s*\d+(?:\.\d+)?\s*%?", one) for one in card.pieces),
)
simple("evaluation-at-threshold", "MC059", "evaluation", lambda card: any("@" in one for one in card.pieces))
simple(
    "evaluation-parsed-bool",
    "MC010",
    "evaluation",
    lambda card: isinstance(card.values.get("evaluation"), bool),
)
simple("evaluation-bare-dash", "MC010", "evaluation", lambda card: card.raw("evaluation") == "-")
simple(
    "evaluation-not-in-asset-filename",
    "MC023 MC060",
    "evaluation",
    lambda card: (
        bool(card.files) and any(not any(_letters(one) in _letters(name) for name in card.files) for one in card.pieces)
    ),
)
simple(
    "filename-not-model-name_dataset",
    "MC020",
    "model-name",
    lambda card: (
        bool(card.sets)
        and card.sets[0].lower() not in _NO_DATASET
        # One of several data sets is name enough.
        and not any(
            _letters(card.stem) == _letters(card.raw("model-name")) + _letters(one)
            for one in (card.raw("train-dataset"), *card.sets)
        )
    ),
)
simple(
    "filename-vs-model-name-mismatch",
    "MC020",
    "model-name",
    lambda card: not _letters(card.stem).startswith(_letters(card.raw("model-name"))),
)
simple(
    "filename-lacks-train-dataset",
    "MC020",
    "model-name",
    lambda card: (
        bool(card.sets)
        and card.sets[0].lower() not in _NO_DATASET
        and _letters(card.sets[0]) not in _letters(card.stem)
    ),
)
simple(
    "train-dataset-not-in-asset-filename",
    "MC060",
    "train-dataset",
    lambda card: (
        bool(card.files)
        and bool(card.sets)
        and not any(_letters(one) in _letters(name) for one in card.sets for name in card.files)
    ),
)
simple(
    "train-dataset-placeholder",
    "MC022 MC062",
    "train-dataset",
    lambda card: any(one.lower() in _NO_DATASET for one in card.sets),
)
simple(
    "model-name-has-uppercase",
    "MC044",
    "model-name",
    lambda card: re.search("[A-Z]", card.raw("model-name")) is not None,
)
simple(
    "model-name-odd-chars",
    "MC044",
    "model-name",
    lambda card: not re.fullmatch(r"[A-Za-z0-9._-]*", card.raw("model-name")),
)
simple(
    "module-type-uppercase",
    "MC044",
    "module-type",
    lambda card: re.search("[A-Z]", card.raw("module-type")) is not None,
)
simple(
    "user-id-vs-publisher-mismatch",
    "MC044",
    "user-id",
    lambda card: _letters(card.raw("user-id")) != _letters(card.uid.partition("/")[0]) and "user-id" in card.fields,
)
simple(
    "repo-link-moving-branch",
    "MC017",
    "repo-link",
    lambda card: re.search("/tree/(?:master|main|dev|develop)(?:/|$)", card.raw("repo-link")) is not None,
)
simple(
    "repo-link-branch-vs-folder-mismatch",
    "MC017 MC036",
    "repo-link",
    lambda card: (
        (found := re.search("/tree/(r[0-9.]+|master)(?:/|$)", card.raw("repo-link"))) is not None
        and found[1] != f"r{card.uid.split('/')[-2]}"
    ),
)
simple("null-value:repo-link", "MC006", "repo-link", lambda card: card.values.get("repo-link", 0) is None)
simple(
    "repo-link-not-tree-path",
    "MC006 MC016 MC017",
    "repo-link",
    lambda card: "repo-link" in card.fields and "/tree/" not in card.raw("repo-link"),
)
for _key in ("evaluation", "asset", "train-dataset"):

    def _is_missing(card: Card, key: str = _key) -> bool:
        return key not in card.values

    simple(f"missing-key:{_key}", "MC061", "", _is_missing)


@mistake("title-vs-model-name-mismatch", "MC021")
def _(card: Card) -> Iterator[int]:
    for number, line in enumerate(card.lines, 1):
        if line.startswith("# "):
            if card.values and _letters(line) != _letters(card.raw("model-name")):
                yield number
            return


@mistake("non-ascii-bytes", "MC046")
def _(card: Card) -> Iterator[int]:
    yield from [number for number, line in enumerate(card.lines, 1) if not line.isascii()][:1]


@mistake("yaml-plain-fails", "MC001 MC010 MC005")
def _(card: Card) -> Iterator[int]:
    if isinstance(card.plain, yaml.MarkedYAMLError) and card.plain.problem_mark is not None:
        yield card.front.start + card.plain.problem_mark.line + 1


@mistake("yaml-fails-even-with-official-dash-fix", "MC001")
def _(card: Card) -> Iterator[int]:
    if isinstance(card.fixed, yaml.MarkedYAMLError) and card.fixed.problem_mark is not None:
        yield card.front.start + card.fixed.problem_mark.line + 1


@mistake("yaml-not-mapping", "MC001")
def _(card: Card) -> Iterator[int]:
    if not isinstance(card.fixed, dict | Exception):
        yield 0


@mistake("fullwidth-colon-in-front-matter", "MC001")
@mistake("cjk-in-front-matter", "MC001")
def _(card: Card) -> Iterator[int]:
    yield from [index + 1 for index in card.front if _CJK.search(card.lines[index])][:1]


@mistake("cn-card", "MC001")
def _(card: Card) -> Iterator[int]:
    if card.stem.endswith("_cn"):
        yield 0


@mistake("filename-not-lowercase-safe", "MC044")
def _(card: Card) -> Iterator[int]:
    if not re.fullmatch(r"[a-z0-9_-]+", card.stem.replace(".", "_")):
        yield 1


@mistake("dot-in-filename", "MC044")
def _(card: Card) -> Iterator[int]:
    if "." in card.stem:
        yield 1


@mistake("uid-4-parts", "MC044")
def _(card: Card) -> Iterator[int]:
    if card.uid.count("/") == 3:
        yield 1


@mistake("sha256-malformed", "MC013")
def _(card: Card) -> Iterator[int]:
    for line in card.of_items("asset-sha256"):
        if not re.fullmatch("[0-9a-fA-F]{64}", _bare(line.value)):
            yield line.number


@mistake("no-asset", "MC061")
def _(card: Card) -> Iterator[int]:
    if card.values and not card.values.get("asset"):
        yield 0


@mistake("asset-link-without-sha256", "MC012")
def _(card: Card) -> Iterator[int]:
    if len(card.of_items("asset-link")) > len(card.of_items("asset-sha256")):
        yield 0


@mistake("asset-link-in-brackets", "MC041")
def _(card: Card) -> Iterator[int]:
    for item in card.items:
        for line in item.get("asset-link", [])[:1]:
            if line.value.startswith("<"):
                yield line.number


@mistake("duplicate-asset-link-in-one-item", "MC005")
def _(card: Card) -> Iterator[int]:
    for item in card.items:
        for line in item.get("asset-link", [])[1:]:
            yield line.number


@mistake("multi-asset", "MC063")
def _(card: Card) -> Iterator[int]:
    seconds = [item for item in card.items if "asset-link" in item][1:2]
    for item in seconds if card.values else []:
        yield min(line.number for lines in item.values() for line in lines)


@mistake("asset-ext-vs-file-format-mismatch", "MC015")
def _(card: Card) -> Iterator[int]:
    for item in card.items:
        if card.values and "asset-link" in item and "file-format" in item:
            name = _bare(item["asset-link"][0].value)
            form = _bare(item["file-format"][0].value)
            # The official word for files that end in .ms.
            if not name.endswith(".ms" if form == "mslite" else f".{form}"):
                yield item["file-format"][0].number


@mistake("asset-suffix-rejected-by-official-downloader", "MC015 MC031 MC053 MC063")
def _(card: Card) -> Iterator[int]:
    if card.values and any(not link.endswith((".ckpt", ".mindir", ".air", ".onnx")) for link in card.links):
        yield 0


@mistake("no-ckpt-asset", "MC031 MC053 MC015")
def _(card: Card) -> Iterator[int]:
    if card.values and card.links and not any(link.endswith(".ckpt") for link in card.links):
        yield 0


@mistake("crlf", "MC003")
def _(card: Card) -> Iterator[int]:
    if b"\r\n" in card.data:
        yield 1


@mistake("no-final-newline", "MC003")
def _(card: Card) -> Iterator[int]:
    if not card.data.endswith(b"\n"):
        yield len(card.lines)


@mistake("trailing-space-in-front-matter", "MC047")
def _(card: Card) -> Iterator[int]:
    yield from (index + 1 for index in card.front if card.lines[index] != card.lines[index].rstrip(" \t"))


@mistake("odd-space-char", "MC045 MC046")
def _(card: Card) -> Iterator[int]:
    yield from (number for number, line in enumerate(card.lines, 1) if _ODD_SPACES.search(line))


@mistake("odd-key-name", "MC007")
def _(card: Card) -> Iterator[int]:
    yield from (line.number for line in card.fields.values() if not re.fullmatch("[a-z]+(?:-[a-z]+)*", line.key))


@mistake("body-usage-uid-differs-from-uid", "MC025 MC044")
def _(card: Card) -> Iterator[int]:
    publisher = re.escape(card.uid.partition("/")[0])
    for index in card.body:
        for found in re.finditer(rf"[\"']({publisher}/[\w./-]+)[\"']", card.lines[index]):
            if found[1] != card.uid:
                yield index + 1


@mistake("exact---line-in-body", "MC004")
def _(card: Card) -> Iterator[int]:
    yield from (index + 1 for index in card.body if card.lines[index].rstrip() == "---")


@mistake("heading-ends-with-colon", "MC038 MC037 MC055")
def _(card: Card) -> Iterator[int]:
    fenced = False
    for index in card.body:
        line = card.lines[index]
        fenced ^= line.lstrip().startswith("```")
        if not fenced and re.match(r"#{1,6} .*[:\uff1a]\s*$", line):
            yield index + 1


def across(cards: list[Card]) -> dict[str, tuple[str, dict[str, list[int]]]]:
    """The mistakes that only several cards together show: name, codes, and lines by uid."""
    users: dict[str, list[tuple[Card, str, int]]] = defaultdict(list)
    for card in cards:
        for item in card.items:
            if "asset-link" in item and "asset-sha256" in item:
                digest = item["asset-sha256"][0]
                users[_bare(digest.value).lower()].append((card, _bare(item["asset-link"][0].value), digest.number))
    elsewhere: dict[str, list[int]] = defaultdict(list)
    shared: dict[str, list[int]] = defaultdict(list)
    for entries in users.values():
        for card, link, line in entries:
            if any(other != link for _, other, _ in entries):
                elsewhere[card.uid].append(line)
            if any(other is not card and other.path.parent == card.path.parent for other, _, _ in entries):
                shared[card.uid].append(line)
    return {
        "same-sha256-different-links": ("MC035", elsewhere),
        "hash-shared-by-cards-of-one-folder": ("MC014", shared),
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--uids", action="store_true", help="name every card that misses a finding, not only three")
    options = parser.parse_args()
    folder = options.folder.resolve()
    cards = [Card(folder, file) for file in sorted(folder.rglob("*.md")) if file.name.lower() != "readme.md"]
    report = mshub_ssd.validate(folder, select=["ALL"], use_config=False)
    lines: dict[tuple[str, str], set[int]] = defaultdict(set)
    for finding in report.findings:
        uid = str((Path.cwd() / finding.path).relative_to(folder)).removesuffix(".md")
        lines[uid, finding.code].add(finding.line)
        # One finding may stand for all places that its fix is for.
        edits = finding.to_dict()["fix"]["edits"] if finding.fix else []
        lines[uid, finding.code].update(edit["line"] for edit in edits)
    expected = {name: (codes, {card.uid: list(scan(card)) for card in cards}) for name, (codes, scan) in SCANS.items()}
    expected.update(across(cards))
    print(f"{len(cards)} cards, {len(report.findings)} findings")
    print(f"{'mistake':46} {'rules':12} {'cards':>5} {'places':>6} {'found':>6}  missed in")
    missed_at_all = 0
    for name, (codes, by_uid) in expected.items():
        count, places, missing = 0, 0, []
        for uid, wanted in by_uid.items():
            count += bool(wanted)
            places += len(wanted)
            for line in wanted:
                hits = [any_of(lines, uid, line, choice.split()) for choice in codes.split("+")]
                if not all(hits):
                    missing.append(f"{uid}:{line}")
        shown = missing if options.uids or len(missing) < 4 else [*missing[:3], f"and {len(missing) - 3} more"]
        print(f"{name:46} {codes:12} {count:5} {places:6} {places - len(missing):6}  {' '.join(shown)}".rstrip())
        missed_at_all += len(missing)
    print(f"{missed_at_all} places missed" if missed_at_all else "everything found")
    return 1 if missed_at_all or report.unreadable else 0


def any_of(lines: dict[tuple[str, str], set[int]], uid: str, line: int, codes: list[str]) -> bool:
    """Whether one of the rules has a finding at the line, 0 meaning anywhere in the card."""
    return any(lines[uid, code] if line == 0 else line in lines[uid, code] for code in codes)


if __name__ == "__main__":
    sys.exit(main())
