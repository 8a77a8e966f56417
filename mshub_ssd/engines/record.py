"""The helper process that writes a network down: ``python -m mshub_ssd.engines.record KEY ARGUMENTS``.

Networks are made of the recorder's layers here, so MindSpore is neither needed nor let in.
"""

from __future__ import annotations

import contextlib
import json
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from mshub_ssd import networks
from mshub_ssd.errors import MshubError, UsageError

__all__ = ["main"]


class _NoMindSpore:
    """Keeps MindSpore out: its import takes longer than all else here, and its layers do not mix with these."""

    def find_spec(self, name: str, path: Any = None, target: ModuleType | None = None) -> None:
        if name.partition(".")[0] == "mindspore":
            raise UsageError(
                "only networks that take their layers from mshub_ssd.networks.backend can be recorded",
                got="a network that imports mindspore",
                hint='engine="mindspore" runs any network',
            )


def main(arguments: Sequence[str]) -> int:
    """Record a network and print it as JSON: its graph and configuration, or the error.

    Args:
        arguments: The architecture's key, and what its constructor is given, as a JSON object with, if need be,
            ``classes``; or ``-`` where that is read from the standard input.

    Returns:
        The exit code: 0, or 1 after an error.
    """
    try:
        # What a network of another package prints is no part of the answer.
        with contextlib.redirect_stdout(sys.stderr):
            told = _record(*_understood(arguments))
    except MshubError as error:
        told = {"error": error.to_dict()}
    sys.stdout.write(json.dumps(told, separators=(",", ":"), allow_nan=False))
    return 1 if "error" in told else 0


def _understood(arguments: Sequence[str]) -> tuple[str, dict[str, Any]]:
    key, text = arguments if len(arguments) == 2 else (*arguments[:1], "{}") if len(arguments) == 1 else ("", "")
    try:
        found = json.loads(sys.stdin.read() if text == "-" else text)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise UsageError(
            "a network's key, and its arguments as a JSON object",
            expected="python -m mshub_ssd.engines.record ssd300 '{\"num_classes\": 3}'",
            got=" ".join(arguments)[:200],
        )
    return key, found


def _record(key: str, arguments: dict[str, Any]) -> dict[str, Any]:
    from mshub_ssd.engines import recording

    sys.meta_path.insert(0, _NoMindSpore())
    networks.use_layers(recording)
    classes = arguments.pop("classes", None)
    network = networks.build(key, card=arguments, classes=classes, where=key)
    config = networks.config_to_dict(getattr(network, "config", None))
    parameters = {parameter.name: (parameter.sides, "float32") for parameter in network.get_parameters()}
    size = config["image_size"]
    try:
        graph = recording.recorded(network, (None, 3, size, size), parameters)
    except MshubError:
        raise
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise recording.not_recordable(f"what {key} does ({type(error).__name__}: {error})") from error
    return {"key": networks.require(key), "graph": graph.to_dict(), "config": config}


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
