"""Run work on connections: in the `with` block of a task, or in short calls outside of one."""

from __future__ import annotations

import atexit
import contextlib
import math
import sys
import time
import weakref
from collections.abc import Callable, Hashable, Iterator, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from sqltrack._activity import (
    Block,
    Work,
    activity,
    all_blocks,
    find_frame,
    generator_blocks,
    generators,
    is_on_stack,
    is_own,
    working,
)
from sqltrack._connections import ConnectionKeeper
from sqltrack._logging import get_logger
from sqltrack._retrying import retry
from sqltrack.errors import (
    DatabaseError,
    DatabaseLockedError,
    DatabaseUnavailableError,
    NotConnectedError,
    ReadOnlyDatabaseError,
    TooManyConnectionsError,
)

if TYPE_CHECKING:
    from types import FrameType

    from sqltrack._outbox._outbox import Outbox
    from sqltrack._with_statements import WithStatement
    from sqltrack.engines.engine import Engine

__all__ = ["Session", "detached"]

T = TypeVar("T")

# Errors after which a call may succeed on a new connection, see `Session._is_lost`.
_LOST = (DatabaseUnavailableError, ReadOnlyDatabaseError)

# Seconds to wait for locks that the waiting thread itself may hold.
_BRIEFLY = 0.5

# Seconds that an answer may take after the deadline.
_ANSWER = 0.1

# Seconds that the last attempt may take if no time is left.
_AT_LEAST = 0.5


class Session:
    """The work of one client on its database.

    The outermost `with` block of a task is a transaction, see `sqltrack.Client`. While a run is tracked, connections
    are kept for the next piece of work, otherwise only for a moment.

    Work begins in `submit`, `ask` or `transact`, which signal handlers and finalizers may call at any moment. Code that
    runs as part of this work uses the other methods.

    Args:
        engine: opens the connections.
        keepalive: seconds after which an idle connection is closed.
        reconnect: seconds for which to retry work that fails because the database is away.
        outbox: takes calls that write during an outage; without one they fail.

    Attributes:
        engine, outbox: the same.
    """

    def __init__(self, engine: Engine, keepalive: float, reconnect: float, outbox: Outbox | None = None) -> None:
        self.engine: Engine = engine
        self.outbox: Outbox | None = outbox
        # Whether connections may have a limit from earlier work, so that it is set again for each piece of work.
        self._has_limits = outbox is not None
        self._keeper = ConnectionKeeper(engine, keepalive)
        self._reconnect = reconnect
        self._has_started = False
        # When (monotonic) the database was found to be away, None while it is available.
        self._lost_at: float | None = None
        self._after_commit: list[weakref.WeakMethod[Callable[[Hashable], object]]] = []
        self._before_rollback: list[weakref.WeakMethod[Callable[[Hashable], object]]] = []

    # The transaction of a task

    def enter(self, statement: WithStatement | None) -> Any:
        """Enter the block of a `with` statement, or None if `__enter__` is called directly; return its connection."""
        frame = find_frame()
        generator = frame if is_own(frame) else None
        block = self._block()
        if block is None:
            if self.outbox is not None:
                self.outbox.require_direct()
            block = self._work(None, self._open, (self._patience(), generator))
            if block.patience is not None:
                for other in activity.blocks:
                    other.limit_waits(block.patience)
            if statement is not None:
                statement.expect_end(partial(self._abandon, block), opened=block)
            block.open(frame)
            return block.connection
        # Fails first if the connection was taken away, because a block that does not begin does not end either.
        connection = _connection_of(block)
        own = None if generator is None else generators.get(id(generator))
        if generator is None or own is not None:
            entered = own or block
            if statement is not None:
                statement.expect_end(partial(_forget_entry, entered, id(frame)))
            entered.entries.append(id(frame))
        else:
            # When the outer block commits must not depend on whether the generator is ever finished.
            lent = Block(self.engine, connection, self, generator=generator, lender=block)
            if statement is not None:
                statement.expect_end(partial(self._abandon, lent), opened=lent)
            lent.open(frame)
        return connection

    def leave(self, statement: WithStatement | None, exc_type: type[BaseException] | None) -> None:
        """Leave the block that `enter` has entered for a statement; leaving the outermost block ends the transaction.

        Args:
            statement: the statement given to `enter`.
            exc_type: class of the exception that ends the block, if any.
        """
        try:
            self._leave_innermost(statement, exc_type)
        except BaseException:
            if statement is not None:
                statement.end()
            raise
        if statement is not None:
            statement.forget()

    def _leave_innermost(self, statement: WithStatement | None, exc_type: type[BaseException] | None) -> None:
        frame = id(find_frame())
        block = self._block_to_leave(frame)
        opened = None if statement is None else statement.opened
        if isinstance(opened, Block) and opened.is_open and not opened.is_inherited:
            # Inner blocks that were not left were cut off by an exception.
            block = opened
            del block.entries[1:]
        if block is None:
            # A forked child leaves a block that its parent has entered, and only the parent may end it.
            return
        if len(block.entries) > 1:
            block.entries.remove(frame if frame in block.entries else block.entries[-1])
            return
        try:
            self._work(None, self._leave, (block, exc_type))
        finally:
            activity.catch_up(block_ended=True)

    def _abandon(self, block: Block) -> None:
        """Roll back a block whose `with` statement has ended without leaving it, because a signal handler raised."""
        if not block.is_open or block.is_inherited:
            return
        block.close()
        if block.lender is None:
            self._drop(block)

    def _drop(self, block: Block) -> None:
        """Roll back, and stop using the connection."""
        connection, block.connection = block.connection, None
        if connection is not None:
            _call(self._before_rollback, block)
            self._keeper.drop(connection)

    def end_transaction(self, action: str) -> None:
        """Call "commit" or "rollback" of the open block's connection; the block continues in a new transaction.

        Raises:
            NotConnectedError: this task is not in a `with` block.
        """
        block = self._block()
        if block is None:
            raise NotConnectedError

        def end() -> None:
            connection = _connection_of(block)
            with self.translated_errors():
                getattr(connection, action)()
                self.engine.limit_waits(connection, block.patience)

        self._work(block, end)

    @property
    def is_at_work(self) -> bool:
        """Whether this thread is inside a block or call, of this client or another."""
        return bool(activity.works or activity.blocks or generators)

    def let_linger(self) -> None:
        """Keep the connection of the open block for a moment after it, unless an outer block has opened it."""
        block = self._block()
        if block is not None and len(block.entries) == 1:
            block.lingers = True

    def subscribe(
        self, *, after_commit: Callable[[Hashable], object], before_rollback: Callable[[Hashable], object]
    ) -> None:
        """Call methods when a transaction ends, with its block as argument, for as long as their object exists.

        Args:
            after_commit: called after the outermost block has committed and given its connection back.
            before_rollback: called before it rolls back.
        """
        self._after_commit.append(weakref.WeakMethod(after_commit))
        self._before_rollback.append(weakref.WeakMethod(before_rollback))

    # Beginnings of work

    def submit(self, work: Callable[..., None], *arguments: Any) -> None:
        """Call `work(*arguments)`, which writes: now, or later if it would wait for locks of its own thread.

        Args:
            work: the work.
            arguments: its arguments; those with a method `detached` may be changed by the caller later.
        """
        if self.outbox is not None:
            work, arguments = self.outbox.deliver, (self, work, arguments)
        if not (activity.works or activity.blocks or activity.waiting or generators):
            self._work(None, work, arguments)
        elif (block := self._only_block()) is not None:
            self._work(block, work, arguments)
        elif activity.catches_up or activity.is_interrupted:
            self._postpone(work, arguments)
        else:
            activity.catch_up()
            self._submit_in_turn(work, arguments)

    def ask(self, function: Callable[[Any], T], *, once: bool = False) -> T:
        """Return `function(connection)`, called at once, even if it interrupts other work of its thread; see `call`.

        Args:
            function: does the work.
            once: as in `call`.
        """
        return self.perform(lambda: self.call(function, once=once))

    def create(self, create: Callable[[], T], keep: Callable[[Outbox, DatabaseError | None], T]) -> T:
        """Return `create()`, or during an outage `keep(outbox, reason)`.

        Args:
            create: creates something with `ask` and the like; doing it twice must have the same effect.
            keep: leaves the creation to the outbox; the reason is None if the outbox knows it.
        """
        if self.outbox is None or self._block() is not None:
            return create()
        return self.outbox.create(self, create, keep)

    def real_experiment_id(self, experiment_id: int) -> int:
        """Return the id of an experiment in the database, which differs from the given one if it began in an outage."""
        return experiment_id if self.outbox is None else self.outbox.real_experiment_id(experiment_id)

    def transact(self, function: Callable[[Any], T]) -> T:
        """Return `function(connection)`, called in the open block, or in a transaction of its own."""

        def work() -> T:
            # Session settings that the caller's SQL makes must not affect later calls.
            with self.transaction(lingers=False) as connection, self.translated_errors():
                return function(connection)

        return self.perform(work)

    def perform(self, work: Callable[[], T]) -> T:
        """Return `work()`, called at once, even if it interrupts other work of its thread."""
        patience = self._patience()
        try:
            return self._work(self._block(), work, patience=patience)
        except DatabaseLockedError as error:
            if patience is None:
                raise
            raise DatabaseLockedError(
                f"{self.engine.describe()} is locked, perhaps by a block or call of this thread that was interrupted"
            ) from error

    def call_within(self, seconds: float, function: Callable[[], T]) -> T:
        """Return `function()`; work of this thread in it does not wait for the database after so many seconds."""
        self._has_limits = True
        return activity.call_within(seconds, function)

    def perform_within(self, seconds: float, work: Callable[[], T]) -> T:
        """Return `work()`, which waits for the database for at most so many seconds, and is not part of a block."""

        self._has_limits = True

        def limited() -> T:
            activity.works[-1].deadline = time.monotonic() + seconds
            return work()

        return self._work(None, limited)

    # As part of work

    def allow_more(self, seconds: float) -> None:
        """Extend the deadline of the current work, if any, because it is larger than usual."""
        work = activity.works[-1]
        if work.deadline is not None:
            work.deadline += seconds

    @property
    def block(self) -> Hashable | None:
        """The block that the current work is part of, None outside of blocks."""
        return activity.works[-1].block

    def call_guarded(self, function: Callable[..., T], *arguments: Any) -> T:
        """Do the same as `call`, but protect the transaction of an open `with` block from errors."""
        block = activity.works[-1].block
        if block is None:
            return self.call(function, *arguments)
        connection = _connection_of(block)
        try:
            with self.engine.savepoint(connection):
                return function(connection, *arguments)
        except self.engine.driver_error as error:
            raise self._translated_in_block(error) from error

    def call(
        self,
        function: Callable[..., T],
        *arguments: Any,
        patience: float | None = None,
        lock_limit: float | None = None,
        once: bool = False,
    ) -> T:
        """Return `function(connection, *arguments)`, called for one short piece of work.

        In a `with` block this is part of the transaction. Outside of one, each statement commits by itself, and while a
        run is tracked, the call is retried during an outage.

        Args:
            function: does the work; doing it twice must have the same effect, unless `once`.
            arguments: further arguments.
            patience: seconds for which to retry, and to wait for each answer; default: the setting `reconnect`, and no
                limit for answers.
            lock_limit: seconds to wait for locks, default: no limit.
            once: whether to retry only connecting, and not work that failed on a connection.
        """
        work = activity.works[-1]
        if work.block is not None:
            try:
                return function(_connection_of(work.block), *arguments)
            except self.engine.driver_error as error:
                raise self._translated_in_block(error) from error
        if work.patience is not None and (patience is None or work.deadline is not None):
            return self._call_briefly(work, function, arguments)
        if work.deadline is not None:
            return self._call_until(work, work.deadline, function, arguments)
        if patience is not None:
            return self._call_within(work, lambda connection: function(connection, *arguments), patience, lock_limit)
        if once:
            return self._use(work, self._retry(self._keeper.take_usable), function, arguments)
        try:
            result = self._use(work, self._keeper.take(), function, arguments)
        except _LOST as error:
            result = self._try_again(lambda: self._use(work, self._keeper.take(), function, arguments), error)
        self._lost_at = None
        return result

    def _call_briefly(self, work: Work, function: Callable[..., T], arguments: Sequence[Any]) -> T:
        """Do the work of `call`, with the limit of `work` for waiting for locks."""

        def attempt() -> T:
            connection = self._keeper.take_usable()
            return self._use_briefly(connection, lambda connection: function(connection, *arguments), work.patience)

        return self._retry(attempt)

    def _call_until(self, work: Work, deadline: float, function: Callable[..., T], arguments: Sequence[Any]) -> T:
        """Do the work of `call`, and wait for nothing after a deadline (monotonic)."""
        # Inlined from `_left_until`, because most calls come here.
        left = deadline - time.monotonic()
        if left < _ANSWER:
            left = _ANSWER
        try:
            return self._use(work, self._keeper.take(left), function, arguments, left)
        except _LOST as error:
            if time.monotonic() >= deadline or not self._may_pass(error):
                raise
            get_logger("client").info("trying to reach the database again: %s", error)
        return self._call_again_until(work, deadline, function, arguments)

    def _call_again_until(self, work: Work, deadline: float, function: Callable[..., T], arguments: Sequence[Any]) -> T:
        """Retry, because the first connection may have been a kept one that is dead."""

        # A separate method, because variables of closures make each call slower.
        def attempt() -> T:
            left = _left_until(deadline)
            return self._use(work, self._keeper.take(left), function, arguments, left)

        return retry(attempt, self._may_pass, seconds=deadline - time.monotonic(), pause=0.05)

    def _call_within(self, work: Work, function: Callable[[Any], T], patience: float, lock_limit: float | None) -> T:
        """Do the work of `call`, in not much more than `patience` seconds."""
        deadline = time.monotonic() + patience

        def attempt() -> T:
            left = max(deadline - time.monotonic(), _AT_LEAST)
            with self.engine.connecting_within(left):
                connection = self._keeper.take_usable()
            if lock_limit is None:
                return self._use(work, connection, function, (), left)
            return self._use_briefly(connection, function, lock_limit, left)

        try:
            result = attempt()
        except _LOST as error:
            result = self._try_again(attempt, error, max(deadline - time.monotonic(), 0))
        self._lost_at = None
        return result

    def call_outside(self, function: Callable[[Any], T], patience: float) -> T:
        """Do the same as `call`, but never in an open `with` block.

        The block has its own connection, whose locks the call might wait for without end.
        """
        return self._call_within(activity.works[-1], function, patience, None)

    @contextlib.contextmanager
    def transaction(self, *, lingers: bool = True) -> Iterator[Any]:
        """Make all work in the `with` block part of the open block, or of a transaction of its own.

        Args:
            lingers: whether the connection may stay open for a moment afterwards.
        """
        work = activity.works[-1]
        if work.block is not None:
            yield _connection_of(work.block)
            return
        with self._ending(self._open(work.patience)) as block:
            block.lingers = lingers
            work.block = block
            try:
                yield block.connection
            finally:
                work.block = None

    @contextlib.contextmanager
    def _ending(self, block: Block) -> Iterator[Block]:
        """End a block's transaction together with the `with` block."""
        try:
            yield block
        except BaseException as error:
            self._end(block, type(error))
            raise
        self._end(block, None)

    def _submit_in_turn(self, work: Callable[..., None], arguments: Sequence[Any]) -> None:
        """Do the work of a task while other tasks of its thread are in blocks, and may hold locks."""
        block = self._block()
        if block is not None or not activity.has_rivals:
            self._work(block, work, arguments)
            return
        if activity.waiting:
            # Other work waits for the same locks. Keep the order.
            self._postpone(work, arguments)
            return
        try:
            self._work(None, work, arguments, _BRIEFLY)
        except DatabaseLockedError:
            self._postpone(work, arguments)

    def _postpone(self, work: Callable[..., None], arguments: Sequence[Any]) -> None:
        activity.waiting.append(partial(self._catch_up_with, work, list(map(detached, arguments))))

    def _catch_up_with(self, work: Callable[..., None], arguments: Sequence[Any]) -> None:
        """Do the postponed work that is first in line."""
        try:
            self._work(None, work, arguments, _BRIEFLY if activity.has_rivals else None)
        except DatabaseLockedError:
            if not activity.has_rivals:
                raise
            activity.is_held_up = True

    @working
    def _work(
        self,
        block: Block | None,
        function: Callable[..., T],
        arguments: Sequence[Any] = (),
        patience: float | None = None,
    ) -> T:
        """Return `function(*arguments)`, a piece of work whose connection other code of this thread leaves alone."""
        works = activity.works
        depth = len(works)
        try:
            work = Work()
            if block is not None:
                work.block = block
            if patience is not None:
                work.patience = patience
            if self._has_limits and activity.deadline is not None:
                work.deadline = activity.present_deadline()
            works.append(work)
            return function(*arguments)
        except BaseException as error:
            self._release(works[depth:])
            interruption = _interruption_behind(error)
            if interruption is not None:
                # The interruption left the driver in a state that it did not expect, so it raised another error.
                raise interruption from error
            raise
        finally:
            del works[depth:]
            if not depth and activity.waiting:
                activity.catch_up()

    def _release(self, works: Sequence[Work]) -> None:
        """Drop the connections that work has left in use, because a signal handler raised."""
        for work in works:
            if work.transaction is not None:
                work.transaction.close()
                self._drop(work.transaction)
            connection, work.connection = work.connection, None
            if connection is not None:
                self._keeper.drop(connection)

    def _patience(self) -> float | None:
        """Return the seconds to wait for locks, None for no limit: only briefly for those that this thread may hold."""
        works, blocks = activity.works, activity.blocks
        if (works or blocks) and (activity.is_interrupted or activity.has_rivals):
            return _BRIEFLY
        return None

    def _only_block(self) -> Block | None:
        """Return the open block that the running code is part of, if nothing else is open; a fast path of `_block`."""
        blocks = activity.blocks
        if activity.works or generators or len(blocks) != 1:
            return None
        block = blocks[0]
        is_own = block.session is self and not block.is_inherited and block.is_present and block.is_usable
        return block if is_own else None

    def _block(self) -> Block | None:
        """Return the open block that the running code is part of; None if there is none, or the code interrupts it."""
        if not (activity.blocks or generators):
            return None
        activity.forget_inherited()
        works = len(activity.works)
        for block in generator_blocks():
            if block.session is self and block.works == works and block.is_usable:
                lender = _lending(block)
                return None if lender in activity.hidden else lender
        for block in reversed(activity.blocks):
            if block.session is not self or block.generator is not None or block.works != works:
                continue
            if block.is_present and block.is_usable:
                return block
        return None

    def _block_to_leave(self, frame: int) -> Block | None:
        """Return the open block that the `with` statement of a frame has entered."""
        activity.forget_inherited()
        blocks = [block for block in all_blocks() if block.session is self]
        entered = [block for block in blocks if frame in block.entries]
        # `__enter__` and `__exit__` may be called directly, in different functions. Code that finishes the work of a
        # task that has ended ends its block, too.
        present = [block for block in blocks if block.is_present]
        return next(iter(entered or present or [block for block in blocks if block.is_orphaned]), None)

    def _open(self, patience: float | None, generator: FrameType | None = None) -> Block:
        deadline = activity.works[-1].deadline
        if deadline is None:
            connection = self._retry(self._keeper.take_usable)
        else:
            connection = retry(
                lambda: self._keeper.take_usable(_left_until(deadline)),
                self._may_pass,
                seconds=deadline - time.monotonic(),
                pause=0.05,
            )
        return self._begin(connection, patience, generator)

    def _begin(self, connection: Any, patience: float | None, generator: FrameType | None = None) -> Block:
        block = Block(self.engine, connection, self, generator=generator)
        activity.works[-1].transaction = block
        if self._has_limits:
            deadline = activity.works[-1].deadline
            self.engine.limit(connection, None if deadline is None else _left_until(deadline))
        try:
            with self.translated_errors():
                self.engine.set_autocommit(connection, False)
            if patience is not None:
                block.limit_waits(patience)
        except BaseException:
            self._keeper.drop(connection)
            raise
        return block

    def _leave(self, block: Block, exc_type: type[BaseException] | None) -> None:
        if block.lender is None:
            activity.works[-1].transaction = block
        block.entries.clear()
        block.close()
        if block.lender is None:
            self._end(block, exc_type)

    def _end(self, block: Block, exc_type: type[BaseException] | None) -> None:
        """End a transaction. The block keeps its connection until then, so that it is not lost."""
        if block.connection is None:
            aborted, block.aborted = block.aborted, None
            _call(self._before_rollback, block)
            if aborted is not None:
                self._keeper.drop(aborted)
        elif exc_type is None:
            self._commit(block)
        elif issubclass(exc_type, (KeyboardInterrupt, ReadOnlyDatabaseError)) or block.is_busy:
            # A signal handler may have raised in the middle of a statement, so the connection is in an unknown state. A
            # read-only connection stays read-only, even when the database accepts changes again.
            self._drop(block)
        else:
            self._roll_back(block, exc_type)

    def _commit(self, block: Block) -> None:
        try:
            with self.translated_errors():
                block.connection.commit()
                self._prepare_for_calls(block)
            self._give_back(block)
        except BaseException:
            self._drop(block)
            raise
        _call(self._after_commit, block)

    def _roll_back(self, block: Block, exc_type: type[BaseException]) -> None:
        _call(self._before_rollback, block)
        try:
            block.connection.rollback()
            self._prepare_for_calls(block)
            self._give_back(block)
        except self.engine.driver_error as error:
            self._drop(block)
            # The caller must see the exception that ended the block. It may be the reason for this error, too.
            is_known = issubclass(exc_type, (self.engine.driver_error, DatabaseUnavailableError))
            log = get_logger("client").info if is_known else get_logger("client").warning
            log("rolling back failed: %s", self.engine.translate_error(error))

    def _give_back(self, block: Block) -> None:
        connection, block.connection = block.connection, None
        if block.is_lent:
            # The generator cannot continue without its transaction, and must not continue in another one.
            self._keeper.drop(connection)
        else:
            self._keeper.give_back(connection, lingers=block.lingers)

    def _prepare_for_calls(self, block: Block) -> None:
        if self._keeper.parks or (block.lingers and self._keeper.lingers):
            self.engine.set_autocommit(block.connection, True)
            if block.patience is not None:
                self.engine.limit_waits(block.connection, None)

    # Connections between pieces of work

    def track(self, run_id: int) -> None:
        """Keep connections from now on, because a run is tracked."""
        self._keeper.retain(run_id)

    def note_start(self) -> None:
        """Remember that a run was started, so that the database is the right one and was writable."""
        self._has_started = True
        if self.outbox is not None:
            self.outbox.note_start()

    def untrack(self, run_id: int) -> None:
        """Undo `track` for a run."""
        self._keeper.release(run_id)

    def close_idle(self) -> None:
        """Close the connections that wait for the next call: opened in an outage, they may be read-only after it."""
        self._keeper.close_parked()

    def tracks(self, run_id: int) -> bool:
        """Return whether this client tracks a run."""
        return self._keeper.retains_for(run_id)

    @contextlib.contextmanager
    def keeping_connections(self) -> Iterator[None]:
        """Keep connections open in the `with` block, as while a run is tracked, for many calls in a row."""
        key = object()
        self._keeper.retain(key)
        try:
            yield
        finally:
            self._keeper.release(key)

    def _retry(self, attempt: Callable[[], T]) -> T:
        """Call `attempt` until it succeeds or waiting cannot help, and at least once."""
        try:
            result = attempt()
        except _LOST as error:
            result = self._try_again(attempt, error)
        self._lost_at = None
        return result

    def _try_again(self, attempt: Callable[[], T], error: DatabaseError, patience: float | None = None) -> T:
        """Retry after a first attempt has failed. All calls together wait once for a database that is away."""
        if not self._can_help(error):
            if self._keeper.has_lost_lingering():
                return self._do_anew(attempt, patience)
            raise error
        longest = self._reconnect if patience is None else patience
        if isinstance(error, TooManyConnectionsError):
            return retry(attempt, self._can_help, seconds=longest, pause=0.05, longest=1.0)
        now = time.monotonic()
        was_lost = self._lost_at is not None
        # Noticing that a connection is dead may take long, which does not count.
        self._lost_at = now if self._lost_at is None else self._lost_at
        seconds = min(self._lost_at + self._reconnect - now, longest)
        # The first failure may come from a kept connection that is dead, so that the next attempt works.
        if was_lost and seconds <= 0:
            raise error
        try:
            return retry(attempt, self._can_help, seconds=seconds, pause=0.05, longest=1.0)
        except _LOST:
            if patience is None:
                # Without time for another pause, the next call must not wait for the rest of it.
                self._lost_at = -math.inf
            raise

    def _do_anew(self, attempt: Callable[[], T], patience: float | None) -> T:
        """Retry on a new connection, because the open one had ended since the last call."""
        try:
            return attempt()
        except _LOST as error:
            return self._try_again(attempt, error, patience)

    def _can_help(self, error: Exception) -> bool:
        """Return whether waiting helps: no connection is free, or the database was lost while a run is tracked."""
        if not self._is_lost(error):
            return False
        if not (self._keeper.parks or isinstance(error, TooManyConnectionsError)):
            return False
        get_logger("client").info("trying to reach the database again: %s", error)
        return True

    def _is_lost(self, error: Exception) -> bool:
        """Return whether the database is away, or another server may be the one for changes now."""
        if isinstance(error, ReadOnlyDatabaseError):
            return self._has_started and self.engine.may_fail_over()
        return isinstance(error, DatabaseUnavailableError)

    def _may_pass(self, error: Exception) -> bool:
        return self._is_lost(error) and getattr(error, "may_pass", True)

    def _use(
        self,
        work: Work,
        connection: Any,
        function: Callable[..., T],
        arguments: Sequence[Any],
        patience: float | None = None,
    ) -> T:
        """Call `function(connection, *arguments)` and give the connection back."""
        try:
            work.engine = self.engine
            work.connection = connection
            deadline = work.deadline
            if self._has_limits:
                self.engine.limit(connection, None if deadline is None else patience)
            if patience is None or deadline is not None:
                result = function(connection, *arguments)
            else:
                with self.engine.bounded(connection, patience):
                    result = function(connection, *arguments)
        except self.engine.driver_error as error:
            translated = self._translated(error)
            if self.engine.is_usable(connection) and not isinstance(translated, ReadOnlyDatabaseError):
                self._keeper.give_back(connection)
            else:
                self._keeper.drop(connection)
            raise translated from error
        except BaseException:
            self._keeper.drop(connection)
            raise
        finally:
            work.connection = None
        self._keeper.give_back(connection)
        return result

    def _use_briefly(
        self, connection: Any, function: Callable[[Any], T], lock_limit: float | None, patience: float | None = None
    ) -> T:
        """Call `function(connection)` in a transaction of its own, with a limit for waiting for locks."""
        bounded = contextlib.nullcontext() if patience is None else self.engine.bounded(connection, patience)
        with bounded, self.translated_errors(), self._ending(self._begin(connection, lock_limit)) as block:
            return function(block.connection)

    @contextlib.contextmanager
    def translated_errors(self) -> Iterator[None]:
        """Translate errors of the driver that are raised in the `with` block."""
        try:
            yield
        except self.engine.driver_error as error:
            raise self._translated(error) from error

    def _translated(self, error: Exception) -> BaseException:
        """Return the error that stands for a driver's error: Ctrl-C if that interrupted the driver."""
        return _interruption_behind(error) or self.engine.translate_error(error)

    def _translated_in_block(self, error: Exception) -> BaseException:
        """Return the error that stands for a driver's error in an open block, whose calls cannot go to the outbox."""
        translated = self._translated(error)
        if self.outbox is None or not isinstance(translated, DatabaseUnavailableError):
            return translated
        return DatabaseUnavailableError(
            f"the connection of a 'with client:' block is lost, and its changes with it: {translated.message}",
            "log without a block: calls outside of one are retried, or kept in the outbox",
        )


def _interruption_behind(error: BaseException) -> BaseException | None:
    """Return the Ctrl-C or other interruption during which an error was raised, if any."""
    cause = error.__context__ if isinstance(error, Exception) else None
    while cause is not None:
        if not isinstance(cause, Exception) and not _is_caught(cause):
            return cause
        cause = cause.__context__
    return None


def _is_caught(error: BaseException) -> bool:
    """Return whether a function on the stack has caught an exception, and is handling it."""
    caught_in = None if error.__traceback__ is None else error.__traceback__.tb_frame
    return caught_in is not None and is_on_stack(caught_in)


def _left_until(deadline: float) -> float:
    """Return the seconds until a deadline (monotonic), or a moment for an answer that is on its way."""
    left = deadline - time.monotonic()
    return left if left > _ANSWER else _ANSWER


def _connection_of(block: Block) -> Any:
    if block.connection is None:
        raise DatabaseUnavailableError("the transaction was rolled back because the process was told to terminate")
    return block.connection


def detached(value: Any) -> Any:
    """Return a copy of a value that later changes by the caller do not affect."""
    if type(value) in (list, tuple):
        return [detached(item) for item in value]
    if type(value) is dict:
        return {name: detached(item) for name, item in value.items()}
    return value.detached() if hasattr(value, "detached") else value


def _lending(block: Block) -> Block | None:
    """Return the block that a generator's block belongs to, None if it has ended."""
    while block.lender is not None:
        block = block.lender
        if not block.entries:
            return None
    return block


def _forget_entry(block: Block, frame: int) -> None:
    """Forget that code has entered a block, which it has not left because a signal handler raised."""
    if len(block.entries) > 1 and frame in block.entries:
        block.entries.remove(frame)


def _call(methods: list[weakref.WeakMethod[Callable[[Hashable], object]]], block: Block) -> None:
    for reference in methods:
        method = reference()
        if method is not None:
            method(block)


def _close_outboxes() -> None:
    outboxes = sys.modules.get("sqltrack._outbox._outbox")
    if outboxes is not None:
        outboxes.close_all()


# Registered before the functions that end runs, so that it is called after them.
atexit.register(_close_outboxes)
