"""Addresses by their scheme: those of the web, those of object stores and the like, and what is no address."""

from __future__ import annotations

import re

__all__ = ["KNOWN", "LOCAL", "STORES", "fault_of_store", "host_of", "is_store", "is_url", "is_web", "of"]

STORES = {
    "s3": "s3fs",
    "s3a": "s3fs",
    "gs": "gcsfs",
    "gcs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
    "abfss": "adlfs",
    "oss": "ossfs",
    "oci": "ocifs",
    "tos": "tosfs",
    "hf": "huggingface_hub",
    "hdfs": "pyarrow",
    "webhdfs": "requests",
}
"""Stores whose addresses a card may give, and the package through which fsspec reaches each."""

LOCAL = {
    *("async_wrapper", "asyncwrapper", "asynclocal", "blockcache", "cached", "dask", "data", "dir", "dvc", "file"),
    *("filecache", "generic", "git", "libarchive", "local", "pyscript", "reference", "simplecache", "tar", "zip"),
}
"""What fsspec has for files of this machine, or around something else; no address here, since paths have rules."""

KNOWN = "http, https, s3, gs, az, abfs, hdfs, or another one that fsspec knows"

# One letter is a drive.
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+._-]+(?=://)")
_END_OF_AUTHORITY = re.compile(r"[/\\?#]")
_BUCKET = re.compile(r"[\w.-]+")
_ACCOUNT = re.compile(r"(?:[\w$-]+@)?[\w.-]+")
_HOST = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
# The stores whose addresses begin with a machine, and those with a container in front of one.
_HOSTS = {"hdfs", "webhdfs", "ftp", "sftp", "ssh", "smb", "webdav"}
_ACCOUNTS = {"az", "abfs", "abfss", "oci"}


def of(text: object) -> str:
    """The scheme of ``scheme://...`` in small letters, empty for anything else."""
    found = _SCHEME.match(text) if isinstance(text, str) else None
    return found[0].lower() if found else ""


def is_web(text: object) -> bool:
    """Whether a text is an http or https url, and no path or name."""
    return of(text) in ("http", "https")


def is_store(text: object) -> bool:
    """Whether a text has a scheme of something else than the web: of an object store, or of nothing that is known."""
    return of(text) not in ("", "http", "https")


def is_url(text: object) -> bool:
    """Whether a text is an address, and no path or name."""
    return of(text) != ""


def host_of(url: str) -> tuple[str, int] | None:
    """The machine and port (0 where it gives none) that a store's address names; None where it names a bucket."""
    scheme = of(url)
    if scheme not in _HOSTS:
        return None
    host, colon, port = _authority(url).rpartition("@")[2].rpartition(":")
    name = host if colon and port.isdecimal() else _authority(url).rpartition("@")[2]
    return name.strip("[]"), int(port) if colon and port.isdecimal() else 0


def fault_of_store(url: str, *, file: bool = False) -> str | None:
    """What is wrong with the address of an object store, to go on behind its name; None if nothing is.

    Args:
        url: The address.
        file: Whether it must name a file in a bucket, and neither a bucket nor a folder.
    """
    scheme, authority = of(url), _authority(url)
    if scheme in LOCAL:
        return f"has the scheme {scheme}:"
    if any(ord(char) < 32 or ord(char) == 127 for char in url):
        return "holds a control character"
    form = _ACCOUNT if scheme in _ACCOUNTS else _HOST if scheme in _HOSTS else _BUCKET
    if not authority and scheme != "memory":
        return "names no bucket"
    if authority and not form.fullmatch(authority):
        return "holds a user or password" if "@" in url or ":" in authority else "names no bucket"
    if file and (url.endswith("/") or "/" not in url.partition("://")[2]):
        return "names no file"
    return None


def _authority(url: str) -> str:
    return _END_OF_AUTHORITY.split(url.partition("://")[2], maxsplit=1)[0]
