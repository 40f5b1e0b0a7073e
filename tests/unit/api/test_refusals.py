"""The models' half of tests/refusals.py, what is refused and what is taken, and that nothing in the CRDs is without a bound."""

import json
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from hearth.api.manifest import ManifestError, parse_llmservice, parse_runtime
from tests import refusals
from tests.builders import llmservice_manifest, runtime_manifest
from tools.crd import inferenceruntime_crd, llmservice_crd


@pytest.mark.parametrize("case", refusals.LLMSERVICES)
def test_an_llmservice_is_refused_in_words(case: str) -> None:
    refusal = refusals.LLMSERVICES[case]
    with pytest.raises(ManifestError) as raised:
        parse_llmservice(llmservice_manifest("qwen", "ai", refusal.assignment))
    assert refusal.models in str(raised.value)


@pytest.mark.parametrize("case", refusals.INFERENCE_RUNTIMES)
def test_an_inferenceruntime_is_refused_in_words(case: str) -> None:
    refusal = refusals.INFERENCE_RUNTIMES[case]
    with pytest.raises(ManifestError) as raised:
        parse_runtime(runtime_manifest(refusal.assignment))
    assert refusal.models in str(raised.value)


@pytest.mark.parametrize("case", refusals.GOOD_LLMSERVICES)
def test_an_llmservice_is_taken_and_read_back(case: str) -> None:
    service = parse_llmservice(llmservice_manifest("qwen", "ai", refusals.GOOD_LLMSERVICES[case]))
    assert parse_llmservice(service.to_manifest()) == service


@pytest.mark.parametrize("case", refusals.GOOD_RUNTIMES)
def test_an_inferenceruntime_is_taken_and_read_back(case: str) -> None:
    runtime = parse_runtime(runtime_manifest(refusals.GOOD_RUNTIMES[case]))
    assert parse_runtime(runtime.to_manifest()) == runtime


def nested(depth: int) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for _ in range(depth):
        made = {"a": made}
    return made


@pytest.mark.parametrize(
    ("path", "found", "says"),
    [
        (("container", "env"), [{"name": "A", "valueFrom": nested(2000)}], "env[0].valueFrom: found 'more than that'"),
        (("volumes",), [nested(2000)], "spec.volumes[0]: found 'more than that'; expected it nested at most 16 deep"),
        (("volumes",), [{"a": [1] * 2000}], "spec.volumes[0]: found 'more than that'; expected at most 1024 fields"),
        (("volumes",), [{"a" * 318: 1}], "spec.volumes[0]: found 'a longer one'; expected names of at most 317"),
        (("volumeMounts",), [{"name": "a" * 32_769}], "expected texts of at most 32768 characters in it"),
        (("container", "args"), ["{{ .Model.Path"], "args[0]: found '{{ .Model.Path'; a placeholder that does not end"),
        (
            ("container", "args"),
            ["{{ {x} }}"],
            "args[0]: found '{{ {x} }}'; a placeholder that does not end, or braces",
        ),
        (("accelerator", "nodeSelector"), {"a" * 318: "b"}, "found 318 characters; expected at most 317"),
    ],
)
def test_what_a_schema_cannot_bound_the_models_do(path: tuple[str, ...], found: object, says: str) -> None:
    manifest = runtime_manifest()
    part = manifest["spec"]
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = found
    with pytest.raises(ManifestError) as raised:
        parse_runtime(manifest)
    assert says in str(raised.value)


def test_a_part_that_kubernetes_reads_may_be_as_deep_as_its_own() -> None:
    volume = {"name": "v", "projected": {"sources": [{"secret": {"items": [{"key": "k", "path": "p"}]}}]}}
    assert parse_runtime(runtime_manifest(f"spec.volumes={json.dumps([volume])}")).spec.volumes == [volume]


def nodes(path: str, node: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    yield path, node
    for name, inner in node.get("properties", {}).items():
        yield from nodes(f"{path}.{name}", inner)
    if "items" in node:
        yield from nodes(f"{path}[]", node["items"])
    if isinstance(node.get("additionalProperties"), dict):
        yield from nodes(f"{path}{{}}", node["additionalProperties"])


@pytest.mark.parametrize(
    "crd", [llmservice_crd(), inferenceruntime_crd()], ids=lambda crd: crd["spec"]["names"]["kind"]
)
def test_every_field_of_a_crd_has_a_bound(crd: dict[str, Any]) -> None:
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    boundless = []
    for part in ("spec", "status"):
        for path, node in nodes(part, schema["properties"].get(part, {})):
            kind = node.get("type")
            needs = {
                "string": {"maxLength"},
                "array": {"maxItems"},
                "integer": {"minimum", "maximum"},
                "number": {"minimum", "maximum"},
            }.get(str(kind), set())
            if "additionalProperties" in node:
                needs = {"maxProperties"}
            if node.get("x-kubernetes-int-or-string"):
                needs = {"minimum", "maximum", "maxLength"}
            if node and "type" not in node and "x-kubernetes-int-or-string" not in node:
                needs = {"minimum", "maximum", "maxLength", "maxItems", "maxProperties", "not"}
            refused = path == "spec.model.catalogRef"  # whatever it is
            if not needs <= node.keys() and "enum" not in node and not refused:
                boundless.append(path)
    assert boundless == []


@pytest.mark.parametrize(
    "crd", [llmservice_crd(), inferenceruntime_crd()], ids=lambda crd: crd["spec"]["names"]["kind"]
)
def test_a_crds_bounds_are_written_as_the_api_server_keeps_them(crd: dict[str, Any]) -> None:
    """As float64: else everybody who applies the same CRD is in conflict with who did before."""
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    bounds = {path: node[name] for path, node in nodes("", schema) for name in ("minimum", "maximum") if name in node}
    assert bounds
    assert {path: bound for path, bound in bounds.items() if Decimal(repr(float(bound))) != bound} == {}
