"""The official client's name on this library, and a shelf of one tiny model, for the tests of both."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from checkpointlab import ckpt_entry
from faultserver import FaultServer
from shelf import sha256

import mshub_ssd as mshub
from mshub_ssd import networks, settings

ARRAYS = {"weight": np.arange(6, dtype=np.float32).reshape(3, 2), "bias": np.ones(3, np.float32)}
CKPT = b"".join(ckpt_entry(name, value.shape, "Float32", value.tobytes()) for name, value in ARRAYS.items())
UID = "mindspore/1.8/tiny_pets"

FIELDS = {
    "model-name": "tiny",
    "backbone-name": "tiny",
    "module-type": "cv-classification",
    "fine-tunable": "True",
    "model-version": '"1.10"',
    "train-dataset": "pets",
    "evaluation": "acc50",
    "author": "MindSpore team",
    "update-time": '"2022-06-22"',
    "repo-link": "<https://gitee.com/mindspore/models/tree/r1.8/official/cv/tiny>",
    "user-id": "MindSpore",
    "used-for": "inference",
    "mindspore-version": '"1.10"',
    "network": "official_tiny",
    "license": "Apache-2.0",
    "summary": "a dense layer",
}


def text(assets: list[dict[str, str]], body: str = "## Use\n", **fields: str | None) -> str:
    """A card; a field that is None is left out, `_` in a name stands for `-`."""
    said = {**FIELDS, **{name.replace("_", "-"): value for name, value in fields.items()}}
    rows = "\n\n".join(f"{key}: {value}" for key, value in said.items() if value is not None)
    listed = "".join("\n- " + "\n  ".join(f"{key}: {value}" for key, value in asset.items()) for asset in assets)
    return f"# tiny\n\n---\n\n{rows}\n\n{'asset:' + listed if listed else ''}\n\n---\n\n{body}"


class Shelf:
    """A folder of cards, searched first, whose checkpoints a local server has.

    Args:
        folder: Of the cards.
        server: Of the checkpoints.
    """

    def __init__(self, folder: Path, server: FaultServer) -> None:
        self.folder, self.server = folder, server

    def put(
        self,
        uid: str = UID,
        *faults: Any,
        data: bytes = CKPT,
        digest: str | None = None,
        link: str | None = None,
        file_format: str = "ckpt",
        **fields: str | None,
    ) -> Path:
        """A card with one asset; its path.

        Args:
            uid: Of the card.
            faults: Of the server.
            data: The checkpoint.
            digest: As the card writes it; by default the right one.
            link: The asset-link; by default a page of the server.
            file_format: As the card says.
            fields: Other fields of the card.
        """
        digest = f'"{sha256(CKPT)}"' if digest is None else digest
        link = f"<{self.server.add(f'/{uid}.ckpt', data, *faults)}>" if link is None else link
        asset = {"file-format": file_format, "asset-link": link, "asset-sha256": digest}
        return self.write(uid, text([asset], **fields))

    def write(self, uid: str, content: str) -> Path:
        """A card of that text; its path."""
        path = self.folder / f"{uid}.md"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
        return path


@pytest.fixture
def shelf(tmp_path: Path, fault_server: FaultServer, monkeypatch: pytest.MonkeyPatch) -> Shelf:
    """Cards of a test's own."""
    (tmp_path / "cards").mkdir()
    monkeypatch.setenv("MSHUB_REGISTRY", str(tmp_path / "cards"))
    return Shelf(tmp_path / "cards", fault_server)


@pytest.fixture
def official(monkeypatch: pytest.MonkeyPatch) -> Iterator[ModuleType]:
    """`mindspore_hub`, as this library installs it, with a network `official_tiny`; gone afterwards."""
    mindspore = pytest.importorskip("mindspore")
    monkeypatch.setattr(networks.constructors, "_registered", dict(networks.constructors._registered))

    @mshub.register_network("official_tiny")
    def build(outputs: int = 3) -> Any:
        return mindspore.nn.Dense(2, outputs)

    mshub.install_as_mindspore_hub(any_device=False)
    import mindspore_hub

    yield mindspore_hub
    for name in [name for name in sys.modules if name.split(".")[0] == "mindspore_hub"]:
        del sys.modules[name]
    settings.set_home(None)
