"""One tree for everything that can go wrong.

    MshubError
    ├── CardError               (ValueError)       a model card cannot be read
    ├── UnknownModelError       (KeyError)         no card or network of that name
    │   └── MissingCardError    (FileNotFoundError)    no card file at that path
    ├── IntegrityError          (ValueError)       bytes that are not what the card promises
    ├── TransferError           (ConnectionError)  a download that could not be completed
    ├── OfflineError            (ConnectionError)  the network is needed and forbidden
    ├── DiskSpaceError          (OSError)          no room for a download
    ├── CheckpointError         (ValueError)       a checkpoint file that cannot be read
    ├── MismatchError           (ValueError)       a checkpoint that belongs to another network
    ├── UnsupportedFormatError  (ValueError)       an asset of a format that cannot be loaded
    ├── ImageError              (ValueError)       something that is not a picture
    ├── UsageError              (ValueError)       an argument that makes no sense
    │   └── ArgumentTypeError   (TypeError)            an argument of the wrong type
    ├── MissingDependencyError  (ImportError)      an optional package is not installed
    ├── ForeignCodeError        (RuntimeError)     code of a repository that fails where it is imported or called
    └── TrustError              (PermissionError)  code of others that may not run, or did what it may not do

Each class also inherits the built-in a caller would expect, so existing ``except`` clauses keep working, and has a
`code` that stays the same for ever; ``docs/errors.md`` explains them one by one.
"""

from __future__ import annotations

import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import ClassVar

from mshub_ssd.redaction import scrub

__all__ = [
    "AnnotationError",
    "ArgumentTypeError",
    "CardError",
    "CheckpointError",
    "DiskSpaceError",
    "ForeignCodeError",
    "ImageError",
    "IntegrityError",
    "MismatchError",
    "MissingCardError",
    "MissingDependencyError",
    "MshubError",
    "OfflineError",
    "TransferError",
    "TrustError",
    "UnknownModelError",
    "UnsupportedFormatError",
    "UsageError",
    "WeakDigestWarning",
    "install_hint",
    "is_installed",
    "needing_extra",
]


class MshubError(Exception):
    """Root of all errors of this library.

    Args:
        message: What went wrong, in one sentence.
        where: File, line, url or parameter it happened at.
        expected: What would have been right.
        got: What was found instead.
        hint: What to do next, if possible a command to type.

    ``str(error)`` is the plain text of all of these, one per line.

    Attributes:
        code: What programs tell the kinds of errors by, in Python and in JSON; it never changes.
    """

    code: ClassVar[str] = "mshub-error"

    def __init__(
        self,
        message: str,
        *,
        where: str | None = None,
        expected: str | None = None,
        got: str | None = None,
        hint: str | None = None,
    ) -> None:
        # Whoever raises may quote what a user or a card gave: no url in it shall show a password.
        message = scrub(message)
        super().__init__(message)
        self.message = message
        self.where = where and scrub(where)
        self.expected = expected and scrub(expected)
        self.got = got and scrub(got)
        self.hint = hint and scrub(hint)

    def __str__(self) -> str:
        rows = [("where", self.where), ("expected", self.expected), ("got", self.got), ("next", self.hint)]
        return scrub("\n".join([self.message, *(f"  {name}: {text}" for name, text in rows if text)]))

    def to_dict(self) -> dict[str, str | None]:
        """All of it for JSON, as the command line tells it with ``--json``."""
        return {name: getattr(self, name) for name in ("code", "message", "where", "expected", "got", "hint")}

    def __reduce__(self) -> tuple[object, ...]:
        # Keyword arguments do not survive the default pickling of exceptions.
        return (_rebuild, (type(self), self.message, self.__dict__.copy()))


def _rebuild(kind: type[MshubError], message: str, state: dict[str, object]) -> MshubError:
    error = kind(message)
    error.__dict__.update(state)
    return error


class CardError(MshubError, ValueError):
    """A model card that cannot be read.

    Attributes:
        line: 1-based line of the fault, or None.
        column: 1-based column of the fault, or None.
    """

    code: ClassVar[str] = "invalid-card"

    line: int | None = None
    column: int | None = None


class UnknownModelError(MshubError, KeyError):
    """No model card, or no network, of that name."""

    code: ClassVar[str] = "unknown-model"


class MissingCardError(UnknownModelError, FileNotFoundError):
    """No card file at the path that was given."""

    code: ClassVar[str] = "missing-card"


class IntegrityError(MshubError, ValueError):
    """Bytes that are not the ones the card promises."""

    code: ClassVar[str] = "integrity"


class TransferError(MshubError, ConnectionError):
    """A download that could not be completed."""

    code: ClassVar[str] = "transfer"


class OfflineError(MshubError, ConnectionError):
    """The network is needed, and ``MSHUB_OFFLINE`` forbids it."""

    code: ClassVar[str] = "offline"


class DiskSpaceError(MshubError, OSError):
    """Not enough room on the disk for a download."""

    code: ClassVar[str] = "disk-space"


class CheckpointError(MshubError, ValueError):
    """A checkpoint file that cannot be read."""

    code: ClassVar[str] = "invalid-checkpoint"


class MismatchError(MshubError, ValueError):
    """A checkpoint whose parameters are not those of the network.

    Attributes:
        report: The full account, a `mshub_ssd.checkpoints.LoadReport`.
    """

    code: ClassVar[str] = "mismatch"

    report: object = None


class UnsupportedFormatError(MshubError, ValueError):
    """An asset of a format that cannot be loaded here."""

    code: ClassVar[str] = "unsupported-format"


class ImageError(MshubError, ValueError):
    """Something that is not a picture this library can read."""

    code: ClassVar[str] = "invalid-image"


class AnnotationError(MshubError, ValueError):
    """Annotations of pictures that cannot be read, or say what makes no sense."""

    code: ClassVar[str] = "invalid-annotations"


class UsageError(MshubError, ValueError):
    """An argument that makes no sense."""

    code: ClassVar[str] = "invalid-argument"


class ArgumentTypeError(UsageError, TypeError):
    """An argument of a type that makes no sense."""

    code: ClassVar[str] = "argument-type"


class MissingDependencyError(MshubError, ImportError):
    """An optional package is not installed."""

    code: ClassVar[str] = "missing-dependency"


class ForeignCodeError(MshubError, RuntimeError):
    """Code of a repository that fails where it is imported or called."""

    code: ClassVar[str] = "foreign-code"


class TrustError(MshubError, PermissionError):
    """Code of others that may not run here, or that did what it may not do."""

    code: ClassVar[str] = "trust"


class WeakDigestWarning(UserWarning):
    """A card gives fewer than the 64 digits of a SHA-256, and a file was believed because of them."""


# Packages of one feature: the name something is imported by, and the extra that brings it.
_FEATURES = {
    "httptools": "serve",
    "matplotlib": "evaluate",
    "prometheus_client": "serve",
    "pycocotools": "evaluate",
    "python_multipart": "serve",
    "starlette": "serve",
    "uvicorn": "serve",
}

# What extras of engines bring: the name something is imported by, and the package's.
_EXTRA = {
    "PIL": "pillow",
    "cv2": "opencv-python-headless",
    "mindspore": "mindspore",
    "numpy": "numpy",
    "safetensors": "safetensors",
}


def is_installed(package: str) -> bool:
    """Whether a package can be imported, as far as that can be told without doing it."""
    try:
        return importlib.util.find_spec(package) is not None
    except (ImportError, ValueError):  # a module put in its place may have no spec
        return sys.modules.get(package) is not None


def install_hint(extra: str) -> str:
    """What to type for an extra; MindSpore's is of no use on a Python for which MindSpore has no package."""
    if extra == "mindocr":
        return "MindOCR 0.5 has no extra: it wants Pillow 9.5 or older, and a MindSpore older than 2.10"
    command = f"pip install 'mshub_ssd[{extra}]'"
    if extra == "mindspore" and sys.version_info >= (3, 13):
        return f"{command} under Python 3.10 to 3.12; MindSpore has no package for newer ones"
    return command


@contextmanager
def needing_extra(purpose: str) -> Iterator[None]:
    """Say what to install where an import inside fails; also a decorator.

    Args:
        purpose: What needs the package, e.g. ``reading a picture``.

    Raises:
        MissingDependencyError: A package that extras bring is not installed, or cannot be imported.
    """
    try:
        yield
    except ImportError as error:
        module = (error.name or "").partition(".")[0]
        if module in _FEATURES:
            raise MissingDependencyError(
                f"{purpose} needs {module}: {error}", hint=install_hint(_FEATURES[module])
            ) from error
        package = _EXTRA.get(module)
        if package is None:
            raise
        # Where MindSpore is, its extra keeps NumPy and OpenCV as old as it needs them.
        with_mindspore = package == "mindspore" or is_installed("mindspore")
        raise MissingDependencyError(
            f"{purpose} needs {package}: {error}",
            hint=install_hint("mindspore")
            if with_mindspore
            else "pip install 'mshub_ssd[openvino]', or [onnxruntime] for the smallest one, or [mindspore]",
        ) from error
