"""The bundled cards, and published-style cards of the same models: each leads to its network."""

from __future__ import annotations

import datetime
import re
from pathlib import Path

import pytest

import mshub_ssd as mshub
from mshub_ssd import providers
from mshub_ssd.cards import Card, Version, examine_card
from mshub_ssd.errors import UnsupportedFormatError
from mshub_ssd.hub import Hub
from mshub_ssd.registry import Registry

ROOT = Path(mshub.__file__).parent.parent / "hub_models"
REGISTRY = Registry([ROOT])
UIDS = REGISTRY.uids()

# The first words of the published file names, and the network behind each.
STEMS = {
    "ssd300": "ssd300",
    "ssdghostnet": "ssd_ghostnet",
    "ssdinceptionv2": "ssd_inceptionv2",
    "ssdmobilenetv1fpn": "ssd_mobilenet_v1_fpn",
    "ssdmobilenetv2": "ssd_mobilenetV2",
    "ssdmobilenetv2fpnlite": "ssd_mobilenetV2_FPNlite",
    "ssdresnet34": "ssd_resnet34",
    "ssdresnet50": "ssd_resnet50",
    "ssdresnet50fpn": "ssd_resnet50_fpn",
    "ssdvgg16": "ssd_vgg16",
    "sppnet_mult": "sppnet_mult",
    "sppnet_single": "sppnet_single",
    "sppnet_zfnet": "sppnet_zfnet",
}
DATA = {"ssdinceptionv2": "coco2014mini", "sppnet": "imagenet2012"}
ALL = "1.3 1.5 1.6 1.7 1.8 1.9 1.10"
# Which MindSpore versions each was published for.
VERSIONS = {
    **dict.fromkeys(STEMS, ALL),
    "ssdresnet34": "1.3 1.6 1.7 1.8 1.9 1.10",
    "ssdinceptionv2": "1.6 1.7 1.8 1.9 1.10",
    **dict.fromkeys(["sppnet_mult", "sppnet_single", "sppnet_zfnet"], "1.5 1.6 1.7 1.8 1.9 1.10"),
}
# (model-name, backbone-name) as published: before 1.10, in 1.10.
NAMES = {
    "ssd300": [("ssd300", "ssd")] * 2,
    "ssdghostnet": [("ghostnet_ssd", "ssd_ghostnet"), ("ssd_ghostnet", "ssd_ghostnet")],
    "ssdinceptionv2": [("ssd_inceptionv2", "ssd_inceptionv2")] * 2,
    "ssdmobilenetv1fpn": [("ssd300", "ssd"), ("ssd_mobilenet_v1_fpn", "ssd")],
    "ssdmobilenetv2": [("ssd_mobilenetV2", "ssd_mobilenetV2")] * 2,
    "ssdmobilenetv2fpnlite": [("ssd_mobilenetV2_FPNlite", "ssd_mobilenetV2_FPNlite")] * 2,
    "ssdresnet34": [("ssd_resnet34", "ssd_resnet34")] * 2,
    "ssdresnet50": [("ssd300", "ssd_resnet50"), ("ssd_resnet50", "ssd_resnet50")],
    "ssdresnet50fpn": [("ssd300", "ssd"), ("ssd_resnet50_fpn", "ssd")],
    "ssdvgg16": [("ssd300", "ssd"), ("ssd_vgg16", "ssd")],
    **dict.fromkeys(["sppnet_mult", "sppnet_single", "sppnet_zfnet"], [("SPPNet", "SPPNet")] * 2),
}
OTHERS = {
    "noah-cvlab/ascend/0.7/ghostnet_ssd_v1.0": "ssd_ghostnet",
    "noah-cvlab/ascend/1.0/ghostnet_ssd_v1.0": "ssd_ghostnet",
    "openmmlab/2.28/ssd300_coco2017": "openmmlab_ssd300",
    "openmmlab/2.28/ssd512_coco2017": "openmmlab_ssd512",
    "openmmlab/2.28/ssdlitemobilenetv2_coco2017": "openmmlab_ssdlite_mobilenetv2",
}
GHOSTS = [uid for uid in OTHERS if uid.startswith("noah")]


def uid_of(stem: str, version: str) -> str:
    return f"mindspore/{version}/{stem}_{DATA.get(stem) or DATA.get(stem.split('_')[0], 'coco2017')}"


def names_of(uid: str) -> tuple[str, str]:
    # One card was ahead of its time.
    return NAMES[ZOO[uid]]["/1.10/" in uid or uid == "mindspore/1.6/ssdghostnet_coco2017"]


ZOO = {uid_of(stem, version): stem for stem in STEMS for version in VERSIONS[stem].split()}
EXPECTED = {**{uid: STEMS[stem] for uid, stem in ZOO.items()}, **OTHERS}


@pytest.fixture(scope="module")
def cards() -> dict[str, Card]:
    """Every bundled card of the family."""
    return {uid: REGISTRY.card(uid) for uid in UIDS}


def test_every_published_model_has_its_card() -> None:
    assert len(ZOO) == 85
    assert set(EXPECTED) <= set(UIDS)
    # What is left is our own.
    assert {uid.split("/")[0] for uid in set(UIDS) - set(EXPECTED)} <= {"mshub"}


@pytest.mark.parametrize("uid", UIDS)
def test_cards_read_without_a_problem(uid: str) -> None:
    path = REGISTRY.path(uid)
    text = path.read_bytes()
    assert examine_card(text, uid=uid, path=path).problems == ()
    assert text.endswith(b"\n")
    assert b"\r" not in text


@pytest.mark.parametrize("uid", EXPECTED)
def test_cards_lead_to_their_network(uid: str, cards: dict[str, Card]) -> None:
    choice = providers.choose_network(cards[uid])
    assert choice.key == EXPECTED[uid]
    assert "network:" in choice.reason  # never left to guessing
    assert cards[uid].title == EXPECTED[uid]


@pytest.mark.parametrize("uid", EXPECTED)
def test_facts_agree_with_each_other(uid: str, cards: dict[str, Card]) -> None:
    card = cards[uid]
    publisher, last = uid.split("/")[0], uid.rsplit("/", 1)[1]
    assert card.license == "Apache-2.0"
    assert card.user_id is not None
    assert card.user_id.lower() == publisher
    assert card.metrics
    assert card.update_time is not None
    assert card.summary
    assert card.task == ("image-classification" if last.startswith("sppnet") else "object-detection")
    assert card.input_shape in [(3, size, size) for size in (224, 300, 320, 512, 640)]
    shown = f"{card.input_shape[1]}, {card.input_shape[1]})"
    assert shown in card.body
    for heading in ("What it is", "Input and output", "Use", "Metrics", "Licence", "Citation"):
        assert f"\n## {heading}\n" in f"\n{card.body}"
    assert f'mshub.load("{uid}"' in card.body
    shown_figures = {float(figure) for figure in re.findall(r"\| ([0-9.]+) \|\n", card.body)}
    assert {metric.value for metric in card.metrics} == shown_figures
    # Every uid the prose names is one of ours.
    assert set(re.findall(r"\b(?:mindspore|noah-cvlab|openmmlab)/\d?[\w.]+/[\w./]*\w", card.body)) <= set(UIDS)


@pytest.mark.parametrize("uid", ZOO)
def test_versions_and_figures_agree_with_the_file(uid: str, cards: dict[str, Card]) -> None:
    card, stem, version = cards[uid], ZOO[uid], uid.split("/")[1]
    assert (card.mindspore_version, card.model_version) == (Version(version), Version(version))
    assert (card.model_name, card.backbone_name) == names_of(uid)
    (asset,) = card.assets
    folder, file = asset.url.split("/")[-2:]
    assert folder == f"r{version}"
    assert file.startswith(f"{stem}_ascend_")
    digits = "190" if uid == "mindspore/1.10/ssdresnet50_coco2017" else version.replace(".", "") + "0"
    assert f"_v{digits}_" in file.lower()
    assert re.search(rf"_{card.datasets[0].lower()}_", file)
    assert uid.endswith(card.datasets[0].lower())
    for metric in card.metrics:
        assert re.search(rf"_{metric.name}{re.escape(f'{metric.value:.15g}')}(?:\.0)?(?:_|\.ckpt)", file)
    assert asset.file_format == "ckpt"
    assert re.fullmatch("[0-9a-f]{64}", asset.sha256 or "")
    assert card.repo_link is not None
    assert f"/tree/r{version}/" in card.repo_link


def test_openmmlabs_files_carry_eight_digits_in_their_names(cards: dict[str, Card]) -> None:
    for uid in OTHERS:
        if uid.startswith("openmmlab"):
            (asset,) = cards[uid].assets
            assert asset.file_format == "pth"
            assert re.fullmatch(r"[0-9a-f]{8}", asset.sha256 or "")
            assert asset.url.endswith(f"-{asset.sha256}.pth")
            assert cards[uid].update_time == datetime.date.fromisoformat(
                re.sub(r".*_(\d{4})(\d\d)(\d\d)_.*", r"\1-\2-\3", asset.url)
            )


def test_cards_with_one_file_say_which_others_have_it(cards: dict[str, Card]) -> None:
    """The prose about versions, against the digests themselves."""
    unsaid = {"mindspore/1.7/ssdresnet50fpn_coco2017", "mindspore/1.8/ssdmobilenetv2_coco2017"}
    for uid, stem in ZOO.items():
        if uid in unsaid:
            continue
        own = cards[uid].assets[0].sha256
        said = cards[uid].body.split("\n## Versions\n")[1].split("\n## ")[0]
        same, _, other = said.replace("\n", " ").partition("The other cards")
        for version in VERSIONS[stem].split():
            sibling = uid_of(stem, version)
            there = cards[sibling].assets[0].sha256
            if sibling != uid:
                found = [part for part, text in (("same", same), ("other", other)) if _names(text, version)]
                assert found == (["same"] if there == own else ["other"]), (uid, sibling)


def _names(text: str, version: str) -> bool:
    return re.search(rf"(?<![\d.]){re.escape(version)}(?![\d]|\.\d)", re.sub(r"\([^)]*\)", "", text)) is not None


def test_uids_come_in_the_order_of_their_versions() -> None:
    listed = mshub.list_models("mindspore/*/ssd300_coco2017")
    assert [uid.split("/")[1] for uid in listed] == ALL.split()
    assert mshub.list_models("mindspore/*")[-1].startswith("mindspore/1.10/")


def test_version_1_10_is_not_1_1() -> None:
    assert len(mshub.list_models("mindspore/*", mindspore_version="1.10")) == 13
    assert mshub.list_models(mindspore_version="1.1") == []
    assert Version("1.9") < mshub.info("mindspore/1.10/ssd300_coco2017").mindspore_version


def test_all_but_two_can_be_loaded() -> None:
    assert mshub.list_models("noah-cvlab/*", loadable=True) == []
    assert mshub.list_models(loadable=False) == GHOSTS
    assert set(ZOO) <= set(mshub.list_models(loadable=True))


@pytest.mark.parametrize("uid", GHOSTS)
def test_cards_without_a_checkpoint_name_the_newest_sibling(
    uid: str, cards: dict[str, Card], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    newest = "mindspore/1.10/ssdghostnet_coco2017"
    with pytest.raises(UnsupportedFormatError) as caught:
        Hub().checkpoint(uid)
    assert caught.value.hint is not None
    assert newest in caught.value.hint
    assert ("pretrained=False" in caught.value.hint) == (not cards[uid].assets)
    assert newest in cards[uid].body
    assert providers.plan(cards[uid], pretrained=False).recipe.key == "ssd_ghostnet"
    # Computed, not written down: a newer card of the same network takes its place, one of other classes does not.
    own = REGISTRY.path(newest).read_text(encoding="utf-8").replace("2023-02-17", "2031-01-01")
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path))
    for name, text in {
        "ours": own,
        "pets": own.replace("network: ssd_ghostnet", "network: ssd_ghostnet\n\nclasses: [cat]"),
        "small": own.replace("network: ssd_ghostnet", "network: {name: ssd_ghostnet, num_classes: 5}"),
        "vain": re.sub("asset-sha256: .*", "", own),
    }.items():
        (tmp_path / f"{name}.md").write_text(text, encoding="utf-8")
        with pytest.raises(UnsupportedFormatError, match="load ours, the same network"):
            Hub().checkpoint(uid)


@pytest.mark.parametrize("key", sorted(set(EXPECTED.values())))
def test_each_network_loads_from_a_card_without_weights(key: str) -> None:
    pytest.importorskip("mindspore")
    uid = next(uid for uid in reversed(UIDS) if EXPECTED.get(uid) == key and uid not in GHOSTS)
    network = mshub.load(uid, pretrained=False)
    assert network.card.uid == uid
    assert network.config.name == key
    assert network.training is False
    assert network.config.image_size == network.card.input_shape[-1]


def published(uid: str, model: str, backbone: str, link: str | None, kind: str = "ckpt") -> str:
    """A card as the official hub has it: unquoted version, no network."""
    version = uid.rsplit("/", 2)[1]
    asset = f"asset:\n\n-\n    file-format: {kind}\n    asset-link: <{link}>\n    asset-sha256: {'0' * 64}\n\n"
    return (
        f"# {model}\n\n---\n\nmodel-name: {model}\n\nbackbone-name: {backbone}\n\nmodule-type: cv\n\n"
        f"model-version: {version}\n\nmindspore-version: {version}\n\n{asset if link else ''}"
        "license: Apache2.0\n\n---\n\n## Introduction\n"
    )


def test_published_cards_that_name_no_network_lead_to_it_too(tmp_path: Path) -> None:
    for uid, stem in ZOO.items():
        version = uid.split("/")[1]
        model, backbone = names_of(uid)
        link = REGISTRY.card(uid).assets[0].url
        for name, file in ((uid, link), (f"else/{version}/renamed", link), (uid, "https://example.com/model.ckpt")):
            path = tmp_path / f"{name}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(published(name, model, backbone, file), encoding="utf-8")
            card = Registry([tmp_path]).card(name)
            choice = providers.choose_network(card)
            assert (choice.key, "network:" in choice.reason) == (STEMS[stem], False), (name, file)
            assert card.mindspore_version == version


def test_two_networks_of_one_name_are_told_apart_by_their_publisher(tmp_path: Path) -> None:
    for uid, key in OTHERS.items():
        if uid.startswith("openmmlab"):
            path = tmp_path / f"{uid}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(published(uid, "ssd", "vgg", "https://example.com/model.pth", "pth"), encoding="utf-8")
            choice = providers.choose_network(Registry([tmp_path]).card(uid))
            assert choice.key == key
            assert "openmmlab" in choice.reason
    # A publisher's name alone means nothing, and a card outside of a registry has none.
    (tmp_path / "ssd300").mkdir()
    (tmp_path / "ssd300" / "ssd_vgg16.md").write_text(published("a/1/b", "x", "y", None), encoding="utf-8")
    assert providers.choose_network(Registry([tmp_path]).card("ssd300/ssd_vgg16")).key == "ssd_vgg16"
    bare = providers.choose_network(Hub().info(str(tmp_path / "ssd300" / "ssd_vgg16.md")))
    assert (bare.key, bare.reason) == ("ssd_vgg16", "the uid's 'ssd_vgg16'")


def test_the_published_ghostnet_cards_lead_to_it_by_their_words(tmp_path: Path) -> None:
    files = dict(zip(GHOSTS, [None, "https://example.com/lite/ssd.ms"], strict=True))
    for uid, link in files.items():
        path = tmp_path / f"{uid}.md"
        path.parent.mkdir(parents=True)
        path.write_text(published(uid, "GhostNet_SSD", "ghostnet1.3x", link, "mslite"), encoding="utf-8")
        card = Registry([tmp_path]).card(uid)
        choice = providers.choose_network(card)
        assert choice.key == "ssd_ghostnet"
        assert "ghostnet1.3x" in choice.reason
        with pytest.raises(UnsupportedFormatError, match=r"mindspore/1\.10/ssdghostnet_coco2017"):
            Hub(registry=tmp_path).checkpoint(uid)


def test_the_linter_finds_nothing_but_what_the_cards_suppress_with_a_reason() -> None:
    report = mshub.validate(ROOT, use_config=False)
    assert report.checked == len(list(ROOT.rglob("*.md")))
    assert report.findings == (), str(report)
    assert report.suppressed > 0
