"""Pictures from buckets, and results into them: what names mean, parts, runs that were killed."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from commands import answer, environment, refused, run
from faultserver import PATIENCE
from s3lab import S3, SECRET, Refuse, Silent

import mshub_ssd as mshub
from mshub_ssd.bulk import Sources, parts
from mshub_ssd.errors import TransferError
from mshub_ssd.settings import Settings
from mshub_ssd.store.policy import override_policy

pytest.importorskip("openvino")

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
DEMO = (Path(mshub.__file__).parent / "cli" / "demo_digits.png").read_bytes()
MODEL = ("--model", DIGITS, "--max-detections", "2", "--engine", "openvino")
HURRIED = "from mshub_ssd.bulk import parts; parts._ROWS = 4; from mshub_ssd.cli import main; main()"


@pytest.fixture(autouse=True)
def hurry() -> Iterator[None]:
    with override_policy(backoff=0.01, longest_wait=0.02, attempts=2):
        yield


@pytest.fixture
def photos(s3: S3) -> str:
    for name in ("2.png", "10.png", "b/3.png", "a/1.png"):
        s3.put(f"photos/{name}", DEMO)
    s3.put("photos/b/notes.txt", b"no picture")
    s3.put("photos/.hidden/4.png", DEMO)
    return f"{s3.url}/photos"


def rows_of(s3: S3, folder: str) -> list[dict[str, Any]]:
    """All rows of the parts in a folder."""
    found = []
    for name in sorted(name for name in s3.names() if name.startswith(f"{folder}/part-")):
        found += [json.loads(line) for line in s3.get(name).splitlines()]
    return found


def test_folders_and_patterns_of_a_bucket_are_pictures_in_order(s3: S3, photos: str) -> None:
    def meant(*names: str) -> list[str]:
        return [item.name.removeprefix(f"{photos}/") for item, _ in Sources(names)]

    assert meant(photos) == ["2.png", "10.png", "a/1.png", "b/3.png"]
    assert meant(f"{photos}/b/") == ["b/3.png"]
    assert meant(f"{photos}/*.png", f"{photos}/b/3.png") == ["2.png", "10.png", "b/3.png"]
    seen = len(s3.requests)
    sources = Sources([photos])
    assert sources.count(0.1) == len(list(sources)) == 4
    assert len(s3.requests) - seen <= 4, "one look and one listing"
    [(item, _)] = Sources([f"{s3.url}/none"])
    assert "no picture under this address" in str(item.picture)


def test_detect_takes_pictures_of_a_bucket(s3: S3, photos: str, capfd: pytest.CaptureFixture[str]) -> None:
    found = mshub.detect(DIGITS, [f"{photos}/2.png", DEMO], engine="openvino")
    assert found[0].to_dict() == found[1].to_dict()
    predictor = mshub.Predictor(DIGITS, engine="openvino")
    good, bad = predictor.stream([f"{photos}/a/1.png", f"{photos}/none.png"])
    assert good.to_dict() == found[0].to_dict()
    assert (bad.image, bad.error.got) == (f"{photos}/none.png", "there is no such file")
    answers = answer("detect", photos, *MODEL)
    assert [one["image"]["path"] for one in answers] == [
        f"{photos}/{name}" for name in ("2.png", "10.png", "a/1.png", "b/3.png")
    ]


def test_results_go_into_parts(s3: S3, photos: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "_ROWS", 3)
    out = f"{s3.url}/out/results.jsonl"
    s3.put("photos/c.png", b"no picture")
    done = run("detect", photos, *MODEL, "--out", out)
    assert done.exit_code == 1
    assert f"wrote 5 rows to {out}" in done.stderr
    names = [name for name in s3.names() if name.startswith("out/")]
    assert [name.split("-")[1] for name in names if "part-" in name] == ["000000", "000001"]
    rows = rows_of(s3, "out/results.jsonl")
    assert len(rows) == 5
    assert sum("error" in row for row in rows) == 1
    assert rows[0]["detections"]
    made = s3.get("out/results.jsonl/_made.json").decode()
    assert SECRET not in made
    # What is there is nobody's to destroy.
    assert "there are results already" in refused("detect", photos, *MODEL, "--out", out)
    assert "in another way: score_threshold" in refused(
        "detect", photos, *MODEL, "--score-threshold", "0.5", "--out", out, "--resume"
    )
    s3.put("other/x.csv", b"1")
    assert "nothing tells how they were made" in refused(
        "detect", photos, *MODEL, "--out", f"{s3.url}/other", "--format", "jsonl"
    )


def test_a_run_that_was_killed_goes_on(s3: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(40):
        s3.put(f"photos/{number}.png", DEMO)
    pictures, out = f"{s3.url}/photos", f"{s3.url}/results.jsonl"
    until = threading.Event()
    s3.faults["photos/32.png"] = [Silent(until)] * 9
    command = [sys.executable, "-c", HURRIED, "detect", pictures, *MODEL, "--out", out, "--resume"]
    process = subprocess.Popen(command, env=environment(), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + PATIENCE
    while sum("part-" in name for name in s3.names()) < 2:
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    until.set()
    s3.faults.clear()
    kept = {row["image"] for row in rows_of(s3, "results.jsonl")}
    assert 8 <= len(kept) < 40
    seen = len(s3.requests)
    monkeypatch.setattr(parts, "_ROWS", 4)
    done = run("detect", pictures, *MODEL, "--out", out, "--resume")
    assert done.exit_code == 0, done.output
    told = Counter(row["image"] for row in rows_of(s3, "results.jsonl"))
    assert told == Counter({f"{pictures}/{number}.png": 1 for number in range(40)})
    asked = {
        f"{s3.url}/{one.key}" for one in s3.requests[seen:] if one.method == "GET" and one.key.startswith("photos/")
    }
    assert asked == set(told) - kept
    # Once more: everything is there.
    seen = len(s3.asked("PUT"))
    assert run("detect", pictures, *MODEL, "--out", out, "--resume").exit_code == 0
    assert len(s3.asked("PUT")) == seen


def test_parquet_parts_are_read_as_one(s3: S3, photos: str, monkeypatch: pytest.MonkeyPatch) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(parts, "_ROWS", 3)
    out = f"{s3.url}/results.parquet"
    assert run("detect", photos, *MODEL, "--out", out).exit_code == 0
    names = [name for name in s3.names() if name.endswith(".parquet")]
    tables = [parquet.read_table(io.BytesIO(s3.get(name))) for name in sorted(names)]
    assert [table.num_rows for table in tables] == [3, 1]
    s3.put("photos/z.png", DEMO)
    seen = len(s3.requests)
    assert run("detect", photos, *MODEL, "--out", out, "--resume").exit_code == 0
    assert [one.key for one in s3.requests[seen:] if one.method == "GET" and one.key.startswith("photos/")] == [
        "photos/z.png"
    ]


def test_whole_results_and_refusals(s3: S3, photos: str) -> None:
    out = f"{s3.url}/out/results.json"
    assert run("detect", photos, *MODEL, "--out", out).exit_code == 0
    assert len(json.loads(s3.get("out/results.json"))) == 4
    for options, words in (
        (("--out", out, "--resume"), "goes on with .jsonl and .parquet"),
        (("--out", f"{s3.url}/drawn.png"), "drawings are files of this machine"),
        (("--out", f"{s3.url}/results"), "a name without an ending"),
        (("--out", f"s3://me:{SECRET}@bucket/r.jsonl"), "user or password"),
        (("--out", "s3://no-such-bucket-here/r.jsonl"), "there is no such bucket"),
    ):
        done = run("detect", photos, *MODEL, *options)
        assert done.exit_code != 0
        assert words in done.output.replace("\n", " ")
        assert SECRET not in done.output


def test_a_store_that_takes_no_part_keeps_nothing_back(
    s3: S3,
) -> None:
    out = f"{s3.url}/r.jsonl"
    rows = [json.dumps({"image": str(number)}).encode() + b"\n" for number in range(3)]
    settings = Settings(home=Path("unused"))
    with parts.Parts(out, {}, "jsonl", resume=False, settings=settings) as writer:
        writer.add(rows[0])

    def interrupted() -> None:
        with parts.Parts(out, {}, "jsonl", resume=True, settings=settings) as writer:
            writer.add(rows[1])
            raise KeyboardInterrupt

    def refused_by_the_store() -> None:
        with parts.Parts(out, {}, "jsonl", resume=True, settings=settings) as writer:
            assert writer.count == 2
            writer.add(rows[2])
            real = s3.fault
            s3.fault = lambda one: Refuse(403, "AccessDenied") if one.method == "PUT" else real(one)  # type: ignore[method-assign]

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert len(rows_of(s3, "r.jsonl")) == 2
    with pytest.raises(TransferError):
        refused_by_the_store()
