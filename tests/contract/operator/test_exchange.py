"""The exchange against real HTTP servers on loopback, with pods and versions as a real API server has them."""

from __future__ import annotations

import asyncio
import time

import pytest

from modelward_api.wire.exchange import PairedCounts, ProfileCounts
from modelward_operator.domain.rollout.decision import LeaseOrder
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.pods.control_client import LEASE_SECONDS, Exchange, IssuedLeases
from modelward_operator.engine.reconcile.observe import observe
from tests.support.builders import digest
from tests.support.harness import MODEL, SIGNER, ward

HALF = LeaseOrder("v1", "v2", 50, 0.5, "X-Encounter-Id", 250)


@pytest.fixture
async def place(control_plane):
    async with ward(control_plane) as found:
        await found.version("v1")
        await found.version("v2")
        yield found


def exchange(place, epoch=3) -> Exchange:
    return Exchange(place.session, epoch, SIGNER, place.port)


async def versions(place):
    return {v.name: v for v in (await observe(place.gateway, place.namespace, MODEL)).versions}


async def test_an_order_becomes_a_lease_on_the_ready_challengers(place):
    champion, challenger = await place.pod("v1"), await place.pod("v2")
    await place.pod("v2", ready=False)
    await exchange(place).order(IssuedLeases(), await versions(place), [HALF])
    lease = champion.asked[0].lease
    assert (lease.epoch, lease.champion, lease.challenger.digest) == (3, digest("1"), digest("2"))
    assert lease.challenger.endpoints == (f"{challenger.ip}:8080",)
    assert (lease.weight, lease.mirror, lease.sticky_header, lease.deadline_ms) == (50, 0.5, "X-Encounter-Id", 250)
    assert lease.ttl_seconds == LEASE_SECONDS
    assert challenger.asked == []


async def test_a_lease_keeps_its_sequence_while_it_stays_the_same_and_grows_when_it_changes(place):
    pod, held, talk = await place.pod("v1"), IssuedLeases(), exchange(place)
    await place.pod("v2")
    await talk.order(held, await versions(place), [HALF])
    await talk.renew(held, await versions(place), profile=False)
    await talk.renew(held, await versions(place), profile=False)
    await place.pod("v2")
    await talk.renew(held, await versions(place), profile=False)
    await talk.order(held, await versions(place), [LeaseOrder("v1", None)])
    await talk.order(held, await versions(place), [HALF])
    sequences = [asked.lease.sequence if asked.lease else None for asked in pod.asked]
    assert sequences[0] == sequences[1] == sequences[2]
    assert sequences[4] is None
    assert sequences[0] < sequences[3] < pod.asked[4].sequence < sequences[5]


async def test_a_challenger_with_tls_is_asked_so_at_the_pods_that_already_speak_it(place):
    champion, _, secure = await place.pod("v1"), await place.pod("v2"), await place.pod("v2", tls=True)
    change = {"spec": {"serving": {"tls": {"secretName": "t"}}}}
    await place.gateway.patch(api.MODEL_VERSIONS, place.namespace, "v2", change)
    await exchange(place).order(IssuedLeases(), await versions(place), [HALF])
    challenger = champion.asked[0].lease.challenger
    assert (challenger.tls, challenger.endpoints) == (True, (f"{secure.ip}:8080",))


async def test_a_new_pod_of_the_champion_gets_the_lease_in_the_next_round(place):
    held, talk = IssuedLeases(), exchange(place)
    await place.pod("v1")
    await place.pod("v2")
    await talk.order(held, await versions(place), [HALF])
    late = await place.pod("v1")
    await talk.renew(held, await versions(place), profile=False)
    assert late.lease.weight == 50


async def test_an_operator_that_has_just_started_leaves_leases_as_they_are(place):
    await place.say_phase("v1", "Champion")
    pod = await place.pod("v1")
    await exchange(place).renew(IssuedLeases(), await versions(place), profile=True)
    assert pod.asked[0].keep
    assert pod.asked[0].profile


async def test_a_pod_that_does_not_answer_holds_nobody_up(place):
    answering = await place.pod("v1")
    answering.count("v2", pairs=7)
    for _ in range(3):
        await place.pod("v1", server=False)
    hanging = await place.pod("v1")
    hanging.delay = 30
    began = time.monotonic()
    answers = await exchange(place).order(IssuedLeases(), await versions(place), [HALF])
    assert time.monotonic() - began < 3.5
    assert [answer.pod for answer in answers] == [answering.name]
    assert answers[0].evidence[0].counts == PairedCounts(pairs=7)


async def test_an_answer_that_is_none_is_left_out(place):
    pod = await place.pod("v1")
    pod.garbage = True
    assert await exchange(place).order(IssuedLeases(), await versions(place), [HALF]) == []


async def test_a_challenger_that_is_gone_ends_the_lease(place):
    pod, held, talk = await place.pod("v1"), IssuedLeases(), exchange(place)
    await place.pod("v2")
    await talk.order(held, await versions(place), [HALF])
    found = await versions(place)
    del found["v2"]
    await talk.renew(held, found, profile=False)
    assert pod.lease is None


async def test_profiles_are_asked_for_only_when_somebody_looks_at_them(place):
    await place.say_phase("v1", "Champion")
    pod = await place.pod("v1")
    pod.profile = ProfileCounts(rows=9)
    talk = exchange(place)
    quiet = await talk.renew(IssuedLeases(), await versions(place), profile=False)
    asked = await talk.renew(IssuedLeases(), await versions(place), profile=True)
    assert [answer.profile for answer in (*quiet, *asked)] == [None, ProfileCounts(rows=9)]


async def test_documents_are_asked_for_once_a_digest(place):
    pod, talk = await place.pod("v1"), exchange(place)
    for _ in range(3):
        found = await talk.documents((await versions(place)).values())
    assert found.keys() == {digest("1")}
    assert pod.documents_asked == 1


async def test_documents_of_another_digest_are_not_believed(place):
    await place.version("v3", artifact={"uri": "store://x", "digest": digest("3")})
    pod = await place.pod("v3")
    pod.version = "v4"  # what it tells
    assert await exchange(place).documents((await versions(place)).values()) == {}


async def test_a_hundred_pods_are_asked_in_one_round(place):
    pods = [await place.pod("v1") for _ in range(100)]
    found = await versions(place)
    began = time.monotonic()
    answers = await exchange(place).order(IssuedLeases(), found, [HALF])
    assert time.monotonic() - began < 2
    assert len(answers) == 100
    await asyncio.sleep(0)
    assert all(len(pod.asked) == 1 for pod in pods)


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ({"refuses": "WrongModel"}, "LeaseRefused"),
        ({"refuses": "WrongDigest"}, "LeaseRefused"),
        ({"distrusts": True}, "SignatureRefused"),
    ],
    ids=["wrong model", "wrong digest", "bad signature"],
)
async def test_a_lease_that_a_pod_refuses_stands_in_the_conditions_until_it_is_taken(place, fault, reason):
    operate, pod = place.reconciler(), await place.pod("v1")
    for _ in range(4):
        await operate(place.key)
    assert (await place.status("v1"))["phase"] == "Champion"
    for name, value in fault.items():
        setattr(pod, name, value)
    await operate(place.key)
    told = await place.condition("v1", "LeaseTaken")
    assert (told["status"], told["reason"]) == ("False", reason)
    assert pod.name in told["message"]
    pod.refuses, pod.distrusts = None, False
    await operate(place.key)
    assert await place.condition("v1", "LeaseTaken") == {}
