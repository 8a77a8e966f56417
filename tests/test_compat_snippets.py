"""Usage snippets run as they stand: those of the bundled cards, and those that the official hub has for the same uids.

Real are every snippet's text and uid, the way from the uid to card, plan and file, and for each of the different
networks a checkpoint of its whole size that is verified, read, matched and filled in, once for each of the two kinds of
snippets. Further versions of a model, which must mean the same network, get the Cell of the first.

Of `detect` and `classify` the forward pass of one network of each kind is real. Of the others, which are run by
`test_networks.py` and `test_inference.py`, it is checked that the call fits and has the network and a picture.
"""

from __future__ import annotations

import inspect
import re
import shutil
import warnings
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import compatlab
import numpy as np
import pytest
from networks import sha256

import mshub_ssd as mshub
from mshub_ssd import checkpoints, networks, providers
from mshub_ssd.compat import devices
from mshub_ssd.errors import UnsupportedFormatError
from mshub_ssd.hub import Hub

mindspore = pytest.importorskip("mindspore")
Image = pytest.importorskip("PIL.Image")

official = compatlab.official  # a fixture

CARDS = Path(mshub.__file__).parent.parent / "hub_models"
# One of each family and kind of head; their forward passes are real.
SEEN = ("ssd300", "sppnet_zfnet", "openmmlab_ssdlite_mobilenetv2")
# Published without a file that MindSpore reads: with weights, the official client cannot load them either.
WITHOUT_CHECKPOINT = ("noah-cvlab/ascend/0.7/ghostnet_ssd_v1.0", "noah-cvlab/ascend/1.0/ghostnet_ssd_v1.0")
# What a person has beside the script.
PICTURES = ("street.jpg", "dog.jpg", "numbers.png")
# The official card of every one of these uids has this, and no other, snippet.
OFFICIAL = """
import mindspore_hub as mshub
from mindspore import context

context.set_context(mode=context.GRAPH_MODE,
                    device_target="Ascend",
                    device_id=0)

model = "{uid}"
network = mshub.load(model)
network.set_train(False)

# ...
"""


def by_network() -> dict[str, list[str]]:
    """The bundled cards' uids by what `load` builds for them."""
    groups = defaultdict(list)
    for uid in mshub.list_models():
        recipe = providers.choose_network(mshub.info(uid))
        groups[f"{recipe.key}, {len(recipe.arguments)} arguments" if recipe.arguments else recipe.key].append(uid)
    return dict(groups)


GROUPS = by_network()


def snippet(uid: str) -> str:
    """What stands in a card, for people to type in this order."""
    return "\n".join(re.findall(r"```python\n(.*?)```", mshub.info(uid).body, re.DOTALL))


def arrays_for(uid: str) -> dict[str, np.ndarray]:
    """Values for a card's network: zeros, which cost nothing, and class scores so low that nothing is found."""
    recipe = providers.choose_network(mshub.info(uid))
    network = networks.build(recipe.key, card=recipe.arguments, classes=recipe.classes, initialised=False)
    types = networks.parameter_types(network)
    return {name: np.full(shape, -10 if name.endswith("bias") else 0, kind) for name, (shape, kind) in types.items()}


def put(root: Path, uid: str, file: Path) -> None:
    """The bundled card with another file; nothing else in it is changed."""
    text = (CARDS / f"{uid}.md").read_text(encoding="utf-8")
    link = root / f"{uid}.ckpt"
    link.parent.mkdir(parents=True, exist_ok=True)
    link.hardlink_to(file)
    text = re.sub(r"(?m)(asset-link:) .*", rf"\1 {link.name}", text)
    text = re.sub(r"(?m)(asset-sha256:) .*", rf'\1 "{sha256(file)}"', text)
    text = re.sub(r"(?m)^ *asset-size: .*\n", "", text)
    (root / f"{uid}.md").write_text(re.sub(r"(file-format:) .*", r"\1 ckpt", text), encoding="utf-8")  # OpenMMLab: pth


class Room:
    """Where snippets run: what they load and look at goes through here.

    Args:
        network: Key of the group.
    """

    def __init__(self, network: str) -> None:
        self.network = network
        self.real = {name: getattr(Hub, name) for name in ("load", "detect", "classify")}
        self.loaded: dict[tuple[str, bool], Any] = {}
        self.plans: set[tuple[Any, ...]] = set()
        self.door, self.looks = "", 0

    def load(self, hub: Hub, name: str, source: str | None = None, pretrained: bool = True, **more: Any) -> Any:
        """Really load, the first time at each door; another version must mean the same."""
        plan = hub.plan(name, source, pretrained=pretrained)
        self.plans.add((plan.recipe.key, repr(plan.recipe.arguments), plan.recipe.classes))
        if (self.door, pretrained) not in self.loaded:
            cell = self.real["load"](hub, name, source=source, pretrained=pretrained, **more)
            self.loaded[self.door, pretrained] = cell
        return self.loaded[self.door, pretrained]

    def look(self, verb: str, hub: Hub, *args: Any, **kwargs: Any) -> Any:
        """Really look with some networks; the call must fit any of them."""
        self.looks += 1
        model, picture = list(inspect.signature(self.real[verb]).bind(hub, *args, **kwargs).arguments.values())[1:3]
        if self.network in SEEN or isinstance(model, str):
            return self.real[verb](hub, *args, **kwargs)
        assert model is self.loaded[self.door, True]
        assert Path(picture).is_file()
        return NoResult()


@pytest.fixture
def room(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[Room]:
    """`Hub` and MindSpore's context as snippets find them; as they were afterwards."""
    made = Room(request.getfixturevalue("network"))
    assert all(hasattr(mshub, name) for name in made.real)  # or the functions would be made of what stands in here
    monkeypatch.setattr(Hub, "load", lambda hub, *args, **kwargs: made.load(hub, *args, **kwargs))
    for verb in ("detect", "classify"):
        monkeypatch.setattr(Hub, verb, lambda hub, *args, verb=verb, **kwargs: made.look(verb, hub, *args, **kwargs))
    for module in (mindspore, mindspore.context):
        monkeypatch.setattr(module, "set_context", module.set_context)
    for module in (mindspore, mindspore.device_manager):
        monkeypatch.setattr(module, "set_device", module.set_device)
    monkeypatch.setattr(devices, "_told", set())
    mode = mindspore.get_context("mode")
    yield made
    mindspore.set_context(mode=mode)


@pytest.mark.parametrize("network", GROUPS)
def test_snippets_run_as_they_stand(
    network: str, room: Room, official: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    uids = GROUPS[network]
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    monkeypatch.setenv("MSHUB_OFFLINE", "1")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "cards").mkdir()
    if "digits" not in uids[0]:  # whose own file is in the package
        checkpoints.write(tmp_path / "weights.ckpt", arrays_for(uids[0]))
        for uid in set(uids) - set(WITHOUT_CHECKPOINT):
            put(tmp_path / "cards", uid, tmp_path / "weights.ckpt")
    for name in PICTURES:
        Image.new("RGB", (64, 48), (90, 120, 40)).save(name)
    room.door = "mshub_ssd"
    for uid in uids:
        exec(compile(snippet(uid), f"{uid}.md", "exec"), {})
    looks = sum(len(re.findall(r"mshub\.(?:detect|classify)\(", snippet(uid))) for uid in uids)
    assert room.looks == looks > 0
    room.door = "mindspore_hub"
    mshub.install_as_mindspore_hub()
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        for uid in uids:
            space: dict[str, Any] = {}
            code = compile(OFFICIAL.format(uid=uid), f"{uid}.md", "exec")
            if uid in WITHOUT_CHECKPOINT:
                with pytest.raises(UnsupportedFormatError, match="the same network with a checkpoint"):
                    exec(code, space)
                continue
            exec(code, space)
            assert isinstance(space["network"], mindspore.nn.Cell)
    assert [str(one.message) for one in told if "Ascend" in str(one.message)] == [
        "there is no Ascend here that MindSpore can use: running on the CPU"
    ]
    assert (mindspore.get_context("mode"), mindspore.get_context("device_target")) == (mindspore.GRAPH_MODE, "CPU")
    assert len(room.plans) == 1


def test_every_card_has_a_snippet_that_runs_here() -> None:
    assert sorted(uid for uids in GROUPS.values() for uid in uids) == sorted(mshub.list_models())
    assert set(SEEN) <= set(GROUPS)


class NoResult:
    """In place of what was not looked for."""

    def save(self, path: str) -> None:
        shutil.copy(PICTURES[0], path)
