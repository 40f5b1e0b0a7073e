"""Every alert before promtool: that it fires, and that it does not where it should not."""

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.builders import ROOT
from tests.monitoring.scraped import RULES, binary
from tools.alerts import ALERTS, Alert, runbook

QWEN = 'namespace="ai",service="qwen"'
ON = "1x30"  # as promtool writes it: this value for 30 minutes


@dataclass(frozen=True)
class Case:
    """Series by name, values as promtool's notation has them, a minute each; and the labels of who should fire."""

    series: dict[str, str]
    fires: tuple[dict[str, str], ...] = ()
    at: str = "20m"
    value: str = ""  # as the summary has it


SERVICE = {"namespace": "ai", "service": "qwen"}
ELAPSED = f"hearth_activator_cold_start_elapsed_seconds{{{QWEN}}}"
EXPECTED = f"hearth_activator_cold_start_expected_seconds{{{QWEN}}}"
DEPTH, REPLICAS = f"hearth_scaler_queue_depth{{{QWEN}}}", f"hearth_llmservice_replicas{{{QWEN}}}"
STREAMS = f"hearth_scaler_streams{{{QWEN}}}"
FULL = f'hearth_activator_rejected_requests_total{{{QWEN},reason="queue_full"}}'
FAULTS = 'hearth_faults_total{role="controller",where="object",instance="a"}'
DEGRADED = f'hearth_llmservice_phase{{{QWEN},phase="Degraded"}}'

CASES: dict[str, list[Case]] = {
    "HearthColdStartOverdue": [
        Case({ELAPSED: "0+60x30", EXPECTED: "100x30"}, (SERVICE,), "6m", "6m 0s"),
        Case({ELAPSED: "0+60x30", EXPECTED: "3000x30"}),
        Case({ELAPSED: "0x30", EXPECTED: "100x30"}),
        Case({ELAPSED: "0+60x30"}, (SERVICE,), "18m", "18m 0s"),  # no earlier start, and a quarter of an hour is over
        Case({ELAPSED: "0+60x30"}, at="14m"),
        Case({ELAPSED: "0+10x30", EXPECTED: "5x30"}, at="5m"),  # a small model is late by seconds: nobody's night
    ],
    "HearthDemandBlind": [
        Case({'hearth_scaler_blind{instance="a"}': "0x30", 'hearth_scaler_blind{instance="b"}': "0x10 1x20"}, ({},)),
        Case({'hearth_scaler_blind{instance="a"}': "0x10 1 0x20"}, at="11m"),
    ],
    "HearthKedaNotActing": [
        Case({DEPTH: "5x30", REPLICAS: "0x30"}, (SERVICE,), value="5"),
        Case({DEPTH: "5x30", REPLICAS: "1x30"}),
        Case({DEPTH: "0x30", REPLICAS: "0x30"}),
    ],
    "HearthKedaNotListening": [
        Case({STREAMS: "0x30", REPLICAS: "0x30"}, (SERVICE,)),
        Case(
            {
                f'hearth_scaler_streams{{{QWEN},instance="a"}}': "0x30",
                f'hearth_scaler_streams{{{QWEN},instance="b"}}': "1x30",
                REPLICAS: "0x30",
            }
        ),
        Case({STREAMS: "0x30", REPLICAS: "2x30"}),  # the HPA asks by itself
    ],
    "HearthQueueFull": [
        Case({FULL: "0+3x30"}, (SERVICE,)),
        Case({FULL: "7x30"}),
    ],
    "HearthEngineCrashLoop": [
        Case({DEGRADED: ON}, (SERVICE,)),
        Case({DEGRADED: "0x18 1x10"}, at="19m"),
    ],
    "HearthActivatorDown": [
        Case({'hearth_build_info{role="scaler"}': ON}, ({"role": "activator"},)),
        Case({'hearth_build_info{role="activator"}': ON}),
    ],
    "HearthScalerDown": [
        Case({'hearth_build_info{role="activator"}': ON}, ({"role": "scaler"},)),
        Case({'hearth_build_info{role="scaler"}': ON}),
    ],
    "HearthFault": [
        Case({FAULTS: "0+1x30"}, ({"role": "controller", "where": "object"},)),
        Case({FAULTS: "0x5 1x30"}, ({"role": "controller", "where": "object"},), "10m"),  # one is enough to be told
        Case({FAULTS: "7x30"}),
        Case({FAULTS: "0x5 1x30"}, at="25m"),  # and a quarter of an hour without another is the end of it
    ],
    "HearthNoLeader": [
        Case(
            {'hearth_controller_leader{instance="a"}': "0x30", 'hearth_controller_leader{instance="b"}': "0x30"}, ({},)
        ),
        Case({}, ({},)),
        Case({'hearth_controller_leader{instance="a"}': "0x30", 'hearth_controller_leader{instance="b"}': ON}),
    ],
}


def test_promtool_takes_the_rules() -> None:
    checked = subprocess.run(
        [binary("promtool"), "check", "rules", str(RULES)], capture_output=True, text=True, check=True
    )
    assert "SUCCESS" in checked.stdout + checked.stderr


def test_the_operators_rule_has_the_same_groups() -> None:
    document = yaml.safe_load((ROOT / "deploy/monitoring/prometheusrule.yaml").read_text())
    assert document["spec"] == yaml.safe_load(RULES.read_text())


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_it_fires_and_it_does_not(alert: Alert, tmp_path: Path) -> None:
    cases = CASES[alert.name]
    assert any(case.fires for case in cases)
    assert any(not case.fires for case in cases)
    tests = [_test(alert, case) for case in cases]
    file = tmp_path / "test.yaml"
    file.write_text(yaml.safe_dump({"rule_files": [str(RULES)], "evaluation_interval": "1m", "tests": tests}))
    done = subprocess.run([binary("promtool"), "test", "rules", str(file)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _test(alert: Alert, case: Case) -> dict[str, Any]:
    known = {alert_.name: alert_ for alert_ in ALERTS}[alert.name]
    series = [{"series": name, "values": values} for name, values in case.series.items()]
    expected = [
        {
            "exp_labels": {**labels, "severity": known.severity},
            "exp_annotations": {"summary": _summary(known, labels, case.value), "runbook_url": runbook(known)},
        }
        for labels in case.fires
    ]
    return {
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": [{"eval_time": case.at, "alertname": alert.name, "exp_alerts": expected}],
    }


def _summary(alert: Alert, labels: dict[str, str], value: str) -> str:
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], alert.summary)
    return re.sub(r"\{\{ \$value.*?\}\}", value, text)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_its_runbook_says_what_to_look_at_and_what_to_do(alert: Alert) -> None:
    text = (ROOT / runbook(alert)).read_text()
    assert text.startswith(f"# {alert.name}\n")
    for heading in ("## What it means", "## Look", "## Do"):
        assert heading in text
    assert "```" in text, "with commands"
