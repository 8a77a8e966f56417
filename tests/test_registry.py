"""The registry: bundled cards, further folders, listing, searching, unknown names."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import pytest

import mshub_ssd
from mshub_ssd.cards import Card, parse_card
from mshub_ssd.errors import CardError, UnknownModelError, UsageError
from mshub_ssd.hub import Hub
from mshub_ssd.registry import Registry

RESNET = "mindspore/1.7/ssdresnet50fpn_coco2017"
MOBILENET = "mindspore/1.8/ssdmobilenetv2_coco2017"


def put(root: Path, uid: str, *lines: str, title: str = "Toy") -> Path:
    path = root / f"{uid}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([f"# {title}", "", "---", *lines, "---", ""]), encoding="utf-8")
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "cards"
    for version in ("1.10", "1.9", "2.3"):
        put(
            folder,
            f"zoo/{version}/ssd300_coco2017",
            "model-name: ssd300",
            "backbone-name: ssd_vgg16",
            "module-type: cv",
            "train-dataset: coco2017",
            f"mindspore-version: {version}",
        )
    put(
        folder,
        "other/cpu/1.10/sppnet_imagenet2012",
        "model-name: SPPNet",
        "module-type: cv",
        "train-dataset: ImageNet2012",
        "mindspore-version: 1.10",
        "summary: pyramid pooling, not ssd300",
        "network: {name: sppnet_mult}",
    )
    return folder


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("MSHUB_REGISTRY", raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "no-config"))


ORDER = [
    "other/cpu/1.10/sppnet_imagenet2012",
    "zoo/1.9/ssd300_coco2017",
    "zoo/1.10/ssd300_coco2017",
    "zoo/2.3/ssd300_coco2017",
]


def test_uids_in_natural_order(root: Path) -> None:
    registry = Registry([root])
    assert registry.uids() == ORDER == registry.list_models()
    assert registry.path(ORDER[1]) == root / f"{ORDER[1]}.md"
    card = registry.card(ORDER[2])
    assert (card.uid, card.mindspore_version, card.path) == (ORDER[2], "1.10", root / f"{ORDER[2]}.md")
    assert registry.card(f"{ORDER[2]}.md") == card


@pytest.mark.parametrize(
    ("filters", "expected"),
    [
        ({"pattern": "zoo/*"}, ORDER[1:]),
        ({"pattern": "*SSD300*"}, ORDER[1:]),
        ({"pattern": "zoo/1.1?/*"}, [ORDER[2]]),
        ({"pattern": "nothing"}, []),
        ({"task": "object-detection"}, ORDER[1:]),
        ({"task": "Image_Classification"}, ORDER[:1]),
        ({"dataset": "COCO2017"}, ORDER[1:]),
        ({"dataset": "imagenet*"}, ORDER[:1]),
        ({"dataset": "imagenet"}, []),
        ({"backbone": "ssd-vgg16"}, ORDER[1:]),
        ({"backbone": "vgg16"}, ORDER[1:]),
        ({"backbone": "sppnet_mult"}, ORDER[:1]),
        ({"publisher": "Zoo"}, ORDER[1:]),
        ({"mindspore_version": "1.10"}, [ORDER[0], ORDER[2]]),
        ({"mindspore_version": "1.1"}, []),
        ({"pattern": "zoo/*", "mindspore_version": "1.*"}, ORDER[1:3]),
        ({"network": "*"}, ORDER[:1]),
        ({"sort": "newest", "limit": 2}, [ORDER[3], ORDER[0]]),
        ({"sort": "size"}, ORDER),
    ],
)
def test_filters(root: Path, filters: dict[str, object], expected: list[str]) -> None:
    assert Registry([root]).list_models(**filters) == expected  # type: ignore[arg-type]


def test_a_number_is_no_version(root: Path) -> None:
    with pytest.raises(UsageError, match=r"mindspore_version is not text"):
        Registry([root]).list_models(mindspore_version=1.10)  # type: ignore[arg-type]


def test_damaged_cards_are_left_out_and_counted(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    put(root, "zoo/1.9/broken", "module-type: cv", "accuracy: a: b")
    (root / "zoo/1.9/bytes.md").write_bytes(b"\xff")
    (root / "zoo/1.9/dangling.md").symlink_to("nothing")
    registry = Registry([root])
    with caplog.at_level(logging.WARNING):
        assert registry.list_models() == registry.list_models("*", publisher="*") == ORDER
        assert [shown.uid for shown in registry.search("coco2017")] == ORDER[3:]
        assert [card.uid for card in registry.cards()] == ORDER
    assert caplog.records == []
    reasons = dict(registry.damaged())
    assert set(reasons) == {"zoo/1.9/broken", "zoo/1.9/bytes", "zoo/1.9/dangling"}
    for uid in reasons:
        with pytest.raises(CardError):
            registry.card(uid)


def test_search_ranks_uids_first(root: Path) -> None:
    registry = Registry([root])

    def search(text: str, limit: int | None = None) -> list[str]:
        return [shown.uid for shown in registry.search(text, limit)]

    assert search("ssd300") == [ORDER[3], ORDER[0]], "a name before a summary, and of each model the newest"
    assert search("ssd300", limit=1) == [ORDER[3]]
    assert search("SSD300 1.10 ") == [ORDER[2], ORDER[0]]
    assert search("pyramid image-classification") == [ORDER[0]]
    assert search("pyramid detection") == []
    assert [shown.uid for shown in registry.nearest("pyramid detection")] == [ORDER[3], ORDER[0]]


def test_unknown_uids_name_the_nearest(root: Path) -> None:
    registry = Registry([root])
    for asked, near in [
        ("zoo/1.10/ssd300_coco2018", "zoo/1.10/ssd300_coco2017"),
        ("ZOO/1.10/SSD300_coco2017", "zoo/1.10/ssd300_coco2017"),
        ("zoo/1.8/ssd300_coco2017", "zoo/2.3/ssd300_coco2017"),
        ("sppnet_imagenet", "other/cpu/1.10/sppnet_imagenet2012"),
    ]:
        with pytest.raises(UnknownModelError) as caught:
            registry.card(asked)
        assert caught.value.hint is not None
        assert near in caught.value.hint
        assert "mshub info" in caught.value.hint
        assert asked in str(caught.value)


def test_short_names_mean_the_newest_card_of_the_only_model(root: Path) -> None:
    registry = Registry([root])
    for name in ("ssd300_coco2017", "SSD300_coco2017", "zoo/latest/ssd300_coco2017", "latest/ssd300_coco2017"):
        assert registry.card(name).uid == ORDER[3]
    assert registry.card("sppnet_imagenet2012").uid == ORDER[0]
    put(root, "pub/1.0/ssd300_coco2017", "model-name: other")
    with pytest.raises(UnknownModelError, match="several models") as caught:
        registry.card("ssd300_coco2017")
    assert caught.value.expected == "pub/1.0/ssd300_coco2017 or zoo/2.3/ssd300_coco2017"


@pytest.mark.parametrize(
    "uid", ["../../etc/passwd", "/etc/passwd", "", "x" * 100_000, "zoo/1.9/../1.9/ssd300_coco2017"]
)
def test_uids_are_never_paths(root: Path, uid: str) -> None:
    with pytest.raises(UnknownModelError) as caught:
        Registry([root]).path(uid)
    assert len(str(caught.value)) < 1000


def test_what_is_no_card(root: Path, tmp_path: Path) -> None:
    outside = put(tmp_path / "outside", "secret", "model-name: s")
    (root / "zoo/linked.md").symlink_to(outside)
    (root / "linked").symlink_to(outside.parent)
    (root / "loop").symlink_to(root)
    (root / "zoo/inside.md").symlink_to("1.9/ssd300_coco2017.md")
    (root / "dangling.md").symlink_to(root / "none.md")
    put(root, "README")
    put(root, ".hidden")
    put(root, ".git/x")
    put(root, "with space")
    put(root, "ümlaut")
    put(root, "a..b")
    (root / "notes.txt").write_text("x")
    (root / "folder.md").mkdir()
    assert set(Registry([root]).uids()) == {*ORDER, "zoo/inside"}


def test_a_root_may_be_a_link_and_a_long_way_down(root: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    put(root, "a/b/c/d/e/f", "model-name: f")
    put(root, "/".join(["deep"] * 60))
    assert Registry([link]).uids() == ["a/b/c/d/e/f", *ORDER]


def test_earlier_roots_hide_later_ones(root: Path, tmp_path: Path) -> None:
    own = tmp_path / "own"
    mine = put(own, ORDER[1], "model-name: mine")
    put(own, "one", "model-name: one")
    registry = Registry([own, root])
    assert registry.uids() == ["one", *ORDER]
    assert registry.path(ORDER[1]) == mine
    assert Registry([root, own]).path(ORDER[1]) == root / f"{ORDER[1]}.md"


def test_missing_roots_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "none"))
    with pytest.raises(UsageError) as caught:
        Hub().list_models()
    assert str(tmp_path / "none") in str(caught.value)
    assert "MSHUB_REGISTRY" in str(caught.value)


def test_default_registry_joins_own_folders_and_bundled_cards(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shadow = put(tmp_path / "shadow", RESNET, "model-name: mine")
    monkeypatch.setenv("MSHUB_REGISTRY", os.pathsep.join([str(tmp_path / "shadow"), str(root)]))
    registry = Hub().registry
    assert {*ORDER, RESNET, MOBILENET} <= set(registry.uids())
    assert registry.path(RESNET) == shadow
    assert registry.card(RESNET).model_name == "mine"


@pytest.mark.usefixtures("alone")
@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        (
            RESNET,
            {
                "title": "ssd_resnet50_fpn",
                "model_name": "ssd300",
                "backbone_name": "ssd",
                "version": "1.7",
                "size": 640,
                "metric": ("acc", 37.56),
                "date": "2022-06-22",
                "network": "ssd_resnet50_fpn",
                "file": "r1.7/ssdresnet50fpn_ascend_v170_coco2017_official_cv_acc37.56.ckpt",
                "sha256": "5bf0dc1251ceca4bccc7fa1c42b972188901bf668c4fdf08b0856f6fb3a2bcd1",
                "repo": "r1.7/official/cv/ssd",
            },
        ),
        (
            MOBILENET,
            {
                "title": "ssd_mobilenetV2",
                "model_name": "ssd_mobilenetV2",
                "backbone_name": "ssd_mobilenetV2",
                "version": "1.8",
                "size": 320,
                "metric": ("mAP", 25.17),
                "date": "2022-07-19",
                "network": "ssd_mobilenetV2",
                "file": "r1.8/ssdmobilenetv2_ascend_v180_coco2017_research_cv_mAP25.17.ckpt",
                "sha256": "29614ef2f9488c31a0e05ec2361170085cb826f96d94226d3171298f431e2766",
                "repo": "r1.8/research/cv/ssd_mobilenetV2",
            },
        ),
    ],
)
def test_bundled_cards(uid: str, expected: dict[str, object]) -> None:
    card = Hub().registry.card(uid)
    assert card.network is not None
    assert card.update_time is not None
    (metric,) = card.metrics
    (asset,) = card.assets
    assert {
        "title": card.title,
        "model_name": card.model_name,
        "backbone_name": card.backbone_name,
        "version": card.mindspore_version,
        "size": card.input_shape and card.input_shape[1],
        "metric": (metric.name, metric.value),
        "date": card.update_time.isoformat(),
        "network": card.network.name,
        "file": asset.url.removeprefix("https://download.mindspore.cn/models/"),
        "sha256": asset.sha256,
        "repo": (card.repo_link or "").removeprefix("https://gitee.com/mindspore/models/tree/"),
    } == expected
    assert card.task == "object-detection"
    assert card.datasets == ("coco2017",)
    assert card.license == "Apache-2.0"
    assert card.fine_tunable is True
    assert asset.file_format == "ckpt"
    assert f'mshub.load("{uid}")' in card.body
    assert "mshub.detect" in card.body


@pytest.mark.usefixtures("alone")
def test_bundled_cards_read_with_plain_yaml_too() -> None:
    """Old tools take the lines between the two fences to YAML as they are."""
    import yaml

    registry = Hub().registry
    for uid in (RESNET, MOBILENET):
        text = registry.path(uid).read_text(encoding="utf-8")
        plain = yaml.safe_load(text.split("\n---\n")[1])
        card = parse_card(text, uid=uid)
        assert plain["mindspore-version"] == card.mindspore_version
        assert plain["asset"][0]["asset-sha256"] == card.assets[0].sha256
        assert plain["update-time"] == str(card.update_time)
        assert plain["network"] == (card.network and card.network.name)


def test_listing_is_light(tmp_path: Path) -> None:
    """Neither heavy packages nor the parser are imported for a listing."""
    code = (
        "import sys; from mshub_ssd.hub import Hub\n"
        "list = Hub().registry.list_models\n"
        "assert list() and list(task='*') and list(loadable=True) and Hub().search('ssd')\n"
        "heavy = {'numpy', 'requests', 'mindspore', 'yaml', 'markdown_it', 'tqdm', 'PIL', 'cv2', 'click'}\n"
        "print(sorted(heavy & set(sys.modules)))"
    )
    environ = {key: text for key, text in os.environ.items() if key != "MSHUB_REGISTRY"}
    environ |= {"PYTHONPATH": str(Path(mshub_ssd.__file__).parents[1]), "MSHUB_HOME": str(tmp_path)}
    for said in ("['yaml']\n", "[]\n"):  # cards are parsed once
        done = subprocess.run([sys.executable, "-c", code], env=environ, capture_output=True, text=True)
        assert done.stdout == said, done.stderr


def test_cards_are_typed() -> None:
    assert isinstance(Hub().registry.card(RESNET), Card)
