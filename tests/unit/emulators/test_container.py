"""A container's command and environment, as the kubelet and a container runtime make them."""

from collections.abc import Mapping
from typing import Any

import pytest

from hearth.emulators.container import Image, NotStartable, SourceKind, Start, environment_of, expand, start_of

POD: dict[str, Any] = {
    "metadata": {"name": "qwen-1", "namespace": "ai", "labels": {"tier": "gold"}},
    "spec": {"nodeName": "gpu-1"},
    "status": {"podIP": "127.4.5.6"},
}


def container(**fields: Any) -> dict[str, Any]:
    return {"name": "engine", "image": "engine:1", **fields}


def start(image: Image | None = None, **fields: Any) -> Start:
    return start_of(container(**fields), POD, image or Image())


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(A)", "one"),
        ("x$(A)y$(B)", "xoneytwo"),
        ("$$(A)", "$(A)"),
        ("$$$(A)", "$one"),
        ("$$$$(A)", "$$(A)"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$(A", "$(A"),
        ("$A", "$A"),
        ("$A$(A)", "$Aone"),
        ("a$", "a$"),
        ("$()", "$()"),
        ("$(A)$", "one$"),
        ("$(C)", "$(A)"),
    ],
)
def test_expansion_is_kubernetes_own(text: str, expanded: str) -> None:
    """k8s.io/kubernetes, third_party/forked/golang/expansion: one pass from the left, what is unknown stays."""
    assert expand(text, {"A": "one", "B": "two", "C": "$(A)"}) == expanded


class TestCommand:
    """https://kubernetes.io/docs/tasks/inject-data-application/define-command-argument-container/"""

    image = Image(("entry",), ("default",))

    @pytest.mark.parametrize(
        ("fields", "argv"),
        [
            ({}, ["entry", "default"]),
            ({"args": ["a"]}, ["entry", "a"]),
            ({"command": ["c"]}, ["c"]),
            ({"command": ["c"], "args": ["a"]}, ["c", "a"]),
        ],
    )
    def test_it_replaces_the_entry_point_and_args_the_images(self, fields: dict[str, Any], argv: list[str]) -> None:
        assert start(self.image, **fields).argv == argv

    def test_it_is_expanded_with_the_containers_variables_and_not_with_the_images(self) -> None:
        image = Image((), (), {"PATH": "/image"})
        made = start(image, command=["$(RUN)", "$(PATH)"], args=["$$(RUN)"], env=[{"name": "RUN", "value": "serve"}])
        assert made.argv == ["serve", "$(PATH)", "$(RUN)"]

    def test_none_at_all_is_refused_in_words(self) -> None:
        with pytest.raises(NotStartable, match=r"container engine: command: found none.*'engine:1'") as raised:
            start(args=["--port", "8000"])
        assert raised.value.reason == "CreateContainerError"


class TestEnvironment:
    def test_it_is_the_images_and_the_containers_alone(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("SECRET_OF_THE_SHELL", "1")
        image = Image(("e",), (), {"PATH": "/image", "LANG": "C"})
        made = start(image, env=[{"name": "LANG", "value": "de"}])
        assert made.env == {"PATH": "/image", "LANG": "de", "HOSTNAME": "qwen-1"}

    def test_a_value_knows_what_stands_before_it(self) -> None:
        env = [
            {"name": "LATE", "value": "$(HOST)"},
            {"name": "HOST", "value": "h"},
            {"name": "URL", "value": "http://$(HOST)/$$(HOST)"},
            {"name": "EMPTY"},
        ]
        assert environment_of(container(env=env), POD) == {
            "LATE": "$(HOST)",
            "HOST": "h",
            "URL": "http://h/$(HOST)",
            "EMPTY": "",
        }

    @pytest.mark.parametrize(
        ("path", "value"),
        [
            ("metadata.name", "qwen-1"),
            ("status.podIP", "127.4.5.6"),
            ("metadata.labels['tier']", "gold"),
            ("metadata.annotations['none']", ""),
        ],
    )
    def test_the_pods_own_fields(self, path: str, value: str) -> None:
        env = [{"name": "FIELD", "valueFrom": {"fieldRef": {"fieldPath": path}}}]
        assert environment_of(container(env=env), POD) == {"FIELD": value}

    @pytest.mark.parametrize("path", ["status.hostIP", "metadata.labels"])
    def test_a_field_that_the_pod_has_not_is_named(self, path: str) -> None:
        env = [{"name": "FIELD", "valueFrom": {"fieldRef": {"fieldPath": path}}}]
        with pytest.raises(NotStartable, match=f"pod qwen-1: fieldPath: found '{path}'"):
            environment_of(container(env=env), POD)


class TestSources:
    """Secrets and ConfigMaps; the words are the kubelet's, since users search for them."""

    @staticmethod
    def data(kind: SourceKind, name: str) -> Mapping[str, str] | None:
        return {("Secret", "hub"): {"token": "t$(A)"}, ("ConfigMap", "all"): {"A": "1"}}.get((kind, name))

    def made(self, **fields: Any) -> dict[str, str]:
        return environment_of(container(**fields), POD, self.data)

    def test_a_whole_one_with_a_prefix_that_later_values_name(self) -> None:
        source = [{"prefix": "P_", "configMapRef": {"name": "all"}}]
        assert self.made(envFrom=source, env=[{"name": "B", "value": "$(P_A)"}]) == {"P_A": "1", "B": "1"}

    def test_a_key_whose_value_is_not_expanded(self) -> None:
        key = {"secretKeyRef": {"name": "hub", "key": "token"}}
        assert self.made(env=[{"name": "A", "value": "1"}, {"name": "T", "valueFrom": key}])["T"] == "t$(A)"

    @pytest.mark.parametrize("reference", [{"name": "none", "key": "k"}, {"name": "hub", "key": "k"}])
    def test_what_is_optional_and_not_there_is_no_variable(self, reference: dict[str, Any]) -> None:
        source = {"secretKeyRef": {**reference, "optional": True}}
        assert self.made(env=[{"name": "T", "valueFrom": source}]) == {}

    @pytest.mark.parametrize(
        ("fields", "words"),
        [
            ({"envFrom": [{"secretRef": {"name": "none"}}]}, 'secret "none" not found'),
            (
                {"env": [{"name": "T", "valueFrom": {"secretKeyRef": {"name": "hub", "key": "k"}}}]},
                "couldn't find key k in Secret hub",
            ),
        ],
    )
    def test_what_is_missing_keeps_the_container_from_being_made(self, fields: dict[str, Any], words: str) -> None:
        with pytest.raises(NotStartable, match=words) as raised:
            self.made(**fields)
        assert raised.value.reason == "CreateContainerConfigError"
