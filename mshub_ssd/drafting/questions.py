"""What a new card needs to be told: each question with its option, its default, and how an answer is taken."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mshub_ssd import networks
from mshub_ssd.cards import FIELDS, parse_card, read_figure
from mshub_ssd.drafting.draft import Draft, figure_value
from mshub_ssd.errors import CardError, UsageError

__all__ = ["LEFT_OUT", "QUESTIONS", "Question"]

LEFT_OUT = "-"
"""The answer that leaves a field out."""

_AREAS = ("audio", "cross", "cv", "cvtmodel", "gnn", "hpc", "mm", "nlp", "other", "recommend", "rl")
_LONGEST = 1 << 20


@dataclass(frozen=True)
class Question:
    """One question, and the option that answers it.

    Attributes:
        option: Its name without dashes.
        text: The question.
        help: What the option's help says.
        take: Takes an answer; refuses a wrong one with an `MshubError`.
        field: Key of the field that the answer is written to, if it is one alone.
        default: What an empty answer means; None where there is no such answer.
        assumed: Whether the default may be taken unasked.
        is_open: Whether it is still to be answered.
        is_sure: Whether the default is proved, so that nobody need be asked.
        required: Whether an answer is needed, where no field says so; see `needed`.
        hint: What is shown before the question.
        without: What to add where the option is said to be missing.
        leave: What follows where it is left without an answer.
    """

    option: str
    text: str
    help: str
    take: Callable[[Draft, str], None]
    field: str = ""
    default: Callable[[Draft], str | None] = lambda draft: None
    assumed: bool = False
    is_open: Callable[[Draft], bool] = lambda draft: True
    is_sure: Callable[[Draft], bool] = lambda draft: False
    required: bool = True
    hint: Callable[[Draft], str | None] = lambda draft: None
    without: Callable[[Draft], str | None] = lambda draft: None
    leave: Callable[[Draft], None] = lambda draft: None

    def needed(self, draft: Draft) -> bool:
        """Whether the card needs an answer."""
        field = FIELDS.get(self.field)
        return self.required if field is None else field.required or (field.official and draft.official)

    def may_be_left(self, draft: Draft) -> bool:
        """Whether the option may be left out."""
        if not self.is_open(draft) or not self.needed(draft):
            return True
        return self.assumed and self.default(draft) is not None


def _put(key: str) -> Callable[[Draft, str], None]:
    """Takes a text as the value of a field."""

    def take(draft: Draft, text: str) -> None:
        if not text.strip():
            raise UsageError(f"{key} needs a text", hint="give it one")
        draft.values[key] = text.strip()

    return take


def _unset(*keys: str) -> Callable[[Draft], bool]:
    return lambda draft: not any(key in draft.values for key in keys)


def _copy(draft: Draft, text: str) -> None:
    answer = text.strip().lower()
    if answer not in ("y", "yes", "n", "no", LEFT_OUT):
        raise UsageError("this is neither yes nor no", expected="yes or no", got=repr(text[:80]), hint="yes, or no")
    if answer not in ("y", "yes"):
        source, draft.file = draft.source, None
        raise UsageError(
            "a card can name a file in its own folder, or a url",
            where=str(source),
            expected=f"a file in {draft.folder}",
            hint="--copy copies it there; --url URL names the address it will be published at",
        )
    draft.copy_beside()


def _network(draft: Draft, text: str) -> None:
    draft.take_network(text)


def _network_default(draft: Draft) -> str | None:
    best = draft.best_match()
    if best is not None:
        return best.key
    # What was compared and does not fit is not proposed.
    return None if draft.compared else draft.named_network()


def _network_hint(draft: Draft) -> str:
    if draft.candidates:
        return f"The checkpoint fits {' and '.join(one.key for one in draft.candidates)}, which are one network."
    keys = ", ".join(networks.names())
    return f"Known are {keys}. A mapping gives arguments: {{name: ssd_mobilenetV2, image_size: 160}}."


def _classes(draft: Draft, text: str) -> None:
    path = Path(text.removeprefix("@").strip()).expanduser()
    if text.startswith("@") or ("," not in text and _is_file(path)):
        try:
            with path.open(encoding="utf-8") as stream:
                text = stream.read(_LONGEST)
        except (OSError, ValueError) as error:
            raise UsageError(
                f"the class names cannot be read: {getattr(error, 'strerror', None) or 'no UTF-8 text'}",
                where=str(path),
                expected="a text file with a name in each line",
            ) from error
        names = text.splitlines()
    elif "," not in text and (text.strip().lower().endswith(".txt") or "/" in text):
        raise UsageError(
            "no such file",
            where="--classes",
            expected="a text file with a name in each line, or names with commas",
            got=repr(text[:200]),
            hint="check the path",
        )
    else:
        names = text.split(",")
    names = [" ".join(name.split()) for name in names]
    draft.take_classes([name for name in names if name])


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):
        return False


def _classes_hint(draft: Draft) -> str | None:
    match = draft.match
    if match is None:
        return None
    number = f"{match.names} " if match.names and (draft.compared or not match.standard) else ""
    return (
        f"Its {number}classes in the network's order, without a background: names with commas, or the path of a file."
    )


def _dataset(draft: Draft, text: str) -> None:
    names = [name for name in (part.strip() for part in text.split(",")) if name]
    if not names:
        raise UsageError(
            "train-dataset needs a name", expected="the data set it was trained on, or several with commas"
        )
    draft.values["train-dataset"] = names


def _evaluation(draft: Draft, text: str) -> None:
    figures: dict[str, float | str] = {}
    read = [read_figure(piece) for piece in text.split("|")]
    notes = []
    for entry in read:
        if entry.metric is None:
            mended = [one.mended or one.text for one in read]
            raise UsageError(
                f"these are no figures: {entry.reason}",
                where="--evaluation",
                expected="each metric with its value, and | between two, as in mAP: 25.17 | AP50: 43.2",
                got=repr(entry.text[:80]),
                hint=f"--evaluation {shlex.quote(' | '.join(mended))}" if entry.mended else "correct --evaluation",
            )
        if entry.metric.name in figures:
            raise UsageError(
                "these are no figures: a metric stands twice",
                where="--evaluation",
                got=repr(entry.metric.name[:80]),
                hint="correct one of the two names",
            )
        figures[entry.metric.name] = figure_value(entry.metric)
        if entry.mended and "," in entry.text:
            notes.append(f"{entry.text} was read as {entry.mended}, for a decimal comma")
    draft.values["evaluation"] = figures
    draft.notes += [line for line in notes if line not in draft.notes]


def _module_type(draft: Draft, text: str) -> None:
    word = text.strip().lower()
    area, _, rest = word.partition("-")
    if area not in _AREAS:
        # `object-detection` is what `mshub list --task` calls it.
        area, rest = "cv", word
    draft.values["module-type"] = f"{area}-{rest.replace('-', '_')}" if rest else area


def _shape(draft: Draft, text: str) -> None:
    bare = text.strip()
    inner = bare if bare.startswith("[") else f"[{bare}]"
    try:
        card = parse_card(f"---\ninput-shape: {re.sub(r'[xX*]', ',', inner)}\n---\n", uid=draft.uid)
    except CardError:
        card = None
    if card is None or not card.input_shape or not _positive(card.input_shape):
        raise UsageError(
            "this is no shape",
            where="--input-shape",
            expected="sizes without the batch, as in 3,300,300; several inputs as [[3,300,300],[4]]",
            got=repr(text[:80]),
        )
    draft.values["input-shape"] = _lists(card.input_shape)


def _positive(shape: tuple[object, ...]) -> bool:
    return all(_positive(one) if isinstance(one, tuple) else isinstance(one, int) and one > 0 for one in shape)


def _lists(shape: object) -> object:
    return [_lists(one) for one in shape] if isinstance(shape, tuple) else shape


def _mindspore(draft: Draft) -> str | None:
    # The folders of this publisher are versions of MindSpore.
    folder = draft.folder_version if draft.values.get("user-id") == "mindspore" else None
    return folder or draft.installed_mindspore()


def _digest(draft: Draft, text: str) -> None:
    fetch = text.strip().lower() == "fetch"
    draft.take_digest("" if fetch else text, fetch=fetch)


QUESTIONS = (
    Question(
        "checkpoint",
        "Checkpoint: a file, or the url it is published at",
        "The model's file, or the url it is published at.",
        Draft.take_checkpoint,
        is_open=lambda draft: draft.file is None,
    ),
    Question(
        "sha256",
        "SHA-256 of the file; `fetch` downloads it and takes the digest of what comes",
        "SHA-256 of the checkpoint, 64 hex digits; needed with a url, unless --fetch is given.",
        _digest,
        default=lambda draft: "fetch",
        is_open=lambda draft: draft.file is not None and draft.file.sha256 is None,
        without=lambda draft: "or --fetch, which downloads the file now and takes its digest",
    ),
    Question(
        "copy",
        "Copy it beside the card (yes or no)",
        "Copy the checkpoint into the card's folder, where it lies elsewhere.",
        _copy,
        default=lambda draft: "yes",
        is_open=lambda draft: draft.file is not None and draft.file.outside,
        without=lambda draft: f"the checkpoint is not in the card's folder {draft.folder}; or --url, its address",
        hint=lambda draft: f"The file is not in the card's folder {draft.folder}, and a card can name no others.",
    ),
    Question(
        "network",
        "Network",
        "Architecture: a key such as ssd300, a mapping '{name: ssd300, num_classes: 4}', or none; by default the one "
        "that fits the checkpoint.",
        _network,
        default=_network_default,
        assumed=True,
        is_open=lambda draft: draft.match is None and not draft.networkless,
        is_sure=lambda draft: draft.likely_match() is not None,
        required=False,
        hint=_network_hint,
        leave=Draft.leave_network,
    ),
    Question(
        "dataset",
        "Data it was trained on",
        "Data set of the training; several with commas. By default the last word of the uid.",
        _dataset,
        "train-dataset",
        default=lambda draft: draft.dataset or None,
        assumed=True,
        is_open=_unset("train-dataset"),
    ),
    Question(
        "classes",
        "Class names",
        "Names of the classes: a file with one in each line, or names with commas.",
        _classes,
        default=lambda draft: ", ".join(draft.known_classes() or ()) or None,
        assumed=True,
        is_open=lambda draft: draft.needs_classes,
        hint=_classes_hint,
    ),
    Question(
        "evaluation",
        "Figures, as in mAP: 25.17 | AP50: 43.2",
        "Published figures, as in 'mAP: 25.17 | AP50: 43.2'.",
        _evaluation,
        "evaluation",
        is_open=_unset("evaluation"),
    ),
    Question(
        "summary",
        "Summary in a sentence: what it does, on what, how large",
        "One sentence that helps to choose.",
        _put("summary"),
        "summary",
        is_open=_unset("summary"),
    ),
    Question(
        "license",
        "Licence of the weights",
        "SPDX identifier of the weights' licence, such as Apache-2.0.",
        _put("license"),
        "license",
        default=lambda draft: "Apache-2.0",
        is_open=_unset("license"),
    ),
    Question(
        "user-id",
        "Publisher",
        "Account that publishes the card; by default the first part of the uid.",
        _put("user-id"),
        "user-id",
        is_open=_unset("user-id"),
    ),
    Question(
        "author",
        "Who trained it",
        "Who trained the model; by default the publisher.",
        _put("author"),
        "author",
        default=lambda draft: draft.values.get("user-id"),
        assumed=True,
        is_open=_unset("author"),
    ),
    Question(
        "repo-link",
        "Where its code can be read: https://HOST/OWNER/REPOSITORY/tree/TAG/FOLDER",
        "Address of the code, best at a tag.",
        _put("repo-link"),
        "repo-link",
        is_open=_unset("repo-link"),
    ),
    Question(
        "mindspore-version",
        "Version of MindSpore it was made with",
        "MindSpore release the model was made with; by default the installed one.",
        _put("mindspore-version"),
        "mindspore-version",
        default=_mindspore,
        assumed=True,
        is_open=_unset("mindspore-version"),
    ),
    Question(
        "model-version",
        "Version of the model",
        "The model's own version; by default that in the uid, or 1.0.",
        _put("model-version"),
        "model-version",
        default=lambda draft: draft.folder_version or "1.0",
        assumed=True,
        is_open=_unset("model-version"),
    ),
    Question(
        "task",
        "Task, as in cv-object_detection, cv-classification, nlp-translation",
        "What the model does, such as object-detection or nlp-translation; by default as the network tells.",
        _module_type,
        "module-type",
        is_open=_unset("module-type"),
        without=lambda draft: None if draft.compared else "unless the checkpoint fits a known network",
    ),
    Question(
        "input-shape",
        "Input shape without the batch, as in 3,300,300",
        "Size of one input without the batch, such as 3,300,300; by default the network's.",
        _shape,
        "input-shape",
        is_open=_unset("input-shape"),
    ),
)
"""In the order in which they are asked: each may need the answers before it."""
