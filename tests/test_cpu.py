"""The CPU instruction set limit: where it is needed, in time, too late, and never against the user."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from mshub_ssd import cpu
from mshub_ssd.cpu import plan_isa_limit

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
from mshub_ssd import cpu
{machine}
def convolution():
    import mindspore, numpy
    x = mindspore.Tensor(numpy.ones((1, 8, 16, 16), numpy.float32))
    mindspore.nn.Conv2d(8, 8, 3)(x).asnumpy()
def variables():
    # MindSpore itself sets others.
    return {{name: os.environ.get(name) for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")}}
before = variables()
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
{steps}
print("warnings", [str(w.message) for w in caught if issubclass(w.category, RuntimeWarning)])
print("variables as before", variables() == before)
"""

PRETENDED = """
cpu.flags = lambda: frozenset({"avx2", "avx512f"})
cpu._LIMIT, cpu._LIMIT_CODE = "SSE41", 1
"""
ENSURE = "cpu.ensure_fast_cpu(); cpu.ensure_fast_cpu()"
BY_CONSTRUCTOR = """
from mshub_ssd.networks.ssd.variants import ssd300
import mindspore, numpy
network = ssd300().set_train(False)
mindspore.ops.Conv2D(8, 3)(mindspore.ops.ones((1, 8, 9, 9)), mindspore.ops.ones((8, 8, 3, 3))).asnumpy()
"""
OWN_CELL = """
import mindspore, numpy
from mshub_ssd import engines
engines.call(mindspore.nn.Conv2d(8, 8, 3), numpy.ones((1, 8, 16, 16), numpy.float32))
"""


def run(steps: str, machine: str = PRETENDED, **environ: str) -> str:
    env = {k: v for k, v in os.environ.items() if k not in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT.format(machine=machine, steps=textwrap.indent(steps, "    "))],
        env=env | {"ONEDNN_VERBOSE": "1"} | environ,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    "steps",
    [
        f"{ENSURE}; convolution()",
        f"import mindspore; {ENSURE}; convolution()",
        f"import mindspore; mindspore.Tensor([1.0]) + 1; {ENSURE}; convolution()",
        'import mshub_ssd; mshub_ssd.load("mindspore/1.7/ssd300_coco2017", pretrained=False); convolution()',
        f"{BY_CONSTRUCTOR}\nconvolution()",
        OWN_CELL,
    ],
    ids=["before the import", "after the import", "after an addition", "load", "a constructor", "a Cell of one's own"],
)
def test_the_limit_is_in_force_however_mindspore_comes_in(steps: str) -> None:
    out = run(steps)
    assert out.count("INFO limited MindSpore's oneDNN to SSE41") == 1
    assert "warnings []" in out
    # Other engines in the process read the variable, and would be slowed down by it.
    assert "variables as before True" in out
    assert "isa:Intel SSE4.1" in out


def test_too_late_is_told_once_with_what_to_do() -> None:
    out = run(f"convolution(); {ENSURE}; convolution()")
    assert "slower" in out
    assert out.count("before Python starts") == 1
    assert "isa:Intel SSE4.1" not in out


@pytest.mark.parametrize("name", ["ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"])
def test_the_users_value_stays_in_force(name: str) -> None:
    out = run(f"{ENSURE}; convolution()", **{name: "AVX"})
    assert "variables as before True" in out
    assert "isa:Intel AVX\n" in out
    assert "INFO" not in out


def test_an_avx_512_machine_runs_convolutions_on_a_fast_kernel() -> None:
    if "avx512f" not in cpu.flags():
        pytest.skip("this CPU has no AVX-512")
    out = run(f"{ENSURE}; convolution()", machine="")
    kernels = [line for line in out.splitlines() if "convolution" in line and ",exec," in line]
    assert kernels
    assert not [line for line in kernels if ":ref" in line or "ref:any" in line]
