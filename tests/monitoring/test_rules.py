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
ANSWERS = {code: f'hearth_activator_responses_total{{{QWEN},code="{code}"}}' for code in (200, 429, 500, 503)}
BROKEN = f"hearth_activator_broken_answers_total{{{QWEN}}}"
LATE = f'hearth_activator_rejected_requests_total{{{QWEN},reason="activation_timeout"}}'
READY = f"hearth_llmservice_ready_replicas{{{QWEN}}}"
PAUSED = f"hearth_llmservice_paused{{{QWEN}}}"
ERRORS = 'hearth_controller_reconcile_errors_total{instance="a"}'
FAULTS = 'hearth_faults_total{role="controller",where="object",instance="a"}'
DEGRADED = f'hearth_llmservice_phase{{{QWEN},phase="Degraded"}}'

CASES: dict[str, list[Case]] = {
    "HearthErrorShare": [
        Case({ANSWERS[200]: "0+90x30", ANSWERS[503]: "0+10x30", BROKEN: "0x30"}, (SERVICE,), value="10%"),
        # Answers that had begun are no errors by their status.
        Case({ANSWERS[200]: "0+100x30", ANSWERS[503]: "0x30", BROKEN: "0+10x30"}, (SERVICE,), value="10%"),
        # By several activators, and one of them restarts.
        Case(
            {
                **{series.replace("{", '{instance="a",'): "0+45x10 0+45x20" for series in (ANSWERS[200],)},
                **{series.replace("{", '{instance="b",'): "0+45x30" for series in (ANSWERS[200],)},
                **{series.replace("{", '{instance="b",'): "0+10x30" for series in (ANSWERS[503],)},
                BROKEN: "0x30",
            },
            (SERVICE,),
            value="10.47%",
        ),
        Case({ANSWERS[200]: "0+99x30", ANSWERS[503]: "0+1x30", BROKEN: "0x30"}),
        Case({ANSWERS[200]: "0x30", ANSWERS[503]: "0x10 1x20", BROKEN: "0x30"}, at="12m"),  # one request of the night
        Case({ANSWERS[200]: "0+90x30", ANSWERS[429]: "0+90x30", ANSWERS[503]: "0x30", BROKEN: "0x30"}),
        # A minute of it, told for ten minutes more, and not for ever.
        Case({ANSWERS[200]: "0+90x60", ANSWERS[503]: "0x10 900x50", BROKEN: "0x60"}, (SERVICE,), "14m", "50%"),
        Case({ANSWERS[200]: "0+90x60", ANSWERS[503]: "0x10 900x50", BROKEN: "0x60"}, at="35m"),
    ],
    "HearthRequestsTimeOut": [
        Case({LATE: "0x10 3x30"}, (SERVICE,), "12m"),
        Case({LATE: "0x30"}),
        Case({LATE: "7x30"}),  # of long ago
        Case({LATE: "0x10 3x50"}, at="35m"),
    ],
    "HearthReplicasMissing": [
        Case({REPLICAS: "3x60", READY: "1x60"}, (SERVICE,), "45m", "3"),
        Case({REPLICAS: "3x60", READY: "1x20 3x40"}, at="45m"),
        Case({REPLICAS: "0x60", READY: "0x60"}, at="45m"),
    ],
    "HearthReconcileErrors": [
        Case({ERRORS: "0+1x60"}, ({},), "40m"),
        Case({ERRORS: "0x5 2x55"}, at="10m"),  # twice, and then it worked
        Case({ERRORS: "0x60"}),
    ],
    "HearthTwoLeaders": [
        Case({'hearth_controller_leader{instance="a"}': ON, 'hearth_controller_leader{instance="b"}': ON}, ({},)),
        Case({'hearth_controller_leader{instance="a"}': ON, 'hearth_controller_leader{instance="b"}': "0x30"}),
        # One of each of two clusters.
        Case(
            {
                'hearth_controller_leader{cluster="x",instance="a"}': ON,
                'hearth_controller_leader{cluster="y",instance="b"}': ON,
            }
        ),
    ],
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
        Case({'hearth_scaler_blind{instance="a"}': "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0"}, ({},)),  # it flaps
    ],
    "HearthKedaNotActing": [
        Case({DEPTH: "5x30", REPLICAS: "0x30"}, (SERVICE,), value="5"),
        Case({DEPTH: "5x30", REPLICAS: "1x30"}),
        Case({DEPTH: "5x30", REPLICAS: "0x30", PAUSED: "1x30"}),  # on purpose
        Case({DEPTH: "5x30", REPLICAS: "0x30", PAUSED: "0x30"}, (SERVICE,), value="5"),
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
        Case({FULL: "0+3x30", ANSWERS[200]: "0+30x30"}, (SERVICE,)),
        Case({FULL: "0+3x30", ANSWERS[200]: "0+3000x30"}),  # one of a thousand is how a limit works
        Case({FULL: "0x10 1x20", ANSWERS[200]: "0x30"}, at="12m"),
        Case({FULL: "7x30", ANSWERS[200]: "0x30"}),
    ],
    "HearthEngineCrashLoop": [
        Case({DEGRADED: ON}, (SERVICE,)),
        Case({DEGRADED: "0x18 1x10"}, at="19m"),
        Case({DEGRADED: "0 0 1 1 0 0 1 1 0 0 1 1 0 0 1 1 0 0 1 1 0 0 1 1"}, (SERVICE,)),  # between two restarts
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
