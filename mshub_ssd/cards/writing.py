"""From values to the text of a card, each written as its kind of field is read.

What was written is read again before it is handed out, so a card either says what it was given or is refused.
"""

from __future__ import annotations

import datetime
import json
import re
import textwrap
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from mshub_ssd.cards.composing import CONTROL
from mshub_ssd.cards.fields import ASSET_FIELDS, FIELDS, FORMS, Field
from mshub_ssd.cards.metrics import parse_metric
from mshub_ssd.cards.model import Card
from mshub_ssd.cards.parse import examine_card
from mshub_ssd.errors import UsageError

__all__ = ["card_text", "escaped", "folded", "template", "yaml_value"]

_COLUMNS = 120
_MARKS = re.compile(r"([\\`*_\[\]<>#|!~])")
_INDENT = "    "
# What every YAML reader takes for text without quotes. No colon but in an address, no comma, no bracket but ().
_PLAIN = re.compile(r"(?:https?://)?[A-Za-z](?:[A-Za-z0-9_./@()+-]| (?=[A-Za-z0-9(]))*")
_WORDS = {"y", "n", "yes", "no", "on", "off", "true", "false", "null", "none", "nil"}
# Letters of some scripts and faces are joined by these; other characters without a width have no place in a card.
_JOINERS = "\u200c\u200d"


def card_text(title: str, values: Mapping[str, Any], body: str = "", *, spaced: bool = True) -> str:
    """A whole card.

    Args:
        title: Its heading.
        values: By the keys of `FIELDS`; None and what is empty is left out. A text may not run over several lines: line
            ends become spaces. `evaluation` is a mapping from metric to number, or to a text with a spread such as
            ``0.243 ± 0.002``; `network` a key or a mapping with `name`, `asset` a list of mappings by the keys of
            `ASSET_FIELDS`.
        body: The text behind the front matter.
        spaced: Whether empty lines part the fields, as in published cards.

    Raises:
        UsageError: A value does not fit its field, or holds what no card can.
    """
    unknown = [key for key in values if key not in FIELDS]
    if unknown:
        raise UsageError("a card has no such field", expected=", ".join(FIELDS), got=repr(unknown[0]))
    given = {key: value for key in FIELDS if not _is_empty(value := values.get(key))}
    title = folded(title)
    for key, text in (("title", title), *given.items()):
        _refuse_controls(key, text)
    lines = [_field(FIELDS[key], value) for key, value in given.items()]
    gap = "\n\n" if spaced else "\n"
    text = gap.join([f"# {title}", "---", *lines, "---"])
    text += f"\n\n{body.strip()}\n" if body.strip() else "\n"
    _compare(text, title, given)
    return text


def template() -> str:
    """A small card with every field that helps somebody to choose and to load it, and examples as values."""
    asset = {key: field.examples[0] for key, field in ASSET_FIELDS.items() if field.examples}
    values = {key: field.examples[0] for key, field in FIELDS.items() if _is_usual(field) and field.examples}
    values["asset"] = [asset]
    if not isinstance(values.get("evaluation", {}), Mapping):
        values["evaluation"] = {"mAP": 25.17}
    return card_text(str(values["model-name"]), values, spaced=False)


def _is_usual(field: Field) -> bool:
    return field.required or field.official or field.key in ("train-dataset", "evaluation")


def yaml_value(field: Field, value: Any) -> str:
    """A value as it stands behind its key; one that takes lines of its own begins with a line end."""
    return _WRITERS[field.kind](value)


def folded(text: str) -> str:
    """A text in one line, with single spaces."""
    return " ".join(text.split())


def _field(field: Field, value: Any) -> str:
    try:
        text = yaml_value(field, value)
    except (TypeError, ValueError, AttributeError, KeyError) as error:
        raise _misfit(field.key, FORMS[field.kind], value) from error
    return f"{field.key}:{'' if text.startswith(chr(10)) else ' '}{text}"


def _misfit(key: str, expected: str, value: Any, message: str = "") -> UsageError:
    message = message or f"{key} cannot be written to a card"
    return UsageError(message, where=key, expected=expected, got=repr(value)[:200], hint=f"correct {key}")


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str | Sequence | Mapping) and not value)


def _refuse_controls(key: str, value: Any) -> None:
    """Refuse characters that YAML has no room for, or that nobody sees."""
    if isinstance(value, str):
        odd = [char for char in value if not char.isprintable() and not char.isspace() and _is_odd(char)]
        if odd:
            message = f"{key} holds a character that cannot be seen, or that no card can hold"
            raise _misfit(key, "text", odd[0], message)
    elif isinstance(value, Mapping):
        for one in (*value, *value.values()):
            _refuse_controls(key, one)
    elif isinstance(value, Iterable):
        for one in value:
            _refuse_controls(key, one)


def _is_odd(char: str) -> bool:
    hidden = unicodedata.category(char) in ("Cc", "Cf", "Cs") and char not in _JOINERS
    return hidden or CONTROL.match(char) is not None


def _quoted(value: str) -> str:
    # JSON's texts are YAML's; a text of another kind of line end would be folded by YAML, so it is escaped.
    text = json.dumps(value, ensure_ascii=False)
    return re.sub("[\x85\u2028\u2029]", lambda found: f"\\u{ord(found[0]):04x}", text)


def _text(value: str) -> str:
    text = folded(value)
    plain = _PLAIN.fullmatch(text) and text.lower() not in _WORDS
    return text if plain else _quoted(text)


def _exact(value: str) -> str:
    return value if _PLAIN.fullmatch(value) and value.lower() not in _WORDS else _quoted(value)


def _switch(value: bool) -> str:
    if not isinstance(value, bool):
        raise TypeError(value)
    return str(value)


def _date(value: datetime.date | str) -> str:
    return _quoted(value if isinstance(value, str) else value.isoformat())


def _number(value: float) -> str:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(value)
    return repr(value)


def _whole(value: int) -> str:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(value)
    return str(value)


def _shape(value: Sequence[Any]) -> str:
    return json.dumps(value)


def _datasets(value: str | Sequence[str]) -> str:
    names = [folded(name) for name in ([value] if isinstance(value, str) else value)]
    # Of a single text the parts between commas and bars are names of their own.
    alone = len(names) == 1 and not set(names[0]) & set("|,")
    return _text(names[0]) if alone else _listed(names)


def _evaluation(value: Mapping[str, float | str]) -> str:
    return "".join(f"\n{_INDENT}{_text(name)}: {_figure_text(figure)}" for name, figure in value.items())


def _figure_text(value: float | str) -> str:
    if not isinstance(value, str):
        return _number(value)
    _figure(value)
    return _quoted(folded(value))


def _figure(value: float | str) -> tuple[float, float | None]:
    """A figure's number and its spread.

    Raises:
        ValueError: It is a text in which there is no number.
    """
    if not isinstance(value, str):
        return float(value), None
    metric = parse_metric(f"x: {folded(value)}")
    if metric is None:
        raise ValueError(value)
    return metric.value, metric.spread


def _network(value: str | Mapping[str, Any]) -> str:
    if isinstance(value, str):
        return _text(value)
    rest = {key: one for key, one in value.items() if key != "name"}
    rows = [("name", _text(value["name"])), *((_text(key), _argument(one)) for key, one in rest.items())]
    return rows[0][1] if not rest else "".join(f"\n{_INDENT}{key}: {text}" for key, text in rows)


def _argument(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{{', '.join(f'{_quoted(key)}: {_argument(one)}' for key, one in value.items())}}}"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_argument, value))}]"
    if isinstance(value, str):
        return _quoted(value)
    return (
        {None: "~", True: "true", False: "false"}[value]
        if value is None or value is True or value is False
        else (_number(value))
    )


def _listed(names: Sequence[str]) -> str:
    """A list in one line, or in several where it is long."""
    items = [_quoted(folded(name)) for name in names]
    line = f"[{', '.join(items)}]"
    if len(line) + len("train-dataset: ") <= _COLUMNS:
        return line
    lines, room = [""], _COLUMNS - len(_INDENT)
    for item in items:
        if lines[-1] and len(lines[-1]) + len(item) + 2 > room:
            lines.append("")
        lines[-1] += f"{' ' if lines[-1] else ''}{item},"
    return "[\n" + textwrap.indent("\n".join(lines), _INDENT) + "\n]"


def _assets(value: Sequence[Mapping[str, Any]]) -> str:
    blocks = []
    for one in value:
        rows = [f"{key}: {yaml_value(field, one[key])}" for key, field in ASSET_FIELDS.items() if one.get(key)]
        blocks.append("\n- " + "\n  ".join(rows))
    return "".join(blocks)


_WRITERS: dict[str, Callable[[Any], str]] = {
    "text": _text,
    "version": lambda value: _quoted(folded(value)),
    "link": _exact,
    "switch": _switch,
    "date": _date,
    "shape": _shape,
    "datasets": _datasets,
    "evaluation": _evaluation,
    "network": _network,
    "classes": _listed,
    "assets": _assets,
    "file_link": _exact,
    "digest": _quoted,
    "size": _whole,
}


def _compare(text: str, title: str, given: Mapping[str, Any]) -> None:
    """Read a card that was just written, and refuse it where it does not say what it was given."""
    found = examine_card(text, uid="card")
    if found.problems or found.card is None:
        problem = found.problems[0]
        line = text.splitlines()[problem.span.line - 1] if problem.span else title
        raise _misfit(line.partition(":")[0].strip(), problem.expected or "text", line, problem.message)
    card = found.card
    if card.title != title:
        raise _misfit("title", "a heading of one line", title)
    for key, value in given.items():
        if _said(card, key) != _meant(FIELDS[key], value):
            raise _misfit(key, FORMS[FIELDS[key].kind], value)


def _said(card: Card, key: str) -> Any:
    field = FIELDS[key]
    if not field.attribute:
        return card.extra.get(key)
    value = getattr(card, field.attribute)
    if field.kind == "evaluation":
        return [(metric.name, metric.value, metric.spread) for metric in value]
    if field.kind == "network":
        return value and (value.name, _frozen(value.arguments))
    if field.kind == "assets":
        return [
            {name: found for name, one in ASSET_FIELDS.items() if (found := getattr(x, one.attribute))} for x in value
        ]
    return value


def _meant(field: Field, value: Any) -> Any:
    """What a reader should find where a value was written."""
    kind = field.kind
    if kind in ("text", "version"):
        return folded(value)
    if kind == "date":
        return value if isinstance(value, datetime.date) else datetime.date.fromisoformat(value)
    if kind == "digest":
        return value.lower()
    if kind == "evaluation":
        return [(folded(name), *_figure(figure)) for name, figure in value.items()]
    if kind == "network":
        named = {"name": value} if isinstance(value, str) else value
        return folded(named["name"]), _frozen({key: one for key, one in named.items() if key != "name"})
    if kind in ("datasets", "classes"):
        return tuple(folded(one) for one in ([value] if isinstance(value, str) else value))
    if kind == "assets":
        return [{key: _meant(ASSET_FIELDS[key], one[key]) for key in ASSET_FIELDS if one.get(key)} for one in value]
    return _frozen(value)


def _frozen(value: Any) -> Any:
    """A value with lists as tuples and mappings as dictionaries, as cards are read."""
    if isinstance(value, Mapping):
        return {key: _frozen(one) for key, one in value.items()}
    return tuple(map(_frozen, value)) if isinstance(value, list | tuple) else value


def escaped(text: str) -> str:
    """A text in which Markdown finds no marks of its own."""
    return _MARKS.sub(r"\\\1", text)
