"""Ray Data: batches in, rows out; folders of results that are taken up again; a cluster that loses actors and nodes."""

from __future__ import annotations

import json
import os
import pickle
import re
import shutil
import socket
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import pytest
import raylab
from click.testing import CliRunner
from commands import SOURCE, environment, refused
from faultserver import FaultServer
from s3lab import moto, s3  # noqa: F401 - fixtures
from without import run_without

import mshub_ssd as mshub
from mshub_ssd.cli.app import cli
from mshub_ssd.errors import ImageError, IntegrityError, MissingDependencyError, UnknownModelError, UsageError
from mshub_ssd.ray.columns import row_name, to_table
from mshub_ssd.ray.results import ResultsFolder, part_name

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
CLASSIFIER = "mindspore/1.10/sppnet_zfnet_imagenet2012"
DEMO = Path(mshub.__file__).parent / "cli" / "demo_digits.png"
COLUMNS = ["image", "height", "width", "boxes", "scores", "labels", "names", "error_code", "error_message"]

pa = pytest.importorskip("pyarrow")
pytest.importorskip("openvino")


def rows(table: Any) -> list[dict[str, Any]]:
    return table.to_pylist()


@pytest.fixture(scope="module")
def detector() -> Any:
    looking = mshub.ray.Detector(DIGITS, score_threshold=0.5, engine="openvino")
    yield looking
    looking.close()


@pytest.fixture(scope="module")
def expected() -> dict[str, Any]:
    with mshub.Predictor(DIGITS, score_threshold=0.5, engine="openvino") as predictor:
        return raylab.flat(predictor(DEMO), str(DEMO))


class TestBatches:
    """`Detector` and `Classifier`, called."""

    def test_pictures_come_as_paths_bytes_or_arrays(self, detector: Any, expected: dict[str, Any]) -> None:
        pixels = mshub.Hub().read_image(DEMO)
        name = np.array([str(DEMO)], object)
        for batch in (
            {"path": name},
            {"bytes": np.array([DEMO.read_bytes()], object), "path": name},
            {"image": pixels[None], "path": name},
            {"image": np.fromiter([pixels], object, 1), "path": name},
            pa.table({"path": [str(DEMO)]}),
            pa.table({"bytes": [DEMO.read_bytes()], "path": [str(DEMO)]}),
        ):
            found = detector(batch)
            assert found.column_names == COLUMNS
            assert rows(found) == [expected]
        assert rows(detector({"image": pixels[None]})) == [{**expected, "image": None}]

    def test_a_broken_picture_is_a_row(self, detector: Any, expected: dict[str, Any], tmp_path: Path) -> None:
        bad = tmp_path / "bad.jpg"
        bad.write_bytes(raylab.BROKEN)
        names = [str(bad), str(DEMO), str(tmp_path / "none.png")]
        found = detector({"path": np.array(names, object), "id": np.array([7, 8, 9])})
        assert found.column_names == [*COLUMNS, "id"]
        first, second, third = rows(found)
        assert second == {**expected, "id": 8}
        for row, name in ((first, names[0]), (third, names[2])):
            assert (row["image"], row["error_code"], row["boxes"]) == (name, ImageError.code, None)
            assert row["error_message"]
        # The types do not depend on what is in a batch.
        assert detector({"path": np.array(names[:1], object), "id": np.array([7])}).schema == found.schema

    def test_what_makes_no_sense_is_refused(self, detector: Any) -> None:
        with pytest.raises(UsageError, match="no pictures"):
            detector({"picture": np.zeros((1, 4, 4, 3), np.uint8)})
        with pytest.raises(UsageError, match="overwrite a column: labels"):
            detector({"path": np.array([str(DEMO)], object), "labels": np.array([1])})
        with pytest.raises(UsageError, match="columns"):
            detector([str(DEMO)])
        with pytest.raises(UsageError, match="uid"):
            mshub.ray.Detector(object())
        with pytest.raises(UnknownModelError):
            mshub.ray.Detector("no/such/model")({"path": np.array([str(DEMO)], object)})
        with pytest.raises(UsageError, match="detector"):
            mshub.ray.Classifier(DIGITS)({"path": np.array([str(DEMO)], object)})

    def test_it_travels_as_what_it_is(self, detector: Any, expected: dict[str, Any], monkeypatch) -> None:
        sent = pickle.dumps(detector)
        assert len(sent) < 1000
        arrived = pickle.loads(sent)
        assert rows(arrived({"path": np.array([str(DEMO)], object)})) == [expected]
        arrived.close()
        other = pickle.loads(pickle.dumps(mshub.ray.Detector(DIGITS, card="0" * 64)))
        with pytest.raises(IntegrityError, match="the card of this name says something else"):
            other({"path": np.array([str(DEMO)], object)})
        monkeypatch.setattr("mshub_ssd.ray.looking.package_version", lambda: "99")
        with pytest.raises(UsageError, match="another version"):
            pickle.loads(sent)({"path": np.array([str(DEMO)], object)})


def test_without_ray_the_extra_is_named(tmp_path: Path) -> None:
    out = run_without(
        {"ray", "pyarrow"},
        "import mshub_ssd as mshub\n"
        "uid = 'mshub/1.0/ssdmobilenetv2_digits'\n"
        "detector = mshub.ray.Detector(uid)\n"
        "for call in (lambda: detector({'path': ['a.png']}),\n"
        "             lambda: mshub.ray.run('detector', uid, ['a.png'], 'out', options={})):\n"
        "    try: call()\n"
        "    except mshub.errors.MissingDependencyError as e: print(e.hint)\n",
    )
    assert out.splitlines() == ["pip install 'mshub_ssd[ray]'"] * 2
    assert MissingDependencyError.code == "missing-dependency"


def test_a_folder_holds_results_of_one_making(tmp_path: Path) -> None:
    out = str(tmp_path / "out")

    def run(**options: Any) -> Any:
        return mshub.ray.run("detector", DIGITS, [], out, options=options)

    assert (run(max_detections=5).pictures, run(max_detections=5).parts) == (0, 0)
    # As long as there is nothing, it may be made in another way.
    assert run(max_detections=6).pictures == 0
    part = tmp_path / "out" / f"part-{0:09d}-{0:016x}.parquet"
    part.write_bytes(b"PAR1")
    with pytest.raises(UsageError, match="made in another way") as refused:
        run(max_detections=5)
    assert (refused.value.expected, refused.value.got) == ("max_detections=6", "max_detections=5")
    # What is torn is no part.
    assert run(max_detections=6).pictures == 0
    assert sorted(path.name for path in part.parent.iterdir()) == ["_mshub_run.json", f"_{part.name}.torn"]
    account = tmp_path / "out" / "_mshub_run.json"
    account.write_text("{", encoding="utf-8")
    with pytest.raises(UsageError, match="cannot be read"):
        run(max_detections=5)
    account.rename(tmp_path / "out" / "others.parquet")
    with pytest.raises(UsageError, match="Parquet files of others"):
        run(max_detections=5)


@pytest.mark.parametrize("kind", ["folder", "s3"])
def test_parts_are_whole_or_are_not(kind: str, request: pytest.FixtureRequest, tmp_path: Path) -> None:
    if kind == "s3":
        pytest.importorskip("moto")
    place = str(tmp_path / "out") if kind == "folder" else request.getfixturevalue("s3").url + "/lake/out"
    folder = ResultsFolder(place)
    mark = folder.begin({"model": "a"})
    elsewhere = ResultsFolder(place)
    elsewhere.check(mark)
    assert elsewhere.parts(mark) == []
    names = ["a.png", "b\udcff.png"]
    table = to_table([mshub.Failure(name, ImageError("torn")).to_dict() for name in names], "detector")
    first, second = (part_name(number, names[number:]) for number in range(2))
    part = folder.add(first, mark, table, 2)
    folder.add(second, mark, table.slice(1), 1)
    assert (part.pictures, part.failures) == (2, 2)
    assert elsewhere.find(first, mark) == (part, [row_name(name) for name in names])
    assert elsewhere.find(part_name(7, names), mark) is None
    with pytest.raises(UsageError, match="belongs to other results"):
        elsewhere.find(first, "0" * 64)
    elsewhere._files.write(second, b"PAR1 torn PAR1")
    assert [one.name for one, _ in elsewhere.parts(mark)] == [first]
    assert sorted(elsewhere._files.names()) == ["_mshub_run.json", f"_{second}.torn", first]
    with pytest.raises(UsageError, match="made in another way"):
        elsewhere.begin({"model": "b"})
    with pytest.raises(UsageError, match="not the same on this machine"):
        elsewhere.check("0" * 64)


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (["--ray"], "--out FOLDER"),
        (["--actors", 2], "without --ray"),
        (["--address", "auto"], "without --ray"),
    ],
)
def test_the_command_refuses_what_makes_no_sense(args: list[Any], said: str) -> None:
    assert said in refused("detect", DEMO, "--model", DIGITS, *args, code=2)


@pytest.mark.ray
def test_a_cluster_that_is_not_there_is_told_at_once(tmp_path: Path, free_port: int) -> None:
    pytest.importorskip("ray")
    told = refused(
        "detect", DEMO, "--model", DIGITS, "--ray", "--out", tmp_path / "o", "--address", f"127.0.0.1:{free_port}"
    )
    assert "no Ray cluster" in told


@pytest.fixture
def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.ray
class TestCluster:
    """`run`, on two nodes of this machine."""

    uid = "own/1.0/digits"
    options: ClassVar = {"score_threshold": 0.5, "engine": "openvino"}

    def test_every_picture_is_a_row_once_whatever_is_lost(
        self, tmp_path: Path, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        pytest.importorskip("ray")
        cards, names, out = tmp_path / "cards", raylab.paint(tmp_path / "p", 96, broken=(5, 50)), tmp_path / "out"
        raylab.write_digits(cards, fault_server)
        raylab.write_digits(tmp_path / "here" / "only", fault_server)
        monkeypatch.setenv("MSHUB_REGISTRY", os.pathsep.join([str(cards), str(tmp_path / "here")]))
        with mshub.Predictor(DIGITS, **self.options) as predictor:
            right = [raylab.flat(found, name) for name, found in zip(names, predictor.stream(names), strict=True)]
        with raylab.two_nodes(cpus=1, MSHUB_REGISTRY=str(cards)) as nodes:
            self._loses(nodes, names, out)
            # One download for each node, whatever was started again.
            assert len(fault_server.seen("/digits.ckpt")) == 2
            assert raylab.rows_of(out) == right
            self._goes_on(names, out)
            assert raylab.rows_of(out) == right
            # What is wrong elsewhere is told as if it were here.
            with pytest.raises(UnknownModelError, match="no model card of that name"):
                mshub.ray.run("detector", "only/own/1.0/digits", names, str(tmp_path / "o"), options={}, actors=1)

    def _loses(self, nodes: raylab.Nodes, names: list[str], out: Path) -> None:
        lost: list[Any] = []

        def told(done: int, count: int) -> None:
            assert count == 96
            if done and not lost:
                lost.append(nodes.kill_actor(1))
            elif done > 20 and len(lost) == 1:
                lost.append(nodes.remove(1))

        done = mshub.ray.run("detector", self.uid, names, str(out), options=self.options, told=told)
        assert (done.pictures, done.before, done.failures, done.actors) == (96, 0, 2, 2)
        assert len(lost) == 2

    def _goes_on(self, names: list[str], out: Path) -> None:
        parts = sorted(out.glob("part-*.parquet"))
        kept = {path: path.stat().st_mtime_ns for path in parts[2:]}
        parts[0].unlink()
        parts[1].write_bytes(parts[1].read_bytes()[:-100])
        args = ["--model", self.uid, "--score-threshold", 0.5, "--engine", "openvino"]
        listed = "\n".join([*names, ""])
        line = ["detect", "-", "--ray", "--out", str(out), "--actors", "1", *map(str, args), "--json"]
        done = CliRunner().invoke(cli, line, input=listed)
        told = json.loads(done.stdout)
        assert (done.exit_code, told["pictures"], told["before"], told["failures"]) == (1, 96, 80, 2)
        assert all(path.stat().st_mtime_ns == time for path, time in kept.items())


DOCUMENT = (SOURCE / "docs" / "ray.md").read_text(encoding="utf-8")


@pytest.mark.ray
@pytest.mark.parametrize(("code", "promised"), re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", DOCUMENT, re.DOTALL))
def test_the_documents_code_does_what_it_says(code: str, promised: str) -> None:
    pytest.importorskip("ray")
    for _ in range(4):
        place = tempfile.mkdtemp(prefix="mr", dir="/tmp")
        environ = environment(**raylab.ENVIRONMENT, RAY_TMPDIR=place)
        try:
            done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, cwd=SOURCE)
        finally:
            shutil.rmtree(place, ignore_errors=True)
        if raylab.TOO_SLOW not in done.stderr:
            break
    assert (done.returncode, done.stdout) == (0, promised), done.stderr
