# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads."""

from collections.abc import Iterator, Mapping, Sequence

from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from rd_plugin.delivery import Deliverer
from rd_plugin.results import InspectionResult

from .models import Loaded

__all__ = ["Metrics"]

_SECONDS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)


class _Models(Collector):
    """Which model each product has.

    Args:
        loaded: The loaded models by product, as they are now.
    """

    def __init__(self, loaded: Mapping[str, Loaded]) -> None:
        self._loaded = loaded

    def collect(self) -> Iterator[Metric]:
        """Yield one sample for each product."""
        models = GaugeMetricFamily("rd_plugin_model", "1 for the loaded model.", labels=["product", "model"])
        for name, loaded in sorted(self._loaded.items()):
            models.add_metric([name, loaded.product.model], 1)
        yield models


class _Deliveries(Collector):
    """Rows that are on their way to other programs, and those that have not arrived.

    Args:
        deliverers: What sends them.
    """

    def __init__(self, deliverers: Sequence[Deliverer]) -> None:
        self._deliverers = deliverers

    def collect(self) -> Iterator[Metric]:
        """Yield three samples for each target."""
        rows = GaugeMetricFamily("rd_plugin_rows", "Rows for other programs, by state.", labels=["target", "state"])
        for sink in self._deliverers:
            states = {"kept": len(sink.spool), "refused": sink.refused, "lost": sink.spool.lost}
            for state, count in states.items():
                rows.add_metric([sink.name, state], count)
        yield rows


class Metrics:
    """Numbers of a server, separate from those of the process.

    Args:
        loaded: The loaded models by product, as they are now.
        deliverers: What sends rows to other programs.
    """

    content_type = CONTENT_TYPE_LATEST

    def __init__(self, loaded: Mapping[str, Loaded], deliverers: Sequence[Deliverer] = ()) -> None:
        self._registry = CollectorRegistry()
        PlatformCollector(self._registry)
        ProcessCollector(registry=self._registry)
        self._registry.register(_Models(loaded))
        self._registry.register(_Deliveries(deliverers))
        self._images = Counter(
            "rd_plugin_images", "Images by verdict.", ["product", "client", "verdict"], registry=self._registry
        )
        self._drifted = Counter(
            "rd_plugin_drifted_images", "Images while drift was detected.", ["product"], registry=self._registry
        )
        self._seconds = Histogram(
            "rd_plugin_inspection_seconds",
            "From the end of an image's request to its result, including the time in the queue.",
            ["product"],
            buckets=_SECONDS,
            registry=self._registry,
        )
        self._refused = Counter(
            "rd_plugin_refused_requests", "Requests that were refused.", ["status"], registry=self._registry
        )

    def count(self, result: InspectionResult, client: str, seconds: float) -> None:
        """Count an image.

        Args:
            result: Its result.
            client: Who sent it.
            seconds: From the end of its request to the result.
        """
        self._images.labels(result.product, client, result.verdict).inc()
        self._seconds.labels(result.product).observe(seconds)
        if result.drift == "yes":
            self._drifted.labels(result.product).inc()

    def count_refused(self, status: int) -> None:
        """Count a request that was refused.

        Args:
            status: Its HTTP status.
        """
        self._refused.labels(str(status)).inc()

    def text(self) -> bytes:
        """Return all numbers in Prometheus's format."""
        return generate_latest(self._registry)
