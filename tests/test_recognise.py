"""The checkpoint proves the network: every other one refuses it, and the error names the right one."""

from __future__ import annotations

import itertools
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from networks import DATA, save_checkpoint, sha256

import mshub_ssd as mshub
from mshub_ssd import networks, providers
from mshub_ssd.checkpoints import match_parameters
from mshub_ssd.errors import MismatchError

KEYS = sorted(path.parent.name for path in DATA.glob("*/params.json"))
# One network under two names: the variants differ in how they were trained.
TWINS = {"sppnet_mult", "sppnet_single"}

Shapes = dict[str, tuple[int, ...]]


def file_shapes(key: str, listing: str = "params.json") -> Shapes:
    """Names and shapes as the published file has them."""
    stored = json.loads((DATA / key / listing).read_text(encoding="utf-8"))
    rows = stored["params"] if isinstance(stored, dict) else stored
    return {row[0]: tuple(row[1]) for row in rows}


def cell_shapes(key: str) -> Shapes:
    """The same with MindSpore's names, which only OpenMMLab's batch norms do not have."""
    spelled = {"weight": "gamma", "bias": "beta", "running_mean": "moving_mean", "running_var": "moving_variance"}
    shapes = file_shapes(key)
    named: Shapes = {}
    for name, shape in shapes.items():
        stem, _, last = name.rpartition(".")
        if f"{stem}.running_mean" in shapes:
            if last in spelled:
                named[f"{stem}.{spelled[last]}"] = shape
        else:
            named[name] = shape
    return named


def arrays_of(shapes: Shapes) -> dict[str, np.ndarray]:
    # Pages of zeros that nobody writes to take no memory.
    return {
        name: np.zeros(shape, np.int64 if name.endswith("num_batches_tracked") else np.float32)
        for name, shape in shapes.items()
    }


def trained(shapes: Shapes) -> Shapes:
    """As a training cell saves it: wrapped, with the optimizer's entries between."""
    moving = ("moving_mean", "moving_variance")
    slots = {f"moments.network.{name}": shape for name, shape in shapes.items() if not name.endswith(moving)}
    wrapped = {f"network.{name}": shape for name, shape in reversed(shapes.items())}
    return {"learning_rate": (50,), **slots, **wrapped, "momentum": (), "global_step": (1,)}


def expected_of(key: str) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    return {name: (shape, np.dtype(np.float32)) for name, shape in cell_shapes(key).items()}


def test_the_lists_of_all_networks_are_here() -> None:
    zoo = {key for key in networks.NETWORKS if not key.startswith("openmmlab")}
    assert zoo < set(KEYS)
    assert len(KEYS) == 16
    assert set(KEYS) == set(networks.NETWORKS)


@pytest.mark.parametrize("wrapped", [False, True], ids=["bare", "from training"])
@pytest.mark.parametrize("key", KEYS)
def test_each_network_accepts_its_own_checkpoint_and_refuses_all_others(key: str, wrapped: bool) -> None:
    want = cell_shapes(key)
    for other in KEYS:
        have = cell_shapes(other)
        # OpenMMLab's files were never in a MindSpore training cell.
        inside = wrapped and not other.startswith("openmmlab")
        file = trained(have) if inside else file_shapes(other)
        values, report = match_parameters(arrays_of(file), expected_of(key))
        if other == key or {key, other} == TWINS:
            assert report.ok, (other, str(report))
            assert list(values) == list(want)
            continue
        assert not report.ok, other
        assert want != have
        # The diff, from the two lists alone.
        shared = {name for name in want if name in have}
        wrong = [(name, want[name], have[name]) for name in want if name in shared and want[name] != have[name]]
        assert report.missing == tuple(name for name in want if name not in shared), other
        assert report.wrong_shape == tuple(wrong), other
        assert set(report.unexpected) == _after_prefix(set(have) - shared, report.prefix, inside), other
        assert set(values) == {name for name in shared if want[name] == have[name]}


def _after_prefix(names: set[str], prefix: str, wrapped: bool) -> set[str]:
    """Names as a report tells them: without the prefix it took off, if they had it."""
    spelled = {f"network.{name}" for name in names} if wrapped else names
    return {name.removeprefix(prefix) for name in spelled}


@pytest.mark.parametrize("key", KEYS)
def test_one_tensor_lost_renamed_or_reshaped_is_refused(key: str) -> None:
    full = cell_shapes(key)
    names = list(full)
    for name in (names[0], names[len(names) // 2], names[-1]):
        other = (*full[name][:-1], full[name][-1] + 1)
        cases: dict[str, Shapes] = {
            "lost": {n: s for n, s in full.items() if n != name},
            "renamed": {f"{n}_" if n == name else n: s for n, s in full.items()},
            "reshaped": full | {name: other},
        }
        for case, shapes in cases.items():
            _, report = match_parameters(arrays_of(trained(shapes)), expected_of(key))
            assert not report.ok
            assert report.missing == (() if case == "reshaped" else (name,))
            assert report.unexpected == ((f"{name}_",) if case == "renamed" else ())
            assert report.wrong_shape == (((name, full[name], other),) if case == "reshaped" else ())


mindspore = pytest.importorskip("mindspore")


@pytest.mark.parametrize("key", KEYS)
def test_each_checkpoint_is_recognised(key: str) -> None:
    twins = TWINS if key in TWINS else {key}
    shapes = file_shapes(key)
    files = [shapes] if key.startswith("openmmlab") else [shapes, trained(shapes)]
    if (DATA / key / "old_params.json").exists():
        files.append(file_shapes(key, "old_params.json"))
    for file in files:
        ranking = providers.fits(arrays_of(file))
        assert {fit.key for fit in ranking if fit.exact} == twins
        assert {fit.key for fit in ranking[: len(twins)]} == twins
        assert ranking[0].share == 1
        assert all(fit.share < 1 for fit in ranking[len(twins) :])
        told = providers.owner(arrays_of(file), refused="ssd_vgg16" if key != "ssd_vgg16" else "ssd300")
        assert told is not None
        assert all(twin in told for twin in twins)
        assert ("one network" in told) == (len(twins) > 1)


def test_a_checkpoint_that_is_nearly_one_of_another_network_is_told_as_such() -> None:
    shapes = cell_shapes("ssd_resnet50_fpn")
    lost = {name: shape for name, shape in shapes.items() if not name.endswith("cls_layers.0.bias")}
    told = providers.owner(arrays_of(trained(lost)), refused="ssd_resnet50")
    assert told == f"nearly the parameters of ssd_resnet50_fpn: {len(lost)} fit, 1 do not"
    # For its own network, and for a stranger, there is nothing to add to the diff.
    assert providers.owner(arrays_of(lost), refused="ssd_resnet50_fpn") is None
    assert providers.owner(arrays_of({"some.weight": (3, 4), "conv1.weight": (1,)}), refused="ssd300") is None
    assert providers.owner({}, refused="ssd300") is None
    # The right network, built with arguments that made it another.
    told = providers.owner(arrays_of(shapes), refused="ssd_resnet50_fpn")
    assert told == "the parameters of ssd_resnet50_fpn as it is built without arguments"


def test_a_card_of_the_wrong_network_is_told_the_right_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(networks.constructors, "_registered", {})
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path))
    for key, width in (("tiny_wide", 7), ("tiny_narrow", 3)):
        mshub.register_network(key)(lambda width=width: mindspore.nn.Dense(2, width))

    @mshub.register_network("needy")
    def needy(width: int) -> mindspore.nn.Cell:
        return mindspore.nn.Dense(2, width)

    @mshub.register_network("broken")
    def broken() -> mindspore.nn.Cell:
        raise RuntimeError("no such thing")

    file = save_checkpoint(tmp_path / "net.ckpt", arrays_of({"weight": (7, 2), "bias": (7,)}))
    for right, wrong in itertools.permutations(("tiny_wide", "tiny_narrow")):
        (tmp_path / "tiny.md").write_text(
            f"# tiny\n\n---\n\nnetwork: {wrong}\n\nasset:\n- file-format: ckpt\n  asset-link: net.ckpt\n"
            f'  asset-sha256: "{sha256(file)}"\n\n---\n',
            encoding="utf-8",
        )
        if wrong == "tiny_wide":
            assert mshub.load("tiny").load_report.ok
            continue
        with pytest.raises(MismatchError) as caught:
            mshub.load("tiny")
        assert caught.value.got == f"the parameters of {right}"
        assert f"got: the parameters of {right}" in str(caught.value)
        assert caught.value.report.wrong_shape
