"""How long recording takes, how large the files are, and how far both engines are from the golden data.

    python benchmarks/recording.py [KEY ...] [--out results.json]

"record" is the whole helper process as a user waits for it; "build" and "trace" are what happens inside, measured
in a process of their own. Golden distances of OpenMMLab's networks are given in units of their tolerances.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

INSIDE = """
import json, sys, time
from mshub_ssd import networks
from mshub_ssd.engines import recording
networks.use_layers(recording)
networks.build(sys.argv[1])
built, traced = [], []
for _ in range(5):
    start = time.process_time()
    network = networks.build(sys.argv[1])
    middle = time.process_time()
    parameters = {p.name: (p.sides, "float32") for p in network.get_parameters()}
    size = network.config.image_size
    recording.recorded(network, (None, 3, size, size), parameters)
    built.append(middle - start)
    traced.append(time.process_time() - middle)
print(json.dumps([sorted(built)[2], sorted(traced)[2]]))
"""


def measure(key: str) -> dict[str, object]:
    import numpy as np
    import recordlab

    from mshub_ssd import engines

    walls = []
    for _ in range(3):
        start = time.perf_counter()
        graph = engines.record(key).graph
        walls.append(time.perf_counter() - start)
    done = subprocess.run([sys.executable, "-c", INSIDE, key], capture_output=True, text=True, check=True, cwd=ROOT)
    build, trace = json.loads(done.stdout)
    weights = recordlab.weights(graph, key)
    start = time.process_time()
    content = engines.onnx_bytes(graph, weights)
    emit = time.process_time() - start
    row: dict[str, object] = {
        "record_s": round(min(walls), 3),
        "build_ms": round(1000 * build, 1),
        "trace_ms": round(1000 * trace, 1),
        "emit_ms": round(1000 * emit),
        "operations": len(graph.nodes),
        "graph_kB": len(json.dumps(graph.to_dict())) // 1000,
        "onnx_MB": round(len(content) / 1e6, 1),
    }
    picture = recordlab.picture(key)
    for engine in ("onnxruntime", "openvino"):
        runner = engines.runner(content, engine)
        row[engine] = [float(f"{d:.1e}") for d in recordlab.differences(key, runner.run(picture))]
        batch = runner.run(np.concatenate([picture] * 3))
        alone = runner.run(picture)
        row[f"{engine}_batch"] = max(
            float(np.abs(b - a).max()) for a, b in zip(recordlab.flat(alone), recordlab.flat(batch), strict=True)
        )
        runner.close()
    return row


def main() -> None:
    import recordlab

    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("keys", nargs="*")
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    results = {}
    for key in options.keys or recordlab.KEYS:
        results[key] = measure(key)
        print(key, json.dumps(results[key]), flush=True)
    if options.out:
        flags = Path("/proc/cpuinfo").read_text(encoding="utf-8").split()
        machine = {
            "load": os.getloadavg(),
            "cpus": os.cpu_count(),
            "instruction_set": [name for name in ("avx2", "avx512f", "avx512_bf16", "amx_bf16") if name in flags],
            "python": sys.version.split()[0],
        }
        options.out.write_text(json.dumps({"machine": machine, "networks": results}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
