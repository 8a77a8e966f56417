"""What all commands share: how answers, refusals and the log reach the user."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import shlex
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
from click.exceptions import Exit

from mshub_ssd.errors import MshubError, UsageError
from mshub_ssd.redaction import scrub
from mshub_ssd.terminal import plain

if TYPE_CHECKING:
    import ctypes

__all__ = [
    "answer",
    "emit",
    "emit_json",
    "emit_raw",
    "failed_entry",
    "guarded_stdout",
    "mshub_command",
    "note",
    "on_terminal",
    "python_command",
    "reporting",
    "tell",
    "tell_failure",
    "without_secrets",
]

_LIBRARY = "mshub_ssd"
_READER_GONE = 141  # `mshub list | head -1`: the code of a process that died of SIGPIPE
_log = logging.getLogger(__name__)


def tell(error: MshubError) -> None:
    """Tell a refusal on stderr."""
    _log.debug("refused here:", exc_info=error)
    click.echo(f"error: {plain(str(error))}", err=True)


def tell_failure(failure: MshubError | click.ClickException, as_json: bool) -> int:
    """Tell why a command ends early, in JSON too where that was asked for; the exit code."""
    if isinstance(failure, MshubError):
        tell(failure)
        facts, code = failure.to_dict(), 1
    else:
        failure.show()
        context = getattr(failure, "ctx", None)
        program = context.command_path if context else "mshub"
        usage = UsageError(failure.format_message(), where=program, hint=f"{program} --help")
        facts, code = {**usage.to_dict(), "code": "usage"}, failure.exit_code
    if as_json:
        with contextlib.suppress(MshubError, Exit):  # stdout is the very thing that fails
            emit_json({"error": facts})
    return code


def failed_entry(error: MshubError, **facts: Any) -> dict[str, Any]:
    """What an answer of several entries has where one was refused, which is told on stderr at once."""
    tell(error)
    return {**facts, "error": error.to_dict()}


def answer(facts: Any, text: str | None, as_json: bool, *, failed: bool = False) -> None:
    """Answer programs in JSON, and people in words.

    Args:
        facts: The answer as JSON has it.
        text: The same in words; None if it has been told, or there is nothing to tell.
        as_json: Whether JSON was asked for.
        failed: End with exit code 1.
    """
    if as_json:
        emit_json(facts)
    elif text is not None:
        emit(text)
    if failed:
        click.get_current_context().exit(1)


def emit(text: str) -> None:
    """Write lines of an answer to stdout.

    Raises:
        UsageError: stdout cannot be written, e.g. because the disk is full.
    """
    _write(plain(text) + "\n")


def emit_raw(text: str) -> None:
    """Write a text to stdout in UTF-8 as it stands, colours and control characters included.

    Raises:
        UsageError: stdout cannot be written.
    """
    _write(text.encode("utf-8", "backslashreplace"))  # names of files need not be UTF-8


def _write(text: str | bytes) -> None:
    try:
        click.echo(text, nl=False)
    except OSError as error:
        _silence_stdout()
        if isinstance(error, BrokenPipeError):
            raise Exit(_READER_GONE) from error
        raise UsageError(f"the output cannot be written: {error.strerror}") from error


def emit_json(value: Any) -> None:
    """Write a whole JSON document to stdout, in ASCII, so that it is the same in every locale."""
    # DEL is the one control character that JSON leaves alone.
    emit_raw(json.dumps(value, indent=2, allow_nan=False).replace("\x7f", "\\u007f") + "\n")


def without_secrets(value: Any) -> Any:
    """A value for JSON without the users and passwords of urls in its texts."""
    if isinstance(value, str):
        return scrub(value)
    if isinstance(value, dict):
        return {key: without_secrets(item) for key, item in value.items()}
    return [without_secrets(item) for item in value] if isinstance(value, list | tuple) else value


def note(text: str) -> None:
    """Tell the user something that is not part of the answer; ``-q`` silences it."""
    if logging.getLogger(_LIBRARY).isEnabledFor(logging.WARNING):
        click.echo(plain(text), err=True)


def on_terminal() -> bool:
    """Whether a person reads stdout."""
    return sys.stdout.isatty()


def mshub_command() -> str:
    """What to type to run this program again, whether or not its environment is active."""
    return "mshub" if _is_ours("mshub") else f"{python_command()} -m mshub_ssd"


def python_command() -> str:
    """What to type for the Python that runs now."""
    return next((name for name in ("python", "python3") if _is_ours(name)), shlex.quote(sys.executable))


def _is_ours(name: str) -> bool:
    import shutil

    found = shutil.which(name)
    # Not resolved: the python of every virtual environment is a link to the same file.
    return found is not None and Path(found).parent == Path(sys.executable).parent


class _Handler(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        try:
            # Tracebacks hold the texts of other libraries' errors, which quote urls.
            click.echo(f"{record.levelname.lower()}: {plain(scrub(self.format(record)))}", err=True)
        except OSError:
            self.handleError(record)


@contextlib.contextmanager
def reporting() -> Iterator[None]:
    """Bring the library's log and Python's warnings to stderr, one line each; as before at the end."""
    logger = logging.getLogger(_LIBRARY)
    handler = _Handler()
    level, propagate = logger.level, logger.propagate
    logger.addHandler(handler)
    logger.setLevel(logging.WARNING)
    logger.propagate = False
    with warnings.catch_warnings():
        # The line of code that warned means nothing to someone at a command line.
        warnings.showwarning = _show_warning
        try:
            yield
        finally:
            logger.removeHandler(handler)
            logger.setLevel(level)
            logger.propagate = propagate


def _show_warning(message: Warning | str, category: type[Warning], *_: Any, **__: Any) -> None:
    if issubclass(category, DeprecationWarning | PendingDeprecationWarning):
        return
    click.echo(f"warning: {plain(scrub(str(message)))}", err=True)


@contextlib.contextmanager
def guarded_stdout() -> Iterator[None]:
    """Keep stdout for the answer while a network is built and run.

    MindSpore writes to stderr, but networks of other packages may print, and native code may write to the
    descriptor itself; both go to stderr. MindSpore's own warnings (deprecated calls, by the dozen) are for
    developers: they come with ``-vv``, or as the user's ``GLOG_v`` says.
    """
    if not logging.getLogger(_LIBRARY).isEnabledFor(logging.DEBUG):
        os.environ.setdefault("GLOG_v", "3")
    sys.stdout.flush()
    answer = os.dup(1)
    os.dup2(2, 1)
    try:
        with contextlib.redirect_stdout(sys.stderr):
            yield
    finally:
        # What native code still holds in its buffer would come out behind the answer.
        _c_library().fflush(None)
        os.dup2(answer, 1)
        os.close(answer)


def _c_library() -> ctypes.CDLL:
    import ctypes

    try:
        return ctypes.CDLL(None)
    except TypeError:  # on Windows a library has a name
        return ctypes.CDLL("ucrtbase")


def _silence_stdout() -> None:
    """Let the interpreter's last flush go nowhere instead of failing once more."""
    try:
        descriptor = os.open(os.devnull, os.O_WRONLY)
        os.dup2(descriptor, sys.stdout.fileno())
        os.close(descriptor)
    except (OSError, ValueError) as error:
        _log.debug("stdout has no descriptor: %s", error)
