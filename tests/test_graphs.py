"""Models as ONNX files in the cache, and networks compiled of them: made once, verified, right, without MindSpore."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from networks import save_checkpoint, sha256
from without import run_without

import mshub_ssd as mshub
from mshub_ssd import engines, graphs, store
from mshub_ssd.errors import CheckpointError, MismatchError, UsageError
from mshub_ssd.hub import Hub

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"


@pytest.fixture
def recorded(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The networks that were written down."""
    told: list[str] = []
    real = engines.record
    monkeypatch.setattr(engines, "record", lambda key, *rest: told.append(key) or real(key, *rest))
    return told


def digits_input(count: int = 1, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, 160, 160)).astype(np.float32)


def outputs(path: Path) -> tuple[np.ndarray, ...]:
    return engines.runner(path, "onnxruntime").run(digits_input())


def same(got: object, want: object, limit: float = 2e-5) -> bool:
    if isinstance(want, tuple):
        return len(got) == len(want) and all(map(same, got, want, [limit] * len(want)))
    return got.shape == want.shape and float(np.abs(got - want).max()) <= limit


class TestFiles:
    """`graphs.onnx_for`."""

    def test_of_many_at_once_one_makes_it(self, recorded: list[str]) -> None:
        hub = Hub()
        with ThreadPoolExecutor(4) as pool:
            made = list(pool.map(lambda _: graphs.onnx_for(hub.plan(DIGITS), hub.settings), range(4)))
        assert recorded == ["ssd_mobilenetV2"]
        assert made == [made[0]] * 4

    def test_it_is_made_once_and_found_again(self, recorded: list[str], hashed: list[int]) -> None:
        hub = Hub()
        first = graphs.onnx_for(hub.plan(DIGITS), hub.settings)
        assert recorded == ["ssd_mobilenetV2"]
        del hashed[:]
        again = graphs.onnx_for(Hub().plan(DIGITS), hub.settings)
        assert again == first
        assert recorded == ["ssd_mobilenetV2"]
        assert not hashed, "neither the graph nor the checkpoint is read again"
        assert first.config.class_names == tuple("0123456789")
        (entry,) = store.entries(hub.settings, kinds=("graph",))
        assert (entry.labels, entry.path) == ((DIGITS,), first.path)
        assert entry.checkpoint == hub.plan(DIGITS).checkpoint.sha256

    def test_another_process_makes_the_same_file(self, tmp_path: Path) -> None:
        hub = Hub()
        code = (
            "from mshub_ssd import graphs\nfrom mshub_ssd.hub import Hub\n"
            f"hub = Hub(home={str(tmp_path / 'other')!r})\n"
            f"print(graphs.onnx_for(hub.plan({DIGITS!r}), hub.settings).path.name)"
        )
        named = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
        assert named.strip() == graphs.onnx_for(hub.plan(DIGITS), hub.settings).path.name

    @pytest.mark.parametrize("harm", ["altered", "truncated", "foreign", "gone", "record", "config"])
    def test_what_is_not_ours_is_never_run_but_made_anew(self, harm: str, recorded: list[str]) -> None:
        hub = Hub()
        path = graphs.onnx_for(hub.plan(DIGITS), hub.settings).path
        good = path.read_bytes()
        (record,) = (hub.settings.home / "v1" / "graphs" / "keys").iterdir()
        if harm == "gone":
            path.unlink()
        elif harm == "record":
            record.write_text(record.read_text().replace("0.5", "0.4").replace("160", "320"))
        elif harm == "config":
            from mshub_ssd.store import derived

            stored = json.loads(record.read_text())
            del stored["check"]
            stored["facts"]["config"] = {"kind": "SSDConfig"}
            record.write_text(json.dumps({**stored, "check": derived._check(stored)}))
        else:
            path.chmod(0o644)
            middle = len(good) // 2
            other = good[:middle] + bytes(64) + good[middle + 64 :]
            path.write_bytes({"altered": other, "truncated": good[:middle], "foreign": b"MZ" * 500}[harm])
        again = graphs.onnx_for(hub.plan(DIGITS), hub.settings)
        assert len(recorded) == 2
        assert again.path.read_bytes() == good
        assert again.config.image_size == 160

    def test_a_change_of_code_or_emitter_makes_another_one(
        self, recorded: list[str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        hub = Hub()
        for change in (
            lambda: None,
            lambda: monkeypatch.setattr(engines, "EMITTER_VERSION", 10**6),
            lambda: monkeypatch.setattr(graphs, "_code", lambda key: "another"),
        ):
            change()
            graphs.onnx_for(hub.plan(DIGITS), hub.settings)
            graphs.onnx_for(hub.plan(DIGITS), hub.settings)
        assert len(recorded) == 3

    def test_a_checkpoint_of_another_network_is_refused_as_by_load(
        self, tmp_path: Path, fault_server: object, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("mindspore")
        monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
        arrays = {"network.stem.weight": np.ones((3, 3), np.float32), "bias": np.ones(3, np.float32)}
        path = save_checkpoint(tmp_path / "odd.ckpt", arrays)
        uid = "own/1.0/odd"
        _put(tmp_path / "cards", uid, path)
        hub = Hub()
        errors = []
        for use in (lambda: hub.load(uid), lambda: graphs.onnx_for(hub.plan(uid), hub.settings)):
            with pytest.raises(MismatchError) as caught:
                use()
            errors.append(caught.value)
        assert str(errors[0]) == str(errors[1])
        assert errors[0].report == errors[1].report
        path.write_bytes(b"no checkpoint")
        _put(tmp_path / "cards", uid, path)
        with pytest.raises(CheckpointError):
            graphs.onnx_for(hub.plan(uid), hub.settings)
        assert store.entries(hub.settings, kinds=("graph",)) == []

    def test_eight_digits_are_made_whole(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        source = Hub().fetch(DIGITS)
        text = (Path(Hub().info(DIGITS).path)).read_text(encoding="utf-8")
        monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
        uid = "own/1.0/short"
        card = tmp_path / "cards" / f"{uid}.md"
        card.parent.mkdir(parents=True)
        digest = sha256(source)
        card.write_text(text.replace(digest, digest[:12]), encoding="utf-8")
        (card.parent / source.name).write_bytes(source.read_bytes())
        hub = Hub()
        assert len(hub.plan(uid).checkpoint.sha256) == 12
        graphs.onnx_for(hub.plan(uid), hub.settings)
        (entry,) = store.entries(hub.settings, kinds=("graph",))
        assert entry.checkpoint == digest

    def test_weights_are_needed(self) -> None:
        hub = Hub()
        with pytest.raises(UsageError, match="needs weights"):
            graphs.onnx_for(hub.plan(DIGITS, pretrained=False), hub.settings)

    def test_the_commands_find_it_by_its_model(self) -> None:
        from commands import run

        hub = Hub()
        graphs.onnx_for(hub.plan(DIGITS), hub.settings)
        assert DIGITS in run("cache", "ls").stdout
        done = run("cache", "rm", DIGITS)
        assert "1 graph" in done.stdout
        assert store.entries(hub.settings, kinds=("graph",)) == []


def _put(root: Path, uid: str, checkpoint: Path) -> None:
    card = root / f"{uid}.md"
    card.parent.mkdir(parents=True, exist_ok=True)
    (card.parent / checkpoint.name).write_bytes(checkpoint.read_bytes())
    card.write_text(
        f"# odd\n\n---\n\nmodel-name: odd\n\nnetwork: ssd300\n\nasset:\n- file-format: ckpt\n"
        f'  asset-link: {checkpoint.name}\n  asset-sha256: "{sha256(checkpoint)}"\n\n---\n\n## What it is\n',
        encoding="utf-8",
    )


class TestCompile:
    """`mshub_ssd.compile`."""

    @pytest.mark.parametrize("engine", ["openvino", "onnxruntime", "mindspore"])
    def test_it_is_called_like_the_cell(self, engine: str) -> None:
        mindspore = pytest.importorskip("mindspore")
        network = mshub.load(DIGITS)
        for model in (DIGITS, network):
            compiled = mshub.compile(model, engine)
            assert (compiled.engine, compiled.precision, compiled.config) == (engine, "f32", network.config)
            for count in (1, 3):
                batch = digits_input(count)
                want = engines.to_arrays(network(mindspore.Tensor(batch)))
                assert same(compiled(batch), want)
                tensors = compiled(mindspore.Tensor(batch))
                assert all(isinstance(one, mindspore.Tensor) for one in tensors)
                assert same(engines.to_arrays(tensors), want)
                assert same(compiled.map([batch, batch])[1], want)
            compiled.close()
            with pytest.raises(UsageError, match="closed"):
                compiled(digits_input())

    def test_a_uid_needs_no_mindspore(self, tmp_path: Path) -> None:
        out = run_without(
            {"mindspore", "onnxruntime"},
            "import os, sys, numpy\n"
            f"os.environ['MSHUB_HOME'] = {str(tmp_path)!r}\n"
            "import mshub_ssd as mshub\n"
            f"compiled = mshub.compile({DIGITS!r})\n"
            "print(compiled, compiled(numpy.ones((1, 3, 160, 160), numpy.float32))[1].shape)\n"
            "print([name for name in sys.modules if name.startswith('mindspore')])\n",
        )
        assert out.splitlines() == ["<ssd_mobilenetV2 on openvino, f32> (1, 2700, 11)", "[]"]

    @pytest.mark.parametrize("engine", ["openvino", "onnxruntime"])
    def test_of_a_cell_it_is_a_snapshot_and_on_mindspore_the_cell(
        self, engine: str, caplog: pytest.LogCaptureFixture
    ) -> None:
        pytest.importorskip("mindspore")
        network = mshub.load(DIGITS)
        caplog.set_level("INFO", "mshub_ssd")
        snapshot, live = mshub.compile(network, engine), mshub.compile(network, "mindspore")
        assert "later ones do not count" in caplog.text
        before = snapshot(digits_input())
        weight = next(iter(network.get_parameters()))
        weight.set_data(weight * 1.5)
        assert same(snapshot(digits_input()), before, 0)
        assert not same(live(digits_input()), before, 1e-3)
        assert same(mshub.compile(network, engine)(digits_input()), live(digits_input()))

    def test_weights_of_ones_own_and_other_classes(self) -> None:
        pytest.importorskip("mindspore")
        from mshub_ssd.networks.ssd.variants import ssd_mobilenet_v2

        network = ssd_mobilenet_v2(num_classes=4, classes=["a", "b", "c"]).set_train(False)
        batch = np.zeros((1, 3, network.config.image_size, network.config.image_size), np.float32)
        compiled = mshub.compile(network, "onnxruntime")
        assert compiled(batch)[1].shape[-1] == 4
        assert compiled.config.class_names == ("a", "b", "c")
        assert same(compiled(batch), engines.call(network, batch), 1e-4)

    def test_what_cannot_be_compiled_is_refused(self) -> None:
        mindspore = pytest.importorskip("mindspore")
        own = mindspore.nn.Conv2d(3, 4, 3)
        with pytest.raises(UsageError, match="not built by this library") as caught:
            mshub.compile(own, "openvino")
        assert "MindIR" in str(caught.value.expected)
        assert mshub.compile(own, "mindspore")(np.ones((1, 3, 8, 8), np.float32)).shape == (1, 4, 8, 8)
        changed = mshub.load(DIGITS)
        changed.insert_child_to_cell("more", mindspore.nn.Dense(2, 2))
        with pytest.raises(UsageError, match="changed afterwards"):
            mshub.compile(changed, "openvino")
        with pytest.raises(UsageError, match="training"):
            mshub.compile(mshub.load(DIGITS).set_train(True), "openvino")
        with pytest.raises(UsageError, match="only networks"):
            mshub.compile(3)

    @pytest.mark.parametrize(
        "options",
        [{"precision": "bf16"}, {"threads": 2}, {"streams": 2}, {"precision": "f16"}],
        ids=str,
    )
    def test_mindspore_takes_none_of_these(self, options: dict[str, object]) -> None:
        pytest.importorskip("mindspore")
        with pytest.raises(UsageError):
            mshub.compile(DIGITS, "mindspore", **options)

    def test_nothing_is_made_for_options_that_make_no_sense(self, recorded: list[str]) -> None:
        for wrong in ({"precision": "f16"}, {"threads": 0}, {"streams": -1}, {"engine": "tensorrt"}):
            with pytest.raises(UsageError):
                mshub.compile(DIGITS, **wrong)
        assert not recorded

    def test_eight_threads_are_as_one(self) -> None:
        compiled = mshub.compile(DIGITS, threads=2, streams=2)
        batches = [digits_input(seed=number) for number in range(16)]
        alone = list(map(compiled, batches))
        with ThreadPoolExecutor(8) as pool:
            assert all(map(same, pool.map(compiled, batches), alone, [0] * 16))

    def test_bf16_is_close_where_it_can_be_had(self) -> None:
        if not engines.has_bf16():
            pytest.skip("this CPU has no bf16")
        compiled = mshub.compile(DIGITS, "openvino", "bf16")
        assert compiled.precision == "bf16"
        full = mshub.compile(DIGITS, "openvino")(digits_input())
        assert same(compiled(digits_input()), full, 0.2)
        assert not same(compiled(digits_input()), full, 1e-4)


DOCS = Path(__file__).parents[1] / "docs"
FENCES = re.findall(
    r"```python\n(.*?)```\n\n```\n(.*?)```", (DOCS / "engines.md").read_text(encoding="utf-8"), re.DOTALL
)


@pytest.mark.parametrize(("code", "promised"), FENCES)
def test_the_documents_code_does_what_it_says(code: str, promised: str) -> None:
    pytest.importorskip("mindspore")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, promised), done.stderr
