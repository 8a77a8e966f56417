"""The engines: what a Runner returns, from how many threads, in which precision, and which one is taken."""

from __future__ import annotations

import gc
import hashlib
import logging
import os
import subprocess
import sys
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnxlab
import pytest
from commands import SOURCE
from without import run_without

from mshub_ssd import cpu, engines
from mshub_ssd.engines import choosing
from mshub_ssd.errors import MissingDependencyError, UsageError, install_hint

pytest.importorskip("openvino")
pytest.importorskip("onnxruntime")


@pytest.fixture(params=["openvino", "onnxruntime"])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def told() -> Iterator[None]:
    """Nothing was told before."""
    choosing._tell.cache_clear()
    yield
    choosing._tell.cache_clear()


def batch(count: int = 1, seed: int = 1, size: int = 16) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(count, 3, size, size)).astype(np.float32)


def close(got: object, want: object, limit: float = 2e-5) -> bool:
    """Whether two nests of arrays agree, in structure, too."""
    if isinstance(want, tuple):
        return isinstance(got, tuple) and len(got) == len(want) and all(map(close, got, want, [limit] * len(want)))
    return isinstance(got, np.ndarray) and got.shape == want.shape and float(np.abs(got - want).max()) <= limit


@pytest.mark.parametrize("count", [1, 3])
def test_outputs_are_right_and_nested_as_the_file_says(engine: str, count: int, tmp_path: Path) -> None:
    (tmp_path / "small.onnx").write_bytes(onnxlab.small())
    runner = engines.runner(tmp_path / "small.onnx", engine)
    assert (runner.name, runner.precision) == (engine, "f32")
    got = runner.run(batch(count))
    assert close(got, onnxlab.small_answer(batch(count)))
    assert all(part.dtype == np.float32 for nest in got for part in nest)


def test_without_a_nesting_outputs_come_as_they_are(engine: str) -> None:
    flat = engines.runner(onnxlab.small(nesting=None), engine).run(batch())
    assert [type(part) for part in flat] == [np.ndarray] * 3
    one = onnxlab.model([("Relu", ["x"], "y", {})], {"x": ["N", 3, 4, 4]}, {"y": ["N", 3, 4, 4]})
    assert isinstance(engines.runner(one, engine).run(batch(size=4)), np.ndarray)


def arrays(nest: object) -> list[np.ndarray]:
    return [leaf for part in nest for leaf in arrays(part)] if isinstance(nest, tuple) else [nest]


@pytest.mark.parametrize("options", [{}, {"streams": 2}], ids=["plain", "streams"])
def test_results_are_the_callers_own(engine: str, options: dict[str, int]) -> None:
    runner = engines.runner(onnxlab.small(), engine, **options)
    batches = [batch(1 + number % 3, seed=number) for number in range(12)]
    kept = runner.run_many(batches)
    views = [array[..., ::2] for array in arrays(runner.run(batches[0]))]
    want = [view.copy() for view in views]
    for result in runner.run_many(batches):
        for array in arrays(result):
            array[:] = np.nan
    runner.close()
    assert all(map(close, kept, map(onnxlab.small_answer, batches)))
    assert all(map(np.array_equal, views, want))


def test_results_are_gone_when_nobody_has_them(engine: str) -> None:
    runner = engines.runner(onnxlab.small(), engine, streams=2)
    one, many = runner.run(batch()), runner.run_many([batch(), batch(2)])
    seen = [weakref.ref(array) for nest in (one, *many) for array in arrays(nest)]
    gc.disable()  # nothing may wait for the collector: new results would take new memory until it comes
    try:
        del one, many
        assert [ref() for ref in seen] == [None] * len(seen)
    finally:
        gc.enable()


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads /proc")
def test_five_hundred_runs_take_no_more_memory_than_a_few(engine: str) -> None:
    runner = engines.runner(onnxlab.small(), engine)

    def taken() -> int:
        return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * os.sysconf("SC_PAGE_SIZE")

    picture = batch(8)
    size = sum(array.nbytes for array in arrays(runner.run(picture)))
    for _ in range(20):
        kept = runner.run(picture)
    before = taken()
    for _ in range(500):
        kept = runner.run(picture)
    assert close(kept, onnxlab.small_answer(picture))
    assert taken() - before < 50 * size


def test_another_batch_size_is_compiled_from_the_file_that_was_verified(tmp_path: Path) -> None:
    file, content = tmp_path / "small.onnx", onnxlab.small()
    file.write_bytes(content)
    digest = hashlib.sha256(content).hexdigest()
    for counts in ((1, 3, 1, 2), (3, 1, 2)):
        runner = engines.runner(file, "openvino", digest=digest)
        for count in counts:
            assert close(runner.run(batch(count)), onnxlab.small_answer(batch(count)))
    altered = bytearray(content)
    altered[len(content) // 2] ^= 1
    for change in (lambda: file.write_bytes(altered), lambda: file.unlink()):
        file.write_bytes(content)
        runner = engines.runner(file, "openvino", digest=digest)
        want = runner.run(batch())
        change()
        with pytest.raises(UsageError, match="changed" if file.exists() else "cannot be read") as caught:
            runner.run(batch(2))
        assert caught.value.where == str(file)
        assert close(runner.run(batch()), want, 0)
        file.write_bytes(content)
        assert close(runner.run(batch(2)), onnxlab.small_answer(batch(2)))


def test_a_file_that_nobody_verified_is_read_once(engine: str, tmp_path: Path) -> None:
    file = tmp_path / "small.onnx"
    file.write_bytes(onnxlab.small())
    runner = engines.runner(file, engine)
    runner.run(batch())
    file.unlink()
    assert close(runner.run(batch(3)), onnxlab.small_answer(batch(3)))
    with pytest.raises(UsageError, match="cannot be read"):
        engines.runner(file, engine)


@pytest.mark.parametrize("options", [{}, {"streams": 2, "threads": 2}], ids=["plain", "streams"])
def test_eight_threads_on_one_runner_are_as_one(engine: str, options: dict[str, int]) -> None:
    runner = engines.runner(onnxlab.small(), engine, **options)
    batches = [batch(1 + number % 3, seed=number) for number in range(40)]
    alone = [runner.run(one) for one in batches]
    with ThreadPoolExecutor(8) as pool:
        together = list(pool.map(runner.run, batches))
    assert all(close(got, want, 0) for got, want in zip(together, alone, strict=True))


# Where threads are tied while they run, and only then.
TIED = """
import os, sys, threading
from pathlib import Path

import numpy as np
import onnxlab

from mshub_ssd import engines

seen, ended = set(), threading.Event()


def watch():
    while not ended.is_set():
        for task in Path("/proc/self/task").iterdir():
            try:
                seen.add(tuple(sorted(os.sched_getaffinity(int(task.name)))))
            except ProcessLookupError:
                pass


runner = engines.runner(onnxlab.small(), sys.argv[1], **eval(sys.argv[2]))
watcher = threading.Thread(target=watch)
watcher.start()
flow, batch = runner.flow(), np.zeros((32, 3, 16, 16), np.float32)
for _ in range(60):
    for running in [flow.start(batch) for _ in range(flow.depth)]:
        running.result()
    runner.run(batch)
ended.set()
watcher.join()
print(seen == {tuple(sorted(os.sched_getaffinity(0)))}, seen)
"""


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="threads are seen where Linux is")
@pytest.mark.parametrize("options", [{"threads": 1}, {"streams": 2, "threads": 2}, {}], ids=["one", "streams", "plain"])
def test_no_thread_is_tied_to_a_processor(options: dict[str, int]) -> None:
    """Those of other processes would be tied to the same one, and share it while others have nothing to do."""
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join([str(SOURCE), str(Path(__file__).parent)])}
    words = [sys.executable, "-c", TIED, "openvino", repr(options)]
    done = subprocess.run(words, env=environ, capture_output=True, text=True, check=True)
    assert done.stdout.startswith("True"), done.stdout


@pytest.mark.parametrize("options", [{}, {"streams": 1}, {"streams": 2}], ids=["none", "one", "two"])
def test_many_batches_come_back_in_order(engine: str, options: dict[str, int]) -> None:
    runner = engines.runner(onnxlab.small(), engine, **options)
    batches = [batch(1 + number % 3, seed=number) for number in range(20)]
    assert all(map(close, runner.run_many(batches), map(onnxlab.small_answer, batches)))
    assert runner.run_many([]) == []
    with pytest.raises(UsageError, match="does not fit"):
        runner.run_many([batch(), batch(size=8)])


@pytest.mark.parametrize(
    "wrong",
    [
        batch(size=8),
        batch()[0],
        batch().astype(np.float64),
        batch()[:0],
        batch().tolist(),
        np.zeros((1, 4, 16, 16), np.float32),
    ],
    ids=["size", "rank", "type", "empty", "list", "channels"],
)
def test_another_input_is_refused(engine: str, wrong: object) -> None:
    runner = engines.runner(onnxlab.small(), engine)
    with pytest.raises(UsageError) as caught:
        runner.run(wrong)
    assert caught.value.expected == "float32 [N, 3, 16, 16]"


def test_any_memory_order_will_do(engine: str) -> None:
    runner = engines.runner(onnxlab.small(), engine)
    odd = np.asfortranarray(batch(2))
    assert close(runner.run(odd), onnxlab.small_answer(batch(2)))
    frozen = batch(2)
    frozen.setflags(write=False)
    assert close(runner.run(frozen), onnxlab.small_answer(batch(2)))


@pytest.mark.parametrize(
    "model",
    [b"", b"no model", onnxlab.small()[:300], onnxlab.small(nesting=["boxes", "no such output"])],
    ids=["empty", "text", "truncated", "outputs"],
)
def test_what_is_no_model_is_refused(engine: str, model: bytes, tmp_path: Path) -> None:
    (tmp_path / "odd.onnx").write_bytes(model)
    for given in (model, tmp_path / "odd.onnx"):
        with pytest.raises(UsageError):
            engines.runner(given, engine).run(batch())


def test_a_model_of_two_inputs_is_refused(engine: str) -> None:
    both = {"x": ["N", 3], "y": ["N", 3]}
    with pytest.raises(UsageError, match="one input"):
        engines.runner(onnxlab.model([("Add", ["x", "y"], "z", {})], both, {"z": ["N", 3]}), engine)


def test_a_closed_runner_says_so(engine: str) -> None:
    runner = engines.runner(onnxlab.small(), engine, streams=2)
    runner.run(batch())
    runner.close()
    for use in (lambda: runner.run(batch()), lambda: runner.run_many([batch(), batch()])):
        with pytest.raises(UsageError, match="closed"):
            use()


@pytest.mark.parametrize(
    "options",
    [{"precision": "f16"}, {"threads": 0}, {"threads": True}, {"streams": "2"}, {"engine": "tensorrt"}],
    ids=str,
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object]) -> None:
    with pytest.raises(UsageError):
        engines.runner(onnxlab.small(), **options)


def test_mindspore_runs_no_files() -> None:
    pytest.importorskip("mindspore")
    with pytest.raises(UsageError, match="Cells"):
        engines.runner(onnxlab.small(), "mindspore")


def test_bf16_where_the_cpu_has_it_and_an_error_where_not(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(UsageError, match="float32"):
        engines.runner(onnxlab.small(), "onnxruntime", "bf16")
    if engines.has_bf16():
        runner = engines.runner(onnxlab.small(channels=64), "openvino", "bf16")
        assert runner.precision == "bf16"
        got, want = runner.run(batch(2)), onnxlab.small_answer(batch(2), 64)
        assert close(got, want, 0.3)
        assert not close(got, want, 1e-3), "it computed in float32"
    monkeypatch.setattr("mshub_ssd.engines.openvino.has_bf16", lambda: False)
    with pytest.raises(UsageError, match="no bf16"):
        engines.runner(onnxlab.small(), "openvino", "bf16")


def test_float32_is_stated_where_openvino_would_take_bf16() -> None:
    runner = engines.runner(onnxlab.small(channels=64), "openvino")
    assert close(runner.run(batch(2)), onnxlab.small_answer(batch(2), 64), 2e-5)


def python(code: str, **environ: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | environ | {"PYTHONPATH": str(Path(__file__).parent)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_limit_of_mindspores_onednn_does_not_reach_openvino() -> None:
    # OpenVINO prints the instruction set of its oneDNN when the first primitive is made.
    code = (
        "import os, numpy, onnxlab\n"
        "from mshub_ssd import engines\n"
        "runner = engines.runner(onnxlab.small(channels=64), 'openvino', {precision!r})\n"
        "runner.run(numpy.ones((1, 3, 16, 16), numpy.float32))\n"
        "print(os.environ['ONEDNN_MAX_CPU_ISA'])\n"
    )
    for precision in ("f32", "bf16") if engines.has_bf16() else ("f32",):
        out = python(code.format(precision=precision), ONEDNN_MAX_CPU_ISA="SSE41")
        assert out.splitlines()[-1] == "SSE41", "the user's variable is left as it was"


def test_importing_openvino_tells_nobody(tmp_path: Path) -> None:
    out = python(
        "import sys, threading, onnxlab\n"
        "from mshub_ssd import engines\n"
        "engines.runner(onnxlab.small(), 'openvino')\n"
        "print('openvino_telemetry' in sys.modules, threading.active_count())\n"
        "import openvino, openvino_telemetry\n"
        "print(callable(openvino.convert_model))\n",
        HOME=str(tmp_path),
        CI="",
    )
    assert out.split() == ["False", "1", "True"]
    assert list(tmp_path.iterdir()) == []


def test_auto_takes_the_first_that_is_there_and_tells_it_once(
    told: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    there = set(engines.ENGINES)
    monkeypatch.setattr(choosing, "is_installed", lambda name: name in there)
    monkeypatch.setattr(choosing, "_device", lambda: "CPU")
    caplog.set_level(logging.INFO, "mshub_ssd")
    for name in engines.ENGINES:
        for _ in range(3):
            choice = engines.choose()
            assert choice.name == name
        assert sum(f"engine: {name}" in message for message in caplog.messages) == 1
        there.remove(name)
    with pytest.raises(MissingDependencyError) as caught:
        engines.choose()
    assert "pip install 'mshub_ssd[openvino]'" in str(caught.value.hint)


@pytest.mark.parametrize("name", engines.ENGINES)
def test_an_engine_that_is_not_installed_is_named_with_its_command(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choosing, "is_installed", lambda asked: asked != name)
    with pytest.raises(MissingDependencyError) as caught:
        engines.choose(name)
    assert caught.value.hint == install_hint(name)
    assert f"pip install 'mshub_ssd[{name}]'" in caught.value.hint


def test_another_device_than_the_cpu_is_left_to_mindspore(told: None, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("mindspore")
    monkeypatch.setattr(choosing, "_device", lambda: "Ascend")
    assert engines.choose() == ("mindspore", "MindSpore's device is Ascend")
    assert engines.choose("openvino").name == "openvino"


def test_choosing_and_running_need_no_mindspore() -> None:
    out = run_without(
        {"mindspore", "onnxruntime"},
        f"import sys; sys.path.insert(0, {str(Path(__file__).parent)!r})\n"
        "import numpy, onnxlab\n"
        "from mshub_ssd import engines\n"
        "print(engines.choose().name)\n"
        "print(engines.runner(onnxlab.small()).run(numpy.ones((1, 3, 16, 16), numpy.float32))[0][0].shape)\n"
        "print([name for name in sys.modules if name.startswith('mindspore')])\n",
    )
    assert out.splitlines() == ["openvino", "(1, 8, 16, 16)", "[]"]


def test_choosing_imports_no_engine() -> None:
    out = python(
        "import sys\nfrom mshub_ssd import engines\nengines.choose()\n"
        "print({'mindspore', 'openvino', 'onnxruntime', 'numpy'} & set(sys.modules))"
    )
    assert out.strip() == "set()"


def test_a_container_limits_the_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu.os, "cpu_count", lambda: 64)
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: set(range(64)), raising=False)
    monkeypatch.setattr(cpu, "cpu_quota", lambda: None)
    assert cpu.thread_limit() is None
    for quota, limit in ((0.2, 1), (1.5, 2), (4.0, 4), (80.0, None)):
        monkeypatch.setattr(cpu, "cpu_quota", lambda quota=quota: quota)
        assert cpu.thread_limit() == limit
    monkeypatch.setattr(cpu, "cpu_quota", lambda: None)
    monkeypatch.setattr(cpu.os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert cpu.thread_limit() == 2
    runner = engines.runner(onnxlab.small(), "openvino")
    runner.run(batch())
    assert next(iter(runner._compiled.values()))._model.get_property("INFERENCE_NUM_THREADS") == 2


@pytest.mark.parametrize(
    ("files", "membership", "quota"),
    [
        ({}, "", None),
        ({"cpu.max": "max 100000"}, "0::/", None),
        ({"cpu.max": "150000 100000"}, "0::/", 1.5),
        ({"cpu.max": "400000 100000", "a/cpu.max": "max 100000", "a/b/cpu.max": "200000 100000"}, "0::/a/b", 2.0),
        ({"cpu.max": "100000 100000", "a/cpu.max": "300000 100000"}, "0::/a", 1.0),
        # In a container the path is the host's, and what is mounted is the container's own group.
        ({"cpu.max": "50000 100000"}, "0::/../kubepods/pod1", 0.5),
        ({"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, "1:cpu:/", None),
        ({"cpu/cpu.cfs_quota_us": "250000", "cpu/cpu.cfs_period_us": "100000"}, "4:memory:/x\n1:cpu:/docker/1", 2.5),
        (
            {"cpu,cpuacct/d/cpu.cfs_quota_us": "70000", "cpu,cpuacct/d/cpu.cfs_period_us": "100000"},
            "3:cpu,cpuacct:/d\n0::/",
            0.7,
        ),
        ({"cpu.max": "nonsense"}, "0::/\nnonsense", None),
        ({"cpu.max": "5 0"}, "0::/", None),
    ],
)
def test_quotas_of_control_groups(files: dict[str, str], membership: str, quota: float | None, tmp_path: Path) -> None:
    for name, text in files.items():
        (tmp_path / "cgroup" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "cgroup" / name).write_text(text + "\n")
    (tmp_path / "self").write_text(membership + "\n")
    assert cpu.cpu_quota(tmp_path / "cgroup", tmp_path / "self") == quota


class TestCells:
    """A Cell as a Runner."""

    @pytest.fixture
    def cell(self) -> object:
        mindspore = pytest.importorskip("mindspore")
        nn = mindspore.nn

        class Small(nn.Cell):
            def __init__(self) -> None:
                super().__init__()
                self.conv = nn.Conv2d(3, 4, 3)
                self.norm = nn.BatchNorm2d(4)

            def construct(self, x: object) -> object:
                y = self.norm(self.conv(x))
                return y, (y + 1,)

        return Small().set_train(False)

    def test_it_is_compiled_and_the_users_mode_stays(self, cell: object, mode: str) -> None:
        import mindspore

        runner = engines.cell_runner(cell)
        before = vars(cell).keys()
        assert (runner.name, runner.precision) == ("mindspore", "f32")
        got = runner.run(batch(2))
        assert close(got, engines.call(cell, batch(2)))
        assert close(runner.run_many([batch(1), batch(2)])[1], got)
        assert mindspore.get_context("mode") == getattr(mindspore, mode)
        assert vars(cell).keys() == before

    def test_it_does_not_run_the_cell_in_python(self, cell: object) -> None:
        runner = engines.cell_runner(cell)
        runner.run(batch())
        ran = set()
        sys.setprofile(lambda frame, *_: ran.add(frame.f_code))
        try:
            runner.run(batch())
        finally:
            sys.setprofile(None)
        assert type(runner).run.__code__ in ran
        assert type(cell).construct.__code__ not in ran

    def test_a_cell_that_cannot_be_compiled_runs_as_it_is(
        self, cell: object, caplog: pytest.LogCaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.chdir(tmp_path)  # MindSpore writes what it could not compile to where it stands
        calls = []
        cell.register_forward_pre_hook(lambda *args: calls.append(args) or args[1])
        runner = engines.cell_runner(cell)
        for count in (1, 2):
            runner.run(batch())
            assert len(calls) == count
        assert sum("cannot compile this Cell" in message for message in caplog.messages) == 1

    def test_new_weights_count_however_they_come(self, cell: object, mode: str) -> None:
        import mindspore

        runner = engines.cell_runner(cell)
        weight = cell.conv.weight
        new = mindspore.Tensor(np.full(weight.shape, 0.5, np.float32))
        optimizer = mindspore.nn.SGD(cell.trainable_params(), 0.1)
        gradients = tuple(mindspore.ops.ones_like(one) for one in cell.trainable_params())
        changes = {
            "nothing": lambda: None,
            "set_data": lambda: weight.set_data(new),
            "one step": lambda: optimizer(gradients),
            "another step": lambda: optimizer(gradients),
            "load_param_into_net": lambda: mindspore.load_param_into_net(
                cell, {"conv.weight": mindspore.Parameter(new * 3, name="conv.weight")}
            ),
            "assign": lambda: mindspore.ops.assign(weight, new * 5),
        }
        seen = []
        for name, change in changes.items():
            change()
            got = runner.run(batch())
            assert close(got, engines.call(cell, batch()), 1e-4), name
            assert not any(close(got, old, 1e-4) for old in seen), f"{name} changed nothing"
            seen.append(got)

    def test_parts_that_train_are_seen(self, cell: object) -> None:
        runner = engines.cell_runner(cell)
        calm = runner.run(batch(4))
        cell.norm.set_train(True)
        assert not close(runner.run(batch(4)), calm, 1e-3)

    def test_eight_threads_are_as_one(self, cell: object) -> None:
        runner = engines.cell_runner(cell)
        batches = [batch(seed=number) for number in range(24)]
        alone = list(map(runner.run, batches))
        with ThreadPoolExecutor(8) as pool:
            assert all(map(close, pool.map(runner.run, batches), alone, [0] * 24))

    def test_a_closed_one_says_so(self, cell: object) -> None:
        runner = engines.cell_runner(cell)
        runner.close()
        with pytest.raises(UsageError, match="closed"):
            runner.run(batch())
