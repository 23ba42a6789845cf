"""The work queue: each key once at a time, and in what order."""

from __future__ import annotations

import asyncio

from modelward_operator.engine.queue import Key, WorkQueue


def model(name: str) -> Key:
    return Key("Model", "clinic", name)


async def worked_on(queue: WorkQueue, count: int) -> list[str]:
    """The names of the keys that a single worker gets, in their order."""
    found, done = [], asyncio.Event()

    async def handler(key: Key) -> None:
        found.append(key.name)
        if len(found) == count:
            done.set()

    working = asyncio.create_task(queue.run(handler))
    async with asyncio.timeout(5):
        await done.wait()
    working.cancel()
    return found


async def test_keys_wait_until_somebody_works_each_of_them_once():
    queue = WorkQueue(workers=1)
    for name in "abab":
        queue.add(model(name))
    assert len(queue) == 2
    assert await worked_on(queue, 2) == ["a", "b"]
    assert len(queue) == 0


async def test_what_waits_can_be_put_in_order():
    queue = WorkQueue(workers=1)
    for name in "cabd":
        queue.add(model(name))
    queue.sort(lambda key: -ord(key.name))
    assert await worked_on(queue, 4) == ["d", "c", "b", "a"]
