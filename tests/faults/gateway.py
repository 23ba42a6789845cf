"""The engine's door to the API server in memory, and what can go wrong at it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from modelward_api import names
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import (
    ConflictError,
    GatewayError,
    InvalidObjectError,
    Manifest,
    Page,
    Resource,
)
from tests.faults.server import ApiServer

LATENCY = 0.002
"""Seconds that a call takes each way: meanwhile others go on."""
READ_ANEW = (api.LEASES, api.SECRETS)
"""What nobody would keep a copy of."""

Mishap = Literal["crash before", "crash after", "answer lost", "409", "403", "500", "suspended"]
"""Suspended: the machine stands still, and goes on later with what was read before."""
MISHAPS: tuple[Mishap, ...] = ("crash before", "crash after", "answer lost", "409", "403", "500")


@dataclass
class Fault:
    """Something that goes wrong at one call."""

    mishap: Mishap
    nth: int = 1
    """At which of the calls to come."""
    on: Literal["write", "read"] = "write"


@dataclass
class Faults:
    """What goes wrong at the door, for whoever comes."""

    planned: list[Fault] = field(default_factory=list)
    forbidden: frozenset[Resource] = frozenset()
    """Kinds that may not be written for now."""
    refuses: Callable[[str, Resource, str], int | None] = lambda verb, resource, name: None
    """By verb, kind and name of a write: the HTTP status that it is refused with; 0 stands for no answer."""
    made: list[tuple[str, Resource, str]] = field(default_factory=list)
    """Verb, kind and name of the writes that were asked for."""
    lag: dict[Resource, int] = field(default_factory=dict)
    """By kind: how many changes ago it was that reads show."""
    writes: int = 0
    """Made so far, but for the public keys: they are written again every five minutes."""

    def strike(self, *, writes: bool) -> Mishap | None:
        """What goes wrong now."""
        on = "write" if writes else "read"
        for fault in [fault for fault in self.planned if fault.on == on]:
            fault.nth -= 1
            if fault.nth <= 0:
                self.planned.remove(fault)
                return fault.mishap
        return None


class MemoryGateway:
    """A Gateway of one operator process. It ends when its process does. ``permit`` is asked before each write."""

    def __init__(
        self,
        server: ApiServer,
        faults: Faults,
        awake: asyncio.Event,
        die: Callable[[], None],
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        self._server = server
        self._faults = faults
        self._awake = awake
        self._die = die
        self._permit = permit

    async def list(
        self, resource: Resource, namespace: str | None, selector: str = "", fields: str = ""
    ) -> list[Manifest]:
        return await self._read(resource, self._server.list, resource, namespace, selector, fields)

    async def pages(self, resource: Resource, namespace: str | None, selector: str = "") -> AsyncIterator[Page]:
        """Not behind: what a listing does not name is taken for gone, so the API server asks a majority of etcd for it."""
        await self._travel()
        if (mishap := self._faults.strike(writes=False)) is not None:
            await self._suffer(mishap)
        found = self._server.list(resource, namespace, selector)
        middle = len(found) // 2
        for page in (found[:middle], found[middle:]):
            await self._travel()
            yield page

    async def get(self, resource: Resource, namespace: str, name: str) -> Manifest | None:
        return await self._read(resource, self._server.get, resource, namespace, name)

    async def apply(self, resource: Resource, manifest: Manifest, manager: str = names.FIELD_MANAGER) -> Manifest:
        return await self._write(resource, self._server.apply, manifest, manager)

    async def create(self, resource: Resource, manifest: Manifest) -> Manifest:
        return await self._write(resource, self._server.create, manifest)

    async def replace_status(self, resource: Resource, manifest: Manifest) -> Manifest:
        return await self._write(resource, self._server.replace_status, manifest)

    async def replace(self, resource: Resource, manifest: Manifest) -> Manifest:
        return await self._write(resource, self._server.replace, manifest)

    async def patch(self, resource: Resource, namespace: str, name: str, patch: Manifest) -> Manifest | None:
        return await self._write(resource, self._server.patch, namespace, name, patch)

    async def delete(self, resource: Resource, namespace: str, name: str, uid: str) -> None:
        await self._write(resource, self._server.delete, namespace, name, uid)

    async def _read(self, resource: Resource, work: Callable[..., Any], *arguments: Any) -> Any:
        await self._travel()
        mishap = self._faults.strike(writes=False)
        if mishap is not None:
            await self._suffer(mishap)
        lag = 0 if resource in READ_ANEW else self._faults.lag.get(resource, 0)
        found = work(*arguments, lag=lag)
        await self._travel()
        return found

    async def _write(self, resource: Resource, work: Callable[..., Any], *arguments: Any) -> Any:
        self._permit()
        await self._travel()
        mishap = self._faults.strike(writes=True)
        verb, name = work.__name__, _name(*arguments)
        self._faults.made.append((verb, resource, name))
        if (status := self._faults.refuses(verb, resource, name)) is not None:
            raise {409: ConflictError, 422: InvalidObjectError}.get(status, GatewayError)(status, "as planned")
        if resource in self._faults.forbidden:
            raise GatewayError(403, "forbidden")
        if mishap == "suspended":
            self._awake.clear()
            await self._awake.wait()
        elif mishap not in (None, "crash after", "answer lost"):
            await self._suffer(mishap)
        self._faults.writes += not _is_of_keys(resource, *arguments)
        made = work(resource, *arguments)
        if mishap in ("crash after", "answer lost"):
            await self._suffer(mishap)
        await self._travel()
        return made

    async def _travel(self) -> None:
        await asyncio.sleep(LATENCY)
        await self._awake.wait()

    async def _suffer(self, mishap: Mishap) -> None:
        if mishap.startswith("crash"):
            self._die()
            await asyncio.Event().wait()  # nothing comes after the end
        if mishap == "answer lost":
            raise GatewayError(0, "TimeoutError")
        raise {"409": ConflictError}.get(mishap, GatewayError)(int(mishap), "as planned")


def _name(*arguments: Any) -> str:
    """Of an object to write: its manifest comes first, or its namespace and name."""
    if isinstance(arguments[0], dict):
        metadata = arguments[0]["metadata"]
        return str(metadata.get("name") or metadata.get("generateName"))
    return str(arguments[1])


def _is_of_keys(resource: Resource, what: Any, *_: Any) -> bool:
    return resource == api.CONFIG_MAPS and isinstance(what, dict) and what["metadata"]["name"] == names.CONTROL_KEYS
