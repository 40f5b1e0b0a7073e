"""Every alert before promtool: that it fires, and that it does not where it should not."""

import re
import shlex
import subprocess
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import pytest
import yaml

from hearth.activator.lane.tally import REASONS as TALLIED
from hearth.api.reasons import REASONS
from hearth.api.status import ConditionType
from tests.builders import ROOT
from tests.monitoring.scraped import RULES, binary
from tools.alerts import ALERTS, RUNBOOKS, Alert, description, runbook
from tools.scrape import scrape_page

QWEN = 'namespace="ai",service="qwen"'
ON = "1x30"  # as promtool writes it: this value for 30 minutes


@dataclass(frozen=True)
class Case:
    """Series by name, values as promtool's notation has them, a minute each; and the labels of who should fire."""

    series: dict[str, str] = field(default_factory=dict)
    fires: tuple[dict[str, str], ...] = ()
    at: str = "20m"
    value: str = ""  # as the summary has it


def of(series: str, **labels: str) -> str:
    """The series with more labels."""
    return series.replace("{", "{" + "".join(f'{name}="{value}",' for name, value in labels.items()))


def at_weekends_end(quiet: str, then: str) -> str:
    """Two days and a half of the one, a minute each, then the other."""
    return f"{quiet}x3600 {then}x30"


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
FLIGHT = f"hearth_activator_in_flight_requests{{{QWEN}}}"
BYTES = f"hearth_activator_relayed_bytes_total{{{QWEN}}}"
PAUSED = f"hearth_llmservice_paused{{{QWEN}}}"
ERRORS = 'hearth_controller_reconcile_errors_total{instance="a"}'
FAULTS = 'hearth_faults_total{role="controller",where="object",instance="a"}'
PHASE = {
    phase: f'hearth_llmservice_phase{{{QWEN},phase="{phase}"}}' for phase in ("Pending", "ScaledToZero", "Degraded")
}
DEGRADED = PHASE["Degraded"]
NOT_READY = f'hearth_llmservice_not_ready{{{QWEN},reason="RuntimeNotFound"}}'
TOLD = {**SERVICE, "reason": "RuntimeNotFound"}
LEADER = 'hearth_controller_leader{instance="a"}'
KEDA = "hearth_controller_keda_running{}"
CERTIFICATE = {"role": "scaler", "certificate": "scaler"}
ENDS, LASTS, UNUSABLE = (
    f'hearth_certificate_{name}{{role="scaler",certificate="scaler"}}'
    for name in ("expiry_timestamp_seconds", "lifetime_seconds", "unusable")
)
UNREADABLE = "hearth_activator_unreadable_key_sources{}"


def built(role: str, **labels: str) -> str:
    return of(f'hearth_build_info{{role="{role}"}}', **labels)


WEST, EAST = {"cluster": "west"}, {"cluster": "east"}

CASES: dict[str, list[Case]] = {
    "HearthErrorShare": [
        Case({ANSWERS[200]: "0+90x30", ANSWERS[503]: "0+10x30", BROKEN: "0x30"}, (SERVICE,), value="10%"),
        # Answers that had begun are no errors by their status.
        Case({ANSWERS[200]: "0+100x30", ANSWERS[503]: "0x30", BROKEN: "0+10x30"}, (SERVICE,), value="10%"),
        # A model with few users: each of its answers fails.
        Case(
            {ANSWERS[200]: "0x30", ANSWERS[500]: "0 0 0 0 1 1 2 2 3 3 4 4 5 5 6 6 7x20", BROKEN: "0x30"},
            (SERVICE,),
            "14m",
            "100%",
        ),
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
        Case({ANSWERS[200]: "0+3x30", ANSWERS[503]: "0x10 2x20", BROKEN: "0x30"}, at="14m"),  # two of them
        Case({ANSWERS[200]: "0+90x30", ANSWERS[429]: "0+90x30", ANSWERS[503]: "0x30", BROKEN: "0x30"}),
        # Each cluster by itself: what is well in one hides nothing in the other.
        Case(
            {
                **{of(series, cluster="west"): "0+9000x30" for series in (ANSWERS[200],)},
                **{of(series, cluster="west"): "0x30" for series in (ANSWERS[503], BROKEN)},
                **{of(series, cluster="east"): "0+90x30" for series in (ANSWERS[200],)},
                **{of(series, cluster="east"): "0+10x30" for series in (ANSWERS[503],)},
                **{of(series, cluster="east"): "0x30" for series in (BROKEN,)},
            },
            ({**SERVICE, **EAST},),
            value="10%",
        ),
        # The first failures of a model that nobody asked all weekend.
        Case(
            {
                ANSWERS[200]: at_weekends_end("0", "0+90"),
                ANSWERS[503]: at_weekends_end("0", "0+30"),
                BROKEN: at_weekends_end("0", "0"),
            },
            (SERVICE,),
            "60h10m",
            "25%",
        ),
        # Deleted in the middle of it.
        Case({ANSWERS[200]: "0+90x10 stale", ANSWERS[503]: "0+90x10 stale", BROKEN: "0x10 stale"}, at="35m"),
        # A minute of it, told for ten minutes more, and not for ever.
        Case({ANSWERS[200]: "0+90x60", ANSWERS[503]: "0x10 900x50", BROKEN: "0x60"}, (SERVICE,), "14m", "50%"),
        Case({ANSWERS[200]: "0+90x60", ANSWERS[503]: "0x10 900x50", BROKEN: "0x60"}, at="35m"),
    ],
    "HearthRequestsTimeOut": [
        Case({LATE: "0x10 3x30"}, (SERVICE,), "12m"),
        Case({LATE: "0x30"}),
        Case({LATE: "0x10 1x30"}, at="12m"),  # one request is one person who may ask again
        Case({LATE: "7x30"}),  # of long ago
        Case({LATE: "0x10 3x30", PAUSED: "1x40"}, at="12m"),  # on purpose
        Case({LATE: at_weekends_end("0", "3")}, (SERVICE,), "60h5m"),  # the first ones after a weekend at zero
        Case({of(LATE, instance="a"): "0x10 1x30", of(LATE, instance="b"): "0x10 1x30"}, (SERVICE,), "12m"),
        Case({of(LATE, instance="a"): "7x10 0x30", of(LATE, instance="b"): "5x40"}, at="12m"),  # a restart
        Case({LATE: "0x10 3x50"}, at="35m"),
    ],
    "HearthReplicasMissing": [
        Case({REPLICAS: "3x60", READY: "1x60"}, (SERVICE,), "45m", "3"),
        Case({REPLICAS: "3x60", READY: "1x20 3x40"}, at="45m"),
        Case({REPLICAS: "0x60", READY: "0x60"}, at="45m"),
        Case({REPLICAS: "3x20 stale", READY: "1x20 stale"}, at="45m"),  # deleted
        Case(
            {
                **{of(REPLICAS, cluster=cluster): "3x60" for cluster in ("west", "east")},
                of(READY, cluster="west"): "1x60",
                of(READY, cluster="east"): "3x60",
            },
            ({**SERVICE, **WEST},),
            "45m",
            "3",
        ),
    ],
    "HearthReconcileErrors": [
        Case({ERRORS: "0+1x60"}, ({},), "40m"),
        Case({ERRORS: "0x5 2x55"}, at="10m"),  # twice, and then it worked
        Case({ERRORS: "0x5 3x55"}, at="10m"),
        Case({ERRORS: "0x60"}),
    ],
    "HearthTwoLeaders": [
        Case({LEADER: ON, of(LEADER, pod="b"): ON}, ({},), value="2"),
        Case({LEADER: ON, of(LEADER, pod="b"): "0x30"}),
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
        Case({ELAPSED: "0+60x30", EXPECTED: "100x30", PAUSED: "1x30"}, at="6m"),  # on purpose
        Case({ELAPSED: "0+60x20 0x3600", EXPECTED: "100x3620"}, at="30h"),  # given up: not all weekend
        Case(
            {of(ELAPSED, instance="a"): "0+60x30", of(ELAPSED, instance="b"): "0x30", EXPECTED: "100x30"},
            (SERVICE,),
            "6m",
            "6m 0s",
        ),
        Case({ELAPSED: "0+60x6 stale", EXPECTED: "100x6 stale"}, at="12m"),  # deleted
    ],
    "HearthDemandBlind": [
        Case({'hearth_scaler_blind{instance="a"}': "0x30", 'hearth_scaler_blind{instance="b"}': "0x10 1x20"}, ({},)),
        Case({'hearth_scaler_blind{instance="a"}': "0x10 1 0x20"}, at="11m"),
        Case({'hearth_scaler_blind{cluster="west"}': "1x30", 'hearth_scaler_blind{cluster="east"}': "0x30"}, (WEST,)),
        Case({'hearth_scaler_blind{instance="a"}': "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0"}, ({},)),  # it flaps
    ],
    "HearthKedaNotActing": [
        Case({DEPTH: "5x30", REPLICAS: "0x30"}, (SERVICE,), value="5"),
        Case({DEPTH: "5x30", REPLICAS: "1x30"}),
        Case({DEPTH: "5x30", REPLICAS: "0x30", PAUSED: "1x30"}),  # on purpose
        Case({DEPTH: "5x30", REPLICAS: "0x30", PAUSED: "0x30"}, (SERVICE,), value="5"),
        Case({DEPTH: "0x30", REPLICAS: "0x30"}),
        Case({DEPTH: "5x30", REPLICAS: "0x30", PHASE["Pending"]: "1x30"}),  # there is no ScaledObject to act on
        Case({DEPTH: "5x30", REPLICAS: "0x30", PHASE["Pending"]: "0x30"}, (SERVICE,), value="5"),
        Case({DEPTH: at_weekends_end("0", "1"), REPLICAS: at_weekends_end("0", "0")}, (SERVICE,), "60h5m", "1"),
    ],
    "HearthKedaDown": [
        Case({KEDA: "1x10 0x20"}, ({},)),
        Case({KEDA: "1x10 0 1x20"}, at="12m"),
        Case({KEDA: "0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1 0 1"}, ({},)),  # it flaps
        # Its controller is replaced by one that does not know yet.
        *(
            Case({of(KEDA, instance="a"): "0x10 stale", of(KEDA, instance="b"): "_x12 0x20"}, ({},), f"{at}m")
            for at in range(8, 16)
        ),
        Case({KEDA: "1x10 stale"}, at="13m"),  # nobody leads: has an alert of its own
        Case({of(KEDA, instance="a"): "0x10 stale", of(KEDA, instance="b"): "_x10 0x20"}, ({},)),
        Case({of(KEDA, **WEST): ON, of(KEDA, **EAST): "0x30"}, (EAST,)),
        Case({KEDA: ON, NOT_READY.replace("RuntimeNotFound", "KedaNotInstalled"): ON}, ({},)),
        Case({KEDA: ON, NOT_READY: ON}),
    ],
    "HearthKedaNotListening": [
        Case({STREAMS: "0x30", PHASE["ScaledToZero"]: "1x30"}, (SERVICE,)),
        Case({of(STREAMS, instance="a"): "0x30", of(STREAMS, instance="b"): "1x30", PHASE["ScaledToZero"]: "1x30"}),
        Case(
            {STREAMS: "0x30", PHASE["ScaledToZero"]: "0x30"}
        ),  # the HPA asks by itself, or there is nothing to ask about
        Case({STREAMS: "0x30", PHASE["ScaledToZero"]: "1x30", PAUSED: "1x30"}),
    ],
    "HearthQueueFull": [
        Case({FULL: "0+3x30", ANSWERS[200]: "0+30x30"}, (SERVICE,)),
        Case({FULL: "0+3x30", ANSWERS[200]: "0+3000x30"}),  # one of a thousand is how a limit works
        Case({FULL: "0x10 1x20", ANSWERS[200]: "0x30"}, at="12m"),
        Case({FULL: "7x30", ANSWERS[200]: "0x30"}),
        Case({FULL: "0x10 4x20", ANSWERS[200]: "0x30"}, at="14m"),
    ],
    "HearthEngineCrashLoop": [
        Case({DEGRADED: ON}, (SERVICE,)),
        Case({DEGRADED: "0x18 1x10"}, at="19m"),
        Case({DEGRADED: "0 0 1 1 0 0 1 1 0 0 1 1 0 0 1 1 0 0 1 1 0 0 1 1"}, (SERVICE,)),  # between two restarts
        Case({DEGRADED: ON, PAUSED: ON}),  # on purpose
        Case({DEGRADED: ON, NOT_READY.replace("RuntimeNotFound", "KedaNotRunning"): ON}),
        Case({DEGRADED: "1x10 0x20", PAUSED: "1x10 0x20"}, at="13m"),  # and not when that is over either
        Case({of(DEGRADED, cluster="west"): ON, of(DEGRADED, cluster="east"): "0x30"}, ({**SERVICE, **WEST},)),
        Case({DEGRADED: "1x10 stale"}, at="25m"),  # deleted
        Case(
            {of(DEGRADED, instance="a"): "1x10 stale", of(DEGRADED, instance="b"): "_x10 1x20"}, (SERVICE,)
        ),  # another leads
    ],
    "HearthServiceNotReady": [
        Case({NOT_READY: ON, DEGRADED: "0x30", LEADER: ON}, (TOLD,)),
        Case({NOT_READY: "1x5 stale", DEGRADED: "0x30", LEADER: ON}),  # mended
        # A node that the cluster's autoscaler needs nine minutes for.
        *(Case({NOT_READY: "_x9 1x8 stale", DEGRADED: "0x30", LEADER: ON}, at=f"{at}m") for at in range(14, 26)),
        Case({NOT_READY: "_x60 1x30", LEADER: "1x90"}, (TOLD,), at="76m"),  # a new one
        Case({NOT_READY: ON, DEGRADED: ON, LEADER: ON}),  # has an alert of its own
        Case({NOT_READY: ON, DEGRADED: "0x30", PAUSED: ON, LEADER: ON}),
        Case({NOT_READY: " ".join(["1 1 1 stale"] * 8), LEADER: ON}, (TOLD,)),  # it comes and goes
        # One controller leads, then the other.
        Case(
            {
                of(NOT_READY, instance="a"): "1x10 stale",
                of(NOT_READY, instance="b"): "_x10 1x20",
                LEADER: "1x10 0x20",
                LEADER.replace('"a"', '"b"'): "0x10 1x20",
            },
            (TOLD,),
        ),
        Case({of(NOT_READY, cluster="west"): ON, of(LEADER, cluster="west"): ON}, ({**TOLD, **WEST},)),
    ],
    "HearthNoAnswers": [
        Case({FLIGHT: "0x2 1x28", BYTES: "9x30"}, (SERVICE,)),
        Case({FLIGHT: "0x2 1x28", BYTES: "0x30"}, (SERVICE,)),  # it has never answered
        Case({FLIGHT: ON, BYTES: "0+100x30"}),  # it works
        Case({FLIGHT: ON, BYTES: "0x15 7x15"}),  # one long answer, which has just come
        Case({FLIGHT: "0x30", BYTES: "9x30"}),  # nobody asks
        Case({FLIGHT: "0x12 1x18", BYTES: "9x30"}),  # for some minutes: a long prompt
        Case({of(FLIGHT, instance="a"): ON, of(FLIGHT, instance="b"): "0x30", BYTES: "9x30"}, (SERVICE,)),
        Case({FLIGHT: "1x15 stale", BYTES: "9x15 stale"}),  # deleted
        Case({FLIGHT: "1x12 0x18", BYTES: "9x30"}),  # their clients have left
    ],
    "HearthKeysUnreadable": [
        Case({UNREADABLE: "0x10 1x20"}, ({},), value="1"),
        Case({UNREADABLE: "0x10 1 0x20"}, at="12m"),  # a Secret that is made anew
        Case({UNREADABLE: "0x30"}),
        Case({of(UNREADABLE, pod="a"): "0x30", of(UNREADABLE, pod="b"): "0x10 2x20"}, ({},), value="2"),
        Case({of(UNREADABLE, **WEST): "0x30", of(UNREADABLE, **EAST): "1x30"}, (EAST,), value="1"),
        Case({UNREADABLE: "1x10 stale"}, at="15m"),
    ],
    "HearthCertificateExpiring": [
        # Of 90 days: renewed when 30 are left; at 20 minutes here, 15 days and less are too few.
        Case({ENDS: f"{30 * 86400}x30", LASTS: f"{90 * 86400}x30"}),
        Case({ENDS: f"{15 * 86400 + 3600}x30", LASTS: f"{90 * 86400}x30"}),
        Case({ENDS: f"{10 * 86400 + 1200}x30", LASTS: f"{90 * 86400}x30"}, (CERTIFICATE,), value="10d 0h 0m 0s"),
        # One pod of two has the new one: the other has not read it.
        Case(
            {
                of(ENDS, pod="a"): f"{60 * 86400}x30",
                of(ENDS, pod="b"): f"{86400 + 1200}x30",
                **{of(LASTS, pod=pod): f"{90 * 86400}x30" for pod in "ab"},
            },
            (CERTIFICATE,),
            value="1d 0h 0m 0s",
        ),
        # A short life, as somebody may have set: renewed in time it is well.
        Case({ENDS: "3600+60x30", LASTS: "7200x30"}),
        Case({of(ENDS, **WEST): "0x30", of(LASTS, **WEST): "3600x30"}, ({**CERTIFICATE, **WEST},), value="-20m 0s"),
    ],
    "HearthCertificateUnusable": [
        Case({UNUSABLE: "0x5 1x25"}, (CERTIFICATE,)),
        Case({UNUSABLE: "0x15 1 0x20"}),  # a Secret that was read half written
        Case({UNUSABLE: "0x30"}),
        Case({of(UNUSABLE, pod="a"): "0x30", of(UNUSABLE, pod="b"): "1x30"}, (CERTIFICATE,)),
    ],
    "HearthActivatorDown": [
        Case({built("scaler"): ON}, ({},)),
        Case({built("activator"): ON}),
        Case({built("activator", instance="a"): "1x10 stale", built("activator", instance="b"): ON}),
        Case({}, ({"role": "activator"},)),
        # One cluster of two.
        Case({built("activator", **WEST): ON, built("scaler", **WEST): ON, built("scaler", **EAST): ON}, (EAST,)),
        # All of it in one cluster of two, for a day.
        Case({built("activator", **WEST): "1x600", built("activator", **EAST): "1x10 stale"}, (EAST,), "9h"),
        Case({built("activator", **WEST): "1x2000", built("activator", **EAST): "1x10 stale"}, at="30h"),
        # A restart of all of them.
        Case({built("activator"): "1x10 stale 1x20"}, at="12m"),
    ],
    "HearthScalerDown": [
        Case({built("activator"): ON}, ({},)),
        Case({built("scaler"): ON}),
        Case({}, ({"role": "scaler"},)),
        Case({built("activator", **WEST): ON, built("scaler", **WEST): ON, built("activator", **EAST): ON}, (EAST,)),
    ],
    "HearthFault": [
        Case({FAULTS: "0+1x30"}, ({"role": "controller", "where": "object"},)),
        Case({FAULTS: "0x5 1x30"}, ({"role": "controller", "where": "object"},), "10m"),  # one is enough to be told
        Case({FAULTS: "7x30"}),
        Case({FAULTS: "0x5 1x30"}, at="25m"),  # and a quarter of an hour without another is the end of it
    ],
    "HearthNoLeader": [
        Case({LEADER: "0x30", of(LEADER, pod="b"): "0x30"}, ({},)),
        Case({}, ({},)),
        Case({LEADER: "0x30", of(LEADER, pod="b"): ON}),
        Case({of(LEADER, **WEST): ON, built("scaler", **WEST): ON, built("scaler", **EAST): ON}, (EAST,)),
        Case({of(LEADER, **WEST): ON, of(LEADER, **EAST): "0x30"}, (EAST,)),
        Case({LEADER: "1x10 0 1x20"}, at="11m"),  # a hand-over
    ],
}


def test_promtool_takes_the_rules() -> None:
    checked = subprocess.run(
        [binary("promtool"), "check", "rules", str(RULES)], capture_output=True, text=True, check=True
    )
    assert "SUCCESS" in checked.stdout + checked.stderr


def test_prometheus_takes_what_it_is_told_to_scrape(tmp_path: Path) -> None:
    page = yaml.safe_load(scrape_page(ROOT / "deploy/monitoring/podmonitors.yaml"))
    assert {config["job_name"] for config in page["scrape_configs"]} == {"hearth", "hearth-engines"}
    for config in page["scrape_configs"]:  # Debian's is built without
        assert config.pop("kubernetes_sd_configs")[0]["role"] == "pod"
    file = tmp_path / "prometheus.yml"
    file.write_text(yaml.safe_dump(page))
    checked = subprocess.run(
        [binary("promtool"), "check", "config", str(file)], capture_output=True, text=True, check=False
    )
    assert checked.returncode == 0, checked.stdout + checked.stderr


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
            "exp_annotations": {
                "summary": _summary(known.summary, labels, case.value),
                "description": _summary(description(known), labels, case.value),
                "runbook_url": f"{RUNBOOKS}/{alert.name}.md",
            },
        }
        for labels in case.fires
    ]
    return {
        "interval": "1m",
        "input_series": series,
        "alert_rule_test": [{"eval_time": case.at, "alertname": alert.name, "exp_alerts": expected}],
    }


def _summary(text: str, labels: dict[str, str], value: str) -> str:
    where = labels.get("cluster", "")
    text = re.sub(
        r"\{\{ with \$labels\.cluster \}\}(.*?)\{\{ end \}\}",
        lambda found: found[1].replace("{{ . }}", where) if where else "",
        text,
    )
    text = re.sub(r"\{\{ \$labels\.(\w+) \}\}", lambda found: labels[found[1]], text)
    return re.sub(r"\{\{ \$value.*?\}\}", value, text)


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_its_runbook_says_who_is_hurt_where_to_look_what_to_do_and_when_it_is_over(alert: Alert) -> None:
    text = (ROOT / runbook(alert)).read_text()
    assert re.findall("^#.*", text, re.MULTILINE) == [
        f"# {alert.name}",
        "## What it means",
        "## Who is hurt, and how urgent it is",
        "## Look",
        "## Do",
        "## It is over when",
        "## Whom to call",
    ]
    (commands,) = re.findall("^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    assert commands.startswith("kubectl"), "the pager's laptop has no hearth"
    assert commands.count("\nhearth") < commands.count("kubectl")
    # Somebody's rights and names: words that nothing says any more help nobody.
    for word in re.findall(r"`([A-Z][a-z]+(?:[A-Z][A-Za-z]+)+)`", text):
        assert word in REASONS or word in get_args(ConditionType), word
    for word in re.findall(r'reason="(\w+)"', text):
        assert word in TALLIED, word
    for linked in re.findall(r"\]\((?!https:)([^)#]+)", text):
        assert (ROOT / "docs/runbooks" / linked).exists(), linked
    assert "kubectl scale deploy/NAME" not in text, "docs/install.md: KEDA owns it"


def test_the_page_has_every_alert() -> None:
    page = (ROOT / "docs/operations.md").read_text()
    assert set(re.findall(r"runbooks/(\w+)\.md", page)) == {alert.name for alert in ALERTS}


@pytest.mark.parametrize("alert", ALERTS, ids=lambda alert: alert.name)
def test_the_command_that_it_names_is_one(alert: Alert) -> None:
    """With the alert's own labels in it, so that it can be pasted."""
    words = shlex.split(re.sub(r"\{\{ \$labels\.\w+ \}\}", "x", alert.look))
    assert words[0] == "kubectl"
    assert "NAME" not in alert.look
    assert ("$labels.service" in alert.look) is (" -n {{ $labels.namespace }}" in alert.look)
