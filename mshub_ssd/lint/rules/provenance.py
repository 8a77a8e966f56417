"""Rules about where the code is and what the licence allows."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from urllib.parse import urlsplit

from mshub_ssd.cards import Scalar
from mshub_ssd.lint.context import CardContext, Violation, edit, meaning, too_long
from mshub_ssd.lint.finding import Fix
from mshub_ssd.lint.rules import rule

_MOVING = re.compile(r"/(?:tree|blob|src/branch)/(?:refs/heads/)?(master|main|trunk|develop|dev|HEAD)(?=[/?#]|$)")
_PINNED = re.compile(r"/(?:tree|blob|src|commit|releases)/")
_HOSTS_OF_CODE = ("github.com", "gitee.com", "gitlab.com", "gitcode.com")
_BRACKETED = re.compile(r"<(https?://[A-Za-z0-9._~:/?#@!$&'()*+,;=%-]+)>")
_GPL = re.compile(r"(?:gnu)?(a?gpl)v?([23])(?:\.0)?")
# More than the name, such as `Apache 2.0, not for sale`, is another licence.
_ONE_LICENCE = re.compile(r"[A-Za-z0-9 ._-]+(?:, [Vv]ersion [0-9.]+)?")
_SPACE = re.compile(r"\s")
# What people write for the licences most cards have.
_LICENCES = {
    "apache2": "Apache-2.0",
    "apache20": "Apache-2.0",
    "apachelicense20": "Apache-2.0",
    "apachelicenseversion20": "Apache-2.0",
    "apache20license": "Apache-2.0",
    "apachev2": "Apache-2.0",
    "asl20": "Apache-2.0",
    "mitlicense": "MIT",
    "themitlicense": "MIT",
    "expat": "MIT",
    "bsd2": "BSD-2-Clause",
    "bsd3": "BSD-3-Clause",
    "newbsd": "BSD-3-Clause",
    "modifiedbsd": "BSD-3-Clause",
    "mpl2": "MPL-2.0",
    "ccby40": "CC-BY-4.0",
    "ccbysa40": "CC-BY-SA-4.0",
    "ccbync40": "CC-BY-NC-4.0",
    "cc0": "CC0-1.0",
}


@rule(
    "MC016",
    "repo-link",
    "error",
    why="Without the code nobody can train the model again or see how it was evaluated.",
    bad="repo-link: gitee.com/mindspore/models",
    good="repo-link: https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd",
)
def repo_link(context: CardContext) -> Iterator[Violation]:
    """A repo-link that is no http(s) address. That there is one at all is for MC006 to say."""
    found = context.fields.get("repo-link")
    if found is None:
        return
    node = found[1]
    if not isinstance(node, Scalar):
        yield Violation(node.start, node.end, "repo-link is no text", _FORM)
        return
    text = meaning(node, "repo-link")
    if too_long(node):
        yield Violation(node.start, node.end, "repo-link is longer than 2,000 characters", _FORM)
    elif text is not None and (fault := fault_of(text)):
        yield Violation(node.start, node.end, f"repo-link {fault}", _FORM)


_FORM = "write https://HOST/OWNER/REPOSITORY/tree/TAG/FOLDER"


def fault_of(link: str) -> str | None:
    """What is wrong with an absolute link, None if nothing."""
    if _SPACE.search(link):
        return "has white space in it"
    try:
        parts = urlsplit(link)
        host, _ = parts.hostname, parts.port
    except ValueError:
        return "is no address"
    if parts.scheme.lower() not in ("http", "https"):
        return f"has the scheme {parts.scheme}:" if parts.scheme else "has no https://"
    if not host or ("." not in host and host != "localhost" and ":" not in host) or ".." in host:
        return "names no host"
    return None


@rule(
    "MC017",
    "moving-branch",
    "warning",
    profile="strict",
    why="A branch such as master changes: next year it holds other code than the one that made the checkpoint.",
    bad="repo-link: https://gitee.com/mindspore/models/tree/master/official/cv/ssd",
    good="repo-link: https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd",
)
def moving_branch(context: CardContext) -> Iterator[Violation]:
    """A repo-link to a branch that moves, or to a repository without naming a release."""
    node, link = context.scalar("repo-link"), context.value("repo-link")
    if node is None or link is None or fault_of(link):
        return
    found = _MOVING.search(link)
    if found:
        message = f"repo-link follows the branch {found[1]}"
        yield Violation(node.start, node.end, message, "link a tag, a commit or a release branch")
    elif (urlsplit(link).hostname or "").removeprefix("www.") in _HOSTS_OF_CODE and not _PINNED.search(link):
        yield Violation(node.start, node.end, "repo-link names no release", "link a tag: .../tree/TAG/FOLDER")


@rule(
    "MC024",
    "license",
    "warning",
    profile="strict",
    fix="sometimes",
    why="Tools that check what may be used compare SPDX identifiers; to them Apache2.0 is an unknown licence.",
    bad="license: Apache2.0",
    good="license: Apache-2.0",
)
def license_identifier(context: CardContext) -> Iterator[Violation]:
    """A licence that is no SPDX identifier or expression."""
    node, text = context.scalar("license"), context.value("license")
    if node is None or text is None:
        return
    right = _canonical(text)
    if right == text:
        return
    if right is None and _ONE_LICENCE.fullmatch(text):
        right = _LICENCES.get(re.sub(r"[^a-z0-9]+", "", text.lower()))
    right = right or _canonical(text.strip("<>"))
    if right:
        fix = Fix(f"write {right}", edit(node, right))
        yield Violation(node.start, node.end, f"{text[:60]!r} is no SPDX identifier", f"write {right}", fix)
        return
    own = re.sub(r"[^A-Za-z0-9.]+", "-", text.removesuffix(" License").removesuffix(" Licence")).strip("-.")
    choose = "choose one of https://spdx.org/licenses/"
    gpl = _GPL.fullmatch(re.sub(r"[^a-z0-9.]+", "", text.lower()))
    if gpl:
        choose = f"write {gpl[1].upper()}-{gpl[2]}.0-only or {gpl[1].upper()}-{gpl[2]}.0-or-later"
    if gpl or not own or len(own) > 40 or re.search(r"\b(?:AND|OR|WITH)\b", text, re.IGNORECASE):
        yield Violation(node.start, node.end, f"{text[:60]!r} is no SPDX identifier", choose)
        return
    fix = Fix(f"write LicenseRef-{own}", edit(node, f"LicenseRef-{own}"), safe=False)
    hint = f"{choose}, or write LicenseRef-{own}"
    yield Violation(node.start, node.end, f"{text[:60]!r} is no SPDX identifier", hint, fix)


@functools.lru_cache(256)
def _canonical(text: str) -> str | None:
    """The text as SPDX spells it, None where it is no SPDX expression."""
    if text == "Apache-2.0":
        return text
    if len(text) > 200:
        return None
    from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

    try:
        return str(canonicalize_license_expression(text))
    except (InvalidLicenseExpression, RecursionError):
        return None


@rule(
    "MC041",
    "bracketed-link",
    "info",
    profile="strict",
    fix="safe",
    why="`<` and `>` mark links in Markdown, but the front matter is YAML, where they are part of the text. Some of "
    "the official tools do not take them off.",
    bad="repo-link: <https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd>",
    good="repo-link: https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd",
)
def bracketed_link(context: CardContext) -> Iterator[Violation]:
    """A repo-link or asset-link in angle brackets."""
    for node in [context.scalar("repo-link"), *(asset.scalar("asset-link") for asset in context.assets)]:
        if node is None or not node.text.startswith("<"):
            continue
        found = _BRACKETED.fullmatch(node.text)
        # A colon at the end would make a key of it.
        plain = found and node.plain and not found[1].endswith(":")
        fix = Fix("take them off", edit(node, found[1])) if found and plain else None
        yield Violation(node.start, node.end, "the link stands in angle brackets", "write it without < and >", fix)
