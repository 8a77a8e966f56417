"""Recipes of the cards whose networks lie in packages: writes mshub_ssd/providers/data/packages.jsonl.

    python benchmarks/capture_packages.py CARDS MINDCV MINDYOLO MINDOCR ZOO --out FILE [--only MODEL ...]

CARDS is a folder of published cards; MINDCV, MINDYOLO and MINDOCR are clones of the repositories that they name, ZOO
is one of the model zoo; bare ones will do. MindCV and MindYOLO must be installed, and are run as they are; MindOCR need
not be. A card names a branch, a folder of configurations and a model. The configuration says how the network is built
and what pictures are made into. Every network is built and run in a process of its own, where connections and files
that are written end it: `constructs` and `runs` are what was seen there. Built with other numbers of classes it tells
which parameter shows their number.

For each of STAND_INS the zoo's network is built beside MindCV's, at the commits of the branches, and both are given the
same values: their parameters must be the same, and their outputs agree within APART of the largest, for small inputs
and for large ones, or there is no row. `apart` is the largest difference that was seen. Large inputs matter: ReLU6 is
ReLU for small values. Equal code at several commits is compared once.

What the zoo makes of pictures its own scripts say: each is run on a picture, beside this library's family with the
settings of STAND_INS. `pictures` are the commits where both give the same, within the rounding of one grey level;
elsewhere nothing is known of it.
"""

from __future__ import annotations

import argparse
import dataclasses
import functools
import hashlib
import json
import math
import os
import re
import subprocess
import sys
import tempfile
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import yaml

# What `config.py` of MindCV takes where a configuration says nothing.
MEAN, STD = (0.485 * 255, 0.456 * 255, 0.406 * 255), (0.229 * 255, 0.224 * 255, 0.225 * 255)
SIZE, CROP, INTERPOLATION = 224, 0.875, "bilinear"
# And what `test.py` of MindYOLO takes.
IOU = 0.65
# Where the cards' names are not those of the configurations.
FILES = {"yolov3_darknet53": "yolov3", "yolov4_cspdarknet53": "yolov4"}
FILES |= {"dbnet_mobilenetv3": "db_mobilenetv3_icdar15", "dbnet_resnet50": "db_r50_icdar15"}
VERSIONS = {"mindcv": ">=0.3,<0.4", "mindyolo": ">=0.5,<0.6", "mindocr": ">=0.5,<0.6"}
COUNTS = (7, 31)
# Most that outputs may be apart, as a share of the largest. A wrong layer, or a batch norm's other epsilon, makes a
# thousand times more; in deep networks with drawn values rounding alone makes some millionths.
APART = 1e-5
PREPARED = ("resize", "resize_to", "interpolation", "mean", "std")
# What inputs are multiplied by.
SCALES = (1, 30)
REPOSITORY = re.compile(
    r"repo-link: <https://github\.com/mindspore-lab/(mind(?:cv|yolo|ocr))/tree/([^/>]+)/([^>]+?)/?>"
)


@dataclass(frozen=True)
class StandIn:
    """A network of MindCV that may compute what one of the zoo computes."""

    callable: str
    path: str
    model: str
    zoo: str
    arguments: dict[str, Any]
    branches: tuple[str, ...]
    rename: tuple[tuple[str, str], ...] = ()
    size: int = SIZE
    environ: dict[str, str] = field(default_factory=dict)
    data: str = "src.dataset:create_dataset"
    resize: int = 256
    resize_to: str = "shorter side"
    interpolation: str = INTERPOLATION
    mean: tuple[float, float, float] = MEAN
    std: tuple[float, float, float] = STD
    datasets: tuple[str, ...] = ("imagenet",)


HALVES = (127.5, 127.5, 127.5)
LATER = ("r1.7", "r1.8", "r1.9", "r1.10")
MOST = ("r1.3", "r1.5", "r1.6", *LATER)
# The zoo numbers GhostNet's blocks one after the other, MindCV by the stages that have so many.
GHOST_STAGES = (1, 1, 1, 1, 1, 1, 5, 1, 4)
GHOST_BLOCKS = [f"{stage}.{number}" for stage, count in enumerate(GHOST_STAGES) for number in range(count)]
GHOST = (
    *((rf"\bblocks\.{number}\.(?=[a-z])", f"blocks.{place}.") for number, place in enumerate(GHOST_BLOCKS)),
    (r"\bblocks\.16\.conv\.", "blocks.9.features.0."),
    (r"\bblocks\.16\.bn\.", "blocks.9.features.1."),
    (r"\b(primary_conv|cheap_operation)\.conv\.", r"\1.0."),
    (r"\b(primary_conv|cheap_operation)\.bn\.", r"\1.1."),
    (r"\bdw\.conv\.", "conv_dw."),
    (r"\bdw\.bn\.", "bn_dw."),
    (r"\bshortcut\.0\.conv\.", "shortcut.0."),
    (r"\bshortcut\.0\.bn\.", "shortcut.1."),
    (r"\bshortcut\.1\.conv\.", "shortcut.2."),
    (r"\bshortcut\.1\.bn\.", "shortcut.3."),
)
XCEPTION = (
    *((rf"\bblock{number}\.", f"blocks.{number - 1}.") for number in range(1, 13)),
    (r"\bfc\.(weight|bias)$", r"classifier.\1"),
)
STAND_INS = (
    StandIn(
        "mindcv.models.dpn:dpn92",
        "official/cv/dpn",
        "dpn",
        "src.dpn:DPN",
        {},
        LATER,
        data="src.imagenet_dataset:classification_dataset",
        resize_to="square",
    ),
    StandIn(
        "mindcv.models.nasnet:nasnet_a_4x1056",
        "official/cv/nasnet",
        "nasnet",
        "src.nasnet_a_mobile:NASNetAMobile",
        {"num_classes": 1000, "is_training": False},
        MOST,
        mean=HALVES,
        std=HALVES,
    ),
    StandIn(
        "mindcv.models.shufflenetv2:shufflenet_v2_x1_0",
        "official/cv/shufflenetv2",
        "shufflenetv2",
        "src.shufflenetv2:ShuffleNetV2",
        {},
        MOST,
        ((r"\bclassifier\.0\.weight$", "classifier.weight"),),
    ),
    StandIn(
        "mindcv.models.ghostnet:ghostnet_100",
        "research/cv/ghostnet",
        "ghostnet",
        "src.ghostnet:ghostnet",
        {"model_name": "1x", "num_classes": 1000, "final_drop": 0.8},
        (*MOST, "master"),
        GHOST,
        datasets=("imagenet", "oxford"),
    ),
    StandIn(
        "mindcv.models.xception:xception",
        "official/cv/xception",
        "xception",
        "src.Xception:Xception",
        {"num_classes": 1000},
        MOST,
        XCEPTION,
        size=299,
        resize=320,
        mean=HALVES,
        std=HALVES,
    ),
    StandIn(
        "mindcv.models.squeezenet:squeezenet1_1",
        "research/cv/squeezenet1_1",
        "squeezenet1_1",
        "src.squeezenet:SqueezeNet",
        {"num_classes": 1000},
        MOST,
        ((r"\bfinal_conv\.(weight|bias)$", r"classifier.1.\1"),),
        size=227,
        data="src.dataset:create_dataset_imagenet",
        resize_to="square",
    ),
    StandIn(
        "mindcv.models.repvgg:repvgg_a0",
        "research/cv/repvgg",
        "repvgg",
        "src.models.repvgg:create_RepVGG_A0",
        {"num_classes": 1000},
        ("r1.8", "r1.9", "r1.10"),
        # Its modules ask what they run on, and know no CPU.
        environ={"DEVICE_TARGET": "GPU", "DEVICE_NUM": "1"},
        data="src.data.imagenet:create_dataset_imagenet",
        interpolation="bicubic",
    ),
)


@dataclass
class Wanted:
    """A model that cards name."""

    package: str
    model: str
    path: str
    branches: set[str] = field(default_factory=set)
    datasets: set[str] = field(default_factory=set)


class Clone:
    """A repository, read at a branch."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def git(self, *words: str) -> str:
        """What git prints."""
        return subprocess.run(
            ["git", "-C", str(self.folder), *words], check=True, capture_output=True, text=True
        ).stdout

    def packed(self, commit: str, path: str) -> bytes:
        """A folder as a tar archive."""
        words = ["git", "-C", str(self.folder), "archive", commit, path]
        return subprocess.run(words, check=True, capture_output=True).stdout

    def commit(self, branch: str) -> str:
        """What a branch stands for."""
        return self.git("rev-parse", f"refs/heads/{branch}").strip()

    def files(self, commit: str, path: str) -> list[str]:
        """Files of a folder, by their paths."""
        return self.git("ls-tree", "--name-only", commit, f"{path}/").split()

    def read(self, commit: str, path: str) -> dict[str, Any]:
        """A configuration with those that it is based on."""
        content = yaml.safe_load(self.git("show", f"{commit}:{path}"))
        base: dict[str, Any] = {}
        for name in content.pop("__BASE__", []):
            place = Path(path).parent
            while name.startswith(("../", "./")):
                place, name = (place.parent if name.startswith("../") else place), name.partition("/")[2]
            base = merged(self.read(commit, str(place / name)), base)
        return merged(content, base)


def merged(over: dict[str, Any], base: dict[str, Any]) -> dict[str, Any]:
    found = dict(base)
    for key, value in over.items():
        both = isinstance(value, dict) and isinstance(found.get(key), dict)
        found[key] = merged(value, found[key]) if both else value
    return found


def wanted(cards: Path) -> Iterator[Wanted]:
    found: dict[tuple[str, str, str], Wanted] = {}
    for path in sorted(cards.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        link = REPOSITORY.search(text)
        model = re.search(r"^model-name: *(\S+)", text, re.MULTILINE)
        if link and model:
            key = (link[1], model[1], link[3])
            one = found.setdefault(key, Wanted(*key))
            one.branches.add(link[2])
            dataset = re.search(r"^train-dataset: *(\S+)", text, re.MULTILINE)
            one.datasets.add(dataset[1] if dataset else "")
    yield from found.values()


def plain(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def classifier(clone: Clone, one: Wanted, commit: str) -> dict[str, Any]:
    """What a configuration of MindCV says."""
    for name in clone.files(commit, one.path):
        content = clone.read(commit, name) if name.endswith("_ascend.yaml") else {}
        if plain(content.get("model", "")) == plain(one.model):
            break
    else:
        raise SystemExit(f"no configuration of {one.model} in {one.path}")
    side = content.get("image_resize", SIZE)
    return {
        "configuration": name,
        "call": {
            "callable": f"mindcv.models:{content['model']}",
            "args": [],
            "kwargs": {"num_classes": content["num_classes"]},
        },
        "inputs": [{"shape": [1, 3, side, side], "type": "float32"}],
        "family": "classifier",
        "settings": {
            "num_classes": content["num_classes"],
            "resize": math.floor(side / content.get("crop_pct", CROP)),
            "image_size": side,
            "interpolation": content.get("interpolation", INTERPOLATION),
            "mean": list(content.get("mean", MEAN)),
            "std": list(content.get("std", STD)),
        },
        "named_after": "imagenet",
    }


def detector(clone: Clone, one: Wanted, commit: str) -> dict[str, Any]:
    """What a configuration of MindYOLO says."""
    stem = plain(FILES.get(one.model, one.model))
    names = [name for name in clone.files(commit, one.path) if plain(Path(name).stem) == stem]
    if len(names) != 1:
        raise SystemExit(f"configurations of {one.model} in {one.path}: {names}")
    content = clone.read(commit, names[0])
    steps = [step["func_name"] for step in content["data"]["test_transforms"]]
    if [step for step in steps if not step.startswith("label_")] != ["letterbox", "image_norm", "image_transpose"]:
        raise SystemExit(f"{names[0]} prepares pictures in another way: {steps}")
    network = dict(content["network"])
    network |= {part: quoted(network[part]) for part in ("backbone", "head")}
    kind = network["model_name"]
    side = content["img_size"]
    return {
        "configuration": names[0],
        "call": {
            "callable": f"mindyolo.models.{kind}:{kind}",
            "args": [],
            "kwargs": {
                "cfg": {"call": {"callable": "mindyolo.utils.config:Config", "args": [grammar(network)], "kwargs": {}}},
                "num_classes": content["data"]["nc"],
            },
        },
        "inputs": [{"shape": [1, 3, side, side], "type": "float32"}],
        "family": "yolo",
        "settings": {
            "num_classes": content["data"]["nc"],
            "image_size": side,
            "rows": "classes" if content.get("conf_free", False) else "object and classes",
            "nms_threshold": content.get("iou_thres", IOU),
        },
        "named_after": "coco",
    }


def reader(clone: Clone, one: Wanted, commit: str) -> dict[str, Any]:
    """What a configuration of MindOCR says; weights of a backbone would be downloaded, and the checkpoint has them."""
    stem = plain(FILES.get(one.model, one.model))
    (name,) = (name for name in clone.files(commit, one.path) if plain(Path(name).stem) == stem)
    model = clone.read(commit, name)["model"]
    model["backbone"]["pretrained"] = False
    return {
        "configuration": name,
        "call": {"callable": "mindocr.models.builder:build_model", "args": [grammar(model)], "kwargs": {}},
        "inputs": [],
        "family": None,
        "settings": {},
        "named_after": "",
    }


def grammar(value: Any) -> Any:
    """A value as recipes have it."""
    if isinstance(value, dict):
        return {"dict": {name: grammar(item) for name, item in value.items()}}
    return [grammar(item) for item in value] if isinstance(value, list) else value


def quoted(layers: list[Any]) -> list[Any]:
    """Layers whose words are in quotes: MindYOLO evaluates arguments, and warns of those that it cannot evaluate."""
    return [
        [*rest, ["'nearest'" if argument == "nearest" else argument for argument in arguments]]
        for *rest, arguments in layers
    ]


def row(clone: Clone, one: Wanted) -> dict[str, Any]:
    commits = sorted(map(clone.commit, one.branches))
    reads = {"mindcv": classifier, "mindyolo": detector, "mindocr": reader}[one.package]
    says = [reads(clone, one, commit) for commit in commits]
    if any(other != says[0] for other in says):
        raise SystemExit(f"{one.model}: the branches {sorted(one.branches)} have different configurations")
    described = {
        "key": f"{one.package}:{one.model}",
        "package": one.package,
        "versions": VERSIONS[one.package],
        "repository": f"mindspore-lab/{one.package}",
        "path": one.path,
        "commits": commits,
        **says[0],
    }
    return {**described, **proof(described)} if find_spec(one.package) else {**described, "proven": []}


def stand_in(zoo: Clone, one: StandIn) -> dict[str, Any]:
    """A row for a network of MindCV that computes what the zoo's does at all of the branches."""
    commits = [zoo.commit(branch) for branch in one.branches]
    apart, pictures = 0.0, []
    known: dict[str, tuple[float, str]] = {}
    for commit in commits:
        tree = zoo.git("rev-parse", f"{commit}:{one.path}/src").strip()
        if tree not in known:
            with tempfile.TemporaryDirectory() as folder:
                archive = zoo.packed(commit, f"{one.path}/src")
                subprocess.run(["tar", "x", "-C", folder], input=archive, check=True)
                told = json.dumps({**dataclasses.asdict(one), "folder": f"{folder}/{one.path}"})
                known[tree] = (float(asked("--compare", told, "agree within ")), "")
                try:
                    known[tree] = (known[tree][0], asked("--pictures", told, "pictures agree "))
                except SystemExit as error:
                    print(f"{one.path} {commit[:12]}: what it makes of pictures is not known: {error}"[:400])
        apart = max(apart, known[tree][0])
        pictures += [commit] if known[tree][1] else []
        print(one.path, commit[:12], *known[tree], flush=True)
    described = {
        "key": f"mindcv:{one.callable.partition(':')[2]}@{one.path}",
        "package": "mindcv",
        "versions": VERSIONS["mindcv"],
        "repository": "mindspore/models",
        "path": one.path,
        "models": [one.model],
        "commits": commits,
        "rename": one.rename,
        "apart": apart,
        "call": {"callable": one.callable, "args": [], "kwargs": {"num_classes": 1000}},
        "inputs": [{"shape": [1, 3, one.size, one.size], "type": "float32"}],
        "family": "classifier" if pictures else None,
        "settings": {"num_classes": 1000, **settings(dataclasses.asdict(one))},
        "named_after": "imagenet",
        "datasets": one.datasets,
        "pictures": pictures,
    }
    seen = proof(described)
    return {**described, **seen, "proven": [*seen["proven"], "verified"]}


def asked(how: str, told: str, answer: str) -> str:
    """What a process of its own says behind `answer`."""
    found = subprocess.run([sys.executable, __file__, how], input=told, capture_output=True, text=True, check=False)
    lines = [line for line in found.stdout.splitlines() if line.startswith(answer)]
    if found.returncode or not lines:
        raise SystemExit(f"{how}: {found.stdout[-300:]}{found.stderr[-300:]}")
    return lines[-1].removeprefix(answer)


def settings(told: dict[str, Any]) -> dict[str, Any]:
    """How this library's family is to prepare pictures for a stand-in."""
    return {"image_size": told["size"], **{name: told[name] for name in PREPARED}}


def pictures() -> None:
    """Whether the zoo's script makes of a picture what this library's family does."""
    told = json.load(sys.stdin)
    sys.path.insert(0, told["folder"])
    os.environ |= told["environ"]
    import mindspore.dataset.transforms
    import mindspore.dataset.vision
    import numpy as np
    from PIL import Image

    from mshub_ssd import families
    from mshub_ssd.networks.classification import ClassifierConfig, class_names

    # As they were called before MindSpore 2.
    for room in (mindspore.dataset.vision, mindspore.dataset.transforms):
        for name in ("c_transforms", "py_transforms"):
            sys.modules.setdefault(f"{room.__name__}.{name}", room)
            setattr(room, name, room)
    if not find_spec("cv2"):
        sys.modules["cv2"] = types.ModuleType("cv2")
        sys.modules["cv2"].setNumThreads = lambda count: None  # type: ignore[attr-defined]
    one_worker(mindspore.dataset)
    random = np.random.default_rng(3)
    most = 0.0
    for height, width in ((500, 375), (333, 500), (240, 250)):
        coarse = Image.fromarray(random.integers(0, 256, (height // 20, width // 20, 3), dtype=np.uint8))
        picture = coarse.resize((width, height), Image.Resampling.BICUBIC)
        with tempfile.TemporaryDirectory() as folder:
            for part in ("val", "test"):
                place = Path(folder) / part / "n01440764"
                place.mkdir(parents=True)
                picture.save(place / "one.png")
            try:
                data = called_for(told, f"{folder}/val")
            except ValueError:  # it looks for one of them itself
                data = called_for(told, folder)
            theirs = next(data.create_dict_iterator(output_numpy=True, num_epochs=1))["image"]
        config = ClassifierConfig("it", 1000, class_names(1000), input_sizes=(told["size"],), **settings(told))
        family = families.of(config)
        ours = family.preprocess(np.asarray(picture))[0] if family else None
        if ours is None or theirs.shape != ours.shape:
            raise ValueError(f"inputs of the shapes {theirs.shape} and {ours if ours is None else ours.shape}")
        grey = np.abs(theirs - ours) * np.array(told["std"], np.float32)[:, None, None]
        most = max(most, float(grey.max()))
    if most > 1.01:
        raise ValueError(f"inputs are {most:.2g} grey levels apart")
    print(f"pictures agree within {most:.1e} grey levels")


def one_worker(data: Any) -> None:
    """Let scripts do with one thread, however many they ask for: there may be fewer here."""

    def wrapped(real: Callable[..., Any]) -> Callable[..., Any]:
        @functools.wraps(real)
        def call(*args: Any, **kwargs: Any) -> Any:
            return real(*args, **{**kwargs, "num_parallel_workers": 1})

        return call

    data.ImageFolderDataset.__init__ = wrapped(data.ImageFolderDataset.__init__)
    data.Dataset.map = wrapped(data.Dataset.map)


def called_for(told: dict[str, Any], folder: str) -> Any:
    """The script's data set for evaluation, whatever it calls its arguments."""
    import inspect

    size = told["size"]
    few = types.SimpleNamespace(
        num_parallel_workers=1, work_nums=1, image_size=size, batch_size=1, rank=0, group_size=1, num_classes=1000,
        mix_up=0.0, cutmix=0.0, interpolation=told["interpolation"],
    )  # fmt: skip
    known = dict.fromkeys(("dataset_path", "data_dir", "dataset_dir"), folder)
    known |= dict.fromkeys(("do_train", "training", "infer_910", "run_distribute", "shuffle"), False)
    known |= dict.fromkeys(("group_size", "batch_size", "per_batch_size", "max_epoch", "num_parallel_workers"), 1)
    known |= {"rank": 0, "mode": "eval", "target": "Ascend", "args": few, "config": few, "image_size": size}
    function = resolved(told["data"])
    if "data_dir" in inspect.signature(function).parameters:  # it wants both sides
        known["image_size"] = [size, size]
    return function(**{name: known[name] for name in inspect.signature(function).parameters if name in known})


def compare() -> None:
    """Whether the two networks on the standard input compute the same with equal values."""
    told = json.load(sys.stdin)
    sys.path.insert(0, told["folder"])
    os.environ |= told["environ"]
    import mindspore
    import numpy as np

    ours = resolved(told["callable"])(num_classes=1000)
    theirs = resolved(told["zoo"])(**told["arguments"])
    random = np.random.default_rng(1)
    values = {}
    for item in ours.get_parameters():
        name = item.name
        norm = name.endswith(("moving_variance", "gamma"))
        scale = (2 / max(1, math.prod(item.shape[1:]))) ** 0.5 if len(item.shape) > 1 else 0.1
        drawn = random.uniform(0.5, 1.5, item.shape) if norm else random.normal(0, scale, item.shape)
        values[name] = drawn.astype(np.float32)
    for network, rules in ((ours, []), (theirs, told["rename"])):
        left = set(values)
        for item in network.get_parameters():
            name = item.name
            for pattern, replacement in rules:
                name = re.sub(pattern, replacement, name)
            left.remove(name)
            if item.shape != values[name].shape:
                raise ValueError(f"{name} has the shape {item.shape}")
            item.set_data(mindspore.Tensor(values[name]))
        if left:
            raise ValueError(f"no {sorted(left)[:5]}")
        network.set_train(False)
    most = 0.0
    for scale in SCALES:
        drawn = scale * random.normal(0, 1, (2, 3, told["size"], told["size"]))
        outputs = [network(mindspore.Tensor(drawn.astype(np.float32))) for network in (ours, theirs)]
        one, two = (found[0] if isinstance(found, tuple) else found for found in outputs)
        apart = float(np.abs(one.asnumpy() - two.asnumpy()).max() / np.abs(two.asnumpy()).max())
        if apart > APART or not np.ptp(two.asnumpy(), axis=0).any():
            raise ValueError(f"outputs are {apart:.2g} apart, or the same for any picture")
        most = max(most, apart)
    print(f"agree within {most:.1e}")


def proof(described: dict[str, Any]) -> dict[str, Any]:
    """What a process of its own sees of the network."""
    found = subprocess.run(
        [sys.executable, __file__, "--prove"], input=json.dumps(described), capture_output=True, text=True, check=False
    )
    lines = [line for line in found.stdout.splitlines() if line.startswith("{")]
    seen = json.loads(lines[-1]) if lines else {"proven": []}
    # MindSpore warns where a value is used that is not there.
    if seen.pop("values", False) or "uninitialized tensor" in found.stderr:
        seen["values"] = True
    trouble = seen.pop("trouble", None) or (found.stderr.strip().splitlines() or ["it ended"])[-1]
    if len(seen["proven"]) < 2:
        print(f"{described['key']}: {seen['proven']}: {trouble}"[:300], file=sys.stderr)
    return seen


def prove() -> None:
    """Build and run the network that is described on the standard input."""
    described = json.load(sys.stdin)
    import mindspore
    import numpy as np

    sys.addaudithook(forbid)
    seen: dict[str, Any] = {"proven": []}
    settings, call = described["settings"], described["call"]
    # Where the function is defined, as `mindcv.models` only passes it on.
    place = resolved(call["callable"])
    call["callable"] = f"{place.__module__}:{place.__name__}"
    seen["call"] = call
    try:
        network = called(call)
        shapes = {item.name: list(map(int, item.shape)) for item in network.get_parameters()}
        seen["proven"].append("constructs")
        text = "\n".join(f"{name} {shape}" for name, shape in sorted(shapes.items()))
        seen |= {"parameters": len(shapes), "digest": hashlib.sha256(text.encode()).hexdigest()}
        others = {}
        for count in COUNTS:
            others[count], with_values = sides({**call, "kwargs": {**call["kwargs"], "num_classes": count}})
            seen["values"] = seen.get("values", False) or with_values
        seen["classes"] = shown({settings["num_classes"]: shapes, **others})
        network.set_train(False)
        size = described["inputs"][0]["shape"]
        given = np.random.default_rng(0).standard_normal(size).astype(np.float32)
        found = network(mindspore.Tensor(given))
        found = found[0] if described["family"] == "yolo" else found
        width = settings["num_classes"] + (4 if settings.get("rows") == "classes" else 5)
        wanted = width if described["family"] == "yolo" else settings["num_classes"]
        if found.shape[0] != 1 or found.shape[-1] != wanted:
            raise ValueError(f"its output has the shape {found.shape}")
        seen["proven"].append("runs")
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told
        seen["trouble"] = f"{type(error).__name__}: {error}"
    print(json.dumps(seen))


def sides(call: dict[str, Any]) -> tuple[dict[str, list[int]], bool]:
    """Names, as in checkpoints, and shapes of a network's parameters; and whether it had to be built with values."""
    from mshub_ssd import networks

    for initialised in (False, True):
        try:
            with networks.building(initialised=initialised):
                network = called(call)
            break
        except (RuntimeError, ValueError, TypeError):
            if initialised:
                raise
    return {item.name: list(map(int, item.shape)) for item in network.get_parameters()}, initialised


def shown(shapes: dict[int, dict[str, list[int]]]) -> list[Any] | None:
    """A parameter's name, an axis, a factor and a rest: its side is factor x classes + rest, whatever the number is."""
    (first, one), *rest = shapes.items()
    second, two = rest[0]
    for name, sides in one.items():
        for axis, side in enumerate(sides):
            factor = (side - two[name][axis]) // (first - second)
            fits = all(other[name][axis] == factor * count + side - factor * first for count, other in shapes.items())
            if factor and fits:
                return [name, axis, factor, side - factor * first]
    return None


def resolved(text: str) -> Any:
    from importlib import import_module

    module, _, name = text.partition(":")
    return getattr(import_module(module), name)


def called(call: dict[str, Any]) -> Any:
    kwargs = {name: valued(value) for name, value in call["kwargs"].items()}
    return resolved(call["callable"])(*map(valued, call["args"]), **kwargs)


def valued(value: Any) -> Any:
    if isinstance(value, dict):
        return called(value["call"]) if "call" in value else {k: valued(item) for k, item in value["dict"].items()}
    return [valued(item) for item in value] if isinstance(value, list) else value


def forbid(event: str, given: tuple[Any, ...]) -> None:
    writes = event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+")
    # MindSpore keeps what it compiled below the temporary and the working folder.
    if event in ("socket.connect", "socket.getaddrinfo") or (writes and "rank_" not in str(given[0])):
        raise PermissionError(f"{event} {given[0]!r}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("cards", type=Path)
    parser.add_argument("mindcv", type=Path)
    parser.add_argument("mindyolo", type=Path)
    parser.add_argument("mindocr", type=Path)
    parser.add_argument("zoo", type=Path)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--only", nargs="*", help="these models; the other rows of the file stay")
    chosen = parser.parse_args()
    for package in VERSIONS:
        print(package, version(package) if find_spec(package) else "is not installed")
    clones = {name: Clone(getattr(chosen, name)) for name in VERSIONS}
    rows = {}
    if chosen.only and chosen.out.exists():
        rows = {found["key"]: found for found in map(json.loads, chosen.out.read_text().splitlines())}
    making: list[tuple[str, Callable[[], dict[str, Any]]]] = [
        (one.model, functools.partial(stand_in, Clone(chosen.zoo), one)) for one in STAND_INS
    ]
    making += [(one.model, functools.partial(row, clones[one.package], one)) for one in wanted(chosen.cards)]
    for model, make in making:
        if not chosen.only or model in chosen.only:
            made = make()
            rows[made["key"]] = made
            print(made["key"], *made["proven"], flush=True)
            lines = [json.dumps(rows[key], ensure_ascii=False) for key in sorted(rows)]
            chosen.out.write_text("\n".join(lines) + "\n", encoding="utf-8")


if __name__ == "__main__":
    {"--prove": prove, "--compare": compare, "--pictures": pictures}.get(" ".join(sys.argv[1:]), main)()
