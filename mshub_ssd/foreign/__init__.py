"""Code of other people's repositories: consent to it, getting it by git at a pinned commit, running it apart."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.foreign import adapters
from mshub_ssd.foreign.commits import BRANCHES, commit_of, known
from mshub_ssd.foreign.consent import Consent, allow, allowed, is_allowed, parse_pin, require, revoke
from mshub_ssd.foreign.links import RepoLink, parse_repo_link
from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.foreign.calling import build
    from mshub_ssd.foreign.checkout import Checkout, File, folder, listing, obtain
    from mshub_ssd.foreign.importing import ForeignCode, isolated
    from mshub_ssd.foreign.keeping import (
        CheckedCode,
        CodeRemoval,
        StoredCode,
        code_in_caches,
        is_pin,
        prune_code,
        remove_code,
        verify_code,
    )
    from mshub_ssd.foreign.packing import MAX_PIECE, Piece, pack_code, unpack_code

__all__ = [
    "BRANCHES",
    "MAX_PIECE",
    "CheckedCode",
    "Checkout",
    "CodeRemoval",
    "Consent",
    "File",
    "ForeignCode",
    "Piece",
    "RepoLink",
    "StoredCode",
    "adapters",
    "allow",
    "allowed",
    "build",
    "code_in_caches",
    "commit_of",
    "folder",
    "is_allowed",
    "is_pin",
    "isolated",
    "known",
    "listing",
    "obtain",
    "pack_code",
    "parse_pin",
    "parse_repo_link",
    "prune_code",
    "remove_code",
    "require",
    "revoke",
    "unpack_code",
    "verify_code",
]

_KEEPING = (
    "CheckedCode",
    "CodeRemoval",
    "StoredCode",
    "code_in_caches",
    "is_pin",
    "prune_code",
    "remove_code",
    "verify_code",
)
# What gets code and what runs it is imported once some is wanted.
__getattr__ = exports(
    __name__,
    {
        "ForeignCode": "importing",
        "build": "calling",
        "isolated": "importing",
        **dict.fromkeys(_KEEPING, "keeping"),
        **dict.fromkeys(("MAX_PIECE", "Piece", "pack_code", "unpack_code"), "packing"),
        **dict.fromkeys(("Checkout", "File", "folder", "listing", "obtain"), "checkout"),
    },
)
