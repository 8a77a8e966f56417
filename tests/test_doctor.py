"""``mshub doctor``: the whole chain, and where it breaks."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

import commands
import numpy as np
import pytest
from click.testing import Result
from faultserver import Fault, FaultServer
from networks import save_checkpoint, sha256

import mshub_ssd as mshub
from mshub_ssd import cpu, networks
from mshub_ssd.errors import is_installed
from mshub_ssd.store.transfer import override_policy

mindspore = pytest.importorskip("mindspore")

UID = "own/1.0/tiny"
SHAPES = {"weight": (7, 2), "bias": (7,)}


@pytest.fixture(autouse=True)
def tiny_networks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two networks that build in no time."""
    monkeypatch.setattr(networks.constructors, "_registered", {})
    monkeypatch.setenv("GLOG_v", "3")
    for key, width in (("tiny_wide", 7), ("tiny_narrow", 3)):
        mshub.register_network(key)(lambda width=width: mindspore.nn.Dense(2, width))


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "cards"
    (folder / "own" / "1.0").mkdir(parents=True)
    monkeypatch.setenv("MSHUB_REGISTRY", str(folder))
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    arrays = {name: np.ones(shape, np.float32) for name, shape in SHAPES.items()}
    return save_checkpoint(tmp_path_factory.mktemp("tiny") / "tiny.ckpt", arrays, training=True)


def put(root: Path, link: str, digest: str, *, network: str = "tiny_wide", extra: str = "") -> None:
    (root / f"{UID}.md").write_text(
        f"# tiny\n\n---\n\nmodel-name: tiny\n\n{extra}network: {network}\n\nasset:\n- file-format: ckpt\n"
        f'  asset-link: {link}\n  asset-sha256: "{digest}"\n\n---\n\n## What it is\n',
        encoding="utf-8",
    )


@pytest.fixture
def local(root: Path, checkpoint: Path) -> Path:
    """The model with its file beside the card."""
    file = root / "own" / "1.0" / "tiny.ckpt"
    file.write_bytes(checkpoint.read_bytes())
    put(root, "tiny.ckpt", sha256(checkpoint))
    return file


def run(*args: object) -> Result:
    return commands.run("doctor", *args)


def examine(*args: object, code: int = 0) -> dict[str, list[dict[str, Any]]]:
    """Findings by subject."""
    result = run(*args, "--json")
    assert result.exit_code == code, result.output
    answer = json.loads(result.stdout)
    assert answer["ok"] is (code == 0)
    found: dict[str, list[dict[str, Any]]] = {}
    for finding in answer["findings"]:
        found.setdefault(finding["subject"], []).append(finding)
    assert any(one["state"] == "fault" for many in found.values() for one in many) is (code == 1)
    return found


def states(found: dict[str, list[dict[str, Any]]]) -> dict[str, str]:
    return {subject: many[-1]["state"] for subject, many in found.items()}


def test_without_a_uid_it_looks_at_the_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = examine()
    lent = [package for package in ("mindcv", "mindyolo", "mindocr") if is_installed(package)]
    assert list(found) == ["mshub_ssd", "python", "settings", "numpy", "mindspore", *lent, "device", "engines", "cpu"]
    assert all(found[package][0]["facts"]["version"] == version(package) for package in lent)
    assert set(states(found).values()) == {"ok"}
    assert found["mindspore"][0]["facts"]["version"] == version("mindspore")
    assert found["numpy"][0]["facts"]["version"] == np.__version__
    assert found["device"][0]["facts"]["target"] == mindspore.get_context("device_target")
    engines = found["engines"][0]["facts"]
    assert engines["installed"]["openvino"] == version("openvino")
    assert engines["auto"] == "openvino"
    assert isinstance(engines["bf16"], bool)
    facts = found["settings"][0]["facts"]
    assert facts["home"] == os.environ["MSHUB_HOME"]
    assert facts["cards"] == len(mshub.list_models())
    monkeypatch.setenv("MSHUB_ENDPOINT", "https://me:secret@mirror.example")
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    result = run()
    assert "offline" in result.stdout
    assert "mirror.example" in result.stdout
    assert "secret" not in result.stdout
    assert "Models can be loaded here." in result.stdout


def test_the_limit_of_the_cpu_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(cpu, "flags", lambda: frozenset({"avx2", "avx512f"}))
    facts = examine()["cpu"][0]["facts"]
    assert facts["limit"] == "AVX2"
    assert "AVX-512" in facts["reason"]
    assert "ONEDNN_MAX_CPU_ISA" not in os.environ
    monkeypatch.setenv("ONEDNN_MAX_CPU_ISA", "AVX2")
    assert examine()["cpu"][0]["facts"] == {"limit": None, "reason": "ONEDNN_MAX_CPU_ISA=AVX2 is set"}


def test_a_healthy_model_is_proved_link_by_link(local: Path) -> None:
    found = examine(UID)
    assert list(found)[-5:] == ["card", "network", "asset", "file", "parameters"]
    assert set(states(found).values()) == {"ok"}
    assert found["card"][0]["facts"]["path"] == str(local.with_name("tiny.md"))
    assert found["network"][0]["facts"]["key"] == "tiny_wide"
    assert "network:" in found["network"][0]["text"]
    assert __name__.rsplit(".")[-1] in found["network"][0]["facts"]["constructor"]
    assert found["asset"][0]["facts"]["file_format"] == "ckpt"
    assert found["file"][0]["facts"] == {"path": str(local), "size": local.stat().st_size}
    facts = found["parameters"][0]["facts"]
    assert facts == {"network": 2, "loaded": 2, "ignored": 5, "prefix": "network.", "layout": ""}
    result = run(UID)
    assert result.exit_code == 0
    assert re.search(r"^ok +parameters +all 2 found in the checkpoint", result.stdout, re.MULTILINE)
    assert result.stdout.endswith("Nothing found that would keep it from loading.\n")
    # A card file is a name too.
    assert examine(local.with_name("tiny.md"))["parameters"][0]["facts"] == facts


def test_nothing_is_downloaded_unless_asked_for(root: Path, checkpoint: Path, fault_server: FaultServer) -> None:
    url = fault_server.add("/tiny.ckpt", checkpoint.read_bytes())
    put(root, url, sha256(checkpoint))
    found = examine(UID)
    assert fault_server.requests == []
    assert (states(found)["file"], states(found)["parameters"]) == ("note", "note")
    assert found["file"][0]["facts"]["sources"] == [url]
    assert url in found["file"][0]["text"]
    assert found["file"][0]["hint"].endswith(f"doctor {UID} --fetch")
    assert found["parameters"][0]["facts"] == {"network": 2}
    found = examine(UID, "--fetch")
    assert len(fault_server.requests) == 1
    assert (states(found)["file"], states(found)["parameters"]) == ("ok", "ok")
    # What was fetched is found in the cache.
    cached = examine(UID)
    assert len(fault_server.requests) == 1
    assert cached["file"] == found["file"]
    assert cached["parameters"][0]["facts"]["loaded"] == 2


def test_a_download_that_fails_is_a_fault(root: Path, fault_server: FaultServer) -> None:
    put(root, fault_server.add("/nothing.ckpt", b"", then=Fault(status=404)), "0" * 64)
    with override_policy(attempts=1, backoff=0.01, longest_wait=0.01):
        found = examine(UID, "--fetch", code=1)
    assert found["file"][0]["facts"]["kind"] == "TransferError"
    assert states(found)["parameters"] == "note"


def test_offline_without_the_file_is_a_fault(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put(root, "https://example.com/tiny.ckpt", "0" * 64)
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    finding = examine(UID, code=1)["file"][0]
    assert finding["facts"]["kind"] == "OfflineError"
    assert "MSHUB_OFFLINE" in finding["hint"]


def test_a_damaged_file_is_a_fault(local: Path) -> None:
    local.write_bytes(b"torn")
    found = examine(UID, code=1)
    assert found["file"][0]["facts"]["kind"] == "IntegrityError"
    assert states(found)["parameters"] == "note"


def test_the_wrong_network_is_a_fault_that_names_the_right_one(local: Path, checkpoint: Path) -> None:
    put(local.parents[2], "tiny.ckpt", sha256(checkpoint), network="tiny_narrow")
    found = examine(UID, code=1)
    assert states(found)["file"] == "ok"
    finding = found["parameters"][0]
    assert finding["facts"]["kind"] == "MismatchError"
    assert finding["facts"]["got"] == "the parameters of tiny_wide"
    result = run(UID)
    assert result.exit_code == 1
    assert re.search(r"^fault +parameters +the checkpoint does not fit tiny_narrow", result.stdout, re.MULTILINE)
    assert f"1 fault keeps {UID} from loading." in result.stdout


def test_troubles_of_the_card_are_told_with_their_place(root: Path, local: Path, checkpoint: Path) -> None:
    put(root, "tiny.ckpt", sha256(checkpoint), extra="update-time: 2022-02-30\n\n")
    found = examine(UID)
    assert [finding["state"] for finding in found["card"]] == ["ok", "note"]
    assert found["card"][1]["text"].startswith("7:14: ")
    (root / f"{UID}.md").write_text("# torn\n\n---\n\nmodel-name: [torn\n\n---\n", encoding="utf-8")
    found = examine(UID, code=1)
    assert found["card"][0]["facts"]["kind"] == "CardError"
    assert list(found)[-1] == "card"


def test_unknown_names_are_told_the_nearest() -> None:
    finding = examine("mindspore/1.7/ssdvgg17_coco2017", code=1)["card"][0]
    assert finding["facts"]["kind"] == "UnknownModelError"
    assert "mindspore/1.7/ssdvgg16_coco2017" in finding["hint"]


def test_unknown_networks_and_missing_files_are_told_together(root: Path) -> None:
    put(root, "https://example.com/tiny.ms", "0" * 64, network="tiny_wied")
    path = root / f"{UID}.md"
    path.write_text(path.read_text(encoding="utf-8").replace("format: ckpt", "format: ms"), encoding="utf-8")
    found = examine(UID, code=1)
    assert (states(found)["network"], states(found)["asset"]) == ("fault", "fault")
    assert "tiny_wide" in found["network"][0]["facts"]["expected"]
    assert "parameters" not in found


def test_a_card_without_a_checkpoint_still_builds() -> None:
    found = examine("noah-cvlab/ascend/0.7/ghostnet_ssd_v1.0", code=1)
    assert "mindspore/1.10/ssdghostnet_coco2017" in found["asset"][0]["hint"]
    assert states(found)["parameters"] == "note"
    assert found["parameters"][0]["facts"] == {"network": 577}


def test_settings_that_make_no_sense_end_the_search(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MSHUB_OFFLINE", "perhaps")
    found = examine(UID, code=1)
    assert found["settings"][0]["facts"]["kind"] == "UsageError"
    assert "card" not in found


def test_a_numpy_that_is_too_new_is_a_fault(local: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(np, "__version__", "2.1.0")
    found = examine(UID, code=1)
    assert found["device"][0]["facts"]["expected"] == "numpy<2"
    assert "numpy<2" in found["device"][0]["hint"]
    assert states(found)["file"] == "ok"
    assert "parameters" not in found


def test_fetching_needs_a_uid() -> None:
    assert run("--fetch").exit_code == 2


WITHOUT = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {blocked}:
            raise ModuleNotFoundError(name, name=name)
sys.meta_path.insert(0, Blocked())
from mshub_ssd.cli import main
main(sys.argv[1:])
"""


def doctor_without(uid: str, *blocked: str) -> tuple[int, dict[str, Any]]:
    """Exit code and findings by subject, of a machine where these packages are not installed."""
    program = WITHOUT.replace("{blocked}", repr(set(blocked)))
    done = subprocess.run(
        [sys.executable, "-c", program, "doctor", uid, "--json"], capture_output=True, text=True, check=False
    )
    assert done.stderr == ""
    return done.returncode, {finding["subject"]: finding for finding in json.loads(done.stdout)["findings"]}


def test_without_an_engine_it_says_what_is_missing_and_checks_the_rest(local: Path, checkpoint: Path) -> None:
    put(local.parents[2], "tiny.ckpt", sha256(checkpoint), network="ssd300")
    code, found = doctor_without(UID, "mindspore", "numpy", "cv2", "PIL", "openvino", "onnxruntime")
    assert code == 1
    assert found["device"]["state"] == found["engines"]["state"] == "fault"
    assert "pip install 'mshub_ssd[mindspore]'" in found["device"]["hint"]
    assert "[onnxruntime]" in found["engines"]["hint"]
    assert [found[name]["state"] for name in ("card", "network", "asset", "file")] == ["ok"] * 4
    assert found["network"]["facts"]["constructor"] == "mshub_ssd.networks.ssd.variants:ssd300"
    assert "parameters" not in found


def test_without_mindspore_an_engine_is_the_proof(local: Path, checkpoint: Path) -> None:
    code, found = doctor_without("mshub/1.0/ssdmobilenetv2_digits", "mindspore")
    assert (code, found["device"]["state"]) == (0, "note")
    assert "pip install 'mshub_ssd[mindspore]'" in found["device"]["hint"]
    assert (found["parameters"]["state"], found["parameters"]["facts"]) == ("ok", {"engine": "openvino"})
    put(local.parents[2], "tiny.ckpt", sha256(checkpoint), network="ssd300")
    code, found = doctor_without(UID, "mindspore")
    assert (code, found["parameters"]["facts"]["code"]) == (1, "mismatch"), "it is another network's"
