import pytest

from tools.crd import inferenceruntime_crd, llmservice_crd
from tools.reference import reference

LLMSERVICE, RUNTIME = reference(llmservice_crd()), reference(inferenceruntime_crd())


@pytest.mark.parametrize(
    ("page", "row"),
    [
        (LLMSERVICE, "| `spec.scaling.min` | integer ≥ 0 | `0` |"),
        (LLMSERVICE, "| `spec.model.source.uri` | string | required |"),
        (LLMSERVICE, '| `spec.endpoint.coldStart.mode` | `keepalive` or `reject` | `"keepalive"` |'),
        (LLMSERVICE, "| `spec.scaling.schedules[].start` | string | required |"),
        (LLMSERVICE, "| `status.coldStart.phase` |"),
        (RUNTIME, "| `spec.accelerator.resourceName` | string |"),
        (RUNTIME, "| `spec.container.image` | string | required |"),
    ],
)
def test_a_field_has_its_row(page: str, row: str) -> None:
    assert row in page


def test_rules_are_told_in_words() -> None:
    assert "- `spec.scaling`: " in LLMSERVICE


def test_every_field_of_ours_says_what_it_means() -> None:
    rows = [row.split(" | ") for row in (LLMSERVICE + RUNTIME).splitlines() if row.startswith("| `")]
    assert len(rows) > 80
    silent = [row[0] for row in rows if row[-1].strip(" |") == ""]
    assert silent == []
