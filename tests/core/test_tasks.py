"""A transaction belongs to the task that opened it: a thread, an asyncio task, or a generator."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from sqltrack import Client, Run, _sessions
from sqltrack.errors import DatabaseLockedError, NotConnectedError
from support.databases import experiments, steps

INSERT = "INSERT INTO experiments (name) VALUES (%s)"


class StopError(Exception):
    """Ends a block."""


async def succeed(client: Client, name: str, *turns: Awaitable[Any]) -> None:
    with client:
        for turn in turns:
            await turn
        client.execute(INSERT, (name,))


async def fail(client: Client, name: str, *turns: Awaitable[Any]) -> None:
    with contextlib.suppress(StopError), client:
        client.execute(INSERT, (name,))
        for turn in turns:
            await turn
        raise StopError


def test_blocks_of_tasks_know_nothing_of_each_other(client: Client, config: dict[str, Any]) -> None:
    """Changes of a task in its block are stored, or not, independently of the blocks of other tasks."""

    async def main() -> None:
        failed = asyncio.Event()
        succeeding = asyncio.create_task(succeed(client, "good", asyncio.sleep(0), failed.wait()))
        await asyncio.create_task(fail(client, "bad", asyncio.sleep(0), asyncio.sleep(0)))
        failed.set()
        await succeeding

    asyncio.run(main())
    assert experiments(config) == ["good"]


def test_a_task_that_is_created_in_a_block_is_not_in_it(client: Client, config: dict[str, Any]) -> None:
    async def child() -> bool:
        return is_in_block(client)

    async def main() -> None:
        with client:
            assert not await asyncio.create_task(child())
            assert not await asyncio.to_thread(is_in_block, client)
            assert is_in_block(client)

    asyncio.run(main())


def test_a_context_that_was_copied_in_a_block_is_not_in_it_later(client: Client) -> None:
    with client:
        context = contextvars.copy_context()
    with pytest.raises(NotConnectedError):
        context.run(client.commit)
    with client:
        assert in_thread(lambda: contextvars.copy_context().run(is_in_block, client)) is False
        assert is_in_block(client)


def is_in_block(client: Client) -> bool:
    try:
        client.commit()
    except NotConnectedError:
        return False
    return True


def in_thread(function: Callable[[], Any]) -> Any:
    with ThreadPoolExecutor() as pool:
        return pool.submit(function).result()


@pytest.mark.parametrize("tracked", [False, True])
def test_a_task_that_logs_does_not_wait_for_the_block_of_another(
    client: Client, config: dict[str, Any], run: Run, tracked: bool
) -> None:
    """Both are in one thread, which would wait for itself; so the row is written at the end of the block."""

    async def log() -> None:
        run.add_metrics({"loss": 1.0}, step=2)
        run.set_status("LOGGED")

    async def main() -> None:
        with contextlib.suppress(StopError), client:
            run.add_metrics({"loss": 1.0}, step=1)
            await asyncio.create_task(log())
            raise StopError

    if tracked:
        run.start()
    asyncio.run(main())
    assert steps(config) == [2]
    assert client.execute("SELECT status FROM runs").fetchall() == [("LOGGED",)]


def test_blocks_of_two_tasks_that_change_the_same_row_do_not_hang(
    client: Client, config: dict[str, Any], run: Run
) -> None:
    """Neither can continue before the other, so one of them fails, whichever began first."""

    async def change(comment: str, begun: asyncio.Event, other: asyncio.Event) -> None:
        with client:
            client.execute("SELECT 1")
            begun.set()
            await other.wait()
            run.set_comment(comment)
            await asyncio.sleep(0)
            await asyncio.sleep(0)

    async def main() -> list[BaseException | None]:
        begun = [asyncio.Event(), asyncio.Event()]
        return await asyncio.gather(change("a", *begun), change("b", *begun[::-1]), return_exceptions=True)

    outcomes = asyncio.run(main())
    assert [type(outcome) for outcome in outcomes if outcome is not None] == [DatabaseLockedError]
    (winner,) = (comment for comment, outcome in zip("ab", outcomes) if outcome is None)
    assert client.execute("SELECT comment FROM runs").fetchall() == [(winner,)]


def test_a_block_that_an_ended_task_has_left_open_can_be_ended(client: Client, config: dict[str, Any]) -> None:
    """Cells of a notebook may be separate tasks."""

    async def enter() -> None:
        client.__enter__()
        client.execute(INSERT, ("entered",))

    async def leave() -> None:
        client.__exit__(None, None, None)

    async def main() -> None:
        await asyncio.create_task(enter())
        await asyncio.create_task(leave())

    asyncio.run(main())
    assert experiments(config) == ["entered"]


def read(client: Client) -> Iterator[Any]:
    with client.cursor() as cursor:
        cursor.execute("SELECT 1")
        yield from cursor.fetchall()
        yield None


def read_in_block(client: Client) -> Iterator[Any]:
    with client as connection:
        yield from connection.execute("SELECT 1").fetchall()
        yield None


def read_deeply(client: Client) -> Iterator[Any]:
    yield from read(client)


def read_on_a_stack(client: Client) -> Iterator[Any]:
    with contextlib.ExitStack() as stack:
        stack.enter_context(client)
        yield from stack.enter_context(client.cursor()).execute("SELECT 1").fetchall()
        yield None


@pytest.mark.parametrize("read", [read, read_in_block, read_deeply, read_on_a_stack])
def test_a_generator_that_is_not_finished_keeps_no_later_call_uncommitted(
    client: Client, config: dict[str, Any], run: Run, read: Callable[[Client], Iterator[Any]]
) -> None:
    rows = read(client)
    assert next(rows) == (1,)
    run.add_metrics({"loss": 0.5}, step=1)
    assert steps(config) == [1]
    with client:
        run.add_metrics({"loss": 0.5}, step=2)
    assert steps(config) == [1, 2]
    assert list(rows) == [None]
    run.add_metrics({"loss": 0.5}, step=3)
    assert steps(config) == [1, 2, 3]


def test_a_generator_may_be_finished_by_another_thread(client: Client, config: dict[str, Any]) -> None:
    def insert() -> Iterator[None]:
        with client.cursor() as cursor:
            cursor.execute(INSERT, ("a",))
            yield
            client.execute(INSERT, ("b",))

    generator = insert()
    next(generator)
    assert experiments(config) == []
    assert in_thread(lambda: list(generator)) == []
    assert experiments(config) == ["a", "b"]
    client.execute(INSERT, ("c",))
    assert experiments(config) == ["a", "b", "c"]


def test_a_generator_in_a_block_is_part_of_it(client: Client, config: dict[str, Any]) -> None:
    """It sees the changes of the block, and the block does not depend on whether the generator is ever finished."""
    with client:
        client.execute(INSERT, ("a",))
        rows = names(client)
        assert next(rows) == ("a",)
    assert experiments(config) == ["a"]
    client.execute(INSERT, ("b",))
    assert experiments(config) == ["a", "b"]
    rows.close()
    with client:
        client.execute(INSERT, ("c",))
        assert list(names(client)) == [("a",), ("b",), ("c",), None]
        client.execute(INSERT, ("d",))
    assert experiments(config) == ["a", "b", "c", "d"]


def names(client: Client) -> Iterator[Any]:
    with client.cursor() as cursor:
        cursor.execute("SELECT name FROM experiments ORDER BY id")
        yield from cursor.fetchall()
        yield None


def test_a_generator_that_is_thrown_away_rolls_back(client: Client, config: dict[str, Any]) -> None:
    def insert() -> Iterator[None]:
        with client:
            client.execute(INSERT, ("a",))
            yield

    generator = insert()
    next(generator)
    del generator
    client.execute(INSERT, ("b",))
    assert experiments(config) == ["b"]


def changing(run: Run) -> Iterator[None]:
    """Hold a lock on the run until the generator is finished."""
    with run.client:
        run.set_comment("changed")
        yield


def test_a_lock_of_a_generator_makes_no_call_wait(client: Client, config: dict[str, Any], run: Run) -> None:
    """The call returns, and its row is stored when the generator has ended."""

    generator = changing(run)
    next(generator)
    run.add_metrics({"loss": 0.5}, step=1)
    list(generator)
    assert list(generator) == []
    assert steps(config) == [1]


def test_a_context_manager_may_be_made_of_a_generator(client: Client, config: dict[str, Any]) -> None:
    """Its block belongs to the task that enters it."""

    @contextlib.contextmanager
    def transaction() -> Iterator[None]:
        with client:
            yield

    with contextlib.suppress(StopError), transaction():
        client.execute(INSERT, ("a",))
        raise StopError
    assert experiments(config) == []

    @contextlib.asynccontextmanager
    async def asynchronous() -> AsyncIterator[None]:
        with client.cursor():
            yield

    async def main() -> None:
        with contextlib.suppress(StopError):
            async with asynchronous():
                client.execute(INSERT, ("b",))
                raise StopError

    asyncio.run(main())
    assert experiments(config) == []


def test_an_asynchronous_generator_that_is_not_finished_keeps_nothing_uncommitted(
    client: Client, config: dict[str, Any]
) -> None:
    async def read() -> AsyncIterator[int]:
        with client.cursor() as cursor:
            cursor.execute("SELECT 1")
            yield 1
            yield 2

    async def main() -> None:
        rows = read()
        async for _ in rows:
            break
        client.execute(INSERT, ("a",))
        assert experiments(config) == ["a"]
        await rows.aclose()

    asyncio.run(main())
    assert experiments(config) == ["a"]


def test_a_function_that_a_generator_calls_may_open_its_block_again(
    client: Client, config: dict[str, Any], run: Run
) -> None:
    """A task leaves the block that it has entered."""

    def log(step: int) -> None:
        with client:
            run.add_metrics({"loss": 0.5}, step=step)

    def work() -> Iterator[None]:
        with client:
            log(1)
            yield
            log(2)

    generator = work()
    next(generator)
    assert steps(config) == []
    assert list(generator) == []
    assert steps(config) == [1, 2]


def test_calls_that_a_thread_leaves_behind_are_stored(client: Client, config: dict[str, Any], run: Run) -> None:
    """It waited for the block of a generator that another thread finishes."""

    generator = changing(run)

    def work() -> None:
        next(generator)
        run.add_metrics({"loss": 0.5}, step=1)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert list(generator) == []
    run.add_tags("tag")
    assert steps(config) == [1]


@pytest.mark.filterwarnings("ignore")
def test_a_task_whose_loop_was_closed_keeps_no_block_open(client: Client, config: dict[str, Any], run: Run) -> None:
    async def change() -> None:
        with client:
            run.set_comment("lost")
            await asyncio.sleep(60)

    loop = asyncio.new_event_loop()
    task = loop.create_task(change())
    loop.run_until_complete(asyncio.sleep(0))
    loop.close()
    run.add_metrics({"loss": 0.5}, step=1)
    assert steps(config) == [1]
    assert client.execute("SELECT comment FROM runs").fetchall() == [(None,)]
    del task


def test_calls_that_wait_hold_up_no_other_block(client: Client, run: Run) -> None:
    generator = changing(run)
    next(generator)
    for step in range(8):
        run.add_metrics({"loss": 0.5}, step=step)
    begin = time.monotonic()
    for _ in range(4):
        with Client(client.config) as connection:
            connection.execute("SELECT 1")
    assert time.monotonic() - begin < 8 * _sessions._BRIEFLY
    assert list(generator) == []
    assert client.execute("SELECT step FROM metrics ORDER BY step").fetchall() == [(step,) for step in range(8)]
