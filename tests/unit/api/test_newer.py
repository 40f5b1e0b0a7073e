"""What the API server has is read by roles that are older than its CRDs: in each upgrade, and after each rollback."""

import copy
from typing import Any

import pytest

from hearth.activator.directory import Directory, Entry
from hearth.api.key import ServiceKey
from hearth.api.manifest import ManifestError, parse_llmservice, read_llmservice, read_runtime
from tests.builders import llmservice_manifest, runtime_manifest


def filled(document: dict[str, Any]) -> tuple[dict[str, Any], int]:
    """The document with a field that nobody knows at every place where there is a mapping of ours."""
    changed, count = copy.deepcopy(document), 0

    def add(part: Any, path: str) -> None:
        nonlocal count
        if isinstance(part, dict) and not path.endswith((".labels", ".annotations", ".matchLabels", ".nodeSelector")):
            for name, value in list(part.items()):
                add(value, f"{path}.{name}")
            if path.startswith(".spec"):
                part["newerThanThis"] = {"deep": [{"er": 1}]}
                count += 1
        elif isinstance(part, list):
            for value in part:
                add(value, path)

    add(changed, "")
    return changed, count


SPEC = (
    "spec.endpoint={coldStart: {heartbeatInterval: 5s}, timeouts: {firstByte: 10m}, authentication: {secretRef: {name: hearth-api-keys}}}",
    "spec.scaling={min: 1, max: 3, schedules: [{timezone: UTC, start: 0 8 * * *, end: 0 9 * * *, replicas: 2}]}",
    "spec.cache={prewarm: true, strategy: SharedPVC}",
    "spec.resources={cpu: '4'}",
)


def test_fields_that_are_newer_are_passed_over_everywhere() -> None:
    document = llmservice_manifest("qwen", "ai", *SPEC)
    newer, places = filled(document)
    assert places >= 12
    assert read_llmservice(newer) == parse_llmservice(document)
    with pytest.raises(ManifestError, match="found an unknown field"):
        parse_llmservice(newer)


def test_of_a_runtime_too() -> None:
    document = runtime_manifest("spec.prewarm={command: [download]}")
    newer, places = filled(document)
    assert places >= 4
    assert read_runtime(newer) == read_runtime(document)


def test_what_is_wrong_is_wrong_all_the_same() -> None:
    newer, _ = filled(llmservice_manifest("qwen", "ai", "spec.scaling.max=0"))
    with pytest.raises(ManifestError, match="spec.scaling"):
        read_llmservice(newer)


def test_what_is_not_built_is_not_passed_over() -> None:
    """Whoever asks for it would wait for ever."""
    with pytest.raises(ManifestError, match="not supported yet"):
        read_llmservice(llmservice_manifest("qwen", "ai", "spec.failover={url: 'https://elsewhere.example'}"))


class TestAnActivatorThatStarts:
    """It has never read the valid one."""

    def directory(self) -> tuple[Directory, dict[ServiceKey, Entry | None]]:
        seen: dict[ServiceKey, Entry | None] = {}
        return Directory(seen.__setitem__), seen

    def test_knows_a_model_whose_template_can_not_be_read(self) -> None:
        directory, seen = self.directory()
        item = llmservice_manifest("qwen", "ai", "spec.endpoint.maxQueue=7", "spec.resources=nonsense")
        directory.put_service(("ai", "qwen"), item)
        entry = seen[ServiceKey("ai", "qwen")]
        assert entry is not None
        assert entry.policy.max_queue == 7

    def test_lets_nobody_in_where_it_can_not_read_who_may_ask(self) -> None:
        directory, seen = self.directory()
        item = llmservice_manifest("qwen", "ai", "spec.endpoint.authentication={secretRef: nonsense}")
        directory.put_service(("ai", "qwen"), item)
        assert seen == {}

    def test_keeps_what_it_has_read_before(self) -> None:
        directory, seen = self.directory()
        directory.put_service(("ai", "qwen"), llmservice_manifest("qwen", "ai", "spec.endpoint.maxQueue=7"))
        directory.put_service(("ai", "qwen"), llmservice_manifest("qwen", "ai", "spec.resources=nonsense"))
        entry = seen[ServiceKey("ai", "qwen")]
        assert entry is not None
        assert entry.policy.max_queue == 7
