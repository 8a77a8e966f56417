"""`mshub new`: what it writes validates and loads; what it cannot know it asks for; what is wrong it refuses."""

from __future__ import annotations

import hashlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import answer, environment, refused, run
from faultserver import FaultServer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import mshub_ssd as mshub
from mshub_ssd import checkpoints, lint, networks
from mshub_ssd.cards import read_card
from mshub_ssd.drafting import recognising

mindspore = pytest.importorskip("mindspore")

DIGITS = Path(__file__).parent.parent / "hub_models/mshub/1.0/ssdmobilenetv2_digits.ckpt"
SMALL = "ssd_mobilenetV2_FPNlite"
TOLD = {
    "--summary": "Finds fish on pictures of rivers: 320 x 320 pixels",
    "--license": "apache 2.0",
    "--repo-link": "https://example.org/me/fish/tree/v1",
    "--evaluation": "mAP: 25.17 | AP50: 43.2",
}
REST = [part for pair in TOLD.items() for part in pair]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder."""
    place = tmp_path / "work"
    place.mkdir()
    monkeypatch.chdir(place)
    return place


def shapes(key: str, **arguments: Any) -> dict[str, np.ndarray]:
    """A checkpoint's arrays: pages of zeros, which take no memory."""
    cell = networks.build(key, card=arguments, initialised=False)
    return {name: np.zeros(shape, kind) for name, (shape, kind) in networks.parameter_types(cell).items()}


def checkpoint(path: Path, key: str = SMALL, **arguments: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    checkpoints.write(path, shapes(key, **arguments))
    return path


def other(path: Path, **arrays: np.ndarray) -> Path:
    """A checkpoint of no known network."""
    checkpoints.write(path, arrays or {"some.weight": np.ones((3, 4), np.float32)})
    return path


def new(*args: object) -> Any:
    """The JSON answer of a command that may write notes to stderr."""
    result = run("new", *args, "--no-input", "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def clean(path: Path) -> None:
    report = mshub.validate(path)
    assert report.findings == (), str(report)


# --- networks


@pytest.mark.parametrize("key", sorted(networks.NETWORKS))
@pytest.mark.parametrize("count", [None, 4])
def test_a_checkpoint_tells_its_network_and_the_number_of_classes(key: str, count: int | None) -> None:
    arrays = shapes(key, **({} if count is None else {"num_classes": count}))
    found, nearest = recognising.recognise(arrays, [])
    assert key in {one.key for one in found}
    assert len({one.key for one in found} - {"sppnet_mult", "sppnet_single"}) <= 1
    assert nearest == []
    for one in found:
        assert one.standard == (count is None)
        assert count in (None, one.num_classes)
        assert one.report is not None
        assert one.report.ok


def test_a_known_network_is_recognised_and_loads(folder: Path) -> None:
    checkpoint(folder / "hub_models/me/1.0/weights.ckpt")
    facts = new("me/1.0/lite_coco2017", "--checkpoint", "hub_models/me/1.0/weights.ckpt", *REST)
    assert facts["path"] == "hub_models/me/1.0/lite_coco2017.md"
    assert (facts["network"], facts["findings"], facts["copied"]) == (SMALL, [], None)
    path = Path(facts["path"])
    clean(path)
    card = read_card(path)
    assert card.network is not None
    assert (card.network.name, dict(card.network.arguments), card.classes) == (SMALL, {}, None)
    assert (card.model_name, card.datasets, card.user_id, card.model_version) == ("lite", ("coco2017",), "me", "1.0")
    assert (card.input_shape, card.task, card.license) == ((3, 320, 320), "object-detection", "Apache-2.0")
    assert card.mindspore_version == mindspore.__version__
    assert "under Apache-2.0" in card.body
    assert [(one.name, one.value) for one in card.metrics] == [("mAP", 25.17), ("AP50", 43.2)]
    (asset,) = card.assets
    file = path.parent / "weights.ckpt"
    assert asset.url == "weights.ckpt"
    assert (asset.sha256, asset.size) == (hashlib.sha256(file.read_bytes()).hexdigest(), file.stat().st_size)
    assert mshub.load(path).load_report.ok
    strict = lint.lint([path], lint.load_config(profile="strict", use_file=False))
    assert strict.findings == (), str(strict)


def test_classes_of_ones_own_are_counted_and_must_be_named(folder: Path) -> None:
    file = checkpoint(folder / "net.ckpt", num_classes=4)
    args = ["new", "me/1.0/lite_fish", "--checkpoint", file, "--copy", "--no-input", *REST]
    assert "the card needs --classes" in refused(*args, code=2)
    four = refused(*args, "--classes", "background, cod, eel, ray")
    assert "3 names" in four
    assert "leave the background out" in four
    assert not list(folder.rglob("*.md")), "nothing was written"
    assert not (folder / "me").exists()
    (folder / "names.txt").write_text('cod\n\neel\n  ray: "a" #1 \n', encoding="utf-8")
    facts = new(*args[1 : -len(REST) - 1], *REST, "--classes", "names.txt")
    path = Path(facts["path"])
    assert path == Path("me/1.0/lite_fish.md")
    assert facts["copied"] == "me/1.0/net.ckpt"
    clean(path)
    network = mshub.load(path)
    assert network.config.class_names == ("cod", "eel", 'ray: "a" #1')
    assert network.load_report.ok
    card = read_card(path)
    assert card.network is not None
    assert card.network.arguments["num_classes"] == 4


def test_a_coco_network_of_other_data_needs_names_even_if_the_number_fits(folder: Path) -> None:
    file = checkpoint(folder / "net.ckpt")
    args = ["me/1.0/lite_fish", "--checkpoint", file, "--copy", *REST]
    assert "--classes" in refused("new", *args, "--no-input", code=2)
    names = ",".join(f"fish {number}" for number in range(80))
    facts = new(*args, "--classes", names)
    card = read_card(facts["path"])
    assert card.network is not None
    assert not card.network.arguments
    assert card.classes is not None
    assert card.classes[79] == "fish 79"
    clean(Path(facts["path"]))


def test_arguments_are_those_of_a_card_that_fits(folder: Path) -> None:
    facts = new("me/1.0/mine_digits", "--checkpoint", DIGITS, "--copy", *REST)
    assert "mshub/1.0/ssdmobilenetv2_digits" in "".join(facts["notes"])
    path = Path(facts["path"])
    clean(path)
    assert mshub.load(path).config.class_names == tuple("0123456789")
    detections = mshub.detect(str(path), Path(mshub.__file__).parent / "cli/demo_digits.png")
    assert len(detections) > 3
    # Of other data the names are not taken over.
    assert "--classes" in refused(
        "new", "me/1.0/mine_letters", "--checkpoint", DIGITS, "--copy", "--no-input", *REST, code=2
    )


def test_a_network_that_does_not_fit_is_refused_by_option_and_by_name(folder: Path) -> None:
    file = checkpoint(folder / "net.ckpt")
    args = ("--checkpoint", file, "--no-input", *REST)
    told = refused("new", "me/1.0/x_coco2017", *args, "--network", "ssd_vgg16")
    assert f"--network {SMALL}" in told
    unknown = refused("new", "me/1.0/x_coco2017", *args, "--network", "ssd_vgg61")
    assert "ssd_vgg16" in unknown
    strange = refused("new", "me/1.0/x_coco2017", *args, "--network", "{name: ssd300, num_clases: 4}")
    assert "num_classes" in strange
    stranger = other(folder / "other.ckpt")
    named = refused("new", "me/1.0/ssd300_coco2017", "--checkpoint", stranger, "--no-input", *REST)
    assert "ssd300" in named
    assert not list(folder.rglob("*.md"))


def test_arguments_can_be_given(folder: Path) -> None:
    file = checkpoint(folder / "net.ckpt", "ssd_mobilenetV2", num_classes=3, image_size=160, last_channels=64)
    args = ["me/1.0/mine_fish", "--checkpoint", file, "--copy", "--classes", "cod,eel", *REST]
    told = refused("new", *args, "--no-input", code=2)
    assert "the nearest is ssd_mobilenetV2: " in told
    told = refused("new", *args, "--no-input", "--network", "{name: ssd_mobilenetV2, image_size: 160}")
    assert "does not fit" in told
    facts = new(*args, "--network", "{name: ssd_mobilenetV2, last_channels: 64, image_size: 160}")
    assert (facts["network"], facts["num_classes"]) == ("ssd_mobilenetV2", 3)
    network = mshub.load(facts["path"])
    assert (network.load_report.ok, network.config.image_size) == (True, 160)
    assert read_card(facts["path"]).input_shape == (3, 160, 160)


def test_a_model_of_no_known_network_gets_a_card_too(folder: Path) -> None:
    stranger = other(folder / "other.ckpt")
    args = ["me/1.0/talker_books", "--checkpoint", stranger, "--copy", *REST]
    assert "--task" in refused("new", *args, "--no-input", code=2)
    facts = new(*args, "--task", "nlp-translation")
    assert facts["network"] is None
    card = read_card(facts["path"])
    assert (card.network, card.task, card.classes) == (None, "translation", None)
    assert "mshub.load(" not in card.body
    assert "register_network" in card.body
    assert "cannot be loaded here until its network is registered" in facts["notes"][-1]
    assert not any("doctor" in line for line in facts["next"])
    clean(Path(facts["path"]))


def test_a_file_for_other_programs_gets_a_card_too(folder: Path) -> None:
    (folder / "net.onnx").write_bytes(b"ONNX")
    result = run(
        "new",
        "me/1.0/net_coco2017",
        "--checkpoint",
        "net.onnx",
        "--copy",
        *REST,
        "--task",
        "object-detection",
        "--no-input",
    )
    card = read_card(folder / "me/1.0/net_coco2017.md")
    assert (card.assets[0].file_format, card.fine_tunable, card.module_type) == ("onnx", False, "cv-object_detection")
    assert "other programs" in result.stdout
    assert "MC031" in result.stdout


# --- the file


def test_a_file_elsewhere_is_copied_on_request_only(folder: Path) -> None:
    (folder / "else").mkdir()
    file = other(folder / "else/net.ckpt")
    args = ["new", "me/1.0/net_books", "--checkpoint", file, "--task", "nlp-chat", "--no-input", *REST]
    assert "--copy" in refused(*args, code=2)
    beside = folder / "me/1.0/net.ckpt"
    beside.parent.mkdir(parents=True)
    beside.write_bytes(b"another")
    assert "another file of that name" in refused(*args, "--copy")
    assert beside.read_bytes() == b"another"
    assert run(*args, "--copy", "--force").exit_code == 0
    assert beside.read_bytes() == file.read_bytes()
    assert run(*args, "--copy", "--force").exit_code == 0, "the same file may be there"


def test_a_file_below_the_cards_folder_is_named_relative_to_it(folder: Path) -> None:
    (folder / "cards/me/1.0/files of mine").mkdir(parents=True)
    file = other(folder / "cards/me/1.0/files of mine/net #1.ckpt")
    facts = new("me/1.0/net_books", "--checkpoint", file, "--task", "nlp-chat", "--registry", "cards", *REST)
    assert facts["path"] == "cards/me/1.0/net_books.md"
    assert read_card(facts["path"]).assets[0].url == "files of mine/net #1.ckpt"
    clean(Path(facts["path"]))
    assert any("MSHUB_REGISTRY" in line for line in facts["next"])


@pytest.mark.parametrize(
    ("name", "content", "expected"),
    [("none.ckpt", None, "cannot be read"), ("net.zip", b"x", "ending"), ("net.ckpt", b"<html>", "net.ckpt")],
)
def test_a_checkpoint_that_is_none_is_refused(folder: Path, name: str, content: bytes | None, expected: str) -> None:
    if content is not None:
        (folder / name).write_bytes(content)
    args = ("new", "me/1.0/net_books", "--checkpoint", name, "--copy", "--task", "nlp-chat", "--no-input", *REST)
    assert expected in refused(*args)
    assert not list(folder.rglob("*.md"))


def test_a_digest_is_compared(folder: Path) -> None:
    file = other(folder / "net.ckpt")
    args = ["new", "net", "--checkpoint", file, "--no-input", *REST]
    assert "not the file that the digest is of" in refused(*args, "--sha256", "0" * 63 + "1")
    assert "64 hex digits" in refused(*args, "--sha256", "abc")


def test_a_url_needs_a_digest_or_a_download(folder: Path, fault_server: FaultServer) -> None:
    file = checkpoint(folder / "net.ckpt")
    url = fault_server.add("/files/lite_coco2017.ckpt", file.read_bytes())
    args = ["me/1.0/lite_coco2017", "--checkpoint", url, *REST]
    told = refused("new", *args, "--no-input", code=2)
    assert "--sha256 (or --fetch" in told
    assert not fault_server.requests
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    # Without the file, names tell the network, and nothing is downloaded.
    facts = new(*args, "--sha256", digest, "--network", SMALL)
    assert not fault_server.requests
    assert read_card(facts["path"]).assets[0].size is None
    assert any("not looked at" in text for text in facts["notes"])
    # With it, it is there afterwards; it was sent once.
    facts = new(*args, "--fetch", "--force")
    assert (facts["network"], len(fault_server.requests)) == (SMALL, 1)
    assert any("compare it with its maker's" in text for text in facts["notes"])
    (asset,) = read_card(facts["path"]).assets
    assert (asset.url, asset.sha256, asset.size) == (url, digest, file.stat().st_size)
    assert mshub.load(facts["path"]).load_report.ok
    assert len(fault_server.requests) == 1
    assert "not those the card promises" in refused(
        "new", *args, "--fetch", "--force", "--sha256", "1" * 64, "--no-input"
    )


# --- the command


@pytest.mark.parametrize(
    ("uid", "expected"),
    [
        ("../x", "no uid"),
        ("me/1.0/net.v2", "no uid"),
        ("me/1.0/", "no uid"),
        ("me//x", "no uid"),
        ("me/1.0/readme", "no uid"),
        ("hub_models/me/1.0/net", "mshub new me/1.0/net"),
    ],
)
def test_what_is_no_uid_is_refused(folder: Path, uid: str, expected: str) -> None:
    (folder / "hub_models").mkdir()
    assert expected in refused("new", uid, "--no-input")


def test_what_is_missing_is_said_at_once(folder: Path) -> None:
    told = refused("new", "me/1.0/net_fish", code=2)
    assert all(name in told for name in ("--checkpoint", "--summary", "--license", "--task"))
    assert "--repo-link" not in told
    assert "--repo-link" in refused("new", "mindspore/1.7/net_fish", code=2), "the official hub asks for more"


@pytest.mark.parametrize(
    ("args", "expected"),
    [
        (["--evaluation", "good"], "no figures"),
        (["--evaluation", "mAP: 1", "--evaluation", "25"], "no figures"),
        (["--input-shape", "a,b"], "no shape"),
        (["--input-shape", "0,3"], "no shape"),
        (["--summary", "bell \a"], "summary"),
        (["--classes", "a,b,a"], "twice"),
        (["--dataset", " , "], "train-dataset"),
    ],
)
def test_wrong_values_are_refused_by_name(folder: Path, args: list[str], expected: str) -> None:
    file = other(folder / "net.ckpt")
    rest = [part for name, value in TOLD.items() if name not in args for part in (name, value)]
    base = ["new", "me/1.0/n_b", "--checkpoint", file, "--copy", "--task", "nlp-chat", "--no-input", *rest]
    assert expected in refused(*base, *args)
    assert not list(folder.rglob("*.md"))


def test_a_card_is_not_replaced_unasked(folder: Path) -> None:
    file = other(folder / "net.ckpt")
    args = ("new", "net_books", "--checkpoint", file, "--task", "nlp-chat", "--user-id", "me", "--no-input", *REST)
    assert run(*args).exit_code == 0
    before = (folder / "net_books.md").read_text()
    told = refused(*args)
    assert "--force" in told
    assert run(*args[:-2], "--evaluation", "acc: 1", "--force").exit_code == 0
    assert (folder / "net_books.md").read_text() != before


def test_a_dry_run_prints_the_card_and_writes_nothing(folder: Path) -> None:
    file = other(folder / "net.ckpt")
    args = ("new", "me/1.0/n_b", "--checkpoint", file, "--copy", "--task", "nlp-chat", "--no-input", "--dry-run", *REST)
    shown = run(*args)
    assert (shown.exit_code, shown.stdout.splitlines()[0]) == (0, "# n")
    assert answer(*args)["text"].splitlines()[:3] == ["# n", "", "---"]
    assert [path.name for path in folder.iterdir()] == ["net.ckpt"]


def test_a_dry_run_says_what_writing_would_say(folder: Path) -> None:
    file = checkpoint(folder / "net.ckpt")
    (folder / "mshub.toml").write_text('profile = "strict"\n', encoding="utf-8")
    rest = ["--license", "MIT", "--summary", "TODO", "--evaluation", "mAP: 1", "--no-input"]
    args = ["new", "me/1.0/lite_coco2017", "--checkpoint", file, "--copy", *rest]
    foreseen = run(*args, "--dry-run", "--json")
    assert list(folder.rglob("*.md")) == []
    told = run(*args, "--dry-run")
    written = run(*args, "--json")
    findings = json.loads(written.stdout)["findings"]
    assert findings, "the example is none"
    assert json.loads(foreseen.stdout)["findings"] == findings
    assert (foreseen.exit_code, told.exit_code) == (written.exit_code, written.exit_code)
    assert all(one["message"] in told.stderr for one in findings)
    again = run(*args, "--dry-run", "--json", "--force")
    assert json.loads(again.stdout)["findings"] == findings


WORDS = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cf", "Cn", "Co", "Cs"]), min_size=1, max_size=20
)


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(WORDS, WORDS, WORDS)
def test_hostile_words_make_valid_cards(folder: Path, summary: str, author: str, name: str) -> None:
    file = folder / "net.ckpt"
    if not file.exists():
        other(file)
    args = [f"--summary=x{summary}", f"--author=x{author}", "--license", "MIT", "--repo-link", TOLD["--repo-link"]]
    args += ["--evaluation", "mAP: 1", "--classes", f"a{name.replace(',', '')},b", "--task", "nlp-chat"]
    facts = new("me/1.0/n_b", "--checkpoint", file, "--copy", "--force", *args)
    card = read_card(facts["path"])
    assert card.summary == " ".join(f"x{summary}".split())
    assert card.author == " ".join(f"x{author}".split())
    assert {one["code"] for one in facts["findings"]} <= {"MC045"}, facts["findings"]


def test_without_numpy_and_mindspore_names_tell_the_network(folder: Path) -> None:
    file = other(folder / "net.ckpt")
    code = (
        "import sys\n"
        "from click.testing import CliRunner\n"
        "from mshub_ssd.cli.app import cli\n"
        "import mshub_ssd as m\n"
        f"args = {['new', 'me/1.0/ssd300_fish', '--checkpoint', str(file), '--copy', '--no-input', *REST]!r}\n"
        "done = CliRunner().invoke(cli, [*args, '--classes', 'cod,eel', '--mindspore-version', '2.5'])\n"
        "assert done.exit_code == 0, done.output\n"
        "assert 'not looked at' in done.stdout\n"
        "card = m.info('me/1.0/ssd300_fish.md')\n"
        "print(card.network.name, dict(card.network.arguments), card.classes, card.input_shape)\n"
        "print(m.validate('me/1.0/ssd300_fish.md').findings)\n"
    )
    from without import run_without

    out = run_without({"mindspore", "numpy", "cv2", "PIL", "requests"}, code)
    assert out.splitlines() == ["ssd300 {'num_classes': 3} ('cod', 'eel') (3, 300, 300)", "()"]


def test_the_shell_completes_networks() -> None:
    words = {"_MSHUB_COMPLETE": "bash_complete", "COMP_WORDS": "mshub new x --network SSD_vg", "COMP_CWORD": "4"}
    done = subprocess.run(
        [sys.executable, "-m", "mshub_ssd"], capture_output=True, text=True, env=environment(**words), check=False
    )
    assert "ssd_vgg16" in done.stdout


# --- a terminal


class Talk:
    """A command on a terminal, and somebody who answers it."""

    def __init__(self, *args: object) -> None:
        self.terminal, theirs = os.openpty()
        # Whoever leads a session and opens a terminal is the one that its Ctrl-C interrupts.
        command = ["sh", "-c", 'exec "$@" <"$0" >"$0" 2>&1', os.ttyname(theirs), sys.executable, "-m", "mshub_ssd"]
        self.child = subprocess.Popen(
            [*command, *map(str, args)], env=environment(NO_COLOR="1"), start_new_session=True, stdin=subprocess.DEVNULL
        )
        self.said = ""
        self.read = 0
        self._theirs = theirs  # open as long as the child may still open it

    def _listen(self) -> None:
        if select.select([self.terminal], [], [], 0.2)[0]:
            self.said += os.read(self.terminal, 65536).decode().replace("\r\n", "\n")

    def until(self, text: str) -> None:
        """Wait until something is said behind what was waited for before."""
        end = time.monotonic() + 120
        while (at := self.said.find(text, self.read)) < 0:
            assert time.monotonic() < end, self.said
            assert self.child.poll() is None, self.said
            self._listen()
        self.read = at + len(text)

    def reply(self, question: str, text: str) -> None:
        self.until(question)
        os.write(self.terminal, text.encode())

    def end(self, key: str = "") -> int:
        """Wait for the end, pressing a key for it where one is given (see `commands.interrupt`); the exit code."""
        end, again = time.monotonic() + 120, 0.0
        while self.child.poll() is None:
            assert time.monotonic() < end, self.said
            if time.monotonic() > again:
                os.write(self.terminal, key.encode())
                again = time.monotonic() + 20  # a second one while it ends would be another case
            self._listen()
        heard = -1
        while heard < len(self.said):
            heard = len(self.said)
            self._listen()
        return self.child.returncode

    def close(self) -> None:
        if self.child.poll() is None:
            self.child.kill()
            self.child.wait()
        os.close(self.terminal)
        os.close(self._theirs)


@pytest.fixture
def talks() -> Iterator[list[Talk]]:
    begun: list[Talk] = []
    yield begun
    for talk in begun:
        talk.close()


def test_questions_are_asked_until_the_answers_are_right(folder: Path, talks: list[Talk]) -> None:
    checkpoint(folder / "net.ckpt", num_classes=3)
    talks.append(talk := Talk("new", "me/1.0/lite_fish"))
    talk.reply("Checkpoint", "nowhere.ckpt\n")
    talk.until("cannot be read")
    talk.reply("Checkpoint", "net.ckpt\n")
    talk.reply("Copy it beside the card", "perhaps\n")
    talk.until("neither yes nor no")
    talk.reply("Copy it beside the card", "no\n")
    talk.reply("Checkpoint", "net.ckpt\n")
    talk.reply("Copy it beside the card (yes or no) [yes]", "\n")
    talk.until(f"network {SMALL} with num_classes 3: all ")
    talk.reply("Data it was trained on [fish]", "\n")
    talk.until("Its 2 classes")
    talk.reply("Class names", "cod\n")
    talk.until("tells 2 classes apart")
    talk.reply("Class names", "cod, eel\n")
    talk.reply("Figures", "good\n")
    talk.until("no figures")
    talk.reply("Figures", "mAP: 25.17\n")
    talk.reply("Summary", "\n")
    talk.until("needed")
    talk.reply("Summary", "Finds cod and eel\n")
    talk.reply("Licence of the weights [Apache-2.0]", "\n")
    talk.reply("Who trained it [me]", "Somebody\n")
    talk.reply("code can be read", "example.org/x\n")
    talk.until("MC016")
    talk.reply("code can be read", "https://example.org/x/tree/v1\n")
    talk.reply("Version of MindSpore", "\n")
    talk.reply("Version of the model [1.0]", "\n")
    assert talk.end() == 0, talk.said
    assert "1 card checked, nothing found" in talk.said
    path = folder / "me/1.0/lite_fish.md"
    card = read_card(path)
    assert (card.author, card.license, card.classes) == ("Somebody", "Apache-2.0", ("cod", "eel"))
    clean(path)
    assert mshub.load(path).load_report.ok


@pytest.mark.parametrize("key", ["\x03", "\x04"], ids=["Ctrl-C", "Ctrl-D"])
def test_whoever_stops_leaves_nothing_behind(folder: Path, talks: list[Talk], key: str) -> None:
    other(folder / "net.ckpt")
    talks.append(talk := Talk("new", "me/1.0/lite_fish"))
    talk.reply("Checkpoint", "net.ckpt\n")
    talk.reply("Copy it beside the card", "yes\n")
    talk.until("Network (Enter for none): ")
    assert talk.end(key) == 130
    assert "nothing was written" in talk.said
    assert "Traceback" not in talk.said
    assert [path.name for path in folder.iterdir()] == ["net.ckpt"]
