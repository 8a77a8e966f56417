"""The name ``mindspore_hub``: modules of the official client's layout, made of this library."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from mshub_ssd.compat import cell_info, official
from mshub_ssd.errors import UsageError

__all__ = ["VERSION", "install_as_mindspore_hub"]

VERSION = "2.0.0"
"""Of the official client whose calls these are."""

_ROOT = "mindspore_hub"
_MARK = "__mshub_ssd__"
_installing = threading.Lock()


def install_as_mindspore_hub(*, any_device: bool = True) -> None:
    """Let ``import mindspore_hub`` find this library, in this process; the same again does nothing.

    Args:
        any_device: Let scripts that ask MindSpore for an Ascend or a GPU where there is none run on the CPU, which is
            said once. Nothing else in the library ever changes MindSpore's device.

    Raises:
        UsageError: The official package was imported before.
    """
    with _installing:
        there = sys.modules.get(_ROOT)
        if there is not None and not hasattr(there, _MARK):
            raise UsageError(
                "mindspore_hub has been imported already, and is another package",
                where=str(getattr(there, "__file__", None) or there),
                expected="a process in which nothing has imported it",
                hint="call install_as_mindspore_hub() before the first `import mindspore_hub`; in a notebook, restart "
                "the kernel",
            )
        if there is None:
            sys.modules.update(_modules())
    if any_device:
        from mshub_ssd.compat import devices

        devices.stand_in()


def _modules() -> dict[str, ModuleType]:
    """The package and its modules, each an attribute of the one above it."""
    contents: dict[str, dict[str, Any]] = {
        "": {
            "hub_list": official.hub_list,
            "load_weights": official.load_weights,
            "set_hub_dir": official.set_hub_dir,
            "get_hub_dir": official.get_hub_dir,
            "CellInfo": cell_info.CellInfo,
            "__version__": VERSION,
        },
        "info": {"CellInfo": cell_info.CellInfo},
        "list": {"hub_list": official.hub_list},
        "load": {"load": official.load, "load_weights": official.load_weights},
        "manage": {"set_hub_dir": official.set_hub_dir, "get_hub_dir": official.get_hub_dir},
        "version": {"__version__": VERSION},
        "deploy": {},
        "deploy.benchmark": {"run_benchmark": _never("run_benchmark", "mshub detect --engine ENGINE")},
        "deploy.service": {"serving": _never("serving", "mshub_ssd.Predictor(uid)")},
        "optimize": {},
        "optimize.transfer": {"transform": _never("transform", "mshub_ssd.compile(uid, engine, precision)")},
        "_utils": {},
        "_utils.auto_rename": {"auto_rename": cell_info.auto_rename},
        "_utils.check": {"ValidMarkdown": cell_info.ValidMarkdown, "sanity_check": cell_info.sanity_check},
    }
    packages = {"", *(name.rpartition(".")[0] for name in contents)}
    made: dict[str, ModuleType] = {}
    for name, values in contents.items():
        full = f"{_ROOT}.{name}".rstrip(".")
        module = ModuleType(full, "Part of mshub_ssd, under the official client's name.")
        spec = ModuleSpec(full, None, origin=__file__, is_package=name in packages)
        vars(module).update(values, __spec__=spec, __package__=spec.parent, __file__=__file__)
        vars(module).update({_MARK: True, "__all__": [one for one in values if not one.startswith("_")]})
        if name in packages:
            vars(module)["__path__"] = []
        made[full] = module
        if name:
            above, _, last = full.rpartition(".")
            setattr(made[above], last, module)
    # As in the official package, where the function hides the module of its name.
    vars(made[_ROOT]).update(load=official.load, __all__=["load", "hub_list", "__version__"])
    return made


def _never(name: str, instead: str) -> Callable[..., Any]:
    def function(*args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(f"the official client never had {name}() either; see {instead}")

    function.__name__ = function.__qualname__ = name
    function.__doc__ = f"Not there, as in the official client; see ``{instead}``."
    return function
