"""HTTP responses, for the inference port and the control port."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

import msgspec

from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.protocol.headers import JSON_HEAD

Message = MutableMapping[str, Any]
Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
Asgi = Callable[[Scope, Receive, Send], Awaitable[None]]

RETRY_AFTER = 1
"""Seconds until a client refused for lack of room may retry."""
_MORE = {401: b"www-authenticate: Bearer\r\n", 503: b"retry-after: %d\r\n" % RETRY_AFTER}


class Reply(msgspec.Struct, frozen=True):
    """A response: headers without the length, and body."""

    status: int
    head: bytes
    content: bytes


def refused(error: RefusedError) -> Reply:
    """Return the response to an invalid request."""
    return Reply(error.status, JSON_HEAD + _MORE.get(error.status, b""), error.body())


def failed(status: int, reason: str, message: str, head: bytes = b"") -> Reply:
    """Return an error response."""
    return Reply(status, JSON_HEAD + head, msgspec.json.encode({"error": message, "reason": reason}))


def wrong_method(allowed: str) -> Reply:
    """Return the response to a method that the path does not support."""
    return failed(405, Reason.WRONG_METHOD, f"the path supports {allowed} only", f"allow: {allowed}\r\n".encode())


async def send_reply(send: Send, reply: Reply, *, close: bool = False) -> None:
    """Send a response over ASGI."""
    headers = [(b"content-length", b"%d" % len(reply.content))]
    headers += [(k, v) for k, _, v in (line.partition(b": ") for line in reply.head.split(b"\r\n") if line)]
    if close:
        headers.append((b"connection", b"close"))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.content})


async def body_of(receive: Receive) -> bytes:
    """Return a request's body, which LimitedHttpProtocol delivers complete and within the limit."""
    message = await receive()
    body: bytes = message.get("body", b"")
    return body
