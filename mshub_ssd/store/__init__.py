"""Urls and a digest in, a verified local file out.

Every path returned here names bytes that were hashed and compared; nothing is ever trusted by its name.

- `fetch`, `fetch_many`: from the caches or the network.
- `cached`: from the caches only.
- `plan`: what `fetch` would do, decided without touching disk or network.
- `verify_local`, `read_verified`: files that lie beside their card.
- `entries`, `roots`: what the caches hold, and where they are.
- `verify`, `prune`, `remove`, `add`: keeping them.
- `probe`, `digest_of`: questions about a url, with nothing kept.
"""

from __future__ import annotations

from mshub_ssd.store.beside import read_verified, verify_local
from mshub_ssd.store.fetching import Plan, Wanted, cached, fetch, fetch_many, plan
from mshub_ssd.store.keeping import (
    Checked,
    Entry,
    Removal,
    Root,
    add,
    entries,
    prune,
    remove,
    roots,
    verify,
)
from mshub_ssd.store.probing import Probe, digest_of, probe

__all__ = [
    "Checked",
    "Entry",
    "Plan",
    "Probe",
    "Removal",
    "Root",
    "Wanted",
    "add",
    "cached",
    "digest_of",
    "entries",
    "fetch",
    "fetch_many",
    "plan",
    "probe",
    "prune",
    "read_verified",
    "remove",
    "roots",
    "verify",
    "verify_local",
]
