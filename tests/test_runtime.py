"""The CPU instruction set limit: where it is needed, in time, too late, and never against the user."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mshub_ssd.runtime import plan_isa_limit

pytest.importorskip("mindspore")

AVX512 = frozenset({"avx2", "avx512f", "avx512bw"})
AVX2 = frozenset({"avx2"})


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """A wheel's library folder with oneDNN 3."""
    (tmp_path / "libdnnl.so.3").touch()
    return tmp_path


def test_the_limit_is_set_where_the_wheel_needs_it(wheel: Path) -> None:
    plan = plan_isa_limit({}, AVX512, wheel)
    assert plan.limit == "AVX2"
    assert plan.library == wheel / "libdnnl.so.3"


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_a_value_of_the_users_is_never_overridden(wheel: Path, name: str) -> None:
    plan = plan_isa_limit({name: "AVX512_CORE"}, AVX512, wheel)
    assert plan.limit is None
    assert name in plan.reason


def test_cpus_and_wheels_without_the_fault_are_left_alone(wheel: Path, tmp_path: Path) -> None:
    assert plan_isa_limit({}, AVX2, wheel).limit is None
    assert plan_isa_limit({}, frozenset(), wheel).limit is None
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "libdnnl.so.2").touch()
    assert plan_isa_limit({}, AVX512, tmp_path / "old").limit is None
    assert plan_isa_limit({}, AVX512, None).limit is None


# The machine that runs the tests may have no AVX-512, so its flags are put in place; the wheel, oneDNN and the
# order of events are real. The narrower limit makes the effect visible on any x86 CPU.
SCRIPT = """
import logging, os, sys, warnings
logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stdout)
from mshub_ssd import runtime
runtime._cpu_flags = lambda: frozenset({{"avx2", "avx512f"}})
runtime._LIMIT, runtime._LIMIT_CODE = "SSE41", 1
def convolution():
    import mindspore, numpy
    x = mindspore.Tensor(numpy.ones((1, 8, 16, 16), numpy.float32))
    mindspore.nn.Conv2d(8, 8, 3)(x).asnumpy()
{before}
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    runtime.ensure_fast_cpu()
    runtime.ensure_fast_cpu()
print("warnings", [str(w.message) for w in caught])
convolution()
print("variable", os.environ.get("ONEDNN_MAX_CPU_ISA"))
"""


def run(before: str, **environ: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(before=before)],
        env=env | {"ONEDNN_VERBOSE": "1"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("before", ["", "import mindspore", "import mindspore; mindspore.Tensor([1.0]) + 1"])
def test_the_limit_takes_effect_before_and_after_the_import(before: str) -> None:
    out = run(before)
    assert out.count("INFO set ONEDNN_MAX_CPU_ISA=SSE41") == 1
    assert "warnings []" in out
    assert "variable SSE41" in out
    assert "isa:Intel SSE4.1" in out


def test_too_late_is_told_once_with_what_to_do() -> None:
    out = run("convolution()")
    assert "slower" in out
    assert out.count("before Python starts") == 1
    assert "isa:Intel SSE4.1" not in out


def test_the_users_value_stays_in_force() -> None:
    out = run("", ONEDNN_MAX_CPU_ISA="AVX")
    assert "variable AVX\n" in out
    assert "isa:Intel AVX\n" in out
    assert "INFO" not in out


def test_outputs_become_arrays_however_nested() -> None:
    import mindspore
    import numpy as np

    from mshub_ssd import runtime

    class Nested(mindspore.nn.Cell):
        def construct(self, x: mindspore.Tensor) -> tuple:
            return (x, x + 1), (x + 2,)

    first, second = runtime.call(Nested(), np.zeros((2, 3), np.float32))
    assert [type(part) for part in (*first, *second)] == [np.ndarray] * 3
    assert [part.mean() for part in (*first, *second)] == [0, 1, 2]
    assert isinstance(runtime.call(mindspore.nn.ReLU(), np.zeros((2, 3), np.float32)), np.ndarray)
