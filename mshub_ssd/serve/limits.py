"""What one server lets in, and the refusals of the rest."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from dataclasses import dataclass, fields
from typing import Any

from mshub_ssd.errors import MshubError, UsageError

__all__ = ["Limits", "RefusedError", "Room", "Turns"]

# Pillow itself refuses larger ones.
_MOST_PIXELS = 178_000_000


@dataclass(frozen=True)
class Limits:
    """How much a server takes.

    Attributes:
        max_bytes: Of one request's body.
        max_pixels: Of one picture; also of all pictures that are decoded at a moment.
        max_pictures: In one request.
        max_queue: Pictures that wait or are looked at; more are refused with 503 at once.
        max_held_bytes: Of all bodies, and of drawn pictures on their way out; at least one body is let in.
        timeout: Seconds that a client may take for a request's head, and for its body, and that a picture may wait.

    Raises:
        UsageError: One of them makes no sense.
    """

    max_bytes: int = 32 << 20
    max_pixels: int = 50_000_000
    max_pictures: int = 16
    max_queue: int = 64
    max_held_bytes: int = 256 << 20
    timeout: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, int | float if field.name == "timeout" else int) and not isinstance(value, bool)
            if not number or not 0 < value < math.inf:
                raise UsageError(f"{field.name} must be a positive number", got=repr(value)[:80])
        if self.max_pixels > _MOST_PIXELS:
            raise UsageError(
                "Pillow decodes no picture of so many pixels",
                expected=f"max_pixels <= {_MOST_PIXELS}",
                got=str(self.max_pixels),
            )

    @property
    def pictures(self) -> int:
        """Pictures that one request may have: never more than the queue holds."""
        return min(self.max_pictures, self.max_queue)


class RefusedError(Exception):
    """A request that is answered with an error.

    Args:
        status: HTTP's number for it.
        code: What programs tell refusals by.
        message: What is wrong, in one sentence.
        hint: What to do.
        expected: What would have been right.
        retry_after: Seconds after which it may be tried again.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        hint: str | None = None,
        expected: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.hint, self.expected, self.retry_after = hint, expected, retry_after

    @classmethod
    def of(cls, error: MshubError, status: int) -> RefusedError:
        """The library's own error as a refusal; of what it says only what concerns the client."""
        return cls(status, error.code, error.message, expected=error.expected, hint=error.hint)

    def to_dict(self) -> dict[str, Any]:
        """The answer's JSON."""
        told = {"code": self.code, "message": self.message, "expected": self.expected, "hint": self.hint}
        return {"error": {name: text for name, text in told.items() if text}}


class Room:
    """Bytes of requests and answers that are held at a moment.

    Args:
        limit: So many at most.

    Attributes:
        taken: So many are held.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self.taken = limit, 0

    def take(self, count: int) -> None:
        """Hold more.

        Raises:
            RefusedError: There is no room.
        """
        if self.taken + count > self._limit:
            raise RefusedError(
                503,
                "busy",
                "the server holds as many bytes of other requests as it may",
                retry_after=1,
                hint="try again",
            )
        self.taken += count

    def give(self, count: int) -> None:
        """Let go of some."""
        self.taken -= count


class Turns:
    """A semaphore with weights: who asks first is let in first, whatever the weight.

    Args:
        total: So much may be inside; whoever weighs more is let in alone.
    """

    def __init__(self, total: int) -> None:
        self._total, self._inside = total, 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    async def enter(self, weight: int) -> int:
        """Wait until there is room; what to `leave` with."""
        weight = min(weight, self._total)
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((weight, turn))
        self._let_in()
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self.leave(weight)
            raise
        return weight

    def leave(self, weight: int) -> None:
        """Make room again."""
        self._inside -= weight
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting:
            weight, turn = self._waiting[0]
            if turn.done():  # who waited has gone
                self._waiting.popleft()
            elif self._inside + weight > self._total:
                return
            else:
                self._waiting.popleft()
                self._inside += weight
                turn.set_result(None)
