"""Data as two hospitals have them, on the cluster: what the job makes of them, and what it says it did."""

from __future__ import annotations

import json

import numpy as np
import pytest

from examples.clinic import STORE

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(420)]

ROWS = 400
SPEC = {
    "model": "fever",
    "version": "1.0.0",
    "data": {
        "sources": [
            {"uri": "store://data/sites/north-*.csv", "site": "north"},
            {
                "uri": "store://data/sites/south.csv",
                "site": "south",
                "dialect": {
                    "separator": ";",
                    "decimal": ",",
                    "encoding": "windows-1252",
                    "dateFormats": ["%d.%m.%Y"],
                },
            },
        ],
        "columns": [
            {"name": "admitted", "kind": "timestamp", "role": "time"},
            {"name": "site", "kind": "categorical", "role": "site", "allowedValues": ["north", "south"]},
            {"name": "temperature", "kind": "numeric", "unit": "Cel", "range": {"minimum": 30, "maximum": 44}},
            {
                "name": "crp",
                "kind": "numeric",
                "unit": "mg/L",
                "range": {"minimum": 0, "maximum": 500},
                "censored": "half",
            },
            {"name": "sex", "kind": "categorical", "allowedValues": ["female", "male"]},
            {"name": "died", "kind": "boolean", "role": "label"},
        ],
        "label": {"column": "died", "positive": "true"},
        "sites": [
            {"name": "north"},
            {
                "name": "south",
                "columns": [
                    {"name": "temperature", "source": "Körpertemperatur [°F]", "unit": "[degF]"},
                    {"name": "crp", "unit": "mg/dL"},
                    {"name": "sex", "source": "Geschlecht", "values": {"w": "female", "m": "male"}},
                ],
            },
        ],
    },
    "split": {"method": "time", "testFraction": 0.3},
    "evaluation": {"bootstrap": 50},
    "output": {"uri": "store://models"},
}


def files() -> dict[str, bytes]:
    """Three files of two sites: the same patients, written in two ways."""
    draw = np.random.default_rng(5)
    day = np.datetime64("2023-01-01") + np.sort(draw.integers(0, 700, 2 * ROWS))
    heat, crp = draw.normal(37.5, 0.9, 2 * ROWS), draw.lognormal(2, 1, 2 * ROWS)
    sex = draw.choice(["female", "male"], 2 * ROWS)
    died = draw.random(2 * ROWS) < 1 / (1 + np.exp(2 - (heat - 37.5)))
    north, south = ["admitted,temperature,crp,sex,died"], ["admitted;Körpertemperatur [°F];crp;Geschlecht;died"]
    for i in range(2 * ROWS):
        outcome, date = str(bool(died[i])).lower(), str(day[i])
        if i % 2:
            level = "<0.5" if crp[i] < 1 else f"{crp[i]:.1f}"
            north.append(f"{date},{heat[i]:.1f},{level},{sex[i]},{outcome}")
        else:
            year, month, of_month = date.split("-")
            cells = [f"{heat[i] * 9 / 5 + 32:.1f}", f"{crp[i] / 10:.2f}"]
            numbers = ";".join(cell.replace(".", ",") for cell in cells)
            letter = "w" if sex[i] == "female" else "m"
            south.append(f"{of_month}.{month}.{year};{numbers};{letter};{outcome}")
    half = len(north) // 2
    return {
        "north-1.csv": "\n".join([*north[:half], ""]).encode(),
        "north-2.csv": "\n".join([north[0], *north[half:], ""]).encode(),
        "south.csv": "\n".join([*south, ""]).encode("windows-1252"),
    }


@pytest.fixture
def sites(trained):
    for name, content in files().items():
        trained.put_bytes(f"data/sites/{name}", content)
    yield trained
    trained.kubectl("delete", "trainingjob", "fever", "fever-as-it-comes", "--ignore-not-found")
    trained.kubectl("exec", "store", "--", "sh", "-c", f"rm -rf {STORE}/data/sites {STORE}/models/fever")


def apply(ward, name, spec):
    ward.apply({"apiVersion": "modelward.io/v1alpha1", "kind": "TrainingJob", "metadata": {"name": name}, "spec": spec})

    def over():
        status = ward.status("trainingjob", name)
        return status if status.get("phase") in ("Complete", "Failed") else None

    return ward.wait(f"the end of {name}", over, 240)


def test_two_sites_that_write_differently_become_one_table_and_a_report(sites):
    status = apply(sites, "fever", SPEC)
    assert status["phase"] == "Complete", status
    page = status["report"]
    assert page.startswith("store://models/fever/1.0.0/fever-validation")
    path = page.removeprefix("store://")
    assert b"The data were accepted" in sites.take(path)
    report = json.loads(sites.take(path.replace(".html", ".json")))
    assert {entry["site"]: entry["rows"] for entry in report["rows"]} == {"north": ROWS, "south": ROWS}
    converted = {
        (rule["column"], rule["rule"]): {entry["site"]: entry.get("rows") for entry in rule["sites"]}
        for rule in report["rules"]
        if rule["effect"] == "changed"
    }
    assert converted["temperature", "unit"] == {"south": ROWS}
    assert converted["crp", "unit"] == {"south": ROWS}
    assert converted["sex", "values"] == {"south": ROWS}
    assert "north" in converted["crp", "censored"]


def test_a_site_in_another_unit_than_declared_is_refused_or_told_and_never_silent(sites):
    spec = json.loads(json.dumps(SPEC))
    (_, south) = spec["data"]["sites"]
    del south["columns"][0]["unit"]
    status = apply(sites, "fever-as-it-comes", spec)
    told = [finding for finding in status["findings"] if finding["code"] == "SuspectedUnit"]
    assert [(finding["site"], "[degF]" in finding["message"]) for finding in told] == [("south", True)]
