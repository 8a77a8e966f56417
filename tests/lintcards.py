"""A card that no rule objects to, and ways to spoil it."""

from __future__ import annotations

from pathlib import Path

CARD = """\
# net

---

model-name: net

backbone-name: resnet50

module-type: cv-object_detection

fine-tunable: True

input-shape: [3, 300, 300]

model-version: "2.0"

train-dataset: coco2017

evaluation:
  mAP: 23.5

author: Some team

update-time: "2022-06-22"

repo-link: https://gitee.com/mindspore/models/tree/r1.7/official/cv/ssd

user-id: own

used-for: inference

mindspore-version: "1.7"

asset:
- file-format: ckpt
  asset-link: https://download.example.org/net_coco2017.ckpt
  asset-sha256: "d0b0449bab807e03528c88498425921a7a43a8d97fdd92bed6cf25d5b3379b07"

license: Apache-2.0

summary: A small detector of everyday things for pictures of 300 x 300 pixels

---

## What it is

A small and fast detector.

```python
import mshub_ssd as mshub

network = mshub.load("own/1.0/net_coco2017")
```
"""
DIGEST = '"d0b0449bab807e03528c88498425921a7a43a8d97fdd92bed6cf25d5b3379b07"'
SHORT = '"d0b0449b"'
UID = "own/1.0/net_coco2017"

# What is wrong, and how to make a card wrong in this way alone.
SPOILS = {
    "MC013": (DIGEST, SHORT),  # error, without a fix
    "MC057": ("author: Some team", "author: TODO"),  # warning, without a fix
    "MC008": ('mindspore-version: "1.7"', "mindspore-version: 1.70"),  # error, with a safe fix
    "MC030": ("link: https://download", "link: http://download"),  # warning, with an unsafe fix
    "MC047": ("user-id: own", "user-id: own  "),  # info, with a safe fix
}


def spoilt(*codes: str) -> str:
    """The card with some mistakes."""
    text = CARD
    for code in codes:
        right, wrong = SPOILS[code]
        assert text.count(right) == 1
        text = text.replace(right, wrong)
    return text


def put(root: Path, *codes: str, uid: str = UID) -> Path:
    """Write a card with some mistakes below `root`."""
    path = root / f"{uid}.md"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(spoilt(*codes).replace(UID, uid), encoding="utf-8")
    return path
