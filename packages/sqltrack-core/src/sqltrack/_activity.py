"""What a thread is in the middle of, so that code which interrupts it leaves that alone.

Signal handlers and finalizers run in the thread that they interrupt, between any two bytecodes. They must neither get a
connection that is in use below them, nor wait for a lock that only the interrupted code can release.
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

# Modules between a `with` statement and what it calls.
_IN_BETWEEN = frozenset({"contextlib", "sqltrack.client", "sqltrack._sessions", "sqltrack._activity"})


class Block:
    """An open `with` block of a client: one transaction.

    It belongs to the task that opened it, a thread or an asyncio task, or to the generator whose code it is in.

    Args:
        engine: engine of the connection.
        connection: the connection.
        session: the session that opens the block.
        generator: frame of the generator, None if the block belongs to a task.
        lender: the block around that of a generator, whose connection it uses and whose transaction it is part of.

    Attributes:
        engine, session, generator, lender: the same.
        connection: the same, None if it was taken away or the block has ended.
        aborted: the one that was taken away.
        entries: identities of the frames whose `with` blocks are nested in each other, the innermost last.
        works: how many pieces of work the thread was in the middle of when the block was opened.
        patience: seconds to wait for locks, None for no limit of its own.
        lingers: whether the connection stays open for a moment after the block; not if the user's SQL may have used it.
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
        """Whether a statement is being executed right now, by code that was interrupted."""
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
        """Whether the running code may use the connection, because it interrupts nothing that does."""
        return not self.is_busy and not self.is_interrupted

    @property
    def is_present(self) -> bool:
        """Whether the running code is part of the block: its task, or its generator."""
        if self.generator is not None:
            return any(frame is self.generator for frame in _stack())
        return self._task is _current_task()

    @property
    def is_inherited(self) -> bool:
        """Whether this is the child of a fork, and its parent has opened the block."""
        return self._pid != os.getpid()

    @property
    def is_orphaned(self) -> bool:
        """Whether the asyncio task that opened the block has ended without closing it."""
        return self._task is not None and self._task.done()

    @property
    def is_abandoned(self) -> bool:
        """Whether nothing will ever end the block, because the event loop of its task is closed."""
        return self._task is not None and self._task.get_loop().is_closed()

    def give_up(self) -> None:
        """Roll back, and let nobody find the block any more."""
        self.close()
        connection, self.connection = self.connection, None
        if connection is not None and self.lender is None:
            self.engine.abort(connection)

    def limit_waits(self, seconds: float) -> None:
        """Wait no longer than that for locks, unless a statement is being executed."""
        if self.connection is not None and self.patience is None and not self.is_busy:
            self.patience = seconds
            # A transaction that has failed is told nothing more, and waits for nothing.
            with contextlib.suppress(self.engine.driver_error):
                self.engine.limit_waits(self.connection, seconds)

    @property
    def is_lent(self) -> bool:
        """Whether a generator goes on to use the connection."""
        return any(block.lender is self for block in list(generators.values()))

    def open(self, frame: FrameType | None) -> None:
        """Let the code in the block, whose `with` statement a frame executes, find it."""
        self.entries.append(id(frame))
        self.works = len(activity.works)
        self._task = _current_task()
        self._home = activity.blocks
        self._home.append(self)
        if self.generator is not None:
            generators[id(self.generator)] = self

    @property
    def is_open(self) -> bool:
        """Whether it can still be found."""
        return self in self._home

    def close(self) -> None:
        """Let nobody find it any more."""
        with contextlib.suppress(ValueError):
            self._home.remove(self)
        if self.generator is not None:
            generators.pop(id(self.generator), None)


class Work:
    """A piece of work in progress.

    Attributes:
        block: the block that it is part of, None if it is part of none.
        patience: seconds to wait for locks, None for no limit of its own.
        deadline: when (monotonic) to wait no longer for the database, None for no limit of its own.
        engine: engine of the connection in use.
        connection: the connection in use outside of blocks, None if there is none at the moment.
        transaction: the block that the work has begun or is to end, None if there is none.
    """

    # Defaults, because there is one of these for each call.
    block: Block | None = None
    patience: float | None = None
    deadline: float | None = None
    engine: Engine
    connection: Any = None
    transaction: Block | None = None


class _Waiting(deque[Callable[[], None]]):
    """What waits in a thread; if the thread ends, the next one that catches up does it."""

    def __del__(self) -> None:
        # At the end of the interpreter there may be no such name any more.
        if self:
            _left_behind.extend(self)


_left_behind: deque[Callable[[], None]] = deque()


class _Activity(threading.local):
    """What the present thread is in the middle of.

    Attributes:
        works: pieces of work in progress, the innermost last.
        blocks: open blocks of all clients, the last opened last.
        waiting: what is to be done as soon as that has ended which it would have to wait for.
        hidden: blocks that were given up, as long as nothing else is to see them.
        is_held_up: whether something of that has to wait again.
        deadline: when (monotonic) work that begins is to wait no longer for the database, None for no limit; one that
            was left behind does not count, see `present_deadline`.
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
        """Whether the running code interrupts a piece of work, a statement or a block of this thread."""
        if self.works:
            if _is_at_work():
                return True
            # An exception in between two bytecodes has left them behind.
            self.works.clear()
        self.forget_inherited()
        return any(block.is_busy or (block.is_present and block.is_interrupted) for block in self.blocks)

    def call_within(self, seconds: float, function: Callable[[], T]) -> T:
        """Return `function()`, in which no work of this thread waits for the database after so many seconds."""
        outer = self.deadline
        try:
            self.deadline = time.monotonic() + seconds
            return function()
        finally:
            self.deadline = outer

    def present_deadline(self) -> float | None:
        """Return the deadline that `call_within` has set for the running code, None for none."""
        if self.deadline is not None and not any(frame.f_code is _CALLING_WITHIN for frame in _stack()):
            # An exception in between two bytecodes has left it behind.
            self.deadline = None
        return self.deadline

    @property
    def has_rivals(self) -> bool:
        """Whether blocks are open in this thread that the running code is no part of, and whose locks it may meet."""
        for block in [block for block in self.blocks if block.is_abandoned]:
            block.give_up()
        return any(not block.is_present for block in self.blocks)

    @property
    def catches_up(self) -> bool:
        """Whether what is waiting is being done."""
        if self._catches_up and not any(frame.f_code is _DOING_NEXT for frame in _stack()):
            # An exception in between two bytecodes has left that behind.
            self._catches_up = False
        return self._catches_up

    def catch_up(self, *, block_ended: bool = False) -> None:
        """Do what is waiting, as far as nothing is left of what it waits for.

        Args:
            block_ended: whether a block has ended, so that locks may be free although there are other blocks.
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
            # What has to wait again would only hold up others.
            if self.is_held_up:
                break

    def _do_next(self) -> None:
        """Do what has waited longest. Until it is done it goes on to wait, so that nothing overtakes it."""
        with contextlib.suppress(IndexError):
            self.waiting.append(_left_behind.popleft())
        self.is_held_up = False
        if not self.waiting:
            # Another thread has taken what was left behind.
            return
        work = self.waiting[0]
        try:
            work()
        except SQLTrackError as error:
            get_logger("client").error("what was to be stored later was lost: %s", error)
        # Somebody else has done it if the process was told to terminate.
        if not self.is_held_up and self.waiting and self.waiting[0] is work:
            self.waiting.popleft()

    @contextlib.contextmanager
    def given_up(self) -> Iterator[None]:
        """Give up what was interrupted: its transactions are rolled back, and in the `with` block there is none."""
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
        """Begin anew in a forked child: what is open or waiting is its parent's."""
        if any(block.is_inherited for block in all_blocks()):
            self.forget()

    def forget(self) -> None:
        """Forget what is open or waiting."""
        self.blocks.clear()
        self.waiting.clear()
        generators.clear()
        _left_behind.clear()


activity = _Activity()

_DOING_NEXT = _Activity._do_next.__code__
_CALLING_WITHIN = _Activity.call_within.__code__

# Open blocks of generators, which may be resumed by any thread.
generators: dict[int, Block] = {}


class _Handlers:
    """The functions that signals call in this process."""

    def __init__(self) -> None:
        self._codes: frozenset[CodeType] = frozenset()
        self._expires = -math.inf

    def forget(self) -> None:
        """Look for them anew."""
        self._expires = -math.inf

    def codes(self) -> frozenset[CodeType]:
        """Return the code of those that were there within the last second."""
        now = time.monotonic()
        if now >= self._expires:
            installed = [*map(signal.getsignal, signal.valid_signals()), weakref.finalize.__call__]
            self._codes = frozenset(code for code in map(_code_of, installed) if code is not None)
            self._expires = now + 1
        return self._codes


_handlers = _Handlers()


def _code_of(function: Any) -> CodeType | None:
    """Return the code of what a signal or finalizer calls, None if it is not Python's."""
    while isinstance(function, functools.partial):
        function = function.func
    for called in (function, getattr(function, "__func__", None), getattr(type(function), "__call__", None)):  # noqa: B004
        code = getattr(called, "__code__", None)
        if isinstance(code, CodeType):
            return code
    return None


# The functions that work while `activity.works` says so.
_working: set[CodeType] = set()

_F = TypeVar("_F", bound=Callable[..., Any])


def working(function: _F) -> _F:
    """Decorate a function that is on the stack as long as `activity.works` holds a piece of work."""
    _working.add(cast(FunctionType, function).__code__)
    return function


@working
def protected(function: Callable[..., T], *arguments: Any) -> T:
    """Return `function(*arguments)`, which holds locks: code that interrupts it does its work after that."""
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
    """Return the asyncio task that is running in this thread, None if none is."""
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
    """Return whether a frame has blocks of its own, because it is that of a generator.

    If a generator serves as a context manager, its blocks are meant for those who enter it.
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
    """Return the open blocks of this thread, the last opened first, and then those of all generators."""
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
    if activity.waiting:
        # Blocks that are open by now are never committed.
        with activity.given_up():
            pass


atexit.register(_catch_up_at_exit)
if hasattr(os, "register_at_fork"):  # pragma: no branch - Windows
    os.register_at_fork(after_in_child=_forget_in_child)
