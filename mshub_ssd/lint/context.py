"""One card as the rules see it: its text, its fields with their places, its body as Markdown tokens."""

from __future__ import annotations

import functools
import itertools
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from mshub_ssd.cards import MAX_NODES, Card, MapNode, Node, Problem, Scalar, SeqNode, Span, examine_card
from mshub_ssd.lint.finding import Edit, Fix, Severity
from mshub_ssd.lint.plan import CardPlan, Planner
from mshub_ssd.redaction import mask

if TYPE_CHECKING:
    from markdown_it import MarkdownIt
    from markdown_it.token import Token

__all__ = ["MAX_ASSETS", "AssetNode", "CardContext", "Violation", "edit", "meaning", "too_long"]

# What Markdown costs depends on how often its rules are tried, not on the size of the text; the largest
# published card, of 78 KB, takes 8,600 tries.
_MAX_TRIES = MAX_NODES
_MAX_BODY = 100_000
_MAX_LINES = 5_000
_MAX_LINK = 2_000
_MAX_PIECES = 200
MAX_ASSETS = 50
"""So many assets of a card are looked at."""
# Links to a host with a dot, without spaces and brackets: whatever Markdown makes of them, nothing is wrong.
_SOUND_LINK = re.compile(r"\]\(https?://[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+(?:[/?#][!-'*-;=?-~]*)?\)")
_ANGLES = re.compile(r"<(?:!--|[A-Za-z][A-Za-z0-9+.-]*:)")
_USUAL = bytes(range(32, 127)) + b"\t\r\n"
_BAR = re.compile(r"\|")
_TRIED = "\n\\!&*<>[]_`"
_OFFICIAL = {"mindspore", "noah-cvlab"}
_T = TypeVar("_T")
_NOTHING = {"", "~", "null", "-"}
_LONGEST_NOTHING = max(map(len, _NOTHING))


class Violation(NamedTuple):
    """What a rule yields: a place and what to say about it."""

    start: int
    end: int
    message: str
    help: str | None = None
    fix: Fix | None = None
    severity: Severity | None = None


class _Fields:
    """What is asked of a card and of its assets alike."""

    __slots__ = ()
    fields: dict[str, tuple[Scalar, Node]]
    values: dict[str, str | None]

    def scalar(self, key: str) -> Scalar | None:
        """The value of a field, where it is a text."""
        found = self.fields.get(key)
        return found[1] if found and isinstance(found[1], Scalar) else None

    def value(self, key: str) -> str | None:
        """The text of a field, None where it says nothing; links without ``<>``."""
        try:
            return self.values[key]  # a dozen rules ask for some of them
        except KeyError:
            node = self.scalar(key)
            known = self.values[key] = None if node is None else meaning(node, key)
            return known


@dataclass(frozen=True, slots=True)
class AssetNode(_Fields):
    """One item of ``asset``: its node, its fields, and what they were found to say."""

    index: int
    node: MapNode
    fields: dict[str, tuple[Scalar, Node]]
    values: dict[str, str | None] = field(default_factory=dict, compare=False, repr=False)


class CardContext(_Fields):
    """A card under examination.

    Attributes:
        path: The file as findings show it.
        uid: The card's uid, None where the file's place does not tell.
        file: The file itself, None for a text without one.
        text: The decoded text without byte order mark; offsets of violations and edits count in it.
        bom: Whether there was a byte order mark.
        whole: Whether the file is valid UTF-8, so that it can be written back.
        source: The text taken apart.
        card: What could be read of the card, None where there are no fields.
        problems: What the parser objects to.
        fields: Top-level keys and values.
        values: What fields were found to say.
        assets: Items of ``asset``.
        unparsed_body: Whether `tokens` is empty because the body is too much to parse.
        snippets: A place for the rules about examples to keep them compiled.
        excerpts: Lines that findings show, each once; passwords in urls are masked.
        places: Where findings stand, each place once.
    """

    def __init__(
        self, data: bytes, *, path: str, uid: str | None, file: Path | None = None, planner: Planner | None = None
    ) -> None:
        self.path = path
        self.uid = uid
        self.file = file
        self.bom = data.startswith(b"\xef\xbb\xbf")
        self._planner = planner
        examined = examine_card(data, uid=uid or self.name, path=file, tolerant=True)
        self.source = examined.source
        self.card: Card | None = examined.draft
        self.problems: tuple[Problem, ...] = examined.problems
        self.text = self.source.text
        codes = {problem.code for problem in self.problems}
        self.whole = not codes & {"encoding", "size"}
        self.by_lines = "fullwidth-colon" in codes
        root = self.source.root
        self.fields: dict[str, tuple[Scalar, Node]] = {}
        self.values: dict[str, str | None] = {}
        if root is not None:
            self.fields = {key.text: (key, node) for key, node in root.items}
        self.assets = tuple(itertools.islice(self._assets(), MAX_ASSETS))
        self.unparsed_body = False
        self.snippets: list[Any] | None = None
        self.excerpts: dict[tuple[int, int], str] = {}
        self.places: dict[tuple[int, int], tuple[Span, str, int]] = {}
        self._known: dict[Callable[[CardContext], Any], Any] = {}

    @functools.cached_property
    def shown(self) -> str:
        """The text as reports may show it: of the same length, without the users and passwords of urls."""
        text = mask(self.text)
        for node in (self.scalar("repo-link"), *(asset.scalar("asset-link") for asset in self.assets)):
            if node is None or mask(node.text, whole=True) == node.text:
                continue
            raw = self.text[node.start : node.end]
            if "\n" in raw or "\r" in raw or mask(raw) == raw:  # a link of several lines, or with escapes
                text = text[: node.start] + re.sub(r"[^\r\n]", "*", raw) + text[node.end :]
        return text

    @functools.cached_property
    def plan(self) -> CardPlan | None:
        """What loading the card would do; None where nobody was asked, or the card cannot be read."""
        if self._planner is None or self.card is None or any(problem.fatal for problem in self.problems):
            return None
        return self._planner(self.card)

    def once(self, what: Callable[[CardContext], _T]) -> _T:
        """What a function makes of this card, worked out for the first of the rules that ask."""
        if what not in self._known:
            self._known[what] = what(self)
        known: _T = self._known[what]
        return known

    def _assets(self) -> Iterator[AssetNode]:
        found = self.fields.get("asset")
        if found is None:
            return
        node = found[1]
        items: Sequence[Node] = node.items if isinstance(node, SeqNode) else [node]
        for index, item in enumerate(items):
            if isinstance(item, MapNode):
                yield AssetNode(index, item, {key.text: (key, value) for key, value in item.items})

    def pieces(self, node: Scalar, between: re.Pattern[str] = _BAR) -> Iterator[tuple[str, int, int]]:
        """The stripped parts of a value, and the place of each; an empty one lies on what ends it."""
        raw = self.text[node.start : node.end]
        # A value with escapes, or over several lines, has no text in the file to point at.
        offset = raw.find(node.text)
        at = 0
        for piece in between.split(node.text, maxsplit=_MAX_PIECES):
            text = piece.strip()
            start = at + len(piece) - len(piece.lstrip()) if text else at + len(piece)
            end = start + len(text) if text else min(start + 1, len(node.text))
            yield (
                (text, node.start, node.end)
                if offset < 0
                else (
                    text,
                    node.start + offset + min(start, end),
                    node.start + offset + end,
                )
            )
            at += len(piece) + 1

    def scalars(self) -> Iterator[tuple[str, Scalar]]:
        """All texts of the front matter that are not keys, with the name of their field."""

        def inside(name: str, node: Node) -> Iterator[tuple[str, Scalar]]:
            if isinstance(node, Scalar):
                yield name, node
            elif isinstance(node, MapNode):
                for key, value in node.items:
                    yield from inside(key.text, value)
            else:
                for item in node.items:
                    yield from inside(name, item)

        for key, (_, node) in self.fields.items():
            yield from inside(key, node)

    def value_spans(self) -> list[tuple[int, int]]:
        """Where the texts of the front matter lie, in order."""
        return sorted((node.start, node.end) for _, node in self.scalars())

    def problems_of(self, *codes: str) -> Iterator[Problem]:
        """The parser's objections of these kinds."""
        return (problem for problem in self.problems if problem.code in codes)

    def at_problem(self, problem: Problem, severity: Severity | None = None) -> Violation:
        """A violation where the parser objects, in its words."""
        message = problem.message
        if problem.got and problem.code not in ("yaml", "front-matter"):
            message = f"{message}: {problem.got}"
        start, end = self.offsets(problem.span)
        return Violation(start, end, message, problem.hint, severity=severity)

    def offsets(self, span: Span | None) -> tuple[int, int]:
        """From lines and columns back to offsets."""
        if span is None:
            return 0, 0
        starts = self.source.line_starts()
        return starts[span.line - 1] + span.column - 1, starts[span.end_line - 1] + span.end_column - 1

    @property
    def head(self) -> tuple[int, int]:
        """Where to point for what is missing: the fence that opens the front matter."""
        if self.source.front is None:
            return 0, 0
        fence = self.text.rfind("---", 0, self.source.front[0])
        return fence, fence + 3

    @functools.cached_property
    def unusual(self) -> frozenset[str]:
        """The characters of the text that are neither printable ASCII nor the usual white space."""
        # Of UTF-8 whole characters remain, since no byte of another one is ASCII.
        left = self.text.encode("utf-8", "surrogatepass").translate(None, _USUAL)
        return frozenset(left.decode("utf-8", "surrogatepass"))

    @property
    def official(self) -> bool:
        """Whether the card lies in a folder of the official hub's publishers."""
        return (self.uid or "").partition("/")[0] in _OFFICIAL

    @property
    def judged(self) -> bool:
        """Whether the official validator reads the card; in the place of a Chinese one it reads the English one."""
        return self.official and not self.name.endswith("_cn")

    @functools.cached_property
    def name(self) -> str:
        """The file's name without ``.md``."""
        return (self.uid or self.path.rpartition("/")[2].removesuffix(".md")).rpartition("/")[2]

    @functools.cached_property
    def body(self) -> str:
        """What stands behind the front matter; empty where there is none, or no text to speak of."""
        return self.text[self.source.body :] if self.whole and self.source.front is not None else ""

    @functools.cached_property
    def fenced(self) -> bool:
        """Whether there may be a fenced example in the body."""
        return "```" in self.body or "~~~" in self.body

    @functools.cached_property
    def doubtful_links(self) -> bool:
        """Whether there may be a link in the body that leads nowhere."""
        return _is_doubtful(self.body) or "]:" in self.body

    @property
    def is_plain_work(self) -> bool:
        """Whether the body is surely not too much to parse."""
        return self._tries[1]

    @functools.cached_property
    def _tries(self) -> tuple[int, bool]:
        """How often Markdown's rules may be tried on the body, below 0 for never; whether nobody needs to count."""
        body = self.body
        lines = body.count("\n") + body.count("\r")
        if len(body) > _MAX_BODY or lines > _MAX_LINES:
            return -1, False
        allowed = _MAX_TRIES - self.source.values - lines - body.count("<")
        # No try without one of these characters: where they are few, nobody needs to count.
        return allowed, 4 * sum(map(body.count, _TRIED)) < allowed

    @functools.cached_property
    def tokens(self) -> list[Token]:
        """The body's Markdown tokens; their lines count from the body's first. Empty where it is too much to parse.

        Inline tokens have children only where a link that may be wrong, or a comment, may be among them. Markdown costs
        as much as all rules together: `fenced` and its neighbours tell many rules that they need not look.
        """
        body = self.body
        if not body:
            return []
        allowed, few = self._tries
        if allowed < 0:
            self.unparsed_body = True
            return []
        parser = _markdown(counting=not few, normal="\r" not in body and "\0" not in body)
        env: dict[str, Any] = {"tries": allowed}
        try:
            tokens = parser.parse(body, env)
            defined = bool(env.get("references"))
            for token in tokens:
                if token.children is not None and (_is_doubtful(token.content) or (defined and "[" in token.content)):
                    parser.inline.parse(token.content, parser, env, token.children)
        except _TooMuchError:
            self.unparsed_body = True
            return []
        return tokens

    @functools.cached_property
    def headings(self) -> list[tuple[Token, str]]:
        """The body's headings, each with its stripped text."""
        tokens = self.tokens
        return [
            (token, tokens[at + 1].content.strip()) for at, token in enumerate(tokens) if token.type == "heading_open"
        ]

    @functools.cached_property
    def first_body_line(self) -> int:
        """0-based line of the card that the body's first line is."""
        return self.source.span(self.source.body, self.source.body).line - 1

    def body_range(self, lines: Sequence[int] | None) -> tuple[int, int]:
        """Offsets of a token's lines, without the last line break."""
        first, last = lines or (0, 0)
        bottom = len(self.source.line_starts()) - 1
        start, _ = self.source.line(min(self.first_body_line + first, bottom))
        _, end = self.source.line(min(self.first_body_line + max(last, first + 1) - 1, bottom))
        return start, max(start, start + len(self.text[start:end].rstrip()))


def too_long(node: Scalar) -> bool:
    """Whether a link is longer than any that works; no rule looks into such a one."""
    return len(node.text) > _MAX_LINK


def meaning(node: Scalar, key: str = "") -> str | None:
    """The text of a value, None where it says nothing; that of a link without ``<>``."""
    text = node.text.strip()
    if node.plain and len(text) <= _LONGEST_NOTHING and text.lower() in _NOTHING:
        return None
    if key.endswith("link"):
        if len(text) > _MAX_LINK:
            return None
        if text.startswith("<") and text.endswith(">"):
            text = text[1:-1].strip()
    return text or None


def edit(node: Scalar | tuple[int, int], text: str) -> tuple[Edit, ...]:
    """The edit that puts `text` in the place of a value, quotes included."""
    start, end = (node.start, node.end) if isinstance(node, Scalar) else node
    return (Edit(start, end, text),)


def _is_doubtful(content: str) -> bool:
    """Whether a paragraph may hold what rules look at: reading all others would cost as much as all rules together."""
    links = content.count("](")
    if links and links != len(_SOUND_LINK.findall(content)):
        return True
    return "<" in content and _ANGLES.search(content) is not None


class _TooMuchError(Exception):
    """The body takes more work than a linter should spend on it."""


@functools.cache
def _markdown(*, counting: bool, normal: bool) -> MarkdownIt:
    from markdown_it import MarkdownIt

    parser = MarkdownIt()
    parser.core.ruler.disable(["inline", "text_join", *(["normalize"] if normal else [])])
    # Addresses stay as they are written, so that they can be found in the text.
    parser.normalizeLink = lambda url: url  # type: ignore[method-assign]
    if not counting:
        return parser

    def count(env: Any) -> bool:
        env["tries"] -= 1
        if env["tries"] < 0:
            raise _TooMuchError
        return False

    # Rules that never match, asked first: they see every try.
    parser.block.ruler.before("code", "count", lambda state, start, end, silent: count(state.env))
    parser.inline.ruler.before("text", "count", lambda state, silent: count(state.env))
    return parser
