"""What a prewarm's container and the engine that waits for it run, as they are rendered, in the shell of this machine."""

import asyncio
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from hearth.controller.prewarm import bytes_told
from hearth.crd_translator import render
from hearth.crd_translator.prewarm import STILL_SECONDS
from tests.builders import llmservice, runtime

PATIENCE = 30.0


def rendered(folder: Path, *command: str) -> tuple[list[str], list[str]]:
    """(the Job's command, the init container's) of a runtime that downloads so, with `folder` for the cache."""
    by = runtime("r", prewarm={"command": list(command)})
    made = render(llmservice("spec.runtime={name: r}", "spec.cache={prewarm: true, strategy: SharedPVC}"), [by])
    (download,) = made.of_kind("Job")[0]["spec"]["template"]["spec"]["containers"]
    (waits,) = made.of_kind("Deployment")[0]["spec"]["template"]["spec"]["initContainers"]
    return _here(download, folder), _here(waits, folder)


def _here(container: dict[str, Any], folder: Path) -> list[str]:
    return [word.replace("/models/cache", str(folder)) for word in container["command"]]


def markers(folder: Path) -> list[Path]:
    return list(folder.glob(".hearth/ready-*"))


def counters(folder: Path) -> list[Path]:
    return list(folder.glob(".hearth/writing-*"))


def test_a_download_leaves_a_marker_says_how_much_there_is_and_is_not_done_twice(tmp_path: Path) -> None:
    command, _ = rendered(tmp_path, "sh", "-c", f"echo x >> {tmp_path}/model")
    for _ in range(2):
        made = subprocess.run(command, capture_output=True, text=True, check=True, timeout=PATIENCE)
        assert len(markers(tmp_path)) == 1
    assert (tmp_path / "model").read_text() == "x\n"
    big = tmp_path / "big"
    write = f"head -c 1000000 /dev/zero > {big}/model; sleep 6"  # the next line says it
    made = subprocess.run(
        rendered(big, "sh", "-c", write)[0], capture_output=True, text=True, check=True, timeout=PATIENCE
    )
    assert (bytes_told(made.stdout) or 0) >= 950_000


@pytest.mark.parametrize("code", [1, 7])
def test_one_that_fails_leaves_none_and_ends_with_its_code(tmp_path: Path, code: int) -> None:
    command, _ = rendered(tmp_path, "sh", "-c", f"exit {code}")
    assert subprocess.run(command, check=False, timeout=PATIENCE).returncode == code
    assert markers(tmp_path) == []


async def test_an_engine_waits_until_the_model_is_whole(tmp_path: Path) -> None:
    release = tmp_path / "release"
    command, waits = rendered(tmp_path, "sh", "-c", f"until [ -e {release} ]; do sleep 0.1; done")
    engine = await asyncio.create_subprocess_exec(*waits)
    download = await asyncio.create_subprocess_exec(*command)
    try:
        async with asyncio.timeout(PATIENCE):
            while not counters(tmp_path):  # a file in a folder: there is no event for it
                await asyncio.sleep(0.05)
            assert engine.returncode is None
            release.touch()
            assert await download.wait() == 0
            assert await engine.wait() == 0
    finally:
        for process in (engine, download):
            if process.returncode is None:
                process.kill()


def test_it_waits_for_nobody_not_for_long(tmp_path: Path) -> None:
    _, waits = rendered(tmp_path, "true")
    assert STILL_SECONDS == 120
    soon = [word.replace(str(STILL_SECONDS), "1") for word in waits]
    assert subprocess.run(soon, check=False, timeout=PATIENCE).returncode == 0
    assert markers(tmp_path) == []


async def test_one_that_is_told_to_end_ends_its_download_first(tmp_path: Path) -> None:
    began, ended = tmp_path / "began", tmp_path / "ended"
    work = f"trap 'touch {ended}; exit 1' TERM; touch {began}; while :; do sleep 0.1; done"
    download = await asyncio.create_subprocess_exec(*rendered(tmp_path, "sh", "-c", work)[0])
    await _ends_when_told(download, began.exists)
    assert ended.exists()
    assert markers(tmp_path) == []


async def test_an_engine_that_is_told_to_end_waits_no_longer(tmp_path: Path) -> None:
    looked = tmp_path / "looked"
    _, waits = rendered(tmp_path, "true")
    here = [word.replace("sleep 1", f"touch {looked}; sleep 1") for word in waits]
    assert here != waits
    await _ends_when_told(await asyncio.create_subprocess_exec(*here), looked.exists)


async def _ends_when_told(process: asyncio.subprocess.Process, began: Callable[[], bool]) -> None:
    try:
        async with asyncio.timeout(PATIENCE):
            while not began():  # a file in a folder: there is no event for it
                await asyncio.sleep(0.05)
            process.terminate()
            assert await process.wait() == 143
    finally:
        if process.returncode is None:
            process.kill()
