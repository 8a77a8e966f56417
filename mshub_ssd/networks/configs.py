"""Configurations as plain data, for JSON, and back. NumPy only, once one is read."""

from __future__ import annotations

import dataclasses
import functools
import math
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

from mshub_ssd.errors import IntegrityError, UsageError

__all__ = ["config_from_dict", "config_to_dict"]

_MAX_DEPTH = 6


def config_to_dict(config: Any) -> dict[str, Any]:
    """A network's configuration as plain data.

    Raises:
        UsageError: It is not one of this library's configurations.
    """
    kind = type(config).__name__
    if _kinds().get(kind) is not type(config):
        raise UsageError(
            "this network's configuration cannot be written down",
            expected="one of " + ", ".join(_kinds()),
            got=kind,
            hint="give the network one of these as its attribute config",
        )
    return {"kind": kind, **{f.name: _plain(getattr(config, f.name)) for f in dataclasses.fields(config)}}


def config_from_dict(content: object) -> Any:
    """The configuration that `config_to_dict` wrote down.

    Raises:
        IntegrityError: It is none, or damaged.
    """
    try:
        return _built(content, 0)
    except (TypeError, ValueError) as error:
        if isinstance(error, IntegrityError):
            raise
        raise IntegrityError(f"not the configuration of a network: {error}") from error


@functools.cache
def _kinds() -> dict[str, type[Any]]:
    from mshub_ssd.networks.classification import ClassifierConfig
    from mshub_ssd.networks.ssd.anchors import LevelAnchors, PyramidAnchors
    from mshub_ssd.networks.ssd.config import SSDConfig
    from mshub_ssd.networks.ssd.openmmlab_config import OpenMMLabConfig, StridedAnchors
    from mshub_ssd.networks.yolo import YOLOConfig

    kinds = (SSDConfig, OpenMMLabConfig, ClassifierConfig, YOLOConfig, LevelAnchors, PyramidAnchors, StridedAnchors)
    return {kind.__name__: kind for kind in kinds}


def _plain(value: Any) -> Any:
    if isinstance(value, tuple | list):
        return [_plain(item) for item in value]
    return config_to_dict(value) if dataclasses.is_dataclass(value) else value


def _built(content: object, depth: int) -> Any:
    if not isinstance(content, Mapping) or depth > _MAX_DEPTH:
        raise ValueError("it is something else")
    kind = _kinds().get(str(content.get("kind")))
    if kind is None:
        raise ValueError(f"it is of the kind {str(content.get('kind'))[:40]!r}")
    fields = {field.name for field in dataclasses.fields(kind)}
    if set(content) != {"kind", *fields}:
        raise ValueError(f"a {kind.__name__} has other parts")
    values = {name: _value(content[name], depth + 1) for name in fields}
    for name, hint in get_type_hints(kind).items():
        if not _fits(values[name], hint):
            raise ValueError(f"{kind.__name__}.{name} is {str(values[name])[:40]!r}")
    return kind(**values)


def _fits(value: Any, hint: Any) -> bool:
    """Whether a value is of the type that a configuration's field has."""
    parts = get_args(hint)
    if get_origin(hint) is tuple:
        if not isinstance(value, tuple):
            return False
        kinds = parts[:1] * len(value) if parts[-1] is Ellipsis else parts
        return len(value) == len(kinds) and all(map(_fits, value, kinds))
    if get_origin(hint) is Literal:
        return value in parts
    if hint is float:
        return isinstance(value, int | float) and not isinstance(value, bool)
    if hint in (int, str):
        return type(value) is hint
    # Anchors: of one kind, or of any of ours.
    kind = _kinds().get(getattr(hint, "__name__", ""))
    return isinstance(value, kind or tuple(_kinds().values()))


def _value(value: object, depth: int) -> Any:
    if isinstance(value, Mapping):
        return _built(value, depth)
    if isinstance(value, list):
        if depth > _MAX_DEPTH:
            raise ValueError("it is nested too deeply")
        return tuple(_value(item, depth + 1) for item in value)
    if isinstance(value, float) and not math.isfinite(value):
        raise ValueError("a number is not finite")
    if not isinstance(value, str | int | float):
        raise ValueError(f"{str(value)[:40]!r} is no value")
    return value
