"""Cards for the registry's benchmarks: any number of them, made up from a seed, as published cards are.

A family has five versions. Half of all cards name coco2017; a hundredth is written in Chinese. The bodies, of 1.5 to
3 KB, take their words from 4,000 by Zipf's law, and `RARE` stands in exactly 1,000 of them where there are as many.
"""

from __future__ import annotations

import hashlib
import itertools
import random
from collections.abc import Iterator
from pathlib import Path

from mshub_ssd.registry import Entry, Lost

RARE = "zymurgical"
VERSIONS = ("1.3", "1.6", "1.9", "1.10", "2.2")
_STEMS = (
    "resnet vgg ssd yolov3 yolov5 bert gpt tinybert mobilenetv2 mobilenetv3 efficientnet googlenet densenet lenet "
    "alexnet unet deeplabv3 fasterrcnn maskrcnn ctpn crnn transformer lstm gru wide_deep deepfm ncf dlrm gat gcn "
    "pointnet fairmot retinaface centerface openpose simplepose stylegan cyclegan srcnn edsr wdsr tacotron fasttext"
)
_KINDS = {
    "cv-object_detection": "object detection",
    "cv-classification": "image classification",
    "cv-segmentation": "semantic segmentation",
    "nlp-translation": "machine translation",
    "audio-recognition": "speech recognition",
    "recommend-ranking": "click-through rate prediction",
}
_DATA = ("imagenet2012", "cifar10", "voc2012", "widerface", "squadv1.1", "wmt14", "criteo", "cora", "kinetics400")
_STARTS = (*"bcdfgklmnprstvz", "st", "tr", "pl")
_SYLLABLES = [start + end for start in _STARTS for end in (*"aeiou", "an", "er", "in", "or")]
_PUBLISHERS = ("mindspore/ascend", "mindspore/gpu", "noah-cvlab/gpu", "zidonglab", "openlab", "atelier/cpu")


class Generated:
    """So many cards as a source without files, see `mshub_ssd.registry.Source`."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.kind = "index"
        self.label = self.key = f"generated:{count}"
        words = random.Random(1)
        self._words = ["".join(words.choices(_SYLLABLES, k=words.randint(2, 4))) for _ in range(4000)]
        self._weights = list(itertools.accumulate(1 / (rank + 8) for rank in range(4000)))

    def entries(self) -> Iterator[Entry | Lost]:
        """Everything that is there."""
        for number in range(self.count):
            yield Entry(self.uid(number), str(number), "1")

    def memo(self) -> str:
        """Nothing changes."""
        return "unchanged"

    def unchanged(self, memo: str) -> bool:
        """Nothing changes."""
        return memo == "unchanged"

    def looked(self) -> None:
        """Each question looks."""

    def find(self, uid: str) -> Entry | None:
        """The name tells the number."""
        digits = uid.rpartition("/")[2].split("_")[-2:-1]
        number = int(digits[0], 36) if digits else -1
        near = (number * len(VERSIONS) + at for at in range(len(VERSIONS)))
        return next((Entry(uid, str(one), "1") for one in near if 0 <= one < self.count and self.uid(one) == uid), None)

    def read(self, entry: Entry) -> bytes:
        """A card's bytes."""
        return self.text(int(entry.place)).encode()

    def origin(self, entry: Entry) -> str:
        """A name for where it came from."""
        return f"{self.label}/{entry.uid}"

    def path(self, entry: Entry) -> None:
        """No file."""

    def close(self) -> None:
        """Nothing is kept."""

    def _name(self, family: int) -> tuple[str, str, str]:
        """A family's name, data set and publisher."""
        chance = random.Random(family)
        stem = chance.choice(_STEMS.split())
        spelt = _base36(family)
        other = self._words[family % 4000]
        data = "coco2017" if family % 2 else chance.choice(_DATA)
        return f"{stem}_{other}_{spelt}", data, chance.choice(_PUBLISHERS)

    def uid(self, number: int) -> str:
        """The uid of a card."""
        family, version = divmod(number, len(VERSIONS))
        name, data, publisher = self._name(family)
        return f"{publisher}/{VERSIONS[version]}/{name}_{data}"

    def text(self, number: int) -> str:
        """A card."""
        family, at = divmod(number, len(VERSIONS))
        name, data, _ = self._name(family)
        version = VERSIONS[at]
        chance = random.Random(f"card {number}")
        stem = name.partition("_")[0]
        kind = chance.choice(list(_KINDS))
        digest = hashlib.sha256(str(number).encode()).hexdigest()
        paragraphs = []
        for _ in range(chance.randint(1, 3)):
            found = chance.choices(self._words, cum_weights=self._weights, k=chance.randint(55, 75))
            paragraphs.append(" ".join(found).capitalize() + ".")
        if number % max(1, self.count // 1000) == 0 and number // max(1, self.count // 1000) < 1000:
            paragraphs.append(f"The {RARE} variant.")
        summary = f"{name} is used for {_KINDS[kind]} on {data}"
        if number % 100 == 0:
            summary = f"{name}用于目标检测\uff0c训练数据集为{data}\uff0c作者提供推理脚本。"
        return (
            f"# {name}\n\n---\n\nmodel-name: {name}\n\nbackbone-name: {stem}\n\nmodule-type: {kind}\n\n"
            f"fine-tunable: True\n\nmodel-version: {version}\n\ntrain-dataset: {data}\n\n"
            f"evaluation: acc{chance.randint(200, 990) / 10}\n\nauthor: MindSpore team\n\n"
            f"update-time: 20{18 + at}-{chance.randint(1, 12):02d}-{chance.randint(1, 28):02d}\n\n"
            f"repo-link: <https://gitee.com/mindspore/models/tree/r{version}/official/{name}>\n\n"
            f"user-id: MindSpore\n\nused-for: inference\n\ntrain-backend: Ascend\n\ninfer-backend: Ascend\n\n"
            f"mindspore-version: {version}\n\nasset:\n\n-\n    file-format: ckpt\n"
            f"    asset-link: <https://download.example.com/models/r{version}/{name}_{data}.ckpt>\n"
            f"    asset-sha256: {digest}\n\nlicense: Apache2.0\n\nsummary: {summary}\n\n---\n\n## Introduction\n\n"
            + "\n\n".join(paragraphs)
            + "\n\n## Usage\n\n```python\nimport mindspore_hub as mshub\n"
            + f"network = mshub.load('{self.uid(number)}')\n```\n"
        )

    def write(self, root: Path) -> None:
        """All cards as files."""
        for number in range(self.count):
            path = root / f"{self.uid(number)}.md"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(self.text(number), encoding="utf-8")


def _base36(number: int) -> str:
    letters = "0123456789abcdefghijklmnopqrstuvwxyz"
    text = ""
    while number or not text:
        number, rest = divmod(number, 36)
        text = letters[rest] + text
    return text
