"""The command line: what it prints, where, and with which exit code. Run in this process by Typer's runner."""

import json
import logging
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from hearth import __version__
from hearth.cli import app
from tests.builders import ROOT, SEED, llmservice_manifest, runtime_manifest

COMMANDS = ["render", "up", "demo", "activator", "scaler", "controller", "top", "status", "doctor", "chat"]


@pytest.fixture(autouse=True)
def _logging_as_it_was() -> Iterator[None]:
    """A role sends its logs to the runner's standard error, which is closed when the test ends."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:], root.level = handlers, level


def run(*arguments: str, stdin: str = "") -> Result:
    return CliRunner().invoke(app, list(arguments), input=stdin)


@pytest.mark.parametrize(
    "arguments", [["--help"], ["runtime", "check", "--help"], *([command, "--help"] for command in COMMANDS)]
)
def test_help_everywhere(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 0
    assert "Usage:" in result.stdout


def test_version() -> None:
    assert run("--version").stdout == f"hearth {__version__}\n"


class TestRender:
    def test_yaml_for_kubectl(self) -> None:
        result = run("render", "-f", str(SEED))
        assert result.exit_code == 0
        kinds = [item["kind"] for item in yaml.safe_load_all(result.stdout)]
        assert {"Deployment", "Service", "ScaledObject"} <= set(kinds)

    def test_json_is_the_same_in_a_list(self) -> None:
        listed = json.loads(run("render", "-f", str(SEED), "-o", "json").stdout)
        assert (listed["kind"], listed["items"]) == (
            "List",
            list(yaml.safe_load_all(run("render", "-f", str(SEED)).stdout)),
        )

    def test_from_standard_input(self) -> None:
        result = run("render", "-f", "-", stdin=yaml.safe_dump(llmservice_manifest()))
        assert result.exit_code == 0
        assert "qwen" in result.stdout

    def test_another_vendor(self) -> None:
        two = yaml.safe_dump(llmservice_manifest("qwen", "ai", "spec.runtime.selector.vendor=[nvidia, ascend]"))
        assert "nvidia.com/gpu" in run("render", "-f", "-", stdin=two).stdout
        assert "huawei.com/Ascend910" in run("render", "-f", "-", "--vendor", "ascend", stdin=two).stdout

    def test_a_changed_field(self) -> None:
        result = run("render", "-f", str(SEED), "--set", "spec.scaling.max=3", "-o", "json")
        scaled = next(item for item in json.loads(result.stdout)["items"] if item["kind"] == "ScaledObject")
        assert scaled["spec"]["maxReplicaCount"] == 3

    def test_own_runtimes(self, tmp_path: Path) -> None:
        runtime = yaml.safe_load((ROOT / "runtimes" / "cpu-llamacpp.yaml").read_text())
        runtime["spec"]["vendor"] = "nvidia"
        (tmp_path / "mine.yaml").write_text(yaml.safe_dump(runtime))
        more = ("--runtimes", str(tmp_path), "--set", "spec.model.source.uri=hf://a/b-GGUF")
        result = run("render", "-f", str(SEED), *more)
        assert result.exit_code == 0
        assert runtime["spec"]["container"]["image"] in result.stdout


class TestRuntimeCheck:
    def test_a_file_that_lacks_nothing_is_0(self) -> None:
        result = run("runtime", "check", str(ROOT / "runtimes" / "nvidia-vllm.yaml"))
        assert result.exit_code == 0
        assert "✓ nvidia-vllm: device  nvidia.com/gpu\n" in result.stdout
        assert "✗" not in result.stdout

    def test_what_is_lacking_is_1_with_what_to_do(self) -> None:
        result = run("runtime", "check", str(ROOT / "runtimes" / "vendors" / "biren-vllm.yaml"))
        assert result.exit_code == 1
        assert "✗ biren-vllm: image  spec.container.image: found 'registry.invalid/biren/vllm" in result.stdout
        assert "    → put the vendor's image into spec.container.image\n" in result.stdout

    @pytest.mark.parametrize("output", ["json", "yaml"])
    def test_as_data_with_every_document_and_what_is_refused(self, output: str) -> None:
        documents = [runtime_manifest(name="a"), runtime_manifest("spec.pirority=1", name="b"), {"kind": "Pod"}]
        result = run("runtime", "check", "-", "-o", output, stdin=yaml.safe_dump_all(documents))
        assert result.exit_code == 1
        checks = yaml.safe_load(result.stdout)
        assert checks[0] == {"what": "a: image", "well": True, "found": "nvidia:1", "fix": ""}
        refused, foreign = checks[-2:]
        assert (refused["what"], refused["well"]) == ("InferenceRuntime b", False)
        assert refused["found"].startswith("spec.pirority: found an unknown field (did you mean 'priority'?)")
        assert (foreign["what"], foreign["found"]) == ("Pod", "kind: found 'Pod'; expected 'InferenceRuntime'")

    @pytest.mark.parametrize(("text", "says"), [("{", "broken YAML"), ("", "found no document")])
    def test_what_is_no_manifest_is_2(self, text: str, says: str) -> None:
        result = run("runtime", "check", "-", stdin=text)
        assert (result.exit_code, result.stdout) == (2, "")
        assert says in result.stderr

    @pytest.mark.parametrize("option", [["--kubeconfig", "/nowhere"], ["--cluster"], ["--context", "own"]])
    def test_a_cluster_that_cannot_be_asked_is_2(self, option: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("KUBECONFIG", "/nowhere")
        result = run("runtime", "check", str(ROOT / "runtimes" / "nvidia-vllm.yaml"), *option)
        assert result.exit_code == 2
        assert "/nowhere" in result.stderr


BROKEN = {
    "an unknown field": ("spec.scaling.minimum=1", "spec.scaling.minimum"),
    "min over max": ("spec.scaling.min=9", "spec.scaling.min: found 9; must be at most max"),
    "a bad URI": ("spec.model.source.uri=qwen", "spec.model.source.uri: found 'qwen'"),
    "a field that is not built": ("spec.model.catalogRef=x", "spec.model.catalogRef"),
    "a vendor that nobody serves": ("spec.runtime.selector.vendor=[acme]", "acme"),
}


@pytest.mark.parametrize("command", ["render", "up", "demo"])
@pytest.mark.parametrize("case", BROKEN)
def test_bad_input_is_refused_with_the_field_and_exit_code_2(command: str, case: str) -> None:
    assignment, says = BROKEN[case]
    manifest = yaml.safe_dump(llmservice_manifest("qwen", "ai", assignment))
    result = run(command, "-f", "-", stdin=manifest)
    assert result.exit_code == 2
    assert result.stdout == ""
    assert says in result.stderr
    assert all(line.startswith("hearth: ") for line in result.stderr.splitlines())


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["render", "-f", "/nowhere/x.yaml"], "/nowhere/x.yaml"),
        (["render", "-f", str(SEED), "--vendor", "acme"], "--vendor: found 'acme'"),
        (["render", "-f", str(SEED), "--set", "spec.scaling.max"], "--set"),
        (["render", "-f", str(SEED), "--set", "spec.scaling.max=many"], "spec.scaling.max"),
        (["render", "-f", str(SEED), "--runtimes", "/nowhere"], "/nowhere"),
        (["up", "-f", str(SEED), "--sim", "speed=1"], "--sim: found 'speed=1'"),
        (["up", "-f", str(SEED), "--sim", "fault=bogus"], "--sim: fault: found 'bogus'; expected one of slow-start"),
        (["up", "-f", str(SEED), "--sim", "fault-file="], "--sim: fault-file: found ''"),
        (["up", "-f", str(SEED), "--sim", "load-seconds=nan"], "--sim: load-seconds: found 'nan'"),
        (["up", "-f", str(SEED), "--sim", "start-seconds=-5"], "--sim: start-seconds: found '-5'"),
        (["up", "-f", str(SEED), "--sim", "prefill-seconds=soon"], "--sim: prefill-seconds: found 'soon'"),
        (["up", "-f", str(SEED), "--sim", "tokens-per-second=0"], "--sim: tokens-per-second: found '0'"),
        (["up", "-f", str(SEED), "--sim", "slots=0"], "--sim: slots: found '0'; expected a whole number, 1 or more"),
        (["demo", "-f", str(SEED), "--sim", "cached-prompts=1.5"], "--sim: cached-prompts: found '1.5'"),
        (["up", "-f", str(SEED), "--accelerator", f"a/b={10**20}"], f"expected a COUNT of at most {2**63 - 1}"),
        (["up", "-f", str(SEED), "--accelerator", "a/b=" + "9" * 5000], f"expected a COUNT of at most {2**63 - 1}"),
        (["up", "-f", str(SEED), "--accelerator-price", "inf"], "found inf; expected a price"),
        (["controller", "--accelerator-price", "inf"], "found inf; expected a price"),
        (["up", "-f", str(SEED), "--hpa-sync-seconds", "inf"], "--hpa-sync-seconds: found inf"),
        (["up", "-f", str(SEED), "--host", ""], "--host: found ''; expected an address"),
        (["up", "-f", str(SEED), "-f", str(SEED)], "ai-prod/deepseek-v3-small"),
        (["scaler"], "--activator, --activator-service: expected one of them"),
        (["scaler", "--activator", "a:1", "--activator-service", "a/b"], "expected one of them"),
        (["controller", "--lease", "b"], "--lease: found 'b'"),
        (["controller", "--activator-account", "b"], "--activator-account: found 'b'"),
        *(
            (["controller", "--engine-client", each], f"--engine-client: found {each!r}")
            for each in ("", "a/", "a/b/c")
        ),
        *(
            (["activator", "--otlp-endpoint", each], f"--otlp-endpoint: found {each!r}; expected a URL")
            for each in ("localhost:4318", "http://", "collector", "http://a:b")
        ),
        (["chat", "qwen", "--url", "nonsense"], "--url: found 'nonsense'; expected a URL"),
        *((["activator", "--api-keys", given], f"--api-keys: found {given!r}") for given in ("a", "a/", "a/b/c/d", "")),
        (["scaler", "--activator-service", "b"], "--activator-service: found 'b'"),
        (["scaler", "--activator", "a:1", "--log-level", "loud"], "--log-level: found 'loud'"),
    ],
)
def test_what_else_is_refused(arguments: list[str], says: str) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert says in result.stderr


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (None, "spec.container.command"),
        (["/nowhere/engine"], "found '/nowhere/engine', which is no command of this machine"),
    ],
)
def test_an_engine_that_is_no_command_here_is_refused(tmp_path: Path, command: list[str] | None, says: str) -> None:
    runtime = yaml.safe_load((ROOT / "runtimes" / "nvidia-vllm.yaml").read_text())
    runtime["spec"]["container"] |= {"command": command} if command else {}
    if command is None:
        del runtime["spec"]["container"]["command"]
    (tmp_path / "mine.yaml").write_text(yaml.safe_dump(runtime))
    result = run("up", "-f", str(SEED), "--runtimes", str(tmp_path), "--engine", "command")
    assert result.exit_code == 2
    assert "LLMService ai-prod/deepseek-v3-small: --engine command" in result.stderr
    assert says in result.stderr


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--mount", "/app=/tmp"], "--mount: found it with --engine sim"),
        (["--engine", "command", "--mount", "/app"], "--mount: found '/app'; expected PATH=FOLDER or CLAIM=FOLDER"),
        (["--engine", "command", "--mount", "My Claim=/tmp"], "expected PATH=FOLDER or CLAIM=FOLDER"),
        (["--engine", "command", "--mount", "/app=/nowhere/x"], "--mount /app: found '/nowhere/x', which is not there"),
    ],
)
def test_a_mount_that_means_nothing_is_refused(options: list[str], says: str) -> None:
    result = run("up", "-f", str(SEED), *options)
    assert result.exit_code == 2
    assert says in result.stderr


def test_a_claim_that_nobody_makes_is_refused() -> None:
    """In a cluster its pods would wait for it."""
    uri = "spec.model.source.uri=pvc://models/tiny"
    result = run("up", "-f", str(SEED), "--engine", "command", "--set", uri)
    assert result.exit_code == 2
    assert "found PersistentVolumeClaim 'models' at /models/source, which is not here" in result.stderr
    assert "give its folder with --mount models=FOLDER" in result.stderr


def test_an_unknown_option_is_a_usage_error() -> None:
    assert run("render", "--nope").exit_code == 2


def test_the_activator_says_why_it_cannot_serve(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "hearth", "activator", "--kubeconfig", str(tmp_path / "none")]
    ended = subprocess.run(
        [*command, "--listen", "127.0.0.1:0"], check=False, capture_output=True, text=True, timeout=60
    )
    assert ended.returncode == 1
    assert "no way to the API server" in json.loads(ended.stderr.splitlines()[-1])["reason"]


def test_an_llmservice_is_named_with_its_namespace_once() -> None:
    result = run("status", "ai/qwen", "-n", "elsewhere")
    assert result.exit_code == 2
    assert "its namespace is ai, and --namespace is elsewhere" in result.stderr
