"""No patient's value anywhere but in the request's memory: marked values are sent, and everything is searched."""

from __future__ import annotations

import pytest

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(300)]

MARK, AGE = "MARK7F3A", 41.837465
SCRIPT = """
import json, sys, urllib.error, urllib.request
MARK, AGE = sys.argv[1], float(sys.argv[2])
URL = "http://mortality:8080/v2/models/mortality/infer"
def ask(inputs):
    body = json.dumps({"inputs": inputs}).encode()
    try:
        return urllib.request.urlopen(urllib.request.Request(URL, body, {"content-type": "application/json"})).read().decode()
    except urllib.error.HTTPError as error:
        return error.read().decode()
def column(name, datatype, value):
    return {"name": name, "shape": [1, 1], "datatype": datatype, "data": [value]}
names = ("sex", "premi", "smstat", "diabetes", "highbp", "hichol", "angina", "stroke")
texts = [column(name, "BYTES", MARK) for name in names]
print(ask([column("age", "FP32", AGE), *texts]))
print(ask([column("age", "BYTES", MARK), *texts]))
print(ask([column("age", "FP32", AGE), column(MARK, "BYTES", "x")]))
print(ask([{"name": "age", "shape": [7, 1], "datatype": "FP32", "data": [AGE]}]))
"""


def test_marked_values_are_found_nowhere(ward, client):
    ward.version("v3", "v3")
    ward.wait_phase("v3", "Canary", "RolledBack")
    pods = ward.list("pods", "--selector", "modelward.io/model=mortality")
    said = ward.kubectl("exec", "client", "--", "python", "-c", SCRIPT, MARK, str(AGE))
    ward.wait_phase("v3", "RolledBack", seconds=180)
    found = {
        "answers": said,
        "objects": ward.kubectl("get", "mv,dm,tj,configmaps,events,pods,services", "--output", "json"),
    }
    for name in [p["metadata"]["name"] for p in pods if p["metadata"]["labels"]["modelward.io/modelversion"] == "v1"]:
        found[name] = ward.kubectl("logs", name, "--all-containers")
        metrics = (
            "import urllib.request; print(urllib.request.urlopen('http://localhost:8080/metrics').read().decode())"
        )
        found[f"metrics of {name}"] = ward.kubectl(
            "exec", name, "--container", "serving", "--", "python", "-c", metrics
        )
    found["operator"] = ward.kubectl("logs", "--selector", "app.kubernetes.io/component=operator", "--tail=-1")
    for place, text in found.items():
        assert MARK not in text, place
        assert str(AGE)[:6] not in text, place
