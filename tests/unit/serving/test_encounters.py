"""Counting by encounter: a patient who is scored repeatedly is one observation."""

from __future__ import annotations

import json
import tracemalloc
from math import log
from types import SimpleNamespace

import numpy as np
import pytest

from modelward_operator.domain.drift.detector import Detector, look
from modelward_serving.counting.encounters import LASTS, REMEMBERED, Encounters
from modelward_serving.inference.dispatch import ChampionResult, Inference
from modelward_serving.model import bundle
from modelward_serving.model.predictor import Predictor
from modelward_serving.observability.metrics import Metrics
from modelward_serving.rest import codec
from modelward_serving.routing.challenger_client import Challengers
from modelward_serving.routing.lease import LeaseHolder
from modelward_serving.routing.router import Router
from tests.support import bundles

HEADER = b"x-encounter-id"


def seen(encounters, *names):
    return [encounters.is_new({HEADER: name.encode()}) for name in names]


def test_the_first_request_of_an_encounter_is_new_and_no_other_is():
    assert seen(Encounters("X-Encounter-Id"), "a", "b", "a", "b", "c") == [True, True, False, False, True]


def test_a_request_without_the_header_is_always_new():
    encounters = Encounters("X-Encounter-Id")
    assert [encounters.is_new({}), encounters.is_new({}), len(encounters)] == [True, True, 0]


def test_an_encounter_is_forgotten_after_two_generations_without_a_request():
    now = [0.0]
    encounters = Encounters("X-Encounter-Id", lambda: now[0])
    told = []
    for now[0] in (0, LASTS, 2 * LASTS, 3 * LASTS):
        told += seen(encounters, "often")
    assert told == [True, False, False, False]
    assert seen(encounters, "once") == [True]
    for now[0] in (4 * LASTS, 5 * LASTS):
        seen(encounters, "another")
    assert seen(encounters, "once") == [True]


def test_what_is_remembered_is_bounded_and_holds_no_identifier():
    tracemalloc.start()
    encounters = Encounters("X-Encounter-Id")
    seen(encounters, *(f"patient-{n}" for n in range(3 * REMEMBERED)))
    memory, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(encounters) <= 2 * REMEMBERED
    assert memory < 10_000_000
    assert not any(b"patient" in hashed for hashed in encounters._now)


def test_another_process_remembers_by_other_hashes():
    one, other = Encounters("X-Encounter-Id"), Encounters("X-Encounter-Id")
    seen(one, "a")
    seen(other, "a")
    assert one._now.isdisjoint(other._now)


def is_called(seed: int, pods: int | None, windows: int = 240, copies: int = 1) -> bool:
    """Whether drift is called of patients like the reference, each scored four times an hour for three days."""
    rng = np.random.default_rng(seed)
    reference = tuple(map(int, rng.multinomial(1000, [0.1] * 10)))
    encounters = [Encounters("X-Encounter-Id") for _ in range(pods or 0)]
    stays, detector, arrived, waiting = [], Detector(), 0, np.zeros(10, dtype=int)
    for hour in range(windows):
        stays = [stay for stay in stays if stay[1] > hour]
        while len(stays) < 25:
            ends = hour + 72 if hour else int(rng.integers(1, 73))
            stays.append((f"e{arrived}", ends, int(rng.integers(10))))
            arrived += 1
        for name, _, cell in stays:
            for _ in range(4):
                if pods is None or encounters[rng.integers(pods)].is_new({HEADER: name.encode()}):
                    waiting[cell] += 1
        if waiting.sum() >= 100:
            detector, _ = look(detector, reference, tuple(map(int, waiting)), log(21 / 0.001), 0.1, 1000, copies=copies)
            waiting = np.zeros(10, dtype=int)
        if detector.drifting:
            return True
    return False


def test_patients_who_are_scored_again_and_again_are_no_drift_when_encounters_are_counted():
    assert sum(is_called(seed, None) for seed in range(8)) == 8, "by request"
    assert sum(is_called(seed, 1) for seed in range(8)) == 0


@pytest.mark.slow
def test_three_pods_count_an_encounter_up_to_three_times_and_the_operator_once():
    assert sum(is_called(seed, 3) for seed in range(40)) > 1, "taken for observations of their own"
    assert sum(is_called(seed, 3, copies=3) for seed in range(40)) == 0


def test_of_each_encounter_the_first_row_is_counted_and_of_other_requests_every_row(tmp_path):
    predictor = Predictor(bundle.load(tmp_path, bundles.write(tmp_path)))
    metrics = Metrics(predictor.model, predictor.version, predictor.bundle.digest)
    router = Router(LeaseHolder(predictor.model, predictor.bundle.digest), Challengers(), predictor.model)
    inference = Inference(predictor, router, metrics, encounters=Encounters("X-Encounter-Id"))
    tensors = [
        {"name": "age", "shape": [2, 1], "datatype": "FP32", "data": [30, 70]},
        {"name": "sex", "shape": [2, 1], "datatype": "BYTES", "data": ["f", "m"]},
    ]
    rows = predictor.validator.rows(codec.decode(json.dumps({"inputs": tensors}).encode()))
    own = ChampionResult(predictor.predict(rows), 0.0)
    for headers in ({HEADER: b"a"}, {HEADER: b"a"}, {HEADER: b"b"}, {}):
        call = SimpleNamespace(rows=rows, headers=headers, routed=False)
        inference._count(call, own)
    counts = predictor.profile.read()
    assert (counts.rows, sum(counts.features["age"]), sum(counts.features["sex"])) == (4, 4, 4)
    assert counts.features["sex"][:2] == (3, 1), "the first rows of a and b, and both of the last"
