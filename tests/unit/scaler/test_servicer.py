"""The servicer's logic, driven by grpcio-testing: what each call answers, without a socket."""

import asyncio
from typing import Any, NoReturn

import grpc
import grpc_testing
import pytest
from prometheus_client import CollectorRegistry

from hearth.api.key import ServiceKey
from hearth.proto import externalscaler_pb2 as pb
from hearth.scaler.metrics import ScalerMetrics
from hearth.scaler.picture import DemandPicture, Figures
from hearth.scaler.pulses import Pulses
from hearth.scaler.servicer import MAX_TARGET, ExternalScaler, InvalidTrigger, parse_trigger

SERVICE = pb.DESCRIPTOR.services_by_name["ExternalScaler"]
ACTIVATOR = "10.0.0.1:9091"


class _Context:
    """grpcio-testing has no asyncio side: this is a grpc.aio context over its synchronous one."""

    def __init__(self, context: grpc.ServicerContext) -> None:
        self._context = context

    async def abort(self, code: grpc.StatusCode, details: str) -> NoReturn:
        self._context.abort(code, details)


class _Synchronous:
    """Our servicer as grpcio-testing calls it: in a thread of its own, blocking."""

    def __init__(self, servicer: ExternalScaler) -> None:
        self._servicer = servicer

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._servicer, name)
        return lambda request, context: asyncio.run(method(request, _Context(context)))


class Call:
    """A scaler at 100 s of its clock, with one activator heard then."""

    def __init__(self, **figures: Figures) -> None:
        self.picture = DemandPicture()
        self.picture.list_activators({ACTIVATOR: "ready"}, 0.0)
        self.picture.hear(
            ACTIVATOR, {ServiceKey("ai", name): value for name, value in figures.items()}, snapshot=True, now=100.0
        )
        self.now = 100.0
        pulses = Pulses(lambda: self.now)
        self.registry = CollectorRegistry()
        metrics = ScalerMetrics(self.registry, self.picture, pulses, lambda: self.now)
        servicer = ExternalScaler(self.picture, pulses, metrics, clock=lambda: self.now)
        self._server = grpc_testing.server_from_dictionary(
            {SERVICE: _Synchronous(servicer)}, grpc_testing.strict_real_time()
        )

    def __call__(self, method: str, request: Any) -> tuple[Any, grpc.StatusCode, str]:
        """(answer, status code, details) of a unary call."""
        rpc = self._server.invoke_unary_unary(SERVICE.methods_by_name[method], (), request, 5)
        answer, _, code, details = rpc.termination()
        return answer, code, details


def ref(name: str = "qwen", **metadata: str) -> pb.ScaledObjectRef:
    return pb.ScaledObjectRef(name=name, namespace="ai", scalerMetadata={"target": "5", **metadata})


def metrics_of(reference: pb.ScaledObjectRef, metric: str = "queueDepth") -> pb.GetMetricsRequest:
    return pb.GetMetricsRequest(scaledObjectRef=reference, metricName=metric)


@pytest.mark.parametrize(
    ("figures", "active"),
    [
        (Figures(), False),
        (Figures(waiting=1), True),
        (Figures(in_flight=1), True),
        (Figures(lease=True), True),
        (Figures(requests=1), False),
    ],
)
def test_active_is_waiting_in_flight_or_a_lease(figures: Figures, active: bool) -> None:
    answer, code, _ = Call(qwen=figures)("IsActive", ref())
    assert (answer.result, code) == (active, grpc.StatusCode.OK)


def test_a_service_that_nobody_asked_for_is_not_active() -> None:
    answer, code, _ = Call()("IsActive", ref("other"))
    assert (answer.result, code) == (False, grpc.StatusCode.OK)


def test_the_metric_is_the_queue_depth() -> None:
    answer, _, _ = Call(qwen=Figures(waiting=3, in_flight=4, lease=True))("GetMetrics", metrics_of(ref()))
    (value,) = answer.metricValues
    assert (value.metricName, value.metricValue, value.metricValueFloat) == ("queueDepth", 7, 7.0)


def test_what_keda_was_told_is_a_metric() -> None:
    call = Call(qwen=Figures(waiting=3, in_flight=4))
    call("GetMetrics", metrics_of(ref(target="2.5")))
    labels = {"namespace": "ai", "service": "qwen"}
    assert call.registry.get_sample_value("hearth_scaler_told_queue_depth", labels) == 7.0
    assert call.registry.get_sample_value("hearth_scaler_target", labels) == 2.5


def test_a_metric_without_a_name_is_the_only_one() -> None:
    answer, code, _ = Call(qwen=Figures(waiting=3))("GetMetrics", metrics_of(ref(), ""))
    assert (answer.metricValues[0].metricValue, code) == (3, grpc.StatusCode.OK)


def test_a_target_below_one_is_not_rounded_down_to_none() -> None:
    answer, _, _ = Call()("GetMetricSpec", ref(target="0.25"))
    (spec,) = answer.metricSpecs
    assert (spec.targetSize, spec.targetSizeFloat) == (1, 0.25)


def test_the_largest_target_is_taken_and_one_more_is_not() -> None:
    assert parse_trigger(ref(target=str(MAX_TARGET))).target == MAX_TARGET
    assert parse_trigger(ref(target="0.001")).target == 0.001
    with pytest.raises(InvalidTrigger, match="at most 2147483647"):
        parse_trigger(ref(target=str(MAX_TARGET + 1)))


def test_the_scaledobjects_own_name_stands_in_for_each() -> None:
    assert parse_trigger(ref("own")).key == ("ai", "own")
    assert parse_trigger(ref("own", namespace="other")).key == ("other", "own")
    named = pb.ScaledObjectRef(name="own", namespace="ai", scalerMetadata={"target": "1", "name": "qwen"})
    assert parse_trigger(named).key == ("ai", "qwen")


@pytest.mark.parametrize("missing", ["name", "namespace"])
def test_each_of_the_names_is_needed(missing: str) -> None:
    reference = ref()
    reference.ClearField(missing)  # type: ignore[arg-type]
    with pytest.raises(InvalidTrigger, match="no namespace or no name"):
        parse_trigger(reference)


def test_what_was_found_is_told_back_in_part() -> None:
    with pytest.raises(InvalidTrigger) as raised:
        parse_trigger(ref(target="9" * 79 + "x" * 10_000))
    assert "9" * 79 + "x'" in str(raised.value)
    assert len(str(raised.value)) < 300


def test_the_spec_has_the_triggers_target() -> None:
    answer, _, _ = Call()("GetMetricSpec", ref(target="2.5"))
    (spec,) = answer.metricSpecs
    assert (spec.metricName, spec.targetSize, spec.targetSizeFloat) == ("queueDepth", 2, 2.5)


def test_the_triggers_metadata_names_the_service() -> None:
    call = Call(qwen=Figures(waiting=1))
    other = pb.ScaledObjectRef(
        name="scaler-of-qwen", namespace="keda", scalerMetadata={"target": "1", "namespace": "ai", "name": "qwen"}
    )
    answer, _, _ = call("IsActive", other)
    assert answer.result is True


@pytest.mark.parametrize(("method", "request_of"), [("IsActive", lambda r: r), ("GetMetrics", metrics_of)])
def test_blind_is_an_error_and_not_zero(method: str, request_of: Any) -> None:
    call = Call()
    call.now = 200.0
    _, code, details = call(method, request_of(ref()))
    assert code is grpc.StatusCode.UNAVAILABLE
    assert ACTIVATOR in details
    assert call.registry.get_sample_value("hearth_scaler_blind_answers_total") == 1.0


@pytest.mark.parametrize("target", ["", "many", "0", "-1", "nan", "inf"])
@pytest.mark.parametrize("method", ["IsActive", "GetMetricSpec"])
def test_a_target_that_is_no_number_above_zero_is_refused(method: str, target: str) -> None:
    _, code, details = Call()(method, ref(target=target))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert f"target: found {target!r}" in details
    assert "ScaledObject ai/qwen" in details


def test_another_metric_is_refused_by_name() -> None:
    _, code, details = Call()("GetMetrics", metrics_of(ref(), "s0-other"))
    assert code is grpc.StatusCode.INVALID_ARGUMENT
    assert "'s0-other'" in details


def test_a_reference_without_names_is_refused() -> None:
    with pytest.raises(InvalidTrigger, match="no namespace or no name"):
        parse_trigger(pb.ScaledObjectRef(scalerMetadata={"target": "1"}))


class _Streaming:
    """A grpc.aio context of a stream that notes the head."""

    def __init__(self) -> None:
        self.heads = 0

    async def send_initial_metadata(self, metadata: Any) -> None:
        self.heads += 1


async def test_a_push_is_measured_from_the_change_that_caused_it() -> None:
    now = 100.0
    picture = DemandPicture()
    pulses = Pulses(lambda: now)
    registry = CollectorRegistry()
    scaler = ExternalScaler(picture, pulses, ScalerMetrics(registry, picture, pulses, lambda: now), lambda: now)
    context: Any = _Streaming()
    stream = scaler.StreamIsActive(ref(), context)
    pushed = asyncio.ensure_future(anext(stream))
    async with asyncio.timeout(5):
        while not pulses.listeners(ServiceKey("ai", "qwen")):
            await asyncio.sleep(0)
        pulses.pulse([ServiceKey("ai", "qwen")])
        assert (await pushed).result
        now = 102.0
        pulses.close()
        with pytest.raises(StopAsyncIteration):
            await anext(stream)
    assert context.heads == 1, "who is blind says nothing of the state, but that it listens"
    assert registry.get_sample_value("hearth_scaler_push_seconds_sum") == 2.0
    assert pulses.listeners(ServiceKey("ai", "qwen")) == 0
