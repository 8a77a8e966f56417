"""What is written to a card is read from it again, or refused; nothing in between."""

from __future__ import annotations

import datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from mshub_ssd.cards import FIELDS, card_text, parse_card, template
from mshub_ssd.errors import UsageError
from mshub_ssd.lint.config import load_config
from mshub_ssd.lint.engine import check_text

HOSTILE = [
    "a: b",
    "a #b",
    "#b",
    "- a",
    "-",
    "~",
    "null",
    "No",
    "1.10",
    "1e5",
    "0x10",
    "2022-06-22",
    "'a'",
    '"a" and \\b',
    "{a: b}",
    "[a, b]",
    "a, b | c",
    "&a *b !c %d @e `f",
    "---",
    "# a #",
    "größte Kuh 牛",
    "a\u2028b\u00a0c\x85d",
    "line\nother: line\n---\n",
    " in the middle ",
    "\U0001f600\u200d",
    "? a",
    "=",
    "<a>",
    "a:",
    "mshub: ignore-card[MC006] x",
]
TEXTS = st.one_of(st.sampled_from(HOSTILE), st.text(max_size=30))
NUMBERS = st.one_of(st.integers(-(10**17), 10**17), st.floats(allow_nan=False, allow_infinity=False))


def plain(text: str) -> str:
    return " ".join(text.split())


def written(**values: Any) -> Any:
    named = {"model-name": "net"} | {key.replace("_", "-"): value for key, value in values.items()}
    return parse_card(card_text("net", named, "## What it is\n"), uid="u")


@pytest.mark.parametrize("figure", ["0.243 \u00b1 0.002", "0.243 +/- 0.002", "12.5 % \u00b1 1 %"])
def test_a_spread_comes_back(figure: str) -> None:
    (metric,) = written(evaluation={"mAP@0.5": figure}).metrics
    assert (metric.name, metric.value, metric.spread) == (
        "mAP@0.5",
        *((12.5, 1) if "%" in figure else (0.243, 0.002)),
    )


@pytest.mark.parametrize("figure", ["", "high", "1,234", "12 % \u00b1 1", "1 | 2"])
def test_a_text_that_is_no_figure_is_refused(figure: str) -> None:
    with pytest.raises(UsageError, match="evaluation"):
        written(evaluation={"mAP": figure})


@given(TEXTS)
@example("\x00")
@example("\ud800")
@example("\u202e")
def test_a_text_comes_back_or_is_refused(text: str) -> None:
    try:
        card = written(summary=text, author=text, train_dataset=text, classes=[text, "x"], model_version=text)
    except UsageError:
        # A class or a data set needs a name, and `none` is the absence of one.
        odd = any(not char.isprintable() and not char.isspace() for char in text)
        nothing = plain(text).lower() in {"", "-", "~", "null", "no", "none", "n/a", "na", "nil"}
        assert odd or nothing
        return
    want = plain(text) or None
    assert (card.summary, card.author, card.model_version) == (want, want, want)
    assert card.datasets == ((want,) if want else ())
    assert card.classes == (want, "x")
    assert card.body == "\n## What it is\n"


@given(st.lists(TEXTS, max_size=40))
def test_lists_come_back(names: list[str]) -> None:
    try:
        card = written(classes=names)
    except UsageError:
        assert any(not plain(name).isprintable() or not plain(name) for name in names)
        return
    assert (card.classes or ()) == tuple(map(plain, names))


ARGUMENTS = st.recursive(
    st.one_of(TEXTS, st.booleans(), st.none(), NUMBERS), lambda inner: st.lists(inner, max_size=3), max_leaves=8
)


@given(st.dictionaries(TEXTS, NUMBERS, max_size=4), st.dictionaries(TEXTS, ARGUMENTS, max_size=4))
def test_figures_and_arguments_come_back(figures: dict[str, Any], arguments: dict[str, Any]) -> None:
    try:
        card = written(evaluation=figures, network={**arguments, "name": "ssd300"})
    except UsageError:
        return
    assert [(one.name, one.value) for one in card.metrics] == [(plain(name), float(figures[name])) for name in figures]
    assert card.network is not None

    def frozen(value: Any) -> Any:
        return tuple(map(frozen, value)) if isinstance(value, list) else value

    assert dict(card.network.arguments) == {plain(key): frozen(v) for key, v in arguments.items() if key != "name"}


@pytest.mark.parametrize("figures", [{"mAP": 25.17}, {"mAP@[.5:.95]": 0.5, "top-1 acc": 80}, {"loss": 1e-7}])
def test_usual_figures_are_never_refused(figures: dict[str, float]) -> None:
    assert [(one.name, one.value) for one in written(evaluation=figures).metrics] == list(figures.items())


def test_every_kind_of_field() -> None:
    asset = {"file-format": "ckpt", "asset-link": "a b/net #1.ckpt", "asset-sha256": "AB" * 32, "asset-size": 7}
    values = {
        "fine-tunable": False,
        "input-shape": [[3, 8, 8], [4]],
        "update-time": datetime.date(2022, 6, 1),
        "repo-link": "https://example.org/a?b=c#d",
        "network": {"name": "ssd300", "num_classes": 4, "taps": [[1, 2.5]], "deep": True, "word": "1"},
        "asset": [asset],
        "accuracy": "0.9",
    }
    card = parse_card(card_text("net", values), uid="u")
    assert card.fine_tunable is False
    assert card.input_shape == ((3, 8, 8), (4,))
    assert card.update_time == datetime.date(2022, 6, 1)
    assert card.repo_link == values["repo-link"]
    assert card.network is not None
    assert dict(card.network.arguments) == {"num_classes": 4, "taps": ((1, 2.5),), "deep": True, "word": "1"}
    (one,) = card.assets
    assert (one.url, one.sha256, one.size) == ("a b/net #1.ckpt", "ab" * 32, 7)
    assert card.extra["accuracy"] == "0.9"
    assert list(card.spans)[2].startswith(":title"), "the title stands before the fields"


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"asset": [{"asset-link": "x.ckpt", "asset-sha256": "zz"}]}, "asset-sha256"),
        ({"fine-tunable": "maybe"}, "fine-tunable"),
        ({"input-shape": [3, "a"]}, "input-shape"),
        ({"evaluation": {"mAP": "good"}}, "evaluation"),
        ({"update-time": "yesterday"}, "update-time"),
        ({"summary": "bell\a"}, "summary"),
        ({"summary": "x" * 200_000}, "128 KiB"),
        ({"licence": "MIT"}, "no such field"),
    ],
)
def test_what_fits_no_field_is_refused_by_name(values: dict[str, Any], named: str) -> None:
    with pytest.raises(UsageError, match=named):
        card_text("net", values)


@pytest.mark.parametrize("title", ["#x", "", "x #", "a\ab"])
def test_a_title_is_a_line(title: str) -> None:
    with pytest.raises(UsageError, match=r"title|front matter"):
        card_text(title, {"model-name": "x"})


def test_the_template_is_a_card_with_every_required_field_and_no_findings() -> None:
    text = template()
    card = parse_card(text, uid="u")
    assert all(f"\n{key}:" in text for key, field in FIELDS.items() if field.required or field.official)
    assert card.assets[0].sha256_digits == 64
    assert check_text(text.encode(), load_config(use_file=False)) == []


@pytest.mark.parametrize(
    "text", ["", "\n\n", "# Only a title\n", "A guide.\n", "---\n---\n", "---\n# a comment\n---\n\nText\n"]
)
def test_a_card_that_holds_nothing_gets_one_finding_with_a_template(text: str) -> None:
    (finding,) = check_text(text.encode(), load_config(use_file=False))
    assert finding.code == "MC001"
    assert finding.help is not None
    assert "mshub new UID" in finding.help.splitlines()[0]
    assert template().strip() in finding.help


def test_fields_without_values_get_one_finding_too() -> None:
    (finding,) = check_text(
        b"---\nmodel-name:\nasset: []\nsummary: ~\n---\n", load_config(use_file=False, select=["MC006"])
    )
    assert finding.help is not None
    assert template().strip() in finding.help
