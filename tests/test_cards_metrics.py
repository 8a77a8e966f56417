"""Published figures as a person reads them: the number that stands there, or none."""

from __future__ import annotations

import re
from decimal import Decimal

import jsonschema
import pytest
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from mshub_ssd.cards import Card, Metric, examine_card, parse_metric
from mshub_ssd.lint.config import load_config
from mshub_ssd.lint.engine import check_text
from mshub_ssd.lint.schema import front_matter_schema

many = settings(max_examples=300)
SCHEMA = front_matter_schema()
IN_EDITORS = jsonschema.Draft202012Validator({**SCHEMA["properties"]["evaluation"], "$defs": SCHEMA["$defs"]})


READ: list[tuple[str, str, float, float | None]] = [
    ("mAP: 24,08", "mAP", 24.08, None),
    ("top1acc64,8", "top1acc", 64.8, None),
    ("acc 64,8%", "acc", 64.8, None),
    ("acc 0,875", "acc", 0.875, None),  # no thousands begin with a nought
    ("acc1,72e-05", "acc", 1.72e-05, None),
    ("acc: 0.12\u00b10.01", "acc", 0.12, 0.01),
    ("acc0.12 +/- 0.01", "acc", 0.12, 0.01),
    ("acc 0.12 +- 0.01", "acc", 0.12, 0.01),
    ("acc = 0.12 \u00b1 0.01 %", "acc", 0.12, 0.01),
    ("acc: 12% \u00b1 1%", "acc", 12, 1),
    ("acc: 12,5 \u00b1 1,5", "acc", 12.5, 1.5),
    ("reward\u22129.11", "reward", -9.11, None),
    ("avgReward-9.11", "avgReward", -9.11, None),
    ("acc: -0.5", "acc", -0.5, None),
    ("acc - 76.1", "acc", 76.1, None),
    ("\u7cbe\u5ea6\uff1a0,9", "\u7cbe\u5ea6", 0.9, None),
    ("acc 90\uff05", "acc", 90, None),
    ("F1score61.94", "F1score", 61.94, None),
    ("s16multiscale79.59", "s16multiscale", 79.59, None),
    ("100%-EER:98.73", "100%-EER", 98.73, None),
    ("TRP@FAR=1%:98.53", "TRP@FAR=1%", 98.53, None),
    ("P@1acc42.7", "P@1acc", 42.7, None),
    ("0.5macc75", "0.5macc", 75, None),
    ("mAP@.5IoU60.6", "mAP@.5IoU", 60.6, None),
    ("image-level100.0", "image-level", 100, None),
    ("mAP@0.5: 27.3", "mAP@0.5", 27.3, None),
    ("mAP@0.5 27.3", "mAP@0.5", 27.3, None),
    ("mAP@0.5:27.3", "mAP@0.5", 27.3, None),
    ("mAP@0.5:0.95: 37.6", "mAP@0.5:0.95", 37.6, None),
    ("mAP@[0.5:0.95] 37.6", "mAP@[0.5:0.95]", 37.6, None),
    ("mAP50-95: 37.6", "mAP50-95", 37.6, None),
    ("IoU=0.5 mAP: 27.3", "IoU=0.5 mAP", 27.3, None),
    ("delta<1.25: 0.87", "delta<1.25", 0.87, None),
    ("mAP, small: 25.17", "mAP, small", 25.17, None),
    ("acc (top1) 76.1", "acc (top1)", 76.1, None),
    ("PSNR\u2191 32.1", "PSNR\u2191", 32.1, None),
    ("top1 acc 64.8", "top1 acc", 64.8, None),
    ("top5 100", "top5", 100, None),
    ("acc76.", "acc", 76, None),
]


@pytest.mark.parametrize(("text", "name", "value", "spread"), READ)
def test_figures_are_read_as_people_read_them(text: str, name: str, value: float, spread: float | None) -> None:
    assert parse_metric(text) == Metric(name, value, spread)


@pytest.mark.parametrize(
    "text",
    [
        *("acc 1,234", "acc1,234", "acc 1,234.5", "acc 1.234,5", "acc 1,234,567", "acc 76,1,2", "acc 24, 08", "acc ,5"),
        *("acc24.08.1", "acc 1/2", "acc 93/100", "acc 12 345", "acc12 345", "acc: 12 345", "acc12'345", "acc12_345"),
        *("acc76.1, top5acc93.0", "acc76,1, top5acc93,0", "acc76.1; top5acc93.0", "acc76.1 top5acc93.0"),
        *("acc76.1 / top5acc93.0", "acc: 76 top5: 93", "acc=76.1 top5=93.0", "acc 76.1 93.0", "acc76\ntop5acc93"),
        *("mAP: ~25", "mAP~25", ">90", "acc >90", "acc>90", "acc \u2264 5", "mAP about 25", "mAP: about 25", "acc < 1"),
        *("acc 70-75", "acc70-75", "acc 70 - 75", "acc 70..75", "acc 70\u202675", "acc 70 to 75", "acc 70\u201375"),
        *("mAP@0.5", "mAP@0.5:0.95", "mAP@.5:.05:.95", "mAP50-95", "mAP50:95", "mAP@[0.5:0.95]", "delta<1.25"),
        *("acc-76.1", "top1-76.1", "acc\u201376.1", "acc.76", "acc/76", "acc 2.2m", "acc 1.7x10", "acc1.7\u00d710^5"),
        *("acc1.72e\u221205", "v1.10", "version 1.10", "June 2022", "22 June 2022", "acc 2022-06-22", "acc0x10"),
        *(
            "acc: 12% \u00b1 1",
            "acc \u00b1 0.1",
            "acc 1 \u00b1 2 \u00b1 3",
            "acc +/- 0.01",
            "12 345",
            "24,08",
            "0.1\u00b10.1",
        ),
        *("acc 1e999", "acc: 5 \u00b1 1e999", "", " ", ":", "acc", "acc:", "acc: 1,", "acc (76", f"{'a' * 200}5"),
    ],
)
def test_what_is_no_figure_gives_no_number(text: str) -> None:
    assert parse_metric(text) is None


names = st.sampled_from(
    [
        *("mAP", "acc", "top1acc", "F1score", "P@1acc", "cfp-fp", "IJBB", "s16multiscale"),
        *("R10@5acc", "mIoU", "0.5macc", "2Dprojection", "mAP@0.5"),
    ]
)
wholes = st.integers(0, 10**6).map(str)
decimals = st.text("0123456789", min_size=1, max_size=6)
gaps = st.sampled_from([": ", ":", " = ", "=", " : "])


@st.composite
def numbers(draw: st.DrawFn) -> tuple[str, Decimal]:
    """A number as people write it, and which it is."""
    whole, point = draw(wholes), draw(st.sampled_from([".", ",", ""]))
    behind = draw(decimals) if point else ""
    # Three digits behind a comma may be thousands.
    assume(not (point == "," and len(behind) == 3 and whole.strip("0")))
    return whole + point + behind, Decimal(f"{whole}.{behind or 0}")


@many
@given(names, gaps, numbers(), st.none() | numbers(), st.sampled_from(["", "%", " %"]))
def test_a_figure_in_good_order_is_read(
    name: str, gap: str, number: tuple[str, Decimal], spread: tuple[str, Decimal] | None, unit: str
) -> None:
    assume(not (name == "mAP@0.5" and gap == ":" and number[1] == Decimal("0.95")))
    behind = f" \u00b1 {spread[0]}" if spread else ""
    text = f"{name}{gap}{number[0]}{behind}{unit}"
    assert parse_metric(text) == Metric(name, float(number[1]), float(spread[1]) if spread else None)


soup = st.lists(
    st.sampled_from(
        [
            *(
                "mAP",
                "acc",
                "top1",
                "F1",
                "AP50",
                " ",
                ": ",
                ":",
                "=",
                ",",
                ", ",
                ".",
                "-",
                "\u2212",
                "\u00b1",
                "+/-",
                "%",
                "@",
            ),
            *(
                "~",
                ">",
                "/",
                "|",
                "..",
                "e",
                "e-05",
                "x",
                "\u00a0",
                "\n",
                "'",
                "_",
                "(",
                ")",
                "to",
                " to ",
                "about ",
                "v",
            ),
            *(
                "1",
                "24",
                "08",
                "345",
                "76.1",
                "24,08",
                "1,234",
                "0.95",
                ".5",
                "2022",
                "1e3",
                "June ",
                "\uff1a",
                "\uff05",
            ),
        ]
    ),
    max_size=8,
).map("".join)


@many
@given(soup)
@example("acc24.08.1")
@example("acc1e5")
def test_whatever_is_read_stands_there_digit_by_digit(text: str) -> None:
    metric = parse_metric(text)
    if metric is None:
        return
    plain = text.strip().translate({ord(","): ".", 0x2212: "-"})
    # The number is a run of digits in its full length: no digit, point or comma was cut off before or behind it.
    numbers = {
        (float(found[0]), found.start())
        for found in re.finditer(r"(?<![0-9.])(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?(?![0-9]|\.[0-9])", plain)
    }
    values = {value for value, _ in numbers}
    assert abs(metric.value) in values, (text, metric)
    assert metric.spread is None or metric.spread in values, (text, metric)
    last = max(numbers, key=lambda one: one[1])[0]
    assert last in {metric.spread, abs(metric.value)}
    assert (metric.value < 0) <= ("-" in plain)
    assert text.strip().startswith(metric.name)


@many
@given(soup)
def test_a_card_says_what_it_cannot_read(text: str) -> None:
    assume(not set(text) & set("\n\u00a0"))
    card, problems = _read(f'evaluation: "{text}"')
    pieces = text.split("|")
    read = [metric for piece in pieces if (metric := parse_metric(piece))]
    assert card.metrics == tuple(read)
    if text.strip().lower() not in {"", "-", "~"}:
        assert ("evaluation" in card.extra) == (len(read) < len(pieces)) == bool(problems)


def _read(*lines: str) -> tuple[Card, list[str]]:
    result = examine_card("\n".join(["---", *lines, "---", ""]), uid="u")
    assert result.card is not None
    return result.card, [problem.message for problem in result.problems]


@pytest.mark.parametrize(
    ("line", "metrics", "whole"),
    [
        ("evaluation: {mAP: 24,08}", [Metric("mAP", 24.08)], True),
        ("evaluation: {mAP: 24,08%}", [Metric("mAP", 24.08)], True),
        ("evaluation: {mAP: 24,08, AR: 31}", [Metric("mAP", 24.08), Metric("AR", 31)], True),
        ("evaluation: {mAP: 24,08\u00b10,01, AR: 31}", [Metric("mAP", 24.08, 0.01), Metric("AR", 31)], True),
        ("evaluation: {mAP: 24, 08}", [], False),
        ("evaluation: {mAP: 24, 08, AR: 31}", [Metric("AR", 31)], False),
        ("evaluation: {mAP: 1,234}", [], False),
        ("evaluation: {mAP: 24,2Dprojection: 98.9}", [Metric("mAP", 24), Metric("2Dprojection", 98.9)], True),
        ("evaluation: {mAP: 24,08: 5}", [Metric("mAP", 24), Metric("08", 5)], True),
        ("evaluation: {mAP: 24,\n  08}", [], False),
        ("evaluation: [mAP24,08]", [Metric("mAP", 24.08)], True),
        ("evaluation: [mAP24,08, AR31]", [Metric("mAP", 24.08), Metric("AR", 31)], True),
        ("evaluation: [mAP24, 08]", [], False),
        ("evaluation: [mAP24, 0.5macc75]", [Metric("mAP", 24), Metric("0.5macc", 75)], True),
        ("evaluation: [mAP: 24,08]", [Metric("mAP", 24.08)], True),
        ('evaluation: {mAP: "24,08"}', [Metric("mAP", 24.08)], True),
        (
            "evaluation:\n  mAP: 24,08  # per cent\n  AR: 0.12 \u00b1 0.01",
            [Metric("mAP", 24.08), Metric("AR", 0.12, 0.01)],
            True,
        ),
        ("evaluation:\n  mAP: ~25\n  AR: 70-75\n  AP: 24.08.1\n  AP50: 1/2", [], False),
        ("mAP: 24,08", [Metric("mAP", 24.08)], True),
        ("accuracy: 1,234", [], True),
        ("mAP: 0.3 \u00b1 0.1", [Metric("mAP", 0.3, 0.1)], True),
    ],
)
def test_mappings_lists_and_old_keys(line: str, metrics: list[Metric], whole: bool) -> None:
    card, problems = _read(line)
    assert card.metrics == tuple(metrics)
    assert ("evaluation" not in card.extra) is whole is (not problems)


@given(
    st.integers(0, 999),
    decimals,
    st.sampled_from(["{{mAP: {}}}", "[mAP{}]", '"mAP: {}"', "{{mAP: {}, AR: 5}}", "[{{mAP: {}}}]"]),
)
def test_no_comma_in_yaml_gives_a_cut_number(whole: int, behind: str, form: str) -> None:
    """Whatever YAML makes of 24,08: it is 24.08 or nothing."""
    card, _ = _read("evaluation: " + form.format(f"{whole},{behind}"))
    assert {metric.value for metric in card.metrics if metric.name == "mAP"} <= {float(f"{whole}.{behind}")}
    assert len(behind) == 3 or card.metrics


def test_a_spread_is_shown_and_carried() -> None:
    card, _ = _read('evaluation: "acc: 0.12 \u00b1 0.01 | mAP: 25.17"')
    assert [str(metric) for metric in card.metrics] == ["acc 0.12 \u00b1 0.01", "mAP 25.17"]
    assert card.to_dict()["metrics"] == [
        {"name": "acc", "value": 0.12, "spread": 0.01},
        {"name": "mAP", "value": 25.17, "spread": None},
    ]


@many
@given(names, gaps, numbers())
def test_what_is_read_and_written_right_is_no_finding(name: str, gap: str, number: tuple[str, Decimal]) -> None:
    text = f'# t\n\n---\nevaluation: "{name}{gap}{number[0]}"\n---\n'
    found = check_text(text.encode(), load_config(select=["MC011"], use_file=False))
    metric = parse_metric(f"{name}{gap}{number[0]}")
    if metric is None:
        assert [finding.severity for finding in found] == ["warning"]
    else:
        assert [finding.severity for finding in found] == ["error"] * ("," in number[0])


@pytest.mark.parametrize("text", [one[0] for one in READ])
def test_editors_accept_what_is_read_and_written_right(text: str) -> None:
    assert IN_EDITORS.is_valid(text) == (not _findings(text))
    assert IN_EDITORS.is_valid(f"acc1 | {text} | mAP: 2") == (not _findings(text))


@many
@given(soup, st.sampled_from([" | ", "|"]), soup)
@example("acc 1e999", "|", "acc1")
@example("e5", "|", "x1e3")
def test_editors_accept_nothing_that_is_not_read(text: str, bar: str, more: str) -> None:
    for value in (text, text + bar + more):
        assume(not set(value) & set('"\n\u00a0'))
        if value.strip() not in {"", "-", "~"} and IN_EDITORS.is_valid(value):
            assert [one for one in _findings(value) if "stands twice" not in one] == []
    if IN_EDITORS.is_valid({"mAP": text}):
        assert _read(f'evaluation: {{mAP: "{text}"}}')[1] == []


def _findings(text: str) -> list[str]:
    card = f'# t\n\n---\nevaluation: "{text}"\n---\n'
    return [one.message for one in check_text(card.encode(), load_config(select=["MC011"], use_file=False))]
