"""Whatever an outsider writes: it is read, or refused in words, and nothing else happens."""

import contextlib
import copy
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hearth.api.llmservice import LLMService
from hearth.api.manifest import ManifestError, parse_llmservice, parse_runtime
from hearth.crd_translator import RuntimeNotResolved, render
from tests.builders import bundled_runtimes, llmservice_manifest, runtime_manifest

TEXTS = [
    "",
    "0",
    "-1",
    "1e5000",
    "1e9999999999999999999",
    "99999999999999999999999h",
    "24h",
    "NaN",
    "{{",
    "{{ .Model.Path }}",
]
anything = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.integers(-(2**70), 2**70)
    | st.floats()
    | st.text()
    | st.sampled_from(TEXTS),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
FULL = llmservice_manifest(
    "qwen",
    "ai",
    "spec.model.source.secretRef={name: hub}",
    "spec.resources={accelerators: 1, cpu: 4, memory: 8Gi, fraction: {memory: 8Gi, cores: 50}}",
    "spec.scaling={min: 0, max: 2, target: 5, drainTimeout: 30s, activationTimeout: 5m, scaleDownStabilization: 5m, "
    "schedules: [{start: 0 8 * * *, end: 0 9 * * *, timezone: UTC, replicas: 1}]}",
    "spec.cache={strategy: SharedPVC, size: 50Gi, storageClassName: a, prewarm: true}",
    "spec.endpoint={maxQueue: 5, concurrency: 7, coldStart: {heartbeatInterval: 1s, whitespaceAfter: 25s}}",
    "spec.imagePullSecrets=[{name: a}]",
)
FULL["status"] = {
    "phase": "Loading",
    "replicas": 1,
    "queueDepth": 3,
    "coldStart": {"phase": "loading", "since": "2026-01-01T00:00:00Z", "took": {"scheduling": 1.5}, "eta": 3},
    "coldStartHistory": [{"scheduling": 1.5, "loading": 20}],
    "conditions": [{"type": "Ready", "status": "False", "reason": "ColdStart", "message": "why"}],
}
RUNTIME = runtime_manifest(
    "spec.container.env=[{name: A, value: b}, {name: C, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]",
    "spec.accelerator.tolerations=[{key: a, operator: Exists, effect: NoExecute, tolerationSeconds: 5}]",
    "spec.volumes=[{name: v, emptyDir: {}}]",
    "spec.volumeMounts=[{name: v, mountPath: /v}]",
    "spec.health.readiness={httpGet: {path: /h, port: http}, periodSeconds: 1}",
    "spec.lifecycle.terminationGracePeriodSeconds=30",
    "spec.metrics={port: 9000, running: r}",
)


def places(part: object, path: tuple[str | int, ...] = ()) -> list[tuple[str | int, ...]]:
    """The paths of everything in a document but the document itself."""
    inside = part.items() if isinstance(part, dict) else enumerate(part) if isinstance(part, list) else ()
    found: list[tuple[str | int, ...]] = []
    for name, inner in inside:
        found += [(*path, name), *places(inner, (*path, name))]
    return found


def changed(document: dict[str, Any], path: tuple[str | int, ...], value: object) -> dict[str, Any]:
    made = copy.deepcopy(document)
    part: Any = made
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    return made


@given(anything)
@pytest.mark.parametrize("parse", [parse_llmservice, parse_runtime])
def test_any_json_is_refused_in_words(parse: Any, document: object) -> None:
    with pytest.raises(ManifestError) as raised:
        parse(document)
    assert all(problem.message for problem in raised.value.problems)


def test_the_full_manifests_are_read() -> None:
    assert parse_llmservice(FULL).status is not None
    assert parse_runtime(RUNTIME).spec.volumes


@given(st.sampled_from(places(FULL)), anything)
@settings(max_examples=150, deadline=None)
def test_an_llmservice_that_is_read_is_rendered_or_refused(path: tuple[str | int, ...], value: object) -> None:
    with contextlib.suppress(ManifestError, RuntimeNotResolved):
        service = parse_llmservice(changed(FULL, path, value))
        assert parse_llmservice(service.to_manifest()) == service
        render(service, bundled_runtimes())


SERVICE: LLMService = parse_llmservice(llmservice_manifest("qwen", "ai", "spec.runtime={name: r}"))


@given(st.sampled_from(places(RUNTIME)), anything)
@settings(max_examples=150, deadline=None)
def test_a_runtime_that_is_read_renders_its_services(path: tuple[str | int, ...], value: object) -> None:
    with contextlib.suppress(ManifestError, RuntimeNotResolved):
        runtime = parse_runtime(changed(RUNTIME, path, value))
        render(SERVICE, [runtime])
