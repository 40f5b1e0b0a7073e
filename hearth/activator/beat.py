"""A beat at its own time: whoever waits for news is woken by each of them, and hears of the beat all the same."""

import asyncio
import contextlib


class Beat:
    """Due `seconds` after it was made, and again after each time that it was told."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._clock = asyncio.get_running_loop().time
        self._due = self._clock() + seconds

    async def wait(self, news: asyncio.Event) -> bool:
        """Wait for news, or until it is due; returns whether it is. A wait that begins anew with each piece of news
        would never end where there is always some."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout_at(self._due):
                await news.wait()
        now = self._clock()
        if now < self._due:
            return False
        self._due = now + self._seconds
        return True
