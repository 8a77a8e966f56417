"""Recipes are captured from a made-up zoo that has the troubles of the real one, and hold when they are built again."""

from __future__ import annotations

import ast
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("mindspore")
pytestmark = pytest.mark.xdist_group("capture")

BENCHMARKS = Path(__file__).parent.parent / "benchmarks"

NET = """
import numpy as np
import pandas as pd
from mindspore import nn
from mindspore.common.api import ms_function

class Block(nn.Cell):
    def __init__(self, width: int):
        super().__init__()
        self.dense = nn.Dense(width, width)
    def construct(self, x):
        return self.dense(x)

class Net(nn.Cell):
    def __init__(self, config, block, widths):
        super().__init__()
        self.blocks = nn.CellList([block(width) for width in widths])
        self.last = nn.Dense(widths[-1], config.num_classes)
        self.kind = np.float
    @ms_function
    def construct(self, x):
        for block in self.blocks:
            x = block(x)
        return self.last(x)

def small(num_classes):
    class Config:
        pass
    net = Net(type("C", (), {"num_classes": num_classes})(), Block, [4])
    net.last = nn.Dense(4, num_classes, has_bias=False)
    return net
"""
CONFIG = """
import argparse
import os
from easydict import EasyDict

parser = argparse.ArgumentParser()
parser.add_argument("--checkpoint", required=True)
parser.add_argument("--num_classes", type=int, default=3)
parser.add_argument("--device_target", choices=["Ascend", "CPU"], default="Ascend")
config = parser.parse_args()
config.extra = EasyDict({"no" + "body": {"asks": 1}})
setattr(config, "un" + "used", "/data/of/somebody")
"""
EXPORT = """
import os
import urllib.request
import numpy as np
from mindspore import nn, Tensor, context, load_checkpoint, load_param_into_net, export
import mindspore as ms
from src.net import Net, Block
from src.config import config

class Sigmoid(nn.Cell):
    def __init__(self, network, scale):
        super().__init__()
        self.network = network
        self.scale = scale
    def construct(self, x):
        return ms.ops.sigmoid(self.network(x)) * self.scale

if __name__ == "__main__":
    context.set_context(mode=context.GRAPH_MODE, device_target="Ascend")
    os.makedirs("/cache_of_the_zoo/results", exist_ok=True)
    os.chdir("src")
    network = Sigmoid(Net(config, Block, (4, 4)), 2.0)
    load_param_into_net(network, load_checkpoint(config.checkpoint))
    export(network, Tensor(np.ones([2, 4]), ms.float32), file_name="x", file_format="MINDIR")
"""
FAILING = """
import urllib.request
from mindspore import nn, load_checkpoint
from src.net import Block

def create_dataset():
    return open("/data/that/nobody/has").read()

def run():
    urllib.request.urlopen("http://127.0.0.1:9/weights")
    dataset = create_dataset()
    classes = len(dataset)
    network = Block(5)
    load_checkpoint("x.ckpt", net=network)

if __name__ == "__main__":
    run()
"""
CONF = """
from src.net import small

def create_network(name, *args, **kwargs):
    if name == "small":
        return small(kwargs["num_classes"])
    if name == "other":
        return small(kwargs["num_classes"] * 2)
    raise NotImplementedError(name)
"""


def git(folder: Path, *arguments: str) -> None:
    author = ["-c", "user.name=zoo", "-c", "user.email=zoo@zoo"]
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


def card(folder: Path, name: str, model: str, branch: str, path: str) -> None:
    file = folder / "mindspore" / branch.removeprefix("r") / f"{name}.md"
    file.parent.mkdir(parents=True, exist_ok=True)
    link = f"https://gitee.com/zoo/models/tree/{branch}/{path}"
    file.write_text(f"# {name}\n\n---\n\nmodel-name: {model}\n\nrepo-link: <{link}>\n\n---\n")


@pytest.fixture(scope="module")
def captured(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[dict[str, Any]], str]:
    """The zoo, the file of recipes that was made of it, and what the tool said."""
    place = tmp_path_factory.mktemp("zoo")
    zoo, cards = place / "zoo", place / "cards"
    files = {
        "official/cv/nested/src/net.py": NET,
        "official/cv/nested/src/config.py": CONFIG,
        "official/cv/nested/export.py": EXPORT,
        "official/cv/conf/src/net.py": NET,
        "official/cv/conf/mindpsore_hub_conf.py": CONF,
        "research/cv/failing/src/net.py": NET,
        "research/cv/failing/eval.py": FAILING,
        "research/cv/nothing/train.py": "import no_such_thing_at_all.inside\n",
    }
    for name, text in files.items():
        (zoo / name).parent.mkdir(parents=True, exist_ok=True)
        (zoo / name).write_text(text)
    git(zoo, "init", "-q", "-b", "r1.7")
    git(zoo, "add", ".")
    git(zoo, "commit", "-qm", "1.7")
    git(zoo, "checkout", "-qb", "r1.8")  # the code that networks need is the same
    (zoo / "official/cv/nested/README.md").write_text("words")
    git(zoo, "add", ".")
    git(zoo, "commit", "-qm", "1.8")
    git(zoo, "checkout", "-qb", "r1.9")  # other code, the same network
    net = zoo / "official/cv/nested/src/net.py"
    net.write_text(net.read_text().replace("from mindspore.common.api import ms_function", "ms_function = lambda f: f"))
    git(zoo, "commit", "-qam", "1.9")
    for branch in ("r1.7", "r1.8", "r1.9"):
        card(cards, "nested_digits", "nested", branch, "official/cv/nested")
    card(cards, "small_digits", "small", "r1.7", "official/cv/conf")
    card(cards, "other_digits", "other", "r1.7", "official/cv/conf")
    card(cards, "failing_digits", "failing", "r1.9", "research/cv/failing")
    card(cards, "nothing_digits", "nothing", "r1.9", "research/cv/nothing")
    out = place / "zoo.jsonl"
    command = [sys.executable, str(BENCHMARKS / "capture_recipes.py"), str(cards), str(zoo / ".git"), "--out", str(out)]
    command += ["--repository", "zoo/models", "--work", str(place / "work")]
    environment = {**os.environ, "PYTHONPATH": str(BENCHMARKS.parent)}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert lines[0]["format"] == 1
    return zoo, lines[1:], done.stdout


def one(rows: list[dict[str, Any]], path: str, model: str) -> dict[str, Any]:
    found = [row for row in rows if row["path"] == path and model in row["models"]]
    assert len(found) == 1, found
    return found[0]


def commits(zoo: Path, *branches: str) -> list[str]:
    command = ["git", "rev-parse", *branches]
    return subprocess.run(command, cwd=zoo, check=True, capture_output=True, text=True).stdout.split()


def test_nested_constructions_of_a_script_are_taken_down(captured: Any) -> None:
    _, rows, _ = captured
    row = one(rows, "official/cv/nested", "nested")
    inner = row["call"]["args"][0]["call"]
    assert row["call"]["callable"] == "export:Sigmoid"
    assert row["call"]["args"][1] == 2.0
    assert inner["callable"] == "src.net:Net"
    assert inner["args"][1:] == [{"name": "src.net:Block"}, {"tuple": [4, 4]}]
    assert row["inputs"] == [{"shape": [1, 4], "type": "float32"}]
    assert row["proven"] == ["constructs", "runs"]
    assert row["parameters"] == 6


def test_configurations_hold_what_the_code_asks_for_and_nothing_else(captured: Any) -> None:
    _, rows, _ = captured
    config = one(rows, "official/cv/nested", "nested")["call"]["args"][0]["call"]["args"][0]
    assert config["object"]["num_classes"] == 3
    assert not {"nobody", "unused"} & set(json.dumps(config).split('"'))


def test_the_adapters_that_code_needs_are_listed(captured: Any) -> None:
    _, rows, _ = captured
    assert {"easydict", "ms_function", "numpy-aliases", "pandas"} <= set(
        one(rows, "official/cv/nested", "nested")["adapters"]
    )


def test_a_recipe_holds_where_the_same_is_read_or_the_same_is_built(captured: Any) -> None:
    zoo, rows, _ = captured
    row = one(rows, "official/cv/nested", "nested")
    assert set(row["commits"]) == set(commits(zoo, "r1.7", "r1.8", "r1.9"))


def test_a_network_changed_after_its_making_is_taken_down_as_the_function_that_made_it(captured: Any) -> None:
    _, rows, _ = captured
    row = one(rows, "official/cv/conf", "small")
    assert row["call"]["callable"] == "src.net:small"
    assert list(row["call"]["kwargs"].values()) == [10]  # the number of classes that conf files are given
    other = one(rows, "official/cv/conf", "other")
    assert list(other["call"]["kwargs"].values()) == [20]


def test_statements_that_fail_do_not_keep_a_script_from_its_network(captured: Any) -> None:
    _, rows, _ = captured
    row = one(rows, "research/cv/failing", "failing")
    assert row["call"] == {"callable": "src.net:Block", "args": [5], "kwargs": {}}


def test_nothing_outside_is_written(captured: Any) -> None:
    assert not Path("/cache_of_the_zoo").exists()


def test_a_folder_without_a_network_gives_no_row_and_is_told(captured: Any) -> None:
    _, rows, said = captured
    assert not [row for row in rows if row["path"] == "research/cv/nothing"]
    assert "research/cv/nothing: 0 recipes" in said
    assert "of 7 cards 6 construct" in said


def test_names_of_conf_files_are_read_off_their_text() -> None:
    sys.path.insert(0, str(BENCHMARKS))
    try:
        from zoo.gathering import choices, conf_names, skeleton
    finally:
        sys.path.remove(str(BENCHMARKS))
    text = 'def create_network(name):\n    if name in ("a18", "a34"):\n        return 1\n    return {"b": 2}[name]\n'
    assert conf_names(text, ["a18", "c"]) == ["a18", "a34", "b", "c"]
    assert conf_names("def broken(", ["c"]) == []
    script = 'p.add_argument("--net", choices=["x", "y"]); p.add_argument("--file_format", choices=["AIR", "ONNX"])'
    assert choices(script) == [("--net", "x"), ("--net", "y")]
    assert ast.parse(script)
    assert skeleton({"callable": "a:b", "args": [{"object": {"x": 1}}], "kwargs": {}}) == skeleton(
        {"callable": "a:b", "args": [{"object": {"x": 2, "y": 1}}], "kwargs": {}}
    )
