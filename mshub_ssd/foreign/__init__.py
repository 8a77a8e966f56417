"""Code of other people's repositories: consent to it, getting it by git at a pinned commit, running it apart."""

from __future__ import annotations

from mshub_ssd.foreign.commits import BRANCHES, commit_of
from mshub_ssd.foreign.consent import Consent, allow, allowed, is_allowed, parse_pin, require, revoke
from mshub_ssd.foreign.links import RepoLink, parse_repo_link

__all__ = [
    "BRANCHES",
    "Consent",
    "RepoLink",
    "allow",
    "allowed",
    "commit_of",
    "is_allowed",
    "parse_pin",
    "parse_repo_link",
    "require",
    "revoke",
]
