"""One model as a server: an ASGI app with dynamic batching, limits, metrics and a page; `run` is `mshub serve`.

The extra ``serve`` brings what it needs; docs/serving.md describes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.errors import needing_extra
from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.serve.app import create_app as create_app
    from mshub_ssd.serve.limits import Limits as Limits
    from mshub_ssd.serve.server import run as run

__all__ = ["Limits", "create_app", "run"]

_load = exports(__name__, {"Limits": "limits", "create_app": "app", "run": "server"})

if not TYPE_CHECKING:  # with it, checkers would take any name for one of ours

    def __getattr__(name: str) -> object:
        with needing_extra("serving"):
            return _load(name)
