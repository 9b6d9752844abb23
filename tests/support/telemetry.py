"""OpenTelemetry providers that keep spans and metrics in memory, and what the tests compare."""

from datetime import timedelta

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from support import callbacks
from support.callbacks import CALL
from support.streams import until
from transferkit._telemetry.otel import OpenTelemetry
from transferkit.testing import scenario

ANSWERS, SILENT = (scenario(name).number for name in ("answers", "silent"))

__all__ = ["ANSWERS", "CALL", "LEASE", "SILENT", "Recorded", "links", "parent", "place", "post", "until"]

TIME = "2026-01-01T12:00:00+00:00"
LEASE = timedelta(seconds=20)


class Recorded:
    """The OpenTelemetry providers of one process; their spans and metrics are kept in memory."""

    def __init__(self):
        self._exporter = InMemorySpanExporter()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self._meters = MeterProvider(metric_readers=[self._reader])
        self.telemetry = OpenTelemetry(tracer_provider=self.tracers, meter_provider=self._meters)

    def spans(self, name=None):
        return [span for span in self._exporter.get_finished_spans() if name in {None, span.name}]

    def span(self, name):
        (span,) = self.spans(name)
        return span

    def metrics(self):
        """Each metric by name: its unit and its points."""
        data = self._reader.get_metrics_data()
        found = data.resource_metrics[0].scope_metrics[0].metrics if data else []
        return {metric.name: metric for metric in found}

    def points(self, name):
        """A metric's points: attributes (without the namespace) and value, a histogram's being its sum."""
        metric = self.metrics().get(name)
        return [
            (
                {key.removeprefix("transferkit."): value for key, value in point.attributes.items()},
                getattr(point, "sum", None) if hasattr(point, "sum") else point.value,
            )
            for point in (metric.data.data_points if metric else ())
        ]

    def close(self):
        self.tracers.shutdown()
        self._meters.shutdown()


def post(*signals, delivery="d-1", call=CALL, time=TIME, reason=None, body=None, **request):
    """A request with a callback of the fake."""
    content = callbacks.body(*signals, delivery=delivery, call=call, time=time, reason=reason)
    return callbacks.post(content if body is None else body, **request)


def links(span):
    """The trace and span ids that a span links to."""
    return [(link.context.trace_id, link.context.span_id) for link in span.links]


def place(span):
    """The trace and span id of a span."""
    return span.context.trace_id, span.context.span_id


def parent(span):
    """The trace and span id of the parent, or None."""
    return span.parent and (span.parent.trace_id, span.parent.span_id)
