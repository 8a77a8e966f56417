"""Without the extra, whatever needs it says what to install, and the rest works."""

from __future__ import annotations

from pathlib import Path

import pytest
from without import run_without

import mshub_ssd
from mshub_ssd.errors import MissingDependencyError, install_hint, is_installed, needing_extra

SMALL = "pip install 'mshub_ssd[openvino]', or [onnxruntime] for the smallest one, or [mindspore]"
# Where MindSpore is, its extra keeps the others as old as it needs them.
HINT = install_hint("mindspore") if is_installed("mindspore") else SMALL
DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
DEMO = Path(mshub_ssd.__file__).parent / "cli" / "demo_digits.png"
ALL = {"mindspore", "numpy", "PIL", "cv2", "safetensors"}
NEEDY = [
    f"m.detect({DIGITS!r}, {str(DEMO)!r})",
    f"m.classify({DIGITS!r}, {str(DEMO)!r})",
    f"m.postprocess({DIGITS!r}, (), (3, 4))",
    f"m.load({DIGITS!r})",
    f"m.load_weights({DIGITS!r})",
    "m.Detections",
    "m.Classification",
]
COMMANDS = [
    ["detect", str(DEMO), "--model", DIGITS],
    ["detect", str(DEMO), "--model", DIGITS, "--out", "out.png"],
    ["classify", str(DEMO), "--model", DIGITS],
    ["demo", "--out", "out.png"],
    ["convert", "old.ckpt", "new.ckpt"],
]


@pytest.mark.parametrize(
    ("blocked", "package", "calls"),
    [
        (ALL, ("mindspore", "numpy"), NEEDY),
        ({"numpy"}, ("numpy",), NEEDY),
        ({"PIL"}, ("pillow",), NEEDY[:2]),
        ({"cv2"}, ("opencv-python-headless",), NEEDY[:1]),
    ],
    ids=["all", "numpy", "pillow", "opencv"],
)
def test_the_library_names_what_is_missing(
    blocked: set[str], package: tuple[str, ...], calls: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path))
    code = "import mshub_ssd as m\n"
    for call in calls:
        code += f"try: {call}\nexcept m.errors.MissingDependencyError as e: print(e.message, e.hint, sep='|')\n"
    said = [line.split("|") for line in run_without(blocked, code).splitlines()]
    assert len(said) == len(calls)
    for call, (message, hint) in zip(calls, said, strict=True):
        for_load = "load" in call and ("mindspore" in blocked or not is_installed("mindspore"))
        assert any(name in message for name in (package if not for_load else ("mindspore",)))
        assert hint == (install_hint("mindspore") if for_load else SMALL if "mindspore" in blocked else HINT)


def test_a_checkpoint_names_the_package_of_its_format(tmp_path: Path) -> None:
    (tmp_path / "x.safetensors").write_bytes(b"{}")
    code = (
        "import pathlib, numpy, mshub_ssd as m\n"
        "from mshub_ssd import checkpoints\n"
        f"path = pathlib.Path({str(tmp_path)!r})\n"
        "for call in (lambda: checkpoints.read(path / 'x.safetensors', 'safetensors'),\n"
        "             lambda: checkpoints.write(path / 'y.safetensors', {'w': numpy.zeros(2)})):\n"
        "    try: call()\n"
        "    except m.errors.MissingDependencyError as e: print(e.message)\n"
    )
    read, written = run_without({"safetensors"}, code).splitlines()
    assert read.startswith("reading a .safetensors file needs safetensors")
    assert written.startswith("writing a checkpoint needs safetensors")
    assert [file.name for file in tmp_path.iterdir()] == ["x.safetensors"]


@pytest.mark.parametrize("blocked", [ALL, {"numpy"}, {"PIL"}], ids=["all", "numpy", "pillow"])
def test_the_commands_name_what_is_missing(blocked: set[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSHUB_HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "old.ckpt").write_bytes(b"")
    # Converting reads no picture.
    commands = COMMANDS[:-1] if blocked == {"PIL"} else COMMANDS
    code = (
        "from click.testing import CliRunner\n"
        "from mshub_ssd.cli.app import cli\n"
        f"for command in {commands!r}:\n"
        "    done = CliRunner().invoke(cli, command)\n"
        "    print(done.exit_code, repr(done.stdout), done.stderr.replace(chr(10), '|'))\n"
    )
    said = run_without(blocked, code).splitlines()
    assert len(said) == len(commands)
    for line in said:
        assert line.startswith("1 '' error: ")
        assert (SMALL if "mindspore" in blocked else HINT) in line


def test_only_the_packages_of_the_extra_are_explained() -> None:
    with pytest.raises(MissingDependencyError, match="counting needs opencv"), needing_extra("counting"):
        raise ImportError("libGL.so.1: cannot open shared object file", name="cv2")

    @needing_extra("counting")
    def count() -> None:
        raise ImportError("broken", name="numpy.core")

    with pytest.raises(MissingDependencyError, match=r"^counting needs numpy: broken\n.*pip install"):
        count()
    for error in (ImportError("no name"), ModuleNotFoundError("mine", name="mine"), MissingDependencyError("said")):
        with pytest.raises(ImportError) as caught, needing_extra("counting"):
            raise error
        assert caught.value is error
