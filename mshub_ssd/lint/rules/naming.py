"""Rules about names: of the file, the model, the data set, the publisher, and whether they agree."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from mshub_ssd.cards import Scalar, parse_metric, valid_uid
from mshub_ssd.lint.context import CardContext, Violation, edit
from mshub_ssd.lint.finding import Fix
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.assets import file_name
from mshub_ssd.lint.rules.fields import each_text

# Publishers whose folders are named after versions of MindSpore.
_MINDSPORE_FOLDERS = {"mindspore", "noah-cvlab"}
_BACKENDS = {"ascend", "gpu", "cpu"}
_VERSION_FOLDER = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_BRANCH = re.compile(r"/tree/r([0-9]+(?:\.[0-9]+)+)(?=/|$)")
_MODELS_FOLDER = re.compile(r"/models/r([0-9]+(?:\.[0-9]+)+)/")
_FILE_VERSION = re.compile(r"_v([0-9]{3,6})(?=_)")
_CHINESE = re.compile("[\u2e80-\u9fff]")
_SQUEEZE = re.compile(r"[^a-z0-9]+")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_PLACEHOLDERS = {"none", "n/a", "na", "nil", "-", "todo", "tbd", "unknown", "xxx", "custom", "null"}
_LETTERS = re.compile(r"[^a-z0-9.+-]+")
_NUMBER = re.compile(r"[0-9]+(?:\.[0-9]+)?")
_MAX_NAMES = 50
_LONGEST_NAME = 300
_BETWEEN_NAMES = re.compile(r"[|,]")

# The spelling of the hub, where most cards of a data set agree on one.
_CANONICAL = {
    name.replace("_", "").replace("-", ""): name
    for name in (
        "ade20k",
        "aishell",
        "celeba",
        "cifar10",
        "cifar100",
        "cityscapes",
        "coco2014",
        "coco2017",
        "criteo",
        "div2k",
        "icdar2015",
        "imagenet2012",
        "kitti",
        "librispeech",
        "ljspeech",
        "lsun",
        "mnist",
        "ms1mv2",
        "mvtec",
        "nyudv2",
        "pemsd7m",
        "sop",
        "squad",
        "vggface2",
        "voc2007",
        "voc2012",
        "widerface",
    )
}


def squeeze(text: str) -> str:
    """Letters and digits of a name, in lower case: what two spellings of one name share."""
    return _SQUEEZE.sub("", text.lower())


def _datasets(context: CardContext) -> Iterator[tuple[str, int, int]]:
    """The names in train-dataset and their places."""
    found = context.fields.get("train-dataset")
    if found is None:
        return
    pieces = (piece for node in each_text(found[1]) for piece in context.pieces(node, _BETWEEN_NAMES) if piece[0])
    yield from itertools.islice(pieces, _MAX_NAMES)


@rule(
    "MC020",
    "file-name",
    "warning",
    profile="strict",
    why="The file's name is the model's address. People who know model and data set should be able to guess it, and "
    "two cards of one model should not need invented names.",
    bad="model-name: ssd300       # in ssdresnet50fpn_coco2017.md",
    good="model-name: ssd_resnet50_fpn       # in ssdresnet50fpn_coco2017.md",
)
def file_name_of_model(context: CardContext) -> Iterator[Violation]:
    """A file name that is not model-name and train-dataset. Case, `_`, `-` and dots do not matter."""
    node, model = context.scalar("model-name"), context.value("model-name")
    if node is None or model is None:
        return
    name, start = squeeze(context.name.removesuffix("_cn")), squeeze(model)
    sets = [squeeze(text) for text, _, _ in _datasets(context) if text.lower() not in _PLACEHOLDERS]
    if name == start if not sets else name in {start + one for one in [*sets, "".join(sets)]}:
        return
    shown = context.name[:80]
    if not name.startswith(start):
        yield Violation(node.start, node.end, f"the file is named {shown}, not after its model", "let both agree")
    elif sets and not any(one in name for one in sets):
        yield Violation(
            node.start, node.end, f"the file name {shown} lacks the data set", f"name it {start}_{sets[0]}.md"
        )
    else:
        message = f"the file name {shown} is not just model and data set"
        yield Violation(
            node.start, node.end, message, "say in model-name what sets this model apart, or rename the file"
        )


@rule(
    "MC021",
    "title",
    "warning",
    profile="strict",
    fix="unsafe",
    why="The title is what people see first. One that names another model is a copy that was not finished.",
    bad="# resnet\n\n---\nmodel-name: ssd300",
    good="# ssd300\n\n---\nmodel-name: ssd300",
)
def title_is_model(context: CardContext) -> Iterator[Violation]:
    """A card without a title, or with one that is not the model-name. Case, `_`, `-` and spaces do not matter."""
    if not context.fields:
        return
    title, model = context.source.title, context.value("model-name")
    if title is None:
        yield Violation(0, 0, "the card has no title", f"begin it with a line `# {model or 'NAME'}`")
    elif model is not None and not _CHINESE.search(title[0]) and squeeze(title[0]) != squeeze(model):
        plain = "\n" not in model and not model.startswith("#") and len(model) < 200
        fix = Fix("let the title be the model-name", edit((title[1], title[2]), model), safe=False) if plain else None
        yield Violation(title[1], title[2], f"the title is not the model-name, {model[:60]!r}", "let both agree", fix)


@rule(
    "MC022",
    "dataset-name",
    "warning",
    fix="sometimes",
    why="People search by data set, and programs compare names letter by letter. The data set decides what a model "
    "recognises, so card and file must mean the same one.",
    bad="train-dataset: ImageNet2012",
    good="train-dataset: imagenet2012",
)
def dataset_name(context: CardContext) -> Iterator[Violation]:
    """A train-dataset that is a placeholder, not spelt as the hub does, or not the one in the asset's file name."""
    names = list(_datasets(context))
    real = []
    for name, start, end in names:
        if name.lower() in _PLACEHOLDERS:
            yield Violation(start, end, f"{name!r} is no data set", "name the data set, or leave train-dataset out")
            continue
        real.append(squeeze(name))
        right = _CANONICAL.get(squeeze(name))
        if right and right != name:
            fix = Fix(f"write {right}", edit((start, end), right))
            yield Violation(start, end, f"the hub spells this data set {right}", f"write {right}", fix)
    files = [file_name(link) for asset in context.assets if (link := asset.value("asset-link")) and "://" in link]
    known = [one for one in real if one]
    squeezed = "/".join(squeeze(name) for name in files)
    if known and files and not any(one in squeezed for one in known):
        yield Violation(
            names[0][1],
            names[-1][2],
            f"the asset's file name does not name the data set: {files[0][:80]}",
            "check that file and card belong together",
        )


@rule(
    "MC023",
    "evaluation-mismatch",
    "warning",
    why="Published file names carry the figure. When the card says another one, it describes another file.",
    bad="evaluation: acc80.04      # and asset-link: .../net_acc79.54.ckpt",
    good="evaluation: acc79.54      # and asset-link: .../net_acc79.54.ckpt",
)
def evaluation_mismatch(context: CardContext) -> Iterator[Violation]:
    """A figure that is another one in the asset's file name; an info where the file name gives none."""
    node = context.scalar("evaluation")
    links = [link for asset in context.assets[:3] if (link := asset.value("asset-link")) and "://" in link]
    if node is None or not links:
        return
    silent = []
    files = [_figures(file_name(link)) for link in links]
    letters = " ".join(_LETTERS.sub("", name) for name in files)
    for piece, start, end in context.pieces(node):
        metric = parse_metric(piece)
        if metric is None or _LETTERS.sub("", piece.lower()) in letters:
            continue
        named = [values for figures in files if (values := _values(figures, squeeze(metric.name)))]
        if not named:
            silent.append(metric.name)
        elif not any(abs(value - metric.value) < 1e-9 for values in named for value in values):
            given = ", ".join(f"{value:g}" for value in named[0][:3])
            yield Violation(start, end, f"the asset's file name says {given}", "let card and file agree")
    if silent:
        yield Violation(
            node.start,
            node.end,
            f"the asset's file name does not give {', '.join(silent[:4])[:80]}",
            "name files after model, data set and figure",
            severity="info",
        )


def _figures(name: str) -> str:
    stem = name[: name.rfind(".")][:_LONGEST_NAME] if name.rfind(".") > 0 else name[:_LONGEST_NAME]
    return re.sub(r"[^a-z0-9._+-]+", "", stem.lower())


def _values(figures: str, name: str) -> list[float]:
    """The numbers behind a metric's name in a file name."""
    found = []
    # `_` parts figures; a dot stays, for decimals.
    for piece in [*figures.split("_"), figures]:
        bare = re.sub(r"[_+-]", "", piece)
        at = bare.find(name)
        while at >= 0:
            number = _NUMBER.match(bare, at + len(name))
            # `ap` is no metric in `map25.17`.
            if number and len(number.group()) < 30 and not bare[max(at - 1, 0) : at].isalpha():
                found.append(float(number.group()))
            at = bare.find(name, at + 1)
        if found:
            break
    return found


@rule(
    "MC025",
    "foreign-identity",
    "warning",
    fix="sometimes",
    why="A usage example that loads another card is copied and run by people who wanted this one. Names with dots "
    "break the addresses of the official hub, where a part behind a dot counts as a file's ending.",
    bad='network = mshub.load("mindspore/1.7/resnet50_cifar10")',
    good='network = mshub.load("mindspore/1.7/ssd300_coco2017")',
)
def foreign_identity(context: CardContext) -> Iterator[Violation]:
    """A usage example that loads another uid, a user-id that is not the publisher, a file name with dots.

    A uid of more than three parts is an info: the official hub's addresses lose its publisher.
    """
    from mshub_ssd.lint.rules.body import loaded_uids

    uid = context.uid
    if uid is not None:
        for named, start, end in loaded_uids(context) if valid_uid(uid) else ():
            if named == uid:
                continue
            if named == uid.removesuffix("_cn"):
                yield Violation(start, end, "the example loads the card that this one translates", severity="info")
                continue
            exact = context.text[start:end] == named
            fix = Fix("name this card", edit((start, end), uid), safe=False) if exact else None
            what = "names the card's file" if named == f"{uid}.md" else f"loads {named[:80]}, not this card"
            yield Violation(start, end, f"the example {what}", f"write {uid}", fix)
        parts = uid.split("/")
        node, user = context.scalar("user-id"), context.value("user-id")
        if len(parts) > 1 and node is not None and user and squeeze(user) != squeeze(parts[0]):
            fix = Fix(f"write {parts[0]}", edit(node, parts[0]), safe=False)
            yield Violation(
                node.start, node.end, f"user-id is not the publisher, {parts[0][:60]!r}", f"write {parts[0][:60]}", fix
            )
        if len(parts) > 3:
            yield Violation(
                0, 0, f"the uid has {len(parts)} parts", "the official hub knows publisher/version/name", None, "info"
            )
    if context.name and not _SAFE_NAME.fullmatch(context.name):
        shown = context.name[:80]
        dots = "." in context.name and _SAFE_NAME.fullmatch(context.name.replace(".", "_"))
        message = f"the file name {shown!r} has dots" if dots else f"the file name {shown!r} is no part of a uid"
        yield Violation(0, 0, message, "use letters, digits, _ and -")


@rule(
    "MC036",
    "version-against-folder",
    "error",
    why="People take the card from the folder of their MindSpore version. A card of another version there is found by "
    "the wrong people.",
    bad='mindspore-version: "1.9"       # in mindspore/1.10/',
    good='mindspore-version: "1.10"       # in mindspore/1.10/',
)
def version_against_folder(context: CardContext) -> Iterator[Violation]:
    """A mindspore-version that is not the folder's; warnings: a branch or a file of another release.

    Only for publishers whose folders are versions of MindSpore.
    """
    parts = (context.uid or "").split("/")
    folder = parts[-2] if len(parts) > 2 else ""
    if parts[0] not in _MINDSPORE_FOLDERS or not _VERSION_FOLDER.fullmatch(folder):
        return
    node, version = context.scalar("mindspore-version"), context.value("mindspore-version")
    if node is not None and version is not None and version != folder:
        shown = f"the folder is {folder}"
        yield Violation(node.start, node.end, f"mindspore-version is {version[:20]}, and {shown}", "let both agree")
    yield from _other_release(context, context.scalar("repo-link"), folder, _BRANCH)
    for asset in context.assets:
        link = asset.scalar("asset-link")
        found = list(_other_release(context, link, folder, _MODELS_FOLDER))
        yield from found
        name = _FILE_VERSION.search(file_name(link.text)) if link and not found else None
        if link and name and name[1].rstrip("0") != folder.replace(".", "").rstrip("0"):
            message = f"the file name says v{name[1]}, and the folder is {folder}"
            yield Violation(link.start, link.end, message, "check that file and card belong together", None, "warning")


def _other_release(
    context: CardContext, link: Scalar | None, folder: str, where: re.Pattern[str]
) -> Iterator[Violation]:
    found = where.search(link.text) if link else None
    if link and found and found[1] != folder:
        message = f"the link is for {found[1]}, and the folder is {folder}"
        yield Violation(link.start, link.end, message, "link what belongs to this version", None, "warning")


@rule(
    "MC044",
    "awkward-name",
    "info",
    profile="strict",
    why="Names are typed and become names of files and options. Capitals differ on one system and not on another; "
    "spaces need quotes everywhere.",
    bad="model-name: VGG-Small-low bit",
    good="model-name: vgg-small-low-bit",
)
def awkward_name(context: CardContext) -> Iterator[Violation]:
    """A model-name, module-type or file name with capitals, spaces or other unusual characters."""
    for key in ("model-name", "module-type"):
        node, text = context.scalar(key), context.value(key)
        if node is None or text is None or _PLAIN_NAME.fullmatch(text):
            continue
        odd = "capitals" if _PLAIN_NAME.fullmatch(text.lower()) else "unusual characters"
        yield Violation(node.start, node.end, f"{key} has {odd}", "use small letters, digits, _ and -")
    if context.name != context.name.lower():
        yield Violation(0, 0, f"the file name {context.name[:80]!r} has capitals", "use small letters, digits, _ and -")
