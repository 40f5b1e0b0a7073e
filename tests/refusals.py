"""What no LLMService and no InferenceRuntime may be: one list, of which the models' answers are tested without a cluster
and the API server's with one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Refusal:
    """`assignment` makes a valid object wrong. `models` is what hearth's own validation says of it, `server` what the API
    server says; both are a part of the message."""

    assignment: str
    models: str
    server: str


_SECOND = "must be at most 24h"
_SIZE = "expected a quantity above zero and at most 1Ei"
_DIGITS = "9" * 23

LLMSERVICES = {
    "min over max": Refusal(
        "spec.scaling={min: 3, max: 2}",
        "spec.scaling.min: found 3; must be at most max (2)",
        "min: must be at most max",
    ),
    "neither name nor selector": Refusal(
        "spec.runtime={argsOverride: []}",
        "give exactly one of name and selector",
        "give exactly one of name and selector",
    ),
    "both": Refusal(
        "spec.runtime={name: a, selector: {vendor: [b]}}",
        "give exactly one of name and selector",
        "give exactly one of name and selector",
    ),
    "no vendor": Refusal(
        "spec.runtime.selector.vendor=[]", "spec.runtime.selector.vendor", "spec.runtime.selector.vendor"
    ),
    "a bad URI": Refusal(
        "spec.model.source.uri=qwen", "expected one of hf://ORG/NAME", "expected one of hf://ORG/NAME"
    ),
    "a hub without an org": Refusal(
        "spec.model.source.uri=hf://qwen", "expected hf://ORG/NAME", "expected one of hf://ORG/NAME"
    ),
    "silence over an hour": Refusal(
        "spec.scaling.scaleDownStabilization=61m",
        "scaleDownStabilization: found '1h1m'; must be at most 1h",
        "scaleDownStabilization: found 61m; must be at most 1h",
    ),
    "too short a hold": Refusal(
        "spec.scaling.activationTimeout=500ms",
        "activationTimeout: found '500ms'; must be at least 1s",
        "activationTimeout: found 500ms; must be at least 1s",
    ),
    "no duration": Refusal("spec.scaling.drainTimeout=soon", "expected a duration", "spec.scaling.drainTimeout"),
    "another metric": Refusal(
        "spec.scaling.metric=kvCacheUtil", "allowed: 'queueDepth'", 'supported values: "queueDepth"'
    ),
    "a schedule over max": Refusal(
        "spec.scaling={max: 2, schedules: [{start: 0 8 * * *, end: 0 9 * * *, replicas: 3}]}",
        "schedules[0].replicas: found 3; must be at most max (2)",
        "schedules: replicas must be at most max",
    ),
    "an empty schedule": Refusal(
        "spec.scaling.schedules=[{start: 0 8 * * *, end: 0 8 * * *}]",
        "expected another time than start",
        "expected another time than start",
    ),
    "no cron": Refusal(
        "spec.scaling.schedules=[{start: monday, end: 0 8 * * *}]",
        "expected five cron fields",
        "expected five cron fields",
    ),
    "a share of two": Refusal(
        "spec.resources={accelerators: 2, fraction: {cores: 50}}",
        "a fraction is a share of 1 accelerator",
        "accelerators: with a fraction it must be 1",
    ),
    "too many devices": Refusal(
        "spec.resources.accelerators=65", "less than or equal to 64", "should be less than or equal to 64"
    ),
    "prewarm without a volume": Refusal(
        "spec.cache={strategy: HostPath, prewarm: true}",
        "HostPath has no claim to fill",
        "HostPath has no claim to fill",
    ),
    "a beat too quick": Refusal(
        "spec.endpoint.coldStart.heartbeatInterval=10ms",
        "heartbeatInterval: found '10ms'; must be at least 100ms",
        "heartbeatInterval: found 10ms; must be at least 100ms",
    ),
    "an unknown field": Refusal(
        "spec.scaling.minimum=1", "spec.scaling.minimum: found an unknown field", 'unknown field "spec.scaling.minimum"'
    ),
    "a catalog": Refusal(
        "spec.model.catalogRef=x",
        "catalogRef: not supported yet: there is no catalog",
        "catalogRef: not supported yet: there is no catalog",
    ),
    "keys": Refusal(
        "spec.endpoint.authentication={secretRef: {name: a, key: b}}",
        "authentication: not supported yet",
        "authentication: not supported yet",
    ),
    "failover": Refusal(
        "spec.failover={url: 'https://example.com'}", "failover: not supported yet", "failover: not supported yet"
    ),
    # Bounds: each of these once was more than a number of ours could hold.
    "a drain of 23 digits": Refusal(
        f"spec.scaling.drainTimeout={_DIGITS}h", "spec.scaling.drainTimeout", "spec.scaling.drainTimeout"
    ),
    "a drain of two days": Refusal("spec.scaling.drainTimeout=48h", _SECOND, "found 48h; must be at most 24h"),
    "a drain whose parts are short": Refusal(
        "spec.scaling.drainTimeout=23h59m61s", _SECOND, "found 23h59m61s; must be at most 24h"
    ),
    "the longest that the pattern takes": Refusal(
        "spec.scaling.drainTimeout=99999h99999h99999h99999h99999h", _SECOND, "must be at most 24h"
    ),
    "a duration that is too long to read": Refusal(
        f"spec.scaling.drainTimeout={'1s' * 20}", "expected a duration", "spec.scaling.drainTimeout"
    ),
    "a hold of 23 digits": Refusal(
        f"spec.scaling.activationTimeout={_DIGITS}h", "spec.scaling.activationTimeout", "spec.scaling.activationTimeout"
    ),
    "a silence of 23 digits": Refusal(
        f"spec.scaling.scaleDownStabilization={_DIGITS}h", "scaleDownStabilization", "scaleDownStabilization"
    ),
    "white space after 23 digits": Refusal(
        f"spec.endpoint.coldStart.whitespaceAfter={_DIGITS}h",
        "spec.endpoint.coldStart.whitespaceAfter",
        "spec.endpoint.coldStart.whitespaceAfter",
    ),
    "a beat of 23 digits": Refusal(
        f"spec.endpoint.coldStart.heartbeatInterval={_DIGITS}h", "heartbeatInterval", "heartbeatInterval"
    ),
    "a fraction of a second without end": Refusal(
        f"spec.scaling.drainTimeout=1.{_DIGITS}s", "spec.scaling.drainTimeout", "spec.scaling.drainTimeout"
    ),
    "a cache with a huge exponent": Refusal(
        "spec.cache.size=1e9999999999999999999", "spec.cache.size", "spec.cache.size"
    ),
    "a cache of 1e5000": Refusal("spec.cache.size='1e5000'", "spec.cache.size", "spec.cache.size"),
    "a cache of 1e99": Refusal("spec.cache.size='1e99'", _SIZE, _SIZE),
    "a cache of nothing": Refusal("spec.cache.size='0'", _SIZE, _SIZE),
    "a cache of next to nothing": Refusal("spec.cache.size='0.0'", _SIZE, _SIZE),
    "a cache of zero as a number": Refusal("spec.cache.size=0", _SIZE, "spec.cache.size"),
    "a cache below zero": Refusal("spec.cache.size=-1", "spec.cache.size", "spec.cache.size"),
    "a cache over 1Ei": Refusal("spec.cache.size=2Ei", _SIZE, _SIZE),
    "a cache over 1Ei as a number": Refusal(f"spec.cache.size={2**61}", _SIZE, "spec.cache.size"),
    "a cache that is no number": Refusal("spec.cache.size=NaN", "expected a Kubernetes quantity", "spec.cache.size"),
    "a cache without end": Refusal("spec.cache.size=Infinity", "expected a Kubernetes quantity", "spec.cache.size"),
    "a cache of many digits": Refusal(f"spec.cache.size='{'1' * 40}'", "spec.cache.size", "spec.cache.size"),
    "memory of 1e5000": Refusal("spec.resources.memory='1e5000'", "spec.resources.memory", "spec.resources.memory"),
    "cpu of 1e5000": Refusal("spec.resources.cpu='1e5000'", "spec.resources.cpu", "spec.resources.cpu"),
    "a share of 1e5000": Refusal(
        "spec.resources.fraction={memory: '1e5000'}", "spec.resources.fraction.memory", "spec.resources.fraction.memory"
    ),
    "more replicas than an int32": Refusal(f"spec.scaling.max={2**31}", "spec.scaling.max", "spec.scaling.max"),
    "a target over an int32": Refusal(f"spec.scaling.target={2**31}", "spec.scaling.target", "spec.scaling.target"),
    "a queue over an int64": Refusal(
        f"spec.endpoint.maxQueue={2**70}", "spec.endpoint.maxQueue", "spec.endpoint.maxQueue"
    ),
    "a concurrency over an int32": Refusal(
        f"spec.endpoint.concurrency={2**31}", "spec.endpoint.concurrency", "spec.endpoint.concurrency"
    ),
    "a schedule over an int32": Refusal(
        f"spec.scaling.schedules=[{{start: 0 8 * * *, end: 0 9 * * *, replicas: {2**31}}}]",
        "spec.scaling.schedules[0].replicas",
        "spec.scaling.schedules[0].replicas",
    ),
    "too many schedules": Refusal(
        f"spec.scaling.schedules={[{'start': '0 8 * * *', 'end': '0 9 * * *'}] * 33}",
        "spec.scaling.schedules: found 33 items; expected at most 32",
        "spec.scaling.schedules",
    ),
    "too many vendors": Refusal(
        f"spec.runtime.selector.vendor={['a'] * 17}",
        "spec.runtime.selector.vendor: found 17 items; expected at most 16",
        "spec.runtime.selector.vendor",
    ),
    "a vendor without a name": Refusal(
        "spec.runtime.selector.vendor=['']", "spec.runtime.selector.vendor[0]", "spec.runtime.selector.vendor[0]"
    ),
    "too many arguments": Refusal(
        f"spec.runtime.argsOverride={['a'] * 257}",
        "spec.runtime.argsOverride: found 257 items; expected at most 256",
        "spec.runtime.argsOverride",
    ),
    "an argument too long": Refusal(
        f"spec.runtime.argsOverride=[{'a' * 32_769}]",
        "spec.runtime.argsOverride[0]: found 32769 characters; expected at most 32768",
        "spec.runtime.argsOverride[0]",
    ),
    "a URI too long": Refusal(
        f"spec.model.source.uri=hf://a/{'b' * 1024}",
        "spec.model.source.uri: found 1031 characters; expected at most 1024",
        "spec.model.source.uri",
    ),
    "too many pull secrets": Refusal(
        f"spec.imagePullSecrets={[{'name': 'a'}] * 17}",
        "spec.imagePullSecrets: found 17 items; expected at most 16",
        "spec.imagePullSecrets",
    ),
}

INFERENCE_RUNTIMES = {
    "one resource and several": Refusal(
        "spec.accelerator={resourceName: a.com/b, resourceNames: [a.com/c]}",
        "spec.accelerator.resourceNames: found ['a.com/c']; give either resourceName or resourceNames",
        "resourceNames: give either resourceName or resourceNames",
    ),
    "a count that no LLMService may ask for": Refusal(
        "spec.accelerator.allowedCounts=[65]",
        "spec.accelerator.allowedCounts[0]",
        "spec.accelerator.allowedCounts[0]",
    ),
    "a claim of nothing": Refusal(
        "spec.accelerator.resourceClaims=[{name: gpu}]",
        "give exactly one of resourceClaimName and resourceClaimTemplateName",
        "give exactly one of resourceClaimName and resourceClaimTemplateName",
    ),
    "a priority over an int32": Refusal(f"spec.priority={2**31}", "spec.priority", "spec.priority"),
    "memory of 1e5000": Refusal("spec.resources={memory: '1e5000'}", "spec.resources.memory", "spec.resources.memory"),
    "cpu of 2Ei": Refusal("spec.resources={cpu: 2Ei}", _SIZE, _SIZE),
    "a grace over an int32": Refusal(
        f"spec.lifecycle.terminationGracePeriodSeconds={2**31}",
        "spec.lifecycle.terminationGracePeriodSeconds",
        "spec.lifecycle.terminationGracePeriodSeconds",
    ),
    "a period over an int32": Refusal(
        f"spec.health.readiness.periodSeconds={2**31}",
        "spec.health.readiness.periodSeconds",
        "spec.health.readiness.periodSeconds",
    ),
    "a delay below zero": Refusal(
        "spec.health.startup.initialDelaySeconds=-1",
        "spec.health.startup.initialDelaySeconds",
        "spec.health.startup.initialDelaySeconds",
    ),
    "a probed port over 65535": Refusal(
        "spec.health.readiness={tcpSocket: {port: 65536}}",
        "spec.health.readiness.tcpSocket.port",
        "spec.health.readiness.tcpSocket.port",
    ),
    "a metrics port that is none": Refusal("spec.metrics.port=0", "spec.metrics.port", "spec.metrics.port"),
    "a toleration over an int32": Refusal(
        f"spec.accelerator.tolerations=[{{tolerationSeconds: {2**31}}}]",
        "spec.accelerator.tolerations[0].tolerationSeconds",
        "spec.accelerator.tolerations[0].tolerationSeconds",
    ),
    "too many tolerations": Refusal(
        f"spec.accelerator.tolerations={[{'key': 'a'}] * 65}",
        "spec.accelerator.tolerations: found 65 items; expected at most 64",
        "spec.accelerator.tolerations",
    ),
    "too many node labels": Refusal(
        f"spec.accelerator.nodeSelector={ {f'a{number}': 'b' for number in range(65)} }",
        "spec.accelerator.nodeSelector: found 65 items; expected at most 64",
        "spec.accelerator.nodeSelector",
    ),
    "too many volumes": Refusal(
        f"spec.volumes={[{'name': 'a', 'emptyDir': {}}] * 65}",
        "spec.volumes: found 65 items; expected at most 64",
        "spec.volumes",
    ),
    "too many variables": Refusal(
        f"spec.container.env={[{'name': 'A', 'value': 'b'}] * 257}",
        "spec.container.env: found 257 items; expected at most 256",
        "spec.container.env",
    ),
    "an image too long": Refusal(
        f"spec.container.image={'a' * 1025}",
        "spec.container.image: found 1025 characters; expected at most 1024",
        "spec.container.image",
    ),
}
