"""The OpenAPI 3.1 document of a pod, from its model's signature."""

from __future__ import annotations

from collections.abc import Mapping
from importlib.metadata import version
from typing import Any

from modelward_api import names
from modelward_api.bundle.documents import Signature
from modelward_api.names import DECISION, SCORE
from modelward_api.resources.columns import Column
from modelward_serving.limits import MAX_BODY, MAX_ROWS
from modelward_serving.protocol.tensors import DTYPES

JSON = "application/json"
REFUSALS = {
    "400": "the body is no request",
    "408": "the request took too long to arrive",
    "413": "the body is too large",
    "415": "the body's encoding is not known",
    "422": "a field breaks a rule: which one, and what it says, never the value",
    "504": "no answer in time",
}
_ERROR = {
    "type": "object",
    "required": ["error", "reason"],
    "properties": {
        "error": {"type": "string", "description": "The field and the rule that it breaks."},
        "reason": {"type": "string", "description": "CamelCase, for programs."},
        "field": {"type": "string", "description": "The path of the field in the request."},
    },
}
_TEXTS = {name: {"type": "string"} for name in ("model_name", "model_version", "id")}


def document(signature: Signature, paths: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return the document; ``paths`` are the operations by path and method."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": f"{signature.model} {signature.version}",
            "version": version("modelward-serving"),
            "description": "The Open Inference Protocol, version 2; gRPC speaks the same on a port of its own.",
        },
        "paths": paths,
        "components": {"schemas": {"Error": _ERROR, "Request": _request(signature), "Response": _response()}},
    }


def live(operation: str) -> dict[str, Any]:
    """Whether the process lives."""
    return _read("Whether the process lives", operation, _object(live={"type": "boolean"}))


def ready(operation: str) -> dict[str, Any]:
    """Whether the model answers."""
    schema = _object(ready={"type": "boolean"})
    read = _read("Whether the model answers", operation, schema)
    read["responses"]["503"] = _content("Not now: it starts, or ends", schema)
    return read


def server(operation: str) -> dict[str, Any]:
    """The server's metadata."""
    return _read("The server and its extensions", operation, _object(name={"type": "string"}))


def model(operation: str) -> dict[str, Any]:
    """The model's metadata."""
    tensors = {"type": "array", "items": _object(name={"type": "string"}, datatype={"type": "string"})}
    schema = _object(name={"type": "string"}, inputs=tensors, outputs=tensors)
    return _read("The model's inputs and outputs", operation, schema)


def metrics(operation: str) -> dict[str, Any]:
    """The metrics."""
    text = {"description": "Prometheus's text format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    return {"summary": "Metrics of the pod", "operationId": operation, "responses": {"200": text}}


def itself(operation: str) -> dict[str, Any]:
    """The document."""
    return _read("This document", operation, _object(openapi={"type": "string"}, paths={"type": "object"}))


def infer(signature: Signature, operation: str) -> dict[str, Any]:
    """Scores and decisions of rows."""
    binary = {"type": "string", "contentMediaType": "application/octet-stream"}
    length = {"name": "Inference-Header-Content-Length", "in": "header", "schema": {"type": "string"}}
    answer = _content("Scores and decisions", {"$ref": "#/components/schemas/Response"})
    answer["content"]["application/octet-stream"] = {"schema": binary}
    answer_headers = (names.MODEL_HEADER, names.VERSION_HEADER, names.DIGEST_HEADER, names.ARM_HEADER)
    answer["headers"] = {name: {"schema": {"type": "string"}} for name in answer_headers}
    return {
        "summary": "Score rows",
        "operationId": operation,
        "parameters": [{**length, "description": "Bytes of JSON, when binary tensors follow it."}],
        "requestBody": _body(signature),
        "responses": {"200": answer, **_refusals()},
    }


def explain(signature: Signature, operation: str) -> dict[str, Any]:
    """Contributions to the scores of rows."""
    schema = {"$ref": "#/components/schemas/Response"}
    return {
        "summary": "What each column added to the scores",
        "operationId": operation,
        "requestBody": _body(signature),
        "responses": {
            "200": _content("Contributions and scores", schema),
            **_refusals(),
            "404": _content("This version has no explainer", {"$ref": "#/components/schemas/Error"}),
        },
    }


def _read(summary: str, operation: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"summary": summary, "operationId": operation, "responses": {"200": _content("The answer", schema)}}


def _body(signature: Signature) -> dict[str, Any]:
    content = {"schema": {"$ref": "#/components/schemas/Request"}, "example": _example(signature)}
    return {"required": True, "content": {JSON: content}}


def _refusals() -> dict[str, Any]:
    return {
        code: _content(description, {"$ref": "#/components/schemas/Error"}) for code, description in REFUSALS.items()
    }


def _content(what: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": what, "content": {JSON: {"schema": schema}}}


def _object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "required": list(properties), "properties": properties}


def _request(signature: Signature) -> dict[str, Any]:
    value = {"type": ["number", "string", "boolean", "null"]}
    tensor = _object(
        name={"type": "string", "description": "; ".join(map(_described, signature.inputs))},
        shape={"type": "array", "items": {"type": "integer", "minimum": 1, "maximum": MAX_ROWS}, "maxItems": 2},
        datatype={"enum": [*DTYPES, "BYTES"]},
    )
    tensor["properties"] |= {
        "data": {"type": "array", "items": value},
        "parameters": {
            "type": "object",
            "description": "unit: the column's, or one that converts into it; binary_data_size",
        },
    }
    output = _object(name={"enum": [SCORE, DECISION]})
    output["properties"]["parameters"] = {"type": "object"}
    request = _object(inputs={"type": "array", "items": tensor, "minItems": 1})
    request["description"] = f"At most {MAX_BODY} bytes and {MAX_ROWS} rows."
    request["properties"] |= {
        "id": {"type": "string"},
        "outputs": {"type": "array", "items": output},
        "parameters": {"type": "object"},
    }
    return request


def _response() -> dict[str, Any]:
    tensor = _object(
        name={"type": "string"}, shape={"type": "array", "items": {"type": "integer"}}, datatype={"type": "string"}
    )
    response = _object(outputs={"type": "array", "items": tensor}, parameters={"type": "object"})
    response["properties"] |= _TEXTS
    return response


def _described(column: Column) -> str:
    unit = f" in {column.unit}" if column.unit else ""
    return f"{column.name} ({column.kind}{unit})"


def _example(signature: Signature) -> dict[str, Any]:
    """One row with a plausible value for each column."""
    inputs: list[dict[str, Any]] = []
    for column in signature.inputs:
        value: float | str
        if column.kind == "categorical":
            value, datatype = next(iter(column.allowed_values), ""), "BYTES"
        else:
            limits = (
                [limit for limit in (column.range.minimum, column.range.maximum) if limit is not None]
                if column.range
                else []
            )
            value, datatype = sum(limits) / len(limits) if limits else 1.0, "FP32"
        inputs.append({"name": column.name, "shape": [1, 1], "datatype": datatype, "data": [value]})
    return {"inputs": inputs}
