"""The work that a thread is doing, so that code which interrupts it does not interfere.

Signal handlers and finalizers run in the thread that they interrupt, between any two bytecodes. They must not use a
connection that the interrupted code uses, and must not wait for a lock that only the interrupted code can release.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import math
import os
import signal
import sys
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Iterator
from types import CodeType, FrameType, FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, cast

from sqltrack._logging import get_logger
from sqltrack.errors import SQLTrackError

if TYPE_CHECKING:
    from sqltrack.engines.engine import Engine

__all__ = [
    "Block",
    "Work",
    "activity",
    "all_blocks",
    "find_frame",
    "generator_blocks",
    "generators",
    "is_on_stack",
    "is_own",
    "protected",
    "working",
]

T = TypeVar("T")

# CO_GENERATOR and CO_ASYNC_GENERATOR of the module inspect, which is slow to import.
_GENERATORS = 0x20 | 0x200

# Modules between a `with` statement and the code that looks for its frame.
_IN_BETWEEN = frozenset({"contextlib", "sqltrack.client", "sqltrack._sessions", "sqltrack._activity"})


class Block:
    """An open `with` block of a client: one transaction.

    It belongs to the thread or asyncio task that opened it, or to the generator whose code it is in.

    Args:
        engine: engine of the connection.
        connection: the connection.
        session: the session that opens the block.
        generator: frame of the generator, None if the block belongs to a task.
        lender: the block around a generator's block, which shares its connection and transaction.

    Attributes:
        engine, session, generator, lender: the same.
        connection: the connection, None if it was taken away or the block has ended.
        aborted: the connection that was taken away.
        entries: ids of the frames whose `with` blocks are nested in each other, the innermost last.
        works: number of pieces of work that the thread was doing when the block was opened.
        patience: seconds to wait for locks, None for no limit of its own.
        lingers: whether the connection stays open for a moment after the block; False if the user's SQL may have used
            it.
    """

    __slots__ = (
        *("_home", "_pid", "_task", "aborted", "connection", "engine", "entries", "generator", "lender", "lingers"),
        *("patience", "session", "works"),
    )

    def __init__(
        self,
        engine: Engine,
        connection: Any,
        session: object,
        *,
        generator: FrameType | None = None,
        lender: Block | None = None,
    ) -> None:
        self.engine = engine
        self.connection: Any = connection
        self.aborted: Any = None
        self.session = session
        self.generator = generator
        self.lender = lender
        self.entries: list[int] = []
        self.works: int = 0
        self.patience: float | None = None
        self.lingers: bool = False
        self._task: Any = None
        self._home: list[Block] = []
        self._pid = os.getpid()

    @property
    def is_busy(self) -> bool:
        """Whether interrupted code is executing a statement right now."""
        return self.connection is not None and self.engine.is_busy(self.connection)

    @property
    def is_interrupted(self) -> bool:
        """Whether a signal or the garbage collector has called the running code since the block was entered."""
        handlers, entries = _handlers.codes(), self.entries
        frame: FrameType | None = sys._getframe(1)
        while frame is not None and id(frame) not in entries:
            code = frame.f_code
            if code in handlers or code.co_name == "__del__":
                return True
            frame = frame.f_back
        return False

    @property
    def is_usable(self) -> bool:
        """Whether the running code may use the connection: it does not interrupt code that does."""
        return not self.is_busy and not self.is_interrupted

    @property
    def is_present(self) -> bool:
        """Whether the running code is part of the block: its task, or its generator."""
        if self.generator is not None:
            return any(frame is self.generator for frame in _stack())
        return self._task is _current_task()

    @property
    def is_inherited(self) -> bool:
        """Whether this process is a forked child, whose parent has opened the block."""
        return self._pid != os.getpid()

    @property
    def is_orphaned(self) -> bool:
        """Whether the asyncio task that opened the block has ended without closing it."""
        return self._task is not None and self._task.done()

    @property
    def is_abandoned(self) -> bool:
        """Whether nothing will ever end the block, because its task's event loop is closed."""
        return self._task is not None and self._task.get_loop().is_closed()

    def give_up(self) -> None:
        """Roll back, and remove the block."""
        self.close()
        connection, self.connection = self.connection, None
        if connection is not None and self.lender is None:
            self.engine.abort(connection)

    def limit_waits(self, seconds: float) -> None:
        """Limit the wait for locks to so many seconds, unless a statement is being executed."""
        if self.connection is not None and self.patience is None and not self.is_busy:
            self.patience = seconds
            # A failed transaction accepts no settings, and waits for no locks.
            with contextlib.suppress(self.engine.driver_error):
                self.engine.limit_waits(self.connection, seconds)

    @property
    def is_lent(self) -> bool:
        """Whether a generator still uses the connection."""
        return any(block.lender is self for block in list(generators.values()))

    def open(self, frame: FrameType | None) -> None:
        """Add the block to those that are open; its `with` statement is in `frame`."""
        self.entries.append(id(frame))
        self.works = len(activity.works)
        self._task = _current_task()
        self._home = activity.blocks
        self._home.append(self)
        if self.generator is not None:
            generators[id(self.generator)] = self

    @property
    def is_open(self) -> bool:
        """Whether the block is among those that are open."""
        return self in self._home

    def close(self) -> None:
        """Remove the block from those that are open."""
        with contextlib.suppress(ValueError):
            self._home.remove(self)
        if self.generator is not None:
            generators.pop(id(self.generator), None)


class Work:
    """A piece of work in progress.

    Attributes:
        block: the block that it is part of, if any.
        patience: seconds to wait for locks, None for no limit of its own.
        deadline: when (monotonic) to stop waiting for the database, None for no limit of its own.
        engine: engine of the connection in use.
        connection: the connection in use outside of blocks, None if there is none at the moment.
        transaction: the block that the work begins or ends, if any.
    """

    # Class attributes save time, because there is a new object for each call.
    block: Block | None = None
    patience: float | None = None
    deadline: float | None = None
    engine: Engine
    connection: Any = None
    transaction: Block | None = None


class _Waiting(deque[Callable[[], None]]):
    """The postponed work of a thread. If the thread ends, the next thread that catches up does it."""

    def __del__(self) -> None:
        # At the end of the interpreter the global name may be gone, so it is used only if needed.
        if self:
            _left_behind.extend(self)


_left_behind: deque[Callable[[], None]] = deque()


class _Activity(threading.local):
    """The work that the current thread is doing.

    Attributes:
        works: pieces of work in progress, the innermost last.
        blocks: open blocks of all clients, the last opened last.
        waiting: postponed work, to be done as soon as the work whose locks it would wait for has ended.
        hidden: blocks that were given up, for as long as other code must not find them.
        is_held_up: whether postponed work has met a lock again, and has to keep waiting.
        deadline: when (monotonic) new work has to stop waiting for the database, None for no limit. It may have been
            left behind, see `present_deadline`.
    """

    def __init__(self) -> None:
        self.works: list[Work] = []
        self.blocks: list[Block] = []
        self.waiting: deque[Callable[[], None]] = _Waiting()
        self.hidden: list[Block] = []
        self.is_held_up: bool = False
        self.deadline: float | None = None
        self._catches_up = False

    @property
    def is_interrupted(self) -> bool:
        """Whether the running code interrupts work, a statement or a block of this thread."""
        if self.works:
            if _is_at_work():
                return True
            # An exception between two bytecodes has left them behind.
            self.works.clear()
        self.forget_inherited()
        return any(block.is_busy or (block.is_present and block.is_interrupted) for block in self.blocks)

    def call_within(self, seconds: float, function: Callable[[], T]) -> T:
        """Return `function()`; work of this thread in it does not wait for the database after so many seconds."""
        outer = self.deadline
        try:
            self.deadline = time.monotonic() + seconds
            return function()
        finally:
            self.deadline = outer

    def present_deadline(self) -> float | None:
        """Return the deadline that `call_within` has set for the running code, if any."""
        if self.deadline is not None and not any(frame.f_code is _CALLING_WITHIN for frame in _stack()):
            # An exception between two bytecodes has left it behind.
            self.deadline = None
        return self.deadline

    @property
    def has_rivals(self) -> bool:
        """Whether other code of this thread has open blocks, whose locks the running code may meet."""
        for block in [block for block in self.blocks if block.is_abandoned]:
            block.give_up()
        return any(not block.is_present for block in self.blocks)

    @property
    def catches_up(self) -> bool:
        """Whether postponed work is being done."""
        if self._catches_up and not any(frame.f_code is _DOING_NEXT for frame in _stack()):
            # An exception between two bytecodes has left this behind.
            self._catches_up = False
        return self._catches_up

    def catch_up(self, *, block_ended: bool = False) -> None:
        """Do the postponed work that has nothing left to wait for.

        Args:
            block_ended: whether a block has ended, so that locks may be free although other blocks are open.
        """
        if self.catches_up:
            return
        while (self.waiting or _left_behind) and not self.works and not any(b.is_present for b in self.blocks):
            if self.has_rivals and not block_ended:
                break
            self._catches_up = True
            try:
                self._do_next()
            finally:
                self._catches_up = False
            # Work that has to wait again would only hold up others.
            if self.is_held_up:
                break

    def _do_next(self) -> None:
        """Do the work that has waited longest. It stays in the queue until it is done, so that nothing overtakes it."""
        with contextlib.suppress(IndexError):
            self.waiting.append(_left_behind.popleft())
        self.is_held_up = False
        if not self.waiting:
            # Another thread has taken the work that was left behind.
            return
        work = self.waiting[0]
        try:
            work()
        except SQLTrackError as error:
            get_logger("client").error("a postponed call has failed, and its changes are lost: %s", error)
        # If the process was told to terminate, other code may have done it already.
        if not self.is_held_up and self.waiting and self.waiting[0] is work:
            self.waiting.popleft()

    @contextlib.contextmanager
    def given_up(self) -> Iterator[None]:
        """Roll back the transactions of interrupted code, and hide them in the `with` block."""
        works, blocks, hidden, catches_up = self.works, self.blocks, self.hidden, self._catches_up
        self.works = [
            work for work in works if work.connection is not None and not work.engine.abort_within(work.connection)
        ]
        given_up = [*blocks, *(work.block for work in works if work.block is not None)]
        for block in given_up:
            connection, block.connection = block.connection, None
            if connection is not None and block.lender is None:
                block.engine.abort_within(connection)
                block.aborted = connection
        self.blocks, self.hidden, self._catches_up = [], [*hidden, *given_up], False
        try:
            self.catch_up()
            yield
        finally:
            self.works, self.blocks, self.hidden, self._catches_up = works, blocks, hidden, catches_up

    def forget_inherited(self) -> None:
        """Forget, in a forked child, the blocks and the postponed work of its parent."""
        if any(block.is_inherited for block in all_blocks()):
            self.forget()

    def forget(self) -> None:
        """Forget open blocks and postponed work."""
        self.blocks.clear()
        self.waiting.clear()
        generators.clear()
        _left_behind.clear()


activity = _Activity()

_DOING_NEXT = _Activity._do_next.__code__
_CALLING_WITHIN = _Activity.call_within.__code__

# Open blocks of generators, which any thread may resume.
generators: dict[int, Block] = {}


class _Handlers:
    """The functions that signals call in this process."""

    def __init__(self) -> None:
        self._codes: frozenset[CodeType] = frozenset()
        self._expires = -math.inf

    def forget(self) -> None:
        """Look for the functions again at the next call."""
        self._expires = -math.inf

    def codes(self) -> frozenset[CodeType]:
        """Return the code of these functions, at most one second old."""
        now = time.monotonic()
        if now >= self._expires:
            installed = [*map(signal.getsignal, signal.valid_signals()), weakref.finalize.__call__]
            self._codes = frozenset(code for code in map(_code_of, installed) if code is not None)
            self._expires = now + 1
        return self._codes


_handlers = _Handlers()


def _code_of(function: Any) -> CodeType | None:
    """Return the code of a function that a signal or finalizer calls, None if it is not written in Python."""
    while isinstance(function, functools.partial):
        function = function.func
    for called in (function, getattr(function, "__func__", None), getattr(type(function), "__call__", None)):  # noqa: B004
        code = getattr(called, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None


# The functions during which `activity.works` holds a piece of work.
_working: set[CodeType] = set()

_F = TypeVar("_F", bound=Callable[..., Any])


def working(function: _F) -> _F:
    """Mark a function that is on the stack for as long as `activity.works` holds its work."""
    _working.add(cast(FunctionType, function).__code__)
    return function


@working
def protected(function: Callable[..., T], *arguments: Any) -> T:
    """Return `function(*arguments)`, which holds locks: code that interrupts it postpones its work."""
    works = activity.works
    depth = len(works)
    works.append(Work())
    try:
        return function(*arguments)
    finally:
        del works[depth:]
        if not depth and activity.waiting:
            activity.catch_up()


def _current_task() -> Any:
    """Return the asyncio task that runs in this thread, if any."""
    events = sys.modules.get("asyncio.events")
    loop = events._get_running_loop() if events is not None and hasattr(events, "_get_running_loop") else None
    return None if loop is None else sys.modules["asyncio"].current_task(loop)


def find_frame() -> FrameType | None:
    """Return the frame whose `with` block is being entered or left."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_globals.get("__name__") in _IN_BETWEEN:
        frame = frame.f_back
    return frame


def is_own(frame: FrameType | None) -> bool:
    """Return whether a frame has its own blocks, because it belongs to a generator.

    If a generator serves as a context manager, its blocks belong to the code that enters it.
    """
    if frame is None or not frame.f_code.co_flags & _GENERATORS:
        return False
    return frame.f_back is None or frame.f_back.f_globals.get("__name__") != "contextlib"


def generator_blocks() -> Iterator[Block]:
    """Yield the open blocks of the generators that are running in this thread, the innermost first."""
    if generators:
        for frame in _stack():
            block = generators.get(id(frame))
            if block is not None:
                yield block


def all_blocks() -> list[Block]:
    """Return the open blocks of this thread, the last opened first, followed by those of all generators."""
    return [*reversed(activity.blocks), *generators.values()]


def is_on_stack(frame: FrameType) -> bool:
    """Return whether the code of a frame is being executed in this thread."""
    return any(other is frame for other in _stack())


def _is_at_work() -> bool:
    return any(frame.f_code in _working for frame in _stack())


def _stack() -> Iterator[FrameType]:
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back


def _forget_in_child() -> None:
    activity.forget()


def _catch_up_at_exit() -> None:
    if activity.waiting or _left_behind:
        # Blocks that are still open will never be committed.
        with activity.given_up():
            pass


atexit.register(_catch_up_at_exit)
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows
    os.register_at_fork(after_in_child=_forget_in_child)
