"""The simulated engine beside vLLM: what it says it must say as vLLM does. It stands for vLLM in all other tests."""

import re
from dataclasses import replace

import pytest

from tests.cluster.e2e.conversation import new_client
from tests.cluster.vllm.faces import ASKED, Asked, face
from tests.cluster.vllm.served import NAME, Served
from tests.component.test_engine import CONFIG, serving

SIMULATED = replace(CONFIG, model=NAME)
_SAMPLE = re.compile(r"^(vllm:\w+)\{(.*)\} ", re.MULTILINE)


@pytest.mark.parametrize("asked", ASKED, ids=str)
async def test_it_answers_like_vllm(awake: Served, asked: Asked) -> None:
    async with serving(SIMULATED) as simulated, new_client() as client:
        real = await face(client, awake.engine, NAME, asked)
        assert await face(client, f"http://127.0.0.1:{simulated.port}", NAME, asked) == real


async def test_its_metrics_are_vllms(awake: Served) -> None:
    def labels(text: str) -> dict[str, set[str]]:
        return {found[1]: set(re.findall(r'(\w+)="', found[2])) for found in _SAMPLE.finditer(text)}

    async with serving(SIMULATED) as simulated, new_client() as client:
        assert (await simulated.chat(model=NAME)).status_code == 200
        said = labels((await simulated.http.get("/metrics")).text)
        real = labels((await client.get(f"{awake.engine}/metrics")).text)
    assert said
    assert said == {name: real.get(name) for name in said}
