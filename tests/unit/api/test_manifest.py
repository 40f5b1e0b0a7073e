"""Each wrong manifest: one line with file, document, field path, what was found and what is allowed."""

from pathlib import Path

import pytest
import yaml

from hearth.api.llmservice import NOT_BUILT
from hearth.api.manifest import ManifestError, load_llmservices, load_runtimes, parse_llmservice, set_fields
from tests.builders import ROOT, SEED, llmservice_manifest


def written(folder: Path, *documents: object, name: str = "service.yaml") -> Path:
    path = folder / name
    path.write_text(yaml.safe_dump_all(documents))
    return path


def problems(*files: Path) -> list[str]:
    with pytest.raises(ManifestError) as raised:
        load_llmservices(files)
    return [str(problem) for problem in raised.value.problems]


def test_the_seed_manifest_is_accepted_with_the_defaults_of_the_api() -> None:
    (service,) = load_llmservices([SEED])
    spec = service.to_manifest()["spec"]
    assert service.key == ("ai-prod", "deepseek-v3-small")
    assert spec["scaling"] == {
        "min": 0,
        "max": 5,
        "metric": "queueDepth",
        "target": 5,
        "activationTimeout": "5m",
        "scaleDownStabilization": "5m",
        "drainTimeout": "2m",
        "schedules": [],
    }
    assert spec["cache"] == {"strategy": "NodeLocalPVC"}
    assert spec["endpoint"]["coldStart"]["heartbeatInterval"] == "10s"


def test_defaults_written_out_are_the_same_service() -> None:
    (service,) = load_llmservices([SEED])
    assert parse_llmservice(service.to_manifest()) == service


@pytest.mark.parametrize(
    ("assignment", "message"),
    [
        ("spec.scaling.mx=1", "spec.scaling.mx: found an unknown field (did you mean 'max'?); allowed: min, max"),
        ("spec.model.source.uri=ftp://x", "spec.model.source.uri: found 'ftp://x'; expected one of hf://"),
        ("spec.model.source={}", "spec.model.source.uri: required, and not given"),
        ("spec.scaling.min=7", "spec.scaling.min: found 7; must be at most max (1)"),
        ("spec.scaling.max=five", "spec.scaling.max: found 'five'; expected a valid integer"),
        ("spec.scaling.max='5'", "spec.scaling.max: found '5'; expected a valid integer"),
        ("spec.scaling.scaleDownStabilization=2h", "scaleDownStabilization: found '2h'; must be at most 1h"),
        ("spec.scaling.metric=kvCacheUtil", "spec.scaling.metric: found 'kvCacheUtil'; scaling on kvCacheUtil is not"),
        ("spec.scaling.metric=rps", "spec.scaling.metric: found 'rps'; allowed: 'queueDepth'"),
        ("spec.scaling=3", "spec.scaling: found 3; expected a mapping"),
        ("spec.runtime.name=x", "spec.runtime: found 'both name and selector'; give exactly one"),
        ("spec.runtime={}", "spec.runtime: found 'neither name nor selector'; give exactly one"),
        ("spec.runtime.selector.vendor=[]", "spec.runtime.selector.vendor: found a list; expected"),
        ("spec.cache.strategy=Disk", "spec.cache.strategy: found 'Disk'; allowed: 'NodeLocalPVC', 'HostPath'"),
        ("spec.cache.size=big", "spec.cache.size: found 'big'; expected a Kubernetes quantity"),
        ("spec.cache={prewarm: true, strategy: None}", "spec.cache.prewarm: found True; needs strategy NodeLocalPVC"),
        ("spec.resources={accelerators: 2, fraction: {cores: 50}}", "accelerators: found 2; a fraction is a share"),
        (
            "spec.scaling.schedules=[{start: often, end: 0 20 * * *}]",
            "schedules[0].start: found 'often'; expected five",
        ),
        ("metadata.name=qwen2.5", "metadata.name: found 'qwen2.5'; expected a DNS label"),
        (
            "metadata.name=qwen-engine",
            "metadata.name: found 'qwen-engine'; expected a name that does not end in -engine",
        ),
        ("kind=Pod", "kind: found 'Pod'; expected 'LLMService'"),
        ("kind=InferenceRuntime", "kind: found 'InferenceRuntime'; expected 'LLMService'; give InferenceRuntimes with"),
        ("apiVersion=v1", "apiVersion: found 'v1'; expected 'serving.hearth.dev/v1alpha1'"),
    ],
)
def test_a_wrong_field_is_named_with_what_was_found_and_what_is_allowed(
    tmp_path: Path, assignment: str, message: str
) -> None:
    file = written(tmp_path, llmservice_manifest("qwen", "ai", assignment))
    (problem,) = problems(file)
    assert problem.startswith(f"{file}: document 1: ")
    assert message in problem
    assert "\n" not in problem


@pytest.mark.parametrize("path", NOT_BUILT)
def test_what_is_not_built_yet_is_refused_by_name(tmp_path: Path, path: str) -> None:
    (problem,) = problems(written(tmp_path, llmservice_manifest("qwen", "ai", f"{path}={{x: y}}")))
    assert f"{path}: not supported yet" in problem


def test_every_problem_of_every_file_is_said_at_once(tmp_path: Path) -> None:
    first = written(
        tmp_path, llmservice_manifest("a", "ai", "spec.scaling.target=0", "spec.cache.size=x"), name="a.yaml"
    )
    second = written(tmp_path, llmservice_manifest("b", "ai", "spec.scaling.max=-1"), name="b.yaml")
    assert len(problems(first, second)) == 3


def test_two_documents_in_a_file_are_refused(tmp_path: Path) -> None:
    (problem,) = problems(written(tmp_path, llmservice_manifest("a"), llmservice_manifest("b")))
    assert "document 2: found 2 documents; expected one LLMService in a file" in problem


def test_an_empty_document_is_no_document(tmp_path: Path) -> None:
    file = tmp_path / "service.yaml"
    file.write_text("---\n" + yaml.safe_dump(llmservice_manifest("a")) + "\n---\n")
    assert [service.metadata.name for service in load_llmservices([file])] == ["a"]


def test_a_duplicate_name_is_refused_with_the_file_that_had_it_first(tmp_path: Path) -> None:
    first = written(tmp_path, llmservice_manifest("a"), name="1.yaml")
    second = written(tmp_path, llmservice_manifest("a"), name="2.yaml")
    (problem,) = problems(first, second)
    assert problem.startswith(f"{second}: document 1: LLMService ai/a: metadata.name: found the name of {first} again")


def test_the_same_name_in_two_namespaces_is_two_services(tmp_path: Path) -> None:
    first = written(tmp_path, llmservice_manifest("a", "one"), name="1.yaml")
    second = written(tmp_path, llmservice_manifest("a", "two"), name="2.yaml")
    assert len(load_llmservices([first, second])) == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1,\n", "broken YAML at line 2, column 1"),
        ("a: 1\na: 2\n", "broken YAML at line 2, column 1: found the key 'a' twice"),
        ("~: 2\n", "found the key None; expected text"),
        ("just words\n", "found 'just words'; expected an object"),
        ("", "found no document"),
        ("a: \x00\n", "broken YAML"),
        ("[" * 5000, "broken YAML: nested too deep"),
        ("a: .inf\n", "broken YAML at line 1, column 4: found .inf; JSON has no such number"),
        ("a: !own b\n", "broken YAML at line 1, column 4: could not determine a constructor"),
    ],
)
def test_broken_yaml_is_one_line_that_says_where(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "broken.yaml"
    file.write_text(text)
    (problem,) = problems(file)
    assert message in problem
    assert "\n" not in problem


def test_a_file_that_cannot_be_read_is_said(tmp_path: Path) -> None:
    assert "cannot be read: No such file" in problems(tmp_path / "none.yaml")[0]
    (tmp_path / "latin.yaml").write_bytes(b"a: \xff\n")
    assert "cannot be read: not UTF-8 text" in problems(tmp_path / "latin.yaml")[0]


def test_the_bundled_runtimes_are_valid_and_named_as_their_files() -> None:
    runtimes = load_runtimes(ROOT / "runtimes")
    assert [runtime.metadata.name for runtime in runtimes] == sorted(p.stem for p in (ROOT / "runtimes").glob("*.yaml"))


def test_an_unknown_placeholder_is_refused_by_name(tmp_path: Path) -> None:
    manifest = yaml.safe_load((ROOT / "runtimes" / "nvidia-vllm.yaml").read_text())
    manifest["spec"]["container"]["args"] = ["{{ .Model.Paht }}"]
    written(tmp_path, manifest)
    with pytest.raises(
        ManifestError, match=r"spec.container.args\[0\]: found '{{ .Model.Paht }}'; unknown placeholder"
    ):
        load_runtimes(tmp_path)


def test_a_folder_without_runtimes_is_said(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="found no"):
        load_runtimes(tmp_path)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("[1", "expected ',' or ']'"),
        ("1\n---\n2", "another document"),
        ("!!python/object:os.system x", "could not determine a constructor"),
        ("[" * 100_000, "nested too deep"),
        (".inf", "no such number"),
    ],
)
def test_a_value_that_is_no_yaml_is_named(value: str, said: str) -> None:
    with pytest.raises(ValueError, match="expected one value of YAML") as raised:
        set_fields({}, [f"a.b={value}"])
    assert said in str(raised.value)
    assert len(str(raised.value)) < 300


def test_standard_input_may_be_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As daemons and some CI have it."""
    monkeypatch.setattr("sys.stdin", None)
    with pytest.raises(ManifestError, match="<stdin>: document 1: cannot be read: Bad file descriptor"):
        load_llmservices(["-"])


def test_set_fields_makes_what_is_missing_and_refuses_what_it_cannot_enter() -> None:
    assert set_fields({"a": {"b": 1}}, ["a.c.d=[1, x]"]) == {"a": {"b": 1, "c": {"d": [1, "x"]}}}
    with pytest.raises(ValueError, match="not a mapping"):
        set_fields({"a": 1}, ["a.b=2"])
    with pytest.raises(ValueError, match=r"expected path.to.field=value"):
        set_fields({}, ["a.b"])


@pytest.mark.parametrize("namespace", ["42-lab", "7", "a" * 63])
def test_a_namespace_may_begin_with_a_digit(namespace: str) -> None:
    assert parse_llmservice(llmservice_manifest("qwen", namespace)).key.namespace == namespace


@pytest.mark.parametrize("namespace", ["-lab", "lab-", "a.b", "Lab", "a" * 64, ""])
def test_a_namespace_that_cannot_be_is_refused(namespace: str) -> None:
    with pytest.raises(ManifestError, match="namespace"):
        parse_llmservice(llmservice_manifest("qwen", namespace))
