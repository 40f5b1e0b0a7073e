"""InferenceRuntime: how one vendor's accelerator runs one engine. Adding a vendor is adding such a manifest."""

import re
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, WithJsonSchema, model_validator

from hearth.api.base import (
    MAX_ITEMS,
    MAX_VALUE,
    MAX_WORD,
    ApiModel,
    Count,
    FreeForm,
    ImageName,
    Int32,
    Labels,
    LabelValue,
    Matches,
    ObjectName,
    PortNumber,
    Positive,
    QualifiedName,
    Resource,
    ResourceName,
    Value,
    Word,
    cel,
    refuse,
)
from hearth.api.quantity import Cpu, Quantity
from hearth.api.status import InferenceRuntimeStatus
from hearth.api.template import (
    ENGINE_PORT_ENV,
    ENV_ALLOWED,
    OWN_PATHS_RULE,
    PodTemplate,
    check_mount_path,
    listed,
    once,
    rule,
)

MAX_PATH = 1024

# Without a brace inside, so that any text is looked through in one pass.
PLACEHOLDER = re.compile(r"\{\{[ \t]*([^{}]*?)[ \t]*\}\}")
PLACEHOLDERS = (
    ".Model.Path",
    ".Model.Name",
    ".Service.Name",
    ".Service.Namespace",
    ".Resources.Accelerators",
    ".Scaling.DrainSeconds",
)


# Text whose every {{ begins a placeholder, as one expression, since the API server has to know it too.
_ONE = "[{][{][ \t]*(" + "|".join(name.replace(".", "[.]") for name in PLACEHOLDERS) + ")[ \t]*[}][}]"
TEMPLATE_PATTERN = "^([^{]|[{][^{]|[{]?" + _ONE + ")*[{]?$"
_TEMPLATE = re.compile(TEMPLATE_PATTERN)


def _known_placeholders(text: str) -> str:
    if not _TEMPLATE.fullmatch(text):
        allowed = ", ".join(f"{{{{ {known} }}}}" for known in PLACEHOLDERS)
        for name in PLACEHOLDER.findall(text):
            if name not in PLACEHOLDERS:
                refuse("", f"{{{{ {name} }}}}", f"unknown placeholder; allowed: {allowed}")
        begins = PLACEHOLDER.sub(" ", text).find("{{")
        found = PLACEHOLDER.sub(" ", text)[begins : begins + 40]
        refuse("", found, f"a placeholder that does not end, or braces in one; allowed: {allowed}")
    return text


Template = Annotated[
    str,
    Field(max_length=MAX_VALUE),
    AfterValidator(_known_placeholders),
    Field(json_schema_extra={"pattern": TEMPLATE_PATTERN}),
]
PortName = Annotated[
    str,
    Field(max_length=15),
    # IANA_SVC_NAME of RFC 6335: words of letters and digits with '-' between, and a letter somewhere.
    Matches(
        "^([0-9]+-)*[0-9]*[a-z][a-z0-9]*(-[a-z0-9]+)*$",
        "a port's name: at most 15 of a-z, 0-9 and single '-', a letter among them",
    ),
]
PortRef = PortNumber | PortName
"""A port by number or name."""
# Prometheus' own names; they also stand in the drain's shell script.
MetricName = Annotated[
    str,
    Field(max_length=MAX_WORD),
    Matches("^[A-Za-z_:][A-Za-z0-9_:]*$", "a metric's name: letters, digits, '_' and ':'"),
]
UrlPath = Annotated[
    str,
    Field(max_length=1024),
    Matches("^/[A-Za-z0-9/._~%?&=:@,;+-]*$", "a path that begins with '/', in the characters of URLs"),
]
_VOLUME_NAME = "[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?"


def _volume(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(name := value.get("name"), str) or not re.fullmatch(_VOLUME_NAME, name):
        refuse("name", name, "expected a DNS label: at most 63 of a-z, 0-9 and '-', no '-' at its ends")
    return value


def _mount(value: dict[str, Any]) -> dict[str, Any]:
    if not isinstance(path := value.get("mountPath"), str) or not 0 < len(path) <= MAX_PATH:
        refuse("mountPath", path, f"expected a path of at most {MAX_PATH} characters")
    check_mount_path(path)
    return _volume(value)


def _passed_on(**required: dict[str, Any]) -> WithJsonSchema:
    """The schema of a part that is passed on as it is, but for these fields."""
    return WithJsonSchema(
        {
            "type": "object",
            "properties": {name: {"type": "string", **schema} for name, schema in required.items()},
            "required": list(required),
            "x-kubernetes-preserve-unknown-fields": True,
        }
    )


_NAME_SCHEMA = {"description": "The volume's name.", "minLength": 1, "maxLength": 63, "pattern": f"^{_VOLUME_NAME}$"}
Volume = Annotated[FreeForm, AfterValidator(_volume), _passed_on(name=_NAME_SCHEMA)]
VolumeMount = Annotated[
    FreeForm,
    AfterValidator(_mount),
    _passed_on(
        name=_NAME_SCHEMA,
        mountPath={"description": "Where it is mounted.", "minLength": 1, "maxLength": MAX_PATH, **OWN_PATHS_RULE},
    ),
]


class EnvVar(ApiModel):
    """A Kubernetes EnvVar."""

    model_config = cel(("!has(self.value) || !has(self.valueFrom)", "give one of value and valueFrom"))

    name: Annotated[
        str,
        Field(
            min_length=1,
            max_length=256,
            description="The variable's name.",
            json_schema_extra=rule(f"self != '{ENGINE_PORT_ENV}'", ENV_ALLOWED),
        ),
        Matches("^[ -<>-~]+$", "a variable's name: printable ASCII without '='"),
    ]
    value: Template | None = Field(None, description="Its value; placeholders are substituted as in args.")
    value_from: FreeForm | None = Field(None, description="A Kubernetes EnvVarSource.")

    @model_validator(mode="after")
    def _not_ours(self) -> Self:
        if self.name == ENGINE_PORT_ENV:
            refuse("name", self.name, ENV_ALLOWED)
        return self

    @model_validator(mode="after")
    def _one_value(self) -> Self:
        if self.value is not None and self.value_from is not None:
            refuse("", "value and valueFrom", "give one of value and valueFrom")
        return self


class Port(ApiModel):
    name: PortName = Field("http", description="The port's name.")
    container_port: PortNumber = Field(8000, description="Where the engine listens.")


class Container(ApiModel):
    """The engine's container."""

    image: ImageName = Field(description="The engine's image.")
    command: list[Template] = Field(
        default_factory=list, max_length=MAX_ITEMS, description="The image's entry point where empty."
    )
    args: list[Template] = Field(
        default_factory=list,
        max_length=MAX_ITEMS,
        description="Arguments, with {{ .Model.Path }}, {{ .Model.Name }}, {{ .Service.Name }}, "
        "{{ .Service.Namespace }}, {{ .Resources.Accelerators }} and {{ .Scaling.DrainSeconds }} (the LLMService's "
        "scaling.drainTimeout in seconds) substituted.",
    )
    env: list[EnvVar] = Field(
        default_factory=list,
        max_length=MAX_ITEMS,
        description="Environment variables of the engine, each once.",
        json_schema_extra=listed("name"),
    )
    port: Port = Field(default_factory=Port, description="The port of the engine's OpenAI endpoint.")

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        once("env", "name", [variable.name for variable in self.env])
        return self

    @property
    def image_wanted(self) -> str:
        """What is wrong where the image stands for one that somebody has to give; "" where one is given.

        No registry can have a name under .invalid (RFC 6761): a runtime whose image is not public has one there.
        """
        host, slash, _ = self.image.partition("/")
        if not slash or not re.fullmatch(r"([^:]*\.)?invalid(:[0-9]+)?", host):
            return ""
        return f"spec.container.image: found {self.image!r}, which stands for an image that you have to give; set yours"


class SharingResources(ApiModel):
    """The extended resources that a fraction of a device is asked for with (such as HAMi's)."""

    memory: ResourceName | None = Field(None, description="Resource that counts device memory, in memoryUnit.")
    cores: ResourceName | None = Field(None, description="Resource that counts compute, coresPerDevice a device.")


class Sharing(ApiModel):
    model_config = cel(
        (
            "!self.supported || has(self.resourceNames.memory) || has(self.resourceNames.cores)",
            "resourceNames: sharing needs resourceNames.memory, resourceNames.cores or both",
        )
    )

    supported: bool = Field(False, description="Whether spec.resources.fraction may be asked for.")
    resource_names: SharingResources = Field(default_factory=SharingResources)
    memory_unit: Quantity = Field(
        "1Mi", description="How much memory one of resourceNames.memory is; what is asked for is rounded up to it."
    )
    cores_per_device: Annotated[int, Field(ge=1, le=65536)] = Field(
        100, description="How many of resourceNames.cores a whole device has; a share is rounded up to them."
    )

    @model_validator(mode="after")
    def _named(self) -> Self:
        names = self.resource_names
        if self.supported and names.memory is None and names.cores is None:
            refuse("resourceNames", {}, "sharing needs resourceNames.memory, resourceNames.cores or both")
        return self


class Toleration(ApiModel):
    """A Kubernetes Toleration."""

    model_config = cel(
        (
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            "operator: must be Exists without a key",
        ),
        (
            "!has(self.value) || self.value == '' || !has(self.operator) || self.operator != 'Exists'",
            "value: must be empty with operator Exists",
        ),
        (
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "effect: must be NoExecute with tolerationSeconds",
        ),
    )

    key: QualifiedName | None = Field(None, description="The taint's key; none: every key, with operator Exists.")
    operator: Literal["Exists", "Equal", "Lt", "Gt"] | None = Field(None, description="Equal where not given.")
    value: LabelValue | None = Field(None, description="The taint's value.")
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = Field(
        None, description="The taint's effect; none: all."
    )
    toleration_seconds: Int32 | None = Field(None, description="How long a NoExecute taint is tolerated.")

    @model_validator(mode="after")
    def _as_kubernetes_has_it(self) -> Self:
        if self.key is None and self.operator != "Exists":
            refuse("operator", self.operator, "must be Exists without a key")
        if self.value and self.operator == "Exists":
            refuse("value", self.value, "must be empty with operator Exists")
        if self.toleration_seconds is not None and self.effect != "NoExecute":
            refuse("effect", self.effect, "must be NoExecute with tolerationSeconds")
        return self


class Scheduler(ApiModel):
    name: ObjectName = Field(description="The pod's schedulerName.")
    queue: Word | None = Field(None, description="Volcano's queue.")


class ResourceClaim(ApiModel):
    """A Kubernetes PodResourceClaim, which the engine's container gets."""

    model_config = cel(
        (
            "has(self.resourceClaimName) != has(self.resourceClaimTemplateName)",
            "give exactly one of resourceClaimName and resourceClaimTemplateName",
        )
    )

    name: str = Field(
        max_length=63, pattern=r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?$", description="What the pod calls the claim."
    )
    resource_claim_name: ObjectName | None = Field(
        None, description="A ResourceClaim in the LLMService's namespace, which all replicas share."
    )
    resource_claim_template_name: ObjectName | None = Field(
        None, description="A ResourceClaimTemplate in the LLMService's namespace, of which each replica gets a claim."
    )
    request: str | None = Field(None, max_length=63, description="One request of the claim; all where not given.")

    @model_validator(mode="after")
    def _one_of(self) -> Self:
        if (self.resource_claim_name is None) == (self.resource_claim_template_name is None):
            found = "both" if self.resource_claim_name else "neither"
            refuse("", found, "give exactly one of resourceClaimName and resourceClaimTemplateName")
        return self


class Accelerator(ApiModel):
    """The device. `resources` are the extended resources that it goes by, in the order in which they are tried."""

    model_config = cel(
        (
            "!has(self.resourceName) || !has(self.resourceNames) || self.resourceNames.size() == 0",
            "resourceNames: give either resourceName or resourceNames",
        )
    )

    resource_name: ResourceName | None = Field(
        None, description="Extended resource of the device plugin, such as nvidia.com/gpu. None: runs on the CPU."
    )
    resource_names: list[ResourceName] = Field(
        default_factory=list,
        max_length=16,
        description="Instead of resourceName, where a vendor has several plugins: the first that nodes have is asked "
        "for.",
    )
    allowed_counts: list[Annotated[int, Field(ge=0, le=64)]] = Field(
        default_factory=list,
        max_length=65,
        description="What spec.resources.accelerators of an LLMService may be, such as 1, 2, 4 and 8; any where empty.",
    )
    resource_claims: list[ResourceClaim] = Field(
        default_factory=list,
        max_length=8,
        description="Claims of devices (dynamic resource allocation). How many devices an engine gets stands in the "
        "claim; spec.resources.accelerators of an LLMService must be the same, since it goes into the arguments.",
        json_schema_extra=listed("name"),
    )
    sharing: Sharing = Field(default_factory=Sharing, description="How a share of a device is asked for.")
    node_selector: Labels = Field(default_factory=dict, description="Labels of the nodes to run on.")
    tolerations: list[Toleration] = Field(
        default_factory=list, max_length=64, description="Taints of such nodes to tolerate."
    )
    runtime_class_name: ObjectName | None = Field(
        None, description="The RuntimeClass that gives devices to containers."
    )
    scheduler: Scheduler | None = Field(None, description="Another scheduler than the cluster's own.")

    @property
    def resources(self) -> tuple[str, ...]:
        return (self.resource_name,) if self.resource_name is not None else tuple(self.resource_names)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        once("resourceClaims", "name", [claim.name for claim in self.resource_claims])
        if self.resource_name is not None and self.resource_names:
            refuse("resourceNames", self.resource_names, "give either resourceName or resourceNames")
        return self


class RuntimeResources(ApiModel):
    """What a replica asks for where the LLMService does not say."""

    cpu: Cpu | None = Field(None, description="CPU request where the LLMService names none.")
    memory: Quantity | None = Field(None, description="Memory request where the LLMService names none.")


class HttpHeader(ApiModel):
    name: Annotated[
        str,
        Field(max_length=256, description="The header field's name."),
        Matches("^[-A-Za-z0-9]+$", "a header's name: letters, digits and '-'"),
    ]
    value: Value = Field(description="What is sent; may be empty.")


class HttpGet(ApiModel):
    path: str = Field("/", max_length=1024, description="What is asked for.")
    port: PortRef | None = Field(None, description="The container's port where not given.")
    host: str | None = Field(None, max_length=253, description="Whom to ask; the pod where not given.")
    http_headers: list[HttpHeader] | None = Field(None, max_length=64, description="Header fields of the request.")
    scheme: Literal["HTTP", "HTTPS"] | None = Field(None, description="HTTP where not given.")


class TcpSocket(ApiModel):
    port: PortRef = Field(description="The port to connect to, by number or name.")
    host: str | None = Field(None, max_length=253, description="Whom to connect to; the pod where not given.")


class Exec(ApiModel):
    command: list[Value] = Field(
        min_length=1, max_length=MAX_ITEMS, description="Run in the container; 0 is a success."
    )


class Grpc(ApiModel):
    port: PortNumber = Field(description="Where grpc.health.v1.Health is served.")
    service: str | None = Field(None, max_length=256, description="The service that is asked about.")


HANDLERS = ("httpGet", "tcpSocket", "exec", "grpc")


class Probe(ApiModel):
    """A Kubernetes Probe. Seconds."""

    model_config = cel(
        (
            f"[{', '.join(f'has(self.{name})' for name in HANDLERS)}].filter(given, given).size() <= 1",
            "give one of httpGet, tcpSocket, exec and grpc",
        )
    )

    http_get: HttpGet | None = Field(None, description="A GET that answers 200 to 399; of /health where none is given.")
    tcp_socket: TcpSocket | None = Field(None, description="A port that takes connections.")
    exec: Exec | None = Field(None, description="A command that succeeds.")
    grpc: Grpc | None = Field(None, description="A gRPC health check that says SERVING.")
    initial_delay_seconds: Count | None = Field(None, description="Seconds before the first look.")
    period_seconds: Positive | None = Field(None, description="Seconds between two looks; Kubernetes: 10.")
    timeout_seconds: Positive | None = Field(None, description="Seconds that an answer may take; Kubernetes: 1.")
    success_threshold: Positive | None = Field(None, description="Successes in a row that count; Kubernetes: 1.")
    failure_threshold: Positive | None = Field(None, description="Failures in a row that count; Kubernetes: 3.")
    termination_grace_period_seconds: Positive | None = Field(
        None, description="Seconds that the engine gets to end when this probe has failed; not of a readiness probe."
    )

    @property
    def handlers(self) -> list[str]:
        """The names of the handlers that are given."""
        return [
            name
            for name, field in zip(HANDLERS, (self.http_get, self.tcp_socket, self.exec, self.grpc), strict=True)
            if field
        ]

    @property
    def port(self) -> int | str | None:
        """The port that httpGet or tcpSocket look at, where it is given."""
        handler = self.http_get or self.tcp_socket
        return handler.port if handler else None

    @model_validator(mode="after")
    def _one_handler(self) -> Self:
        if len(self.handlers) > 1:
            refuse("", ", ".join(self.handlers), "give one of httpGet, tcpSocket, exec and grpc")
        return self


_NO_RESTART = "must not be there, since a readiness probe ends nothing"


class Health(ApiModel):
    """Probes of the engine; without a handler they GET /health."""

    model_config = cel(
        *(
            (
                f"!has(self.{probe}.successThreshold) || self.{probe}.successThreshold == 1",
                f"{probe}.successThreshold: must be 1",
            )
            for probe in ("liveness", "startup")
        ),
        (
            "!has(self.readiness.terminationGracePeriodSeconds)",
            f"readiness.terminationGracePeriodSeconds: {_NO_RESTART}",
        ),
    )

    # Ready is looked at each second, since a held request waits for it; vLLM's /health costs it next to nothing.
    readiness: Probe = Field(default_factory=lambda: Probe(period_seconds=1, timeout_seconds=2, failure_threshold=3))
    liveness: Probe = Field(default_factory=lambda: Probe(period_seconds=10, timeout_seconds=5, failure_threshold=6))
    # 600 looks, one a second: large models take minutes.
    startup: Probe = Field(default_factory=lambda: Probe(period_seconds=1, timeout_seconds=2, failure_threshold=600))

    @model_validator(mode="after")
    def _as_kubernetes_has_it(self) -> Self:
        for name, probe in (("liveness", self.liveness), ("startup", self.startup)):
            if probe.success_threshold not in (None, 1):
                refuse(f"{name}.successThreshold", probe.success_threshold, "must be 1")
        if (grace := self.readiness.termination_grace_period_seconds) is not None:
            refuse("readiness.terminationGracePeriodSeconds", grace, _NO_RESTART)
        return self


class Lifecycle(ApiModel):
    termination_grace_period_seconds: Positive = Field(30, description="Widened where scaling.drainTimeout needs more.")
    pre_stop_drain: bool = Field(
        True,
        description="Wait for what is being answered before the engine is told to stop: by metrics.running, or until "
        "no activator is connected, at most scaling.drainTimeout.",
    )


class Metrics(ApiModel):
    """Where the engine's metrics are, and what it calls them."""

    path: UrlPath = Field("/metrics", description="Where the engine tells its metrics.")
    port: PortRef | None = Field(None, description="By number or name; the container's port where not given.")
    queue_depth: MetricName | None = Field(None, description="The metric of requests that wait in the engine.")
    kv_cache_util: MetricName | None = Field(
        None, description="The metric of the KV cache's use, 0 to 1. Kept for a later version: nothing reads it yet."
    )
    running: MetricName | None = Field(
        None, description="The metric of requests that run; the drain waits until it is 0."
    )
    ttft: MetricName | None = Field(
        None,
        description="The histogram of the time to the first token. Kept for a later version: nothing reads it yet.",
    )


class Prewarm(ApiModel):
    """How a cache is filled where the engine's image can't do it. The image needs /bin/sh."""

    image: str | None = Field(None, max_length=1024, description="Its image; the engine's where not given.")
    command: list[Template] = Field(
        min_length=1,
        max_length=MAX_ITEMS,
        description="What downloads {{ .Model.Path }} into the cache, which HF_HOME or MODELSCOPE_CACHE names.",
    )


MAX_PATHS = 32

EnginePath = Annotated[str, Field(min_length=2, max_length=128, pattern=r"^(/[A-Za-z0-9_-]+)+$")]


_PROBED_PORTS = [
    f"health.{probe}.{handler}"
    for probe in ("readiness", "liveness", "startup")
    for handler in ("httpGet", "tcpSocket")
]
# Where a port may be named, and in CEL whether it is given.
_PORTS = {
    **{f"{handler}.port": f"has(self.{handler}) && has(self.{handler}.port)" for handler in _PROBED_PORTS},
    "metrics.port": "has(self.metrics.port)",
}
_OWN_PORT = "must be a number or container.port.name, since the container has no other port"


class InferenceRuntimeSpec(ApiModel):
    model_config = cel(
        *(
            (
                f"!({given}) || type(self.{path}) == int || self.{path} == self.container.port.name",
                f"{path}: {_OWN_PORT}",
            )
            for path, given in _PORTS.items()
        ),
        (
            "self.volumeMounts.all(mount, self.volumes.exists(volume, volume.name == mount.name))",
            "volumeMounts: expected the name of one of spec.volumes",
        ),
    )

    family: str = Field(min_length=1, max_length=63, description="vllm, sglang, mindie, llamacpp, or any string.")
    vendor: str = Field(
        min_length=1, max_length=63, description="Any string: nvidia, ascend, amd, moorethreads, biren, …"
    )
    priority: Int32 = Field(0, description="Higher wins.")
    container: Container
    accelerator: Accelerator = Field(default_factory=Accelerator, description="The device, and the nodes that have it.")
    resources: RuntimeResources = Field(default_factory=RuntimeResources)
    volumes: list[Volume] = Field(
        default_factory=list,
        max_length=64,
        description="Kubernetes Volumes, each name once.",
        json_schema_extra=listed("name"),
    )
    volume_mounts: list[VolumeMount] = Field(
        default_factory=list,
        max_length=64,
        description="Kubernetes VolumeMounts, each mountPath once.",
        json_schema_extra=listed("mountPath"),
    )
    health: Health = Field(default_factory=Health)
    lifecycle: Lifecycle = Field(default_factory=Lifecycle, description="How an engine ends.")
    metrics: Metrics = Field(default_factory=Metrics)
    prewarm: Prewarm | None = Field(
        None, description="What the prewarm Job runs; the hub's Python client if not given."
    )
    template: PodTemplate | None = Field(None)
    paths: list[EnginePath] = Field(
        default_factory=list,
        max_length=MAX_PATHS,
        description="Paths of the engine that clients may POST to, beside those of OpenAI's and Anthropic's inference.",
    )

    @model_validator(mode="after")
    def _ports_are_the_containers(self) -> Self:
        ports: dict[str, int | str | None] = {"metrics.port": self.metrics.port}
        for name in ("readiness", "liveness", "startup"):
            probe: Probe = getattr(self.health, name)
            ports |= {f"health.{name}.{handler}.port": probe.port for handler in probe.handlers}
        for path, port in ports.items():
            if isinstance(port, str) and port != self.container.port.name:
                refuse(path, port, f"{_OWN_PORT} ({self.container.port.name})")
        return self

    @model_validator(mode="after")
    def _each_once(self) -> Self:
        once("volumes", "name", [volume["name"] for volume in self.volumes])
        once("volumeMounts", "mountPath", [mount["mountPath"] for mount in self.volume_mounts])
        return self

    @model_validator(mode="after")
    def _mounts_have_volumes(self) -> Self:
        names = {volume["name"] for volume in self.volumes}
        for index, mount in enumerate(self.volume_mounts):
            if mount["name"] not in names:
                refuse(f"volumeMounts[{index}].name", mount["name"], "expected the name of one of spec.volumes")
        return self


class InferenceRuntime(Resource):
    """One engine on one vendor's accelerator. Cluster-scoped."""

    kind: Literal["InferenceRuntime"] = "InferenceRuntime"
    spec: InferenceRuntimeSpec
    status: InferenceRuntimeStatus | None = None
