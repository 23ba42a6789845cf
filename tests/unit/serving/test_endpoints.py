"""The table of routes: each route is served, documented and authenticated."""

from __future__ import annotations

import json

import pytest

from modelward_serving.inference.dispatch import Inference
from modelward_serving.model import bundle
from modelward_serving.model.predictor import Predictor
from modelward_serving.observability.metrics import Metrics
from modelward_serving.rest.app import App
from modelward_serving.routing.challenger_client import Challengers
from modelward_serving.routing.lease import LeaseHolder
from modelward_serving.routing.router import Router
from tests.support import bundles


@pytest.fixture
async def app(tmp_path):
    predictor = Predictor(bundle.load(tmp_path, bundles.write(tmp_path)))
    metrics = Metrics(predictor.model, predictor.version, predictor.bundle.digest)
    router = Router(LeaseHolder(predictor.model, predictor.bundle.digest), Challengers(), predictor.model)

    async def nowhere(*_: object) -> None: ...

    return App(Inference(predictor, router, metrics), metrics, nowhere, 10.0)


async def answered(app, path, method="GET"):
    """The status and the body."""
    sent = []

    async def receive():
        return {"type": "http.request", "body": b""}

    async def send(message):
        sent.append(message)

    await app({"type": "http", "method": method, "path": path, "headers": []}, receive, send)
    return sent[0]["status"], sent[1]["body"]


async def test_every_route_has_an_entry_in_the_openapi_document(app):
    status, body = await answered(app, "/v2/openapi.json")
    assert status == 200
    paths = json.loads(body)["paths"]
    assert set(paths) == {route.path for route in app.routes}
    for route in app.routes:
        entry = paths[route.path][route.methods[0].lower()]
        assert {"summary", "operationId", "responses"} <= set(entry), route.path
        assert "200" in entry["responses"], route.path
        assert ("requestBody" in entry) == ("POST" in route.methods), route.path


def test_every_operation_has_a_name_of_its_own(app):
    names = [route.operation["operationId"] for route in app.routes]
    assert len(set(names)) == len(names)


def test_no_path_is_in_the_table_twice(app):
    paths = [path for route in app.routes for path in (route.path, *route.aliases)]
    assert len(set(paths)) == len(paths)


async def test_every_route_answers_by_its_methods_and_by_no_other(app):
    for route in app.routes:
        for path in (route.path, *route.aliases):
            for method in ("GET", "HEAD", "POST", "PUT"):
                status, _ = await answered(app, path, method)
                assert (status == 405) == (method not in route.methods), (path, method)


def test_only_these_paths_are_open_to_callers_without_a_token(app):
    """Inference is not: Inference.take() authenticates its callers, where a refusal is measured, too."""
    assert {route.path for route in app.routes if not route.needs_token} - {p.decode() for p in app.infer_paths} == {
        "/livez",
        "/readyz",
        "/metrics",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/openapi.json",
        "/v2/models/mortality",
        "/v2/models/mortality/ready",
        "/v2/models/mortality/versions/1.0.0",
        "/v2/models/mortality/versions/1.0.0/ready",
    }
