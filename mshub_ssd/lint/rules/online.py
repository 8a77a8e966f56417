"""Rules about what the network says. They run only when it was asked; see `mshub_ssd.online`."""

from __future__ import annotations

import re
from collections.abc import Iterator

from mshub_ssd.cards import DIGEST
from mshub_ssd.lint.context import CardContext, Violation, edit
from mshub_ssd.lint.entry_point import FILE_NAME, FUNCTION, read_entry_point
from mshub_ssd.lint.finding import Fix, Severity
from mshub_ssd.lint.online import Answers, Reply, asset_addresses, entry_address, repository
from mshub_ssd.lint.rules import rule

# A plain value of these digits would be read as a number.
_NUMBER = re.compile(r"[0-9]+(?:e[0-9]+)?")
_VERDICTS = {"busy": "could not be checked", "unasked": "could not be checked", "private": "was not asked"}
_HELP = {
    "missing": "correct the link",
    "busy": "check again later",
    "unasked": "check where the store can be asked: docs/object_stores.md",
    "private": "link a public address, or check with --allow-private",
    "dead": "open it in a browser, and correct the link if it fails there, too",
}


def _entry(context: CardContext, answers: Answers) -> Reply | None:
    """What is known of the entry point; None where the repository itself is out of reach."""
    found = repository(context)
    if found is None:
        return None
    page = answers["replies"].get(found[1])
    if page is not None and page.state != "here":
        return None
    return answers["replies"].get(entry_address(found[1]) or "")


@rule(
    "MC018",
    "no-entry-point",
    "error",
    scope="online",
    why="A network is built by the repository's `create_network`, or is one that this library knows. Without either "
    "the checkpoint is a pile of numbers.",
    bad="repo-link: https://gitee.com/mindspore/models/tree/r1.7/official/cv   # no mindspore_hub_conf.py there",
    good="repo-link: https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd",
)
def no_entry_point(context: CardContext, answers: Answers) -> Iterator[Violation]:
    """A repo-link to a folder without a `mindspore_hub_conf.py` that defines `create_network`.

    Cards that mean a network of this library (`network: ssd300`, or a name that says so) need none. Asked of hosts
    that answer, and of links of the form `.../tree/TAG/FOLDER` only.
    """
    reply, found = _entry(context, answers), repository(context)
    if reply is None or found is None or (context.plan and context.plan.network):
        return
    fault = None
    if reply.state == "missing":
        fault = f"the folder has no {FILE_NAME}"
    elif reply.text is not None and (unfit := read_entry_point(reply.text).fault):
        fault = f"the folder's {FILE_NAME} {unfit}"
    if fault:
        message = f"{fault}, and the card names no known network"
        yield Violation(found[0].start, found[0].end, message, "link the folder that has one, or say `network:`")


@rule(
    "MC019",
    "refused-model-name",
    "error",
    scope="online",
    why="The official client calls `create_network` with the model-name in small letters. A name that it does not know "
    "ends in an exception.",
    bad='model-name: ssd   # and the repository says: if name == "ssd300"',
    good="model-name: ssd300",
)
def refused_model_name(context: CardContext, answers: Answers) -> Iterator[Violation]:
    """A model-name that the repository's `create_network` surely refuses.

    The function is read and never run: its argument is compared with the names that it is compared with there. Where
    that leaves a doubt, nothing is said.
    """
    reply, node, name = _entry(context, answers), context.scalar("model-name"), context.value("model-name")
    if reply is None or reply.text is None or node is None or name is None:
        return
    entry = read_entry_point(reply.text)
    small = name.lower()
    if not entry.refuses(small):
        return
    severity: Severity | None = None
    message, help_ = f"the repository's {FUNCTION} refuses {small[:60]!r}", f"give a name that {FILE_NAME} knows"
    if not entry.refuses(name):
        severity = "warning"
        message += f", and would take {name[:60]!r}"
        help_ = f"the official client asks in small letters: let {FILE_NAME} take those"
    yield Violation(node.start, node.end, message, help_, severity=severity)


@rule(
    "MC050",
    "dead-link",
    "error",
    scope="online",
    why="Whoever follows the link finds nothing: no code to train again with, no weights to load.",
    bad="asset-link: https://example.org/moved.ckpt   # 404 Not Found",
    good="asset-link: https://example.org/net.ckpt",
)
def dead_link(context: CardContext, answers: Answers) -> Iterator[Violation]:
    """A repo-link or asset-link that does not answer: an error status, a bad certificate, no such host, silence.

    Private addresses are not asked, unless `--allow-private` is given. A host that asks to come back later gets a
    warning, and so does an object store that cannot be asked from here. Links in the body are left alone.
    """
    links = [("asset-link", node, link) for _, node, link in asset_addresses(context) if isinstance(link, str)]
    if found := repository(context):
        links.insert(0, ("repo-link", *found))
    for name, node, link in links:
        reply = answers["replies"].get(link)
        if reply is None or reply.state == "here":
            continue
        message = f"{name} {_VERDICTS.get(reply.state, 'is dead')}: {reply.fault}"
        severity: Severity | None = "warning" if reply.state in ("busy", "unasked") else None
        yield Violation(node.start, node.end, message, _HELP[reply.state], severity=severity)


@rule(
    "MC051",
    "suspicious-asset",
    "error",
    scope="online",
    why="Servers answer with a login page, an error page or an empty file and call it a success. Users learn it only "
    "after the download, when the digest does not fit.",
    bad="asset-link: https://example.org/share/net.ckpt   # a page with a button",
    good="asset-link: https://example.org/files/net.ckpt",
)
def suspicious_asset(context: CardContext, answers: Answers) -> Iterator[Violation]:
    """An asset that is empty, a web page, larger than `--max-size`, or of another size than `asset-size` says."""
    for asset, node, where in asset_addresses(context):
        reply = answers["replies"].get(str(where))
        if reply is None or reply.state != "here":
            continue
        if reply.likeness:
            yield Violation(node.start, node.end, f"the asset is {reply.likeness}", "link the file itself")
        elif reply.size == 0:
            yield Violation(node.start, node.end, "the asset is empty", "publish the file again, or correct the link")
        elif reply.size is not None and reply.size > answers["max_bytes"]:
            message = f"the asset has {reply.size} bytes, more than the {answers['max_bytes']} allowed"
            yield Violation(node.start, node.end, message, "link a smaller file, or allow more with --max-size")
        else:
            told, text = asset.scalar("asset-size"), asset.value("asset-size") or ""
            if told and reply.size is not None and text.isdecimal() and int(text) != reply.size:
                message = f"the asset has {reply.size} bytes"
                yield Violation(
                    told.start, told.end, message, "correct asset-size if that is the right file, else the link"
                )


@rule(
    "MC052",
    "wrong-digest",
    "error",
    scope="online",
    fix="sometimes",
    why="The file is not the one that was published: it was exchanged or damaged, or the digest was copied from "
    "another card. It will not be loaded.",
    bad="asset-sha256: 2c26b46b68ffc68f...   # sha256sum says fcde2b2edba56bf4...",
    good="asset-sha256: fcde2b2edba56bf4...",
)
def wrong_digest(context: CardContext, answers: Answers) -> Iterator[Violation]:
    """An asset whose bytes have another digest than the card says. Only `--deep` reads them.

    A digest of fewer than 64 digits is compared as far as it goes; where it fits, the full one is offered as a fix.
    """
    for asset, _, where in asset_addresses(context):
        reply, node = answers["replies"].get(str(where)), asset.scalar("asset-sha256")
        told = (asset.value("asset-sha256") or "").lower()
        if reply is None or reply.sha256 is None or node is None or not DIGEST.fullmatch(told):
            continue
        full = reply.sha256
        if not full.startswith(told):
            help_ = "find out which file is the right one; correct asset-sha256, or the link"
            yield Violation(node.start, node.end, f"the file's digest is {full}", help_)
        elif told != full:
            plain = node.plain and not _NUMBER.fullmatch(full)
            fix = Fix("write all 64 digits", edit(node, full if plain else f'"{full}"'), safe=False)
            message = f"the file fits, and its whole digest is {full}"
            yield Violation(node.start, node.end, message, "write all 64 digits", fix, severity="info")
