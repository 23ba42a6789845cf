"""Clients are authenticated in one place, before a request is decoded."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import modelward_serving
from modelward_serving.inference.dispatch import Call, Inference
from modelward_serving.model import bundle
from modelward_serving.model.predictor import Predictor
from modelward_serving.observability.metrics import Metrics
from modelward_serving.routing.challenger_client import Challengers
from modelward_serving.routing.lease import LeaseHolder
from modelward_serving.routing.router import Router
from modelward_serving.security.authentication import Authenticator, KeysInFile, TokenPolicy
from tests.support import bundles


class Recorded(Call):
    """Keeps what happens to it."""

    protocol = "rest"

    def __init__(self, headers):
        super().__init__(headers)
        self.was_read = False
        self.outcome = None

    def read(self):
        self.was_read = True
        raise ValueError

    def respond(self, outcome):
        self.outcome = outcome
        return 400

    def forward(self, context):
        raise NotImplementedError

    def remaining_timeout(self):
        return 1.0


@pytest.fixture(scope="module")
def predictor(tmp_path_factory):
    folder = tmp_path_factory.mktemp("bundle")
    return Predictor(bundle.load(folder, bundles.write(folder)))


async def taken(predictor, callers, slow=False):
    metrics = Metrics(predictor.model, predictor.version, predictor.bundle.digest)
    router = Router(LeaseHolder(predictor.model, predictor.bundle.digest), Challengers(), predictor.model)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(predictor.session, "slow", slow)
        inference = Inference(predictor, router, metrics, authenticator=callers)
    call = Recorded({})
    inference.take(call)
    for task in list(inference._tasks):
        await task
    return call


@pytest.mark.parametrize("slow", [False, True], ids=["on the event loop", "beside it"])
async def test_a_request_without_a_token_is_refused_before_it_is_read(predictor, tmp_path, slow):
    callers = Authenticator(TokenPolicy("https://issuer", ("modelward",)), KeysInFile(tmp_path / "none.json"))
    call = await taken(predictor, callers, slow)
    assert (call.outcome.reason, call.was_read) == ("NoToken", False)


async def test_where_no_token_is_needed_a_request_is_read(predictor):
    call = await taken(predictor, None)
    assert call.was_read


def test_nothing_but_inference_judges_callers():
    """REST, gRPC and BentoML ask Inference.authenticate(): a second check would be one to forget."""
    folder = Path(modelward_serving.__file__).parent
    users = [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*.py"))
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.ImportFrom) and node.module == "modelward_serving.security.authentication"
    ]
    assert sorted(set(users)) == ["__main__.py", "inference/dispatch.py", "server.py"]
