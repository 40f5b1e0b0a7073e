"""docs/add-a-vendor.md, word by word, as far as it needs no cluster. tests/cluster/test_add_a_vendor.py has the rest."""

from pathlib import Path

import pytest
import yaml

from tests.builders import ROOT
from tests.page import Page
from tests.unit.test_runtimes import RUNTIMES

PAGE = Page.read(ROOT / "docs" / "add-a-vendor.md")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    PAGE.write(tmp_path)
    return tmp_path


def test_the_file_is_checked_and_a_model_rendered_on_it(folder: Path) -> None:
    _, rendered = PAGE.follow("Without a cluster", folder)
    (deployment,) = [item for item in yaml.safe_load_all(rendered) if item["kind"] == "Deployment"]
    pod = deployment["spec"]["template"]["spec"]
    (engine,) = pod["containers"]
    assert engine["resources"]["limits"] == {"acme.example/npu": "2", "memory": "32Gi"}
    assert engine["args"][-4:] == ["--served-model-name", "qwen", "--tensor-parallel-size", "2"]
    assert {"name": "driver", "mountPath": "/opt/acme/driver", "readOnly": True} in engine["volumeMounts"]
    assert (pod["runtimeClassName"], pod["nodeSelector"]) == ("acme", {"acme.example/npu.present": "true"})


def test_what_the_page_has_a_person_write_is_all_that_it_uses() -> None:
    assert set(PAGE.files) == {"runtimes/acme-vllm.yaml", "model.yaml"}
    assert set(PAGE.steps) == {"Without a cluster", "In a cluster"}


def test_the_page_lists_every_file() -> None:
    page = (ROOT / "docs" / "add-a-vendor.md").read_text()
    missing = [name for name in RUNTIMES if f"`{name}`" not in page and name != "cpu-llamacpp"]
    assert missing == []
