"""Cards that `mshub validate` passes load: sound cards, and one mistake made in each.

    python benchmarks/card_mistakes.py [--count 2000] [--seed 1] [--only NAME ...] [--keep FOLDER]

Every card is written for a small network with a checkpoint that is generated here, beside the card or in the cache. An
unchanged card must be without any finding, and load. A card with a mistake is validated with the default profile,
offline; where that finds no error, `plan` and `load` must succeed. Of the kinds of mistakes that must be told, the
share that is told in every card is printed; it must be 95 %. Exits 1 if anything is wrong.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import re
import shutil
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mshub_ssd import checkpoints, networks, store
from mshub_ssd.errors import MshubError
from mshub_ssd.hub import Hub
from mshub_ssd.validation import validate

ENOUGH = 0.95


@dataclass(frozen=True)
class Model:
    """A sound card's own part: its uid, network and classes."""

    uid: str
    network: str
    arguments: str
    dataset: str
    classes: tuple[str, ...] = ()
    suffix: str = ".ckpt"
    module: str = "cv-object_detection"

    @property
    def name(self) -> str:
        """The model's name, which the uid begins with."""
        return self.uid.rpartition("/")[2].rpartition("_")[0]


_TINY = (
    "num_classes: 4, image_size: 64, stem_channels: 4, blocks: [[1, 4, 1, 2], [2, 8, 1, 2]], last_channels: 8, "
    "taps: [[1, 4]], extras: [[8, 0.5]], box_sizes: [[[0.1, 0.2]], [[0.3, 0.3], [0.4, 0.5]], [[0.8, 0.8]]], "
    "depthwise_head: true, score_threshold: 0.3"
)
MODELS = (
    Model("own/1.0/ssdmobilenetv2_birds", "ssd_mobilenetV2", _TINY, "birds", ("robin", "wren", "tit")),
    Model("mindspore/1.7/ssdmobilenetv2_coco2017", "ssd_mobilenetV2", _TINY.replace("4,", "81,", 1), "coco2017"),
    Model(
        "own/2.0/sppnetzfnet_cifar10",
        "sppnet_zfnet",
        "num_classes: 10, hidden_units: 8",
        "cifar10",
        tuple("abcdefghij"),
        ".safetensors",
        "cv-classification",
    ),
    Model("mindspore/1.8/ssdmobilenetv2fpnlite_coco2017", "ssd_mobilenetV2_FPNlite", "", "coco2017"),
)


@dataclass(frozen=True)
class Card:
    """A card and its file, before and after the mistake."""

    model: Model
    text: str
    linked: bool
    file: str


class Maker:
    """Writes sound cards; checkpoints are made once per model."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.files: dict[str, tuple[Path, str]] = {}
        self.hub = Hub(registry=folder, home=folder / "home", offline=True)

    def checkpoint(self, model: Model) -> tuple[Path, str]:
        """The model's file and its digest."""
        if model.uid not in self.files:
            arguments = _arguments(model)
            cell = networks.build(model.network, card=arguments, classes=model.classes or None)
            values = np.random.default_rng(1)
            arrays = {
                name: np.abs(values.standard_normal(shape)).astype(kind)
                for name, (shape, kind) in networks.parameter_types(cell).items()
            }
            path = self.folder / f"{len(self.files)}{model.suffix}"
            checkpoints.write(path, arrays)
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            store.add(path, digest, settings=self.hub.settings)
            self.files[model.uid] = (path, digest)
        return self.files[model.uid]

    def sound(self, number: int, draw: random.Random) -> Card:
        """A card without a mistake."""
        model = MODELS[number % len(MODELS)]
        path, digest = self.checkpoint(model)
        linked = draw.random() < 0.5
        official = model.uid.startswith("mindspore/")
        version = model.uid.split("/")[1] if official else "2.3"
        figure = f"{draw.uniform(10, 99):.2f}"
        metric = "top1acc" if "classification" in model.module else "mAP"
        file = f"{model.name}_{model.dataset}_{metric}{figure}{model.suffix}"
        link = f"https://download.example.org/models/r{version}/{file}" if linked else f"weights/{file}"
        folder = f"official/cv/{model.name}"
        evaluation = draw.choice([f"{metric}{figure}", f'"{metric}: {figure}"', f"{{{metric}: {figure}}}"])
        day = f"{draw.randint(2020, 2025)}-{draw.randint(1, 12):02}-{draw.randint(1, 28):02}"
        rows = [
            f"model-name: {model.name}",
            f"backbone-name: {draw.choice(['mobilenetv2', 'zfnet', model.name])}",
            f"module-type: {model.module}",
            "fine-tunable: True",
            'model-version: "1.0"',
            f"train-dataset: {model.dataset}",
            f"evaluation: {evaluation}",
            f"author: {draw.choice(['Some team', 'Ada Lovelace', 'The authors'])}",
            f'update-time: "{day}"',
            f"repo-link: https://gitee.com/mindspore/models/tree/r{version}/{folder}",
            f"user-id: {'MindSpore' if official else 'own'}",
            "used-for: inference",
            f'mindspore-version: "{version}"',
            f"network: {{name: {model.network}, {model.arguments}}}"
            if model.arguments
            else f"network: {model.network}",
            *([f"classes: [{', '.join(model.classes)}]"] if model.classes else []),
            "asset:",
            f"- file-format: {model.suffix[1:]}",
            f"  asset-link: {link}",
            f'  asset-sha256: "{digest}"',
            f"  asset-size: {path.stat().st_size}",
            "license: Apache-2.0",
            f"summary: Finds things of {draw.randint(2, 90)} kinds on small pictures",
        ]
        body = (
            f"## What it is\n\nA small network; its code is in [{folder}](https://gitee.com/mindspore/models/tree/"
            f"r{version}/{folder}).\n\n## Use\n\n```python\nimport mshub_ssd as mshub\n\n"
            f'network = mshub.load("{model.uid}")\n```\n'
        )
        text = f"# {model.name}\n\n---\n\n" + "\n\n".join(rows).replace("\n\n  ", "\n  ").replace(
            "asset:\n\n", "asset:\n"
        )
        return Card(model, f"{text}\n\n---\n\n{body}", linked, link)

    def put(self, place: Path, card: Card, data: bytes) -> Path:
        """Write a card into a registry of its own, with its file where it belongs."""
        path = place / f"{card.model.uid}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
        if not card.linked:
            file = path.parent / card.file
            file.parent.mkdir(exist_ok=True)
            shutil.copyfile(self.checkpoint(card.model)[0], file)
        return path


def _arguments(model: Model) -> dict[str, object]:
    import yaml

    return dict(yaml.safe_load(f"{{{model.arguments}}}") or {})


# A mistake is made in the text of a sound card; None where the card has no such place.
Make = Callable[[Card, random.Random], "str | bytes | None"]
MISTAKES: dict[str, tuple[Make, bool]] = {}


def mistake(name: str, *, told: bool = True) -> Callable[[Make], Make]:
    """Decorator: a kind of mistake, and whether it must be told."""

    def enter(make: Make) -> Make:
        MISTAKES[name] = (make, told)
        return make

    return enter


def swap(name: str, pattern: str, *wrong: str, told: bool = True) -> None:
    """A mistake that puts other text in the place of the first match."""

    def make(card: Card, draw: random.Random) -> str | None:
        text, count = re.subn(pattern, draw.choice(wrong), card.text, count=1, flags=re.MULTILINE)
        return text if count and text != card.text else None

    MISTAKES[name] = (make, told)


def local(make: Make) -> Make:
    """Only for cards with their file beside them."""
    return lambda card, draw: None if card.linked else make(card, draw)


def linked(make: Make) -> Make:
    """Only for cards whose file lies behind a url."""
    return lambda card, draw: make(card, draw) if card.linked else None


_SHA = r'asset-sha256: "\w+"'
swap("U1 unknown network", r"ssd_mobilenetV2|sppnet_zfnet", "ssd_mobilenetV4", "resnet51", "ssd")
swap("U1 misspelt argument", r"num_classes:", "num_clases:", "numclasses:", "num-classes:")
swap("U1 argument of another type", r"num_classes: \d+", "num_classes: many", "num_classes: [4]", "num_classes: 4.5")
swap("U1 argument out of range", r"num_classes: \d+", "num_classes: 1", "num_classes: 0", "num_classes: -3")
swap("U1 argument that nobody takes", r"num_classes:", "colour: red, num_classes:")
swap("U1 class names too few", r"classes: \[(robin|a), ", "classes: [")
swap("U1 number of classes off by one", r"num_classes: (4|10)\b", "num_classes: 5", "num_classes: 11", "num_classes: 3")
swap("U1 levels that do not fit", r"extras: \[\[8, 0.5\]\]", "extras: []", "extras: [[8, 0.5], [8, 0.5]]")
swap("U1 row too short", r"blocks: \[\[1, 4, 1, 2\]", "blocks: [[1, 4, 1]")
swap("U1 image size that is no number", r"image_size: 64", "image_size: large", "image_size: 64px", "image_size: 1")
swap("U4 labels of another data set", r"train-dataset: coco2017", "train-dataset: fishes", "train-dataset: pets")
swap("L2 decimal comma", r"(mAP|top1acc)(: |)(\d+)\.(\d+)", r"\1\2\3,\4")
swap("L2 two figures, a comma between", r"(mAP|top1acc)(\d+\.\d+)$", r"\g<1>\2, recall50.1")
swap("L2 figure that is none", r"(mAP|top1acc)(: |)\d+\.\d+", r"\1: about 40", r"\1\g<2>1.2.3", r"\1\2n.n.")
swap("L7 module-type", r"module-type: cv-\w+", "module-type: vision", "module-type: computer-vision")
swap("L7 used-for", r"used-for: inference", "used-for: inferrence", "used-for: everything")
swap("L11 file of another model", r"(models/r[\d.]+|weights)/ssdmobilenetv2(fpnlite)?_", r"\1/ssdvgg16_", r"\1/ssd300_")
swap(
    "L12 placeholder digest",
    _SHA,
    f"asset-sha256: {'0' * 64}",
    f"asset-sha256: {'f' * 64}",
    f'asset-sha256: "{"ab" * 32}"',
)
swap("L12 digest of nothing", _SHA, f"asset-sha256: {hashlib.sha256(b'').hexdigest()}")
swap("L17 empty repo-link", r"repo-link: .*", "repo-link:")
swap("L20 date in the future", r'update-time: "\d+', 'update-time: "2199', 'update-time: "2999')
swap("L20 conflict marker", r"^license: .*", "<<<<<<< HEAD\nlicense: Apache-2.0\n=======\nlicense: MIT\n>>>>>>> other")
swap(
    "L20 conflict marker in the text",
    r"^A small network",
    "<<<<<<< HEAD\nA network\n=======\nA small network\n>>>>>>> other\n",
)
swap(
    "L20 body of another model",
    r"\[official/cv/\w+\]\((.*)/official/cv/\w+\)",
    r"[research/cv/dcgan](\1/research/cv/dcgan)",
)
swap("L20 TODO", r"summary: .*", "summary: TODO", "summary: TBD", "summary: TODO write this")
swap("wrong digest", r'asset-sha256: "(\w{60})\w{4}', r'asset-sha256: "\g<1>0000')
swap("short digest", r'asset-sha256: "(\w{20})\w+', r'asset-sha256: "\1', told=True)
swap("digest of seven digits", r'asset-sha256: "(\w{7})\w+', r'asset-sha256: "\1')
swap("digest with a letter that is no digit", r'asset-sha256: "\w', 'asset-sha256: "g', 'asset-sha256: "<')
swap("no digest", r"^  asset-sha256: .*\n", "")
swap("missing file", r"asset-link: weights/", "asset-link: other/")
swap("link out of the folder", r"asset-link: weights/", "asset-link: ../weights/", "asset-link: /weights/")
swap("scheme nobody reads", r"asset-link: https://", "asset-link: ftp://", "asset-link: s3://", "asset-link: file:///")
swap("wrong size", r"asset-size: \d+", "asset-size: 17", "asset-size: 123456789")
swap("size that is no number", r"asset-size: \d+", "asset-size: 5 MB", "asset-size: -4")
swap("format that is another one", r"file-format: \w+", "file-format: pth")
swap("format nobody knows", r"file-format: \w+", "file-format: h5", "file-format: checkpoint")
swap(
    "format that is not loaded",
    r"file-format: (\w+)((.|\n)*?)asset-link: (.*)\.\w+",
    r"file-format: onnx\2asset-link: \4.onnx",
)
swap("no asset", r"asset:\n(-.*\n)(  .*\n)*", "")
swap("asset without a dash", r"^- file-format", "  file-format", told=False)
swap("asset that is a text", r"asset:\n(-.*\n)(  .*\n)*", "asset: net.ckpt\n")
swap("no link", r"^  asset-link: .*\n", "")
swap("link twice", r"^(  asset-link: .*\n)", r"\1\1")
swap("field twice", r"^(license: .*)", r"\1\nlicense: MIT")
swap("tab", r"^  asset-link", "\tasset-link")
swap("quote that is not closed", r'model-version: "1.0"', 'model-version: "1.0', "model-version: '1.0")
swap("second colon", r"author: ", "author: The team: ")
swap("bare dash", r"evaluation: .*", "evaluation: -", told=False)
swap("version that is a number", r'model-version: "1.0"', "model-version: 1.10")
swap("missing field", r"^(module-type|license|summary): .*\n", "")
swap("misspelt field", r"^(license|author|module-type):", "licence:", "autor:", "moduletype:")
swap("misspelt network", r"^network:", "netwrok:", "Network:", "networks:")
swap("misspelt asset", r"^asset:", "aset:", "assets:", "Asset:")
swap("misspelt link", r"asset-link:", "asset-lnk:", "link:", "asset_link:")
swap("misspelt digest", r"asset-sha256:", "asset-sha265:", "sha256:", "asset_sha256:")
swap("misspelt classes", r"^classes:", "clases:", "class-names:")
swap("date that is none", r'update-time: ".*"', 'update-time: "2023-02-30"', "update-time: yesterday")
swap("switch that is none", r"fine-tunable: True", "fine-tunable: maybe", "fine-tunable: 7")
swap("shape that is none", r"^used-for", "input-shape: 3x300x300\nused-for")
swap("classes as text", r"^classes: \[.*\]", "classes: robin wren tit")
swap("classes twice the same", r"\[robin, wren", "[wren, wren")
swap("network as a list", r"^network: .*", "network: [ssd300]")
swap("network without a name", r"^network: \{name: \w+, ", "network: {")
swap("full-width colon", r"^author: ", "author\uff1a")
swap("anchor", r"^summary: ", "summary: &a ")
swap("tag", r"^summary: ", "summary: !!str ")
swap("nothing between the fences", r"---\n(.|\n)*?\n---", "---\n---")
swap("no fence", r"^---$", "--")
swap("example of another model", r'mshub\.load\(".*"\)', 'mshub.load("mindspore/1.7/ssdvgg16_coco2017")')
swap("example that is no Python", r'mshub\.load\((".*")\)', r"mshub.load(\1")
swap("repo-link without a scheme", r"repo-link: https://", "repo-link: ", "repo-link: www.")
swap("plain http", r"asset-link: https:", "asset-link: http:")
swap("figure of another file", r"(asset-link: .*(?:mAP|top1acc))\d+\.\d+", r"\g<1>05.55")
swap("file of another version", r"models/r1\.\d/", "models/r1.3/")
swap("line --- in the text", r"^## Use", "---\n\n## Use", told=False)
swap("heading with a colon", r"^## Use$", "## Use:", told=False)


@mistake("upper-case digest", told=False)
def _(card: Card, draw: random.Random) -> str | None:
    return re.sub(r'(?<=asset-sha256: )".*"', lambda found: found[0].upper(), card.text)


@mistake("CRLF", told=False)
def _(card: Card, draw: random.Random) -> bytes:
    return card.text.replace("\n", "\r\n").encode()


@mistake("byte order mark", told=False)
def _(card: Card, draw: random.Random) -> bytes:
    return b"\xef\xbb\xbf" + card.text.encode()


@mistake("NUL")
def _(card: Card, draw: random.Random) -> str:
    return card.text.replace("summary: ", "summary: \0")


@mistake("Latin-1")
def _(card: Card, draw: random.Random) -> bytes:
    return card.text.replace("author: ", "author: J\u00fcrgen and ").encode("latin-1")


@mistake("UTF-16")
def _(card: Card, draw: random.Random) -> bytes:
    return card.text.encode("utf-16")


@mistake("cut off")
def _(card: Card, draw: random.Random) -> str:
    return card.text[: draw.randrange(30, card.text.index("license:"))]


@mistake("line lost", told=False)
def _(card: Card, draw: random.Random) -> str:
    lines = card.text.splitlines(keepends=True)
    del lines[draw.randrange(len(lines))]
    return "".join(lines)


@mistake("letter lost", told=False)
def _(card: Card, draw: random.Random) -> str:
    at = draw.randrange(len(card.text))
    return card.text[:at] + card.text[at + 1 :]


@mistake("letters swapped", told=False)
def _(card: Card, draw: random.Random) -> str:
    at = draw.randrange(len(card.text) - 1)
    return card.text[:at] + card.text[at + 1] + card.text[at] + card.text[at + 2 :]


for _name in ("wrong digest", "missing file", "link out of the folder", "wrong size"):
    MISTAKES[_name] = (local(MISTAKES[_name][0]), MISTAKES[_name][1])
for _name in ("scheme nobody reads", "plain http", "file of another version"):
    MISTAKES[_name] = (linked(MISTAKES[_name][0]), MISTAKES[_name][1])


@dataclass
class Outcome:
    """What became of all cards of a kind."""

    made: int = 0
    told: int = 0
    passed: int = 0
    codes: Counter[str] | None = None


def try_card(maker: Maker, place: Path, card: Card, data: bytes | None) -> tuple[list[str], bool, str | None]:
    """Validate a card, and load it if nothing speaks against it.

    Returns:
        Codes of the findings; whether there was no error; what went wrong although there was none.
    """
    path = maker.put(place, card, card.text.encode() if data is None else data)
    try:
        report = validate(place, use_config=False)
        codes = [finding.code for finding in report.findings]
        if any(finding.severity == "error" for finding in report.findings):
            return codes, False, None
        hub = Hub(registry=place, home=maker.folder / "home", offline=True)
        try:
            plan = hub.plan(card.model.uid)
            if _is_elsewhere(card, plan.checkpoint.sha256 if plan.checkpoint else ""):
                return codes, True, None
            hub.load(card.model.uid)
        except MshubError as error:
            return codes, True, f"{type(error).__name__}: {error.message}"
        return codes, True, None
    finally:
        shutil.rmtree(path.parents[2], ignore_errors=True)


def _is_elsewhere(card: Card, digest: str) -> bool:
    """Whether the card names a file that nobody has here: of a url, the digest alone tells nothing offline."""
    right = re.search(r'asset-sha256: "(\w+)"', card.text)
    return card.linked and right is not None and not right[1].startswith(digest.lower())


def run(
    count: int, seed: int, only: list[str] | None = None, keep: Path | None = None
) -> tuple[dict[str, Outcome], list[str]]:
    """Try so many cards; what was told, and what is wrong."""
    faults: list[str] = []
    outcomes = {name: Outcome(codes=Counter()) for name in MISTAKES if not only or name in only}
    with tempfile.TemporaryDirectory() as folder:
        maker = Maker(Path(folder))
        place = Path(folder) / "cards"
        for number in range(4 * len(MODELS)):
            card = maker.sound(number, random.Random(f"{seed} sound {number}"))
            codes, _, fault = try_card(maker, place, card, None)
            if codes or fault:
                faults.append(f"a sound card of {card.model.uid} is blamed: {codes} {fault}")
        names = list(outcomes)
        for number in range(count):
            name = names[number % len(names)]
            draws = (random.Random(f"{seed} {number} {attempt}") for attempt in range(50))
            tries = (
                (card := maker.sound(draw.randrange(len(MODELS)), draw), MISTAKES[name][0](card, draw))
                for draw in draws
            )
            # Not every card has the place for every mistake.
            card, wrong = next((card, wrong) for card, wrong in tries if wrong is not None)
            data = wrong if isinstance(wrong, bytes) else wrong.encode("utf-8")
            codes, passed, fault = try_card(maker, place, card, data)
            outcome = outcomes[name]
            outcome.made += 1
            outcome.told += bool(codes)
            outcome.passed += passed
            assert outcome.codes is not None
            outcome.codes.update(set(codes))
            if fault:
                faults.append(f"{name}: no error was found, and then: {fault}")
                if keep:
                    (keep / f"{len(faults)}.md").write_bytes(data)
    return outcomes, faults


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", action="append")
    parser.add_argument("--keep", type=Path)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    if options.keep:
        options.keep.mkdir(parents=True, exist_ok=True)
    outcomes, faults = run(options.count, options.seed, options.only, options.keep)
    for name, one in outcomes.items():
        codes = ", ".join(f"{code} {number}" for code, number in (one.codes or Counter()).most_common(4))
        print(f"{one.made:4} made, {one.told:4} told, {one.passed:4} passed  {name}: {codes}")
    must = [name for name, one in outcomes.items() if MISTAKES[name][1] and one.made]
    missed = [name for name in must if outcomes[name].told < outcomes[name].made]
    share = 1 - len(missed) / max(len(must), 1)
    made, passed = sum(one.made for one in outcomes.values()), sum(one.passed for one in outcomes.values())
    print("\n".join(sorted(set(faults))))
    print(f"not always told: {', '.join(missed) or 'none'}")
    print(f"{made} cards, {len(outcomes)} kinds; {passed} passed, {len(faults)} faults; {share:.1%} of kinds told")
    if options.json:
        facts = {"cards": made, "kinds": len(outcomes), "passed": passed, "faults": len(faults), "told": share}
        options.json.write_text(json.dumps(facts, indent=2) + "\n")
    return 1 if faults or share < ENOUGH else 0


if __name__ == "__main__":
    sys.exit(main())
