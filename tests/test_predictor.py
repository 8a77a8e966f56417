"""Predictors: one model for any number of pictures, threads and processes."""

from __future__ import annotations

import gc
import pickle
import re
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from commands import SOURCE, environment
from PIL import Image

import mshub_ssd as mshub
from mshub_ssd.errors import ImageError, IntegrityError, UsageError
from mshub_ssd.pictures import read_image

mindspore = pytest.importorskip("mindspore")

DIGITS = "mshub/1.0/ssdmobilenetv2_digits"
ENGINES = ("openvino", "onnxruntime", "mindspore")
DEMO = Path(mshub.__file__).parent / "cli" / "demo_digits.png"


@pytest.fixture(scope="module")
def predict() -> Iterator[mshub.Predictor]:
    with mshub.Predictor(DIGITS) as made:
        yield made


@pytest.fixture(scope="module")
def shots() -> list[np.ndarray]:
    """Eight pictures that differ in what is on them."""
    pixels = read_image(DEMO)
    return [np.ascontiguousarray(pixels[: 480 - 40 * number, 50 * number :]) for number in range(8)]


def rows(found: mshub.Detections) -> dict:
    return found.to_dict()


def test_a_picture_gives_a_result_and_a_list_a_list(predict: mshub.Predictor, shots: list[np.ndarray]) -> None:
    one = predict(DEMO)
    assert rows(one) == rows(mshub.detect(DIGITS, DEMO))
    assert one.image is not None
    alone = [rows(predict(shot)) for shot in shots]
    assert len({str(found) for found in alone}) == len(shots)
    for several in (shots, tuple(shots)):
        assert [rows(found) for found in predict(several)] == alone
        assert [rows(found) for found in mshub.detect(DIGITS, several)] == alone
    stack = np.stack([read_image(DEMO)] * 2)
    assert [rows(found) for found in predict(stack)] == [rows(one)] * 2
    assert [rows(found) for found in mshub.detect(DIGITS, mindspore.Tensor(stack))] == [rows(one)] * 2
    mixed = predict([DEMO, str(DEMO), DEMO.read_bytes(), DEMO.open("rb"), Image.open(DEMO)])
    assert [rows(found) for found in mixed] == [rows(one)] * 5
    assert predict([]) == mshub.detect(DIGITS, []) == []


def test_of_several_pictures_the_bad_one_is_named(predict: mshub.Predictor, tmp_path: Path) -> None:
    for call in (predict, lambda images: mshub.detect(DIGITS, images)):
        with pytest.raises(ImageError) as caught:
            call([DEMO, tmp_path / "no.png"])
        assert caught.value.where == f"picture 2: {tmp_path / 'no.png'}"
        with pytest.raises(ImageError) as caught:
            call([None])
        assert caught.value.where == "picture 1"


def test_a_stream_goes_on_as_long_as_pictures_come(predict: mshub.Predictor, shots: list[np.ndarray]) -> None:
    taken: list[int] = []

    def endless() -> Iterator[np.ndarray]:
        for number in range(10**9):
            taken.append(threading.get_ident())
            yield shots[number % len(shots)]

    before = threading.active_count()
    for options, ahead in (({}, 32), ({"prefetch": 0}, 1), ({"prefetch": 2}, 3), ({"batch": 2, "prefetch": 1}, 3)):
        taken.clear()
        stream = predict.stream(endless(), **options)
        assert [rows(next(stream)) for _ in range(3)] == [rows(predict(shot)) for shot in shots[:3]]
        assert threading.active_count() > before
        stream.close()
        assert len(taken) <= 3 + ahead, "no further ahead than was asked for"
        assert set(taken) == {threading.get_ident()}
        assert threading.active_count() == before, "no thread is left"


def test_options(predict: mshub.Predictor) -> None:
    usual = predict(DEMO)
    chosen = {"score_threshold": 0.9, "classes": ["3", 0], "max_detections": 2}
    with mshub.Predictor(DIGITS, **chosen) as narrow:
        found = narrow(DEMO)
        assert rows(found) == rows(mshub.detect(DIGITS, DEMO, **chosen))
        assert (narrow.options.score_threshold, narrow.options.labels) == (0.9, (0, 3))
        assert narrow.config.class_names == predict.config.class_names
    assert set(found.names) <= {"0", "3"}
    assert len(found) == 2
    loose = mshub.detect(DIGITS, DEMO, iou_threshold=1.0)
    assert len(loose) > len(usual)
    for wrong in ({"classes": ["cat"]}, {"iou_threshold": 2}, {"top_k": 3}, {"engine": "steam"}, {"max_detections": 0}):
        with pytest.raises(UsageError):
            mshub.Predictor(DIGITS, **wrong)


def test_a_closed_predictor_says_so() -> None:
    network = mshub.load(DIGITS)
    with mshub.Predictor(network) as predict:
        assert rows(predict(DEMO)) == rows(mshub.detect(network, DEMO))
        assert predict.card is network.card
    predict.close()
    for use in (lambda: predict(DEMO), lambda: next(predict.stream([DEMO])), lambda: predict.engine):
        with pytest.raises(UsageError, match="closed"):
            use()
    assert len(mshub.detect(network, DEMO)) > 5, "the Cell stays what it is"


def together(number: int, work: Callable[[int], None]) -> None:
    """Run `work` in so many threads that begin at once; what they raise is raised."""
    start = threading.Barrier(number)

    def run(which: int) -> None:
        start.wait(60)
        work(which)

    with ThreadPoolExecutor(number) as pool:
        list(pool.map(run, range(number)))


@pytest.mark.parametrize("options", [{"engine": name} for name in ENGINES] + [{"engine": "openvino", "streams": 2}])
def test_eight_threads_on_one_predictor_see_what_one_sees(shots: list[np.ndarray], options: dict[str, Any]) -> None:
    with mshub.Predictor(DIGITS, **options) as predict:
        assert predict.engine == options["engine"]
        expected = [rows(predict(shot)) for shot in shots]

        def look(number: int) -> None:
            for turn in range(8):
                which = (number + turn) % len(shots)
                assert rows(predict(shots[which])) == expected[which]
            if number % 2:
                assert [rows(found) for found in predict(shots)] == expected

        together(8, look)


def test_two_predictors_in_two_threads_see_what_each_sees_alone(shots: list[np.ndarray]) -> None:
    with mshub.Predictor(DIGITS) as first, mshub.Predictor(DIGITS, engine="onnxruntime", score_threshold=0.9) as second:
        expected = {predict: [rows(predict(shot)) for shot in shots] for predict in (first, second)}

        def look(number: int) -> None:
            predict = (first, second)[number]
            for _ in range(8):
                assert [rows(predict(shot)) for shot in shots] == expected[predict]

        together(2, look)
    assert expected[first] != expected[second]


def test_a_predictor_travels_as_what_was_asked_for(predict: mshub.Predictor, tmp_path: Path) -> None:
    chosen = mshub.Predictor(DIGITS, classes=["3"], hub=mshub.Hub(token="S3CR3T"))
    data = pickle.dumps(chosen)
    assert len(data) < 1000, "no weights"
    assert b"S3CR3T" not in data
    assert rows(pickle.loads(data)(DEMO)) == rows(chosen(DEMO))
    (tmp_path / "predictor").write_bytes(data)
    code = (
        "import pickle, sys; predict = pickle.load(open(sys.argv[1], 'rb')); "
        "assert 'mindspore' not in sys.modules; print(*predict(sys.argv[2]).names)"
    )
    command = [sys.executable, "-c", code, str(tmp_path / "predictor"), str(DEMO)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=environment())
    assert done.stdout.split() == list(chosen(DEMO).names)


def test_a_predictor_over_a_cell_stays(predict: mshub.Predictor) -> None:
    with mshub.Predictor(mshub.load(DIGITS)) as made, pytest.raises(UsageError, match="over a Cell"):
        pickle.dumps(made)


def test_a_travelled_predictor_wants_the_same_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundled = mshub.info(DIGITS)
    assert bundled.path is not None
    target = tmp_path / f"{DIGITS}.md"
    target.parent.mkdir(parents=True)
    for file in bundled.path.parent.iterdir():
        if file.is_file():
            (target.parent / file.name).write_bytes(file.read_bytes())
    data = pickle.dumps(mshub.Predictor(DIGITS))
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path))
    assert len(pickle.loads(data)(DEMO)) > 5, "the same card in another place"
    target.write_text(target.read_text(encoding="utf-8") + "\nAnd more.\n", encoding="utf-8")
    moved = pickle.loads(data)
    with pytest.raises(IntegrityError, match="something else"):
        moved(DEMO)


def test_what_runs_a_cell_is_kept_with_it_and_goes_with_it() -> None:
    network = mshub.load(DIGITS)
    names = [parameter.name for parameter in network.get_parameters()]
    before = rows(mshub.detect(network, DEMO))
    assert rows(mshub.detect(network, DEMO)) == before
    assert [parameter.name for parameter in network.get_parameters()] == names
    bias = next(p for p in network.get_parameters() if p.name.endswith("bias") and "cls" in p.name)
    bias.set_data(bias * 0 - 30)
    assert rows(mshub.detect(network, DEMO)) != before, "the weights are those of the moment"
    with pytest.raises(UsageError, match="training mode"):
        mshub.detect(network.set_train(True), DEMO)
    with pytest.raises(UsageError, match="run by MindSpore"):
        mshub.detect(network, DEMO, engine="openvino")
    with pytest.raises(UsageError, match="threads cannot be chosen"):
        mshub.Predictor(network, threads=1)
    gone = weakref.ref(network)
    del network, bias
    gc.collect()
    assert gone() is None


def test_on_another_engine_a_cells_weights_are_those_of_the_moment() -> None:
    network = mshub.load(DIGITS)
    before = mshub.detect(network, DEMO)
    with mshub.Predictor(network, engine="openvino") as snapshot, mshub.Predictor(network) as live:
        for weight in network.trainable_params():
            weight.set_data(weight * 0)
        assert snapshot.engine == "openvino"
        assert snapshot(DEMO).names == before.names
        assert rows(live(DEMO)) != rows(before)
        with pytest.raises(UsageError, match="over a Cell"):
            pickle.dumps(snapshot)


@pytest.mark.parametrize("engine", ENGINES[:2])
def test_a_uid_is_looked_at_without_mindspore(engine: str, tmp_path: Path) -> None:
    code = (
        "import sys, mshub_ssd\n"
        "found = mshub_ssd.detect(sys.argv[1], sys.argv[2], engine=sys.argv[3])\n"
        "print(*found.names, '|', *(name for name in sys.modules if name.startswith('mindspore')))"
    )
    expected = mshub.detect(mshub.load(DIGITS), DEMO).names
    for _ in range(2):  # a graph is made, and then found
        done = subprocess.run(
            [sys.executable, "-c", code, DIGITS, str(DEMO), engine],
            capture_output=True,
            text=True,
            check=True,
            env=environment(MSHUB_HOME=str(tmp_path)),
        )
        names, loaded = done.stdout.split("|")
        assert (tuple(names.split()), loaded.split()) == (expected, [])


DOCUMENT = (SOURCE / "docs" / "pictures.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("code", "promised"), re.findall(r"```python\n(.*?)```\n\n```\n(.*?)```", DOCUMENT, re.DOTALL))
def test_the_documents_code_does_what_it_says(code: str, promised: str) -> None:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment(), cwd=SOURCE)
    assert (done.returncode, done.stdout) == (0, promised), done.stderr
