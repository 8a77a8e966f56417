"""What ``validate --online`` asks the network, and how politely; the rules themselves are in `mshub_ssd.lint`."""

from __future__ import annotations

import logging
import random
import sys
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import urlsplit

from mshub_ssd import settings as _settings
from mshub_ssd.errors import MshubError, UsageError
from mshub_ssd.files import lies_in, open_regular

if TYPE_CHECKING:
    from mshub_ssd.lint.config import Config
    from mshub_ssd.lint.context import CardContext
    from mshub_ssd.lint.online import Answers, Reply
    from mshub_ssd.settings import Settings
    from mshub_ssd.store import Probe

__all__ = ["MOST", "gather"]

MOST = 5_000_000_000
"""Bytes of the largest asset, unless told otherwise; the official client loads no larger one."""

_AT_ONCE = 8
_PER_HOST = 2
_PAUSE = 2.0  # seconds for a host that wants to be asked later and does not say when; doubled each time
_PATIENCE = 120.0  # seconds of pauses for one host in all
_HEAD = 512  # bytes that show what a file is
_LONGEST_TEXT = 1 << 16  # bytes of an entry point; published ones have a tenth of it
_SLOW = 1.0  # seconds after which a progress bar is worth its line
_BUSY = (429, 503)
_PRIVATE = "the address is private"  # as the store's refusal has it

_log = logging.getLogger(__name__)

_Kind = Literal["page", "asset", "whole", "text", "local"]
_KINDS: tuple[_Kind, ...] = ("page", "asset", "whole", "text", "local")  # of one address, the last is asked


@dataclass(frozen=True)
class _Question:
    """Something to find out.

    Attributes:
        where: A url, or the path of a file.
        kind: Whether a ``page`` is there; what a glance at an ``asset`` shows, and what all of its bytes do
            (``whole``); the ``text`` of a file; a ``local`` one.
    """

    where: str
    kind: _Kind

    @property
    def host(self) -> str:
        """Whom it is a burden to."""
        return "" if self.kind == "local" else (urlsplit(self.where).hostname or "")


class _LaterError(Exception):
    """The host wants to be left alone for some seconds, or does not say for how many."""

    def __init__(self, reason: str, seconds: float | None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.seconds = seconds


def gather(
    paths: Sequence[str | Path],
    config: Config,
    *,
    deep: bool = False,
    allow_private: bool = False,
    most: int | None = None,
) -> Answers:
    """Ask the network all that the online rules want to know of some cards.

    Each address is asked once, however many cards give it; at most 8 at a time, 2 of one host. Nothing is stored and
    nothing is run. Ctrl-C leaves at once.

    Args:
        paths: Files and folders of cards.
        config: Which rules are on; what only others need is not asked.
        deep: Download every asset, and hash it.
        allow_private: Ask loopback, private and link-local addresses, too.
        most: Bytes of the largest asset, `MOST` by default; larger ones are not downloaded.

    Returns:
        What `mshub_ssd.lint.engine.lint` takes as its answers.

    Raises:
        UsageError: The network is forbidden, or a path does not exist.
    """
    settings = _settings.current()
    if settings.offline:
        raise UsageError(
            "--online needs the network, and MSHUB_OFFLINE forbids it",
            hint="unset MSHUB_OFFLINE (or settings key `offline`), or leave --online out",
        )
    most = MOST if most is None else most
    questions: dict[str, _Question] = {}
    networks: dict[str, str] = {}
    for context, rules in _contexts(paths, config):
        for question in _questions(context, rules, deep):
            known = questions.setdefault(question.where, question)
            if _KINDS.index(question.kind) > _KINDS.index(known.kind):
                questions[question.where] = question
        network = _network(context) if "MC018" in rules else None
        if network:
            networks[context.path] = network
    asker = _Asker(settings, deep=deep, allow_private=allow_private, most=most)
    return {"replies": _Crew(asker.ask).work(list(questions.values())), "networks": networks, "most": most}


def _contexts(paths: Sequence[str | Path], config: Config) -> Iterable[tuple[CardContext, frozenset[str]]]:
    """The cards, and the rules they are held to."""
    from mshub_ssd.cards import read_bytes
    from mshub_ssd.lint.context import CardContext
    from mshub_ssd.lint.discovery import discover

    cards, _ = discover(paths, roots=config.roots, exclude=config.exclude, base=config.base)
    for card in cards:
        try:
            data = read_bytes(card.file)
        except OSError as error:
            _log.debug("%s cannot be read: %s", card.path, error)  # the linter reports it
            continue
        rules = config.enabled - config.let_off(card.file, card.uid)
        yield CardContext(data, path=card.path, uid=card.uid, file=card.file), rules


def _questions(context: CardContext, rules: frozenset[str], deep: bool) -> Iterable[_Question]:
    from mshub_ssd.lint.online import asset_addresses, entry_address, repository

    found = repository(context)
    if found and "MC050" in rules:
        yield _Question(found[1], "page")
    entry = entry_address(found[1]) if found else None
    if entry and rules & {"MC018", "MC019"}:
        yield _Question(entry, "text")
    whole = deep and "MC052" in rules
    if whole or rules & {"MC050", "MC051"}:
        for _, _, where in asset_addresses(context):
            if isinstance(where, str):
                yield _Question(where, "whole" if whole else "asset")
            elif context.file and lies_in(where, context.file.parent):
                yield _Question(str(where), "local")


def _network(context: CardContext) -> str | None:
    """The network of this library that a card means."""
    from mshub_ssd import providers

    if context.card is None:
        return None
    try:
        return providers.choose_network(context.card).key
    except MshubError:
        return None


class _Asker:
    """One question in, one reply out; for several threads."""

    def __init__(self, settings: Settings, *, deep: bool, allow_private: bool, most: int) -> None:
        self._settings = settings
        self._deep = deep
        self._allow_private = allow_private
        self._most = most

    def ask(self, question: _Question) -> Reply:
        """Find it out.

        Raises:
            _LaterError: The host wants to be asked later.
        """
        from mshub_ssd.lint.online import Reply

        if question.kind == "local":
            return self._file(Path(question.where))
        try:
            found = self._probe(question)
        except MshubError as error:
            return self._failed(error)
        if found.status in _BUSY and (found.status == 429 or found.retry_after is not None):
            raise _LaterError(f"the host answers {found.status_text}", found.retry_after)
        if not found.ok:
            gone = found.status in (404, 410)
            return Reply("missing" if gone else "dead", f"the host answers {found.status_text}")
        if question.kind == "page":
            return Reply()
        if question.kind == "text":
            return Reply(text=_text(found))
        return self._asset(question, found)

    def _probe(self, question: _Question) -> Probe:
        from mshub_ssd import store

        # A byte at least: a GET is answered by servers that refuse HEAD, and so one request will do.
        wanted = {"page": 1, "text": _LONGEST_TEXT + 1}.get(question.kind, _HEAD)
        return store.probe(question.where, allow_private=self._allow_private, max_bytes=wanted, settings=self._settings)

    def _asset(self, question: _Question, found: Probe) -> Reply:
        from mshub_ssd import store
        from mshub_ssd.lint.online import Reply, likeness

        reply = Reply(size=found.size, likeness=likeness(found.content_type, found.head))
        if question.kind == "asset" or reply.likeness or found.size == 0 or (found.size or 0) > self._most:
            return reply
        try:
            digest, size = store.digest_of(
                question.where,
                allow_private=self._allow_private,
                max_bytes=self._most,
                quiet=True,
                settings=self._settings,
            )
        except MshubError as error:
            return self._failed(error)
        return replace(reply, sha256=digest, size=size)

    def _failed(self, error: MshubError) -> Reply:
        from mshub_ssd.lint.online import Reply

        reason = (error.got or error.message).partition("\n")[0][:300]
        if _PRIVATE not in reason:
            return Reply("dead", reason)
        # Where they are allowed, it was a public host that led to one.
        return Reply(
            "dead" if self._allow_private else "private", reason.removeprefix("refused, ").partition(", and ")[0]
        )

    def _file(self, path: Path) -> Reply:
        from mshub_ssd import store
        from mshub_ssd.lint.online import Reply, likeness

        try:
            size = path.stat().st_size
            if self._deep and size <= self._most:
                hashed = store.hash_file(path)
                return Reply(size=hashed.size, likeness=likeness(None, hashed.head), sha256=hashed.hexdigest)
            with open_regular(path) as stream:
                return Reply(size=size, likeness=likeness(None, stream.read(_HEAD)))
        except OSError as error:
            return Reply("dead", error.strerror or type(error).__name__)  # MC029 tells


def _text(found: Probe) -> str | None:
    from mshub_ssd.lint.online import likeness

    whole = len(found.head) <= _LONGEST_TEXT and found.size in (None, len(found.head))
    if not whole or likeness(found.content_type, found.head):
        return None
    try:
        return found.head.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


class _Crew:
    """Threads that see to all questions, and to it that no host is pressed.

    Args:
        ask: Answers a question, in any thread.
    """

    def __init__(self, ask: Callable[[_Question], Reply]) -> None:
        self._ask = ask
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[_Question]] = defaultdict(deque)
        self._active: Counter[str] = Counter()
        self._ready: dict[str, float] = defaultdict(float)
        self._pauses: Counter[str] = Counter()
        self._paused: dict[str, float] = defaultdict(float)
        self._replies: dict[str, Reply] = {}
        self._failure: BaseException | None = None
        self._over = False

    def work(self, questions: Sequence[_Question]) -> Mapping[str, Reply]:
        """All replies, by what was asked.

        Raises:
            KeyboardInterrupt: Ctrl-C; what is under way is left to end by itself.
        """
        for question in questions:
            self._waiting[question.host].append(question)
        threads = [
            # Daemons, because nobody wants to wait for them after Ctrl-C.
            threading.Thread(target=self._serve, name=f"mshub-online-{number}", daemon=True)
            for number in range(min(_AT_ONCE, len(questions)))
        ]
        try:
            with _bar(len(questions)) as bar:
                for thread in threads:
                    thread.start()
                with self._changed:
                    while len(self._replies) < len(questions) and self._failure is None:
                        # Not for ever: a wait without end cannot be interrupted everywhere.
                        self._changed.wait(0.2)
                        bar.update(len(self._replies) - bar.n)
        finally:
            with self._changed:
                self._over = True
                self._changed.notify_all()
        if self._failure is not None:
            raise self._failure
        for thread in threads:
            thread.join()  # whoever forks afterwards wants none
        return self._replies

    def _serve(self) -> None:
        while (question := self._next()) is not None:
            try:
                self._enter(question, self._ask(question))
            except _LaterError as later:
                self._postpone(question, later)
            except BaseException as error:  # noqa: BLE001 - raised again where the user is
                with self._changed:
                    self._failure = error
                    self._changed.notify_all()
                return

    def _next(self) -> _Question | None:
        """The next question whose host may be asked now; None when there is nothing left to do."""
        with self._changed:
            while not self._over:
                now = time.monotonic()
                for host, waiting in self._waiting.items():
                    if waiting and self._active[host] < _PER_HOST and self._ready[host] <= now:
                        self._active[host] += 1
                        # Another host first, the next time.
                        self._waiting[host] = self._waiting.pop(host)
                        return waiting.popleft()
                self._changed.wait(0.1)
            return None

    def _enter(self, question: _Question, reply: Reply) -> None:
        with self._changed:
            self._active[question.host] -= 1
            self._replies[question.where] = reply
            self._changed.notify_all()

    def _postpone(self, question: _Question, later: _LaterError) -> None:
        from mshub_ssd.lint.online import Reply

        host = question.host
        with self._changed:
            self._active[host] -= 1
            self._waiting[host].appendleft(question)
            now = time.monotonic()
            if self._ready[host] <= now:  # else it has told somebody already
                pause = _PAUSE * 2 ** self._pauses[host] if later.seconds is None else later.seconds
                self._pauses[host] += 1
                self._paused[host] += pause
                if self._paused[host] <= _PATIENCE:
                    _log.info("%s asks for a pause of %.1f s", host, pause)
                    self._ready[host] = now + pause + random.uniform(0, 0.1 * pause)  # noqa: S311
                else:
                    asked = "" if later.seconds is None else f", and asks to come back in {later.seconds:.0f} seconds"
                    self._replies.update(
                        (one.where, Reply("busy", f"{later.reason}{asked}")) for one in self._waiting[host]
                    )
                    self._waiting[host].clear()
            self._changed.notify_all()


def _bar(total: int) -> Any:
    """A progress bar on a terminal, once it takes long."""
    from tqdm import tqdm

    class Bar(tqdm):  # type: ignore[type-arg]  # not generic when it runs
        monitor_interval = 0  # its thread would outlive the bar

    watched = sys.stderr is not None and sys.stderr.isatty()
    return Bar(total=total, desc="asking", unit="link", delay=_SLOW, leave=False, file=sys.stderr, disable=not watched)
