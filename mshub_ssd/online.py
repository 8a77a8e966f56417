"""What the network says about cards, for ``validate --online``: whom it asks, and how politely.

What is asked, and what follows from the answers, is up to `mshub_ssd.lint`.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections import Counter, defaultdict, deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mshub_ssd import settings as _settings
from mshub_ssd import store
from mshub_ssd.errors import MissingDependencyError, MshubError, UsageError
from mshub_ssd.files import open_regular
from mshub_ssd.lint import Answers, Config, Question, Reply, cards_to_ask, likeness, questions_of
from mshub_ssd.schemes import is_store
from mshub_ssd.settings import Settings
from mshub_ssd.terminal import Bar

__all__ = ["MAX_BYTES", "gather"]

MAX_BYTES = 5_000_000_000
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
    max_bytes: int = MAX_BYTES,
) -> Answers:
    """Ask the network all that the online rules want to know of some cards.

    Each address is asked once, however many cards give it; at most 8 at a time, 2 of one host. Nothing is stored and
    nothing is run. Ctrl-C leaves at once.

    Args:
        paths: Files and folders of cards.
        config: Which rules are on; what only others need is not asked.
        deep: Download every asset, and hash it.
        allow_private: Ask loopback, private and link-local addresses, too.
        max_bytes: Size of the largest asset; larger ones are not downloaded.

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
    questions: dict[str, Question] = {}
    for context, rules in cards_to_ask(paths, config):
        for question in questions_of(context, rules, deep=deep):
            known = questions.setdefault(question.where, question)
            questions[question.where] = max(known, question, key=Question.depth)
    asker = _Asker(settings, deep=deep, allow_private=allow_private, max_bytes=max_bytes)
    return {"replies": _Pool(asker.ask).work(list(questions.values())), "max_bytes": max_bytes}


@dataclass(frozen=True)
class _Asker:
    """One question in, one reply out; for several threads."""

    settings: Settings
    deep: bool
    allow_private: bool
    max_bytes: int

    def ask(self, question: Question) -> Reply:
        """Find it out.

        Raises:
            _LaterError: The host wants to be asked later.
        """
        if question.kind == "local":
            return self._file(Path(question.where))
        try:
            found = self._probe(question)
        except MissingDependencyError as error:
            return Reply("unasked", f"{error.message}: {error.hint}")
        except MshubError as error:
            return self._failed(error)
        if found.status in _BUSY and (found.status == 429 or found.retry_after is not None):
            raise _LaterError(f"the host answers {found.status_text}", found.retry_after)
        if not found.ok:
            if found.status == 401 and is_store(question.where):
                return Reply("unasked", "there are no credentials for this store")
            gone = found.status in (404, 410)
            return Reply("missing" if gone else "dead", f"the host answers {found.status_text}")
        if question.kind == "page":
            return Reply()
        if question.kind == "text":
            return Reply(text=_text(found))
        return self._asset(question, found)

    def _probe(self, question: Question) -> store.Probe:
        # A byte at least: a GET is answered by servers that refuse HEAD, and so one request will do.
        wanted = {"page": 1, "text": _LONGEST_TEXT + 1}.get(question.kind, _HEAD)
        return store.probe(question.where, allow_private=self.allow_private, max_bytes=wanted, settings=self.settings)

    def _asset(self, question: Question, found: store.Probe) -> Reply:
        reply = Reply(size=found.size, likeness=likeness(found.content_type, found.head))
        if question.kind == "asset" or reply.likeness or found.size == 0 or (found.size or 0) > self.max_bytes:
            return reply
        try:
            digest, size = store.digest_of(
                question.where,
                allow_private=self.allow_private,
                max_bytes=self.max_bytes,
                quiet=True,
                settings=self.settings,
            )
        except MshubError as error:
            return self._failed(error)
        return replace(reply, sha256=digest, size=size)

    def _failed(self, error: MshubError) -> Reply:
        reason = (error.got or error.message).partition("\n")[0][:300]
        if _PRIVATE not in reason:
            return Reply("dead", reason)
        # Where they are allowed, it was a public host that led to one.
        return Reply(
            "dead" if self.allow_private else "private", reason.removeprefix("refused, ").partition(", and ")[0]
        )

    def _file(self, path: Path) -> Reply:
        try:
            size = path.stat().st_size
            if self.deep and size <= self.max_bytes:
                hashed = store.hash_file(path)
                return Reply(size=hashed.size, likeness=likeness(None, hashed.head), sha256=hashed.hexdigest)
            with open_regular(path) as stream:
                return Reply(size=size, likeness=likeness(None, stream.read(_HEAD)))
        except OSError as error:
            return Reply("dead", error.strerror or type(error).__name__)  # MC029 tells


def _text(found: store.Probe) -> str | None:
    whole = len(found.head) <= _LONGEST_TEXT and found.size in (None, len(found.head))
    if not whole or likeness(found.content_type, found.head):
        return None
    try:
        return found.head.decode("utf-8-sig")
    except UnicodeDecodeError:
        return None


class _Pool:
    """Threads that see to all questions, and to it that no host is pressed.

    Args:
        ask: Answers a question, in any thread.
    """

    def __init__(self, ask: Callable[[Question], Reply]) -> None:
        self._ask = ask
        self._changed = threading.Condition()
        self._waiting: dict[str, deque[Question]] = defaultdict(deque)
        self._active: Counter[str] = Counter()
        self._ready: dict[str, float] = defaultdict(float)
        self._pauses: Counter[str] = Counter()
        self._paused: dict[str, float] = defaultdict(float)
        self._replies: dict[str, Reply] = {}
        self._failure: BaseException | None = None
        self._over = False

    def work(self, questions: Sequence[Question]) -> Mapping[str, Reply]:
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
            with Bar("asking", len(questions), unit="link", delay=_SLOW) as bar:
                for thread in threads:
                    thread.start()
                with self._changed:
                    while len(self._replies) < len(questions) and self._failure is None:
                        # Not for ever: a wait without end cannot be interrupted everywhere.
                        self._changed.wait(0.2)
                        bar.reach(len(self._replies), len(questions))
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

    def _next(self) -> Question | None:
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

    def _enter(self, question: Question, reply: Reply) -> None:
        with self._changed:
            self._active[question.host] -= 1
            self._replies[question.where] = reply
            self._changed.notify_all()

    def _postpone(self, question: Question, later: _LaterError) -> None:
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
