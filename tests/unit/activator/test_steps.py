import asyncio
import json

from hearth.activator.web.steps import STEP, json_array


async def test_an_array_is_whole() -> None:
    for count in (0, 1, STEP, STEP + 1, 3 * STEP):
        assert json.loads(await json_array(range(count), lambda item: {"id": item})) == [
            {"id": item} for item in range(count)
        ]


async def test_others_go_on_between_its_steps() -> None:
    turns: list[int] = []

    async def other() -> None:
        while True:
            turns.append(len(made))
            await asyncio.sleep(0)

    made: list[int] = []

    def make(item: int) -> int:
        made.append(item)
        return item

    running = asyncio.create_task(other())
    await json_array(range(5 * STEP), make)
    running.cancel()
    assert turns == [STEP, 2 * STEP, 3 * STEP, 4 * STEP]
