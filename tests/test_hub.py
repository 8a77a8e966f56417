"""A Hub: a session of its own, seen by many threads, and the module's functions as the methods of one."""

from __future__ import annotations

import inspect
import os
import pickle
import re
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from commands import environment

import mshub_ssd as mshub
from mshub_ssd.errors import CardError, OfflineError, UnknownModelError, UsageError
from mshub_ssd.hub import Hub, default_hub, session

DOCS = Path(__file__).resolve().parent.parent / "docs"
RESNET = "mindspore/1.7/ssdresnet50fpn_coco2017"
VERBS = ["classify", "detect", "fetch", "info", "list_models", "load", "load_weights", "postprocess", "search"]


def card(title: str = "Toy", link: str = "net.ckpt") -> str:
    lines = ["model-name: toy", "asset:", "- file-format: ckpt", f"  asset-link: {link}", f"  asset-sha256: {'0' * 64}"]
    return "\n".join([f"# {title}", "", "---", "", *lines, "", "---", ""])


def put(root: Path, uid: str, text: str) -> Path:
    path = root / f"{uid}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def test_a_hub_has_cards_and_settings_of_its_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path / "cards", "own/1/toy", card(link="https://nowhere.invalid/net.ckpt"))
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "elsewhere"))
    mine = Hub(registry=tmp_path / "cards", home=tmp_path / "home", offline=True, connections=3)
    assert mine.info("own/1/toy").title == "Toy"
    assert mine.settings.home == tmp_path / "home"
    assert mine.settings.connections == 3
    with pytest.raises(OfflineError, match="forbidden"):
        mine.fetch("own/1/toy")
    assert not default_hub().settings.offline
    with pytest.raises(UnknownModelError):
        mshub.info("own/1/toy")
    several = Hub(registry=[tmp_path / "cards", str(tmp_path)], home=[tmp_path / "a", tmp_path / "b"])
    assert several.settings.homes == (tmp_path / "a", tmp_path / "b")
    assert several.info("own/1/toy").uid == "own/1/toy"
    with pytest.raises(UsageError, match="connections"):
        Hub(connections=99)
    with pytest.raises(UsageError, match="one network at least"):
        Hub(max_networks=0)


def test_cards_that_are_added_edited_and_removed_are_seen(tmp_path: Path) -> None:
    path = put(tmp_path, "own/1/toy", card())
    kept = Hub(registry=tmp_path)
    assert kept.info("own/1/toy").title == "Toy"
    put(tmp_path, "own/1/toy", card("Edited"))
    assert kept.info("own/1/toy").title == "Edited"
    put(tmp_path, "own/2/new", card("New"))
    assert kept.info("own/2/new").title == "New"
    assert "own/2/new" in kept.list_models()
    path.unlink()
    assert "own/1/toy" not in kept.list_models()
    with pytest.raises(UnknownModelError, match="no model card"):
        kept.info("own/1/toy")
    # A folder of an earlier place hides it from then on.
    first = put(tmp_path, RESNET, card("Mine"))
    assert kept.info(RESNET).title == "Mine"
    first.unlink()
    assert kept.info(RESNET).title != "Mine"


def test_one_uid_is_found_without_walking_the_folders(tmp_path: Path) -> None:
    """Whatever else lies there is not looked at: one card is opened, and no folder is listed."""
    for number in range(50):
        put(tmp_path, f"own/{number}/toy", card())
    code = (
        "import sys; from mshub_ssd.hub import Hub\n"
        f"kept = Hub(registry={str(tmp_path)!r})\n"
        "kept.info('own/1/toy')\n"
        "seen = []\n"
        "sys.addaudithook(lambda event, args: seen.append((event, str(args[0]))) if event in "
        "('open', 'os.scandir', 'os.listdir') else None)\n"
        "kept.info('own/7/toy'); kept.info('mindspore/1.7/ssdresnet50fpn_coco2017')\n"
        "print(*(f'{event} {name}' for event, name in seen if name.endswith('.md') or event != 'open'), sep='\\n')"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert [line.rsplit("/", 3)[1:] for line in lines] == [
        ["own", "7", "toy.md"],
        [*RESNET.split("/")[:2], "ssdresnet50fpn_coco2017.md"],
    ]


def test_finding_a_uid_is_listing_it(tmp_path: Path) -> None:
    """Names and links that a listing leaves out are not found either."""
    outside = put(tmp_path / "outside", "secret", card("Secret"))
    root = tmp_path / "cards"
    put(root, "a/toy", card())
    put(root, "a/README", card())
    (root / ".hidden").mkdir()
    put(root / ".hidden", "toy", card())
    (root / "out.md").symlink_to(outside)
    (root / "away").symlink_to(outside.parent)
    (root / "a/up").symlink_to(root)
    (root / "twin").symlink_to(root / "a")
    (root / "a/same.md").symlink_to(root / "a/toy.md")
    (root / "folder.md").mkdir()
    put(root / "folder.md", "toy", card())
    os.mkfifo(root / "pipe.md")
    listed = [uid for uid in Hub(registry=root).list_models() if "/" not in uid or uid[0] in "at" or "folder" in uid]
    assert listed == ["a/same", "a/toy", "folder.md/toy", "twin/same", "twin/toy"]
    kept = Hub(registry=root)
    for uid in listed:
        assert kept.info(uid).title == "Toy"
    for uid in ["out", "away/secret", "a/up/a/toy", "a/README", ".hidden/toy", "folder", "pipe", "a/../a/toy", "A/toy"]:
        with pytest.raises((UnknownModelError, CardError)):
            kept.info(uid)


def test_a_card_file_needs_no_registry(tmp_path: Path) -> None:
    path = put(tmp_path, "toy", card())
    assert Hub(registry=tmp_path / "nothing").info(path).title == "Toy"
    with pytest.raises(UsageError, match="does not exist"):
        Hub(registry=tmp_path / "nothing").info("toy")


def test_a_closed_hub_says_so(tmp_path: Path) -> None:
    with Hub(home=tmp_path) as mine:
        assert mine.info(RESNET).uid == RESNET
    for verb in (lambda: mine.info(RESNET), mine.list_models, lambda: mine.settings, lambda: mine.load(RESNET)):
        with pytest.raises(UsageError, match="closed"):
            verb()


def test_the_default_hub_follows_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(tmp_path, "own/1/toy", card())
    before = default_hub()
    assert default_hub() is before
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path))
    assert "own/1/toy" in mshub.list_models()
    assert default_hub() is not before
    monkeypatch.delenv("MSHUB_REGISTRY")
    assert "own/1/toy" not in mshub.list_models()


def test_functions_are_the_methods_of_the_default_hub() -> None:
    for verb in VERBS:
        function, method = getattr(mshub, verb), getattr(Hub, verb)
        assert function is getattr(mshub, verb)
        parameters = list(inspect.signature(method).parameters.values())
        assert list(inspect.signature(function).parameters.values()) == parameters[1:]
        assert function.__doc__ == method.__doc__
        assert (function.__module__, function.__name__) == ("mshub_ssd", verb)
        assert pickle.loads(pickle.dumps(function)) is function
    assert set(dir(mshub)) == set(mshub.__all__)
    assert not {"Any", "importlib", "TYPE_CHECKING"} & set(dir(mshub))


class Echo:
    """A Pipeline whose answers are the network itself."""

    def __init__(self, network: str) -> None:
        self.network = network

    def family_as(self, _: type) -> Echo:
        return self

    def options(self, **_: object) -> None:
        return None

    def results(self, *_: object) -> list[str]:
        return [self.network]


class Loads:
    """Counts what is loaded, and takes its time."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.loaded: list[str] = []
        self.entered = threading.Event()
        self.go_on = threading.Event()
        self.go_on.set()
        self.fails = False
        monkeypatch.setattr(Hub, "open_pipeline", lambda hub, name, *_: Echo(self.load(name)))

    def load(self, name: str) -> str:
        self.loaded.append(name)
        self.entered.set()
        assert self.go_on.wait(60)
        if self.fails:
            raise CardError("not now")
        return f"the network of {name}"


@pytest.fixture
def loads(monkeypatch: pytest.MonkeyPatch) -> Loads:
    pytest.importorskip("numpy")
    return Loads(monkeypatch)


def ask(hub: Hub, name: str) -> object:
    import numpy as np

    return hub.detect(name, np.zeros((2, 2, 3), np.uint8))


def test_so_many_networks_are_kept_as_were_asked_for(tmp_path: Path, loads: Loads) -> None:
    for name in "abc":
        put(tmp_path, name, card(name))
    two = Hub(registry=tmp_path, max_networks=2)
    for name in "abab":
        assert ask(two, name) == f"the network of {name}"
    assert loads.loaded == ["a", "b"]
    ask(two, "c")  # takes the place of a, which was not used for longest
    ask(two, "b")
    assert loads.loaded == ["a", "b", "c"]
    ask(two, "a")
    assert loads.loaded == ["a", "b", "c", "a"]
    put(tmp_path, "a", card("edited"))
    ask(two, "a")
    assert loads.loaded == ["a", "b", "c", "a", "a"]


def test_threads_share_one_load_and_never_get_anothers_network(tmp_path: Path, loads: Loads) -> None:
    for name in "ab":
        put(tmp_path, name, card(name))
    one = Hub(registry=tmp_path, max_networks=1)
    loads.go_on.clear()
    answers: dict[tuple[str, int], object] = {}

    def run(name: str, number: int) -> None:
        answers[name, number] = ask(one, name)

    threads = [threading.Thread(target=run, args=("a", number)) for number in range(4)]
    for thread in threads:
        thread.start()
    assert loads.entered.wait(60)
    other = [threading.Thread(target=run, args=("b", number)) for number in range(4)]
    for thread in other:
        thread.start()
    loads.go_on.set()
    for thread in [*threads, *other]:
        thread.join(60)
    assert answers == {(name, number): f"the network of {name}" for name in "ab" for number in range(4)}
    assert loads.loaded.count("a") <= 4


def test_a_load_that_failed_is_tried_again(tmp_path: Path, loads: Loads) -> None:
    put(tmp_path, "a", card("a"))
    kept = Hub(registry=tmp_path)
    loads.fails = True
    with pytest.raises(CardError, match="not now"):
        ask(kept, "a")
    loads.fails = False
    assert ask(kept, "a") == "the network of a"


def test_two_threads_with_different_settings_do_not_swap_them(tmp_path: Path) -> None:
    for name in "ab":
        put(tmp_path / name, "own/1/toy", card(name))
    wrong: list[object] = []

    def run(name: str) -> None:
        mine = Hub(registry=tmp_path / name)
        wrong.extend(title for _ in range(200) if (title := mine.info("own/1/toy").title) != name)

    threads = [threading.Thread(target=run, args=(name,)) for name in "abab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert wrong == []


def test_the_default_hub_is_chosen_by_one_thread_at_a_time(tmp_path: Path) -> None:
    chosen: list[Hub] = []
    start = threading.Barrier(8)

    def run() -> None:
        start.wait(60)
        chosen.append(default_hub())

    session._default = None
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(set(map(id, chosen))) == 1


def test_one_cell_in_two_threads_gives_the_same_numbers() -> None:
    """MindSpore itself mixes them up, without an error."""
    mindspore = pytest.importorskip("mindspore")
    import numpy as np

    from mshub_ssd import engines

    network = mshub.load("mshub/1.0/ssdmobilenetv2_digits")
    inputs = [np.full((1, 3, 320, 320), value, np.float32) for value in (-1.0, 1.0)]
    expected = [engines.call(network, array) for array in inputs]
    different: list[int] = []

    def run(which: int) -> None:
        for _ in range(6):
            got = engines.call(network, inputs[which])
            if not all(np.array_equal(*pair) for pair in zip(got, expected[which], strict=True)):
                different.append(which)

    threads = [threading.Thread(target=run, args=(which,)) for which in (0, 1)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(300)
    assert different == []
    assert mindspore.get_context("device_target") == "CPU"


def test_cells_are_called_one_at_a_time() -> None:
    pytest.importorskip("mindspore")
    import numpy as np

    from mshub_ssd import engines

    inside: list[int] = []
    most: list[int] = []
    second = threading.Event()

    def cell(tensor: object) -> object:
        inside.append(1)
        second.wait(1)  # by then the other one has come in, if it can
        most.append(len(inside))
        inside.pop()
        return tensor

    def run() -> None:
        engines.call(cell, np.zeros(2, np.float32))

    threads = [threading.Thread(target=run) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert most == [1, 1]


FENCES = re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", (DOCS / "hub.md").read_text(encoding="utf-8"), re.DOTALL)


@pytest.mark.parametrize(("code", "promised"), FENCES)
def test_the_documents_code_does_what_it_says(code: str, promised: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment())
    assert (done.returncode, done.stdout) == (0, promised), done.stderr


def test_the_document_names_every_argument() -> None:
    text = (DOCS / "hub.md").read_text(encoding="utf-8")
    assert all(f"`{name}`" in text for name in inspect.signature(Hub).parameters)
