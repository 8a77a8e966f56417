"""A video of moving digits through `mshub detect`: a row per frame, and a drawn video.

    python benchmarks/video_proof.py [--seconds S] [--out FILE]

The digits of the demo's picture move across it, 30 frames a second. There must be a row for every frame with its number
and its time, something found on each, boxes that move as the picture does, and as many frames in the drawn video.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from engine_speed import DIGITS, ROOT, machine

RATE, STEP = 30, 2  # frames a second; pixels a frame


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    from PIL import Image

    from mshub_ssd import bulk

    count = arguments.seconds * RATE
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        pixels = np.asarray(Image.open(ROOT / "mshub_ssd/cli/demo_digits.png").convert("RGB"))
        film = bulk.VideoFile(folder / "film.mp4", RATE)
        for number in range(count):
            film.add(np.roll(pixels, STEP * number, 1))
        film.close()
        words = ["film.mp4", "--model", DIGITS, "-q", "--out", "rows.jsonl", "--out-dir", "drawn"]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        times = {}
        for what, command in {"rows": words[:-2], "rows and a drawn video": words}.items():
            begun = time.perf_counter()
            subprocess.run([sys.executable, "-m", "mshub_ssd", "detect", *command], cwd=folder, env=environ, check=True)
            times[what] = round(time.perf_counter() - begun, 1)
        rows = [json.loads(line) for line in (folder / "rows.jsonl").read_text(encoding="ascii").splitlines()]
        drawn = sum(1 for _ in bulk.frames(str(folder / "drawn/film.mp4")))
        late = max(abs(row["time"] - number / RATE) for number, row in enumerate(rows))
        found = {
            **machine(),
            "seconds of video": arguments.seconds,
            "frames": count,
            "rows": len(rows),
            "numbers in order": [row["frame"] for row in rows] == list(range(count)),
            "time off by at most, s": round(late, 4),
            "rows with detections": sum(bool(row["detections"]) for row in rows),
            "frames drawn": drawn,
            "seconds taken": times,
        }
    whole = found["rows"] == found["frames drawn"] == found["rows with detections"] == count
    found["failures"] = [] if whole and found["numbers in order"] and late < 0.001 else ["see above"]
    text = json.dumps(found, indent=2)
    print(text)
    if arguments.out:
        arguments.out.write_text(text + "\n", encoding="utf-8")
    raise SystemExit(bool(found["failures"]))


if __name__ == "__main__":
    main()
