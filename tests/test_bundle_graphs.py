"""Graphs in bundles: networks written down once, joined with verified weights where they arrive, and never believed."""

from __future__ import annotations

import json
import os
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bundlelab import forge
from commands import answer, environment, refused, run
from faultserver import FaultServer
from shelf import command_without_sockets, sha256, tree, without_sockets
from without import run_without

pytest.importorskip("openvino")

import mshub_ssd as mshub
from mshub_ssd import bundles, engines, graphs, store
from mshub_ssd.bundles import archive
from mshub_ssd.errors import IntegrityError, MshubError, UsageError
from mshub_ssd.hub import Hub

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
LINKED, SHORT, BESIDE, TWIN = "own/1.0/linked", "own/1.0/short", "own/1.0/beside", "own/1.1/linked"
OWN = sorted([LINKED, SHORT, BESIDE, TWIN])
PICTURE = Path(mshub.__file__).parent / "cli" / "demo_digits.png"
# In front of a program: no process can be started, so nothing can be recorded.
NO_PROCESS = """
import os, subprocess
def refuse(*args, **kwargs):
    raise AssertionError("a process was started")
subprocess.run = subprocess.Popen = subprocess.check_output = os.posix_spawn = os.fork = refuse
"""
DETECT = """
import sys, mshub_ssd as mshub
with mshub.Predictor({uid!r}, engine="openvino") as predict:
    found = predict({picture!r})
print(len(found), found.boxes.tobytes().hex(), found.scores.tobytes().hex(), found.labels.tolist(), found.names)
print([name for name in sys.modules if name.partition(".")[0] == "mindspore"])
"""

Member = tuple[str, bytes, list[str]]


def weights() -> bytes:
    return Hub().fetch(DIGITS).read_bytes()


def fill(folder: Path, server: FaultServer) -> None:
    """Cards of the digit detector: two with the same url, one with 8 digits of its digest, one with its file beside."""
    card = mshub.info(DIGITS)
    assert card.path is not None
    text, own, data = card.path.read_text(encoding="utf-8"), card.assets[0], weights()
    for uid in OWN:
        path = folder / f"{uid}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        name = f"{uid.rpartition('/')[2]}.ckpt"
        link = name if uid == BESIDE else f"<{server.add(f'/{name}', data)}>"
        if uid == BESIDE:
            (path.parent / link).write_bytes(data)
        digest = str(own.sha256)
        shown = text.replace(own.url, link).replace(digest, digest[:8] if uid == SHORT else digest)
        path.write_text(shown, encoding="utf-8")


_made: list[Path] = []


@pytest.fixture
def made(tmp_path_factory: pytest.TempPathFactory, tmp_path: Path) -> Path:
    """A bundle of all of them and of the package's own card, with graphs; made once, and for looking only."""
    if not _made:
        folder = tmp_path_factory.mktemp("made")
        with FaultServer() as server:
            fill(folder / "cards", server)
            hub = Hub(registry=folder / "cards", home=folder / "home")
            hub.make_bundle([*OWN, DIGITS], folder / "all.tar", with_graph=True)
        _made.append(folder / "all.tar")
    return _made[0]


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks that were written down."""
    told: list[str] = []
    real = engines.record
    monkeypatch.setattr(engines, "record", lambda key, *rest: told.append(key) or real(key, *rest))
    return told


@pytest.fixture
def away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Another machine's cache."""
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "away"))
    return tmp_path / "away"


def kept() -> list[store.Entry]:
    return store.entries(kinds=("graph",))


def files(home: Path) -> list[str]:
    """The names of all graphs in a cache."""
    return [path.name for path in (home / "v1" / "graphs" / "sha256").rglob("*") if path.is_file()]


def members_of(path: Path) -> list[Member]:
    with tarfile.open(path) as opened:
        return [
            (one.path, opened.extractfile(one.path).read(), list(one.uids))  # type: ignore[union-attr]
            for one in bundles.inspect(path).members
        ]


def linked_only(path: Path) -> list[Member]:
    """The members for one card."""
    return [(name, data, [LINKED]) for name, data, uids in members_of(path) if LINKED in uids]


def with_graph(members: list[Member], change: Callable[[dict[str, Any]], Any]) -> list[Member]:
    """The same, with the graph changed and all digests right."""
    *others, (_, data, uids) = members
    changed = change(json.loads(data))
    data = changed if isinstance(changed, bytes) else json.dumps(changed).encode()
    return [*others, (f"graphs/{sha256(data)}", data, uids)]


# --- there and back


def test_the_first_detection_records_nothing_and_finds_the_same(made: Path, away: Path, tmp_path: Path) -> None:
    asked = DETECT.format(uid=LINKED, picture=str(PICTURE))
    shown = command_without_sockets("bundle", "install", made)
    assert "5 graphs in the cache" in shown
    installed = set(files(away))
    assert len(installed) == 1
    answered = without_sockets(NO_PROCESS + asked)
    assert answered.splitlines()[1] == "[]", "MindSpore stays out"
    assert int(answered.split()[0]) >= 3
    # The same without a graph in the bundle: written down here.
    elsewhere = str(tmp_path / "elsewhere")
    command_without_sockets("bundle", "install", "--without-graphs", made, MSHUB_HOME=elsewhere)
    assert without_sockets(asked, MSHUB_HOME=elsewhere) == answered
    assert installed < set(files(Path(elsewhere))), "it is the very file that is made here"


@pytest.mark.parametrize("uid", [*OWN, DIGITS])
def test_every_kind_of_card_finds_its_graph(made: Path, away: Path, uid: str, recorded: list[str]) -> None:
    done = Hub().install_bundle(made)
    assert done.graphs == tuple(sorted([*OWN, DIGITS]))
    assert done.present == (DIGITS,)
    with mshub.Predictor(uid, engine="openvino") as predict:
        assert len(predict(PICTURE)) >= 3
    assert recorded == []


def test_a_card_whose_url_was_never_asked_needs_no_checkpoint_either(made: Path, away: Path) -> None:
    Hub().install_bundle(made)
    for path in (away / "v1" / "blobs").rglob("*"):
        if path.is_file():
            path.chmod(0o644)
            path.unlink()
    assert without_sockets(NO_PROCESS + DETECT.format(uid=LINKED, picture=str(PICTURE)))


def test_bundles_show_their_graphs(made: Path, away: Path, tmp_path: Path) -> None:
    members = bundles.inspect(made).members
    shapes = [one for one in members if one.kind == "graph"]
    assert [one.uids for one in shapes] == [tuple(sorted([*OWN, DIGITS]))], "equal ones travel once"
    assert shapes[0].size < 100_000, "without weights"
    shown = run("bundle", "ls", made).stdout
    assert len([line for line in shown.splitlines() if line.split()[:1] == ["graph"]]) == 5
    assert shapes[0].sha256 in shown
    assert "5 cards, 1 checkpoint, 1 graph (" in shown
    assert answer("bundle", "ls", made)["members"][-1]["path"] == f"graphs/{shapes[0].sha256}"
    facts = answer("bundle", "install", "--dry-run", made)
    assert facts["graphs"] == sorted([*OWN, DIGITS])
    assert kept() == []
    assert "1 graph" in run("bundle", DIGITS, "-o", tmp_path / "b.tar", "--with-graph").stdout
    assert run("bundle", "install", made).exit_code == 0
    assert run("cache", "ls").stdout.count("(graph)") == 1
    assert [one.checkpoint for one in kept()] == [sha256(weights())]
    assert run("cache", "verify").exit_code == 0


def test_the_same_cards_give_the_same_bytes_and_none_without_being_asked(tmp_path: Path) -> None:
    paths = [tmp_path / name for name in ("a.tar", "b.tar", "c.tar")]
    for path in paths:
        Hub().make_bundle([DIGITS], path, with_graph=path is not paths[2])
    assert paths[0].read_bytes() == paths[1].read_bytes()
    plain = bundles.inspect(paths[2])
    assert [one.kind for one in plain.members] == ["card", "checkpoint"]
    assert b'"version": 1' in archive.encode(plain)
    assert b'"version": 2' in archive.encode(bundles.inspect(paths[0]))


def test_making_one_needs_neither_mindspore_nor_an_engine(tmp_path: Path) -> None:
    out = tmp_path / "b.tar"
    run_without(
        {"mindspore", "openvino", "onnxruntime", "onnx"},
        f"import mshub_ssd as m; m.Hub().make_bundle([{DIGITS!r}], {str(out)!r}, with_graph=True)",
    )
    assert [one.kind for one in bundles.inspect(out).members] == ["card", "checkpoint", "graph"]


def test_what_cannot_be_written_down_makes_no_bundle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mshub.register_network("only_here")(lambda **kwargs: None)
    text = mshub.info(DIGITS).path.read_text(encoding="utf-8")  # type: ignore[union-attr]
    cards = tmp_path / "cards" / "own" / "1.0"
    cards.mkdir(parents=True)
    beside = mshub.info(DIGITS).assets[0].url
    (cards / beside).write_bytes(weights())
    (cards / "a.md").write_text(text.replace("name: ssd_mobilenetV2", "name: ssd300"), encoding="utf-8")
    before, after = text.split("network:")
    (cards / "b.md").write_text(f"{before}network: only_here\n\n{after[after.index('asset:') :]}", encoding="utf-8")
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    assert "only this process knows it" in refused("bundle", "own/1.0/b", "-o", tmp_path / "b.tar", "--with-graph")
    with pytest.raises(MshubError, match="takes no argument"):
        Hub().make_bundle(["own/1.0/a"], tmp_path / "b.tar", with_graph=True)
    assert not list(tmp_path.glob("*.tar"))


# --- what is not the same here is passed over


def other_arguments(content: dict[str, Any]) -> Any:
    content["key"]["arguments"]["num_classes"] = 12
    return content


def keyed(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {**content, "key": {**content["key"], **changes}}


@pytest.mark.parametrize(
    "change",
    [
        keyed(network="ssd300"),
        other_arguments,
        keyed(classes=["x"]),
        keyed(checkpoint="0" * 64),
        keyed(emitter=engines.EMITTER_VERSION + 1),
        keyed(code="0" * 64),
        keyed(more=1),
        lambda content: {**keyed(code="0" * 64)(content), "graph": "of a form that nobody knows yet"},
    ],
    ids=["network", "arguments", "classes", "checkpoint", "emitter", "code", "more", "form"],
)
def test_a_graph_of_anything_else_is_passed_over(
    change: Callable[[dict[str, Any]], Any],
    made: Path,
    away: Path,
    tmp_path: Path,
    recorded: list[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    path = forge(tmp_path / "b.tar", with_graph(linked_only(made), change), version=2)
    caplog.set_level("INFO", "mshub_ssd")
    assert Hub().install_bundle(path).graphs == ()
    assert f"{LINKED}: the bundle's graph is passed over" in caplog.text
    assert {one.levelname for one in caplog.records if "passed over" in one.message} == {"INFO"}
    assert "0 graphs in the cache, 1 passed over" in run("bundle", "install", path).stdout
    assert kept() == []
    with mshub.Predictor(LINKED, engine="openvino") as predict:
        assert len(predict(PICTURE)) >= 3
    assert recorded == ["ssd_mobilenetV2"]


def test_of_another_version_here_it_is_passed_over(made: Path, away: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphs, "_code", lambda key: "another")
    assert Hub().install_bundle(made).graphs == ()
    assert kept() == []


def test_a_graph_that_is_here_stays(made: Path, away: Path, tmp_path: Path) -> None:
    hub = Hub()
    mine = graphs.onnx_for(hub.plan(DIGITS), hub.settings)
    before = mine.path.stat()

    def harmless(content: dict[str, Any]) -> Any:
        content["config"]["score_threshold"] = 0.9
        return content

    path = forge(tmp_path / "b.tar", with_graph(linked_only(made), harmless), version=2)
    assert Hub().install_bundle(path).graphs == (LINKED,)
    assert mine.path.stat() == before
    assert graphs.onnx_for(hub.plan(LINKED), hub.settings).config == mine.config


def test_it_is_passed_over_where_numpy_is_missing(made: Path, away: Path) -> None:
    program = f"import mshub_ssd as m; print(m.Hub().install_bundle({str(made)!r}).graphs)"
    assert run_without({"numpy", "mindspore", "openvino", "onnxruntime", "cv2"}, program) == "()\n"


def test_it_is_passed_over_where_others_can_write(made: Path, away: Path, caplog: pytest.LogCaptureFixture) -> None:
    away.mkdir()
    away.chmod(0o2775)
    caplog.set_level("INFO", "mshub_ssd")
    done = Hub().install_bundle(made)
    assert (done.graphs, len(done.new)) == ((), 4)
    assert "by this user alone" in caplog.text


# --- what is no bundle of ours


def test_damage_is_refused_wherever_it_is(made: Path, away: Path, tmp_path: Path) -> None:
    whole = made.read_bytes()
    member = bundles.inspect(made).members[-1]
    with tarfile.open(made) as opened:
        start = opened.getmember(member.path).offset_data
    damaged = tmp_path / "b.tar"
    for place in (start, start + member.size // 2, start + member.size - 1):
        damaged.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        for more in ({}, {"dry_run": True}, {"with_graphs": False}):
            with pytest.raises(IntegrityError) as caught:
                Hub().install_bundle(damaged, **more)
            assert member.sha256 in str(caught.value)
    for length in (start + 100, start + member.size):
        damaged.write_bytes(whole[:length])
        with pytest.raises(IntegrityError, match="cut off"):
            Hub().install_bundle(damaged)
    assert not (away / "cards").exists()
    assert kept() == []


def without_a_node(content: dict[str, Any]) -> Any:
    del content["graph"]["nodes"][3]
    return content


def other_parameter(content: dict[str, Any]) -> Any:
    text = json.dumps(content)
    name = content["graph"]["parameters"][0][0]
    return text.replace(json.dumps(name), json.dumps(f"{name}_")).encode()


def other_input(content: dict[str, Any]) -> Any:
    content["config"]["image_size"] = 320
    return content


def outside_data(content: dict[str, Any]) -> Any:
    """An ONNX file, one of whose weights lies in a file elsewhere."""

    def part(number: int, data: bytes) -> bytes:
        return bytes([number << 3 | 2, len(data)]) + data

    place = part(1, b"location") + part(2, b"../../../etc/passwd")
    # TensorProto: dims, data_type, name, external_data, data_location = EXTERNAL
    tensor = b"\x08\x01\x10\x01" + part(8, b"w") + part(13, place) + b"\x70\x01"
    return b"\x08\x08" + part(7, part(2, b"g") + part(5, tensor)) + part(8, b"\x10\x11")


def outside_words(content: dict[str, Any]) -> Any:
    """The words of ONNX for a file elsewhere, in a parameter of ours."""
    content["graph"]["parameters"][0].append({"external_data": {"location": "/etc/passwd"}})
    return content


def as_part(name: str, value: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda content: {**content, name: value}


@pytest.mark.parametrize(
    "change",
    [
        lambda content: b"",
        lambda content: b"\xff\x00",
        lambda content: b"[" * 1_000_000,
        lambda content: b"[]",
        lambda content: b'{"format": "mshub_ssd network written down", "key": NaN}',
        lambda content: json.dumps(content)[:-1].encode(),
        lambda content: json.dumps(other_input(content)).replace('"image_size": 320', '"image_size": 1e999').encode(),
        as_part("more", float("nan")),
        as_part("format", "another"),
        as_part("key", None),
        as_part("graph", {}),
        as_part("graph", None),
        as_part("config", {}),
        as_part("config", {"kind": "SSDConfig"}),
        without_a_node,
        other_parameter,
        other_input,
        outside_data,
        outside_words,
    ],
)
def test_what_is_no_graph_is_refused_and_changes_nothing(
    change: Callable[[dict[str, Any]], Any], made: Path, away: Path, tmp_path: Path
) -> None:
    path = forge(tmp_path / "b.tar", with_graph(linked_only(made), change), version=2)
    with pytest.raises(IntegrityError):
        Hub().install_bundle(path)
    assert not (away / "cards").exists()
    assert kept() == []
    assert refused("bundle", "install", path).startswith("error: ")
    # Without its graphs, nothing is wrong with it.
    assert Hub().install_bundle(path, with_graphs=False).new == (LINKED,)
    assert kept() == []


def test_nobody_can_send_other_weights(made: Path, away: Path, tmp_path: Path) -> None:
    def doctored(content: dict[str, Any]) -> Any:
        content["graph"]["values"] = {content["graph"]["parameters"][0][0]: [0.0]}
        return content

    path = forge(tmp_path / "b.tar", with_graph(linked_only(made), doctored), version=2)
    with pytest.raises(IntegrityError):
        Hub().install_bundle(path)
    Hub().install_bundle(made)
    hub = Hub()
    home = str(tmp_path / "own")
    assert kept()[0].digest == graphs.onnx_for(hub.plan(DIGITS), Hub(home=home).settings).digest


def stated(number: int, **fields: Any) -> Callable[[list[dict[str, Any]]], Any]:
    def apply(items: list[dict[str, Any]]) -> Any:
        items[number] |= fields
        return items

    return apply


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"version": 1}, "not as mshub_ssd writes it"),
        ({"version": 4}, "pip install --upgrade"),
        ({"stated": stated(-1, size=(16 << 20) + 1)}, "path"),
        ({"stated": stated(-1, uids=["own/1.0/cat"])}, "a graph is for a card that is not there"),
        ({"stated": stated(-1, path="graphs/../../evil")}, "path"),
        ({"stated": stated(-1, path="graphs/" + "0" * 64)}, "path"),
        ({"stated": lambda items: [*items, items[-1]]}, "twice"),
        ({"stated": lambda items: [items[0], items[2]]}, "not every card has a file"),
    ],
    ids=["old", "new", "large", "foreign", "climbing", "name", "twice", "alone"],
)
def test_a_manifest_says_where_graphs_belong(
    change: dict[str, Any], said: str, made: Path, away: Path, tmp_path: Path
) -> None:
    path = forge(tmp_path / "b.tar", linked_only(made), **{"version": 2, **change})
    before = tree(tmp_path)
    for look in (bundles.inspect, Hub().install_bundle):
        with pytest.raises(IntegrityError, match=said):
            look(path)
    assert tree(tmp_path) == before


def test_all_graphs_together_are_bounded(made: Path, away: Path, tmp_path: Path) -> None:
    def many(items: list[dict[str, Any]]) -> Any:
        graph = {**items.pop(), "size": 16 << 20}
        return [*items, *({**graph, "path": f"graphs/{n:064}", "sha256": f"{n:064}"} for n in range(5))]

    path = forge(tmp_path / "b.tar", linked_only(made), stated=many, version=2)
    with pytest.raises(IntegrityError, match="graphs are too large"):
        bundles.inspect(path)


def test_a_bundle_with_graphs_serves_a_lock_file(made: Path, away: Path, tmp_path: Path) -> None:
    with mshub.Hub() as hub:
        hub.lock([DIGITS], tmp_path / "mshub.lock")
        hub.sync(tmp_path / "mshub.lock", locked=True, bundle=made)
    assert len(kept()) == 1
    assert environment()["MSHUB_HOME"] == os.environ["MSHUB_HOME"] == str(away)


def test_a_graph_needs_weights() -> None:
    hub = Hub()
    with pytest.raises(UsageError, match="needs weights"):
        graphs.written_down(hub.plan(DIGITS, pretrained=False), hub.settings)
