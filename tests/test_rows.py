"""Rows: what programs get of results, and of pictures that have none."""

from __future__ import annotations

import json
import pickle
from types import SimpleNamespace

import numpy as np

import mshub_ssd as mshub
from mshub_ssd.errors import ImageError
from mshub_ssd.results import Classification, Detections, json_line, row_of

FOUND = Detections.ranked(
    np.float32([[1, 2, 3.5, 4], [0, 0, np.nan, 9]]), np.float32([0.25, 0.75]), np.intp([1, 0]), ("cat", "dog"), (10, 20)
)


def test_the_row_of_a_picture() -> None:
    assert row_of(FOUND, "a.png") == {
        "image": "a.png",
        "size": [10, 20],
        "detections": [
            {"box": [0.0, 0.0, None, 9.0], "score": 0.75, "label": 0, "name": "cat"},
            {"box": [1.0, 2.0, 3.5, 4.0], "score": 0.25, "label": 1, "name": "dog"},
        ],
    }
    seen = Classification(np.intp([3]), ("owl",), np.float32([0.5]), image_size=(4, 5))
    assert row_of(seen, None) == {
        "image": None,
        "size": [4, 5],
        "classes": [{"score": 0.5, "label": 3, "name": "owl"}],
    }
    assert list(row_of(FOUND, "a.mp4", frame=3, time=0.1)) == ["image", "frame", "time", "size", "detections"]
    own = SimpleNamespace(to_dict=lambda: {"image": {"height": 4, "width": 5}, "masks": [float("inf")]})
    assert row_of(own, "a") == {"image": "a", "size": [4, 5], "masks": [None]}


def test_a_failure_is_a_row_too() -> None:
    failure = mshub.Failure("https://me:S3CR3T@host/a.png", ImageError("not a picture", hint="look"))
    row = failure.to_dict()
    assert row == row_of(failure, failure.image)
    assert row == {"image": "https://...@host/a.png", "error": {"code": "invalid-image", "message": "not a picture"}}
    assert pickle.loads(pickle.dumps(failure)).to_dict() == row


def test_a_row_is_one_line_of_ascii_whatever_its_names() -> None:
    row = row_of(FOUND, "größte\n\u2028\x7f\udcff.png")
    line = json_line(row)
    assert line.isascii()
    assert (line.count(b"\n"), line[-1:], b"\x7f" in line) == (1, b"\n", False)
    assert json.loads(line) == row
