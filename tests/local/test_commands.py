"""`top`, `status` and `chat` beside a running `hearth up`, as a person has them in another terminal."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.local.command import Hearth

MODEL = "deepseek-v3-small"


@pytest.fixture(scope="module")
def kubeconfig(hearth: Hearth) -> str:
    found = re.search(r"hearth top --kubeconfig (\S+)", hearth.text)
    assert found is not None
    return found[1]


def run(*words: str, stdin: str = "", code: int = 0) -> "subprocess.CompletedProcess[str]":
    done = subprocess.run(
        [sys.executable, "-m", "hearth", *words], input=stdin, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == code, done.stdout + done.stderr
    assert "\x1b" not in done.stdout, "no colours where nobody looks"
    return done


def run_into(stdout: Any, *words: str) -> "subprocess.CompletedProcess[str]":
    """Run it with this as its standard output."""
    command = [sys.executable, "-m", "hearth", *words]
    return subprocess.run(command, stdout=stdout, stderr=subprocess.PIPE, text=True, timeout=60, check=False)


def test_chat_shows_the_cold_start_and_then_the_words(hearth: Hearth, kubeconfig: str) -> None:
    before = yaml.safe_load(run("status", MODEL, "-n", "ai-prod", "--kubeconfig", kubeconfig, "-o", "yaml").stdout)
    assert before["phase"] == "ScaledToZero"
    assert before["links"][-1]["says"] == "0 of 0 replicas are ready"
    done = run("chat", MODEL, "--url", hearth.url, "-m", "Where were you?")
    assert done.stdout.startswith("Nobody asked for a while")
    assert "loading, " in done.stderr


def test_a_conversation_from_standard_input(hearth: Hearth) -> None:
    done = run("chat", f"ai-prod/{MODEL}", "--url", hearth.url, stdin="Hello\n\nAnd then?\n")
    assert len(done.stdout.strip().splitlines()) == 2


def test_chat_says_what_went_wrong(hearth: Hearth) -> None:
    assert "'nobody' does not exist" in run("chat", "nobody", "--url", hearth.url, "-m", "x", code=1).stderr
    assert "127.0.0.1:9" in run("chat", MODEL, "--url", "http://127.0.0.1:9", "-m", "x", code=1).stderr


def test_top_is_a_table_for_people_and_data_for_scripts(hearth: Hearth, kubeconfig: str) -> None:
    text = run("top", "--kubeconfig", kubeconfig).stdout
    assert MODEL in text
    assert "Ready" in text
    (row,) = json.loads(run("top", "--kubeconfig", kubeconfig, "-n", "ai-prod", "-o", "json").stdout)
    assert (row["name"], row["phase"], row["ready"]) == (MODEL, "Ready", 1)
    assert json.loads(run("top", "--kubeconfig", kubeconfig, "-n", "elsewhere", "-o", "json").stdout) == []


def test_status_of_one_that_is_ready_and_of_none(kubeconfig: str, hearth: Hearth) -> None:
    text = run("status", MODEL, "-n", "ai-prod", "--kubeconfig", kubeconfig).stdout
    assert "✓ LLMService" in text
    assert "there is none" in run("status", "nobody", "-n", "ai-prod", "--kubeconfig", kubeconfig, code=2).stderr


def test_doctor_knows_that_this_is_no_cluster(kubeconfig: str, hearth: Hearth) -> None:
    checks = json.loads(run("doctor", "--kubeconfig", kubeconfig, "-o", "json").stdout)
    assert [check["what"] for check in checks] == [
        *("hearth up", "accelerators", "InferenceRuntimes"),
        f"LLMService ai-prod/{MODEL}",
    ]


@pytest.mark.parametrize("command", [["top"], ["doctor"], ["status", MODEL, "-n", "ai-prod"]])
@pytest.mark.parametrize(
    "environment",
    [
        {"PYTHONIOENCODING": "ascii"},
        {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"},
        {"PYTHONIOENCODING": "latin-1", "TERM": "dumb", "COLUMNS": "40"},
    ],
)
def test_what_is_no_unicode_is_told_in_what_it_has(
    kubeconfig: str, hearth: Hearth, command: list[str], environment: dict[str, str]
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hearth", *command, "--kubeconfig", kubeconfig],
        env={**os.environ, **environment},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    text = done.stdout.decode("ascii")
    assert MODEL in text
    assert "?" not in text
    if command != ["top"]:
        assert "ok LLMService" in text


def test_a_full_disk_is_told(kubeconfig: str, hearth: Hearth) -> None:
    for command in (["top"], ["status", MODEL, "-n", "ai-prod"], ["doctor", "-o", "json"]):
        with Path("/dev/full").open("w") as full:
            done = run_into(full, *command, "--kubeconfig", kubeconfig)
        assert done.returncode == 2
        assert done.stderr == "hearth: standard output can't be written: No space left on device\n"


def test_an_output_that_is_closed_is_told(kubeconfig: str, hearth: Hearth) -> None:
    for command in ("top", "doctor"):
        words = [sys.executable, "-m", "hearth", command, "--kubeconfig", kubeconfig]
        closed = ["sh", "-c", 'exec "$@" >&-', "sh", *words]
        done = subprocess.run(closed, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True, check=False)
        assert (done.returncode, done.stderr) == (2, "hearth: standard output can't be written: Bad file descriptor\n")


def test_a_reader_that_has_gone_is_no_trouble(kubeconfig: str, hearth: Hearth) -> None:
    for command in (["top"], ["doctor"]):
        reading, writing = os.pipe()
        os.close(reading)
        done = run_into(writing, *command, "--kubeconfig", kubeconfig)
        os.close(writing)
        assert (done.returncode, done.stderr) == (141, "")
