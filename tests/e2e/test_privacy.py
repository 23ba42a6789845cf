"""No patient's value anywhere but in the request's memory: marked values are sent, and everything is searched."""

from __future__ import annotations

import io
import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from examples.clinic import MANIFESTS, STORE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

MARK, AGE = "MARK7F3A", 41.837465
OBJECTS = "mv,dm,tj,sb,configmaps,controllerrevisions,events,pods,jobs,services,deployments"
SCRIPT = """
import json, pickle, sys, urllib.error, urllib.request
MARK, AGE = sys.argv[1], float(sys.argv[2])
BASE = "http://mortality:8080"
def send(path, body=None, **headers):
    headers = {"content-type": "application/json"} | {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return urllib.request.urlopen(urllib.request.Request(BASE + path, body, headers), timeout=60).read().decode()
    except urllib.error.HTTPError as error:
        return str(error.code) + error.read().decode() + str(error.headers)
def ask(inputs, **more):
    return send("/v2/models/mortality/infer", json.dumps({"inputs": inputs, **more}).encode())
def column(name, datatype, value):
    return {"name": name, "shape": [1, 1], "datatype": datatype, "data": [value]}
names = ("sex", "premi", "smstat", "diabetes", "highbp", "hichol", "angina", "stroke")
texts = [column(name, "BYTES", MARK) for name in names]
print(ask([column("age", "FP32", AGE), *texts]))
print(ask([column("age", "BYTES", MARK), *texts]))
print(ask([column("age", "FP32", AGE), column(MARK, "BYTES", "x")]))
print(ask([{"name": "age", "shape": [7, 1], "datatype": "FP32", "data": [AGE]}]))
# Keys of documents, which a clumsy caller fills with what belongs into values.
print(ask([{**column("age", "FP32", AGE), MARK: MARK, "parameters": {MARK: MARK}}, *texts], **{MARK: MARK}))
print(ask([{MARK: MARK}], parameters={MARK: MARK}, outputs=[{"name": MARK}]))
print(send("/v2/models/mortality/infer", (MARK + '{"inputs": ' + MARK).encode()))
print(send("/v2/models/mortality/explain", json.dumps({MARK: [MARK]}).encode()))
# BentoML's own paths, in all ways in which its clients send.
parts = f'--b\\r\\ncontent-disposition: form-data; name="{MARK}"; filename="{MARK}.csv"\\r\\n\\r\\n{MARK}\\r\\n--b--\\r\\n'
form = "multipart/form-data; boundary=b"
for path in ("/predict", "/signature", "/schema.json", "/" + MARK, "/predict?name=" + MARK):
    print(path == "/predict", send(path, MARK.encode()))
    print(send(path, json.dumps({MARK: {MARK: MARK}}).encode()))
    print(send(path, json.dumps({"inputs": {"age": [AGE], MARK: [MARK]}}).encode()))
    print(send(path, json.dumps({"inputs": {"age": [MARK], **{name: [MARK] for name in names}}}).encode()))
    print(send(path, parts.encode(), content_type=form))
    print(send(path, pickle.dumps({MARK: MARK}), content_type="application/vnd.bentoml+pickle"))
    print(send(path, MARK.encode(), content_type=MARK, x_patient=MARK, traceparent=MARK, x_request_id=MARK))
    print(send(path, MARK.encode(), content_encoding=MARK))
    print(send(path, x_patient=MARK))
"""
METRICS = "import urllib.request; print(urllib.request.urlopen('http://localhost:{}/metrics').read().decode())"


def parquet(table):
    buffer = io.BytesIO()
    pq.write_table(table, buffer)
    return buffer.getvalue()


WHOLE = parquet(pa.table({"age": [60.0] * 80, "sex": [MARK] * 80}))
FILES = {
    "headless-csv": f"{MARK},f,60,live\n{AGE},m,71,dead\n",
    "marked-csv": f"age,sex,{MARK},outcome,yronset\n60,{MARK},{MARK},{MARK},85\n{MARK},{MARK},{MARK},{MARK},{MARK}\n",
    "ragged-csv": f'age,sex,outcome,yronset\n60,f,live,85\n{MARK}\n{MARK},{MARK},{MARK},{MARK},{MARK}\n"{MARK}',
    "sql-csv": f"SELECT {MARK} FROM {MARK} WHERE age = {AGE};\n",
    "torn-parquet": WHOLE[:-20] + MARK.encode(),
    "other-parquet": parquet(pa.table({MARK: [AGE] * 80, "age": [MARK] * 80})),
}
"""By the names of the objects that read them. Their own file names hold the mark, too."""


def test_marked_values_of_requests_are_found_nowhere(clinic, client):
    clinic.version("v3", "v3")
    clinic.wait_phase("v3", "Canary", "RolledBack")
    said = clinic.kubectl("exec", "client", "--", "python", "-c", SCRIPT, MARK, str(AGE))
    assert '"reason"' in said
    pods = clinic.list("pods", "--selector", "modelward.io/model=mortality")
    found = {f"logs of {pod}": logs for pod, logs in logs_of(clinic, pods).items()}
    clinic.wait_phase("v3", "RolledBack", seconds=180)
    is_nowhere(clinic, {"answers": said, **found})


def test_marked_values_of_files_are_found_nowhere(clinic, champion):
    for name, content in FILES.items():
        path = f"data/{name}/{MARK}.{name.rpartition('-')[2]}"
        clinic.put_bytes(path, content if isinstance(content, bytes) else content.encode())
        clinic.kubectl("exec", "store", "--", "sh", "-c", f"cp {STORE}/{path} {STORE}/data/{name}.data")
    clinic.apply(*(job(name) for name in FILES), *(batch(name) for name in FILES))
    try:
        for kind in ("trainingjob", "scorebatch"):
            for name in FILES:
                status = clinic.wait(f"the end of {kind} {name}", lambda k=kind, n=name: ended(clinic, k, n), 300)
                assert status["phase"] == "Failed", (kind, name, status)
                assert status["conditions"], status
        written = clinic.kubectl("exec", "store", "--", "sh", "-c", f"cd {STORE} && ls -R scores models")
        pods = clinic.list("pods", "--selector", "app.kubernetes.io/component in (training, batch)")
        logs = logs_of(clinic, pods)
        assert len(logs) >= 2 * len(FILES)
        is_nowhere(clinic, {"names of files": written, **logs})
    finally:
        clinic.kubectl("delete", "tj,sb", *FILES, "--ignore-not-found")
        clinic.kubectl("exec", "store", "--", "sh", "-c", "".join(f"rm -r {STORE}/data/{name}*; " for name in FILES))


def job(name):
    """A TrainingJob of one of the files; its address is the file's other name, as the spec repeats it."""
    found = yaml.safe_load((MANIFESTS / "trainingjob-v2.yaml").read_text())
    found["metadata"]["name"] = name
    source = {"uri": f"store://data/{name}.data", "format": name.rpartition("-")[2]}
    found["spec"]["data"]["sources"] = [source]
    found["spec"] |= {"model": "marked", "promote": None, "backoffLimit": 0}
    return found


def batch(name):
    """A ScoreBatch of a folder with one of the files."""
    form = name.rpartition("-")[2]
    spec = {
        "model": "mortality",
        "input": {"uri": f"store://data/{name}", "format": form},
        "output": {"uri": f"store://scores/{name}"},
        "onInvalidRow": "fail",
        "backoffLimit": 0,
        "resources": {"requests": {"cpu": "50m", "memory": "128Mi"}},
    }
    return {"apiVersion": "modelward.io/v1alpha1", "kind": "ScoreBatch", "metadata": {"name": name}, "spec": spec}


def ended(clinic, kind, name):
    status = clinic.status(kind, name)
    return status if status.get("phase") in ("Complete", "Failed") else None


def logs_of(clinic, pods):
    """All containers', of what has not gone meanwhile."""
    names = [pod["metadata"]["name"] for pod in pods]
    found = {name: clinic.kubectl("logs", name, "--all-containers", "--ignore-errors") for name in names}
    return {name: text for name, text in found.items() if text.strip()}


def is_nowhere(clinic, found):
    """Neither the mark nor the number is in these texts, nor in any object, log or metric."""
    found["objects"] = clinic.kubectl("get", OBJECTS, "--output", "json")
    found["operator"] = clinic.kubectl("logs", "--selector", "app.kubernetes.io/component=operator", "--tail=-1")
    serving = clinic.list("pods", "--selector", "modelward.io/modelversion=v1")
    operators = clinic.list("pods", "--selector", "app.kubernetes.io/component=operator")
    found |= {f"logs of {name}": logs for name, logs in logs_of(clinic, serving).items()}
    for pods, container, port in ((serving, "serving", 8080), (operators, "operator", 8080)):
        for name in (pod["metadata"]["name"] for pod in pods):
            words = ("--container", container, "--", "python", "-c", METRICS.format(port))
            found[f"metrics of {name}"] = clinic.kubectl("exec", name, *words)
    for place, text in found.items():
        assert MARK not in text, (place, json.dumps(text[max(text.find(MARK) - 500, 0) :][:1000]))
        assert str(AGE)[:6] not in text, place
