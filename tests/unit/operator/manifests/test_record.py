"""The record as a ConfigMap: what is written is what is read, and small."""

from __future__ import annotations

import base64
import random

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward_api.bundle.documents import MAX_STRATA
from modelward_api.resources.modelversion import Analysis
from modelward_api.wire.exchange import PairedCounts, ProfileCounts
from modelward_operator.domain.core.record import DecisionRecord, Evidence, Ledger, ModelRecord, Quarantine
from modelward_operator.domain.evidence.ledger import MAX_FOLDED, MAX_GONE
from modelward_operator.manifests.record import LEDGER, RECORD, config_map, read, record_name

LIMIT = 1024 * 1024
"""Bytes that a ConfigMap may hold."""
digests = st.integers(0, 2**256 - 1).map(lambda number: f"sha256:{number:064x}")
counts = st.builds(PairedCounts, pairs=st.integers(0, 10**9), flips=st.integers(0, 10**6))
profiles = st.builds(
    ProfileCounts,
    rows=st.integers(0, 10**9),
    features=st.dictionaries(st.text(max_size=9), st.lists(st.integers(0, 10**6), max_size=4).map(tuple), max_size=3),
    strata=st.just({}) | st.just({"sex=f": {"score": (1, 0, 2)}}),
)
keys = st.text(st.characters(codec="utf-8"), max_size=20)
evidence = st.fixed_dictionaries(
    {"challenger": digests, "champion": digests | st.none(), "counts": counts, "analysis": st.just(Analysis())}
).map(lambda fields: Evidence(**fields))
decisions = st.fixed_dictionaries(
    {
        "time": st.just("2026-01-01T00:00:00Z"),
        "outcome": st.sampled_from(["promote", "rollback", "release"]),
        "model_version": st.just("v2"),
        "version": st.just("2.0.0"),
        "champion": st.sampled_from(["v1", None]),
        "reason": st.just("R"),
        "message": st.text(max_size=50),
        "evidence": evidence,
        "evidence_digest": digests,
    }
).map(lambda fields: DecisionRecord(**fields))
records = st.builds(
    ModelRecord,
    decisions=st.lists(decisions, max_size=2).map(tuple),
    quarantined=st.lists(
        st.builds(
            Quarantine,
            digest=digests,
            version=st.just("1.0.0"),
            reason=st.just("R"),
            message=st.text(max_size=50),
            time=st.just("2026-01-01T00:00:00Z"),
        ),
        max_size=3,
    ).map(tuple),
    ledger=st.builds(
        Ledger,
        paired=st.dictionaries(digests, st.dictionaries(keys, counts, max_size=3), max_size=2),
        strata=st.just({}) | st.just({"sha256:" + "a" * 64: {"c/i": {"sex=f": PairedCounts(pairs=3)}}}),
        profiles=st.dictionaries(digests, st.dictionaries(keys, profiles, max_size=3), max_size=2),
        windows=st.dictionaries(keys, profiles, max_size=2),
        folded=st.lists(keys, max_size=3).map(tuple),
    ),
)


@given(records)
@settings(suppress_health_check=[HealthCheck.too_slow])  # digests are long
def test_what_is_written_is_what_is_read(record):
    assert read(config_map("n", "m", record)) == record


@given(records)
@settings(suppress_health_check=[HealthCheck.too_slow])  # digests are long
def test_the_same_record_gives_the_same_bytes(record):
    again = ModelRecord.model_validate(record.to_json())
    assert config_map("n", "m", again) == config_map("n", "m", record)


def test_without_a_config_map_there_is_nothing_to_remember():
    assert read(None) == ModelRecord()


def test_an_emptied_config_map_remembers_nothing():
    assert read({"metadata": {"name": "m-modelward"}}) == ModelRecord()


def test_a_ledger_of_a_newer_operator_can_be_read():
    written = config_map("n", "m", ModelRecord())
    written["data"][RECORD] = '{"quarantined": [], "somethingNew": 1}'
    assert read(written) == ModelRecord()


@pytest.mark.parametrize(
    "change",
    [
        {"data": {RECORD: "{"}},
        {"data": {RECORD: "[]"}},
        {"data": {RECORD: '{"quarantined": [{"digest": "none"}]}'}},
        {"data": {RECORD: '{"quarantined": null}'}},
        {"binaryData": {LEDGER: "not base64!"}},
        {"binaryData": {LEDGER: base64.b64encode(b"not gzip").decode()}},
        {"binaryData": {LEDGER: config_map("n", "m", ModelRecord())["binaryData"][LEDGER][:20]}},
    ],
    ids=["no json", "no object", "no digest", "null", "no base64", "no gzip", "cut off"],
)
def test_what_is_no_record_is_refused_with_what_to_do(change):
    with pytest.raises(ValueError, match=r"ConfigMap m-modelward does not hold a record: restore it, or delete it"):
        read({**config_map("n", "m", ModelRecord()), **change})


PODS = 100
"""The most replicas of a version."""


def test_the_longest_ledger_that_can_come_about_fits_a_config_map():
    draw = random.Random(1)
    ages = [10 ** draw.uniform(3, 7) for _ in range(PODS + MAX_GONE + 1)]

    def cells():
        most = int(draw.choice(ages))
        return {f"feature_{n}": tuple(draw.randint(0, most) for _ in range(12)) for n in range(40)}

    names = [f"stratum_{n}" for n in range(MAX_STRATA)]

    def scores():
        return {name: {"score": tuple(draw.randint(0, 10**7) for _ in range(13))} for name in names}

    rows = {
        f"{n:032x}": ProfileCounts(rows=10**8, features=cells(), strata=scores()) for n in range(PODS + MAX_GONE + 1)
    }
    paired = {f"{n:016x}/{n:032x}": PairedCounts(pairs=draw.randint(0, 10**9)) for n in range(PODS + MAX_GONE + 1)}
    strata = {
        key: {name: PairedCounts(pairs=draw.randint(0, 10**9), flips=draw.randint(0, 10**6)) for name in names}
        for key in paired
    }
    folded = tuple(f"{draw.getrandbits(128):032x}" for _ in range(MAX_FOLDED))
    digest = "sha256:" + "a" * 64
    ledger = Ledger(paired={digest: paired}, strata={digest: strata}, profiles={digest: rows}, folded=folded)
    made = config_map("n", "m", ModelRecord(ledger=ledger))
    assert len(base64.b64decode(made["binaryData"][LEDGER])) < LIMIT / 2


def test_the_name_leaves_room():
    assert len(record_name("m" * 40)) <= 63
