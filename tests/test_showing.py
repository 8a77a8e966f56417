"""What cards, lists, reports and results look like where nobody printed them: one line, or a notebook's HTML."""

from __future__ import annotations

import json
import pickle
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import mshub_ssd as mshub
from mshub_ssd.cards import Asset, Card, Metric, Uids
from mshub_ssd.results import Classification, Detections

UID = "mindspore/1.10/sppnet_single_imagenet2012"
HOSTILE = '<script>alert(1)</script><img src=x onerror="a()">\u202e\x1b[2J\n</table>&amp;'
ALLOWED = {"div", "p", "b", "br", "table", "tr", "td", "th"}


class Page(HTMLParser):
    """The tags of a page, which may be of a few kinds only, and its text."""

    def __init__(self, page: str | None) -> None:
        super().__init__()
        self.text, self.open = "", list[str]()
        self.feed(page or "")
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag in ALLOWED
        # Neither addresses nor scripts, and no colour: a notebook may be light or dark.
        if self.open:
            assert attrs in ([], [("style", "text-align:left")])
        else:  # and no formulas
            assert (tag, attrs) == ("div", [("class", "tex2jax_ignore mathjax_ignore")])
        if tag != "br":
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


def hostile(text: str = HOSTILE) -> Card:
    return Card(
        uid=f"own/1/{text}",
        title=text,
        summary=text,
        model_name=text,
        backbone_name=text,
        task=text,
        input_shape=(text, 3),
        datasets=(text,) * 30,
        metrics=(Metric(text, 1.5),) * 30,
        author=text,
        repo_link=f"https://user:secret@host/{text}",
        assets=(Asset(text, f"https://user:secret@host/{text}", text),) * 30,
        license=text,
        classes=(text,) * 3000,
        path=Path("/cards/x.md"),
    )


def test_a_card_is_a_line_a_text_and_a_table() -> None:
    card = mshub.info(UID)
    assert repr(card) == f"<Card {UID}: image-classification, {card.datasets[0]}, {card.metrics[0]}, {card.metrics[1]}>"
    lines = str(card).splitlines()
    assert lines[0] == card.title
    assert lines[2] == card.summary
    assert f"uid         {UID}" in lines
    assert any(line.startswith("licence") for line in lines)
    page = Page(card._repr_html_())
    assert all(word in page.text for word in (UID, card.summary or "", str(card.metrics[0]), card.assets[0].url))
    assert repr(Card(uid="a/b")) == "<Card a/b>"
    assert str(Card(uid="a/b")) == "a/b\n\nuid  a/b"


def test_metrics_and_assets_are_short() -> None:
    assert repr((Metric("mAP", 25.17),)) == "(Metric('mAP', 25.17),)"
    assert str(Metric("acc", 0.12, 0.01)) == "acc 0.12 \u00b1 0.01"
    assert repr(Metric("acc", 0.12, 0.01)) == "Metric('acc', 0.12, 0.01)"
    asset = Asset("ckpt", "https://u:secret@h/a.ckpt", "ab" * 32, 2_400_000)
    assert repr(asset) == "<Asset ckpt: https://...@h/a.ckpt, sha256 abababababab, 2.4 MB>"
    assert repr(Asset(None, "a", None)) == "<Asset of no format: a, no sha256>"


@pytest.mark.parametrize("text", [HOSTILE, HOSTILE * 300, "\udcff", "\u0301" * 5_000])
def test_nothing_of_a_hostile_card_gets_through(text: str) -> None:
    card = hostile(text)
    for shown in (repr(card), repr(card.assets[0]), str(card), Page(card._repr_html_()).text):
        assert "secret" not in shown
        assert not set("\x1b\u202e\udcff") & set(shown)
        assert len(shown) < 50_000
        assert (re.search(r"alert\(1\)", shown) is not None) == ("alert" in text), "spelt out, not left out"
    assert "\n" not in repr(card) + repr(card.assets[0])
    assert len(repr(card)) < 1000


@given(st.text())
def test_any_text_of_a_card_is_text(text: str) -> None:
    card = Card(uid="a/b", title=text, summary=text, license=text, datasets=(text,))
    Page(card._repr_html_())
    assert repr(card).isprintable()
    assert all(line.isprintable() for line in str(card).split("\n"))


def test_lists_are_plain_lists_and_a_table_of_models() -> None:
    uids = mshub.list_models("*ssd300*")
    assert isinstance(uids, list)
    assert (repr(uids), json.dumps(uids), uids) == (repr(list(uids)), json.dumps(list(uids)), list(uids))
    assert type(pickle.loads(pickle.dumps(uids))) is list
    assert type(uids[:1]) is type([*uids]) is type(sorted(uids)) is list
    page = Page(Uids(uids)._repr_html_())
    assert "1.9, 1.10" in page.text
    assert page.text.count("ssd300_coco2017") == 2, "of two publishers, whatever the versions"
    assert page.text.endswith(f"{len(uids)} uids of 2 models")
    assert Page(mshub.search("ssd resnet34")._repr_html_()).text.startswith("modelpublisherversionsssdresnet34")  # type: ignore[attr-defined]
    assert Page(Uids()._repr_html_()).text == "0 uids of 0 models"
    assert "x" in Page(Uids(["x", f"a/1/{HOSTILE}", *[f"a/1/m{n}" for n in range(99)]])._repr_html_()).text


def detections(names: tuple[str, ...], image: np.ndarray | None = None) -> Detections:
    count = len(names)
    return Detections(
        boxes=np.zeros((count, 4), np.float32),
        scores=np.linspace(0.9, 0.1, count, dtype=np.float32),
        labels=np.zeros(count, np.intp),
        names=names,
        image_size=(4, 6),
        image=image,
    )


def test_results_are_a_line_and_a_picture_or_a_table() -> None:
    found = detections(("cat", HOSTILE, "dog", "cow"))
    assert repr(found).isprintable()
    assert repr(found).startswith("<4 detections in a picture of 6 x 4: cat 0.90, <script>")
    assert repr(found).endswith("dog 0.37, 1 more>")
    assert "\x1b" not in str(found)
    page = Page(found._repr_html_())
    assert page.text.startswith("4 detections in a picture of 6 x 4namescorebox")
    assert HOSTILE[:25] in page.text
    assert Page(detections(("a",) * 30)._repr_html_()).text.endswith("… and 10 more")
    assert Page(detections(())._repr_html_()).text == "0 detections in a picture of 6 x 4"
    # The picture tells more than a table, and a notebook would show the table in its place.
    pictured = detections(("cat",), np.zeros((4, 6, 3), np.uint8))
    assert pictured._repr_html_() is None
    pytest.importorskip("PIL")
    assert (pictured._repr_png_() or b"").startswith(b"\x89PNG")
    classes = Classification(np.array([1, 0]), ("ant", HOSTILE), np.float32([0.5, 0.25]))
    assert repr(classes).isprintable()
    assert Page(classes._repr_html_()).text.startswith("2 classes of a picturenamescoreant0.500")


def test_reports_are_pages_too(tmp_path: Path) -> None:
    for number in range(3):
        (tmp_path / f"c{number}.md").write_text(f"# x\n\n---\n\nmodel-name: '{HOSTILE[:20]}'\n\nbogus key\n\n---\n")
    report = mshub.validate(tmp_path, use_config=False)
    assert "\n" not in repr(report)
    assert "3 cards checked" in Page(report._repr_html_()).text
