"""Ray and PyArrow, or what to install."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mshub_ssd.errors import MissingDependencyError, install_hint

__all__ = ["needing_ray"]

# By what they are imported as; pandas and fsspec are Ray Data's.
_PACKAGES = {"ray", "pyarrow", "pandas", "fsspec"}


@contextmanager
def needing_ray(purpose: str) -> Iterator[None]:
    """Say what to install where an import inside fails.

    Args:
        purpose: What needs it.

    Raises:
        MissingDependencyError: Ray Data, or what it needs, is not installed.
    """
    try:
        yield
    except ImportError as error:
        package = (error.name or "").partition(".")[0]
        if package not in _PACKAGES:
            raise
        raise MissingDependencyError(f"{purpose} needs {package}: {error}", hint=install_hint("ray")) from error
