"""OpenTelemetry traces of requests: an optional extra (`pip install hearth[otel]`), off unless an endpoint is given.

A SERVER span for the request, from its admission to its last byte. In it, for each time that it stood in line, a span
`wait`; and for each replica that was asked a CLIENT span by the conventions for calls of models, with connect, first
byte and stream in it. W3C trace context is taken from the client, and the engine is given the CLIENT span's, so that an
engine that traces (vLLM does) adds its own below it. What OpenTelemetry's environment variables say of the service,
OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, comes first.

https://opentelemetry.io/docs/specs/semconv/http/http-spans/
https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, set_span_in_context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from opentelemetry.util.types import Attributes

from hearth import __version__
from hearth.activator.journeys import Journey
from hearth.activator.paths import operation_of, route_of

_SERVER, _CLIENT, _WAITS_SINCE = "server", "client", "waits since"
_PROVIDER = "hearth"
"""gen_ai.provider.name: whose engine it is, a client of the activator need not know."""


class Tracing:
    """An observer that sends spans to an OTLP/HTTP receiver at `url`, such as http://collector:4318/v1/traces."""

    def __init__(self, url: str) -> None:
        exporter = OTLPSpanExporter(url, timeout=5)
        own = Resource.create({"service.name": "hearth-activator", "service.version": __version__})
        self._provider = TracerProvider(resource=own.merge(OTELResourceDetector().detect()), shutdown_on_exit=False)
        self._provider.add_span_processor(BatchSpanProcessor(exporter))
        self._tracer = self._provider.get_tracer("hearth.activator", __version__)
        self._propagator = TraceContextTextMapPropagator()

    def close(self) -> None:
        """Send what is left. Blocks for as long as that takes; call it off the event loop."""
        self._provider.shutdown()

    def begin(self, journey: Journey) -> None:
        given = {
            name.decode(): value.decode("latin-1")
            for name, value in journey.headers
            if name in (b"traceparent", b"tracestate")
        }
        route = route_of(journey.path, journey.prefix)
        server = self._tracer.start_span(
            f"{journey.method} {route}",
            context=self._propagator.extract(given),
            kind=SpanKind.SERVER,
            start_time=journey.arrived,
            attributes={
                "http.request.method": journey.method,
                "http.route": route,
                "url.path": f"{journey.prefix}{journey.path}",
                "url.scheme": journey.scheme,
                **_ours(journey),
            },
        )
        journey.notes |= {_SERVER: server, _WAITS_SINCE: journey.arrived}

    def sent(self, journey: Journey) -> None:
        server: Span = journey.notes[_SERVER]
        self._part("wait", server, journey.notes.pop(_WAITS_SINCE), journey.sent)
        operation, model = operation_of(journey.path), journey.service.partition("/")[2]
        host, _, port = journey.address.rpartition(":")
        attributes: Attributes = {
            "http.request.method": journey.method,
            "server.address": host.strip("[]"),
            "server.port": int(port),
            **({"http.request.resend_count": journey.retries} if journey.retries else {}),
            **(
                {"gen_ai.operation.name": operation, "gen_ai.provider.name": _PROVIDER, "gen_ai.request.model": model}
                if operation is not None
                else {}
            ),
            **_ours(journey),
        }
        client = self._tracer.start_span(
            f"{operation} {model}" if operation is not None else journey.method,
            context=set_span_in_context(server),
            kind=SpanKind.CLIENT,
            start_time=journey.sent,
            attributes=attributes,
        )
        journey.notes[_CLIENT] = client
        outgoing: dict[str, str] = {}
        self._propagator.inject(outgoing, set_span_in_context(client))
        journey.traceparent = outgoing["traceparent"].encode() if "traceparent" in outgoing else None

    def failed(self, journey: Journey, why: str) -> None:
        client: Span = journey.notes.pop(_CLIENT)
        _fail(client, why)
        journey.notes[_WAITS_SINCE] = now = journey.now()
        client.end(now)

    def over(self, journey: Journey) -> None:
        server: Span = journey.notes.pop(_SERVER)
        client: Span | None = journey.notes.pop(_CLIENT, None)
        broken = journey.outcome in ("broken", "stopped")
        if client is None:
            self._part("wait", server, journey.notes.pop(_WAITS_SINCE), journey.over)
        else:
            self._client_over(client, journey, broken=broken)
        server.set_attribute("http.response.status_code", journey.status)
        server.set_attribute("hearth.outcome", journey.outcome)
        server.set_attribute("hearth.retries", journey.retries)
        # What a client did wrong is no error of the one that serves it.
        if journey.status >= 500 or broken:
            _fail(server, journey.outcome if broken else str(journey.status))
        server.end(journey.over)

    def _client_over(self, client: Span, journey: Journey, *, broken: bool) -> None:
        """The replica that was asked last has answered, or the client left, or the end came first."""
        parts = {
            "connect": (journey.sent, journey.connected),
            "first byte": (journey.connected, journey.first_byte),
            "stream": (journey.first_byte, journey.over),
        }
        for name, (begin, end) in parts.items():
            if begin:
                self._part(name, client, begin, end or journey.over)
        if journey.outcome == "answered":
            client.set_attribute("http.response.status_code", journey.status)
        if journey.outcome == "answered" and journey.status >= 400:
            _fail(client, str(journey.status))
        elif journey.outcome not in ("answered", "left"):
            _fail(client, journey.outcome)
        client.end(journey.over)

    def _part(self, name: str, parent: Span, begin: int, end: int) -> None:
        self._tracer.start_span(name, context=set_span_in_context(parent), start_time=begin).end(end)


def _ours(journey: Journey) -> dict[str, str | bool]:
    return {"hearth.service": journey.service, "hearth.request_id": journey.request_id, "hearth.stream": journey.stream}


def _fail(span: Span, kind: str) -> None:
    """`kind`: a status, or one word for what happened, of which there are few."""
    span.set_attribute("error.type", kind)
    span.set_status(Status(StatusCode.ERROR))
