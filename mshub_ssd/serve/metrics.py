"""What a server tells Prometheus."""

from __future__ import annotations

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, Info, generate_latest
from prometheus_client.process_collector import ProcessCollector

__all__ = ["CONTENT_TYPE", "Metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
_BATCHES = (1, 2, 4, 8, 16, 32, 64)


class Metrics:
    """Counters of one app, in a registry of its own: two apps in a process do not mix."""

    def __init__(self) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        self.model = Info("mshub_model", "The model that is served", registry=registry)
        self.requests = Counter("mshub_requests", "Requests by path and status", ["path", "code"], registry=registry)
        self.seconds = Histogram(
            "mshub_request_seconds",
            "From head to answer",
            ["path"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.refusals = Counter("mshub_refusals", "Refused requests by reason", ["reason"], registry=registry)
        self.pictures = Counter("mshub_pictures", "Pictures that the network has looked at", registry=registry)
        self.stages = Histogram(
            "mshub_stage_seconds",
            "What a picture's time goes into: read (decoding, preparing), wait, network, tell (boxes, drawing)",
            ["stage"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.batches = Histogram(
            "mshub_batch_pictures", "Pictures given to the network at once", buckets=_BATCHES, registry=registry
        )
        self.queue = Gauge("mshub_queue_pictures", "Pictures that wait or are looked at", registry=registry)
        self.queue_limit = Gauge("mshub_queue_limit", "As many pictures may wait", registry=registry)
        self.held = Gauge("mshub_held_bytes", "Bytes of bodies and drawn pictures that are held", registry=registry)
        self.ready = Gauge("mshub_ready", "1 while pictures are taken", registry=registry)

    def text(self) -> bytes:
        """All of it, as Prometheus reads it."""
        return generate_latest(self._registry)
