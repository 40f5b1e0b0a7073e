"""LLMService: "run this model", in one manifest. The one source of its defaults, validation and CRD schema."""

from datetime import timedelta
from typing import Annotated, Literal, Self
from zoneinfo import available_timezones

from pydantic import AfterValidator, BeforeValidator, Field, model_validator

from hearth.api.base import (
    MAX_ITEMS,
    ApiModel,
    Count,
    DnsLabel,
    Matches,
    Namespace,
    ObjectMeta,
    ObjectName,
    Positive,
    Resource,
    SecretKey,
    SecretRef,
    Value,
    cel,
    refuse,
)
from hearth.api.cron import ASCENDING, ASCENDING_CEL, RULES, cron_problem, plain, plain_cel
from hearth.api.cron import MAX_TEXT as MAX_CRON
from hearth.api.key import ServiceKey
from hearth.api.keys import DEFAULT_KEYS_ENTRY
from hearth.api.modelsource import SHAPES, UP_PATTERN, UP_PROBLEM, URI_PATTERN, ModelURI, parse_model_uri
from hearth.api.names import ENGINE_SUFFIX
from hearth.api.quantity import Cpu, Duration, Quantity, format_duration
from hearth.api.status import LLMServiceStatus
from hearth.api.template import PodTemplate

# Fields that api.md names and this release cannot serve yet. They are refused by name, never accepted and ignored.
NOT_BUILT: dict[str, str] = {
    "spec.model.catalogRef": "there is no catalog; write the model's uri in spec.model.source",
    "spec.endpoint.resources": "one activator serves all LLMServices; its resources are those of its Deployment",
    "spec.scaling.externalScaler": "KEDA's way to the scaler is the same for all; restrict it with a NetworkPolicy",
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
    if problem := cron_problem(value):
        refuse("", value, problem)
    return value


# Go takes these for zones too, and means by them whatever the machine has.
_MACHINES_OWN = ("Local", "localtime", "posix", "right/")
_ANY_ZONE = "expected an IANA time zone, such as Europe/Berlin or UTC"


def _timezone(value: str) -> str:
    if value.startswith(_MACHINES_OWN) or value not in available_timezones():
        refuse("", value, _ANY_ZONE)
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
                {"rule": f"self.matches(r'{URI_PATTERN}')", "message": f"expected one of {SHAPES}"},
                {"rule": f"!self.matches('{UP_PATTERN}')", "message": UP_PROBLEM},
            ],
        }
    ),
]
Cron = Annotated[
    str,
    Field(max_length=MAX_CRON),
    AfterValidator(_cron),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                *({"rule": rule.cel, "message": rule.allowed} for rule in RULES),
                {"rule": ASCENDING_CEL, "message": ASCENDING},
            ],
        }
    ),
]
TimeZone = Annotated[
    str,
    Field(min_length=1, max_length=64),
    Matches("^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$", _ANY_ZONE.removeprefix("expected ")),
    AfterValidator(_timezone),
    Field(
        json_schema_extra={
            "x-kubernetes-validations": [
                {
                    "rule": " && ".join(f"!self.startsWith('{name}')" for name in _MACHINES_OWN),
                    "message": _ANY_ZONE,
                },
                # CEL asks Go, which has the zones that the API server needs for CronJobs. An error is a refusal.
                {"rule": "timestamp('2026-01-01T00:00:00Z').getHours(self) >= 0", "message": _ANY_ZONE},
            ],
        }
    ),
]


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
    cpu: Cpu | None = Field(None, description="CPU request, such as 4, 0.5 or 500m; the runtime's where not given.")
    memory: Quantity | None = Field(None, description="Memory request; the runtime's where not given.")
    fraction: Fraction | None = Field(None, description="A share of a device instead of whole ones.")

    @model_validator(mode="after")
    def _fraction_of_one(self) -> Self:
        if self.fraction is not None and self.accelerators != 1:
            refuse("accelerators", self.accelerators, "a fraction is a share of 1 accelerator")
        return self


class Schedule(ApiModel):
    """A time window in which replicas are kept warm (KEDA's cron trigger)."""

    model_config = cel(
        (f"{plain_cel('self.start')} != {plain_cel('self.end')}", "end: expected another time than start")
    )

    start: Cron = Field(description="When the window opens, in cron notation.")
    end: Cron = Field(description="When it closes, in cron notation.")
    timezone: TimeZone = Field("UTC", description="IANA time zone.")
    replicas: Positive = Field(1, description="Replicas in the window.")

    @model_validator(mode="after")
    def _window(self) -> Self:
        if plain(self.start) == plain(self.end):
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


DEFAULT_CACHE_SIZE = "50Gi"


class Cache(ApiModel):
    """Where downloaded weights are kept between starts."""

    model_config = cel(
        (
            "!(has(self.prewarm) && self.prewarm) || self.strategy in ['NodeLocalPVC', 'SharedPVC']",
            "'prewarm: needs strategy NodeLocalPVC or SharedPVC; ' + self.strategy + ' has no claim to fill'",
        ),
        (
            "!has(self.storageClassName) || self.strategy in ['NodeLocalPVC', 'SharedPVC']",
            "'storageClassName: needs strategy NodeLocalPVC or SharedPVC; ' + self.strategy + ' has no claim'",
        ),
        (
            "!has(self.size) || !(self.strategy in ['HostPath', 'BakedImage'])",
            "'size: needs strategy NodeLocalPVC, SharedPVC or None; nothing bounds what ' + self.strategy + ' takes'",
        ),
    )

    strategy: Literal["NodeLocalPVC", "HostPath", "SharedPVC", "None", "BakedImage"] = Field(
        "NodeLocalPVC", description="BakedImage: the model is in the image and nothing is downloaded."
    )
    size: Quantity | None = Field(
        None,
        description=f"Size of the claim, or of strategy None's empty volume; {DEFAULT_CACHE_SIZE} where not given.",
    )
    storage_class_name: ObjectName | None = Field(None, description="The cluster's default where not given.")
    prewarm: bool | None = Field(
        None,
        description="A Job downloads the model before the first request. Where not given: on a SharedPVC, so that it "
        "has one writer, for a model that is downloaded.",
    )

    @property
    def volume_size(self) -> str:
        """How large the volume is that the strategy has, as a quantity."""
        return self.size or DEFAULT_CACHE_SIZE

    @model_validator(mode="after")
    def _what_the_strategy_has(self) -> Self:
        claim = self.strategy in ("NodeLocalPVC", "SharedPVC")
        if self.prewarm and not claim:
            refuse("prewarm", True, f"needs strategy NodeLocalPVC or SharedPVC; {self.strategy} has no claim to fill")
        if self.storage_class_name is not None and not claim:
            allowed = f"needs strategy NodeLocalPVC or SharedPVC; {self.strategy} has no claim"
            refuse("storageClassName", self.storage_class_name, allowed)
        if self.size is not None and self.strategy in ("HostPath", "BakedImage"):
            allowed = f"needs strategy NodeLocalPVC, SharedPVC or None; nothing bounds what {self.strategy} takes"
            refuse("size", self.size, allowed)
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
    max_per_hour: Positive | None = Field(
        None,
        description="Cold starts that requests at one activator may ask for in an hour; over it 429 until a replica is "
        "there for another reason. Where not given, any number.",
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


class KeysRef(SecretRef):
    """An entry of a Secret in the LLMService's namespace."""

    # No default in the CRD: it would stay behind, and nothing be taken, where server-side apply takes the rest away.
    key: SecretKey | None = Field(
        None, description=f"The Secret's entry: API keys, one a line; `{DEFAULT_KEYS_ENTRY}` where not given."
    )

    @property
    def entry(self) -> str:
        """The entry that is meant."""
        return self.key or DEFAULT_KEYS_ENTRY


class Authentication(ApiModel):
    """Who may use the service."""

    secret_ref: KeysRef = Field(
        description="API keys, one a line or `name=key`, with limits behind it; clients send one as bearer token or "
        "x-api-key. The controller lets activators read Secrets of the names that it is told, `hearth-api-keys` by "
        "default. docs/how-to/api-keys.md has it all."
    )


class Timeouts(ApiModel):
    """How long nothing may come of a request that a replica has. In front of a hung engine a request would stay for
    ever, and keep the replica."""

    first_byte: Duration = Field(
        timedelta(hours=1),
        description="From when a replica has the request to its answer's first byte; the whole answer, where it is not "
        "streamed. Then 504. 0s: never.",
    )
    idle: Duration = Field(
        timedelta(minutes=10),
        description="Between two pieces of an answer, whoever of replica and client is slow; then the answer is broken "
        "off. 0s: never.",
    )


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
    timeouts: Timeouts = Field(default_factory=Timeouts)
    balancing: Literal["leastOutstanding", "prefix"] = Field(
        "leastOutstanding",
        description="leastOutstanding: the replica with the fewest requests; prefix: the one that has seen what the "
        "prompt begins with, so that engines' prefix caches hit, unless it has too many.",
    )
    authentication: Authentication | None = Field(
        None,
        description="Whose requests are served; where not given, those of the activator's own keys (--api-keys), else "
        "everybody's.",
    )


class LLMServiceSpec(ApiModel):
    model_config = cel(
        (
            "!(has(self.cache.prewarm) && self.cache.prewarm) || self.model.source.uri.matches('^(hf|huggingface|modelscope)://')",
            "cache.prewarm: needs a source that is downloaded, hf:// or modelscope://",
        )
    )

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

    @model_validator(mode="after")
    def _prewarm_downloads(self) -> Self:
        if self.cache.prewarm and not self.model.source.parsed.hub:
            refuse("cache.prewarm", True, "needs a source that is downloaded, hf:// or modelscope://")
        return self


def _no_service_of_engines(value: str) -> str:
    if value.endswith(ENGINE_SUFFIX):
        refuse("", value, f"expected a name that does not end in {ENGINE_SUFFIX}: Services of engines do")
    return value


class LLMServiceMeta(ObjectMeta):
    name: Annotated[DnsLabel, AfterValidator(_no_service_of_engines)]
    namespace: Namespace = "default"


class LLMService(Resource):
    """A model that is served on demand."""

    model_config = cel(
        (
            "self.metadata.name.size() <= 63 && self.metadata.name.matches('^[a-z0-9]([-a-z0-9]*[a-z0-9])?$')",
            "metadata.name: expected a DNS label: at most 63 of a-z, 0-9 and '-', no '-' at its ends",
        ),
        (
            f"!self.metadata.name.endsWith('{ENGINE_SUFFIX}')",
            f"metadata.name: expected a name that does not end in {ENGINE_SUFFIX}: Services of engines do",
        ),
    )

    kind: Literal["LLMService"] = "LLMService"
    metadata: LLMServiceMeta
    spec: LLMServiceSpec
    status: LLMServiceStatus | None = None

    @property
    def key(self) -> ServiceKey:
        return ServiceKey(self.metadata.namespace, self.metadata.name)
