"""Rules about the body: its examples, headings and links, as Markdown reads them."""

from __future__ import annotations

import ast
import re
import textwrap
import warnings
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from mshub_ssd.cards import SeqNode
from mshub_ssd.lint.context import MAX_ASSETS, CardContext, Violation
from mshub_ssd.lint.rules import rule
from mshub_ssd.lint.rules.provenance import fault_of

if TYPE_CHECKING:
    from markdown_it.token import Token

_PYTHON = {"python", "py", "python3"}
_MAX_SNIPPET = 5_000
_MAX_SNIPPETS = 20_000
_MAX_NODES = 2_000
_MAX_DEPTH = 50
_MAGIC = re.compile(r"^[ \t]*[!%].*$", re.MULTILINE)
_PROMPT = re.compile(r"^(?:>>>|\.\.\.) ?")
_CLIENTS = {"mshub", "mshub_ssd", "mindspore_hub", "hub"}
_LOADERS = {"load", "load_weights", "fetch", "info", "detect", "classify"}
# Examples of these alone compile if they can be parsed.
_SOUND = {
    *(ast.Module, ast.Expr, ast.Call, ast.keyword, ast.Name, ast.Load, ast.Store, ast.Constant, ast.Attribute),
    *(ast.Import, ast.ImportFrom, ast.alias, ast.Assign, ast.Tuple, ast.List, ast.Subscript, ast.BinOp),
    *(ast.Add, ast.Sub, ast.Mult, ast.Div, ast.UnaryOp, ast.USub),
}
# A heading, where no block of code or HTML is; and lines that an odd one would have.
_HEADING = re.compile(r"^#{1,6} +[^\s#]", re.MULTILINE)
_ODD_HEADING = re.compile(r"(?:#|[:\uff1a][ \t#]*|^[ \t>]*[-=]+)[ \t]*(?=[\r\n]|\Z)", re.MULTILINE)
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:")
_SCHEMES = ("http", "https", "mailto", "ftp", "doi")


class _Snippet(NamedTuple):
    """A fenced Python example: what Python makes of it, where it uses this library or the official client."""

    token: Token
    nodes: list[ast.AST] | None
    fault: str | None
    line: int = 1


def _snippets(context: CardContext) -> list[_Snippet]:
    """The examples of a card, each compiled once."""
    if context.snippets is None:
        context.snippets = list(_read(context))
    return context.snippets


def _read(context: CardContext) -> Iterator[_Snippet]:
    left = _MAX_SNIPPETS
    for token in context.tokens if context.fenced else ():
        if token.type != "fence" or not token.map or token.info.strip().split(" ")[0].lower() not in _PYTHON:
            continue
        code = token.content
        left -= len(code)
        if len(code) > _MAX_SNIPPET or left < 0:
            continue
        if code.lstrip().startswith(">>>"):
            # A session: output lines are no code.
            lines = code.splitlines()
            code = "\n".join(_PROMPT.sub("", line) if _PROMPT.match(line) else "" for line in lines)
        code = _MAGIC.sub("pass", textwrap.dedent(code))
        try:
            yield _Snippet(token, _parsed(code), None)
        except (SyntaxError, ValueError, RecursionError, MemoryError, OverflowError) as error:
            # Not the error itself: with its traceback it would keep everything here alive.
            what = getattr(error, "msg", None) or str(error) or type(error).__name__
            yield _Snippet(token, None, what, getattr(error, "lineno", None) or 1)


def _parsed(code: str) -> list[ast.AST]:
    """Take an example apart, and compile it; what it is made of, the outermost first.

    The compiler works constants out, and twenty letters can stand for gigabytes; deep nesting costs it time, and in
    some versions of Python the whole process. Where an example may do so, it is only parsed; nor is the compiler asked
    where it has nothing to object to.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        tree = ast.parse(code)
        nodes = _nodes(tree)
        if nodes is None:
            return list(ast.walk(tree))
        if "__" in code or not all(type(node) in _SOUND and _is_sound(node) for node in nodes):
            compile(code, "<example>", "exec", ast.PyCF_ALLOW_TOP_LEVEL_AWAIT)
    return nodes


def _is_sound(node: ast.AST) -> bool:
    return not isinstance(node, ast.Call) or len(node.keywords) == len({one.arg for one in node.keywords})


def _nodes(tree: ast.Module) -> list[ast.AST] | None:
    """What an example is made of, in the order of `ast.walk`; None where compiling it may cost much."""
    nodes: list[ast.AST] = []
    level: list[ast.AST] = [tree]
    depth = 0
    while level:
        nodes += level
        if len(nodes) > _MAX_NODES or depth > _MAX_DEPTH:
            return None
        below: list[ast.AST] = []
        for node in level:
            if isinstance(node, ast.BinOp) and not _is_plain(node):
                return None
            for name in node._fields:
                value = getattr(node, name, None)
                if isinstance(value, list):
                    below += [one for one in value if isinstance(one, ast.AST)]
                elif isinstance(value, ast.AST):
                    below.append(value)
        level, depth = below, depth + 1
    return nodes


def _is_plain(node: ast.BinOp) -> bool:
    return not any(isinstance(side, ast.Constant | ast.Tuple | ast.BinOp) for side in (node.left, node.right))


@rule(
    "MC037",
    "snippet-syntax",
    "error",
    why="Examples are copied and run. One that is no Python stops the reader at the first line.",
    bad='```python\nnetwork = mshub.load("mindspore/1.7/ssd300_coco2017"\n```',
    good='```python\nnetwork = mshub.load("mindspore/1.7/ssd300_coco2017")\n```',
)
def snippet_syntax(context: CardContext) -> Iterator[Violation]:
    """A fenced `python` example that does not compile. Prompts, output and notebook commands are understood."""
    for token, _, fault, line in _snippets(context):
        if fault is None:
            continue
        first = (token.map or [0])[0] + 1
        last = first + max(token.content.count("\n") - 1, 0)
        at = min(first + line - 1, last)
        start, end = context.body_range([at, at + 1])
        start += len(context.text[start:end]) - len(context.text[start:end].lstrip())
        message = f"the example is no Python: {fault.partition(' (')[0][:100]}"
        yield Violation(start, max(start, end), message, "correct it; if it is not Python, mark the block as text")


def loaded_uids(context: CardContext) -> Iterator[tuple[str, int, int]]:
    """Uids that the body's examples load, and their places: the letters between the quotes."""
    for token, nodes, _, _ in _snippets(context):
        if nodes is None or not any(word in token.content for word in _CLIENTS):
            continue
        known: dict[str, ast.Constant] = {}
        calls: list[ast.Call] = []
        for node in nodes:
            if isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
                known.update({target.id: node.value for target in node.targets if isinstance(target, ast.Name)})
            elif isinstance(node, ast.Call) and _is_loader(node.func):
                calls.append(node)
        for node in calls:
            named = (keyword.value for keyword in node.keywords if keyword.arg in ("name", "model"))
            first = node.args[0] if node.args else next(named, None)
            if isinstance(first, ast.Name):
                first = known.get(first.id)
            if isinstance(first, ast.Constant) and isinstance(first.value, str) and "/" in first.value:
                yield (first.value, *_place(context, token, first.value, first.lineno))


def _is_loader(called: ast.expr) -> bool:
    """Whether a function is one of a client's, such as ``mshub.load``."""
    if not isinstance(called, ast.Attribute) or called.attr not in _LOADERS:
        return False
    return isinstance(called.value, ast.Name) and called.value.id in _CLIENTS


def _place(context: CardContext, token: Token, text: str, line: int) -> tuple[int, int]:
    at = (token.map or [0])[0] + line
    start, end = context.body_range([at, at + 1])
    found = context.text.find(text, start, end)
    return (found, found + len(text)) if found >= 0 else (start, end)


@rule(
    "MC038",
    "headings",
    "warning",
    profile="strict",
    why="Headings are how people find what they look for, and what hubs build the page's contents from.",
    bad="---\n\nThis network finds things on pictures.",
    good="---\n\n## What it is\n\nThis network finds things on pictures.",
)
def headings(context: CardContext) -> Iterator[Violation]:
    """A body without text, or without a heading; infos: a heading that is empty or ends with a colon."""
    source = context.source
    if source.front is None:
        return
    start, end = context.head
    if not context.text[source.body :].strip():
        yield Violation(
            start, end, "the card has no text behind its front matter", "say what it is, and show how to use it"
        )
        return
    surely = not context.fenced and "<" not in context.body and _HEADING.search(context.body)
    if surely and not _ODD_HEADING.search(context.body):
        return
    # An ordinary colon the official validator refuses: that is told by MC055.
    colons = "\uff1a" if context.judged else (":", "\uff1a")
    for token, text in context.headings:
        if not text or text.endswith(colons):
            first, last = context.body_range(token.map)
            message = "the heading ends with a colon" if text else "the heading has no text"
            yield Violation(first, last, message, "leave the colon out" if text else "give it one", severity="info")
    if not context.headings and context.tokens:
        first = len(context.text) - len(context.text[source.body :].lstrip())
        line = context.source.span(first, first).line - 1 - context.first_body_line
        yield Violation(
            *context.body_range([line, line + 1]), "the body has no heading", "begin it with a heading: ## What it is"
        )


@rule(
    "MC039",
    "malformed-link",
    "warning",
    why="A link that leads nowhere is noticed by readers only.",
    bad="[the paper](htps://arxiv.org/abs/1512.02325)",
    good="[the paper](https://arxiv.org/abs/1512.02325)",
)
def malformed_link(context: CardContext) -> Iterator[Violation]:
    """A link or picture in the body with an empty, unreadable or unknown address, or that is none to Markdown."""
    for token in context.tokens if context.doubtful_links else ():
        if token.type != "inline" or not token.children:
            continue
        at, below = context.body_range(token.map)
        for child in token.children:
            if child.type in ("link_open", "image"):
                address = str(child.attrs.get("href" if child.type == "link_open" else "src", ""))
                fault = _fault(address)
                start, end = _find(context, address, at, below)
                if at <= start < below:
                    at = end
                if fault:
                    place = (start, end) if start >= 0 else (at, below)
                    kind = "link" if child.type == "link_open" else "picture"
                    yield Violation(*place, f"the {kind} {fault}", "correct the address")
            elif child.type == "text" and "](" in child.content:
                for written in _unrecognised(child.content):
                    start = context.text.find(written, at, below)
                    if start < 0 or context.text[start - 1] == "\\":
                        continue  # escaped: no link was meant
                    at = start + len(written)
                    address = written.rpartition("](")[2]
                    if _SCHEME.match(address) and _fault(address):
                        yield Violation(start, at, f"the link {_fault(address)}", "correct the address")
                    else:
                        hint = "write spaces in addresses as %20, and close every bracket"
                        yield Violation(start, at, "to Markdown this is no link", hint)


def _unrecognised(text: str) -> Iterator[str]:
    """What looks like links in a text that Markdown found none in: ``[label](address)``, as far as it goes."""
    at = text.find("](")
    while at >= 0:
        opened = text.rfind("[", 0, at)
        close = text.find(")", at)
        if opened >= 0:
            yield text[opened : close + 1 if close >= 0 else at + 2]
        at = text.find("](", at + 2)


def _find(context: CardContext, what: str, start: int, end: int) -> tuple[int, int]:
    """Where an address stands in a paragraph; behind it, where a reference defines it; else nowhere."""
    for wanted in (what,) if what else ("()", "(<>)"):
        found = context.text.find(wanted, start, end)
        for before in ("]: ", "]: <") if found < 0 and what else ():
            defined = context.text.find(f"{before}{wanted}", context.source.body)
            found = defined + len(before) if defined >= 0 else found
        if found >= 0:
            return found, found + len(wanted)
    return -1, -1


def _fault(address: str) -> str | None:
    if not address.strip():
        return "has no address"
    scheme = _SCHEME.match(address)
    if not scheme:
        return None  # relative, or a place on this page
    name = scheme.group()[:-1].lower()
    if name not in _SCHEMES:
        return f"has the scheme {name[:20]}:"
    # In angle brackets an address may hold spaces; a host may not.
    host, slash, rest = address.partition("://")[2].partition("/")
    return fault_of(f"{name}://{host}{slash}{rest.replace(' ', '%20')}") if name in ("http", "https") else None


@rule(
    "MC048",
    "unchecked-part",
    "warning",
    why="A body that takes a Markdown reader this much work is no card any more, and what is wrong in it goes unseen.",
    bad="(a paragraph of ten thousand links)",
    good="(a link to where they are listed)",
)
def unchecked_body(context: CardContext) -> Iterator[Violation]:
    """A body that is too much to read as Markdown, so that its examples, headings and links were not checked.

    That is above 100,000 characters, 5,000 lines, or 10,000 steps of the Markdown reader. Of assets the first 50 are
    checked.
    """
    start, end = context.head
    if not context.is_plain_work and not context.tokens and context.unparsed_body:
        yield Violation(start, end, "the body is too much to check", "keep long texts out of the card: link to them")
    found = context.fields.get("asset")
    if found and isinstance(found[1], SeqNode) and len(found[1].items) > MAX_ASSETS:
        place = found[0]
        yield Violation(
            place.start, place.end, f"only the first {MAX_ASSETS} assets are checked", "make a card per model"
        )
