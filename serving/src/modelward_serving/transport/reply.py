"""Responses over HTTP, on the inference port and on the control port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from modelward_serving.errors import RefusedError
from modelward_serving.protocol.headers import JSON_HEAD

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

RETRY_AFTER = 1
"""Seconds after which a caller who is turned away for want of room may come again."""
_MORE = {401: b"www-authenticate: Bearer\r\n", 503: b"retry-after: %d\r\n" % RETRY_AFTER}


class Reply(msgspec.Struct, frozen=True):
    """A response: its head without the length, and its body."""

    status: int
    head: bytes
    content: bytes


def refused(error: RefusedError) -> Reply:
    """The response to a request that is wrong."""
    return Reply(error.status, JSON_HEAD + _MORE.get(error.status, b""), error.body())


def failed(status: int, reason: str, message: str, head: bytes = b"") -> Reply:
    """The response to a request that is not answered for another reason."""
    return Reply(status, JSON_HEAD + head, msgspec.json.encode({"error": message, "reason": reason}))


def wrong_method(allowed: str) -> Reply:
    """The response to a path's wrong method."""
    return failed(405, "WrongMethod", f"the path takes {allowed}", f"allow: {allowed}\r\n".encode())


async def send_reply(send: Send, reply: Reply, *, close: bool = False) -> None:
    """Send it over ASGI."""
    headers = [(b"content-length", b"%d" % len(reply.content))]
    headers += [(k, v) for k, _, v in (line.partition(b": ") for line in reply.head.split(b"\r\n") if line)]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.content})


async def body_of(receive: Receive) -> bytes:
    """A request's body, which LimitedHttpProtocol delivers as a whole, and no larger than it may be."""
    message = await receive()
    body: bytes = message.get("body", b"")
    return body
