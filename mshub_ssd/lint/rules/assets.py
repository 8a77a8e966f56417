"""Rules about the files of a card."""

from __future__ import annotations

import hashlib
import re
import string
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote, urlsplit

from mshub_ssd.cards import FORMS, Asset, Scalar
from mshub_ssd.errors import CardError
from mshub_ssd.formats import FORMATS, ending_of, format_of, main_endings
from mshub_ssd.lint.context import AssetNode, CardContext, Violation, edit, too_long
from mshub_ssd.lint.finding import Fix, Severity
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.fields import quoted, yaml_type

_LOOPBACK = re.compile(r"(?:localhost|127(?:\.[0-9]{1,3}){3}|\[::1\])(?::[0-9]*)?")


def file_name(url: str) -> str:
    """The last part of a link's path."""
    try:
        path = urlsplit(url).path
    except ValueError:
        path = url
    return unquote(path).rpartition("/")[2]


@rule(
    "MC012",
    "missing-digest",
    "error",
    why="Without a digest nothing vouches for the file: a corrupted or exchanged one is loaded like the real one.",
    bad="asset:\n- file-format: ckpt\n  asset-link: https://example.org/net.ckpt",
    good="asset:\n- file-format: ckpt\n  asset-link: https://example.org/net.ckpt\n  asset-sha256: <64 hex digits>",
)
def missing_digest(context: CardContext) -> Iterator[Violation]:
    """An asset without asset-sha256."""
    for asset in context.assets:
        if asset.value("asset-sha256") is None:
            place = asset.fields.get("asset-sha256") or asset.fields.get("asset-link")
            at = place[0] if place else asset.node
            yield Violation(
                at.start, at.end, "an asset has no asset-sha256", "run sha256sum on the file and add the digest"
            )


@rule(
    "MC013",
    "malformed-digest",
    "error",
    fix="sometimes",
    why="Eight digits are an address, no proof: anybody can make a file that begins with them. A placeholder is no "
    "digest of any model, and one that YAML reads as a number is lost altogether.",
    bad="asset-sha256: d231a06e",
    good="asset-sha256: <64 hex digits>",
)
def malformed_digest(context: CardContext) -> Iterator[Violation]:
    """An asset-sha256 that is not text of exactly 64 hex digits, or is a placeholder.

    Placeholders are zeros, other short patterns over and over, and the digests of an empty file and of texts that
    people try things out with.
    """
    for asset in context.assets:
        found = asset.fields.get("asset-sha256")
        if found is None:
            continue
        node, text = asset.scalar("asset-sha256"), asset.value("asset-sha256")
        if node is None:
            yield Violation(found[1].start, found[1].end, "asset-sha256 is no text", "give 64 hex digits")
        elif text is not None:
            if text.startswith("<"):
                yield Violation(
                    node.start, node.end, "asset-sha256 stands in angle brackets", "write it without < and >"
                )
            elif not set(text) <= set(string.hexdigits):
                yield Violation(node.start, node.end, "asset-sha256 has characters that are no hex digits", _HOW)
            elif what := _placeholder(text.lower()):
                yield Violation(node.start, node.end, f"asset-sha256 is {what}", _HOW)
            elif len(text) != 64:
                yield Violation(node.start, node.end, f"asset-sha256 has {len(text)} hex digits, not 64", _HOW)
            elif yaml_type(node) is not None:
                yield Violation(
                    node.start, node.end, "asset-sha256 reads as a number", "put it in quotes", quoted(node)
                )


def _placeholder(digest: str) -> str | None:
    """What a digest is that belongs to no model, None where it may belong to one."""
    if len(digest) < 8:
        return None
    if (text := _TRIALS.get(digest[:8])) is not None:
        return "that of an empty file" if not text else f"that of the text {text!r}, no model's"
    # By chance a digest of 64 digits has two kinds of them, or a period, as good as never; one of 8 has two in one
    # of a thousand, hence the narrower look at these.
    kinds = len(set(digest))
    if kinds == 1 or (kinds == 2 and len(digest) >= 32):
        return f"a placeholder: {digest[:8]}..."
    longest = min(len(digest) // 2, _LONGEST_PATTERN)
    periods = range(1, longest + 1) if len(digest) >= 32 else (1, 2, 4)
    if any(digest[period:] == digest[:-period] for period in periods) or digest in _RUNS:
        return f"a placeholder: {digest[:8]}..."
    return None


_LONGEST_PATTERN = 16
_RUNS = (string.hexdigits[:16] * 4)[:64] + string.hexdigits[15::-1] * 4 + "1234567890" * 7 + "abcdef" * 3 + "deadbeef"
"""Digits as they stand in a row, up and down."""
# The first digits of the SHA-256 of texts that stand in examples and tests.
_TRIALS = {
    hashlib.sha256(text.encode()).hexdigest()[:8]: text
    for text in ("", "\n", "test", "test\n", "hello", "hello\n", "foo", "hello world", "hello world\n", "abc", "a")
}
_HOW = "run sha256sum on the file and give all 64 digits"


@rule(
    "MC015",
    "format-mismatch",
    "warning",
    fix="sometimes",
    why="Readers choose the loader by file-format, or refuse the file by its ending; both should say the same.",
    bad="file-format: ckpt   # and asset-link: .../net.ms",
    good="file-format: mslite",
)
def format_mismatch(context: CardContext) -> Iterator[Violation]:
    """A file-format that is missing, or does not fit the ending of the asset's link; an error if both are known."""
    for asset in context.assets:
        link, form, node = asset.value("asset-link"), asset.value("file-format"), asset.scalar("file-format")
        if link is None:
            continue
        right = format_of(None, link)
        hint = f"say file-format: {right.key}" if right else f"known formats: {', '.join(FORMATS)}"
        if form is None or node is None:
            key = asset.fields["asset-link"][0]
            yield Violation(key.start, key.end, "an asset has no file-format", hint.replace("say", "add"))
            continue
        word = form.lower().lstrip(".")
        meant = format_of(word, "")
        # Capitals are understood by all readers, a dot is not.
        if meant is None or meant is not right or form.lower() != word:
            wanted = right and (word if meant is right else right.key)
            fix = Fix(f"say {wanted}", edit(node, wanted), safe=meant is right) if wanted else None
            ending = ending_of(link)
            shown = f"ends in {ending[:20]}" if ending else "has no ending"
            # Of two known formats the word decides what reads the file, and the file is not written so.
            worse: Severity | None = "error" if meant and right and meant is not right else None
            message = f"file-format is {form[:20]!r}, and the file {shown}"
            yield Violation(node.start, node.end, message, hint, fix, worse)


@rule(
    "MC029",
    "bad-asset-link",
    "error",
    why="A file that cannot be found cannot be loaded.",
    bad="asset-link: ../net.ckpt",
    good="asset-link: https://example.org/net.ckpt",
)
def bad_asset_link(context: CardContext) -> Iterator[Violation]:
    """An asset without a link, or with one that is neither http(s) nor a path to a file in the card's folder."""
    found = context.fields.get("asset")
    for asset in context.assets:
        if (fault := link_fault(context, asset)) is not None:
            yield fault
    if found and not context.assets and getattr(found[1], "items", None):
        yield Violation(
            found[1].start, found[1].end, "asset is no list of fields", "write `- asset-link: ...` for each file"
        )


def link_fault(context: CardContext, asset: AssetNode) -> Violation | None:
    """What is wrong with an asset's link, None if nothing."""
    link, place = asset.value("asset-link"), asset.fields.get("asset-link")
    if place and (not isinstance(place[1], Scalar) or too_long(place[1])):
        fault = "is longer than 2,000 characters" if isinstance(place[1], Scalar) else "is no text"
        return Violation(place[1].start, place[1].end, f"asset-link {fault}", _LINK_FORM)
    if link is None or place is None:
        at = place[0] if place else asset.node
        return Violation(at.start, at.end, "an asset has no asset-link", "add the asset-link, or delete the asset")
    node = place[1]
    try:
        target = _resolve(context, link)
    except CardError as error:
        return Violation(node.start, node.end, error.message, _LINK_FORM)
    if isinstance(target, Path) and not _is_file(target):
        how = "put it there, or correct the link"
        return Violation(node.start, node.end, "the file is not in the card's folder", how)
    return None


_LINK_FORM = f"give {FORMS['file_link']}"


def _resolve(context: CardContext, link: str) -> Path | str | None:
    if context.card is None or (context.file is None and "://" not in link):
        return None
    return context.card.resolve(Asset(None, link, None))


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:
        return False


@rule(
    "MC030",
    "plain-http",
    "warning",
    fix="unsafe",
    why="Over plain http anybody on the way can exchange what is sent. The digest would catch it, but only after the "
    "download, and a link to a page has none.",
    bad="asset-link: http://example.org/net.ckpt",
    good="asset-link: https://example.org/net.ckpt",
)
def plain_http(context: CardContext) -> Iterator[Violation]:
    """A repo-link or asset-link with http instead of https. Loopback addresses are left alone."""
    nodes = [context.scalar("repo-link")] + [asset.scalar("asset-link") for asset in context.assets]
    for node in nodes:
        if node is None or too_long(node) or not node.text.strip().lstrip("<").lower().startswith("http://"):
            continue
        host = node.text.strip().lstrip("<")[7:].partition("/")[0].rpartition("@")[2]
        if _LOOPBACK.fullmatch(host):
            continue
        at = context.text.lower().find("http://", node.start, node.end)
        if at >= 0:
            fix = Fix("write https", edit((at, at + 7), "https://"), safe=False)
            yield Violation(node.start, node.end, "the link is plain http", "write https", fix)


@rule(
    "MC031",
    "no-loadable-asset",
    "warning",
    why="`mshub.load` needs a checkpoint. A card that has only files for other programs cannot be loaded with weights.",
    bad="asset:\n- file-format: ms\n  asset-link: https://example.org/net.ms",
    good="asset:\n- file-format: ckpt\n  asset-link: https://example.org/net.ckpt",
)
def no_loadable_asset(context: CardContext) -> Iterator[Violation]:
    """A card whose assets all have endings of files that cannot be loaded."""
    if context.plan and any(one.field == "asset" for one in context.plan.obstacles):
        return  # MC053
    links = [asset.value("asset-link") for asset in context.assets]
    if links and all(link and not _has_reader(link) for link in links):
        key = context.fields["asset"][0]
        yield Violation(key.start, key.end, "no asset can be loaded", f"add a {main_endings()} file")


def _has_reader(link: str) -> bool:
    found = format_of(None, link)
    return found is not None and found.reader is not None


@rule(
    "MC032",
    "several-assets",
    "info",
    why="A card loads one file. Of several the first that can be is loaded here, and the last checkpoint by the "
    "official client: the same address gives two models.",
    bad="asset:\n- asset-link: https://example.org/a.ckpt\n- asset-link: https://example.org/b.ckpt",
    good="asset:\n- asset-link: https://example.org/a.ckpt",
)
def several_assets(context: CardContext) -> Iterator[Violation]:
    """A card of which the official client loads another file than `mshub.load`."""
    if len(context.assets) < 2:
        return
    here = [asset for asset in context.assets if _has_reader(asset.value("asset-link") or "")]
    there = [asset for asset in here if format_of(None, asset.value("asset-link") or "") is FORMATS["ckpt"]]
    if here and there and here[0] is not there[-1]:
        start = there[-1].node.start
        first, last = here[0].index + 1, there[-1].index + 1
        message = f"file {first} is loaded here, file {last} by the official client"
        yield Violation(start, start + 1, message, "give every file a card of its own")


@rule(
    "MC063",
    "files-of-a-kind",
    "info",
    profile="strict",
    why="People who look for a file for MindSpore Lite do not look behind a checkpoint, and the figures belong to one "
    "of the files.",
    bad="asset:\n- asset-link: https://example.org/a.ckpt\n- asset-link: https://example.org/a.ms",
    good="asset:\n- asset-link: https://example.org/a.ckpt",
)
def files_of_a_kind(context: CardContext) -> Iterator[Violation]:
    """A card with more than one asset."""
    if len(context.assets) > 1:
        second: AssetNode = context.assets[1]
        start = second.node.start
        kinds = dict.fromkeys(ending_of(asset.value("asset-link") or "") or "?" for asset in context.assets)
        message = f"the card has {len(context.assets)} assets: {', '.join(kinds)[:60]}"
        yield Violation(start, start + 1, message, "give every file a card of its own")


@rule(
    "MC033",
    "repeated-asset",
    "warning",
    why="Two entries for one file are a copy that was not finished: one of them should have been another file.",
    bad="asset:\n- asset-link: https://example.org/a.ckpt\n- asset-link: https://example.org/a.ckpt",
    good="asset:\n- asset-link: https://example.org/a.ckpt",
)
def repeated_asset(context: CardContext) -> Iterator[Violation]:
    """An asset whose link or digest an earlier asset of the same card has already."""
    for key in ("asset-link", "asset-sha256"):
        seen: dict[str, int] = {}
        for asset in context.assets:
            node, text = asset.scalar(key), asset.value(key)
            if node is None or text is None:
                continue
            first = seen.setdefault(text.lower() if key == "asset-sha256" else text, asset.index)
            if first != asset.index:
                yield Violation(
                    node.start, node.end, f"asset {first + 1} has this {key} already", "delete one, or correct it"
                )
