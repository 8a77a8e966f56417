"""Adapters: what code of others needs that is not there any more, given to that code alone.

A recipe lists the adapters of its code by name. To add one, write a function in the module of its kind
(`mindspore_names`, `numpy_names`, `packages`, `scripts`) and enter it with a line that says what it does::

    @adapter("ms_function", "`ms_function`, gone since MindSpore 2.3: a decorator that changes nothing")
    def _ms_function(around: Surroundings) -> None:
        around.missing("mindspore", ms_function=lambda: _as_it_is)

It changes what the code finds around itself (`Surroundings`): names that modules lack (``missing``) or that mean
something else (``replace``), made when that code imports the module; whole modules (``packages``); files of another
name (``files``), further folders (``folders``), and what surrounds each import and call (``contexts``). An adapter
never changes a real module: the code is handed a view of it. Graph mode looks into views, too, but reads the source
of what it finds there: functions of an adapter must be plain functions in a file. A parameter comes after a colon:
``@adapter("stub:PACKAGE", …)`` is called with what stands there. `python tests/test_foreign_adapters.py` writes the
table in docs/adapters.md.
"""

from __future__ import annotations

from collections.abc import Sequence

# Imported so that their adapters are entered.
from mshub_ssd.foreign.adapters import mindspore_names, numpy_names, packages, scripts
from mshub_ssd.foreign.adapters.surroundings import Surroundings, describe, helping
from mshub_ssd.foreign.adapters.surroundings import surroundings as _surroundings

__all__ = [
    "Surroundings",
    "describe",
    "helping",
    "mindspore_names",
    "numpy_names",
    "packages",
    "scripts",
    "surroundings",
]


def surroundings(names: Sequence[str]) -> Surroundings:
    """What code finds around itself with these adapters, and with MindSpore's context out of reach.

    Raises:
        UsageError: There is no such adapter.
    """
    return _surroundings(names, always=(mindspore_names.context_stays,))
