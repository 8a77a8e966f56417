"""Properties of the card parser: total, exact about places, and true to what was written."""

from __future__ import annotations

import datetime
import json
import re
import string
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from mshub_ssd.cards import Asset, Metric, NetworkRef, Span, Version, examine_card, parse_card, version_key
from mshub_ssd.cards.names import natural_key
from mshub_ssd.errors import CardError

quick = settings(max_examples=80)


@pytest.fixture(params=["C loader", "pure loader"], autouse=True)
def loader(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    import yaml

    if request.param == "pure loader":
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)
    elif not hasattr(yaml, "CSafeLoader"):
        pytest.skip("yaml was built without its C loader")


def slice_of(text: str, span: Span) -> str:
    """The text a span claims, by a line table of the test's own."""
    starts = [0]
    for found in re.finditer(r"\r\n|\r|\n", text):
        starts.append(found.end())
    return text[starts[span.line - 1] + span.column - 1 : starts[span.end_line - 1] + span.end_column - 1]


def refusal(act: Callable[[], object]) -> CardError | None:
    try:
        act()
    except CardError as error:
        return error
    return None


def read_or_refuse(data: str | bytes) -> None:
    card = examine_card(data, uid="u", path=Path("c.md")).card
    error = refusal(lambda: parse_card(data, uid="u", path=Path("c.md")))
    assert (card is None) == (error is not None)
    if card is None:
        assert error
        assert str(error)
        assert error.hint
        return
    json.dumps(card.to_dict(), allow_nan=False)
    hash(card)
    for span in card.spans.values():
        assert (span.line, span.column) <= (span.end_line, span.end_column)
        assert min(span.line, span.column) >= 1
    for asset in card.assets:
        error = refusal(lambda asset=asset: card.resolve(asset))  # type: ignore[misc]
        assert error is None or error.hint


crumbs = st.sampled_from(
    [
        *("---", "--- ", "---\n", "\n", "\r\n", "\r", " ", "  ", "\t", ": ", ":", "- ", "-", "# ", "[", "]", "{", "}"),
        *(",", "&a", "*a", "!x", "!!int", "|", ">", "'", '"', "\\", "\\0", "\\ud800", "%", "@", "?", "~", "<<", "..."),
        *(
            "evaluation: -\n",
            "asset:\n-\n    ",
            "asset-link: ",
            "asset-sha256: ",
            "network: {name: a, b: ",
            "classes: ",
        ),
        *("\ufeff", "\x00", "\x85", "\u2028", "\u00a0", "é", "\uff1a", "\U0001f600", "\ud800", "1.10", "0x1f", "1e999"),
        *("update-time: ", "2023-2-30", "fine-tunable: ", "input-shape: ", "train-dataset: ", "mAP: ", "<", ">", "a"),
    ]
)


@quick
@given(st.one_of(st.text(), st.lists(crumbs, max_size=40).map("".join)))
@example("---\n- ---\n---")
@example("---\na: '\n---\n")
def test_any_text_gives_a_card_or_a_card_error(text: str) -> None:
    read_or_refuse(text)
    read_or_refuse(f"---\n{text}\n---\n")
    read_or_refuse(f"# T\n\n---\nevaluation: {text}\n---\n{text}")


@quick
@given(st.binary(max_size=200))
def test_any_bytes_give_a_card_or_a_card_error(data: bytes) -> None:
    read_or_refuse(data)
    read_or_refuse(b"---\na: " + data + b"\n---\n")


words = st.text(string.ascii_letters + string.digits + "_-.", min_size=1, max_size=12)
# Text that needs no quotes: starts with a letter, holds no `: ` and no ` #`.
letters = st.characters(categories=["Ll", "Lu", "Lo"], codec="utf-8")
plain_text = st.builds(str.__add__, letters, st.text(letters | st.sampled_from(" .()"), max_size=20)).map(str.rstrip)
# Words the parser reads as "nothing" or as a switch are generated on purpose elsewhere.
plain_text = plain_text.filter(lambda text: text.lower() not in {"null", "no", "none", "na", "nil"})
# Beyond U+FFFF, JSON's escapes are not YAML's.
any_text = st.text(st.characters(codec="utf-8", max_codepoint=0xFFFF, exclude_characters="\x00"), max_size=20)
versions = st.builds("{}.{}".format, st.integers(0, 30), st.integers(0, 30))
metric_name = st.sampled_from(["mAP", "acc", "top1acc", "F1score", "P@1acc", "cfp-fp", "IJBB", "s16multiscale"])
value = st.decimals(0, 1000, places=2).map(str)
digest = st.text("0123456789abcdef", min_size=64, max_size=64) | st.text(string.digits, min_size=64, max_size=64)
break_ = st.sampled_from(["\n", "\r\n", "\r"])


@st.composite
def cards(draw: st.DrawFn) -> tuple[str, dict[str, Any]]:
    """A card's text in the published layout, and what a reader must find in it."""
    expected: dict[str, Any] = {}
    blocks: list[list[str]] = []

    def scalar(text: str) -> str:
        return draw(st.sampled_from([text, json.dumps(text, ensure_ascii=False), "'" + text.replace("'", "''") + "'"]))

    def put(key: str, field: str, text: str, result: Any) -> None:
        expected[field] = result
        blocks.append([f"{key}: {scalar(text)}"])

    for key in draw(st.sets(st.sampled_from(["model-name", "backbone-name", "author", "summary", "license"]))):
        text = draw(plain_text)
        put(key, key.replace("-", "_"), text, text)
    for key in ("mindspore-version", "model-version"):
        text = draw(versions)
        put(key, key.replace("-", "_"), text, text)
    date = draw(st.dates(datetime.date(1000, 1, 1)))
    put("update-time", "update_time", f"{date.year}-{date.month}-{date.day}", date)
    tuned = draw(st.booleans())
    put("fine-tunable", "fine_tunable", str(tuned), tuned)
    names = draw(st.lists(plain_text, min_size=1, max_size=3))
    put("train-dataset", "datasets", " | ".join(names), tuple(names))
    metrics = draw(st.lists(st.tuples(metric_name, value), max_size=3))
    expected["metrics"] = tuple(Metric(name, float(figure)) for name, figure in metrics)
    written = " | ".join(name + figure for name, figure in metrics) or draw(st.sampled_from(["-", "no", "- "]))
    blocks.append([f"evaluation: {written}"])
    assets = draw(st.lists(st.tuples(words, digest), max_size=3))
    expected["assets"] = tuple(Asset("ckpt", f"https://h/{name}", sha) for name, sha in assets)
    if assets:
        lines = ["asset:", ""]
        for name, sha in assets:
            lines += ["-", "    file-format: ckpt", f"    asset-link: <https://h/{name}>", f"    asset-sha256: {sha}"]
        blocks.append(lines)
    network = draw(st.none() | st.tuples(words.map("n".__add__), st.integers(), st.booleans()))
    expected["network"] = network and NetworkRef(network[0], {"width": network[1], "slim": network[2]})  # type: ignore[arg-type]
    if network:
        blocks.append(
            draw(
                st.sampled_from(
                    [
                        ["network:", f"  name: {network[0]}", f"  width: {network[1]}", f"  slim: {network[2]}"],
                        [f"network: {{name: {network[0]}, width: {network[1]}, slim: {str(network[2]).lower()}}}"],
                    ]
                )
            )
        )
    free = draw(any_text)
    expected["extra"] = {"free-key": free}
    blocks.append([f"free-key: {json.dumps(free)}"])
    gap = draw(st.sampled_from([[], [""]]))
    lines = [line for block in draw(st.permutations(blocks)) for line in [*block, *gap]]
    title = draw(st.none() | plain_text)
    expected["title"] = title
    head = [f"# {title}", ""] if title else []
    end = draw(break_)
    expected["body"] = f"text{end}---{end}a: b{end}---{end}"
    return end.join([*head, "---", *gap, *lines, "---", expected["body"]]), expected


@quick
@given(cards())
def test_a_generated_card_is_read_as_it_was_written(made: tuple[str, dict[str, Any]]) -> None:
    text, expected = made
    card = parse_card(text, uid="u")
    found = {name: getattr(card, name) for name in expected}
    if expected["network"]:
        assert card.network is not None
        found["network"] = NetworkRef(card.network.name, dict(card.network.arguments))
    assert found == expected
    assert parse_card(text.encode(), uid="u") == card


@quick
@given(cards())
def test_every_place_points_at_the_text_it_claims(made: tuple[str, dict[str, Any]]) -> None:
    text, _ = made
    card = parse_card(text, uid="u")
    seen = 0
    for path, span in card.spans.items():
        there = slice_of(text, span)
        name = path.split(".")[-1]
        if name.endswith(":key"):
            assert there == name.removesuffix(":key")
            seen += 1
        elif not path.startswith(":") and "[" not in name and "\n" not in there and "\r" not in there:
            # The rest of the line is the field: nothing before its value but the key, nothing after it.
            assert there == there.strip()
            key = slice_of(text, card.spans[f"{path}:key"])
            assert re.search(rf"{re.escape(key)}: +{re.escape(there)}[ ,}}]*(?=[\r\n]|\Z|[a-z]+: )", text)
            seen += 1
    assert seen > 10
    assert slice_of(text, card.spans[":body"]) == card.body
    if card.title:
        assert slice_of(text, card.spans[":title"]) == card.title
    for field in ("model_version", "mindspore_version", "update_time"):
        there = slice_of(text, card.spans[field.replace("_", "-")]).strip("'\"")
        assert there.replace("-0", "-") == str(getattr(card, field)).replace("-0", "-")
    for index, asset in enumerate(card.assets):
        assert slice_of(text, card.spans[f"asset[{index}].asset-sha256"]) == asset.sha256
        assert slice_of(text, card.spans[f"asset[{index}].asset-link"]) == f"<{asset.url}>"


@quick
@given(cards(), st.data())
def test_a_damaged_card_is_read_or_refused(made: tuple[str, dict[str, Any]], data: st.DataObject) -> None:
    text, _ = made
    at = data.draw(st.integers(0, len(text)))
    cut = data.draw(st.integers(at, min(len(text), at + 5)))
    read_or_refuse(text[:at] + data.draw(crumbs | st.just("")) + text[cut:])


mixed = st.lists(st.text("0123456789.abrc-", max_size=8), min_size=3, max_size=3)


@quick
@given(mixed)
def test_orders_are_total_and_agree_with_equality(texts: list[str]) -> None:
    for key in (version_key, natural_key):
        a, b, c = sorted(texts, key=key)  # type: ignore[arg-type]
        assert key(a) <= key(b) <= key(c)  # type: ignore[operator]
        assert (key(a) == key(b)) == (a == b)
    first, second = Version(texts[0]), Version(texts[1])
    assert [first < second, first == second, first > second].count(True) == 1
    assert (first <= second) == (not first > second)
    assert hash(first) == hash(texts[0])
