"""The activator's own keys, as a process: what a Secret holds counts without a restart, and goes into no log."""

from base64 import b64encode
from pathlib import Path
from typing import Any

import httpx

from hearth.emulators.store import ObjectStore
from tests.builders import llmservice_manifest
from tests.local.roles import answers, api_server, role
from tests.local.test_away import places


def secret(keys: str) -> dict[str, Any]:
    about = {"name": "hearth-api-keys", "namespace": "hearth-system"}
    return {"metadata": about, "data": {"all": b64encode(keys.encode()).decode()}}


async def test_the_keys_of_all(tmp_path: Path) -> None:
    at, store = places("api", "http", "demand", "operations"), ObjectStore()
    store.put("llmservices", llmservice_manifest("qwen", "ai"))
    listens = ["--listen", at["http"], "--demand-listen", at["demand"], "--operations-listen", at["operations"]]
    models = f"http://{at['http']}/v1/models"
    async with (
        api_server(at["api"], store),
        role(tmp_path, at["api"], "activator", *listens, "--api-keys", "hearth-system/hearth-api-keys/all"),
        httpx.AsyncClient(trust_env=False, headers={"authorization": "Bearer key-of-alice"}) as alice,
        httpx.AsyncClient(trust_env=False) as nobody,
    ):
        await answers(alice, f"http://{at['operations']}/readyz", 200)
        assert (await alice.get(models)).status_code == 503, "there is no Secret: nobody is let in"
        store.put("secrets", secret("alice=key-of-alice"))
        await answers(alice, models, 200)
        assert (await nobody.get(models)).status_code == 401
        assert (await nobody.get(f"http://{at['http']}/healthz")).status_code == 200
        store.put("secrets", secret("alice=key-of-alice-2"))
        await answers(alice, models, 401)
    assert "key-of" not in (tmp_path / "activator.log").read_text()
