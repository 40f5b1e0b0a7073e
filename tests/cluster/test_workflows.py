"""The workflows of the public repository, which run nowhere else: actionlint reads them, and some rules of ours."""

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import ROOT

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


def document(path: Path) -> dict[Any, Any]:
    read: dict[Any, Any] = yaml.safe_load(path.read_text())
    return read


def test_actionlint_finds_nothing() -> None:
    program = os.environ.get("HEARTH_ACTIONLINT")
    assert program, "HEARTH_ACTIONLINT names no program; run `make e2e`, which builds it"
    assert WORKFLOWS
    done = subprocess.run([program, "-no-color", *WORKFLOWS], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_rights_are_given_by_name(path: Path) -> None:
    """What a workflow may do stands in it, or in its jobs; and no job of a pull request may write."""
    workflow = document(path)
    assert workflow["permissions"] in ({}, {"contents": "read"})
    assert "concurrency" in workflow
    triggers = workflow[True]  # YAML 1.1 takes `on` for a boolean
    if "pull_request" in triggers:
        assert all("permissions" not in job for job in workflow["jobs"].values())
    assert "pull_request_target" not in triggers


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_actions_are_named_with_a_version_and_jobs_end(path: Path) -> None:
    for name, job in document(path)["jobs"].items():
        assert job["timeout-minutes"] > 0, name
        for step in job["steps"]:
            if used := step.get("uses"):
                assert re.fullmatch(r"[\w-]+/[\w./-]+@(v\d+(\.\d+)*|[0-9a-f]{40})", used), used


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_no_script_has_foreign_words_put_into_it(path: Path) -> None:
    """`${{ … }}` in a script is text before it is a value: values come by the environment."""
    scripts = [step.get("run", "") for job in document(path)["jobs"].values() for step in job["steps"]]
    assert [script for script in scripts if "${{" in script] == []
