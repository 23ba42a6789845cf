"""The BentoML service behind the hot path: its documentation page, its own API, and every path that is not the protocol's."""

from __future__ import annotations

import os
from typing import Any

os.environ.setdefault("BENTOML_DO_NOT_TRACK", "True")
os.environ.setdefault("BENTOML_HOME", "/tmp/bentoml")  # noqa: S108

import bentoml

from modelward_serving.predictor import Predictor


def bento_service(predictor: Predictor) -> Any:
    """A BentoML service that answers from the same model; ``to_asgi()`` of it is the application behind the hot path."""

    @bentoml.service(name=predictor.model, traffic={"timeout": 60}, metrics={"enabled": False})
    class Model:
        """A Modelward model. Callers use the Open Inference Protocol at /v2; this API is for trying things out."""

        @bentoml.api(route="/predict")
        def predict(self, inputs: dict[str, list[Any]]) -> dict[str, list[Any]]:
            """Score rows given by column: ``{"inputs": {"age": [61], "sex": ["f"]}}``; null is missing."""
            return predictor.by_column(inputs)

        @bentoml.api(route="/signature")
        def signature(self) -> dict[str, Any]:
            """What the model takes and gives."""
            return predictor.bundle.signature.to_json()

    return Model
