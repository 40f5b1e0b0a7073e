"""OpenTelemetry traces of requests: an optional extra (`pip install hearth[otel]`), off unless an endpoint is given.

One span for the request, from its admission to its last byte, and in it: wait, connect, first byte, stream. W3C trace
context is taken from the client and given to the engine, so that an engine that traces (vLLM does) adds its own.
https://opentelemetry.io/docs/specs/semconv/http/http-spans/
"""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from hearth import __version__
from hearth.activator.journeys import Journey

_SPAN = "span"


class Tracing:
    """An observer that sends spans to an OTLP/HTTP receiver at `endpoint`, such as http://collector:4318."""

    def __init__(self, endpoint: str) -> None:
        exporter = OTLPSpanExporter(f"{endpoint.rstrip('/')}/v1/traces", timeout=5)
        resource = Resource.create({"service.name": "hearth-activator", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("hearth.activator")
        self._propagator = TraceContextTextMapPropagator()

    def close(self) -> None:
        """Send what is left. Blocks for as long as that takes; call it off the event loop."""
        self._provider.shutdown()

    def begin(self, journey: Journey) -> None:
        carrier = {
            name.decode(): value.decode("latin-1")
            for name, value in journey.headers
            if name in (b"traceparent", b"tracestate")
        }
        span = self._tracer.start_span(
            f"{journey.method} {journey.path}",
            context=self._propagator.extract(carrier),
            kind=SpanKind.SERVER,
            start_time=journey.arrived,
            attributes={
                "http.request.method": journey.method,
                "url.path": journey.path,
                "gen_ai.request.model": journey.model or "",
                "hearth.service": journey.service,
                "hearth.request_id": journey.request_id,
            },
        )
        journey.notes[_SPAN] = span
        outgoing: dict[str, str] = {}
        self._propagator.inject(outgoing, set_span_in_context(span))
        if "traceparent" in outgoing:
            journey.traceparent = outgoing["traceparent"].encode()

    def over(self, journey: Journey) -> None:
        span: Span = journey.notes.pop(_SPAN)
        parts = {
            "wait": (journey.arrived, journey.sent),
            "connect": (journey.sent, journey.connected),
            "first byte": (journey.connected, journey.first_byte),
            "stream": (journey.first_byte, journey.over),
        }
        parent = set_span_in_context(span)
        for name, (begin, end) in parts.items():
            if begin and (end := end or journey.over):
                self._tracer.start_span(name, context=parent, start_time=begin).end(end)
        span.set_attribute("http.response.status_code", journey.status)
        span.set_attribute("server.address", journey.address)
        span.set_attribute("hearth.outcome", journey.outcome)
        span.set_attribute("hearth.retries", journey.retries)
        if journey.outcome not in ("answered", "left") or journey.status >= 500:
            span.set_status(Status(StatusCode.ERROR, journey.outcome))
        span.end(journey.over)
