"""From a card to a network: real card layout, generated checkpoints, a local server."""

from __future__ import annotations

import functools
import hashlib
import itertools
import json
import logging
import sys
import textwrap
from pathlib import Path
from types import FrameType

import numpy as np
import pytest
from faultserver import Fault, FaultServer
from networks import picture, save_checkpoint, sha256, weights
from test_architecture import PACKAGE, ROW

import mshub_ssd as mshub
from mshub_ssd import store
from mshub_ssd.errors import (
    CardError,
    IntegrityError,
    MismatchError,
    MshubError,
    TransferError,
    UnknownModelError,
    UnsupportedFormatError,
    UsageError,
)
from mshub_ssd.hub import Hub
from mshub_ssd.store.transfer import override_policy

mindspore = pytest.importorskip("mindspore")

RESNET = "mindspore/1.7/ssdresnet50fpn_coco2017"
MOBILENET = "mindspore/1.8/ssdmobilenetv2_coco2017"
# The published file names; what lies behind them here is generated.
FILES = {
    RESNET: "/models/r1.7/ssdresnet50fpn_ascend_v170_coco2017_official_cv_acc37.56.ckpt",
    MOBILENET: "/models/r1.8/ssdmobilenetv2_ascend_v180_coco2017_research_cv_mAP25.17.ckpt",
}
KEYS = {RESNET: "ssd_resnet50_fpn", MOBILENET: "ssd_mobilenetV2"}


def card_text(name: str, link: str, digest: str, **more: str) -> str:
    """A card in the published layout: heading first, blank lines between keys, autolinks."""
    fields = {
        "model-name": name,
        "backbone-name": name,
        "module-type": "cv",
        "fine-tunable": "True",
        "model-version": "1.7",
        "train-dataset": "coco2017",
        "evaluation": "acc37.56",
        "author": "MindSpore team",
        "update-time": "2022-06-22",
        "user-id": "MindSpore",
        "used-for": "inference",
        "mindspore-version": "1.7",
        "asset": f"\n\n-\n    file-format: ckpt\n    asset-link: <{link}>\n    asset-sha256: {digest}",
        "license": "Apache2.0",
        "summary": f"{name}, a detector",
    }
    fields |= {key.replace("_", "-"): value for key, value in more.items()}
    lines = "\n\n".join(f"{key}: {value}" for key, value in fields.items())
    return f"# {name}\n\n---\n\n{lines}\n\n---\n\n## Introduction\n\nA network.\n"


def put(root: Path, uid: str, text: str) -> Path:
    path = root / f"{uid}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.fixture(scope="module")
def checkpoint_files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A checkpoint per network, as training leaves it."""
    folder = tmp_path_factory.mktemp("checkpoints")
    return {uid: save_checkpoint(folder / f"{key}.ckpt", weights(key), training=True) for uid, key in KEYS.items()}


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A second card root."""
    folder = tmp_path / "cards"
    folder.mkdir()
    monkeypatch.setenv("MSHUB_REGISTRY", str(folder))
    return folder


@pytest.fixture
def hub(root: Path, checkpoint_files: dict[str, Path], fault_server: FaultServer) -> Path:
    """The root with both cards, their checkpoints behind HTTP."""
    for uid, file in checkpoint_files.items():
        url = fault_server.add(FILES[uid], file.read_bytes())
        put(root, uid, card_text("ssd" if uid == RESNET else "ssd_mobilenetV2", url, sha256(file)))
    return root


def test_a_load_goes_one_way_through_the_rooms(hub: Path) -> None:
    """Every call between rooms goes to a row above, none back; and the Hub asks each room it needs in turn."""
    calls: list[tuple[str | None, str]] = []

    @functools.cache
    def room(file: str) -> str | None:
        path = Path(file)
        return path.relative_to(PACKAGE).parts[0].removesuffix(".py") if path.is_relative_to(PACKAGE) else None

    def note(frame: FrameType, event: str, _argument: object) -> None:
        callee, caller = room(frame.f_code.co_filename), frame.f_back
        if event != "call" or callee is None:
            return
        while caller is not None and room(caller.f_code.co_filename) is None:
            caller = caller.f_back
        # What runs while a module is imported is not called by whoever imported it first.
        if caller and not {frame.f_code.co_name, caller.f_code.co_name} & {"<module>", "__getattr__"}:
            calls.append((room(caller.f_code.co_filename), callee))

    session = Hub()
    sys.setprofile(note)
    try:
        session.load(MOBILENET)
    finally:
        sys.setprofile(None)
    between = [(caller, callee) for caller, callee in calls if caller != callee]
    assert {(caller, callee) for caller, callee in between if ROW[callee] >= ROW[caller]} == set()
    asked = [
        callee for caller, callee in between if caller == "hub" and callee not in ("errors", "redaction", "schemes")
    ]
    assert [room for room, _ in itertools.groupby(asked)] == ["registry", "providers", "loading"]
    assert {"store", "checkpoints", "networks"} <= {callee for caller, callee in between if caller == "loading"}


def assert_weights(network, key: str) -> None:
    for parameter in network.get_parameters():
        np.testing.assert_array_equal(parameter.asnumpy(), weights(key)[parameter.name])


@pytest.mark.parametrize("uid", [RESNET, MOBILENET])
def test_a_card_leads_to_its_network_with_its_weights(hub: Path, uid: str) -> None:
    network = mshub.load(uid)
    assert network.card.uid == uid
    assert network.config.name == KEYS[uid]
    assert network.training is False
    assert network.load_report.ok
    assert len(network.load_report.ignored) > 100
    assert_weights(network, KEYS[uid])


def test_mode_and_device_are_the_users(hub: Path) -> None:
    before = mindspore.get_context("mode"), mindspore.get_context("device_target")
    mshub.load(MOBILENET)
    assert (mindspore.get_context("mode"), mindspore.get_context("device_target")) == before


def test_the_official_usage_runs_with_the_import_changed(hub: Path) -> None:
    before = mindspore.get_context("mode")
    snippet = f"""
        import mshub_ssd as mshub
        from mindspore import context

        context.set_context(mode=context.GRAPH_MODE,
                            device_target="CPU",
                            device_id=0)

        model = "{RESNET}"
        network = mshub.load(model)
        network.set_train(False)
    """
    scope: dict = {}
    try:
        exec(textwrap.dedent(snippet), scope)
        location, scores = scope["network"](mindspore.Tensor(picture("ssd_resnet50_fpn")))
    finally:
        mindspore.set_context(mode=before)
    assert location.shape == (1, 51150, 4)
    assert 0 <= float(scores.min()) < float(scores.max()) <= 1


def test_each_refuses_the_others_checkpoint_with_a_report(root: Path, checkpoint_files: dict[str, Path]) -> None:
    for uid, other in ((RESNET, MOBILENET), (MOBILENET, RESNET)):
        file = checkpoint_files[other]
        card = put(root, uid, card_text("ssd", "wrong.ckpt", sha256(file)))
        (card.parent / "wrong.ckpt").write_bytes(file.read_bytes())
        with pytest.raises(MismatchError) as caught:
            mshub.load(uid)
        report = caught.value.report
        assert report.missing
        assert report.unexpected
        assert not any(name.startswith("moments.") for name in report.unexpected)
        for word in (KEYS[uid], "missing in the file", "unexpected in the file", report.missing[0], uid):
            assert word in str(caught.value)


def test_a_lost_renamed_or_reshaped_tensor_is_refused(root: Path) -> None:
    full = weights("ssd_mobilenetV2")
    name = "backbone.features_1.0.features.0.weight"
    cases = {
        "lost": {key: value for key, value in full.items() if key != name},
        "renamed": {(f"{key}_" if key == name else key): value for key, value in full.items()},
        "reshaped": full | {name: full[name][:-1]},
    }
    for case, arrays in cases.items():
        card = put(root, MOBILENET, card_text("ssd_mobilenetV2", "net.ckpt", "0" * 64))
        file = save_checkpoint(card.parent / "net.ckpt", arrays)
        put(root, MOBILENET, card_text("ssd_mobilenetV2", "net.ckpt", sha256(file)))
        with pytest.raises(MismatchError) as caught:
            mshub.load(MOBILENET)
        report = caught.value.report
        assert name in str(caught.value)
        assert (report.missing == (name,)) == (case != "reshaped")
        assert (report.unexpected == (f"{name}_",)) == (case == "renamed")
        assert bool(report.wrong_shape) == (case == "reshaped")
        file.unlink()


def test_other_classes_need_consent(hub: Path) -> None:
    with pytest.raises(MismatchError, match=r"multi_box\.multi_cls_layers\.0\.3\.weight"):
        mshub.load(MOBILENET, num_classes=21)
    network = mshub.load(MOBILENET, num_classes=21, strict=False)
    report = network.load_report
    assert {name.split(".")[1] for name, _, _ in report.wrong_shape} == {"multi_cls_layers"}
    assert len(report.loaded) + len(report.wrong_shape) == len(list(network.get_parameters()))
    # What did not fit is initialised, and the network runs.
    _, scores = network(mindspore.ops.zeros((1, 3, 320, 320), mindspore.float32))
    assert np.isfinite(scores.asnumpy()).all()
    assert scores.shape == (1, 2034, 21)


def test_without_weights_nothing_is_fetched(hub: Path, fault_server: FaultServer) -> None:
    network = mshub.load(MOBILENET, pretrained=False)
    assert fault_server.requests == []
    assert network.load_report is None
    values = next(p for p in network.get_parameters() if p.name.endswith("weight")).asnumpy()
    assert values.std() > 0


def test_load_weights_has_the_networks_names(hub: Path) -> None:
    parameters = mshub.load_weights(MOBILENET)
    expected = weights("ssd_mobilenetV2")
    assert set(parameters) == set(expected)
    name = next(iter(expected))
    assert isinstance(parameters[name], mindspore.Parameter)
    assert parameters[name].name == name
    np.testing.assert_array_equal(parameters[name].asnumpy(), expected[name])


def test_a_second_load_uses_the_cache_and_force_reload_does_not(hub: Path, fault_server: FaultServer) -> None:
    path = mshub.fetch(MOBILENET)
    assert mshub.fetch(MOBILENET) == path
    assert len(fault_server.requests) == 1
    mshub.load_weights(MOBILENET, force_reload=True)
    assert len(fault_server.requests) == 2


BODY = bytes(range(256)) * 64
FAULTS = {
    "flipped bit": Fault(flip_bit=777),
    "truncated body": Fault(truncate=5000),
    "empty body": Fault(truncate=0),
    "login page": Fault(body=b"<!DOCTYPE html><html></html>"),
    "redirect loop": Fault(redirect="/net.ckpt"),
    "odd scheme": Fault(redirect="file:///etc/passwd"),
    "dies half way": Fault(cut_after=8000, reset=True, ignore_range=True),
    "not there": Fault(status=404),
}
TRANSFER_FAULTS = {"redirect loop", "odd scheme", "dies half way", "not there"}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_bad_transfer_ends_in_our_error_each_time(root: Path, fault_server: FaultServer, kind: str) -> None:
    url = fault_server.add("/net.ckpt", BODY, then=FAULTS[kind])
    put(root, MOBILENET, card_text("ssd_mobilenetV2", url, hashlib.sha256(BODY).hexdigest()))
    kinds = TransferError if kind in TRANSFER_FAULTS else IntegrityError
    with override_policy(attempts=2, backoff=0.01, longest_wait=0.01):
        for call in (mshub.fetch, mshub.load, mshub.fetch):
            with pytest.raises(kinds):
                call(MOBILENET)
    # When the server has mended itself, so has everything here.
    fault_server.add("/net.ckpt", BODY)
    assert mshub.fetch(MOBILENET).read_bytes() == BODY


def test_a_digest_that_is_none_is_refused_before_any_transfer(root: Path, fault_server: FaultServer) -> None:
    url = fault_server.add("/net.ckpt", BODY)
    for digest in ("", "123", "z" * 64):
        put(root, MOBILENET, card_text("ssd_mobilenetV2", url, digest))
        with pytest.raises(IntegrityError, match=r"digest|sha256"):
            mshub.fetch(MOBILENET)
    assert fault_server.requests == []


def test_eight_digits_verify_as_a_prefix(root: Path, fault_server: FaultServer) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    url = fault_server.add("/net.ckpt", BODY)
    put(root, MOBILENET, card_text("ssd_mobilenetV2", url, digest[:8]))
    assert mshub.fetch(MOBILENET).read_bytes() == BODY
    put(root, MOBILENET, card_text("ssd_mobilenetV2", url, "00000000"))
    with pytest.raises(IntegrityError):
        mshub.fetch(MOBILENET)


def test_relative_assets_are_verified_on_every_use_and_stay_in_their_folder(root: Path) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    card = put(root, "own/1/net", card_text("ssd", "files/net.ckpt", digest, network="ssd_mobilenetV2"))
    file = card.parent / "files" / "net.ckpt"
    file.parent.mkdir()
    file.write_bytes(BODY)
    assert mshub.fetch("own/1/net") == file
    file.write_bytes(BODY[:-1] + b"x")
    with pytest.raises(IntegrityError):
        mshub.fetch("own/1/net")
    (root / "outside.ckpt").write_bytes(BODY)
    file.unlink()
    file.symlink_to(root / "outside.ckpt")
    with pytest.raises(CardError, match="out of the card's folder"):
        mshub.fetch("own/1/net")
    for link in ("../../outside.ckpt", "/etc/passwd", "file:///etc/passwd"):
        put(root, "own/1/net", card_text("ssd", link, digest, network="ssd_mobilenetV2"))
        with pytest.raises(MshubError):
            mshub.fetch("own/1/net")


@pytest.mark.parametrize(
    ("uid", "fields", "key"),
    [
        ("any/1/thing", {"network": "SSD-mobilenet_v2"}, "ssd_mobilenetV2"),
        ("any/1/thing", {"network": "{name: ssd_resnet50_fpn, num_classes: 81}"}, "ssd_resnet50_fpn"),
        ("any/1/ssd_resnet50_fpn_voc", {}, "ssd_resnet50_fpn"),
        ("any/1/ssdmobilenetv2", {"model_name": "ssd300", "backbone_name": "ssd"}, "ssd_mobilenetV2"),
        ("any/1/thing", {"link": "https://h/ssdresnet50fpn_ascend_v170_x.ckpt"}, "ssd_resnet50_fpn"),
        ("any/1/thing", {"backbone_name": "ssd_mobilenetV2"}, "ssd_mobilenetV2"),
        ("any/1/thing", {"model_name": "mobilenetV2_ssd", "backbone_name": "mobilenetv2"}, "ssd_mobilenetV2"),
        # The uid is surer than the asset's name, and `network:` than both.
        ("any/1/ssdmobilenetv2_x", {"link": "https://h/ssdresnet50fpn_x.ckpt"}, "ssd_mobilenetV2"),
        ("any/1/ssdmobilenetv2_x", {"network": "ssd_resnet50_fpn"}, "ssd_resnet50_fpn"),
        # A model's name alone proves nothing.
        ("any/1/thing", {"model_name": "ssd_mobilenetV2", "backbone_name": "ssd"}, None),
        ("any/1/thing", {"model_name": "ssd300", "backbone_name": "ssd"}, None),
        ("any/1/thing", {"network": "ssd_resnet50_fnp"}, None),
    ],
)
def test_which_network_a_card_means(root: Path, uid: str, fields: dict, key: str | None) -> None:
    from mshub_ssd.providers import plan

    link = fields.pop("link", "https://h/x.ckpt")
    put(root, uid, card_text("thing", link, "0" * 64, **fields))
    if key is None:
        with pytest.raises(UnknownModelError, match="network"):
            plan(mshub.info(uid))
        assert uid not in mshub.list_models(loadable=True)
        assert uid in mshub.list_models(loadable=False)
    else:
        planned = plan(mshub.info(uid))
        assert planned.recipe.key == key
        assert uid in mshub.list_models(loadable=True)


def test_card_files_load_by_path(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = card_text("thing", "https://h/ssdmobilenetv2_x.ckpt", "0" * 64)
    (tmp_path / "v1.0_card.md").write_text(text, encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    for name, source in (("v1.0_card.md", None), ("v1.0_card.md", "local"), (str(tmp_path / "v1.0_card.md"), None)):
        network = mshub.load(name, source=source, pretrained=False)
        assert network.card.uid == "v1.0_card"
        assert network.config.name == "ssd_mobilenetV2"
    with pytest.raises(UnknownModelError, match="no such card file"):
        mshub.load(MOBILENET, source="local")
    with pytest.raises(UsageError, match="unknown source"):
        mshub.load(MOBILENET, source="ftp")
    assert mshub.load(MOBILENET, source="gitee", pretrained=False).card.uid == MOBILENET


def test_cards_without_a_loadable_asset_say_so(root: Path) -> None:
    put(root, "any/1/ssdmobilenetv2", card_text("x", "https://h/x.mindir", "0" * 64).replace("ckpt", "mindir"))
    with pytest.raises(UnsupportedFormatError, match="GraphCell"):
        mshub.load("any/1/ssdmobilenetv2")
    put(root, "any/1/ssdmobilenetv2", card_text("x", "", "", asset="[]"))
    with pytest.raises(UnsupportedFormatError, match="names no checkpoint"):
        mshub.load("any/1/ssdmobilenetv2")
    assert mshub.load("any/1/ssdmobilenetv2", pretrained=False).config.name == "ssd_mobilenetV2"


def test_arguments_and_class_names_of_the_card_reach_the_constructor(root: Path) -> None:
    small = {
        "name": "ssd_mobilenetV2", "image_size": 96, "num_classes": 3, "stem_channels": 8,
        "blocks": [[1, 8, 1, 1], [4, 12, 1, 2]], "last_channels": 16, "taps": [], "extras": [],
        "box_sizes": [[[0.3, 0.3]]], "depthwise_head": True,
    }  # fmt: skip
    put(root, "own/1/small", card_text("x", "x.ckpt", "0" * 64, network=json.dumps(small), classes="[cat, dog]"))
    network = mshub.load("own/1/small", pretrained=False)
    assert network.config.class_names == ("cat", "dog")
    assert network.config.image_size == 96
    assert mshub.load("own/1/small", pretrained=False, num_classes=5).config.num_classes == 5
    for nonsense in ({"colour": "red"}, {"blocks": [[1, 2]]}, {"image_size": "large"}, {"stem_channels": None}):
        with pytest.raises(UsageError, match="cannot be built"):
            mshub.load("own/1/small", pretrained=False, **nonsense)


@pytest.mark.parametrize("argument", ["colour: red", "image_size: large", "num_classes: true", "taps: 3"])
def test_arguments_of_the_card_that_the_network_does_not_take_are_told_before_a_download(
    root: Path, argument: str
) -> None:
    network = (
        f"{{name: ssd_mobilenetV2, num_classes: 3, {argument}}}"
        if "num_" not in argument
        else (f"{{name: ssd_mobilenetV2, {argument}}}")
    )
    put(root, "own/1/odd", card_text("x", "https://nowhere.invalid/x.ckpt", "0" * 64, network=network))
    with pytest.raises(CardError, match="network ssd_mobilenetV2") as caught:
        mshub.load("own/1/odd")
    assert caught.value.expected is not None
    assert "own/1/odd" in mshub.list_models(loadable=False)
    # The file is what its digest says, whatever the network takes.
    assert Hub().checkpoint("own/1/odd").max_bytes is None
    put(root, "own/1/bare", card_text("x", "", "", asset="[]", network=network))
    with pytest.raises(UnsupportedFormatError, match="names no checkpoint"):
        mshub.fetch("own/1/bare")


@pytest.mark.parametrize("near", [True, False], ids=["beside its card", "behind a url"])
def test_a_file_is_not_larger_than_its_card_promises(root: Path, fault_server: FaultServer, near: bool) -> None:
    content = b"x" * 1000
    folder = root / "own" / "1"
    folder.mkdir(parents=True)
    (folder / "net.ckpt").write_bytes(content)
    link = "net.ckpt" if near else fault_server.add("/net.ckpt", content)
    digest = hashlib.sha256(content).hexdigest()
    for promised in (999, 1000):
        text = card_text("x", link, digest)
        stated = f"asset-sha256: {digest}"
        put(root, f"own/1/net{promised}", text.replace(stated, f"{stated}\n    asset-size: {promised}"))
        assert mshub.info(f"own/1/net{promised}").assets[0].size == promised
    with pytest.raises(IntegrityError, match="999"):
        mshub.fetch("own/1/net999")
    assert mshub.fetch("own/1/net1000").read_bytes() == content


def test_networks_of_ones_own_load_from_a_card(root: Path) -> None:
    @mshub.register_network("test_tiny_classifier")
    def build(outputs: int = 2) -> mindspore.nn.Cell:
        return mindspore.nn.Dense(3, outputs)

    text = card_text("tiny", "net.ckpt", "0" * 64, network="{name: test_tiny_classifier, outputs: 4}")
    card = put(root, "own/1/tiny", text)
    arrays = {"weight": np.arange(12, dtype=np.float32).reshape(4, 3), "bias": np.ones(4, np.float32)}
    file = save_checkpoint(card.parent / "net.ckpt", arrays)
    put(root, "own/1/tiny", text.replace("0" * 64, sha256(file)))
    network = mshub.load("own/1/tiny")
    np.testing.assert_array_equal(network.weight.asnumpy(), arrays["weight"])
    with pytest.raises(UsageError, match="a known family"):
        mshub.detect(network, np.zeros((8, 8, 3), np.uint8))


def test_partial_loads_are_logged(hub: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mshub_ssd"):
        mshub.load(MOBILENET, num_classes=3, strict=False)
    assert "loaded in part" in caplog.text


def test_unknown_names_suggest_the_nearest() -> None:
    with pytest.raises(UnknownModelError, match=RESNET):
        mshub.load("mindspore/1.7/ssdresnet50fpn_coco")
    with pytest.raises(UsageError):
        mshub.load(None)


def test_no_random_values_are_drawn_that_a_checkpoint_overwrites(hub: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mindspore.common import initializer

    drawn = []
    for kind in ("HeUniform", "HeNormal", "XavierUniform", "Normal", "Uniform", "TruncatedNormal"):
        original = getattr(initializer, kind)._initialize
        monkeypatch.setattr(
            getattr(initializer, kind),
            "_initialize",
            lambda *args, original=original, kind=kind: (drawn.append(kind), original(*args))[1],
        )
    mshub.load(MOBILENET)
    assert drawn == []
    mshub.load(MOBILENET, pretrained=False)
    assert drawn


def test_of_a_file_beside_its_card_the_bytes_that_were_verified_are_loaded(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    value = np.arange(100_000, dtype=np.float32)
    (root / "own").mkdir()
    path = save_checkpoint(root / "own" / "w.ckpt", {"a.weight": value})
    put(root, "own/net", card_text("net", "w.ckpt", sha256(path)).replace("<w.ckpt>", "w.ckpt"))
    real = store.verify_local

    def exchanged_at_once(*arguments: object) -> object:
        done = real(*arguments)
        path.chmod(0o600)
        path.write_bytes(b"somebody else's bytes")
        return done

    monkeypatch.setattr(store, "verify_local", exchanged_at_once)
    found = mshub.load_weights("own/net")
    np.testing.assert_array_equal(found["a.weight"].asnumpy(), value)
    path.chmod(0o600)
    path.write_bytes(b"somebody else's bytes")
    np.testing.assert_array_equal(found["a.weight"].asnumpy(), value)
    with pytest.raises(IntegrityError, match="not the one the card promises"):
        mshub.load_weights("own/net")
