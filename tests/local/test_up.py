"""`hearth up` from outside: what it prints, and real clients against a model that is cold and then warm.

The tests of this module share one running command, in the order in which they stand.
"""

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import openai
import pytest
from langchain_core.messages import HumanMessage
from langchain_openai import ChatOpenAI, OpenAIEmbeddings
from openai.types.chat import ChatCompletionMessageParam
from pydantic import SecretStr

from hearth.emulators.ports import free_port
from tests.builders import SEED
from tests.local.command import Hearth

MODEL = "deepseek-v3-small"
MESSAGES: list[ChatCompletionMessageParam] = [{"role": "user", "content": "Where were you?"}]


@pytest.fixture
def client(hearth: Hearth) -> openai.OpenAI:
    return openai.OpenAI(base_url=hearth.url, api_key="none", max_retries=0, timeout=60)


def test_it_says_where_the_endpoint_is_and_how_to_talk_to_it(hearth: Hearth) -> None:
    assert f"OpenAI endpoint: {hearth.url}" in hearth.text
    assert f"curl -N {hearth.url}/chat/completions" in hearth.text
    assert f'client = OpenAI(base_url="{hearth.url}", api_key="none")' in hearth.text
    hearth.wait_for(f"ai-prod/{MODEL}  ScaledToZero  replicas 0/0  waiting 0  in flight 0")
    assert "\x1b" not in hearth.text, "no colours where nobody looks"
    assert "WARNING" not in hearth.text
    assert "no answer" not in hearth.text, "it begins with nothing that means nothing"


def test_the_curl_line_that_it_prints_streams_from_cold(hearth: Hearth) -> None:
    curl = shutil.which("curl")
    assert curl is not None
    found = re.search(r"curl -N (\S+) -H '(.*?)' \\\n\s+-d '(.*?)'", hearth.text)
    assert found is not None
    url, header, body = found.groups()
    seen = len(hearth.lines)
    answer = subprocess.run(
        [curl, "-sN", "--noproxy", "*", url, "-H", header, "-d", body],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stdout
    beats = [line for line in answer.splitlines() if line.startswith('data: {"hearth": ')]
    assert len(beats) >= 2
    # The last ones may have come while the replica had the request already, and had not answered.
    assert any('"phase": "loading"' in beat for beat in beats)
    assert answer.endswith("data: [DONE]\n\n")
    for phase in ("waiting 1.*cold start: (scheduling|starting)", "cold start: loading", "Ready  replicas 1/1"):
        hearth.wait_for(phase, seen)


def test_openai_warm_whole_and_streaming(client: openai.OpenAI) -> None:
    whole = client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5)
    content = whole.choices[0].message.content
    assert content is not None
    assert len(content.split()) == 5
    assert whole.usage is not None
    assert whole.usage.completion_tokens == 5
    chunks = list(client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=5, stream=True))
    assert len("".join(chunk.choices[0].delta.content or "" for chunk in chunks).split()) == 5


def test_openai_completions_embeddings_and_models(client: openai.OpenAI) -> None:
    assert len(client.completions.create(model=MODEL, prompt="x", max_tokens=3).choices[0].text.split()) == 3
    assert len(client.embeddings.create(model=MODEL, input="x").data[0].embedding) == 64
    assert [model.id for model in client.models.list()] == [MODEL]
    assert client.models.retrieve(MODEL).id == MODEL


def test_openai_errors_are_what_the_package_raises(client: openai.OpenAI) -> None:
    with pytest.raises(openai.NotFoundError, match="'none' does not exist") as raised:
        client.chat.completions.create(model="none", messages=MESSAGES)
    assert raised.value.code == "model_not_found"
    with pytest.raises(openai.InternalServerError):
        client.embeddings.create(model=MODEL, input="x", extra_headers={"x-sim-fault": "error-500"})


def test_langchain_warm_and_its_embeddings(hearth: Hearth) -> None:
    chat = ChatOpenAI(model=MODEL, base_url=hearth.url, api_key="none", max_retries=0, timeout=60)
    answer = chat.invoke([HumanMessage("Where were you?")])
    assert answer.usage_metadata is not None
    assert answer.usage_metadata["output_tokens"] > 0
    embeddings = OpenAIEmbeddings(
        model=MODEL,
        openai_api_base=hearth.url,
        openai_api_key=SecretStr("none"),
        check_embedding_ctx_length=False,
    )
    assert len(embeddings.embed_query("x")) == 64


def test_an_engine_that_crashes_while_streaming_is_an_error_and_not_an_end(client: openai.OpenAI) -> None:
    stream = client.chat.completions.create(
        model=MODEL, messages=MESSAGES, max_tokens=20, stream=True, extra_headers={"x-sim-fault": "crash-mid-stream"}
    )
    with pytest.raises(openai.APIError, match="died"):
        list(stream)


@pytest.fixture(scope="module")
def sleepy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hearth]:
    """A second command whose model goes to sleep soon, with white space from the first moment on."""
    with Hearth.up(
        tmp_path_factory.mktemp("sleepy"),
        *["--sim", "load-seconds=1.5", "--set", "spec.scaling.scaleDownStabilization=1s"],
        *["--set", "spec.endpoint.coldStart.heartbeatInterval=200ms"],
        *["--set", "spec.endpoint.coldStart.whitespaceAfter=300ms"],
    ) as running:
        yield running


@pytest.fixture
def asleep(sleepy: Hearth) -> Iterator[Hearth]:
    """The second command before its model has a replica; the test is to wake it."""
    begun = sleepy.last("Ready  replicas 1/1")
    begun = sleepy.wait_for("ScaledToZero  replicas 0/0", begun)
    yield sleepy
    sleepy.wait_for("Ready  replicas 1/1", begun)


def test_openai_streaming_from_cold(asleep: Hearth) -> None:
    client = openai.OpenAI(base_url=asleep.url, api_key="none", max_retries=0, timeout=60)
    chunks = list(client.chat.completions.create(model=MODEL, messages=MESSAGES, max_tokens=20, stream=True))
    assert len("".join(chunk.choices[0].delta.content or "" for chunk in chunks).split()) == 20


def test_openai_whole_from_cold_after_white_space(asleep: Hearth) -> None:
    client = openai.OpenAI(base_url=asleep.url, api_key="none", max_retries=0, timeout=60)
    raw = client.chat.completions.with_raw_response.create(model=MODEL, messages=MESSAGES, max_tokens=20)
    assert raw.content.startswith(b" ")
    assert raw.parse().choices[0].message.content


def test_langchain_streaming_from_cold(asleep: Hearth) -> None:
    chat = ChatOpenAI(model=MODEL, base_url=asleep.url, api_key="none", max_retries=0, timeout=60)
    pieces = [chunk.text for chunk in chat.stream("Where were you?", max_tokens=20)]
    assert len("".join(pieces).split()) == 20


def test_a_port_that_is_taken_is_said_before_anything_starts(hearth: Hearth) -> None:
    command = [sys.executable, "-m", "hearth", "up", "-f", str(SEED), "--port", str(hearth.port)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert made.returncode == 2
    assert f"cannot listen on 127.0.0.1:{hearth.port}" in made.stderr
    assert "--port" in made.stderr


def test_bad_manifests_start_nothing(tmp_path: Path) -> None:
    port = free_port()
    broken = tmp_path / "broken.yaml"
    broken.write_text(SEED.read_text().replace("scaling:", "scalling:"))
    command = [sys.executable, "-m", "hearth", "up", "-f", str(broken), "--port", str(port)]
    made = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert (made.returncode, made.stdout) == (2, "")
    assert f"{broken}" in made.stderr
    assert "spec.scalling" in made.stderr
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"http://127.0.0.1:{port}/healthz", trust_env=False)
