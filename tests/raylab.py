"""A Ray cluster of two nodes on this machine that loses actors and nodes; for tests and benchmarks/ray_proofs.py."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from faultserver import FaultServer

import mshub_ssd as mshub

# Ray reads these when it is imported or started.
ENVIRONMENT = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_DEDUP_LOGS": "0",
    "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    # The machine may be busy, and a node gives up if its own parts have not started by then.
    "RAY_agent_register_timeout_ms": "300000",
}
# What Ray says where its processes have not come up within the half minute that it gives them.
TOO_SLOW = "timed out during startup"
BROKEN = b"\xff\xd8\xff\xe0 no picture"


class Nodes:
    """Two nodes; the first is the head, where the driver is, too.

    Attributes:
        nodes: Ray's, the head first.
        homes: Each one's cache.
    """

    def __init__(self, cluster: Any, nodes: Sequence[Any], homes: Sequence[Path]) -> None:
        self.cluster, self.nodes, self.homes = cluster, list(nodes), list(homes)

    def actors(self, number: int) -> list[int]:
        """The processes of a node that have an actor of Ray Data."""
        raylet = self.nodes[number].all_processes["raylet"][0].process.pid
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError, ValueError):
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                if parent == raylet and (entry / "cmdline").read_bytes().startswith(b"ray::MapWorker"):
                    found.append(int(entry.name))
        return sorted(found)

    def kill_actor(self, number: int) -> int:
        """Kill an actor of a node, as if it had run out of memory; its process."""
        pid = self.actors(number)[0]
        os.kill(pid, signal.SIGKILL)
        return pid

    def remove(self, number: int) -> None:
        """Take a node away, with all its processes."""
        self.cluster.remove_node(self.nodes[number], allow_graceful=False)


@contextlib.contextmanager
def two_nodes(cpus: int = 2, **environ: str) -> Iterator[Nodes]:
    """A cluster of two nodes with caches of their own, and this process connected to it; gone afterwards for sure.

    Args:
        cpus: Of each node, as Ray counts them.
        environ: Further variables of the nodes' processes.
    """
    # A socket's path may have 107 bytes, and Ray adds some 80.
    place = Path(tempfile.mkdtemp(prefix="mr", dir="/tmp"))
    before = dict(os.environ)
    os.environ.update(ENVIRONMENT, RAY_TMPDIR=str(place))
    import ray
    from ray.cluster_utils import Cluster

    homes = [place / "home0", place / "home1"]
    settings = [
        {
            "num_cpus": cpus,
            "include_dashboard": False,
            "object_store_memory": 100 << 20,
            "env_vars": {**environ, "MSHUB_HOME": str(home)},
        }
        for home in homes
    ]
    cluster = None
    try:
        cluster = Cluster()
        nodes = [_started(cluster, one) for one in settings]
        ray.init(address=cluster.address, log_to_driver=False, logging_level="ERROR")
        yield Nodes(cluster, nodes, homes)
    finally:
        ray.shutdown()
        if cluster is not None:
            cluster.shutdown()
        os.environ.clear()
        os.environ.update(before)
        shutil.rmtree(place, ignore_errors=True)


def _started(cluster: Any, settings: dict[str, Any]) -> Any:
    for _ in range(4):
        try:
            return cluster.add_node(**settings)
        except Exception as error:
            if TOO_SLOW not in str(error):
                raise
    raise AssertionError("Ray does not start on this machine")


def paint(folder: Path, count: int, *, broken: Sequence[int] = (), side: int = 320, width: int = 0) -> list[str]:
    """Generated pictures with digits, each another one; some of them are none.

    Args:
        folder: Where; it is made.
        count: How many.
        broken: The numbers of those that are no pictures.
        side: Their height in pixels.
        width: Their width, if it is another one.

    Returns:
        Their paths, in natural order.
    """
    import numpy as np
    from PIL import Image

    folder.mkdir(parents=True, exist_ok=True)
    demo = Path(mshub.__file__).parent / "cli" / "demo_digits.png"
    with Image.open(demo) as image:
        base = np.asarray(image.convert("RGB").resize((side * 4 // 3, side)))
    paths = []
    for number in range(count):
        path = folder / f"{number}.jpg"
        if number in broken:
            path.write_bytes(BROKEN)
        else:
            moved = np.roll(base, (number * 7) % base.shape[1], axis=1)[:, : width or side]
            Image.fromarray(np.roll(moved, (number * 13) % side, axis=0)).save(path, quality=85)
        paths.append(str(path))
    return paths


def flat(result: Any, name: str) -> dict[str, Any]:
    """A result of a Predictor as a row of the columns."""
    empty = dict.fromkeys(("height", "width", "boxes", "scores", "labels", "names", "error_code", "error_message"))
    if isinstance(result, mshub.Failure):
        return {**empty, "image": name, "error_code": result.error.code, "error_message": result.error.message}
    found = {
        "boxes": result.boxes.tolist(),
        "scores": result.scores.tolist(),
        "labels": result.labels.tolist(),
        "names": list(result.names),
    }
    height, width = result.image_size
    return {**empty, "image": name, "height": height, "width": width, **found}


def rows_of(out: Path) -> list[dict[str, Any]]:
    """All rows of a folder of results."""
    import pyarrow.parquet as pq

    return [row for path in sorted(out.glob("*.parquet")) for row in pq.read_table(path).to_pylist()]


def wait_for(met: Any, seconds: float = 60) -> None:
    """Wait until something is so."""
    until = time.monotonic() + seconds
    while not met():
        assert time.monotonic() < until, "it does not happen"
        time.sleep(0.05)


def write_model(folder: Path, key: str) -> str:
    """A card for a network with the golden weights of the tests, and its checkpoint beside it; its uid.

    Args:
        folder: Of cards.
        key: The network's.
    """
    import networks
    from safetensors.numpy import save_file

    place = folder / "own" / "1.0"
    place.mkdir(parents=True, exist_ok=True)
    checkpoint = place / f"{key}.safetensors"
    save_file(networks.weights(key), checkpoint)
    (place / f"{key}.md").write_text(
        f"# {key}\n\n---\n\nmodel-name: {key}\n\nmodule-type: cv-object_detection\n\ntrain-dataset: coco2017\n\n"
        f"network: {key}\n\nasset:\n- file-format: safetensors\n  asset-link: {checkpoint.name}\n"
        f'  asset-sha256: "{networks.sha256(checkpoint)}"\n\nlicense: Apache-2.0\n\n---\n\n## Golden weights\n',
        encoding="utf-8",
    )
    return f"own/1.0/{key}"


def write_digits(folder: Path, server: FaultServer) -> str:
    """The digits' card with its checkpoint on a server; its uid.

    Args:
        folder: Of cards.
        server: Gets the checkpoint.
    """
    card = mshub.info("mshub/1.0/ssdmobilenetv2_digits")
    assert card.path is not None
    url = server.add("/digits.ckpt", card.path.with_suffix(".ckpt").read_bytes())
    place = folder / "own" / "1.0"
    place.mkdir(parents=True, exist_ok=True)
    text = re.sub(r"asset-link: .*", f"asset-link: {url}", card.path.read_text(encoding="utf-8"))
    (place / "digits.md").write_text(text, encoding="utf-8")
    return "own/1.0/digits"
