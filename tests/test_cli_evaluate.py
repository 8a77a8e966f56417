"""`mshub evaluate`: the answer on stdout and nothing else, the files that are asked for, and the exit code."""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from commands import SOURCE, answer, environment, process, refused, run
from scenelab import UID, write_scenes

import mshub_ssd as mshub

pytest.importorskip("sklearn")
pytest.importorskip("cv2")
pytest.importorskip("pycocotools")


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("digits")
    write_scenes(folder, 6)
    return folder


def arguments(scenes: Path) -> list[object]:
    return ["evaluate", UID, "--annotations", scenes / "held_out.json", "--images", scenes / "held_out"]


def test_the_answer_and_nothing_else(scenes: Path, tmp_path: Path) -> None:
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    out, results, plots = tmp_path / "out.json", tmp_path / "results.json", tmp_path / "plots"
    written = ["--out", out, "--results", results]
    with contextlib.suppress(ImportError):
        import matplotlib  # noqa: F401

        written += ["--plots", plots]
    done = process(*arguments(scenes), "--json", *written)
    assert (done.returncode, done.stderr) == (0, "")
    facts = json.loads(done.stdout)
    assert json.loads(out.read_text()) == facts
    assert (facts["model"], facts["counts"]["pictures"]) == (UID, 6)
    assert [path.name for path in sorted(plots.glob("*"))] in ([], ["confusion.png", "precision-recall.png"])
    # The same by hand, from the files alone.
    with contextlib.redirect_stdout(io.StringIO()):
        truth = COCO(str(scenes / "held_out.json"))
        scoring = COCOeval(truth, truth.loadRes(str(results)), "bbox")
        scoring.evaluate()
        scoring.accumulate()
        scoring.summarize()
    assert list(facts["metrics"].values()) == scoring.stats.tolist()
    library = mshub.evaluate(UID, annotations=scenes / "held_out.json", images=scenes / "held_out").to_dict()
    assert {**facts, "seconds": 0} == {**library, "seconds": 0}


def test_the_answer_in_words(scenes: Path) -> None:
    done = run(*arguments(scenes), "--limit", "3", "--score-threshold", "0.3", "--max-detections", "4")
    assert (done.exit_code, done.stderr) == (0, "")
    first, _, figure, *_ = done.stdout.splitlines()
    assert first.startswith(f"{UID} on 3 pictures with ")
    assert figure.startswith("mAP  ")
    assert "class  objects" in done.stdout
    facts = answer(*arguments(scenes), "--limit", "3", "--category", "3", "--engine", "auto", "--match", "order")
    assert [row["name"] for row in facts["per_class"]] == ["3"]
    assert facts["settings"]["limit"] == 3


def test_the_cards_figures(scenes: Path) -> None:
    # Six scenes are a sample, whose figures are near.
    near = run(*arguments(scenes), "--against-card", "--tolerance", "0.2")
    assert near.exit_code == 0
    assert f"the card of {UID} is reproduced" in near.stdout
    assert "mAP@0.5" in near.stdout
    far = run(*arguments(scenes), "--against-card", "--score-threshold", "0.9999", "--json")
    assert far.exit_code == 1
    facts = json.loads(far.stdout)["against_card"]
    assert (facts["reproduced"], {figure["status"] for figure in facts["figures"]}) == (False, {"differs"})
    assert [figure["tolerance"] for figure in facts["figures"]] == [0.002, 0.002]
    assert "a part of the data set" in refused(*arguments(scenes), "--against-card", "--limit", "2")
    assert "leave out --category" in refused(*arguments(scenes), "--against-card", "--category", "2")


def test_pictures_that_fail_are_told_and_make_the_exit_code_1(scenes: Path, tmp_path: Path) -> None:
    folder = tmp_path / "held_out"
    folder.mkdir()
    for path in sorted((scenes / "held_out").iterdir())[1:]:
        (folder / path.name).symlink_to(path)
    words = ["evaluate", UID, "--annotations", scenes / "held_out.json", "--images", folder]
    done = run(*words)
    assert done.exit_code == 1
    assert "- 1 picture could not be read, and " in done.stdout
    done = run(*words, "--json")
    assert done.exit_code == 1
    (failure,) = json.loads(done.stdout)["failures"]
    assert (failure["image"], failure["error"]["code"]) == ("00001.png", "invalid-image")


def test_what_is_refused_is_refused_before_the_work(scenes: Path, tmp_path: Path) -> None:
    words = arguments(scenes)
    assert "is not there" in refused(*words, "--out", tmp_path / "missing" / "out.json", code=2)
    assert "--images" in refused("evaluate", UID, code=2)
    assert "0<=x<=1" in refused(*words, "--score-threshold", "7", code=2)
    assert "nan" in refused(*words, "--tolerance", "nan", code=2)
    assert "no folder of pictures" in refused("evaluate", UID, "--images", tmp_path / "missing")
    assert "evaluated with annotations" in refused("evaluate", UID, "--images", tmp_path)
    odd = tmp_path / "odd.json"
    odd.write_text('{"images": [')
    told = refused("evaluate", UID, "--images", tmp_path, "--annotations", odd)
    assert "the annotations are not JSON" in told
    assert f"{odd}:1:13" in told
    done = run("evaluate", UID, "--images", tmp_path, "--annotations", odd, "--json")
    assert json.loads(done.stdout)["error"]["code"] == "invalid-annotations"
    assert "unknown-model" in run("evaluate", "nobody/has/this", "--images", tmp_path, "--json").stdout


# --- docs/evaluation.md

DOCUMENT = (SOURCE / "docs" / "evaluation.md").read_text(encoding="utf-8")


def test_the_document_does_what_it_says(tmp_path: Path) -> None:
    """The card's figures come out to the digit on the scenes that they were measured on."""
    pytest.importorskip("matplotlib")
    (tmp_path / "examples").symlink_to(SOURCE / "examples")
    bin_folder = tmp_path / "bin"
    bin_folder.mkdir()
    (bin_folder / "mshub").write_text(f'#!/bin/sh\nexec {sys.executable} -m mshub_ssd "$@"\n')
    (bin_folder / "python").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    for script in bin_folder.iterdir():
        script.chmod(0o755)
    environ = environment(PATH=f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
    fences = re.findall(r"```(sh|python)\n(.*?)```\n\n```\n(.*?)```", DOCUMENT, re.DOTALL)
    assert [language for language, _, _ in fences] == ["sh", "python", "python"]
    for language, code, promised in fences:
        words = ["sh", "-ec", code] if language == "sh" else [sys.executable, "-c", code]
        done = subprocess.run(words, capture_output=True, text=True, env=environ, cwd=tmp_path, check=False)
        assert done.returncode == 0, done.stderr
        assert about_the_same(done.stdout, promised), done.stdout
    written = {path.name for path in (tmp_path / "digits" / "plots").iterdir()}
    shown = {path.name for path in (SOURCE / "docs" / "images" / "evaluation").iterdir()}
    assert written == shown


def about_the_same(got: str, promised: str) -> bool:
    """Whether two texts are the same but for the speed, and for figures that another engine moves a little."""

    def parts(text: str) -> list[str]:
        return re.split(r"(0\.[0-9]{4})", re.sub(r"[0-9.]+ pictures/s", "", text))

    pairs = list(itertools.zip_longest(parts(got), parts(promised)))
    words, figures = pairs[::2], pairs[1::2]
    near = (one and two and abs(float(one) - float(two)) <= 0.002 for one, two in figures)
    return all(one == two for one, two in words) and all(near)
