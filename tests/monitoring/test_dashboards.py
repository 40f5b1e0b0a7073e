"""What Grafana asks, asked of a real Prometheus that scraped the real processes while `hearth up` served."""

import concurrent.futures
import contextlib
import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import openai
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard as GrafanaDashboard
from openai.types.chat import ChatCompletionMessageParam

from tests.builders import ROOT
from tests.local.command import Hearth
from tests.monitoring.discovered import pods_of
from tests.monitoring.picture import draw
from tests.monitoring.scraped import Prometheus, expanded, prometheus
from tools.alerts import RECORDINGS
from tools.dashboards import ANNOTATIONS, DASHBOARDS, SERVICE, Annotation, Panel, Query, as_json
from tools.scrape import scrape_configs

MODEL = "deepseek-v3-small"
SECRET, PROMPT = "sk-very-secret", "Where were you that night?"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": PROMPT}]
PICTURES = Path("build/dashboards")
MONITORS = ROOT / "deploy/monitoring/podmonitors.yaml"


@dataclass(frozen=True)
class Recorded:
    """What there is when the load is over. Times in seconds since 1970."""

    prometheus: Prometheus
    hearth: Hearth
    began: float
    ended: float


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    folder = tmp_path_factory.mktemp("up")
    options = [
        *["--sim", "load-seconds=2", "--sim", "slots=2", "--sim", "tokens-per-second=20"],
        *["--accelerator-price", "2.5", "--hpa-sync-seconds", "2"],
        *["--set", "spec.endpoint.coldStart.heartbeatInterval=200ms", "--set", "spec.endpoint.maxQueue=20"],
        *["--set", "spec.scaling.scaleDownStabilization=2s"],
    ]
    with Hearth.up(folder, *options) as hearth:
        targets = re.findall(r"http://([0-9.:]+)/metrics", hearth.text)
        assert len(targets) == 3
        kubeconfig = re.search(r"hearth top --kubeconfig (\S+)", hearth.text)
        assert kubeconfig is not None
        with (
            pods_of(Path(kubeconfig[1])) as pods,
            prometheus(tmp_path_factory.mktemp("prometheus"), targets, [engines(pods)]) as running,
        ):
            running.until("count(hearth_build_info) == 3")
            began = time.time()
            exercise(hearth)
            running.until(f'hearth_llmservice_phase{{service="{MODEL}",phase="ScaledToZero"}} == 1')
            exercise(hearth)  # once more, so that a rate has two ends
            time.sleep(2)  # two scrapes
            yield Recorded(running, hearth, began, time.time())


def engines(pods: str) -> dict[str, Any]:
    """What the PodMonitor of engines is to a Prometheus that finds pods at this URL."""
    (made,) = [config for config in scrape_configs(MONITORS) if config["job_name"] == "hearth-engines"]
    del made["kubernetes_sd_configs"]
    return {**made, "scrape_interval": "1s", "http_sd_configs": [{"url": pods, "refresh_interval": "1s"}]}


def exercise(hearth: Hearth) -> None:
    """A cold start, a burst that is too large, clients that leave, an engine that dies, a model that nobody has."""
    with openai.OpenAI(base_url=hearth.url, api_key=SECRET, max_retries=0, timeout=60) as client:
        _exercise(client)


def _exercise(client: openai.OpenAI) -> None:
    def ask(**more: object) -> None:
        with contextlib.suppress(openai.APIError):
            list(client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=20, stream=True, **more))  # type: ignore[call-overload]

    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(ask) for _ in range(30)]
        for future in asked:
            future.result()
    ask(extra_headers={"x-sim-fault": "crash-mid-stream"})
    # While the engine's process goes, its port may still be open: who is given to it twice is told 502, and asks again.
    patient = client.with_options(max_retries=5)
    with patient.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=200, stream=True) as stream:
        next(iter(stream))
    with contextlib.suppress(openai.APIError):
        client.chat.completions.create(model="made-up", messages=MESSAGES)


QUERIES = [
    pytest.param(query, id=f"{board.uid}: {panel.title}: {query.legend}")
    for board in DASHBOARDS
    for panel in board.panels
    for query in panel.queries
]


@pytest.mark.parametrize("query", QUERIES)
def test_every_query_has_data_or_says_why_not(recorded: Recorded, query: Query) -> None:
    series = recorded.prometheus.query_range(expanded(query.expr), recorded.began, recorded.ended, 1)
    values = [value for line in series for _, value in line["values"] if value not in {"NaN", "+Inf"}]
    assert bool(values) == (query.empty is None), query.empty or "no data"


@pytest.mark.parametrize("recording", RECORDINGS, ids=lambda recording: recording.name)
def test_every_recording_records(recorded: Recorded, recording: object) -> None:
    assert recorded.prometheus.query_range(recording.name, recorded.began, recorded.ended, 1)  # type: ignore[attr-defined]


def test_no_model_that_a_client_made_up_is_a_label(recorded: Recorded) -> None:
    assert recorded.prometheus.query("hearth_activator_unrouted_requests_total")
    names = {line["metric"]["service"] for line in recorded.prometheus.query('{service=~".+"}')}
    assert names == {MODEL}


def test_hours_add_up(recorded: Recorded) -> None:
    """Held and saved together are at least the time that there was, for a model that would need one replica."""
    (held,) = recorded.prometheus.query("hearth_llmservice_accelerator_hours_total")
    (saved,) = recorded.prometheus.query("hearth_llmservice_accelerator_hours_saved_total")
    hours = float(held["value"][1]) + float(saved["value"][1])
    assert hours >= (recorded.ended - recorded.began) / 3600
    assert float(saved["value"][1]) > 0


def test_logs_have_neither_prompts_nor_keys(recorded: Recorded) -> None:
    found = re.search(r"logs: (\S+)\)", recorded.hearth.text)
    assert found is not None
    logs = {path.name: path.read_text() for path in Path(found[1]).glob("*.log")}
    assert {"activator.log", "scaler.log"} <= set(logs)
    for name, text in {**logs, "output": recorded.hearth.text}.items():
        assert SECRET not in text, name
        assert PROMPT not in text, name


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
def test_grafana_knows_every_field(board: object) -> None:
    """Read by the SDK's models, which are made from Grafana's schema, and written again, nothing is lost."""
    document = json.loads(as_json(board))  # type: ignore[arg-type]
    for annotation in document["annotations"]["list"]:
        for name in ("titleFormat", "step"):  # of the data source, of which the schema has no words
            assert annotation.pop(name)
    read = GrafanaDashboard.from_json(json.loads(json.dumps(document)))
    assert json.loads(JSONEncoder(sort_keys=True, indent=2).encode(read)) == document
    assert len({panel["id"] for panel in document["panels"]}) == len(board.panels)  # type: ignore[attr-defined]


@pytest.mark.parametrize("query", QUERIES)
def test_a_series_of_a_service_says_whose_it_is_and_no_line_is_of_the_whole_time(query: Query) -> None:
    panel = next(panel for board in DASHBOARDS for panel in board.panels if query in panel.queries)
    if "service" in query.expr and panel.kind != "stat":
        assert query.legend.startswith(SERVICE)
        assert "cluster" in query.expr
    if "$__range" in query.expr:
        assert panel.kind != "graph"


@pytest.mark.parametrize("annotation", ANNOTATIONS, ids=lambda annotation: annotation.name)
def test_what_happened_is_told(recorded: Recorded, annotation: Annotation) -> None:
    expr = expanded(annotation.expr).replace("offset 1m", "offset 1s")
    told = recorded.prometheus.query_range(expr, recorded.began, recorded.ended, 1)
    if annotation.name != "Alerts":
        assert [line["metric"]["service"] for line in told] == [MODEL]


@pytest.mark.parametrize("board", DASHBOARDS, ids=lambda board: board.uid)
def test_pictures(recorded: Recorded, board: object) -> None:
    """Drawn from what was recorded; `make pictures` puts them into docs/."""

    def lines(panel: Panel) -> dict[str, list[tuple[float, float]]]:
        made = {}
        for query in panel.queries:
            series = recorded.prometheus.query_range(expanded(query.expr), recorded.began, recorded.ended, 1)
            for line in series:
                label = re.sub(r"\{\{(\w+)\}\}", lambda found: line["metric"].get(found[1], ""), query.legend).strip()  # noqa: B023
                points = [(float(at), float(value)) for at, value in line["values"]]
                made[label] = [(at - recorded.began, value) for at, value in points if value == value]  # noqa: PLR0124
        return made

    text = draw(board, lines)  # type: ignore[arg-type]
    assert text.count("<polyline") + text.count('class="stat"') >= len(board.panels) / 2  # type: ignore[attr-defined]
    assert len(text) < 200 * 1024
    PICTURES.mkdir(parents=True, exist_ok=True)
    (PICTURES / f"{board.uid}.svg").write_text(text)  # type: ignore[attr-defined]
