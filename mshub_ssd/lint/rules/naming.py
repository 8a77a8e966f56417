"""Rules about names: of the file, the model, the data set, the publisher, and whether they agree."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from mshub_ssd.cards import Scalar, valid_uid
from mshub_ssd.lint.context import CardContext, Violation, edit
from mshub_ssd.lint.finding import Fix
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.assets import file_name
from mshub_ssd.lint.rules.fields import each_text
from mshub_ssd.lint.tree import squeeze

_BACKENDS = {"ascend", "gpu", "cpu"}
_VERSION_FOLDER = re.compile(r"[0-9]+(?:\.[0-9]+)+")
_BRANCH = re.compile(r"/tree/r([0-9]+(?:\.[0-9]+)+)(?=/|$)")
_MODELS_FOLDER = re.compile(r"/models/r([0-9]+(?:\.[0-9]+)+)/")
_FILE_VERSION = re.compile(r"_[vV]([0-9]{3,6})(?=_)")
_CHINESE = re.compile("[\u2e80-\u9fff]")
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")
_PLAIN_NAME = re.compile(r"[a-z0-9][a-z0-9._-]*")
_NO_NAMES = {"n/a", "na", "nil", "null", "-"}
# Honest words, which the official validator refuses.
_VAGUE = {"unknown", "custom"}
_PLACEHOLDERS = {"none", "todo", "tbd", "xxx", *_VAGUE, *_NO_NAMES}
_MAX_NAMES = 50
_ONE_NAME = re.compile(r"[A-Za-z0-9 _-]+")
_LONGEST = 1000
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
        "imagenet",
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


# Of these the official validator knows another spelling, too; of the names below `_UNKNOWN`, none.
_ALSO_OFFICIAL = {
    "ADE20K",
    "CelebA",
    "Cityscapes",
    "Criteo",
    "DIV2K",
    "ICDAR2015",
    "ImageNet2012",
    "KITTI",
    "LJSpeech",
    "LibriSpeech",
    "MNIST",
    "MS1MV2",
    "Mnist",
    "PeMSD7-M",
    "SOP",
    "SQuAD",
    "WiderFace",
}
_UNKNOWN = {"aishell", "mvtec", "nyudv2", "vggface2", "voc2007"}


def _canonical(name: str) -> str | None:
    """How the hub spells a data set; of `coco2017 (half)` nobody knows."""
    return _CANONICAL.get(squeeze(name)) if _ONE_NAME.fullmatch(name) else None


def refused_spelling(name: str) -> str | None:
    """How the official validator spells a data set, where it surely refuses this spelling of it."""
    right = _canonical(name)
    return right if right and right not in _UNKNOWN and name != right and name not in _ALSO_OFFICIAL else None


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
    why="The title is what people see first. One that names another model is a copy that was not finished.",
    bad="# resnet\n\n---\nmodel-name: ssd300",
    good="# ssd300\n\n---\nmodel-name: ssd300",
)
def title_is_model(context: CardContext) -> Iterator[Violation]:
    """A card without a title, or with one that begins with no name of the card: case, `_`, `-`, spaces do not matter.

    Names of a card are its model-name, its backbone-name, its network and its file name, with the data set or without.
    A title that is not the model-name, but another of them, is an info: one of the two may be a copy.
    """
    if not context.fields:
        return
    title, model = context.source.title, context.value("model-name")
    if title is None:
        yield Violation(0, 0, "the card has no title", f"begin it with a line `# {model or 'NAME'}`")
        return
    if model is None:
        return
    first, name = squeeze(title[0][:_LONGEST]), squeeze(model[:_LONGEST])
    if first != name and not _CHINESE.search(title[0], 0, _LONGEST):
        named = any(first.startswith(one) for one in (name, *_names(context)))
        what = "not the model-name" if named else "no name of this card, such as the model-name"
        hint = "let both agree, if one of them is a copy" if named else "let the title name this model"
        message = f"the title is {what}, {model[:60]!r}"
        yield Violation(title[1], title[2], message, hint, severity="info" if named else None)


def _names(context: CardContext) -> Iterator[str]:
    """What a card calls its model besides model-name, letters and digits only; none is shorter than two letters."""
    file = context.name.removesuffix("_cn")
    names = [file, context.value("backbone-name"), context.value("network")]
    if context.card is not None and context.card.network is not None:
        names.append(context.card.network.name)
    squeezed = [squeeze(one[:_LONGEST]) for one in names if one]
    squeezed += [squeezed[0].removesuffix(squeeze(text)) for text, _, _ in _datasets(context) if squeezed]
    yield from (one for one in squeezed if len(one) > 1)


@rule(
    "MC022",
    "dataset-name",
    "warning",
    why="People choose a model by what it was trained on, and programs compare names letter by letter: to them, "
    "unknown is a data set.",
    bad="train-dataset: unknown",
    good="train-dataset: coco2017",
)
def dataset_name(context: CardContext) -> Iterator[Violation]:
    """A train-dataset `unknown` or `custom` in a card of the official publishers; `none` is understood."""
    for name, start, end in _datasets(context):
        if context.judged and name.lower() in _VAGUE:
            yield Violation(start, end, f"{name!r} is no data set", "name the data set, or write none")


@rule(
    "MC062",
    "dataset-spelling",
    "info",
    profile="strict",
    fix="sometimes",
    why="Where all cards spell a data set alike, one search finds them all.",
    bad="train-dataset: ImageNet2012",
    good="train-dataset: imagenet2012",
)
def dataset_spelling(context: CardContext) -> Iterator[Violation]:
    """A train-dataset that is not spelt as most cards of the hub do, or is `none`, `N/A` or `custom`.

    Of the words for none, the validator of the official hub knows only `none`.
    """
    for name, start, end in _datasets(context):
        right = _canonical(name)
        there = context.text[start:end] == name  # of a text of several lines the whole is the place
        if right and right != name and not (context.official and refused_spelling(name)):
            fix = Fix(f"write {right}", edit((start, end), right)) if there else None
            yield Violation(start, end, f"the hub spells this data set {right}", f"write {right}", fix)
        elif name.lower() in _NO_NAMES:
            fix = Fix("write none", edit((start, end), "none")) if there else None
            yield Violation(start, end, f"{name!r} is no data set", "name the data set, or write none", fix)
        elif name.lower() in _PLACEHOLDERS:
            yield Violation(start, end, f"{name!r} names no data set", "name the data set, or leave train-dataset out")


@rule(
    "MC025",
    "foreign-identity",
    "warning",
    fix="sometimes",
    why="A usage example that loads another card is copied and run by people who wanted this one. A card whose file "
    "name is no part of a uid cannot be asked for at all.",
    bad='network = mshub.load("mindspore/1.7/resnet50_cifar10")',
    good='network = mshub.load("mindspore/1.7/ssd300_coco2017")',
)
def foreign_identity(context: CardContext) -> Iterator[Violation]:
    """Usage examples of which none loads this card, or that name its file; a file name that is no part of a uid."""
    uid = context.uid
    if uid is None:
        return
    if not valid_uid(uid):
        message = f"the file name {context.name[:80]!r} is no part of a uid"
        yield Violation(0, 0, message, "use letters, digits, _ and -")
        return
    loaded = _loaded(context)
    named_here = any(named == uid for named, _, _ in loaded)
    for named, start, end in loaded:
        if named in (uid, uid.removesuffix("_cn")) or (named_here and named != f"{uid}.md"):
            continue
        exact = context.text[start:end] == named
        fix = Fix("name this card", edit((start, end), uid), safe=False) if exact else None
        what = "names the card's file" if named == f"{uid}.md" else f"loads {named[:80]}, not this card"
        yield Violation(start, end, f"the example {what}", f"write {uid}", fix)


def _loaded(context: CardContext) -> list[tuple[str, int, int]]:
    from mshub_ssd.lint.rules.body import loaded_uids

    return list(loaded_uids(context))


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
    if not context.official or not _VERSION_FOLDER.fullmatch(folder):
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
    fix="sometimes",
    why="Names are typed and become names of files and options. Capitals differ on one system and not on another; "
    "spaces need quotes everywhere; the official hub takes what stands behind a dot for a file's ending, and knows "
    "uids of three parts only.",
    bad="model-name: VGG-Small-low bit",
    good="model-name: vgg-small-low-bit",
)
def awkward_name(context: CardContext) -> Iterator[Violation]:
    """A model-name, module-type or file name with capitals, spaces or other unusual characters; a uid of four parts.

    Also told: a user-id that is not the publisher, and an example that loads the card which this one translates.
    """
    for key in ("model-name", "module-type"):
        node, text = context.scalar(key), context.value(key)
        if node is None or text is None or _PLAIN_NAME.fullmatch(text):
            continue
        odd = "capitals" if _PLAIN_NAME.fullmatch(text.lower()) else "unusual characters"
        yield Violation(node.start, node.end, f"{key} has {odd}", "use small letters, digits, _ and -")
    shown = f"the file name {context.name[:80]!r} has"
    if context.name != context.name.lower():
        yield Violation(0, 0, f"{shown} capitals", "use small letters, digits, _ and -")
    if context.name and not _SAFE_NAME.fullmatch(context.name):
        dots = "." in context.name and _SAFE_NAME.fullmatch(context.name.replace(".", "_"))
        yield Violation(0, 0, f"{shown} {'dots' if dots else 'unusual characters'}", "use letters, digits, _ and -")
    if context.uid is not None:
        yield from _awkward_uid(context, context.uid)


def _awkward_uid(context: CardContext, uid: str) -> Iterator[Violation]:
    parts = uid.split("/")
    node, user = context.scalar("user-id"), context.value("user-id")
    if len(parts) > 1 and node is not None and user and squeeze(user) != squeeze(parts[0]):
        fix = Fix(f"write {parts[0]}", edit(node, parts[0]), safe=False)
        message = f"user-id is not the publisher, {parts[0][:60]!r}"
        yield Violation(node.start, node.end, message, f"write {parts[0][:60]}", fix)
    if len(parts) > 3:
        yield Violation(0, 0, f"the uid has {len(parts)} parts", "the official hub knows publisher/version/name")
    if uid.endswith("_cn"):
        for named, start, end in _loaded(context):
            if named == uid.removesuffix("_cn"):
                yield Violation(start, end, "the example loads the card that this one translates")
