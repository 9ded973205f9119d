"""Run functions in a few threads that do not delay the end of the process."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Any, TypeVar

__all__ = ["Workers"]

T = TypeVar("T")


class Workers:
    """Threads that run functions for coroutines.

    The threads are daemons: a statement that still runs when the server ends is not waited for. The threads of asyncio
    and anyio would delay the end until the time limit of the statement.

    Args:
        number: number of threads; they are started with the first function.
    """

    def __init__(self, number: int) -> None:
        self._number = number
        self._calls: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._threads: list[threading.Thread] = []

    async def run(self, function: Callable[..., T], *arguments: Any) -> T:
        """Call a function in one of the threads, and return its result or raise its error.

        If the coroutine is cancelled before the function begins, the function is not called.
        """
        self._start()
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def finish(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is None:
                future.set_result(result)
            else:
                future.set_exception(error)

        def call() -> None:
            result, failure = None, None
            if future.cancelled():
                return
            try:
                result = function(*arguments)
            except BaseException as error:
                failure = error
            # The loop may have ended meanwhile.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(finish, result, failure)

        self._calls.put(call)
        return await future

    def close(self) -> None:
        """Let the threads end after the functions that they are running."""
        for _ in self._threads:
            self._calls.put(None)

    def _start(self) -> None:
        while len(self._threads) < self._number:
            thread = threading.Thread(target=self._work, name="sqltrack-ui-worker", daemon=True)
            self._threads.append(thread)
            thread.start()

    def _work(self) -> None:
        while (call := self._calls.get()) is not None:
            call()
