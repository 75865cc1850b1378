"""How long a request may take."""

import asyncio
from typing import Any


class Deadlines:
    """Cancels the requests that are not answered in time. One timer serves all: a timer for each
    was a fifth of the Python that POST /events runs."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        # The oldest first, since all have the same time.
        self._due: dict[asyncio.Task[Any], float] = {}
        self._late: set[asyncio.Task[Any]] = set()
        self._timer: asyncio.TimerHandle | None = None

    def start(self) -> asyncio.Task[Any]:
        """Gives the request that runs now its whole time, also once more; returns its task."""
        task, loop = asyncio.current_task(), asyncio.get_running_loop()
        if task is None:
            raise RuntimeError("only a task can be cancelled")
        self._due.pop(task, None)
        self._due[task] = loop.time() + self._seconds
        if self._timer is None:
            self._timer = loop.call_later(self._seconds, self._look)
        return task

    def stop(self, task: asyncio.Task[Any]) -> None:
        """From now on this request may take longer."""
        self._due.pop(task, None)
        self._late.discard(task)

    def passed(self, task: asyncio.Task[Any]) -> bool:
        """Was this request cancelled here, and by nobody else? Then it may go on, to say so."""
        return task in self._late and task.uncancel() == 0

    def _look(self) -> None:
        self._timer = None
        loop = asyncio.get_running_loop()
        while self._due:
            task, due = next(iter(self._due.items()))
            if due > loop.time():
                self._timer = loop.call_at(due, self._look)
                return
            del self._due[task]
            self._late.add(task)
            task.cancel()
