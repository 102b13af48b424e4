"""Between the workers of a trial and its driver. On its own, since an actor imports what stands beside its class."""

import asyncio
from collections import defaultdict
from typing import Any

POLL_SECONDS = 0.5


class Mailbox:
    """Where reports of the workers are handed in, and answered: goes the training on? To be run as Ray's actor."""

    def __init__(self) -> None:
        self._reports: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: defaultdict[str, asyncio.Future[bool]] = defaultdict(asyncio.Future)

    async def hand_in(self, report: dict[str, Any]) -> None:
        """Leave a report."""
        await self._reports.put(report)

    async def take(self) -> dict[str, Any] | None:
        """The next report, or None if there is none for a while."""
        try:
            return await asyncio.wait_for(self._reports.get(), POLL_SECONDS)
        except TimeoutError:
            return None

    async def answer(self, report: str, continues: bool) -> None:
        """Answer the report of this name."""
        self._answers[report].set_result(continues)

    async def answer_to(self, report: str) -> bool:
        """Wait for the answer; a worker that dies meanwhile takes no answer away."""
        return await asyncio.shield(self._answers[report])
