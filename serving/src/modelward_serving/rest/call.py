"""One inference request over REST."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

from modelward_serving.inference.dispatch import Call
from modelward_serving.protocol.fields import sendable
from modelward_serving.protocol.headers import AUTHORIZATION, ENCODING, JSON_LENGTH
from modelward_serving.protocol.prediction import ServedPrediction
from modelward_serving.rest.codec import RestCodec
from modelward_serving.routing.forward import Forward
from modelward_serving.transport.reply import Reply
from modelward_serving.validation.request import ValidatedRows

FORWARDED = frozenset((JSON_LENGTH, ENCODING, AUTHORIZATION))
"""Headers that a challenger also gets."""


class RestCall(Call):
    """An inference request over HTTP; ``respond`` is called with the response."""

    protocol = "rest"

    def __init__(
        self,
        codec: RestCodec,
        headers: Mapping[bytes, bytes],
        body: bytes | bytearray,
        respond: Respond,
        *,
        keep: bool = True,
    ) -> None:
        super().__init__(headers)
        self._codec = codec
        self._body = body
        self._respond = respond
        self.keep = keep
        """Whether the connection stays open."""

    def read(self) -> ValidatedRows:
        """Decode and check the request."""
        return self._codec.rows(self.headers, self._body, all_outputs=self.says_routed)

    def respond(self, outcome: ServedPrediction | Exception) -> int:
        """Respond."""
        reply = self._codec.reply(outcome, self.rows, routed=self.says_routed)
        self._respond(self, reply)
        return reply.status

    def forward(self, context: dict[bytes, bytes]) -> Forward:
        """Return the request as it came."""
        if not context and FORWARDED.isdisjoint(self.headers):
            return Forward(bytes(self._body), context)
        return Forward(bytes(self._body), sendable(self.headers, FORWARDED) | context)

    def remaining_timeout(self) -> float:
        """Return the seconds until the request times out."""
        return self._codec.timeout - (time.perf_counter() - self.started)


Respond = Callable[[RestCall, Reply], None]
