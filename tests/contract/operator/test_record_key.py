"""The key that exact counts are sealed with, against a real API server: made once, kept, lost, and lost on nobody else."""

from __future__ import annotations

import asyncio
import base64
import gzip
import json
from dataclasses import replace

import pytest

from modelward_api.wire.exchange import PairedCounts
from modelward_operator.domain.core.sealing import SealingKey
from modelward_operator.domain.evidence import ledger
from modelward_operator.domain.rollout.decision import Decision
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.kube.gateway import GatewayError
from modelward_operator.engine.reconcile import record_key
from modelward_operator.engine.reconcile.record_key import Keeper
from modelward_operator.manifests import keys
from modelward_operator.manifests import record as records
from modelward_operator.manifests.record import LEDGER
from tests.contract.operator.test_reconcile import RECORD, champion, harness  # noqa: F401
from tests.support.builders import KEY, digest
from tests.support.harness import MODEL

ANOTHER = SealingKey(bytes(range(1, 65)))
COUNTS = PairedCounts(pairs=40, compared=40, flips=2)


def remember(observation, now):
    return Decision({}, observation.record, {}, None)


class Remember:
    """Decides nothing, and tells what it saw."""

    def __init__(self) -> None:
        self.seen = []

    def __call__(self, observation, now):
        self.seen.append(observation)
        return remember(observation, now)

    def counts(self) -> PairedCounts:
        return ledger.paired_totals(self.seen[-1].record.ledger, digest("2"), digest("1"))


async def counted(harness):  # noqa: F811
    """A record with counts of a pod that has told all it knows, and has started anew."""
    await harness.version("v1")
    await harness.say(api.MODEL_VERSIONS, "v1", {"phase": "Champion"})
    pod = await harness.pod("v1")
    pod.count("v2", **COUNTS.model_dump(include={"pairs", "compared", "flips"}))
    await harness.reconciler(remember)(harness.key)
    pod.evidence = ()
    harness.gateway.writes()
    return pod


async def kept(harness, key):  # noqa: F811
    return records.read(await harness.get(api.CONFIG_MAPS, RECORD), harness.namespace, MODEL, key)


async def rewrite(harness, written: bytes):  # noqa: F811
    change = {"binaryData": {LEDGER: base64.b64encode(written).decode()}}
    await harness.gateway.patch(api.CONFIG_MAPS, harness.namespace, RECORD, change)
    harness.gateway.writes()


async def test_operators_that_begin_at_once_have_one_key(harness):  # noqa: F811
    begun = await asyncio.gather(*(record_key.begin(harness.gateway, harness.namespace) for _ in range(5)))
    secret = await harness.get(api.SECRETS, keys.RECORD_SECRET)
    assert {keeper.key for keeper in begun} == {keys.read_record_key(secret)}
    assert await record_key.begin(harness.gateway, harness.namespace) != record_key.new_key()


async def test_a_secret_that_is_deleted_is_put_back_and_one_that_is_restored_is_taken(harness):  # noqa: F811
    keeper = await record_key.begin(harness.gateway, harness.namespace)
    before = keeper.key
    await harness.gateway._call("DELETE", f"/api/v1/namespaces/{harness.namespace}/secrets/{keys.RECORD_SECRET}")
    await record_key.keep(harness.gateway, harness.namespace, keeper)
    assert keys.read_record_key(await harness.get(api.SECRETS, keys.RECORD_SECRET)) == keeper.key == before
    data = keys.record_secret(harness.namespace, ANOTHER)["data"]
    await harness.gateway.patch(api.SECRETS, harness.namespace, keys.RECORD_SECRET, {"data": data})
    await record_key.keep(harness.gateway, harness.namespace, keeper)
    assert keeper.key == ANOTHER


@pytest.mark.parametrize("data", [{}, {"key": ""}, {"key": "c2hvcnQ="}], ids=["none", "empty", "short"])
async def test_a_secret_without_a_key_stops_nothing_says_what_to_do_and_is_not_overwritten(harness, data, caplog):  # noqa: F811
    await harness.gateway.create(api.SECRETS, {**keys.record_secret(harness.namespace, KEY), "data": data})
    keeper = await record_key.begin(harness.gateway, harness.namespace)
    assert "Secret modelward-record-key holds no key: restore it, or delete it" in caplog.text
    with pytest.raises(GatewayError, match="holds no key"):
        await record_key.keep(harness.gateway, harness.namespace, keeper)
    assert ((await harness.get(api.SECRETS, keys.RECORD_SECRET)).get("data") or {}) == data
    assert not keeper.key.reads_plain


async def test_only_the_operator_that_makes_the_key_takes_plain_counts_for_an_earlier_releases(harness):  # noqa: F811
    made, taken = [await record_key.begin(harness.gateway, harness.namespace) for _ in range(2)]
    assert made.key == taken.key
    assert (made.key.reads_plain, taken.key.reads_plain) == (True, False)


async def test_a_forged_record_is_no_evidence_and_its_loss_is_told(harness):  # noqa: F811
    await counted(harness)
    forged = json.dumps((await kept(harness, KEY)).record.ledger.to_json()).encode()
    await rewrite(harness, gzip.compress(forged))
    script = Remember()
    await harness.reconciler(script, epoch=2)(harness.key)
    assert script.counts() == PairedCounts()
    assert "cannot be opened" in script.seen[-1].lost


async def test_what_is_sealed_is_written_once_and_no_more_while_nothing_is_counted(harness):  # noqa: F811
    await counted(harness)
    written = await harness.get(api.CONFIG_MAPS, RECORD)
    for epoch in (2, 3):
        operate, clock = harness.reconciler(remember, epoch=epoch), [1000.0]
        operate.monotonic = lambda clock=clock: clock[0]
        for _ in range(3):
            await operate(harness.key)
            clock[0] += 100
    assert harness.gateway.writes() == []
    assert (await harness.get(api.CONFIG_MAPS, RECORD)) == written


async def test_counts_that_an_earlier_operator_wrote_plain_are_read_once_and_sealed(harness):  # noqa: F811
    await counted(harness)
    plain = json.dumps((await kept(harness, KEY)).record.ledger.to_json()).encode()
    await rewrite(harness, gzip.compress(plain))
    script = Remember()
    operate = harness.reconciler(script, epoch=2, record_key=Keeper(replace(KEY, reads_plain=True)))
    await operate(harness.key)
    assert script.counts() == COUNTS
    assert script.seen[-1].lost is None
    assert harness.gateway.writes() == [f"PATCH configmaps {RECORD}"]
    assert (await kept(harness, KEY)).sealed
    await operate(harness.key)
    assert harness.gateway.writes() == []


async def test_with_another_key_evidence_starts_anew_and_says_so(harness):  # noqa: F811
    await counted(harness)
    script = Remember()
    operate = harness.reconciler(script, epoch=2, record_key=Keeper(ANOTHER))
    await operate(harness.key)
    assert script.counts() == PairedCounts()
    assert "sealed with a key that is no longer in the operator's Secret" in script.seen[-1].lost
    assert (await kept(harness, ANOTHER)).sealed
    await operate(harness.key)
    assert script.seen[-1].lost is None, "it is told once; a condition remembers it"


async def test_a_record_of_another_model_is_no_evidence(harness):  # noqa: F811
    await counted(harness)
    elsewhere = records.config_map(harness.namespace, "another", (await kept(harness, KEY)).record, KEY)
    await rewrite(harness, base64.b64decode(elsewhere["binaryData"][LEDGER]))
    script = Remember()
    await harness.reconciler(script, epoch=2)(harness.key)
    assert script.counts() == PairedCounts()
    assert "copied from another model or namespace" in script.seen[-1].lost


async def test_what_somebody_breaks_while_the_operator_runs_is_written_again_and_nothing_is_lost(harness):  # noqa: F811
    await counted(harness)
    script, clock = Remember(), [1000.0]
    operate = harness.reconciler(script, epoch=2, monotonic=lambda: clock[0])
    await operate(harness.key)
    await rewrite(harness, b"broken")
    clock[0] += 10
    await operate(harness.key)
    assert (script.counts(), script.seen[-1].lost) == (COUNTS, None)
    assert (await kept(harness, KEY)).record.ledger.paired


async def test_a_key_that_changes_while_the_operator_runs_costs_no_count(harness):  # noqa: F811
    await counted(harness)
    script, keeper = Remember(), Keeper(KEY)
    operate = harness.reconciler(script, epoch=2, record_key=keeper)
    await operate(harness.key)
    keeper.key = ANOTHER
    await operate(harness.key)
    assert (script.counts(), script.seen[-1].lost) == (COUNTS, None)
    found = await kept(harness, ANOTHER)
    assert found.sealed
    assert found.record.ledger.paired


async def test_a_rollout_whose_counts_are_lost_goes_on_from_nothing_and_promotes_nothing(harness):  # noqa: F811
    operate, pod = await champion(harness)
    await harness.version("v2", rollout={"steps": [{"weight": 10, "minRequests": 1, "pause": "0s"}]})
    for _ in range(2):
        await operate(harness.key)
        await harness.pod("v2")
    pod.count("v2", pairs=150, compared=150, requests=150, opening_pairs=20)
    for _ in range(2):
        await operate(harness.key)
    assert (await harness.status("v2"))["phase"] == "Canary"
    pod.evidence = ()
    decisions = (await harness.get(api.CONFIG_MAPS, RECORD))["data"]["decisions.json"]
    operate = harness.reconciler(epoch=2, record_key=Keeper(ANOTHER))
    for _ in range(3):
        await operate(harness.key)
    told = await harness.status("v2")
    assert (told["phase"], told["verdict"], told["evidence"][0]["samples"]) == ("Canary", "Hold", 0)
    condition = await harness.condition("v2", "RecordKept")
    assert (condition["status"], condition["reason"]) == ("False", "RecordLost")
    assert "Evidence starts anew" in condition["message"]
    events = await harness.gateway.list(api.EVENTS, harness.namespace)
    assert [event["reason"] for event in events].count("RecordLost") == 1
    assert (await harness.get(api.CONFIG_MAPS, RECORD))["data"]["decisions.json"] == decisions


QUARANTINED = {"version": "9.0.0", "reason": "ErrorRate", "message": "m", "time": "2026-01-01T00:00:00Z"}


async def an_earlier_release_writes(harness, record, *digests):  # noqa: F811
    """The record as releases wrote it before counts were sealed."""
    ledger = gzip.compress(json.dumps(record.ledger.to_json()).encode())
    known = [{"digest": digest(number), **QUARANTINED} for number in digests]
    change = {
        "data": {records.RECORD: json.dumps({"quarantined": known})},
        "binaryData": {LEDGER: base64.b64encode(ledger).decode()},
    }
    await harness.gateway.patch(api.CONFIG_MAPS, harness.namespace, RECORD, change)


def quarantine(script):
    return {entry.digest for entry in script.seen[-1].record.quarantined}


async def test_operators_of_two_releases_that_alternate_lose_no_quarantine_and_no_count_in_silence(harness):  # noqa: F811
    await counted(harness)
    record = (await kept(harness, KEY)).record
    await an_earlier_release_writes(harness, record, "7")
    upgraded = Remember()
    await harness.reconciler(upgraded, epoch=2, record_key=Keeper(replace(KEY, reads_plain=True)))(harness.key)
    assert (upgraded.counts(), quarantine(upgraded), upgraded.seen[-1].lost) == (COUNTS, {digest("7")}, None)

    # The earlier release leads again: it cannot read a sealed ledger, so it says so and writes nothing else.
    sealed = base64.b64decode((await harness.get(api.CONFIG_MAPS, RECORD))["binaryData"][LEDGER])
    with pytest.raises(OSError, match="Not a gzipped file"):
        gzip.decompress(sealed)
    held = {"type": "Stalled", "status": "True", "reason": "RecordUnreadable", "message": "m"}
    held["lastTransitionTime"] = "2026-01-01T00:00:00Z"
    await harness.say(api.MODEL_VERSIONS, "v1", {"phase": "Champion", "conditions": [held]})
    again = Remember()
    await harness.reconciler(again, epoch=4)(harness.key)
    assert (again.counts(), quarantine(again), again.seen[-1].lost) == (COUNTS, {digest("7")}, None)
    await harness.reconciler(epoch=5)(harness.key)
    assert await harness.condition("v1", "Stalled") == {}

    # A downgrade as docs/security.md has it, a rollback under the earlier release, and an upgrade once more.
    await an_earlier_release_writes(harness, record, "7", "8")
    last = Remember()
    await harness.reconciler(last, epoch=7)(harness.key)
    assert quarantine(last) == {digest("7"), digest("8")}
    assert last.counts() == PairedCounts()
    assert "cannot be opened" in last.seen[-1].lost
    assert (await kept(harness, KEY)).sealed
