"""One model on many machines: Ray Serve around the app of `mshub serve`.

    pip install "mshub_ssd[serve,onnxruntime]" "ray[serve]"
    python examples/ray_serve.py mshub/1.0/ssdmobilenetv2_digits --replicas 2
    curl --data-binary @mshub_ssd/cli/demo_digits.png http://127.0.0.1:8000/v1/detect

On a cluster, run it on one of its machines (`ray start` has been run on each): the replicas go where there is room,
and each loads the model by itself, through the cache of its machine. Ray's proxies take the place of what `mshub serve`
does with connections; bodies, pictures and the queue are limited by the app of each replica as there.
"""

from __future__ import annotations

import argparse
import signal
import threading

from ray import serve


def application(model: str, replicas: int = 1, cpus: float = 1.0, max_queue: int = 64, **options: object) -> object:
    """What `serve.run` takes.

    Args:
        model: A uid; the replicas' machines must know its card.
        replicas: So many processes, each with a model of its own.
        cpus: Of each, its engine's threads.
        max_queue: Pictures that may wait in each.
        options: As for `mshub_ssd.serve.create_app`.
    """

    def build() -> object:
        from mshub_ssd.serve import Limits, create_app

        # A replica gets requests once this has started: with the model loaded.
        limits = Limits(max_queue=max_queue)
        return create_app(model, threads=max(1, int(cpus)), limits=limits, wait=True, **options)

    deployment = serve.deployment(
        serve.ingress(build)(),
        name="mshub",
        num_replicas=replicas,
        # Above this, Ray holds requests back; the app then refuses what is too much of it.
        max_ongoing_requests=2 * max_queue,
        ray_actor_options={"num_cpus": cpus},
    )
    return deployment.bind()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", metavar="UID")
    parser.add_argument("--replicas", type=int, default=1)
    parser.add_argument("--cpus", type=float, default=1.0, help="of each replica")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000)
    arguments = parser.parse_args()
    serve.start(http_options={"host": arguments.host, "port": arguments.port})
    serve.run(application(arguments.model, arguments.replicas, arguments.cpus))
    over = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):  # after Ray has set its own
        signal.signal(number, lambda *_: over.set())
    print(f"serving {arguments.model} at http://{arguments.host}:{arguments.port}/", flush=True)
    over.wait()
    serve.shutdown()


if __name__ == "__main__":
    main()
