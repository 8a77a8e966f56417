"""Which addresses may be connected to, checked where it counts: on the connection itself.

A card's own host may be loopback or private. What a public host redirects to may not: whoever writes a card
or runs a server would otherwise reach into the network of whoever loads it. Names are no proof, since they
may resolve to another address each time; so the connected socket's peer is asked before a byte is sent.
"""

from __future__ import annotations

import contextlib
import ipaddress
import threading
from collections.abc import Iterator
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import socket

__all__ = ["Guard", "RefusedAddressError", "is_public", "refuse_private", "resolve"]

_NAT64 = ipaddress.ip_network("64:ff9b::/96")


class RefusedAddressError(Exception):
    """A connection to a private address that is not allowed; never leaves the store."""


def is_public(address: str) -> bool:
    """Whether a numeric address belongs to the open internet.

    Loopback, private, link-local, shared, reserved and multicast ones do not, nor those IPv6 addresses that
    stand for such an IPv4 one.
    """
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        if found in _NAT64:
            return is_public(str(ipaddress.IPv4Address(int(found) & 0xFFFFFFFF)))
        if found.ipv4_mapped is not None:
            return is_public(str(found.ipv4_mapped))
        inner = found.sixtofour or (found.teredo[1] if found.teredo else None)
        if found.is_site_local or (inner is not None and not is_public(str(inner))):
            return False
    return found.is_global and not (found.is_multicast or found.is_reserved)


def resolve(host: str, port: int) -> tuple[str, ...]:
    """The numeric addresses of a host, none when its name is unknown here."""
    import socket

    try:
        found = socket.getaddrinfo(host.strip("[]"), port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError):
        return ()
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in found))


def refuse_private(host: str, port: int) -> tuple[str, ...]:
    """The numeric addresses of a host.

    Raises:
        RefusedAddressError: One of them is not public.
    """
    found = resolve(host, port)
    for address in found:
        if not is_public(address):
            raise RefusedAddressError(_refusal(host, address))
    return found


class Guard:
    """What one client's connections may reach, and whom they reached; for one thread at a time.

    Attributes:
        public_only: Whether the next connection must lead to a public address.
        peer: Address that gave the last answer; None behind a proxy.
        late: Whether a connection was broken off because it took too long.
    """

    def __init__(self, answer: float) -> None:
        self.public_only = False
        self.peer: str | None = None
        self.late = False
        self._answer = answer
        self._handle: socket.socket | None = None
        self._aborted = False

    def hang_up(self) -> None:
        """Break the connection off, whoever is reading from it."""
        import socket

        handle, self._handle = self._handle, None
        if handle is not None:
            with contextlib.suppress(OSError), handle:
                handle.shutdown(socket.SHUT_RDWR)

    def abort(self) -> None:
        """From another thread: break off, and let no further connection be made."""
        self._aborted = True
        self.hang_up()

    def foresee(self, host: str, port: int) -> None:
        """Before anything is sent to an address: refuse it by its name."""
        if self.public_only:
            refuse_private(host, port)

    def inspect(self, host: str, sock: socket.socket) -> str:
        """Refuse a connection by the address that was really reached; returns it.

        Raises:
            RefusedAddressError: It is private, and must not be.
        """
        peer = str(sock.getpeername()[0])
        if self.public_only and not is_public(peer):
            sock.close()
            raise RefusedAddressError(_refusal(host, peer))
        return peer

    def hold(self, sock: socket.socket) -> None:
        """Remember a connection, to be able to break it off."""
        self.hang_up()
        # A second handle to the same connection: TLS takes the first one away.
        self._handle = sock.dup()
        if self._aborted:
            self.hang_up()

    @contextlib.contextmanager
    def limited(self) -> Iterator[None]:
        """Break the connection off when what is done inside takes too long."""
        timer = threading.Timer(self._answer, self._too_late)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _too_late(self) -> None:
        self.late = True
        self.hang_up()


def _refusal(host: str, address: str) -> str:
    shown = host if host.strip("[]") == address else f"{host}, which is {address}"
    return f"the address is private: {shown}"
