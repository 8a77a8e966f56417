"""Model cards: text in, objects out; pure, no network.

The names are loaded on first use, because listing needs only the light `mshub_ssd.cards.names`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mshub_ssd.lazy import exports

if TYPE_CHECKING:
    from mshub_ssd.cards.composing import MAX_NODES
    from mshub_ssd.cards.fields import ASSET_FIELDS, FIELDS, FORMS, Field
    from mshub_ssd.cards.metrics import METRIC_KEYS, Entry, parse_metric, read_evaluation, read_value
    from mshub_ssd.cards.model import DIGEST, Asset, Card, FrozenDict, Metric, NetworkRef, Span, Version
    from mshub_ssd.cards.names import is_card_name, natural_key, valid_uid, version_key
    from mshub_ssd.cards.nodes import MapNode, Node, Problem, Scalar, SeqNode
    from mshub_ssd.cards.parse import Examination, examine_card, parse_card, read_card, read_card_with_text
    from mshub_ssd.cards.patterns import figure_value_pattern, figures_pattern
    from mshub_ssd.cards.showing import Uids, shape_text
    from mshub_ssd.cards.source import MAX_BYTES, read_bytes
    from mshub_ssd.cards.tasks import (
        Task,
        find_task,
        is_kind,
        kin_of,
        known_tasks,
        matching_tasks,
        named_task,
        search_words,
        task_of,
        told_task,
    )
    from mshub_ssd.cards.writing import card_text, escaped, folded, template, yaml_value

_HOMES = {
    "ASSET_FIELDS": "fields",
    "FIELDS": "fields",
    "FORMS": "fields",
    "Field": "fields",
    "METRIC_KEYS": "metrics",
    "Entry": "metrics",
    "parse_metric": "metrics",
    "read_evaluation": "metrics",
    "read_figure": "metrics",
    "read_value": "metrics",
    "DIGEST": "model",
    "Asset": "model",
    "Card": "model",
    "FrozenDict": "model",
    "Metric": "model",
    "NetworkRef": "model",
    "Span": "model",
    "Version": "model",
    "is_card_name": "names",
    "natural_key": "names",
    "valid_uid": "names",
    "version_key": "names",
    "Examination": "parse",
    "examine_card": "parse",
    "parse_card": "parse",
    "read_card": "parse",
    "read_card_with_text": "parse",
    "MapNode": "nodes",
    "Node": "nodes",
    "Problem": "nodes",
    "Scalar": "nodes",
    "SeqNode": "nodes",
    "figure_value_pattern": "patterns",
    "figures_pattern": "patterns",
    "Uids": "showing",
    "shape_text": "showing",
    "MAX_BYTES": "source",
    "MAX_NODES": "composing",
    "read_bytes": "source",
    "Task": "tasks",
    "find_task": "tasks",
    "is_kind": "tasks",
    "kin_of": "tasks",
    "known_tasks": "tasks",
    "matching_tasks": "tasks",
    "named_task": "tasks",
    "search_words": "tasks",
    "task_of": "tasks",
    "told_task": "tasks",
    "card_text": "writing",
    "escaped": "writing",
    "folded": "writing",
    "template": "writing",
    "yaml_value": "writing",
}

__all__ = [
    "ASSET_FIELDS",
    "DIGEST",
    "FIELDS",
    "FORMS",
    "MAX_BYTES",
    "MAX_NODES",
    "METRIC_KEYS",
    "Asset",
    "Card",
    "Entry",
    "Examination",
    "Field",
    "FrozenDict",
    "MapNode",
    "Metric",
    "NetworkRef",
    "Node",
    "Problem",
    "Scalar",
    "SeqNode",
    "Span",
    "Task",
    "Uids",
    "Version",
    "card_text",
    "escaped",
    "examine_card",
    "figure_value_pattern",
    "figures_pattern",
    "find_task",
    "folded",
    "is_card_name",
    "is_kind",
    "kin_of",
    "known_tasks",
    "matching_tasks",
    "named_task",
    "natural_key",
    "parse_card",
    "parse_metric",
    "read_bytes",
    "read_card",
    "read_card_with_text",
    "read_evaluation",
    "read_figure",
    "read_value",
    "search_words",
    "shape_text",
    "task_of",
    "template",
    "told_task",
    "valid_uid",
    "version_key",
    "yaml_value",
]

__getattr__ = exports(__name__, _HOMES)
