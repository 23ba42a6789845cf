"""The Open Inference Protocol over HTTP: JSON, optionally followed by binary tensors."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import msgspec

from modelward_api import names
from modelward_api.names import SCORE
from modelward_api.resources.reasons import Reason
from modelward_serving.errors import RefusedError
from modelward_serving.inference.dispatch import NoAnswerError
from modelward_serving.inference.response import parameters
from modelward_serving.model.predictor import Predictor
from modelward_serving.protocol.compression import plain
from modelward_serving.protocol.headers import ENCODING, INVALID_HEADER, JSON_HEAD, JSON_LENGTH
from modelward_serving.protocol.json_limits import SMALL, check_values, max_values
from modelward_serving.protocol.prediction import ServedPrediction
from modelward_serving.protocol.tensors import BinaryTensor, InferenceRequest, tell_booleans
from modelward_serving.rest import matrix_json
from modelward_serving.transport.reply import Reply, failed, refused
from modelward_serving.validation.request import ValidatedRows

log = logging.getLogger("modelward.serving")

_decoder = msgspec.json.Decoder(InferenceRequest)
_encoder = msgspec.json.Encoder()


def decode(body: bytes | bytearray, json_length: bytes | None = None, most: int = max_values(1000)) -> InferenceRequest:
    """Decode a request; binary tensors follow after ``json_length`` bytes.

    Args:
        body: The decompressed body.
        json_length: Length of the JSON, if binary tensors follow; the header's value.
        most: Limit of values in the document; see max_values().

    Raises:
        RefusedError: 400 if it is not a request, 413 if it has more values than the largest request.
    """
    if json_length is None:
        return matrix_json.read(body) or _document(body, most)
    if not json_length.isdigit() or int(json_length) > len(body):
        rule = "must be the length in bytes of the JSON at the start of the body"
        raise RefusedError(400, Reason.NOT_A_REQUEST, "Inference-Header-Content-Length", rule)
    view, at = memoryview(body), int(json_length)
    request = _document(view[:at], most)
    inputs: list[Any] = request.inputs
    for index, tensor in enumerate(inputs):
        size = (tensor.parameters or {}).pop("binary_data_size", None)
        if size is None:
            continue
        if type(size) is not int or not 0 <= size <= len(body) - at:
            field = f"inputs[{index}].parameters.binary_data_size"
            raise RefusedError(
                400, Reason.NOT_A_REQUEST, field, "the tensors' sizes must add up to the size of the body"
            )
        content = view[at : at + size]
        inputs[index] = BinaryTensor(tensor.name, tensor.shape, tensor.datatype, content, tensor.parameters)
        at += size
    if at != len(body):
        raise RefusedError(
            400, Reason.NOT_A_REQUEST, "inputs", "the tensors' sizes must add up to the size of the body"
        )
    return request


def _document(content: bytes | bytearray | memoryview, most: int) -> InferenceRequest:
    if len(content) > SMALL:
        check_values(content, most)
    try:
        request = _decoder.decode(content)
    except msgspec.ValidationError as error:
        text = str(error)
        field = text.rpartition("`$")[2].rstrip("`").lstrip(".") if "`$" in text else ""
        raise RefusedError(400, Reason.NOT_A_REQUEST, field, text.partition(" - at")[0]) from error
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RefusedError(400, Reason.NOT_JSON, "", "the body is not valid JSON") from error
    if not request.inputs:
        raise RefusedError(422, Reason.MISSING_INPUT, "inputs", "must have at least one input")
    if isinstance(content, memoryview):
        content = bytes(content)
    if b"true" in content or b"false" in content:  # most requests have neither, so their values need no check
        tell_booleans(request.inputs)
    return request


class Encoded(msgspec.Struct, frozen=True):
    """A response's body, and the length of its JSON if binary tensors follow."""

    content: bytes
    json_length: int | None = None


def encode(rows: ValidatedRows, given: ServedPrediction) -> Encoded:
    """Encode a response."""
    shape = [rows.count, 1]
    outputs: list[dict[str, Any]] = []
    binary = b""
    for output in rows.outputs:
        is_score = output.name == SCORE
        values = given.prediction.scores if is_score else given.prediction.decisions
        made = {"name": output.name, "shape": shape, "datatype": "FP32" if is_score else "BOOL"}
        if output.binary:
            raw = values.tobytes()
            outputs.append({**made, "parameters": {"binary_data_size": len(raw)}})
            binary += raw
        else:
            outputs.append({**made, "data": values.tolist()})
    document: dict[str, Any] = {"model_name": given.model, "model_version": given.version}
    if rows.id is not None:
        document["id"] = rows.id
    document["parameters"] = parameters(rows, given)
    document["outputs"] = outputs
    content = _encoder.encode(document)
    return Encoded(content + binary, len(content)) if binary else Encoded(content)


class RestCodec:
    """Decoding of requests and encoding of responses, for one model."""

    def __init__(self, predictor: Predictor, timeout: float) -> None:
        self.timeout = timeout
        """Seconds until a request times out."""
        self._validator = predictor.validator
        self._most_values = max_values(len(predictor.validator.columns))
        self._heads: dict[tuple[str, str], bytes] = {}
        """Response headers by digest and arm."""

    def rows(
        self, headers: Mapping[bytes, bytes], body: bytes | bytearray, *, all_outputs: bool = False
    ) -> ValidatedRows:
        """Decode and check a request.

        Raises:
            RefusedError: the request is invalid.
        """
        content = plain(body, headers.get(ENCODING))
        request = decode(content, headers.get(JSON_LENGTH), self._most_values)
        return self._validator.rows(request, all_outputs=all_outputs)

    def reply(self, outcome: ServedPrediction | Exception, rows: ValidatedRows, *, routed: bool) -> Reply:
        """Return the response for an outcome."""
        try:
            if isinstance(outcome, Exception):
                raise outcome
            return self._encoded(rows, outcome)
        except RefusedError as error:
            return refused(error)
        except TimeoutError:
            return failed(504, Reason.DEADLINE_EXCEEDED, f"the request timed out after {self.timeout:g} s")
        except NoAnswerError:
            head = f"{INVALID_HEADER}: 1\r\n".encode() if routed else b""
            return failed(500, Reason.INVALID_SCORE, "the model returned an invalid score", head)
        except Exception as error:
            # Its message may contain values: log only its type.
            log.error("inference failed: %s", type(error).__name__)
            return failed(500, Reason.INTERNAL_ERROR, "the model failed")

    def head(self, model: str, version: str, digest: str, arm: str) -> bytes:
        """Return the head of a JSON response, which names the version that answered."""
        key = (digest, arm)
        if key not in self._heads:
            if len(self._heads) > 64:
                self._heads.clear()
            fields = {
                names.MODEL_HEADER: model,
                names.VERSION_HEADER: version,
                names.DIGEST_HEADER: digest,
                names.ARM_HEADER: arm,
            }
            self._heads[key] = JSON_HEAD + b"".join(f"{k}: {v}\r\n".encode() for k, v in fields.items())
        return self._heads[key]

    def _encoded(self, rows: ValidatedRows, given: ServedPrediction) -> Reply:
        encoded = encode(rows, given)
        head = self.head(given.model, given.version, given.digest, given.arm)
        if encoded.json_length is not None:
            head = head.replace(b"application/json", b"application/octet-stream")
            head += b"inference-header-content-length: %d\r\n" % encoded.json_length
        return Reply(200, head, encoded.content)
