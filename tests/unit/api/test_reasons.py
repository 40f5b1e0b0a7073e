"""The table of reasons, and who judges by it."""

from typing import Any, get_args

import pytest

from hearth.api.reasons import REASONS, ReasonName, must_act, reasons_table, troubles
from hearth.commands.doctor import service_check
from hearth.commands.status import Found, explain
from hearth.controller.events import transitions
from tests.builders import ROOT


def test_every_reason_has_one_row_and_what_to_do_where_somebody_has_to() -> None:
    assert set(REASONS) == set(get_args(ReasonName))
    assert [row.name for row in REASONS.values() if row.act != bool(row.todo)] == []


def test_clients_are_told_why_in_words_that_name_nothing_of_the_cluster() -> None:
    # With these a first replica comes all the same.
    unsaid = [row.name for row in REASONS.values() if row.act and not row.client]
    assert unsaid == ["ScaledByOthers", "HPANotScaling", "KeysUnreadable", "ChangedBack", "PrewarmFailed"]
    assert [row.name for row in REASONS.values() if not row.act and (row.client or row.stalled)] == []


def test_the_installation_page_has_this_table() -> None:
    page = (ROOT / "docs/install.md").read_text()
    assert reasons_table() in page, "docs/install.md: put what reasons_table() gives in place of its table"


def service(reason: str) -> dict[str, Any]:
    condition = {"type": "Ready", "status": "False", "reason": reason, "message": "why"}
    metadata = {"namespace": "ai", "name": "qwen", "uid": "u", "resourceVersion": "1"}
    return {"metadata": metadata, "status": {"phase": "Pending", "conditions": [condition]}}


@pytest.mark.parametrize("reason", REASONS)
def test_status_doctor_and_events_are_of_one_mind(reason: str) -> None:
    item, act = service(reason), REASONS[reason].act
    (event,) = transitions(item, {}, item["status"], "2026-01-01T00:00:00.000000+00:00", "one")
    assert (event["type"] == "Warning") is act
    assert service_check(item).well is not act
    assert explain(Found(item, None, None, None, [])).well is not act
    if act:
        assert "why" in service_check(item).found
        assert f"{reason}: why" in explain(Found(item, None, None, None, [])).links[0].says


def test_a_condition_that_is_true_asks_nobody() -> None:
    assert not must_act("True", "Invalid")
    assert not must_act("Unknown", "Invalid")


def test_a_reason_of_a_newer_controller_is_rather_told_than_hidden() -> None:
    assert must_act("False", "SomethingNew")


@pytest.mark.parametrize("conditions", [[], [{}], [{"status": "False", "reason": "ColdStart"}], [{"status": None}]])
def test_nothing_to_do(conditions: list[dict[str, Any]]) -> None:
    assert troubles(conditions) == []
