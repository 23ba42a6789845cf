"""The clients' view: requests at a steady rate, with the time of each answer; and a pod's own counts, polled often."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
from collections.abc import Callable, Coroutine
from concurrent.futures import Future
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import aiohttp

from modelward_api import names
from tests.bench.rollback import faults

HEADERS = {"content-type": "application/json"}
PATIENCE = aiohttp.ClientTimeout(total=5)
PERIOD = 0.05
"""Seconds between two looks at a pod's counters."""
_REQUESTS = re.compile(r"^modelward_requests_total\{[^}]*\} (\S+)$", re.MULTILINE)


class Answer(NamedTuple):
    """The answer to one request."""

    sent: float
    came: float
    """Both as time.time()."""
    code: int
    """Of HTTP; 0 when there was no answer."""
    version: str | None
    """The version that answered: from the response's header, or by the chosen backend."""


class Where(NamedTuple):
    """Where a request goes, and the name of the backend if the client chooses one."""

    url: str
    backend: str | None = None


def infer_url(address: str, model: str) -> str:
    """Where a model is asked."""
    return f"http://{address}/v2/models/{model}/infer"


class Background:
    """An event loop in a thread of its own."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        threading.Thread(target=self._loop.run_forever, name="traffic", daemon=True).start()

    def start(self, work: Coroutine[Any, Any, None]) -> Future[None]:
        """Run it beside the rest; cancel the future to end it."""
        return asyncio.run_coroutine_threadsafe(work, self._loop)


@dataclass
class Client:
    """A service that asks for one row at a time, at a steady rate."""

    rate: float
    """Requests a second."""
    keeps_connections: bool
    draw: random.Random
    sends_bad_rows: bool = False
    answers: list[Answer] = field(default_factory=list)

    async def run(self, where: Callable[[], Where]) -> None:
        """Ask until cancelled; ``where`` is called for each request."""
        connector = aiohttp.TCPConnector(limit=0, force_close=not self.keeps_connections)
        async with (
            aiohttp.ClientSession(connector=connector, timeout=PATIENCE) as session,
            asyncio.TaskGroup() as group,
        ):
            begin = time.monotonic() + self.draw.random() / self.rate
            number = 0
            while True:
                await asyncio.sleep(max(0.0, begin + number / self.rate - time.monotonic()))
                group.create_task(self._ask(session, where(), faults.row(self.draw, bad=self.sends_bad_rows)))
                number += 1

    async def _ask(self, session: aiohttp.ClientSession, where: Where, body: bytes) -> None:
        url, backend = where
        sent, code, version = time.time(), 0, backend
        try:
            async with session.post(url, data=body, headers=HEADERS) as answer:
                await answer.read()
                code = answer.status
                version = backend or answer.headers.get(names.VERSION_HEADER)
        except (aiohttp.ClientError, TimeoutError, OSError):
            pass  # counted as code 0
        self.answers.append(Answer(sent, time.time(), code, version))

    def since(self, moment: float) -> list[Answer]:
        """Return the answers to requests sent since then."""
        return [answer for answer in self.answers if answer.sent >= moment]


@dataclass
class Probe:
    """Poll the number of inference requests that a pod has answered, to find the times of its first and its last."""

    address: str
    seen: list[tuple[float, int]] = field(default_factory=list)
    """Time and count, whenever the count has grown."""

    async def run(self) -> None:
        """Look until cancelled; a pod that does not answer has not begun, or has ended."""
        url = f"http://{self.address}:{names.HTTP_PORT}/metrics"
        async with aiohttp.ClientSession(timeout=PATIENCE) as session:
            while True:
                try:
                    async with session.get(url) as answer:
                        self._saw(await answer.text())
                except (aiohttp.ClientError, TimeoutError, OSError):
                    pass
                await asyncio.sleep(PERIOD)

    def _saw(self, text: str) -> None:
        count = int(sum(float(found) for found in _REQUESTS.findall(text)))
        if count > self.count:
            self.seen.append((time.time(), count))

    @property
    def count(self) -> int:
        """Requests so far."""
        return self.seen[-1][1] if self.seen else 0
