"""The library's own networks in a process that has loaded many of repositories: they compute what they always did."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import networks as lab
import numpy as np
import openmmlab
import pytest
from foreignlab import MESS, new_modules, state
from repolab import Lab

from mshub_ssd import checkpoints, foreign, networks
from mshub_ssd.hub import Hub

mindspore = pytest.importorskip("mindspore")

ZOO = "mindspore/models"
SPPNETS = ("sppnet_zfnet", "sppnet_single", "sppnet_mult")
OWN = (*lab.GOLDEN, *SPPNETS, *openmmlab.KEYS)
# One of each kind that is small; all of them take minutes.
USUAL = ("ssd_mobilenetV2", "sppnet_zfnet", "openmmlab_ssdlite_mobilenetv2")
NET = """
from mindspore import nn
from src.parts import FACTOR

class Net(nn.Cell):
    def __init__(self, classes=10):
        super().__init__()
        self.head = nn.Dense(4, classes)

    def construct(self, x):
        return self.head(x) * FACTOR
"""
CARD = """# {name}

---

model-name: {name}

module-type: cv

repo-link: <https://gitee.com/mindspore/models/tree/r1.9/{path}>

asset:

-
    file-format: ckpt
    asset-link: {name}.ckpt
    asset-sha256: {digest}

---
"""
COUNT = 20


def load_twenty(folder: Path, monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Networks of as many folders of one repository, whose code meddles with all it can reach."""
    mess = MESS.replace("\n    ", "\n")
    code = {
        f"net{n}": {
            "src": {"__init__.py": "", "net.py": mess + NET, "parts.py": f"FACTOR = {n}\n", "config.py": "n = 1\n"},
            "mindspore_hub_conf.py": "raise SystemExit('this is never imported')\n",
        }
        for n in range(1, COUNT + 1)
    }
    repository = Lab(folder / "models.git")
    commit = repository.commit({"research": {"cv": code}})
    cards = folder / "cards" / "mindspore" / "1.9"
    cards.mkdir(parents=True)
    rows: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for name in code:
        path, file = f"research/cv/{name}", cards / f"{name}.ckpt"
        values = {"head.weight": np.ones((3, 4), np.float32), "head.bias": np.zeros(3, np.float32)}
        digest = lab.sha256(lab.save_checkpoint(file, values))
        (cards / f"{name}_mnist.md").write_text(CARD.format(name=name, path=path, digest=digest))
        row = {"path": path, "models": [name], "commits": [commit], "call": {"callable": "src.net:Net"}}
        rows[ZOO, path] = [{**row, "adapters": ["easydict", "numpy-aliases"]}]
    monkeypatch.setattr("mshub_ssd.providers.repository._rows", lambda: rows)
    monkeypatch.setenv("MSHUB_REPOSITORIES", f"{ZOO}={repository.path}")
    monkeypatch.setenv("MSHUB_REGISTRY", str(folder / "cards"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder / "config"))
    foreign.allow(ZOO, commit)
    hub = Hub()
    hub.registry.uids()
    before, modules = state(), set(sys.modules)
    found = [hub.load(f"mindspore/1.9/{name}_mnist") for name in code]
    assert state() == before
    # What this library and MindSpore import of their own when they are first used is nobody's code.
    assert {name for name in new_modules(modules) if not name.startswith(("mshub_ssd.", "mindspore."))} == set()
    assert not [name for name in sys.modules if name == "src" or name.startswith("src.")]
    return found


@pytest.fixture(scope="module")
def twenty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[list[Any]]:
    """Loaded before the first own network is built, and alive until the last one ran."""
    with pytest.MonkeyPatch.context() as monkeypatch:
        yield load_twenty(tmp_path_factory.mktemp("twenty"), monkeypatch)


def test_twenty_networks_of_a_repository_live_in_one_process(twenty: list[Any]) -> None:
    ones = mindspore.Tensor(np.ones((1, 4), np.float32))
    assert [float(network(ones)[0, 0].asnumpy()) for network in twenty] == [4.0 * n for n in range(1, COUNT + 1)]


def filled(key: str, values: dict[str, np.ndarray]) -> Any:
    with networks.building(initialised=False):
        cell = networks.constructor(key)()
    found, report = checkpoints.match_parameters(values, networks.parameter_types(cell))
    assert report.ok, report
    networks.fill(cell, found)
    return cell.set_train(False)


def picture(key: str, size: int) -> np.ndarray:
    random = lab._stream(int(lab.golden(key)["seed"]), "input")
    return random.uniform(-2.0, 2.0, (1, 3, size, size)).astype(np.float32)


def close(stored: dict[str, Any], name: str, value: np.ndarray, absolute: float, relative: float = 0.0) -> None:
    wanted = stored.get(name)
    if wanted is None:
        dot = "." if f"{name}.idx" in stored else "_"
        value, wanted = value.reshape(-1)[stored[f"{name}{dot}idx"]], stored[f"{name}{dot}val"]
    np.testing.assert_allclose(value, wanted, rtol=relative, atol=absolute)


def check(key: str) -> None:
    """The network's outputs on its golden input; the tolerances are those of its specification."""
    if key in openmmlab.KEYS:
        stored = openmmlab.golden(key)
        scores, deltas = filled(key, openmmlab.weights(key))(mindspore.Tensor(openmmlab.picture(key)))
        absolute, relative = (1e-3, 1e-4) if "lite" in key else (1e-4, 1e-5)
        for number, (score, delta) in enumerate(zip(scores, deltas, strict=True)):
            close(stored, f"cls_score_{number}", score.asnumpy(), absolute, relative)
            close(stored, f"bbox_pred_{number}", delta.asnumpy(), absolute, relative)
        return
    stored, network = lab.golden(key), filled(key, lab.weights(key))
    if key in SPPNETS:
        sizes = {name: size for name, size in (("logits", 224), ("logits180", 180)) if name in stored}
        for name, size in sizes.items():
            close(stored, name, network(mindspore.Tensor(picture(key, size))).asnumpy(), 1e-4)
        return
    location, scores = (output.asnumpy() for output in network(mindspore.Tensor(lab.picture(key))))
    close(stored, "pred_loc", location, 1e-4)
    close(stored, "scores", scores, 2e-5 if key == "ssd_inceptionv2" else 1e-5)


@pytest.mark.parametrize("key", USUAL)
def test_own_networks_compute_what_they_did(twenty: list[Any], key: str) -> None:
    check(key)


def test_these_are_all_of_them() -> None:
    assert sorted(OWN) == sorted(networks.NETWORKS)
    assert len(OWN) == 16


@pytest.mark.slow
@pytest.mark.parametrize("key", [key for key in OWN if key not in USUAL])
def test_all_own_networks_compute_what_they_did(twenty: list[Any], key: str) -> None:
    check(key)
