"""What OpenVINO compiled of a card's graph: kept in the cache, verified, used by the next process, never if harmed."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mshub_ssd import engines, graphs, store
from mshub_ssd.errors import DiskSpaceError
from mshub_ssd.hub import Hub

openvino = pytest.importorskip("openvino")

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"

Compilations = list[str]


@pytest.fixture
def work(monkeypatch: pytest.MonkeyPatch) -> Compilations:
    """What OpenVINO was asked to do: ``read``, ``compile`` or ``import`` a model."""
    told: Compilations = []

    def watched(name: str) -> Callable[..., object]:
        real = getattr(openvino.Core, f"{name}_model")

        def call(core: object, *arguments: object, **options: object) -> object:
            told.append(name)
            return real(core, *arguments, **options)

        return call

    for name in ("read", "compile", "import"):
        monkeypatch.setattr(openvino.Core, f"{name}_model", watched(name))
    return told


def pictures(count: int = 1) -> np.ndarray:
    return np.random.default_rng(count).normal(size=(count, 3, 160, 160)).astype(np.float32)


def answers(count: int = 1, **options: object) -> tuple[np.ndarray, ...]:
    network = Hub().compile(DIGITS, engine="openvino", **options)
    try:
        return network(pictures(count))
    finally:
        network.close()


def same(one: tuple[np.ndarray, ...], other: tuple[np.ndarray, ...]) -> bool:
    return all(map(np.array_equal, one, other)) and len(one) == len(other)


def compiled_form() -> store.Entry:
    """The only one in the cache."""
    graph = graphs.onnx_for(Hub().plan(DIGITS), Hub().settings).digest
    (found,) = [entry for entry in store.entries(Hub().settings, kinds=("graph",)) if entry.digest != graph]
    return found


def test_the_next_process_need_not_compile(work: Compilations) -> None:
    first = answers()
    assert work == ["read", "compile"]
    del work[:]
    assert same(answers(), first)
    assert work == ["import"]
    assert compiled_form().labels == (DIGITS,)
    assert compiled_form().checkpoint == Hub().plan(DIGITS).checkpoint.sha256


@pytest.mark.parametrize("options", [{}, {"threads": 1}, {"streams": 2}], ids=str)
def test_every_option_and_batch_gives_the_same_from_it(options: dict[str, int], work: Compilations) -> None:
    want = [answers(count, **options) for count in (1, 3)]
    batches = [pictures(3), pictures(), pictures(), pictures()]
    del work[:]
    network = Hub().compile(DIGITS, engine="openvino", **options)
    for batch, got in zip(batches, network.map(batches), strict=True):
        assert same(got, want[len(batch) > 1])
    assert sorted(work) == ["compile", "import", "read"], "one picture's is imported, and three are compiled for"
    for entry in store.entries(Hub().settings, kinds=("graph",)):
        entry.path.unlink()  # it lives on what it holds, whatever becomes of the cache
    assert same(network(pictures()), want[0])


@pytest.mark.parametrize("harm", ["altered", "truncated", "foreign", "gone", "facts"])
def test_what_was_harmed_is_never_run_but_made_anew(harm: str, work: Compilations) -> None:
    want = answers()
    path = compiled_form().path
    good = path.read_bytes()
    if harm == "gone":
        path.unlink()
    elif harm == "facts":
        for record in (Hub().settings.home / "v1" / "graphs" / "keys").iterdir():
            record.write_text(record.read_text().replace('"nesting"', '"resting"'))
    else:
        path.chmod(0o644)
        middle = len(good) // 2
        other = good[:middle] + bytes(64) + good[middle + 64 :]
        path.write_bytes({"altered": other, "truncated": good[:middle], "foreign": b"MZ" * 500}[harm])
    del work[:]
    assert same(answers(), want)
    assert work == ["read", "compile"]
    del work[:]
    assert same(answers(), want)
    assert work == ["import"]


def test_another_version_another_cpu_and_another_precision_have_their_own(
    work: Compilations, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers()
    real = openvino.get_version()
    for change in (
        lambda: monkeypatch.setattr(openvino, "get_version", lambda: f"{real}-other"),
        lambda: monkeypatch.setattr("mshub_ssd.cpu.flags", lambda: frozenset({"avx9"})),
    ):
        change()
        del work[:]
        answers()
        answers()
        assert work == ["read", "compile", "import"]
    if engines.has_bf16():
        del work[:]
        answers(precision="bf16")
        assert work == ["read", "compile"]


def test_a_version_that_was_not_tried_compiles_each_time(work: Compilations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "get_version", lambda: "2025.0.0-17942-1f68be9f594-releases/2025/0")
    answers()
    answers()
    assert work == ["read", "compile"] * 2
    assert len(store.entries(Hub().settings, kinds=("graph",))) == 1


def test_what_openvino_refuses_is_compiled_anew_and_told(
    work: Compilations, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    want = answers()
    caplog.set_level(logging.INFO, logger="mshub_ssd")

    def refuse(*arguments: object) -> None:
        raise RuntimeError("made by another plugin")

    monkeypatch.setattr(openvino.Core, "import_model", refuse)
    assert same(answers(), want)
    assert "made by another plugin" in caplog.text
    compiled_form().path.unlink()
    monkeypatch.setattr(openvino.CompiledModel, "export_model", refuse)
    assert same(answers(), want)
    assert "cannot export" in caplog.text


def test_a_full_disk_stops_nobody(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mshub_ssd")
    plan = Hub().plan(DIGITS)
    graphs.onnx_for(plan, Hub().settings)

    def full(*arguments: object, **options: object) -> None:
        raise DiskSpaceError("the disk is full", where="the cache")

    monkeypatch.setattr(store, "add_graph", full)
    assert answers()[0].shape == (1, 2700, 4)
    assert "the disk is full" in caplog.text


@pytest.mark.skipif(os.name != "posix", reason="modes of folders")
def test_where_others_can_write_nothing_is_kept(work: Compilations, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mshub_ssd")
    want = answers()
    home = Hub().settings.home
    Path(home).chmod(0o777)
    del work[:]
    assert same(answers(), want)
    assert work == ["read", "compile"]
    assert "is not kept" in caplog.text


def test_removing_a_model_removes_it_too() -> None:
    answers()
    assert len(store.entries(Hub().settings, kinds=("graph",))) == 2
    subprocess.run([sys.executable, "-m", "mshub_ssd", "cache", "rm", DIGITS], check=True)
    assert store.entries(Hub().settings, kinds=("graph",)) == []
