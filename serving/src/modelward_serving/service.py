"""The BentoML service behind the hot path: its documentation page, its own API, and every path that is not the protocol's.

It is loaded for the first request that is for it, in a thread: that takes a second and 60 MB, and most pods are never asked.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

os.environ.setdefault("BENTOML_HOME", "/tmp/bentoml")  # noqa: S108

from modelward_serving.predictor import Predictor
from modelward_serving.tensors import RefusedError

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Behind:
    """BentoML's application, once somebody asks for it."""

    def __init__(self, predictor: Predictor) -> None:
        self._predictor = predictor
        self._loading = asyncio.Lock()
        self._application: Any = None
        self._said: asyncio.Queue[Message] = asyncio.Queue()
        self._life: asyncio.Task[None] | None = None

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        """Answer as BentoML does."""
        async with self._loading:
            if self._application is None:
                await self._load()
        await self._application(scope, receive, send)

    async def close(self) -> None:
        """Let it end as a server would."""
        if self._life is not None:
            self._said.put_nowait({"type": "lifespan.shutdown"})
            await self._life

    async def _load(self) -> None:
        loop = asyncio.get_running_loop()
        application = await loop.run_in_executor(None, lambda: bento_service(self._predictor).to_asgi())
        started = loop.create_future()

        async def heard(message: Message) -> None:
            if not started.done():
                started.set_result(message["type"])

        self._said.put_nowait({"type": "lifespan.startup"})
        self._life = loop.create_task(
            application({"type": "lifespan", "asgi": {"version": "3.0"}}, self._said.get, heard)
        )
        await started
        self._application = application


def bento_service(predictor: Predictor) -> Any:
    """A BentoML service that answers from the same model; ``to_asgi()`` of it is the application behind the hot path."""
    import bentoml

    @bentoml.service(name=predictor.model, traffic={"timeout": 60}, metrics={"enabled": False})
    class Model:
        """A Modelward model. Callers use the Open Inference Protocol at /v2; this API is for trying things out."""

        @bentoml.api(route="/predict")
        def predict(self, inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
            """Score rows given by column: ``{"inputs": {"age": [61], "sex": ["f"]}}``; null is missing."""
            try:
                return predictor.by_column(inputs)
            except RefusedError as error:
                raise bentoml.exceptions.InvalidArgument(error.message) from None

        @bentoml.api(route="/signature")
        def signature(self) -> dict[str, Any]:
            """What the model takes and gives."""
            return predictor.bundle.signature.to_json()

    return Model
