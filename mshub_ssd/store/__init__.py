"""Urls and a digest in, a verified local file out.

Every path returned here names bytes that were hashed and compared; nothing is ever trusted by its name.

- `fetch`, `fetch_many`: from the caches or the network.
- `cached`: from the caches only.
- `plan`: what `fetch` would do, decided without touching disk or network.
- `verify_local`, `read_verified`: files that lie beside their card.
- `entries`, `caches`: what the caches hold, and where they are.
- `verify`, `prune`, `remove`, `add`: maintenance.
- `find_graph`, `making_graph`, `add_graph`: files made here of verified ones.
- `probe`, `digest_of`: questions about a url, with nothing kept.
- `read_changed`, `read_expected`, `keeping_connections`: small files into memory, if they changed, or of a digest.
- `check_place`, `listing`, `files_at`, `exists`, `read_file`, `write_file`, `remove_file`: places in object stores.
- `hash_file`: digest and size of any file; `warn_of_weak_digest`: what eight digits prove.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.store.blobs import hash_file
from mshub_ssd.store.derived import StoredGraph, add_graph, find_graph, making_graph
from mshub_ssd.store.digests import is_digest, warn_of_weak_digest
from mshub_ssd.store.fetching import FileRequest, Plan, cached, fetch, fetch_many, plan
from mshub_ssd.store.local_files import read_verified, verify_local
from mshub_ssd.store.maintenance import (
    CacheInfo,
    Checked,
    Entry,
    Removal,
    add,
    caches,
    entries,
    prune,
    remove,
    verify,
)
from mshub_ssd.store.probing import Probe, digest_of, probe
from mshub_ssd.store.remote import Listed, check_place, exists, files_at, listing, read_file, remove_file, write_file
from mshub_ssd.store.small import Validator, keeping_connections, read_changed, read_expected

if TYPE_CHECKING:
    from mshub_ssd.store.fetchers import Clients as Clients

__all__ = [
    "CacheInfo",
    "Checked",
    "Entry",
    "FileRequest",
    "Listed",
    "Plan",
    "Probe",
    "Removal",
    "StoredGraph",
    "Validator",
    "add",
    "add_graph",
    "cached",
    "caches",
    "check_place",
    "digest_of",
    "entries",
    "exists",
    "fetch",
    "fetch_many",
    "files_at",
    "find_graph",
    "hash_file",
    "is_digest",
    "keeping_connections",
    "listing",
    "making_graph",
    "plan",
    "probe",
    "prune",
    "read_changed",
    "read_expected",
    "read_file",
    "read_verified",
    "remove",
    "remove_file",
    "verify",
    "verify_local",
    "warn_of_weak_digest",
    "write_file",
]
