# SPDX-License-Identifier: Apache-2.0
"""What Prometheus reads."""

from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from rd_plugin.delivery import Deliverer
from rd_plugin.products import Product
from rd_plugin.results import InspectionResult
from rd_plugin.serving.metrics import Metrics
from rd_plugin.serving.models import Loaded


def _numbers(metrics: Metrics) -> dict[tuple, float]:
    families = text_string_to_metric_families(metrics.text().decode())
    return {
        (sample.name, *sorted(sample.labels.values())): sample.value for family in families for sample in family.samples
    }


def test_images_are_counted() -> None:
    metrics = Metrics({})
    for verdict, drift, seconds in (("normal", "", 0.03), ("normal", "no", 0.3), ("anomalous", "yes", 30)):
        metrics.count(InspectionResult("a.png", verdict, drift=drift, product="gasket"), "robot", seconds)
    metrics.count_refused(503)
    numbers = _numbers(metrics)
    assert numbers["rd_plugin_images_total", "gasket", "normal", "robot"] == 2
    assert numbers["rd_plugin_images_total", "anomalous", "gasket", "robot"] == 1
    assert numbers["rd_plugin_drifted_images_total", "gasket"] == 1
    assert numbers["rd_plugin_inspection_seconds_bucket", "0.05", "gasket"] == 1
    assert numbers["rd_plugin_inspection_seconds_bucket", "10.0", "gasket"] == 2
    assert numbers["rd_plugin_inspection_seconds_count", "gasket"] == 3
    assert numbers["rd_plugin_refused_requests_total", "503"] == 1
    assert numbers["process_resident_memory_bytes",] > 0


def test_models_are_those_that_are_loaded_now() -> None:
    loaded: dict[str, Loaded] = {}
    metrics = Metrics(loaded)
    loaded["gasket"] = Loaded(Product("gasket", "", "", "0a1b", "", ""), None)  # type: ignore[arg-type]
    assert _numbers(metrics)["rd_plugin_model", "0a1b", "gasket"] == 1
    loaded.clear()
    assert ("rd_plugin_model", "0a1b", "gasket") not in _numbers(metrics)


def test_rows_that_have_not_arrived_are_counted(tmp_path: Path) -> None:
    class Away:
        name = "webhook http://mes/rows"

        def send(self, row: str) -> None:
            raise OSError(row)

        def close(self) -> None: ...

    sink = Deliverer(Away(), tmp_path, limit=2, patience=0.0)
    for path in "abc":
        sink.write(InspectionResult(path, "normal"))
    numbers = _numbers(Metrics({}, [sink]))
    sink.close()
    for state, count in (("kept", 2), ("refused", 0), ("lost", 1)):
        assert numbers[("rd_plugin_rows", *sorted((state, sink.name)))] == count
