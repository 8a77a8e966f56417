"""The ``mshub`` command, one module per group of commands.

Exit codes: 0 done; 1 findings or a refusal the user can fix, that is any `mshub_ssd.MshubError`; 2 a command line that
makes no sense, which is told before any work is done; 130 interrupted; 141 the reader of the output has gone. Answers
go to stdout, everything else to stderr; with ``--json`` stdout holds one whole JSON document, which is
``{"error": ...}`` after a refusal (``docs/errors.md``), or nothing after an interruption.
"""

from __future__ import annotations

import gc
import os
import sys
from collections.abc import Sequence
from typing import NoReturn

__all__ = ["main"]


def main(args: Sequence[str] | None = None) -> NoReturn:
    """Run the command and leave the process with its exit code.

    Args:
        args: Arguments after the program's name, by default those of the process.
    """
    # The commands multiply no matrices in NumPy, whose threads would spin at first: a fifth of a quick command.
    os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
    # Looking for garbage among what was just imported takes a tenth of a quick command.
    gc.set_threshold(50_000)
    try:
        from mshub_ssd.cli.app import cli
    except KeyboardInterrupt:
        sys.exit(130)
    try:
        cli.main(args=None if args is None else list(args), prog_name="mshub")
    finally:
        gc.freeze()  # nor is anything gained by looking for it when the process ends
    sys.exit(0)
