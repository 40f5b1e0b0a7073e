"""LLMService: "run this model", in one manifest. The one source of its defaults, validation and CRD schema."""

from datetime import UTC, datetime, timedelta
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from cronsim import CronSim, CronSimError
from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hearth.api.base import (
    MAX_ITEMS,
    ApiModel,
    Count,
    DnsLabel,
    Namespace,
    ObjectMeta,
    ObjectName,
    Positive,
    Resource,
    SecretRef,
    Value,
    cel,
    refuse,
)
from hearth.api.key import ServiceKey
from hearth.api.modelsource import SHAPES, URI_PATTERN, ModelURI, parse_model_uri
from hearth.api.quantity import Duration, Quantity, format_duration
from hearth.api.status import LLMServiceStatus
from hearth.api.template import PodTemplate

# Fields that api.md names and this release cannot serve yet. They are refused by name, never accepted and ignored.
NOT_BUILT: dict[str, str] = {
    "spec.model.catalogRef": "there is no catalog; write the model's uri in spec.model.source",
    "spec.endpoint.authentication": "keys are not checked yet; restrict access with a NetworkPolicy or a gateway",
    "spec.failover": "requests are never sent outside the cluster",
}

MAX_STABILIZATION = timedelta(hours=1)  # autoscaling/v2: stabilizationWindowSeconds is at most 3600.


def _model_uri(value: str) -> str:
    try:
        parse_model_uri(value)
    except ValueError as error:
        refuse("", value, str(error))
    return value


def _cron(value: str) -> str:
    if len(value.split()) != 5:
        refuse("", value, "expected five cron fields, such as '0 8 * * 1-5'")
    try:
        CronSim(value, datetime(2026, 1, 1, tzinfo=UTC))
    except CronSimError as error:
        refuse("", value, f"expected five cron fields, such as '0 8 * * 1-5' ({error})")
    return value


def _timezone(value: str) -> str:
    if value not in available_timezones():
        refuse("", value, "expected an IANA time zone, such as Europe/Berlin or UTC")
    return value


def _metric(value: object) -> object:
    if value == "kvCacheUtil":
        refuse("", value, "scaling on kvCacheUtil is not built yet; allowed: 'queueDepth'")
    return value


# What CEL can say of each; the controller's validation says the rest.
ModelUriText = Annotated[
    str,
    Field(max_length=1024),
    AfterValidator(_model_uri),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                {"rule": f"self.matches('{URI_PATTERN}')", "message": f"expected one of {SHAPES}"}
            ],
        }
    ),
]
Cron = Annotated[
    str,
    Field(max_length=128),
    AfterValidator(_cron),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": r"self.matches('^\\S+( \\S+){4}$')",
                    "message": "expected five cron fields, such as '0 8 * * 1-5'",
                }
            ],
        }
    ),
]
TimeZone = Annotated[str, Field(max_length=64), AfterValidator(_timezone)]


class ModelSource(ApiModel):
    """Where the weights come from."""

    uri: ModelUriText = Field(
        description="hf:// huggingface:// or modelscope:// org/name[@revision]; pvc://claim/sub/path; "
        "oci://image (an image volume); s3://bucket/prefix (the engine streams it)."
    )
    secret_ref: SecretRef | None = Field(
        None, description="Secret with the hub's token (key `token`) or the bucket's keys (as environment variables)."
    )

    @property
    def parsed(self) -> ModelURI:
        return parse_model_uri(self.uri)


class Model(ApiModel):
    """The model to serve."""

    source: ModelSource


class RuntimeSelector(ApiModel):
    """Which InferenceRuntimes may serve the model."""

    vendor: list[Annotated[str, Field(min_length=1, max_length=63)]] = Field(
        min_length=1,
        max_length=16,
        description="Accelerator vendors in order of preference; the first that the cluster has nodes for is taken.",
    )


class RuntimeChoice(ApiModel):
    """Which InferenceRuntime serves the model: one by name, or the best by selector."""

    model_config = cel(("has(self.name) != has(self.selector)", "give exactly one of name and selector"))

    name: ObjectName | None = Field(None, description="One InferenceRuntime by name.")
    selector: RuntimeSelector | None = Field(None, description="Choose by vendor, then by the runtime's priority.")
    args_override: list[Value] = Field(
        default_factory=list, max_length=MAX_ITEMS, description="Engine arguments, added last."
    )

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.name is None) == (self.selector is None):
            found = "both name and selector" if self.name else "neither name nor selector"
            refuse("", found, "give exactly one of name and selector")
        return self


class Fraction(ApiModel):
    """A share of one device, on vendors whose runtime declares sharing."""

    memory: Quantity | None = Field(None, description="Device memory, such as 8Gi.")
    cores: int | None = Field(None, ge=1, le=100, description="Percent of the device's compute.")


class Resources(ApiModel):
    """What one replica gets."""

    model_config = cel(
        (
            "!has(self.fraction) || self.accelerators == 1",
            "accelerators: with a fraction it must be 1, since that is a share of one device",
        )
    )

    accelerators: int = Field(1, ge=0, le=64, description="Devices per replica.")
    cpu: Quantity | None = Field(None, description="CPU request; the runtime's where not given.")
    memory: Quantity | None = Field(None, description="Memory request; the runtime's where not given.")
    fraction: Fraction | None = Field(None, description="A share of a device instead of whole ones.")

    @model_validator(mode="after")
    def _fraction_of_one(self) -> Self:
        if self.fraction is not None and self.accelerators != 1:
            refuse("accelerators", self.accelerators, "a fraction is a share of 1 accelerator")
        return self


class Schedule(ApiModel):
    """A time window in which replicas are kept warm (KEDA's cron trigger)."""

    model_config = cel(("self.start != self.end", "end: expected another time than start"))

    start: Cron = Field(description="When the window opens, in cron notation.")
    end: Cron = Field(description="When it closes, in cron notation.")
    timezone: TimeZone = Field("UTC", description="IANA time zone.")
    replicas: Positive = Field(1, description="Replicas in the window.")

    @model_validator(mode="after")
    def _window(self) -> Self:
        if self.start == self.end:
            refuse("end", self.end, "expected another time than start")
        return self


class Scaling(ApiModel):
    """When replicas come and go. KEDA and the HPA do the counting."""

    model_config = cel(
        (
            "self.min <= self.max",
            "min: must be at most max",
        ),
        (
            "duration(self.scaleDownStabilization) <= duration('1h')",
            "'scaleDownStabilization: found ' + self.scaleDownStabilization + '; must be at most 1h'",
        ),
        (
            "duration(self.activationTimeout) >= duration('1s')",
            "'activationTimeout: found ' + self.activationTimeout + '; must be at least 1s'",
        ),
        (
            "self.schedules.all(s, s.replicas <= self.max)",
            "schedules: replicas must be at most max",
        ),
    )

    min: Count = Field(0, description="Replicas that stay without demand; 0 is the point of Hearth.")
    max: Positive = Field(1, description="Replicas at the most.")
    metric: Annotated[Literal["queueDepth"], BeforeValidator(_metric)] = Field(
        "queueDepth", description="What is scaled on: requests waiting and in flight over all activators."
    )
    target: Positive = Field(10, description="The metric's value per replica.")
    activation_timeout: Duration = Field(timedelta(minutes=5), description="How long a request is held.")
    scale_down_stabilization: Duration = Field(
        timedelta(minutes=5), description="Silence before a replica goes; at most 1h."
    )
    drain_timeout: Duration = Field(timedelta(minutes=2), description="What a replica gets to finish its streams.")
    schedules: list[Schedule] = Field(
        default_factory=list, max_length=32, description="Windows in which replicas are kept warm."
    )

    @model_validator(mode="after")
    def _bounds(self) -> Self:
        if self.min > self.max:
            refuse("min", self.min, f"must be at most max ({self.max})")
        if self.scale_down_stabilization > MAX_STABILIZATION:
            refuse("scaleDownStabilization", format_duration(self.scale_down_stabilization), "must be at most 1h")
        if self.activation_timeout < timedelta(seconds=1):
            refuse("activationTimeout", format_duration(self.activation_timeout), "must be at least 1s")
        for index, schedule in enumerate(self.schedules):
            if schedule.replicas > self.max:
                refuse(f"schedules[{index}].replicas", schedule.replicas, f"must be at most max ({self.max})")
        return self


class Cache(ApiModel):
    """Where downloaded weights are kept between starts."""

    model_config = cel(
        (
            "!self.prewarm || self.strategy in ['NodeLocalPVC', 'SharedPVC']",
            "'prewarm: needs strategy NodeLocalPVC or SharedPVC; ' + self.strategy + ' has no claim to fill'",
        )
    )

    strategy: Literal["NodeLocalPVC", "HostPath", "SharedPVC", "None", "BakedImage"] = Field(
        "NodeLocalPVC", description="BakedImage: the model is in the image and nothing is downloaded."
    )
    size: Quantity = Field("50Gi", description="Size of the volume claim.")
    storage_class_name: ObjectName | None = Field(None, description="The cluster's default where not given.")
    prewarm: bool = Field(False, description="A Job downloads the model before the first request.")

    @model_validator(mode="after")
    def _prewarm_needs_a_volume(self) -> Self:
        if self.prewarm and self.strategy not in ("NodeLocalPVC", "SharedPVC"):
            refuse("prewarm", True, f"needs strategy NodeLocalPVC or SharedPVC; {self.strategy} has no claim to fill")
        return self


Progress = Literal["chunk", "comment", "reasoning", "event"]
"""What a sign of life looks like to a streaming client."""


class ColdStart(ApiModel):
    """What a client sees while the model comes up."""

    model_config = cel(
        (
            "duration(self.heartbeatInterval) >= duration('100ms')",
            "'heartbeatInterval: found ' + self.heartbeatInterval + '; must be at least 100ms'",
        )
    )

    mode: Literal["keepalive", "reject"] = Field(
        "keepalive", description="keepalive: hold the request; reject: 503 with Retry-After at once, and start."
    )
    heartbeat_interval: Duration = Field(timedelta(seconds=10), description="Time between two signs of life.")
    whitespace_after: Duration = Field(
        timedelta(seconds=25),
        description="Non-streaming requests: silence before the first keep-alive byte; 0s: always silent.",
    )
    progress: Progress = Field(
        "chunk",
        description="How a streaming client of /v1/chat/completions or /v1/completions learns of the wait: chunk (an "
        "empty chunk, which every client that was tried reads; its field `hearth` has phase, elapsed, eta), comment (a "
        "line that the SSE standard tells clients to skip, and some do not), reasoning (chat completions: "
        "reasoning_content deltas that chat UIs show), event (a named event, hearth.status). Other paths get comments, "
        "/v1/messages gets pings. docs/clients.md says which client reads what.",
    )

    @model_validator(mode="after")
    def _beats(self) -> Self:
        if self.heartbeat_interval < timedelta(milliseconds=100):
            refuse("heartbeatInterval", format_duration(self.heartbeat_interval), "must be at least 100ms")
        return self


class Endpoint(ApiModel):
    """How the service is reached."""

    open_ai_compatible: bool = Field(
        True, alias="openAICompatible", description="False: not listed in /v1/models, reached by Host or path alone."
    )
    cold_start: ColdStart = Field(default_factory=ColdStart)
    max_queue: Positive = Field(
        1000, description="Requests that one activator admits at a time, waiting and in flight; over it 429."
    )
    concurrency: Positive = Field(256, description="Requests that one activator sends to one replica at a time.")
    balancing: Literal["leastOutstanding", "prefix"] = Field(
        "leastOutstanding",
        description="leastOutstanding: the replica with the fewest requests; prefix: the one that has seen what the "
        "prompt begins with, so that engines' prefix caches hit, unless it has too many.",
    )


class LLMServiceSpec(ApiModel):
    model: Model
    runtime: RuntimeChoice
    resources: Resources = Field(default_factory=Resources)
    scaling: Scaling = Field(default_factory=Scaling)
    cache: Cache = Field(default_factory=Cache)
    endpoint: Endpoint = Field(default_factory=Endpoint)
    image_pull_secrets: list[SecretRef] = Field(
        default_factory=list, max_length=16, description="Secrets of the registries that the engine's image comes from."
    )
    template: PodTemplate | None = Field(None)


class LLMServiceMeta(ObjectMeta):
    name: DnsLabel
    namespace: Namespace = "default"


class LLMService(Resource):
    """A model that is served on demand."""

    model_config = cel(
        (
            "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name: expected a DNS label: at most 63 of a-z, 0-9 and '-', beginning with a letter",
        )
    )

    kind: Literal["LLMService"] = "LLMService"
    metadata: LLMServiceMeta
    spec: LLMServiceSpec
    status: LLMServiceStatus | None = None

    @property
    def key(self) -> ServiceKey:
        return ServiceKey(self.metadata.namespace, self.metadata.name)
