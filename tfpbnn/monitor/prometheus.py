"""Serves what a monitor knows to Prometheus."""

import re
from collections.abc import Iterator
from typing import Any

from tfpbnn.base import checks
from tfpbnn.monitor.status import Status

_HELP = {
    "predictions": "Predictions in the window.",
    "labels": "Labels that came in the window.",
    "alarms": "Alarms since the tests began.",
    "label_delay_seconds": "The mean delay of labels in the window.",
}


def numbers(status: Status) -> dict[str, float]:
    """Lists the numbers of a status by their names in Prometheus.

    They are of the window, but for the alarms; those of the reference end in
    "_reference".
    """
    found: dict[str, float] = {"alarms": len(status.alarms)}
    found |= status.counts
    found |= {f"score_{name}": v for name, v in status.scores.items()}
    found |= {
        f"score_{name}_reference": v for name, v in status.reference.items()
    }
    found |= {f"uncertainty_{n}": v for n, v in status.uncertainties.items()}
    found |= {
        f"uncertainty_{name}_reference": v
        for name, v in status.reference_uncertainties.items()
    }
    if status.delay is not None:
        found["label_delay_seconds"] = status.delay
    return {
        "tfpbnn_" + re.sub(r"\W", "_", name): float(value)
        for name, value in found.items()
    }


class Server:
    """An HTTP server of metrics, in a thread.

    Args:
        monitor: whose `status` is asked for with each request.
        port: to listen at; 0 for one that is free.
        host: the address to listen at.

    Attributes:
        port: that it listens at.
    """

    def __init__(self, monitor: Any, port: int, host: str):
        checks.integer("port", port, least=0)
        try:
            from prometheus_client import CollectorRegistry, start_http_server
        except ImportError as error:
            raise ImportError(
                "Metrics need prometheus_client: pip install tfpbnn[monitor]"
            ) from error
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Collector(monitor))
        self._server, self._thread = start_http_server(
            port, addr=host, registry=registry
        )
        self.port = int(self._server.server_port)

    def wait(self) -> None:
        """Waits until the server is closed."""
        self._thread.join()

    def close(self) -> None:
        """Stops the server."""
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


class _Collector:
    """What Prometheus's client asks at each request."""

    def __init__(self, monitor: Any):
        self._monitor = monitor

    def describe(self) -> list[Any]:
        """Names nothing: names depend on what was logged."""
        return []

    def collect(self) -> Iterator[Any]:
        """Makes the metrics of the status by now."""
        from prometheus_client.core import GaugeMetricFamily

        status = self._monitor.status()
        for name, value in numbers(status).items():
            words = _HELP.get(name.removeprefix("tfpbnn_"), name)
            metric = GaugeMetricFamily(name, words, labels=["monitor"])
            metric.add_metric([status.name], value)
            yield metric
        yield from _alarms(status, GaugeMetricFamily)


def _alarms(status: Status, family: Any) -> Iterator[Any]:
    """Makes a metric of the alarms by what was tested."""
    metric = family(
        "tfpbnn_alarm_time_seconds",
        "When an alarm was raised.",
        labels=["monitor", "signal"],
    )
    for alarm in status.alarms:
        metric.add_metric([status.name, alarm.signal], alarm.time)
    yield metric
