"""What nobody would send: no crash, no 5xx, no value in an answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward_serving._generated import open_inference_pb2 as pb
from modelward_serving.errors import RefusedError
from modelward_serving.grpc import codec as messages
from modelward_serving.protocol.tensors import DTYPES
from modelward_serving.rest import codec
from modelward_serving.validation.request import RequestValidator
from tests.support import bundles
from tests.support.servers import MARK, launching

pytestmark = pytest.mark.slow
STEADY = settings(max_examples=30, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
THOROUGH = settings(STEADY, max_examples=300)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    with launching(tmp_path_factory.mktemp("server")) as start:
        yield start(explainer=bundles.explains())


def test_what_the_document_says_is_what_is_answered(server):
    import schemathesis  # takes seconds, in each test process
    from schemathesis.checks import not_a_server_error
    from schemathesis.specs.openapi import checks as conforms

    checks = (
        not_a_server_error,
        conforms.status_code_conformance,
        conforms.content_type_conformance,
        conforms.response_schema_conformance,
    )
    api = schemathesis.openapi.from_url(f"http://127.0.0.1:{server.port}/v2/openapi.json")
    operations = [found.ok() for found in api.get_all_operations()]
    assert len(operations) == 14, "the document's own path is not asked"
    for operation in operations:

        @STEADY
        @given(case=operation.as_strategy())
        def ask(case):
            case.call_and_validate(checks=checks)

        ask()


scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.just(MARK)
anything = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner)
)
tensors = st.fixed_dictionaries(
    {
        "name": st.sampled_from(["age", "sex", "x", MARK]),
        "shape": st.lists(st.integers(-2, 4), max_size=3) | anything,
        "datatype": st.sampled_from([*DTYPES, "BYTES", MARK]),
    },
    optional={"data": st.lists(scalars, max_size=4) | anything, "parameters": st.dictionaries(st.text(), scalars)},
)
requests = st.fixed_dictionaries(
    {"inputs": st.lists(tensors, max_size=3) | anything},
    optional={"id": scalars, "outputs": anything, "parameters": anything},
)
VALIDATOR = RequestValidator(bundles.signature())


def refused_or_checked(decode, content):
    try:
        VALIDATOR.rows(decode(content))
    except RefusedError as error:
        assert 400 <= error.status < 500
        assert MARK.encode() not in error.body()


@THOROUGH
@given(requests)
def test_json_is_checked_or_refused(document):
    refused_or_checked(codec.decode, json.dumps(document).encode())


@THOROUGH
@given(requests, st.binary(max_size=40), st.integers(-1, 400))
def test_json_with_bytes_behind_it_is_checked_or_refused(document, behind, length):
    content = json.dumps(document).encode() + behind
    refused_or_checked(lambda body: codec.decode(body, str(length).encode()), content)


@THOROUGH
@given(st.binary(max_size=300))
def test_any_bytes_are_checked_or_refused(content):
    refused_or_checked(codec.decode, content)
    refused_or_checked(lambda body: messages.decode(messages.parse(body)), content)


@st.composite
def calls(draw):
    message = pb.ModelInferRequest(model_name="mortality")
    for name in draw(st.lists(st.sampled_from(["age", "sex", MARK]), max_size=3)):
        shape = draw(st.lists(st.integers(-2, 4), max_size=3))
        tensor = message.inputs.add(name=name, datatype=draw(st.sampled_from([*DTYPES, "BYTES", MARK])), shape=shape)
        tensor.contents.fp32_contents.extend(draw(st.lists(st.floats(width=32), max_size=4)))
        tensor.contents.bytes_contents.extend(
            draw(st.lists(st.binary(max_size=4) | st.just(MARK.encode()), max_size=4))
        )
    message.raw_input_contents.extend(draw(st.lists(st.binary(max_size=20), max_size=3)))
    return message.SerializeToString()


@THOROUGH
@given(calls())
def test_calls_are_checked_or_refused(content):
    refused_or_checked(lambda body: messages.decode(messages.parse(body)), content)
