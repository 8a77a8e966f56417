"""Cards whose networks are a repository's code: with consent only, the right variant, apart from each other."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import run
from networks import save_checkpoint, sha256

from mshub_ssd import foreign, providers
from mshub_ssd.errors import MismatchError, MissingDependencyError, TrustError, UnknownModelError, UsageError
from mshub_ssd.hub import Hub
from mshub_ssd.providers import plugins

mindspore = pytest.importorskip("mindspore")

CODE = """
from mindspore import nn
from src.parts import FACTOR

class Net(nn.Cell):
    def __init__(self, width=4, classes=10):
        super().__init__()
        self.head = nn.Dense(width, classes)

    def construct(self, x):
        return self.head(x) * FACTOR
"""
CANARY = """
import pathlib
pathlib.Path({!r}).write_text("it ran")
"""
CARD = """# {name}

---

model-name: {name}

module-type: cv

train-dataset: mnist

repo-link: <https://gitee.com/mindspore/models/tree/r1.9/{path}>

asset:

-
    file-format: ckpt
    asset-link: {file}
    asset-sha256: {digest}

---
"""

Rows = dict[tuple[str, str], list[dict[str, Any]]]


class Zoo:
    """A repository with folders of code, recipes for it, and cards that link to it."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.clone, self.cards = folder / "models", folder / "cards"
        self.canary = folder / "canary"
        for name, factor in (("one", 2), ("two", 3)):
            home = self.clone / "research" / "cv" / name
            (home / "src").mkdir(parents=True)
            (home / "src" / "__init__.py").write_text("")
            (home / "src" / "net.py").write_text(CODE)
            (home / "src" / "parts.py").write_text(f"FACTOR = {factor}\n")
            (home / "mindspore_hub_conf.py").write_text(CANARY.format(str(self.canary)))
        self.git("init", "-q", "-b", "r1.9")
        self.git("add", ".")
        self.git("commit", "-q", "-m", "code")
        self.commit = self.git("rev-parse", "HEAD")
        self.rows: Rows = {}
        monkeypatch.setattr("mshub_ssd.providers.repository._rows", lambda: self.rows)
        monkeypatch.setenv("MSHUB_REPOSITORIES", f"mindspore/models={self.clone}")
        monkeypatch.setenv("MSHUB_REGISTRY", str(self.cards))
        monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))

    def git(self, *words: str) -> str:
        environ = {
            **os.environ,
            **{f"GIT_{who}_{what}": "a@b" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")},
        }
        done = subprocess.run(["git", *words], cwd=self.clone, env=environ, check=True, capture_output=True, text=True)
        return done.stdout.strip()

    def recipe(self, folder: str, model: str, **kwargs: int) -> None:
        path = f"research/cv/{folder}"
        row = {
            "path": path,
            "models": [model],
            "commits": [self.commit],
            "call": {"callable": "src.net:Net", "args": [], "kwargs": kwargs},
            "inputs": [{"shape": [1, kwargs.get("width", 4)], "type": "float32"}],
            "adapters": [],
            "proven": ["constructs", "runs"],
        }
        self.rows.setdefault(("mindspore/models", path), []).append(row)

    def card(self, folder: str, model: str, *, width: int = 4, classes: int = 10, odd: bool = False) -> str:
        uid = f"mindspore/1.9/{model}_mnist"
        home = self.cards / "mindspore" / "1.9"
        home.mkdir(parents=True, exist_ok=True)
        random = np.random.default_rng(0)
        arrays = {
            "head.weight": random.normal(size=(classes, width)).astype(np.float32),
            "head.bias": random.normal(size=(classes,)).astype(np.float32),
        }
        if odd:
            arrays["tail.weight"] = np.zeros((3, 3), np.float32)
        file = save_checkpoint(home / f"{model}.ckpt", arrays)
        text = CARD.format(name=model, path=f"research/cv/{folder}", file=file.name, digest=sha256(file))
        (home / f"{model}_mnist.md").write_text(text)
        return uid


@pytest.fixture
def zoo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Zoo:
    return Zoo(tmp_path, monkeypatch)


def answer(network: Any) -> np.ndarray:
    width = network.head.weight.shape[1]
    return network(mindspore.Tensor(np.ones((1, width), np.float32))).asnumpy()


def expected(zoo: Zoo, uid: str, factor: int) -> np.ndarray:
    weights: Mapping[str, Any] = Hub().load_weights(uid)
    return factor * (weights["head.weight"].asnumpy().sum(1) + weights["head.bias"].asnumpy())[None]


def test_nothing_runs_without_consent_and_the_refusal_says_what_to_do(zoo: Zoo) -> None:
    zoo.recipe("one", "one")
    uid = zoo.card("one", "one")
    before = set(sys.modules)
    with pytest.raises(TrustError) as caught:
        Hub().load(uid)
    told = str(caught.value)
    assert f"mindspore/models@{zoo.commit}" in told
    assert f"mshub trust show {uid}" in told
    assert f"mshub trust add mindspore/models@{zoo.commit}" in told
    assert not zoo.canary.exists()
    assert not [name for name in set(sys.modules) - before if name.startswith("_mshub_foreign")]
    assert not (Hub().settings.home / "v1" / "code").exists(), "nor is anything downloaded"
    (zoo.cards / "mindspore" / "1.9" / "one.ckpt").unlink()
    with pytest.raises(TrustError):  # and not the missing file, which may be a long download
        Hub().load(uid)


def test_consent_is_recorded_for_the_commit_and_can_be_taken_back(zoo: Zoo) -> None:
    zoo.recipe("one", "one")
    uid = zoo.card("one", "one")
    network = Hub().load(uid, trust_repo=True)
    assert np.allclose(answer(network), expected(zoo, uid, 2), atol=1e-5)
    assert network.card.uid == uid
    assert network.load_report.ok
    assert not network.training
    assert not zoo.canary.exists(), "what the network does not need is not imported"
    (consent,) = foreign.allowed()
    assert (consent.pin, consent.by, consent.uid) == (f"mindspore/models@{zoo.commit}", "trust_repo", uid)
    Hub().load(uid)
    foreign.revoke("mindspore/models", zoo.commit)
    with pytest.raises(TrustError):
        Hub().load(uid)
    with pytest.raises(UsageError, match="neither True nor False"):
        Hub().load(uid, trust_repo="no")


def test_a_bundle_brings_the_code_and_no_consent(zoo: Zoo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo.recipe("one", "one")
    uid = zoo.card("one", "one")
    wanted = answer(Hub().load(uid, trust_repo=True))
    Hub().make_bundle([uid], tmp_path / "one.tar", with_code=True)
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path / "away"))
    monkeypatch.setenv("MSHUB_REGISTRY", "")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "theirs"))
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"mindspore/models={tmp_path / 'nowhere'}")
    hub = Hub(offline=True)
    hub.install_bundle(tmp_path / "one.tar")
    with pytest.raises(TrustError):
        hub.load(uid)
    foreign.allow("mindspore/models", zoo.commit)
    np.testing.assert_array_equal(answer(hub.load(uid)), wanted)


def test_two_folders_whose_packages_are_both_called_src(zoo: Zoo) -> None:
    for name in ("one", "two"):
        zoo.recipe(name, name)
    uids = [zoo.card(name, name) for name in ("one", "two")]
    first, second = (Hub().load(uid, trust_repo=True) for uid in uids)
    assert np.allclose(answer(first), expected(zoo, uids[0], 2), atol=1e-5)
    assert np.allclose(answer(second), expected(zoo, uids[1], 3), atol=1e-5)
    assert "src" not in sys.modules


def test_the_checkpoint_decides_between_variants_and_class_counts(zoo: Zoo) -> None:
    for width in (4, 8):
        zoo.recipe("one", "one", width=width)
    for width, classes in ((4, 10), (8, 10), (8, 3)):
        uid = zoo.card("one", "one", width=width, classes=classes)
        network = Hub().load(uid, trust_repo=True)
        assert network.head.weight.shape == (classes, width)
        assert np.allclose(answer(network), expected(zoo, uid, 2), atol=1e-5)


def test_a_checkpoint_that_fits_none_is_refused_unless_parts_are_wanted(zoo: Zoo) -> None:
    zoo.recipe("one", "one")
    uid = zoo.card("one", "one", odd=True)
    with pytest.raises(MismatchError, match=r"tail\.weight") as caught:
        Hub().load(uid, trust_repo=True)
    assert caught.value.report.unexpected == ("tail.weight",)
    assert Hub().load(uid, strict=False).load_report.unexpected == ("tail.weight",)


def test_two_that_fit_equally_are_named_and_a_card_can_name_one(zoo: Zoo) -> None:
    zoo.recipe("one", "one")
    zoo.recipe("one", "one", width=4)
    uid = zoo.card("one", "one")
    with pytest.raises(MismatchError, match="fits 2 networks equally"):
        Hub().load(uid, trust_repo=True)


def test_of_two_states_of_the_code_that_of_the_card_is_meant(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    zoo.recipe("one", "one")
    first = zoo.rows["mindspore/models", "research/cv/one"][0]
    zoo.rows["mindspore/models", "research/cv/one"].insert(0, {**first, "commits": ["0" * 40]})
    uid = zoo.card("one", "one")
    monkeypatch.setattr("mshub_ssd.foreign.commit_of", lambda repository, branch: zoo.commit)
    assert Hub().load(uid, trust_repo=True).load_report.ok
    monkeypatch.setattr("mshub_ssd.foreign.commit_of", lambda repository, branch: "1" * 40)
    found = providers.candidates(Hub().info(uid))
    assert {recipe.code.version for recipe in found if recipe.code} == {"0" * 40, zoo.commit}


def test_arguments_go_to_the_constructor(zoo: Zoo) -> None:
    zoo.recipe("one", "one")
    uid = zoo.card("one", "one")
    network = Hub().load(uid, pretrained=False, trust_repo=True, classes=7)
    assert network.head.weight.shape == (7, 4)
    assert np.isfinite(answer(network)).all()


def test_lists_and_the_doctor_tell_whose_code_it_is(zoo: Zoo) -> None:
    zoo.recipe("one", "one")
    uid = zoo.card("one", "one")
    assert uid in Hub().list_models(loadable=True)

    def mshub(*words: str) -> str:
        return run(*words).output

    (listed,) = json.loads(mshub("list", "mindspore/1.9/one*", "--json"))
    assert (listed["code"], listed["loadable"]) == ("mindspore/models", True)
    assert f"at {zoo.commit[:12]}" in mshub("info", uid)
    facts = json.loads(mshub("info", uid, "--json"))
    assert facts["code"]["level"] == "repository"
    assert facts["code"]["version"] == zoo.commit
    assert "consent" in mshub("doctor", uid)
    assert "not given" in mshub("doctor", uid)
    foreign.allow("mindspore/models", zoo.commit)
    assert "all 2 found in the checkpoint" in mshub("doctor", uid)
    assert not zoo.canary.exists()


def test_pictures_need_a_family_which_no_repository_states(zoo: Zoo) -> None:
    zoo.recipe("one", "one")
    uid = zoo.card("one", "one")
    # Before it asks for consent, or fetches anything.
    for look in (Hub().detect, Hub().classify):
        with pytest.raises(UsageError, match="makes of pictures is not known") as caught:
            look(uid, np.zeros((8, 8, 3), np.uint8))
        assert "docs/families.md" in str(caught.value.hint)
    told = run("info", uid).stdout
    assert "mshub.load" in told
    assert "mshub.classify" not in told
    foreign.allow("mindspore/models", zoo.commit)
    with pytest.raises(UsageError, match="famil"):
        Hub().classify(Hub().load(uid), np.zeros((8, 8, 3), np.uint8))
    with pytest.raises(UsageError, match="makes of pictures is not known"):
        Hub().postprocess(uid, (np.zeros((1, 3, 4), np.float32),), (8, 8))
    with pytest.raises(UsageError, match="runs on MindSpore only"):
        Hub().compile(uid, "openvino")
    batch = np.ones((1, 4), np.float32)
    assert np.allclose(Hub().compile(uid)(batch), expected(zoo, uid, 2), atol=1e-5)


def test_a_folder_without_a_recipe_is_unknown(zoo: Zoo) -> None:
    uid = zoo.card("one", "one")
    with pytest.raises(UnknownModelError):
        Hub().load(uid, trust_repo=True)
    assert uid not in Hub().list_models(loadable=True)


class TestPlugins:
    """Entry points of the group ``mshub_ssd.providers``."""

    @pytest.fixture
    def plugin(self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Path]:
        file = tmp_path / "plugged.py"
        file.write_text(
            "from mshub_ssd.providers import Recipe\n"
            "class Plugged:\n"
            "    def candidates(self, card):\n"
            "        if card.model_name == 'one':\n"
            "            return [Recipe('plugged', 'the test', level='repository')]\n"
            "        raise RuntimeError('no idea')\n"
            "    def build(self, recipe, args, kwargs):\n"
            "        from mindspore import nn\n"
            "        class Net(nn.Cell):\n"
            "            def __init__(self, width=4, classes=10):\n"
            "                super().__init__()\n"
            "                self.head = nn.Dense(width, classes)\n"
            "            def construct(self, x):\n"
            "                return self.head(x)\n"
            "        return Net(*args, **kwargs)\n"
            "provider = Plugged()\n"
        )
        info = tmp_path / "plugged-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1.0\n")
        (info / "entry_points.txt").write_text("[mshub_ssd.providers]\nplugged = plugged:provider\n")
        monkeypatch.syspath_prepend(str(tmp_path))
        kept = (plugins._named, plugins.provider)
        for cached in kept:
            cached.cache_clear()
        yield file
        for cached in kept:
            cached.cache_clear()

    def test_another_package_brings_a_network_for_a_card(
        self, zoo: Zoo, plugin: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        uid, other = zoo.card("one", "one"), zoo.card("two", "two")
        network = Hub().load(uid)
        assert np.allclose(answer(network), expected(zoo, uid, 1), atol=1e-5)
        assert Hub().plan(uid).recipe.level == "user", "whatever it says itself"
        with pytest.raises(UnknownModelError):
            Hub().load(other)
        assert "no idea" in caplog.text


def test_a_package_that_is_not_installed_is_named_with_what_to_type(zoo: Zoo, monkeypatch: pytest.MonkeyPatch) -> None:
    found = providers.Recipe(
        "nowhere:net",
        "a test",
        level="package",
        code=providers.Code("nowhere_to_be_found", ">=1"),
        call=providers.Call("nowhere_to_be_found:Net"),
    )
    monkeypatch.setattr("mshub_ssd.providers.packages.candidates", lambda card: [found])
    uid = zoo.card("one", "one")
    with pytest.raises(MissingDependencyError, match="nowhere_to_be_found") as caught:
        Hub().load(uid)
    assert "pip install" in str(caught.value.hint)
    assert uid not in Hub().list_models(loadable=True)
    # Code that is here comes first, even where it needs consent.
    zoo.recipe("one", "one")
    assert [recipe.level for recipe in providers.candidates(Hub().info(uid))] == ["repository", "package"]


def test_the_code_that_is_shown_is_that_of_the_commit_that_would_run(zoo: Zoo) -> None:
    zoo.recipe("one", "one")
    uid = zoo.card("one", "one")
    shown = json.loads(run("trust", "show", uid, "--json").output)
    assert shown["commit"] == zoo.commit
    assert "src/net.py" in {file["name"] for file in shown["files"]}
    assert "FACTOR = 2" in run("trust", "show", uid, "--file", "src/parts.py").output
    assert not zoo.canary.exists()
