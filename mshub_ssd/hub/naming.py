"""From what a caller names to its card: a uid, a card file, or the url of one."""

from __future__ import annotations

import io
import logging
import os
import threading
import time
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit, urlunsplit

from mshub_ssd.errors import ArgumentTypeError, MissingCardError, UsageError
from mshub_ssd.redaction import hide, redact
from mshub_ssd.schemes import is_url

if TYPE_CHECKING:
    from mshub_ssd.cards import Card
    from mshub_ssd.settings import Settings

__all__ = ["CardUrls", "card_file", "raw_url", "uid_of_url"]

_log = logging.getLogger(__name__)

# The official client's words for where its cards lie; the cards are part of this library.
_SOURCES = (None, "local", "gitee", "github")
# Behind these a card's path is its uid.
_ROOTS = ("/mshub_res/assets/", "/hub_models/")
_PAGES = ("blob", "tree", "blame")
_SECONDS = 60.0  # for which a card from a url is not asked for again
_KEPT = 100


class CardUrls:
    """Cards by their urls, each downloaded at most once a minute."""

    def __init__(self) -> None:
        self._found: OrderedDict[str, tuple[float, Card, bytes]] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, url: str, settings: Settings) -> tuple[Card, bytes]:
        """The card at a url, and its bytes.

        Args:
            url: Of a Markdown file, or of GitHub's or Gitee's page that shows one.
            settings: How to download.

        Raises:
            UsageError: It is not the url of a Markdown file.
            TransferError: It cannot be downloaded, or is too large for a card.
            OfflineError: The network is forbidden.
            CardError: What is there is no card.
        """
        from mshub_ssd import store
        from mshub_ssd.cards import MAX_BYTES, parse_card

        with self._lock:
            known = self._found.get(url)
            if known is not None and 0 <= time.monotonic() - known[0] < _SECONDS and not settings.offline:
                return known[1:]
        raw, into = raw_url(url), io.BytesIO()
        uid = uid_of_url(raw)
        store.digest_of(raw, allow_private=True, max_bytes=MAX_BYTES, quiet=True, settings=settings, into=into)
        data = into.getvalue()
        origin = hide(raw).partition("?")[0].partition("#")[0]
        card = parse_card(data, uid=uid, origin=origin)
        with self._lock:
            self._found[url] = (time.monotonic(), card, data)
            self._found.move_to_end(url)
            while len(self._found) > _KEPT:
                self._found.popitem(last=False)
        return card, data


def raw_url(url: str) -> str:
    """Where the text of a file is that a page of GitHub or Gitee shows; any other url as it is."""
    parts = urlsplit(url)
    host, steps = (parts.hostname or "").removeprefix("www."), parts.path.split("/")
    if len(steps) < 6 or parts.port is not None:
        return url
    _, owner, repository, kind, *rest = steps
    if host == "github.com" and kind in (*_PAGES, "raw"):
        return urlunsplit(("https", "raw.githubusercontent.com", "/".join(["", owner, repository, *rest]), "", ""))
    if host == "gitee.com" and kind in _PAGES:
        return urlunsplit(("https", "gitee.com", "/".join(["", owner, repository, "raw", *rest]), "", ""))
    return url


def uid_of_url(url: str) -> str:
    """The uid of the card at a url: its path in the official hub or in ``hub_models``, else the file's name.

    Raises:
        UsageError: It is not the url of a Markdown file.
    """
    from mshub_ssd.cards import valid_uid

    path = unquote(urlsplit(url).path)
    name = path.rpartition("/")[2]
    if not name.lower().endswith(".md") or not name[:-3] or not name.isprintable():
        raise UsageError(
            "this is not the url of a card",
            where=redact(url),
            expected="https://HOST/PATH/NAME.md, or the page of one on GitHub or Gitee",
            hint="give the url of the card's file; a whole registry is added with: mshub registry add NAME URL",
        )
    for root in _ROOTS:
        uid = path.rpartition(root)[2][:-3]
        if root in path and valid_uid(uid):
            return uid
    return name[:-3]


def card_file(name: object, source: str | None) -> Path | None:
    """The card file that a caller means; None where it is a uid or a url.

    Raises:
        UsageError: `source` is not one of the known words.
        ArgumentTypeError: `name` is neither text nor a path.
        MissingCardError: It must be a file, and there is none.
    """
    if source not in _SOURCES:
        raise UsageError(
            "unknown source", expected='None, "local", "gitee" or "github"', got=repr(source), hint="leave it out"
        )
    if not isinstance(name, str | Path):
        wanted = "a uid, the path of a card, or its url"
        raise ArgumentTypeError("a model is named by text", expected=wanted, got=repr(type(name)))
    if source != "local" and isinstance(name, str) and is_url(name):
        return None
    path = _existing(name)
    looks_like_path = isinstance(name, Path) or name.endswith(".md")
    if source == "local" and path is None:
        raise MissingCardError("no such card file", where=str(name), hint="give the path of a .md file")
    return path if source == "local" or (source is None and looks_like_path) else None


def _existing(name: str | Path) -> Path | None:
    """The file of that name, if there is one; what is there and cannot be read is told by whoever reads it."""
    try:
        path = Path(name).expanduser()
        os.lstat(path)
    except (FileNotFoundError, NotADirectoryError, RuntimeError, ValueError):  # RuntimeError: ~ of nobody
        return None
    except OSError as error:
        # Too long for a name, or below a folder that may not be entered: a uid, unless it is surely a path.
        _log.debug("no card file: %r: %s", name, error.strerror)
        return None
    return None if path.is_dir() else path
