"""The command line, as tests call it: in this process, in one of its own, in one that Ctrl-C can end."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result
from faultserver import PATIENCE

import mshub_ssd
from mshub_ssd.cli.app import cli

SOURCE = Path(mshub_ssd.__file__).parent.parent

# Nothing but an interruption ends the command while a server is silent.
UNHURRIED = f"""
from mshub_ssd.cli import main
from mshub_ssd.store import policy
with policy.override_policy(read={PATIENCE}, answer={PATIENCE}, stall={PATIENCE}):
    main()
"""


def run(*args: object) -> Result:
    """The command in this process; a bug's exception comes through."""
    result = CliRunner().invoke(cli, [str(arg) for arg in args], prog_name="mshub")
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    return result


def answer(*args: object) -> Any:
    """The JSON answer of a command that succeeds and has nothing else to say."""
    result = run(*args, "--json")
    assert (result.exit_code, result.stderr) == (0, "")
    return json.loads(result.stdout)


def refused(*args: object, code: int = 1) -> str:
    """What a command says that refuses; it says nothing else."""
    result = run(*args)
    assert (result.exit_code, result.stdout) == (code, ""), result.output
    assert "Traceback" not in result.stderr
    return result.stderr


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(SOURCE), **more}


def process(*args: object, prefix: tuple[str, ...] = (), **options: Any) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own."""
    command = [sys.executable, *prefix, "-m", "mshub_ssd", *map(str, args)]
    settings: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "env": environment(), **options}
    return subprocess.run(command, text=True, check=False, timeout=PATIENCE, **settings)


def started(*args: object) -> subprocess.Popen[str]:
    """The command in a process that may be interrupted."""
    return subprocess.Popen(
        [sys.executable, "-c", UNHURRIED, *map(str, args)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
        # A shell's background jobs ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def interrupt(pid: int, ended: Callable[[], bool]) -> int:
    """Press Ctrl-C until a process ends, and tell how often.

    Python looks for signals between two instructions. One that comes after that, before a call into the system, is
    noticed at the end of that call, which waits here for ever: once in some hundred times somebody must press again.
    """
    for presses, patience in enumerate((30, 30, PATIENCE), 1):
        os.kill(pid, signal.SIGINT)
        until = time.monotonic() + patience
        while time.monotonic() < until:
            if ended():
                return presses
            time.sleep(0.0005)
    raise AssertionError("it hangs")


def interrupted(child: subprocess.Popen[str]) -> tuple[str, str]:
    """Press Ctrl-C, and tell what a process says then."""
    interrupt(child.pid, lambda: child.poll() is not None)
    return child.communicate(timeout=PATIENCE)
