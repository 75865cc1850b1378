"""Work on much data, apart from the loop that serves everybody."""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

OFF_LOOP_BYTES = 262_144
# More would decode no more, since one thread at a time runs Python, and the loop is one of those
# that wait for a turn: beside six threads it was late by 70 to 100 ms (p99), beside two by 30.
_threads = ThreadPoolExecutor(2, "decode")
Result = TypeVar("Result")


async def off_loop(size: int, work: Callable[..., Result], *arguments: Any) -> Result:
    """Does work on that many bytes, in a thread if they are many, so that the requests of others go
    on meanwhile."""
    if size <= OFF_LOOP_BYTES:
        return work(*arguments)
    return await asyncio.get_running_loop().run_in_executor(_threads, work, *arguments)
