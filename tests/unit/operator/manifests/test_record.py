"""The record as a ConfigMap: it survives a round trip, and is small."""

from __future__ import annotations

import base64
import gzip
import json
import random
import tracemalloc
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from modelward_api.bundle.documents import MAX_STRATA
from modelward_api.resources.modelversion import Analysis
from modelward_api.wire.exchange import PairedCounts, ProfileCounts
from modelward_operator.domain.core.record import DecisionRecord, Evidence, Ledger, ModelRecord, Quarantine
from modelward_operator.domain.core.sealing import SealingKey, seal
from modelward_operator.domain.evidence.ledger import MAX_FOLDED, MAX_GONE
from modelward_operator.manifests.keys import read_record_key, record_secret
from modelward_operator.manifests.record import LEDGER, RECORD, Kept, config_map, read, record_name
from tests.support.builders import KEY

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
    assert read(config_map("n", "m", record, KEY), "n", "m", KEY) == Kept(record)


@given(records)
@settings(suppress_health_check=[HealthCheck.too_slow])  # digests are long
def test_the_same_record_gives_the_same_bytes(record):
    again = ModelRecord.model_validate(record.to_json())
    assert config_map("n", "m", again, KEY) == config_map("n", "m", record, KEY)


def test_without_a_config_map_there_is_nothing_to_remember():
    assert read(None, "n", "m", KEY) == Kept(ModelRecord())


def test_an_emptied_config_map_remembers_nothing():
    assert read({"metadata": {"name": "m-modelward"}}, "n", "m", KEY) == Kept(ModelRecord())


def test_a_ledger_of_a_newer_operator_can_be_read():
    written = config_map("n", "m", ModelRecord(), KEY)
    written["data"][RECORD] = '{"quarantined": [], "somethingNew": 1}'
    assert read(written, "n", "m", KEY) == Kept(ModelRecord())


@pytest.mark.parametrize(
    "change",
    [
        {"data": {RECORD: "{"}},
        {"data": {RECORD: "[]"}},
        {"data": {RECORD: '{"quarantined": [{"digest": "none"}]}'}},
        {"data": {RECORD: '{"quarantined": null}'}},
    ],
    ids=["no json", "no object", "no digest", "null"],
)
def test_what_is_no_record_is_refused_with_what_to_do(change):
    with pytest.raises(ValueError, match=r"ConfigMap m-modelward does not hold a record: restore it, or delete it"):
        read({**config_map("n", "m", ModelRecord(), KEY), **change}, "n", "m", KEY)


COUNTED = Ledger(
    paired={"sha256:" + "a" * 64: {"c/i": PairedCounts(pairs=73, flips=3)}},
    strata={"sha256:" + "a" * 64: {"c/i": {"sex=f": PairedCounts(pairs=7, flips=3)}}},
)
REMEMBERED = ModelRecord(
    quarantined=(
        Quarantine(digest="sha256:" + "b" * 64, version="1.0.0", reason="R", message="", time="2026-01-01T00:00:00Z"),
    ),
    ledger=COUNTED,
)
ANOTHER_KEY = SealingKey(bytes(range(1, 65)))


def packed(record: ModelRecord = REMEMBERED) -> bytes:
    return base64.b64decode(config_map("n", "m", record, KEY)["binaryData"][LEDGER])


def with_ledger(written: bytes | str) -> dict:
    text = written if isinstance(written, str) else base64.b64encode(written).decode()
    return {**config_map("n", "m", REMEMBERED, KEY), "binaryData": {LEDGER: text}}


def test_who_reads_the_config_map_reads_no_count():
    written = config_map("n", "m", REMEMBERED, KEY)
    for text in (json.dumps(written).encode(), packed()):
        assert b"sex=f" not in text
        assert b"pairs" not in text
    with pytest.raises(gzip.BadGzipFile):
        gzip.decompress(packed())


def test_the_length_of_what_is_written_tells_no_digit_of_a_count():
    lengths = set()
    for pairs in (1, 9, 10, 99, 100, 12345, 10**9):
        counts = {"sha256:" + "a" * 64: {"c/i": PairedCounts(pairs=pairs, flips=pairs // 3)}}
        lengths.add(len(packed(ModelRecord(ledger=Ledger(paired=counts)))))
    assert len(lengths) == 1


def test_counts_that_an_operator_before_sealing_wrote_are_read_and_are_to_be_sealed():
    plain = gzip.compress(json.dumps(COUNTED.to_json()).encode())
    assert read(with_ledger(plain), "n", "m", replace(KEY, reads_plain=True)) == Kept(REMEMBERED, sealed=False)


def test_plain_counts_are_somebody_elses_once_the_key_was_there():
    plain = gzip.compress(json.dumps(COUNTED.to_json()).encode())
    found = read(with_ledger(plain), "n", "m", KEY)
    assert found.record.ledger == Ledger()
    assert "cannot be opened" in found.lost


@pytest.mark.parametrize("content", [b" " * 100 * 2**20 + b"{}", b"[" * 30 * 2**20], ids=["blanks", "brackets"])
def test_counts_that_would_take_the_operators_memory_are_not_unpacked(content):
    packed_content = gzip.compress(content, compresslevel=9)
    assert len(packed_content) < 2**20
    tracemalloc.start()
    try:
        found = read(with_ledger(packed_content), "n", "m", replace(KEY, reads_plain=True))
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert "cannot be opened" in found.lost
    assert peak < 64 * 2**20


@pytest.mark.parametrize(
    "counts", [{"pairs": -1}, {"pairs": 10**400}, {"flips": 2**60}, {"slowerChallenger": [1]}, {"higherChampion": []}]
)
def test_counts_that_no_pod_can_have_made_are_lost(counts):
    ledger = {"paired": {"sha256:" + "a" * 64: {"c/i": counts}}}
    written = seal(KEY, "n", "m", gzip.compress(json.dumps(ledger).encode()))
    assert "cannot be opened" in read(with_ledger(written), "n", "m", KEY).lost


def test_without_the_key_quarantine_is_read_and_counts_are_left_out():
    found = read(config_map("n", "m", REMEMBERED, KEY), "n", "m", None)
    assert found == Kept(REMEMBERED.model_copy(update={"ledger": Ledger()}))


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("not base64!", "cannot be opened"),
        (b"neither sealed nor gzip", "cannot be opened"),
        (packed()[:200], "cannot be opened"),
        (packed()[:-1] + bytes([packed()[-1] ^ 1]), "cannot be opened"),
        (packed()[:7], "no longer in the operator's Secret"),
        (b"\x1f\x8bcut off", "cannot be opened"),
        (seal(KEY, "n", "another", gzip.compress(b"{}")), "cannot be opened"),
        (seal(KEY, "another", "m", gzip.compress(b"{}")), "cannot be opened"),
        (seal(KEY, "n", "m", gzip.compress(b"[]")), "cannot be opened"),
        (seal(KEY, "n", "m", b"no gzip"), "cannot be opened"),
        (seal(ANOTHER_KEY, "n", "m", gzip.compress(b"{}")), "no longer in the operator's Secret"),
    ],
    ids=["text", "bytes", "cut off", "a bit", "a head", "plain", "model", "namespace", "list", "no gzip", "key"],
)
def test_counts_that_cannot_be_opened_are_lost_and_nothing_else_is(written, why):
    found = read(with_ledger(written), "n", "m", KEY)
    assert found.record == REMEMBERED.model_copy(update={"ledger": Ledger()})
    assert not found.sealed
    assert why in found.lost
    assert found.lost.endswith(
        "Evidence starts anew from what living pods have counted; quarantine and decisions are kept"
    )


def test_a_key_is_not_told():
    assert repr(KEY) == "SealingKey()"
    with pytest.raises(ValueError, match="a key has 64 bytes"):
        SealingKey(b"short")
    assert read_record_key(record_secret("modelward", KEY)) == KEY
    with pytest.raises(ValueError, match="Secret modelward-record-key holds no key: restore it, or delete it"):
        read_record_key({"data": {"key": "c2hvcnQ="}})


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
    made = config_map("n", "m", ModelRecord(ledger=ledger), KEY)
    assert len(base64.b64decode(made["binaryData"][LEDGER])) < LIMIT / 2


def test_the_name_leaves_room():
    assert len(record_name("m" * 40)) <= 63
