"""llama.cpp's server with SmolLM2, under the bundled runtime, behind the real activator, scaler and controller.

Its own sources are named where a test says what it does: tools/server of b11434.
"""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, get_args

import httpx
import openai
import pytest
import pytest_asyncio

from hearth.api.llmservice import LLMService
from hearth.api.manifest import load_llmservices, load_runtimes, parse_llmservice, set_fields
from hearth.coldstart import StartPhase
from tests.builders import ROOT
from tests.cluster.e2e.conversation import Conversation
from tests.engines.serving import PATIENCE, Mounted, Served, ready, serving
from tests.local.command import Hearth

pytestmark = pytest.mark.asyncio(loop_scope="module")

EXAMPLE = ROOT / "examples" / "smollm2.yaml"
RUNTIMES = load_runtimes(ROOT / "runtimes")
PROCESSING = "llamacpp:requests_processing"
DEFERRED = "llamacpp:requests_deferred"
FRANCE = "What is the capital of France?"
CHAT: Any = [{"role": "user", "content": FRANCE}]
# It would say a short sentence and stop.
LONG: dict[str, Any] = {"ignore_eos": True}
SLOTS = 2
PHASES = ("requested", *get_args(StartPhase), "queued", "answering")


def example(*assignments: str) -> LLMService:
    """The example as `make up ENGINE=llamacpp` applies it, with heartbeats that a test needs not wait for long."""
    (service,) = load_llmservices([str(EXAMPLE)])
    common = ("spec.runtime.argsOverride=[--offline]", "spec.endpoint.coldStart.heartbeatInterval=100ms")
    return parse_llmservice(set_fields(service.to_manifest(), (*common, *assignments)))


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def served(llamacpp: Mounted, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Served]:
    """One engine with two slots that stays, once it was asked for."""
    service = example(
        f"spec.runtime.argsOverride=[--offline, -np, '{SLOTS}', -c, '4096']",
        "spec.scaling.max=1",
        "spec.scaling.scaleDownStabilization=1h",
    )
    async with serving(tmp_path_factory.mktemp("llamacpp"), service, RUNTIMES, llamacpp) as made:
        yield made


@pytest.fixture
def broken(llamacpp: Mounted, tmp_path_factory: pytest.TempPathFactory) -> Mounted:
    """A cache whose model is none."""
    models = tmp_path_factory.mktemp("broken")
    whole = Path(llamacpp.claims["smollm2-cache-cpu"])
    for path in filter(Path.is_file, whole.rglob("*")):
        copy = models / path.relative_to(whole)
        copy.parent.mkdir(parents=True, exist_ok=True)
        copy.write_bytes(b"no model" if path.suffix == ".gguf" else path.read_bytes())
    return Mounted(llamacpp.image, {"smollm2-cache-cpu": str(models)})


@pytest_asyncio.fixture(loop_scope="module")
async def warm(served: Served) -> Served:
    await served.conversation().run(served.client)
    await served.replicas(1)
    return served


async def test_a_cold_start_has_heartbeats_and_then_words(llamacpp: Mounted, tmp_path: Path) -> None:
    """0 → 1 → 0, and once more: the second one finds the model in the page cache."""
    async with serving(tmp_path, example("spec.scaling.scaleDownStabilization=1s"), RUNTIMES, llamacpp) as served:
        for _ in range(2):
            talk = await served.conversation(FRANCE).run(served.client)
            assert (talk.status, talk.done, talk.error) == (200, True, "")
            assert talk.text == await served.said(FRANCE)
            # No beat has a phase by right: a pod may start before the first one is due, 100 ms after the request.
            phases = [beat["phase"] for beat in talk.beats]
            assert phases == sorted(phases, key=PHASES.index)
            assert "loading" in phases, phases
            await served.until(lambda: not served.pods())


async def test_it_is_a_503_while_it_loads_and_ready_when_it_is(llamacpp: Mounted, tmp_path: Path) -> None:
    """server-http.cpp, middleware_server_state. The port is open before the model is loaded."""
    async with serving(tmp_path, example(), RUNTIMES, llamacpp) as served:
        asking = served.begin(served.conversation(FRANCE))
        await served.until(lambda: any((pod.get("status") or {}).get("podIP") for pod in served.pods()))
        seen: list[int | None] = []
        while seen[-1:] != [200]:
            try:
                status: int | None = (await served.client.get(f"{served.engine}/health")).status_code
            except httpx.TransportError:
                status = None
            if seen[-1:] != [status]:
                seen.append(status)
            await asyncio.sleep(0.002)  # a process has no event
        assert seen in ([None, 503, 200], [503, 200])
        assert (await asking).text == await served.said(FRANCE)


async def test_streaming_and_not_say_the_same(warm: Served) -> None:
    asks: dict[str, Any] = {"messages": [{"role": "user", "content": FRANCE}], "temperature": 0, "max_tokens": 16}
    whole = (await warm.post("/v1/chat/completions", **asks)).raise_for_status().json()
    talk = await warm.conversation(FRANCE).run(warm.client)
    assert whole["choices"][0]["message"]["content"] == talk.text
    assert whole["model"] == warm.name, "--alias"
    assert whole["usage"]["completion_tokens"] > 0


@pytest.mark.parametrize(
    ("path", "asks", "where"),
    [
        ("/v1/completions", {"prompt": "The capital of France is", "max_tokens": 4}, ("choices", 0, "text")),
        ("/completion", {"prompt": "The capital of France is", "n_predict": 4}, ("content",)),
        ("/v1/messages", {"messages": CHAT, "max_tokens": 16}, ("content", 0, "text")),
        ("/v1/responses", {"input": FRANCE, "max_output_tokens": 16}, ("output", -1, "content", 0, "text")),
        ("/apply-template", {"messages": CHAT}, ("prompt",)),
        ("/tokenize", {"content": "Hello world"}, ("tokens",)),
        ("/detokenize", {"tokens": [19556, 905]}, ("content",)),
    ],
)
async def test_what_it_answers_is_passed_on(
    warm: Served, path: str, asks: dict[str, Any], where: tuple[str | int, ...]
) -> None:
    """Its own paths too, which the bundled runtime names."""
    answer, itself = await warm.post(path, temperature=0, **asks), await warm.past(path, temperature=0, **asks)
    assert answer.status_code == itself.status_code == 200, answer.text
    found, expected = answer.json(), itself.json()
    for step in where:
        found, expected = found[step], expected[step]
    assert found == expected
    assert found


async def test_embeddings_are_refused_by_it_and_its_word_is_passed_on(warm: Served) -> None:
    """A server without --embeddings: the answer is the engine's, status and all."""
    answer = await warm.post("/v1/embeddings", input="x")
    past = await warm.client.post(f"{warm.engine}/v1/embeddings", json={"model": warm.name, "input": "x"})
    assert (answer.status_code, answer.json()) == (past.status_code, past.json())
    assert answer.status_code == 501


async def test_models_are_the_llmservices(warm: Served) -> None:
    async with openai.AsyncOpenAI(base_url=f"{warm.hearth.url}/v1", api_key="none", max_retries=0) as client:
        assert [model.id async for model in client.models.list()] == [warm.name]
        assert (await client.models.retrieve(warm.name)).id == warm.name


async def test_more_streams_than_slots_wait_in_it_and_all_are_answered(warm: Served) -> None:
    talks = [warm.begin(warm.conversation(f"Count to {number}.", 48, **LONG)) for number in range(3 * SLOTS)]
    assert await warm.figure_is(DEFERRED, lambda waiting: waiting > 0) > 0
    assert await warm.figure(PROCESSING) <= SLOTS
    for talk in await asyncio.gather(*talks):
        assert (talk.status, talk.done, talk.error) == (200, True, "")
        assert talk.text
    await warm.figure_is(DEFERRED, lambda waiting: waiting == 0)


async def test_a_client_that_leaves_frees_its_slot(warm: Served) -> None:
    _, asking = await telling(warm, 3000)
    assert await warm.figure_is(PROCESSING, lambda running: running > 0) == 1
    asking.cancel()
    await asyncio.gather(asking, return_exceptions=True)
    await warm.figure_is(PROCESSING, lambda running: running == 0)
    slots = (await warm.client.get(f"{warm.engine}/slots")).json()
    assert [slot["is_processing"] for slot in slots] == [False] * SLOTS


async def test_a_client_that_leaves_before_its_turn_takes_its_request_along(warm: Served) -> None:
    talks = [warm.begin(warm.conversation("Tell me a long story.", 3000, **LONG)) for _ in range(SLOTS + 2)]
    await warm.figure_is(DEFERRED, lambda waiting: waiting == 2)
    for talk in talks:
        talk.cancel()
    await asyncio.gather(*talks, return_exceptions=True)
    await warm.figure_is(DEFERRED, lambda waiting: waiting == 0)
    await warm.figure_is(PROCESSING, lambda running: running == 0)


async def test_its_metrics_have_the_names_that_the_runtime_says(warm: Served) -> None:
    (runtime,) = [each for each in RUNTIMES if each.metadata.name == "cpu-llamacpp"]
    names = [runtime.spec.metrics.running, runtime.spec.metrics.queue_depth]
    text = (await warm.client.get(f"{warm.engine}{runtime.spec.metrics.path}")).raise_for_status().text
    for name in names:
        assert name is not None
        assert re.search(rf"^{re.escape(name)} \d+$", text, re.MULTILINE), f"{name} is not in:\n{text}"


async def test_an_engine_that_dies_in_a_stream_is_an_error_and_comes_again(warm: Served) -> None:
    talk, asking = await telling(warm, 3000)
    warm.kill()
    await asking
    assert not talk.done or talk.error, "no client takes it for an end"
    assert "engine" in talk.error, talk.error
    # Restarted in its place, it is asked again as soon as it answers.
    again = await warm.conversation(FRANCE).run(warm.client)
    assert (again.status, again.done, again.error) == (200, True, "")
    assert again.text == await warm.said(FRANCE)


async def test_nothing_is_cut_where_it_is_scaled_to_zero_in_a_stream(llamacpp: Mounted, tmp_path: Path) -> None:
    """preStop asks its own metrics."""
    async with serving(tmp_path, example(), RUNTIMES, llamacpp) as served:
        talk, asking = await telling(served, 400)
        (pod,) = served.pods()
        await served.scale(0)
        await served.until(lambda: ending(served, pod))
        assert not asking.done()
        await asking
        assert (talk.status, talk.done, talk.error) == (200, True, "")
        assert talk.words > 300
        await served.until(lambda: not any(same(each, pod) for each in served.pods()))


async def test_a_new_version_comes_and_the_old_one_ends_what_it_says(llamacpp: Mounted, tmp_path: Path) -> None:
    async with serving(tmp_path, example(), RUNTIMES, llamacpp) as served:
        talk, asking = await telling(served, 400)
        (old,) = served.pods()
        changed = example("spec.runtime.argsOverride=[--offline, -np, '1', -c, '1024']")
        served.hearth.cluster.apply(changed.to_manifest())
        await served.until(lambda: ending(served, old))
        await asking
        assert (talk.status, talk.done, talk.error) == (200, True, "")
        await served.until(lambda: any(ready(each) and not same(each, old) for each in served.pods()))
        await served.until(lambda: not any(same(each, old) for each in served.pods()))
        assert (await served.conversation(FRANCE).run(served.client)).text == await served.said(FRANCE)
        assert (await served.client.get(f"{served.engine}/props")).json()["total_slots"] == 1


async def test_a_model_that_cannot_be_loaded_is_told_as_what_it_is(broken: Mounted, tmp_path: Path) -> None:
    service = example("spec.scaling.activationTimeout=30s")
    async with serving(tmp_path, service, RUNTIMES, broken) as served:
        talk = await served.conversation(FRANCE).run(served.client)
        print(talk.beats, talk.error)
        assert "EngineCrashing" in json.dumps(served.service["status"]["conditions"])
        assert not talk.words


async def test_make_up_serves_it(llamacpp: Mounted, tmp_path: Path) -> None:
    """The command that `make up ENGINE=llamacpp` runs, as a person runs it."""
    arguments = ["--engine", "command", "--set", "spec.runtime.argsOverride=[--offline]"]
    for path, folder in (llamacpp.image | llamacpp.claims).items():
        arguments += ["--mount", f"{path}={folder}"]
    with Hearth.up(tmp_path, *arguments, manifests=[EXAMPLE]) as running:
        client = openai.OpenAI(base_url=running.url, api_key="none", max_retries=0, timeout=PATIENCE)
        stream = client.chat.completions.create(
            model="smollm2", messages=CHAT, temperature=0, max_tokens=16, stream=True
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)
        assert text
        client.close()


async def telling(served: Served, tokens: int) -> "tuple[Conversation, asyncio.Task[Conversation]]":
    """A long answer, of which the first words have come."""
    talk = served.conversation("Tell me a long story.", tokens, **LONG)
    asking = served.begin(talk)
    await talk.until(lambda heard: heard.words > 2)
    return talk, asking


def same(pod: dict[str, Any], other: dict[str, Any]) -> bool:
    return bool(pod["metadata"]["uid"] == other["metadata"]["uid"])


def ending(served: Served, pod: dict[str, Any]) -> bool:
    return any(same(each, pod) and "deletionTimestamp" in each["metadata"] for each in served.pods())
