"""Metrics for an operator, in Prometheus's words; every server has a registry of its own."""

from __future__ import annotations

from dataclasses import dataclass, field

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector

__all__ = ["Metrics"]

_SECONDS = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10)
_ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


@dataclass(eq=False)
class Metrics:
    """Counters of one server.

    Attributes:
        requests: answered, by route and HTTP status; those turned away are among them.
        seconds: from a request's first byte to its answer, by route.
        batch: rows of each shared call. search: its seconds.
        unanswered: rows that wait or are worked on. items: of the catalog. snapshot: number of the current.
    """

    registry: CollectorRegistry = field(default_factory=CollectorRegistry)

    def __post_init__(self) -> None:
        here, route = self.registry, ["route"]
        self.requests = Counter(
            "genrec_requests", "Requests answered.", ["route", "status"], registry=here
        )
        self.seconds = Histogram(
            "genrec_request_seconds", "Time to the answer.", route, registry=here, buckets=_SECONDS
        )
        self.batch = Histogram(
            "genrec_batch_rows", "Rows of a shared call.", registry=here, buckets=_ROWS
        )
        self.search = Histogram(
            "genrec_batch_seconds", "Time of a shared call.", registry=here, buckets=_SECONDS
        )
        self.unanswered = Gauge(
            "genrec_unanswered_rows", "Rows that wait or are worked on.", registry=here
        )
        self.items = Gauge("genrec_catalog_items", "Items of the catalog.", registry=here)
        self.snapshot = Gauge("genrec_snapshot", "Number of the recommender.", registry=here)
        ProcessCollector(registry=here)

    def observe_batch(self, rows: int, seconds: float) -> None:
        """Count a shared call."""
        self.batch.observe(rows)
        self.search.observe(seconds)
