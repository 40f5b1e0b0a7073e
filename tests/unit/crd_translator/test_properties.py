"""Any valid LLMService renders to objects that are consistent with each other and with what was asked."""

import re
from typing import Any

import yaml
from hypothesis import given
from hypothesis import strategies as st

from hearth.api.llmservice import LLMService
from hearth.api.manifest import parse_llmservice
from hearth.crd_translator import ClusterFacts, render
from tests.builders import bundled_runtimes

RUNTIMES = bundled_runtimes()
LABEL_VALUE = re.compile(r"[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")
LABEL_KEY = re.compile(r"([a-z0-9.-]{1,253}/)?[a-zA-Z0-9]([-._a-zA-Z0-9]{0,61}[a-zA-Z0-9])?")

dns_labels = st.from_regex(r"[a-z]([a-z0-9-]{0,61}[a-z0-9])?", fullmatch=True)
seconds = st.integers(min_value=1, max_value=3600).map(lambda n: f"{n}s")


@st.composite
def llmservices(draw: st.DrawFn) -> LLMService:
    vendor = draw(st.sampled_from(["nvidia", "ascend", "amd"]))
    uris = ["hf://Org/Model-7B", "modelscope://o/m@v1", "pvc://claim/a/b", "oci://reg.example/m:1", "s3://bucket/x"]
    highest = draw(st.integers(min_value=1, max_value=500))
    uri = draw(st.sampled_from(uris))
    strategy = draw(st.sampled_from(["NodeLocalPVC", "HostPath", "SharedPVC", "None", "BakedImage"]))
    claim = strategy in ("NodeLocalPVC", "SharedPVC") and uri.startswith(("hf:", "modelscope:"))
    return parse_llmservice(
        {
            "apiVersion": "serving.hearth.dev/v1alpha1",
            "kind": "LLMService",
            "metadata": {"name": draw(dns_labels), "namespace": draw(dns_labels)},
            "spec": {
                "model": {"source": {"uri": uri}},
                "runtime": {"selector": {"vendor": [vendor]}, "argsOverride": draw(st.lists(st.text(max_size=8)))},
                "resources": {"accelerators": draw(st.integers(min_value=0, max_value=16))},
                "scaling": {
                    "min": draw(st.integers(min_value=0, max_value=highest)),
                    "max": highest,
                    "target": draw(st.integers(min_value=1, max_value=10_000)),
                    "drainTimeout": draw(seconds),
                    "scaleDownStabilization": draw(seconds),
                },
                "cache": {
                    "strategy": strategy,
                    "prewarm": claim and draw(st.booleans()),
                },
            },
        }
    )


@given(llmservices())
def test_the_objects_are_consistent(service: LLMService) -> None:
    objects = render(service, RUNTIMES, ClusterFacts()).objects
    by_kind: dict[str, list[dict[str, Any]]] = {}
    for item in objects:
        by_kind.setdefault(item["kind"], []).append(item)
        metadata = item["metadata"]
        assert len(metadata["name"]) <= 63
        assert metadata["namespace"] == service.metadata.namespace
        for key, value in metadata["labels"].items():
            assert LABEL_KEY.fullmatch(key)
            assert LABEL_VALUE.fullmatch(value)
    names = [(item["kind"], item["metadata"]["name"]) for item in objects]
    assert len(set(names)) == len(names)

    (deployment,) = by_kind["Deployment"]
    (scaled,) = by_kind["ScaledObject"]
    engine, alias = by_kind["Service"]
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]

    assert "replicas" not in deployment["spec"], "KEDA owns the count"
    selector = deployment["spec"]["selector"]["matchLabels"]
    assert selector.items() <= template["metadata"]["labels"].items()
    assert engine["spec"]["selector"] == selector
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert engine["spec"]["ports"][0]["port"] == ports[engine["spec"]["ports"][0]["targetPort"]]
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
        assert container[probe]["httpGet"]["port"] in ports
    assert alias["metadata"]["name"] == service.metadata.name
    assert alias["spec"]["type"] == "ExternalName"

    volumes = [volume["name"] for volume in template["spec"]["volumes"]]
    assert len(set(volumes)) == len(volumes)
    assert {mount["name"] for mount in container["volumeMounts"]} <= set(volumes)
    claims = {claim["metadata"]["name"] for claim in by_kind.get("PersistentVolumeClaim", [])}
    used = {
        v["persistentVolumeClaim"]["claimName"] for v in template["spec"]["volumes"] if "persistentVolumeClaim" in v
    }
    assert claims <= used
    env = [variable["name"] for variable in container["env"]]
    assert len(set(env)) == len(env), "a server-side apply refuses two variables of one name"

    scaling = service.spec.scaling
    assert scaled["spec"]["minReplicaCount"] == scaling.min
    assert scaled["spec"]["maxReplicaCount"] == scaling.max
    assert scaled["spec"]["scaleTargetRef"]["name"] == deployment["metadata"]["name"]
    trigger = scaled["spec"]["triggers"][0]
    assert trigger["metadata"]["target"] == str(scaling.target)
    assert (trigger["metadata"]["namespace"], trigger["metadata"]["name"]) == service.key
    assert all(isinstance(value, str) for value in trigger["metadata"].values())
    behavior = scaled["spec"]["advanced"]["horizontalPodAutoscalerConfig"]["behavior"]
    for direction in behavior.values():
        assert 0 <= direction["stabilizationWindowSeconds"] <= 3600
        assert all(0 < policy["periodSeconds"] <= 1800 for policy in direction["policies"])
    grace = template["spec"]["terminationGracePeriodSeconds"]
    assert grace > scaling.drain_timeout.total_seconds(), "a replica gets its drain before it is killed"

    # What is printed is what is applied.
    assert list(yaml.safe_load_all(yaml.safe_dump_all(objects))) == list(objects)


@given(llmservices())
def test_rendering_is_pure(service: LLMService) -> None:
    assert render(service, RUNTIMES).objects == render(service, RUNTIMES).objects


@given(st.lists(dns_labels, min_size=2, max_size=2, unique=True))
def test_two_services_never_share_an_object(pair: list[str]) -> None:
    names = []
    for name in pair:
        service = parse_llmservice(
            {
                "apiVersion": "serving.hearth.dev/v1alpha1",
                "kind": "LLMService",
                "metadata": {"name": name, "namespace": "ai"},
                "spec": {"model": {"source": {"uri": "hf://a/b"}}, "runtime": {"name": "nvidia-vllm"}},
            }
        )
        names.append({(item["kind"], item["metadata"]["name"]) for item in render(service, RUNTIMES).objects})
    # NAME-engine of one may be the name of the other: only then do two meet, and it is the Service they meet in.
    if pair[0] + "-engine" != pair[1] and pair[1] + "-engine" != pair[0]:
        assert not names[0] & names[1]
