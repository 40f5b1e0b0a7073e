"""What LLMServices and InferenceRuntimes may be and what they may not: one list, of which the models' answers are tested
without a cluster and the API server's with one. Where the two differ, one of the tests fails."""

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

_OWN_PATHS = (
    *("/models/cache", "/models/cache/", "/models/./cache", "//models//cache/.", "models/cache", "./models/source"),
    *("/models/source/a", "/models/cache/hf", "/models", "/models/", "/models/.", "/", "//", "/.", "/dev", "/./dev/"),
    *("/a/../models/cache", "..", "/a/.."),
)
"""Ways to where Hearth mounts, to what is in there, and to what would hide it."""

_TEMPLATES = {
    "a label of Hearth's": Refusal(
        "spec.template.metadata={labels: {serving.hearth.dev/llmservice: other}}",
        "spec.template.metadata.labels: found 'serving.hearth.dev/llmservice'; Hearth owns",
        "Hearth owns app.kubernetes.io/name",
    ),
    "a label that is selected by": Refusal(
        "spec.template.metadata={labels: {app.kubernetes.io/component: other}}",
        "spec.template.metadata.labels: found 'app.kubernetes.io/component'; Hearth owns",
        "Hearth owns app.kubernetes.io/name",
    ),
    "an annotation of Hearth's": Refusal(
        "spec.template.metadata={annotations: {serving.hearth.dev/version: a}}",
        "spec.template.metadata.annotations: found 'serving.hearth.dev/version'; Hearth owns",
        "Hearth owns serving.hearth.dev/",
    ),
    "a hook of Hearth's": Refusal(
        "spec.template.spec.containers=[{name: engine, lifecycle: {}}]",
        "spec.template.spec.containers[0].lifecycle: found 'it on container engine'; Hearth drains by it",
        "lifecycle: found it on container engine; Hearth drains by it",
    ),
    "an engine of another image": Refusal(
        "spec.template.spec.containers=[{name: engine, image: mine}]",
        "spec.template.spec.containers[0].image: found 'it on container engine'; the InferenceRuntime's",
        "image: found it on container engine; the InferenceRuntime's",
    ),
    "another port of the engine": Refusal(
        "spec.template.spec.containers=[{name: engine, ports: []}]",
        "spec.template.spec.containers[0].ports: found",
        "ports: found it on container engine",
    ),
    "an init container of Hearth's name": Refusal(
        "spec.template.spec.initContainers=[{name: wait-for-model, image: a}]",
        "spec.template.spec.initContainers[0].name: found 'wait-for-model'; Hearth owns",
        "Hearth owns the names engine, wait-for-model, download",
    ),
    "an init container of the prewarm's name": Refusal(
        "spec.template.spec.initContainers=[{name: download, image: a}]",
        "spec.template.spec.initContainers[0].name: found 'download'; Hearth owns",
        "Hearth owns the names engine, wait-for-model, download",
    ),
    "a sidecar of the waiting one's name": Refusal(
        "spec.template.spec.containers=[{name: wait-for-model, image: a}]",
        "spec.template.spec.containers[0].name: found 'wait-for-model'; Hearth owns",
        "Hearth owns the names wait-for-model, download",
    ),
    "a sidecar of the prewarm's name": Refusal(
        "spec.template.spec.containers=[{name: download, image: a}]",
        "spec.template.spec.containers[0].name: found 'download'; Hearth owns",
        "Hearth owns the names wait-for-model, download",
    ),
    "two sidecars of one name": Refusal(
        "spec.template.spec.containers=[{name: b, image: a}, {name: b, image: b}]",
        "spec.template.spec.containers[1].name: found 'b'; expected each one once",
        "spec.template.spec.containers[1]: Duplicate value",
    ),
    "two init containers of one name": Refusal(
        "spec.template.spec.initContainers=[{name: b, image: a}, {name: b, image: b}]",
        "spec.template.spec.initContainers[1].name: found 'b'; expected each one once",
        "spec.template.spec.initContainers[1]: Duplicate value",
    ),
    "two volumes of one name": Refusal(
        "spec.template.spec.volumes=[{name: b, emptyDir: {}}, {name: b, emptyDir: {}}]",
        "spec.template.spec.volumes[1].name: found 'b'; expected each one once",
        "spec.template.spec.volumes[1]: Duplicate value",
    ),
    "two variables of one name": Refusal(
        "spec.template.spec.containers=[{name: engine, env: [{name: b, value: a}, {name: b, value: b}]}]",
        "spec.template.spec.containers[0].env[1].name: found 'b'; expected each one once",
        "spec.template.spec.containers[0].env[1]: Duplicate value",
    ),
    "two mounts of one path": Refusal(
        "spec.template.spec.containers=[{name: b, volumeMounts: [{name: b, mountPath: /b}, {name: c, mountPath: /b}]}]",
        "spec.template.spec.containers[0].volumeMounts[1].mountPath: found '/b'; expected each one once",
        "spec.template.spec.containers[0].volumeMounts[1]: Duplicate value",
    ),
    "a volume of Hearth's": Refusal(
        "spec.template.spec.volumes=[{name: cache, emptyDir: {}}]",
        "spec.template.spec.volumes[0].name: found 'cache'; Hearth owns",
        "Hearth owns the volumes source, cache",
    ),
    **{
        f"a mount at {path}": Refusal(
            f"spec.template.spec.containers=[{{name: engine, volumeMounts: [{{name: a, mountPath: {path}}}]}}]",
            f"volumeMounts[0].mountPath: found '{path}'; Hearth mounts",
            "Hearth mounts /models/source, /models/cache and /dev/shm",
        )
        for path in _OWN_PATHS
    },
    "a variable of Hearth's": Refusal(
        "spec.template.spec.containers=[{name: engine, env: [{name: HEARTH_ENGINE_PORT, value: '1'}]}]",
        "env[0].name: found 'HEARTH_ENGINE_PORT'; Hearth sets",
        "Hearth sets HEARTH_ENGINE_PORT",
    ),
    "too many containers": Refusal(
        f"spec.template.spec.containers={[{'name': f'a{number}'} for number in range(17)]}",
        "spec.template.spec.containers: found 17 items; expected at most 16",
        "spec.template.spec.containers",
    ),
    "a host's network": Refusal(
        "spec.template.spec={hostNetwork: true}",
        "spec.template.spec.hostNetwork: found an unknown field",
        "spec.template.spec.hostNetwork",
    ),
}
"""What no `spec.template` may have, of either kind."""

LLMSERVICES = {
    **_TEMPLATES,
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
    "keys of no Secret": Refusal(
        "spec.endpoint.authentication={}",
        "authentication.secretRef: required, and not given",
        "authentication.secretRef: Required value",
    ),
    "keys of a Secret without a name": Refusal(
        "spec.endpoint.authentication={secretRef: {key: keys}}",
        "secretRef.name: required, and not given",
        "secretRef.name: Required value",
    ),
    "keys of a Secret with another name": Refusal(
        "spec.endpoint.authentication={secretRef: {name: Keys}}",
        "secretRef.name: found 'Keys'; expected a Kubernetes object name",
        "authentication.secretRef.name",
    ),
    "keys in an entry that none can be": Refusal(
        "spec.endpoint.authentication={secretRef: {name: a, key: b/c}}",
        "secretRef.key: found 'b/c'; expected the name of a Secret's entry",
        "authentication.secretRef.key",
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

_ZONE = "expected an IANA time zone"


def _window(start: str, end: str = "0 20 * * *", timezone: str = "UTC") -> str:
    return f"spec.scaling.schedules=[{{start: {start!r}, end: {end!r}, timezone: {timezone!r}}}]"


# Two parsers of one language. What each text means to KEDA, Go or Kubernetes was asked of their own code.
LLMSERVICES |= {
    "a window on day 7": Refusal(_window("0 8 * * 7"), "0 is Sunday", "0 is Sunday"),
    "a window to day 7": Refusal(_window("0 8 * * 5-7"), "KEDA knows no 7", "KEDA knows no 7"),
    "the last day": Refusal(_window("0 8 L * *"), "KEDA knows no L and W", "KEDA knows no L and W"),
    "a weekday near": Refusal(_window("0 8 1W * *"), "KEDA knows no L and W", "KEDA knows no L and W"),
    "the first Monday": Refusal(_window("0 8 * * 1#1"), "day of week: expected", "day of week: expected"),
    "the last Friday": Refusal(_window("0 8 * * 5L"), "day of week: expected", "day of week: expected"),
    "a name for a time": Refusal(_window("@daily"), "expected five cron fields", "expected five cron fields"),
    "six fields": Refusal(_window("0 0 8 * * *"), "expected five cron fields", "expected five cron fields"),
    "two spaces": Refusal(_window("0  8 * * *"), "with one space between them", "with one space between them"),
    "a tab": Refusal(_window("0\t8 * * *"), "with one space between them", "with one space between them"),
    "a zone in a time": Refusal(_window("TZ=UTC 8 * * *"), "minute: expected", "minute: expected"),
    "a wide digit": Refusal(_window("0 \uff18 * * *"), "expected five cron fields", "expected five cron fields"),
    "minute 60": Refusal(_window("60 8 * * *"), "minute: expected 0 to 59", "minute: expected 0 to 59"),
    "hour 24": Refusal(_window("0 24 * * *"), "hour: expected 0 to 23", "hour: expected 0 to 23"),
    "day 0": Refusal(_window("0 8 0 * *"), "day of month: expected", "day of month: expected"),
    "month 13": Refusal(_window("0 8 * 13 *"), "month: expected", "month: expected"),
    "a whole month's name": Refusal(_window("0 8 * january *"), "month: expected", "month: expected"),
    "an empty item": Refusal(_window("0, 8 * * *"), "minute: expected", "minute: expected"),
    "a step of nothing": Refusal(_window("*/0 8 * * *"), "minute: expected", "minute: expected"),
    "a range down": Refusal(_window("0 17-8 * * *"), "ranges that go up", "ranges that go up"),
    "a range of names down": Refusal(_window("0 8 * * FRI-mon"), "ranges that go up", "ranges that go up"),
    "the end that is no cron": Refusal(_window("0 8 * * *", "0 8 * * 7"), "schedules[0].end", "schedules[0].end"),
    "the 30th of February": Refusal(_window("0 8 30 2 *"), "February has none", "February has none"),
    "the 31st of short months": Refusal(_window("0 8 31 2,APR,6 ?"), "30 days at most", "30 days at most"),
    "an end that is the start with zeros": Refusal(
        _window("00 08 * * ?", "0 8 * * *"), "expected another time than start", "expected another time than start"
    ),
    "no zone": Refusal(_window("0 8 * * *", timezone="Europe/Berlun"), _ZONE, _ZONE),
    "a zone in small letters": Refusal(_window("0 8 * * *", timezone="europe/berlin"), _ZONE, _ZONE),
    "the machine's zone": Refusal(_window("0 8 * * *", timezone="Local"), _ZONE, _ZONE),
    "an offset": Refusal(_window("0 8 * * *", timezone="+02:00"), _ZONE, "timezone"),
    "a zone that goes up": Refusal(_window("0 8 * * *", timezone="Europe/../UTC"), _ZONE, "timezone"),
    "an empty zone": Refusal(_window("0 8 * * *", timezone=""), "timezone", "timezone"),
    "a folder above the claim's": Refusal(
        "spec.model.source.uri=pvc://models/../other", "must not go up with '..'", "must not go up with '..'"
    ),
    "a folder that is above": Refusal(
        "spec.model.source.uri=pvc://models/a/..", "must not go up with '..'", "must not go up with '..'"
    ),
    "a prefix above the bucket's": Refusal(
        "spec.model.source.uri=s3://bucket/../other", "must not go up with '..'", "must not go up with '..'"
    ),
    "a revision that goes up": Refusal(
        "spec.model.source.uri=hf://a/b@x/../y", "must not go up with '..'", "must not go up with '..'"
    ),
    "a claim with two dots": Refusal(
        "spec.model.source.uri=pvc://a..b", "expected pvc://CLAIM", "expected one of hf://"
    ),
    "a claim with an end of its own": Refusal(
        "spec.model.source.uri=pvc://a-/b", "expected pvc://CLAIM", "expected one of hf://"
    ),
    "an image in capitals": Refusal(
        "spec.model.source.uri=oci://host/Model", "expected oci://REGISTRY/IMAGE:TAG", "expected one of hf://"
    ),
    "an image without its digest's end": Refusal(
        "spec.model.source.uri=oci://host/model@sha256:12", "expected oci://", "expected one of hf://"
    ),
    "a hub's name in another alphabet": Refusal(
        "spec.model.source.uri=hf://Qw\u0435n/Qwen3", "expected hf://ORG/NAME", "expected one of hf://"
    ),
    "a bucket of two letters": Refusal(
        "spec.model.source.uri=s3://ab", "expected s3://BUCKET", "expected one of hf://"
    ),
    "a runtime with two dots": Refusal(
        "spec.runtime={name: a..b}", "expected a Kubernetes object name", "spec.runtime.name"
    ),
    "a Secret with a dot and a dash": Refusal(
        "spec.model.source.secretRef={name: a.-b}", "expected a Kubernetes object name", "source.secretRef.name"
    ),
    "half a millisecond": Refusal(
        "spec.scaling.drainTimeout=0.5ms", "expected a duration", "spec.scaling.drainTimeout"
    ),
    "next to nothing over a day": Refusal(
        "spec.scaling.drainTimeout=24h0.0001s", "expected a duration", "spec.scaling.drainTimeout"
    ),
    "a duration below zero": Refusal(
        "spec.scaling.drainTimeout=-5s", "expected a duration", "spec.scaling.drainTimeout"
    ),
    "a duration without a unit": Refusal(
        "spec.scaling.drainTimeout='0'", "expected a duration", "spec.scaling.drainTimeout"
    ),
    "a duration as a number": Refusal(
        "spec.scaling.drainTimeout=30", "expected a duration", "spec.scaling.drainTimeout"
    ),
    "a duration in days": Refusal("spec.scaling.drainTimeout=1d", "expected a duration", "spec.scaling.drainTimeout"),
    "a size with a wrong suffix": Refusal("spec.cache.size=5GB", "expected a Kubernetes quantity", "spec.cache.size"),
    "a size with a small suffix": Refusal("spec.cache.size=5gi", "expected a Kubernetes quantity", "spec.cache.size"),
    "a size with a space": Refusal("spec.cache.size='5 Gi'", "expected a Kubernetes quantity", "spec.cache.size"),
    "a size with a wide digit": Refusal(
        "spec.cache.size=\uff15Gi", "expected a Kubernetes quantity", "spec.cache.size"
    ),
    "a size with a fraction, as a number": Refusal(
        "spec.cache.size=0.5", "expected a Kubernetes quantity", "spec.cache.size"
    ),
    "a size with half an exponent": Refusal("spec.cache.size=1e", "expected a Kubernetes quantity", "spec.cache.size"),
    "no CPUs": Refusal("spec.resources={cpu: 0}", "expected CPUs above zero", "spec.resources.cpu"),
    "no CPUs in words": Refusal("spec.resources={cpu: '0.0'}", "expected CPUs above zero", "spec.resources.cpu"),
    "less than no CPUs": Refusal("spec.resources={cpu: -0.5}", "expected CPUs above zero", "spec.resources.cpu"),
    "CPUs that are true": Refusal("spec.resources={cpu: true}", "expected CPUs above zero", "cpu"),
    "CPUs that are a list": Refusal("spec.resources={cpu: [1]}", "expected CPUs above zero", "spec.resources.cpu"),
    "CPUs that are an object": Refusal(
        "spec.resources={cpu: {a: 1}}", "expected CPUs above zero", "spec.resources.cpu"
    ),
    "CPUs that are an empty object": Refusal(
        "spec.resources={cpu: {}}", "expected CPUs above zero", "spec.resources.cpu"
    ),
    "CPUs without end": Refusal("spec.resources={cpu: 2Ei}", "expected CPUs above zero", "spec.resources.cpu"),
    "replicas as a text": Refusal("spec.scaling.max='3'", "spec.scaling.max", "spec.scaling.max"),
    "half a replica": Refusal("spec.scaling.max=1.5", "spec.scaling.max", "spec.scaling.max"),
    "prewarm as a text": Refusal("spec.cache.prewarm='true'", "spec.cache.prewarm", "spec.cache.prewarm"),
    "prewarm of what is not downloaded": Refusal(
        "spec={model: {source: {uri: 'pvc://models'}}, runtime: {name: a}, cache: {prewarm: true}}",
        "cache.prewarm: found True; needs a source that is downloaded",
        "cache.prewarm: needs a source that is downloaded",
    ),
    "the size of a folder on the node": Refusal(
        "spec.cache={strategy: HostPath, size: 50Gi}",
        "spec.cache.size: found '50Gi'; needs strategy NodeLocalPVC, SharedPVC or None; nothing bounds what HostPath takes",
        "size: needs strategy NodeLocalPVC, SharedPVC or None; nothing bounds what HostPath takes",
    ),
    "the class of no claim": Refusal(
        "spec.cache={strategy: None, storageClassName: fast}".replace("None", "'None'"),
        "spec.cache.storageClassName: found 'fast'; needs strategy NodeLocalPVC or SharedPVC",
        "storageClassName: needs strategy NodeLocalPVC or SharedPVC; None has no claim",
    ),
    "TLS to the scaler": Refusal(
        "spec.scaling.externalScaler={tls: {serverSecretName: a, authenticationRef: {name: b}}}",
        "spec.scaling.externalScaler: not supported yet",
        "externalScaler: not supported yet",
    ),
    "a gateway's resources": Refusal(
        "spec.endpoint.resources={limits: {cpu: 1}}",
        "spec.endpoint.resources: not supported yet",
        "resources: not supported yet",
    ),
}

INFERENCE_RUNTIMES = {
    **_TEMPLATES,
    "one resource and several": Refusal(
        "spec.accelerator={resourceName: a.com/b, resourceNames: [a.com/c]}",
        "spec.accelerator.resourceNames: found ['a.com/c']; give either resourceName or resourceNames",
        "resourceNames: give either resourceName or resourceNames",
    ),
    "two volumes of a runtime of one name": Refusal(
        "spec.volumes=[{name: b, emptyDir: {}}, {name: b, hostPath: {path: /b}}]",
        "spec.volumes[1].name: found 'b'; expected each one once",
        "spec.volumes[1]: Duplicate value",
    ),
    "two mounts of a runtime at one path": Refusal(
        "spec={family: a, vendor: a, container: {image: a}, volumes: [{name: b}, {name: c}], "
        "volumeMounts: [{name: b, mountPath: /b}, {name: c, mountPath: /b}]}",
        "spec.volumeMounts[1].mountPath: found '/b'; expected each one once",
        "spec.volumeMounts[1]: Duplicate value",
    ),
    "a runtime's variable of Hearth's": Refusal(
        "spec.container.env=[{name: HEARTH_ENGINE_PORT, value: '9'}]",
        "spec.container.env[0].name: found 'HEARTH_ENGINE_PORT'; Hearth sets HEARTH_ENGINE_PORT",
        "Hearth sets HEARTH_ENGINE_PORT",
    ),
    "two variables of a runtime of one name": Refusal(
        "spec.container.env=[{name: b, value: a}, {name: b, value: b}]",
        "spec.container.env[1].name: found 'b'; expected each one once",
        "spec.container.env[1]: Duplicate value",
    ),
    "two claims of one name": Refusal(
        "spec.accelerator={resourceClaims: [{name: b, resourceClaimName: a}, {name: b, resourceClaimName: c}]}",
        "spec.accelerator.resourceClaims[1].name: found 'b'; expected each one once",
        "spec.accelerator.resourceClaims[1]: Duplicate value",
    ),
    "a unit of no memory": Refusal("spec.accelerator.sharing.memoryUnit='0'", _SIZE, _SIZE),
    "a device without cores": Refusal(
        "spec.accelerator.sharing.coresPerDevice=0",
        "spec.accelerator.sharing.coresPerDevice: found 0; expected greater than or equal to 1",
        "spec.accelerator.sharing.coresPerDevice",
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
    "cpu of 2Ei": Refusal("spec.resources={cpu: 2Ei}", "expected CPUs above zero", "spec.resources.cpu"),
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

_PORT = "must be a number or container.port.name"
_PORT_NAME = "expected a port's name"
_ONE_HANDLER = "give one of httpGet, tcpSocket, exec and grpc"

INFERENCE_RUNTIMES |= {
    "a placeholder that does not end": Refusal(
        "spec.container.args=['{{ .Unclosed']", "spec.container.args[0]: found '{{ .Unclosed'", "spec.container.args[0]"
    ),
    "an unknown placeholder": Refusal(
        "spec.container.command=['{{ .Model.Size }}']", "unknown placeholder; allowed: ", "spec.container.command[0]"
    ),
    "a template's function": Refusal(
        "spec.container.args=['{{ .Model.Path | quote }}']", "unknown placeholder; allowed: ", "spec.container.args[0]"
    ),
    "a placeholder in four braces": Refusal(
        "spec.container.args=['{{{{ .Model.Path }}']", "a placeholder that does not end", "spec.container.args[0]"
    ),
    "a placeholder in a variable": Refusal(
        "spec.container.env=[{name: A, value: '{{ .Model'}]",
        "spec.container.env[0].value",
        "spec.container.env[0].value",
    ),
    "a variable with an equals sign": Refusal(
        "spec.container.env=[{name: A=B, value: c}]", "expected a variable's name", "spec.container.env[0].name"
    ),
    "a variable with two values": Refusal(
        "spec.container.env=[{name: A, value: b, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
        "give one of value and valueFrom",
        "give one of value and valueFrom",
    ),
    "an image in capitals": Refusal("spec.container.image=host/Engine:1", "expected an image", "spec.container.image"),
    "an image with a space": Refusal("spec.container.image='engine: 1'", "expected an image", "spec.container.image"),
    "a port without a letter": Refusal("spec.container.port={name: '8000'}", _PORT_NAME, "spec.container.port.name"),
    "a port with two dashes": Refusal("spec.container.port={name: a--b}", _PORT_NAME, "spec.container.port.name"),
    "a port with a dash first": Refusal("spec.container.port={name: -a}", _PORT_NAME, "spec.container.port.name"),
    "a port of 16 letters": Refusal(
        f"spec.container.port={{name: {'a' * 16}}}", "spec.container.port.name", "spec.container.port.name"
    ),
    "metrics on a port that is not there": Refusal("spec.metrics.port=metrics", _PORT, f"metrics.port: {_PORT}"),
    "metrics on a port as a text": Refusal("spec.metrics.port='8000'", "spec.metrics.port", "spec.metrics.port"),
    "a probe of a port that is not there": Refusal(
        "spec.health={liveness: {tcpSocket: {port: admin}}}", _PORT, f"health.liveness.tcpSocket.port: {_PORT}"
    ),
    "two handlers": Refusal(
        "spec.health.readiness={httpGet: {path: /h}, grpc: {port: 9000}}", _ONE_HANDLER, _ONE_HANDLER
    ),
    "gRPC on a named port": Refusal(
        "spec.health.readiness={grpc: {port: http}}",
        "spec.health.readiness.grpc.port",
        "spec.health.readiness.grpc.port",
    ),
    "two successes of a startup": Refusal(
        "spec.health.startup={successThreshold: 2}",
        "startup.successThreshold: found 2; must be 1",
        "startup.successThreshold: must be 1",
    ),
    "a grace of a readiness probe": Refusal(
        "spec.health.readiness={terminationGracePeriodSeconds: 5}",
        "a readiness probe ends nothing",
        "a readiness probe ends nothing",
    ),
    "a header with a space": Refusal(
        "spec.health.readiness={httpGet: {httpHeaders: [{name: a b, value: c}]}}",
        "expected a header's name",
        "spec.health.readiness.httpGet.httpHeaders[0].name",
    ),
    "a resource without a domain": Refusal(
        "spec.accelerator.resourceName=gpu", "expected an extended resource", "spec.accelerator.resourceName"
    ),
    "a resource of Kubernetes' own": Refusal(
        "spec.accelerator.resourceName=kubernetes.io/gpu", "not Kubernetes' own", "not Kubernetes' own"
    ),
    "a quota's resource": Refusal(
        "spec.accelerator.resourceName=requests.nvidia.com/gpu", "no quota's requests", "no quota's requests"
    ),
    "a resource with two slashes": Refusal(
        "spec.accelerator.resourceName=a/b/c", "expected an extended resource", "spec.accelerator.resourceName"
    ),
    "sharing with nothing to ask for": Refusal(
        "spec.accelerator.sharing={supported: true}",
        "sharing needs resourceNames.memory",
        "sharing needs resourceNames.memory",
    ),
    "a label's name with a space": Refusal(
        "spec.accelerator.nodeSelector={a b: c}", "expected a label's name", "expected labels' names"
    ),
    "a label's value with a sign at its end": Refusal(
        "spec.accelerator.nodeSelector={a: b-}", "expected a label's value", "spec.accelerator.nodeSelector"
    ),
    "a taint without a key": Refusal(
        "spec.accelerator.tolerations=[{value: a}]", "must be Exists without a key", "must be Exists without a key"
    ),
    "a taint that exists with a value": Refusal(
        "spec.accelerator.tolerations=[{key: a, operator: Exists, value: b}]",
        "must be empty with operator Exists",
        "must be empty with operator Exists",
    ),
    "seconds of what evicts nobody": Refusal(
        "spec.accelerator.tolerations=[{key: a, operator: Exists, effect: NoSchedule, tolerationSeconds: 5}]",
        "must be NoExecute with tolerationSeconds",
        "must be NoExecute with tolerationSeconds",
    ),
    "a mount without its volume": Refusal(
        "spec.volumeMounts=[{name: a, mountPath: /a}]",
        "volumeMounts[0].name: found 'a'; expected the name of one of spec.volumes",
        "volumeMounts: expected the name of one of spec.volumes",
    ),
    "a mount of the runtime's at Hearth's": Refusal(
        "spec={family: f, vendor: v, container: {image: i}, volumes: [{name: a, emptyDir: {}}], "
        "volumeMounts: [{name: a, mountPath: /models/}]}",
        "spec.volumeMounts[0].mountPath: found '/models/'; Hearth mounts",
        "Hearth mounts /models/source, /models/cache and /dev/shm",
    ),
    "a volume without a name": Refusal("spec.volumes=[{emptyDir: {}}]", "spec.volumes[0].name", "spec.volumes[0].name"),
    "a volume in capitals": Refusal(
        "spec.volumes=[{name: Data, emptyDir: {}}]", "spec.volumes[0].name", "spec.volumes[0].name"
    ),
    "a metric that is no name": Refusal(
        'spec.metrics.running="x\' /etc"', "expected a metric's name", "spec.metrics.running"
    ),
    "a path with a shell's sign": Refusal(
        "spec.metrics.path=/metrics$(id)", "expected a path that begins with '/'", "spec.metrics.path"
    ),
    "a priority with a fraction": Refusal("spec.priority=1.5", "spec.priority", "spec.priority"),
}

GOOD_LLMSERVICES = {
    "keys": "spec.endpoint.authentication={secretRef: {name: hearth-api-keys}}",
    "keys in an entry of their own": "spec.endpoint.authentication={secretRef: {name: team.keys, key: qwen_1.txt}}",
    "a part that is null": "spec.scaling=null",
    "a field that is null": "spec.scaling={max: null, target: 3}",
    "days by name": _window("0 8 * * MON-FRI"),
    "days by name in small letters": _window("0 8 * * mon,Wed,5"),
    "Sunday": _window("0 8 * * 0"),
    "either sign for any": _window("0 8 ? * *"),
    "numbers with zeros": _window("00 08 01 01 01"),
    "steps and lists": _window("*/15,7 8-17/2,20 1-10/3 jan-MAR,12 *"),
    "a step from a number": _window("5/10 8 * * *"),
    "the 29th of February": _window("0 8 29 2 *"),
    "the 31st of some months": _window("0 8 31 2,3 *"),
    "the 31st in a range": _window("0 8 31 4-6 *"),
    "the 31st of February or Monday": _window("0 8 31 2 1"),
    "a zone": _window("0 8 * * *", timezone="America/Argentina/Buenos_Aires"),
    "a zone with a sign": _window("0 8 * * *", timezone="Etc/GMT+5"),
    "a claim with dots": "spec.model.source.uri=pvc://models.v2/a/b.c/",
    "an image by digest": f"spec.model.source.uri=oci://registry.example:5000/a/b_c:v1@sha256:{'0a' * 32}",
    "an image of a host of six": "spec.model.source.uri='oci://[2001:db8::1]:5000/a'",
    "a revision with a slash": "spec.model.source.uri=hf://a/b@refs/pr/1",
    "a bucket": "spec.model.source.uri=s3://my.bucket/a=1/b+c",
    "parts of a duration": "spec.scaling.drainTimeout=1h0.5m1.25s5ms",
    "the longest wait": "spec.scaling.drainTimeout=24h",
    "a size with a sign": "spec.cache.size='+50Gi'",
    "a size with a fraction": "spec.cache.size=1.5Ti",
    "a size with a point first": "spec.cache.size='.5Gi'",
    "a size with a point last": "spec.cache.size='5.'",
    "a size with an exponent": "spec.cache.size='5E+9'",
    "a size in thousandths": "spec.cache.size=1500m",
    "a size as a number": "spec.cache.size=5000000000",
    "the largest size": "spec.cache.size=1Ei",
    "CPUs as a number": "spec.resources={cpu: 4}",
    "CPUs as a number with a fraction": "spec.resources={cpu: 0.5}",
    "CPUs as a text": "spec.resources={cpu: '0.5'}",
    "CPUs in thousandths": "spec.resources={cpu: 500m}",
    "CPUs in millionths": "spec.resources={cpu: 500000u, memory: 100000000n}",
    "the most replicas": f"spec.scaling={{min: 0, max: {2**31 - 1}}}",
    "an empty volume's size": "spec.cache={strategy: 'None', size: 5Gi}",
    "a folder on the node": "spec.cache={strategy: HostPath}",
    **{
        f"a mount at {path}": "spec.template.spec.containers="
        f"[{{name: engine, volumeMounts: [{{name: a, mountPath: {path}}}]}}]"
        for path in ("/models/a", "/models/sources/", "/models/caches", "/models.d", "/dev/shm", "/dev/a", "/a/..b/")
    },
}

GOOD_RUNTIMES = {
    "shares in units of their own": "spec.accelerator.sharing={supported: true, memoryUnit: 512Mi, coresPerDevice: 16, "
    "resourceNames: {memory: a.com/memory, cores: a.com/core}}",
    "an image that is to be given": "spec.container.image=registry.invalid/a/b:ask",
    "metrics on a named port": "spec.metrics={port: http, running: 'vllm:num_requests_running'}",
    "metrics on another port": "spec.metrics={port: 9000}",
    "a port of one letter": "spec.container.port={name: a, containerPort: 1}",
    "a port with digits": "spec.container.port={name: 8-http-2}",
    "HTTP with everything": "spec.health.readiness={httpGet: {path: /h, port: http, host: 127.0.0.1, scheme: HTTPS, "
    "httpHeaders: [{name: X-A, value: ''}]}, initialDelaySeconds: 0, periodSeconds: 1, timeoutSeconds: 1, "
    "successThreshold: 2, failureThreshold: 3}",
    "a command": "spec.health.liveness={exec: {command: [sh, -c, 'true']}, terminationGracePeriodSeconds: 5}",
    "a port": "spec.health.startup={tcpSocket: {port: 8000, host: 127.0.0.1}}",
    "gRPC": "spec.health.liveness={grpc: {port: 9000, service: health}}",
    "braces that are none of ours": """spec.container.args=['{"a": {"b": {}}}', '{', '{{ .Model.Path }}{', '{{{.Model.Name}}}']""",
    "a resource": "spec.accelerator.resourceName=huawei.com/Ascend910",
    "a label without a value": "spec.accelerator.nodeSelector={node-role.kubernetes.io/gpu: ''}",
    "every taint": "spec.accelerator.tolerations=[{operator: Exists}]",
    "a taint for a while": "spec.accelerator.tolerations=[{key: a, effect: NoExecute, tolerationSeconds: 5}]",
    "CPUs as a number with a fraction": "spec.resources={cpu: 0.5}",
    "an image by digest": f"spec.container.image=engine@sha256:{'0a' * 32}",
    "a variable with dots": "spec.container.env=[{name: a.b-c, value: ''}]",
    "a mount": "spec={family: f, vendor: v, container: {image: i}, volumes: [{name: a, hostPath: {path: /a}}], "
    "volumeMounts: [{name: a, mountPath: /a, readOnly: true}]}",
}
