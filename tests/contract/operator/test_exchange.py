"""The exchange against real HTTP servers on loopback, with pods and versions as a real API server has them."""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import resource
import time

import pytest

from modelward_api.wire.exchange import PairedCounts, ProfileCounts
from modelward_operator.domain.rollout.decision import LeaseOrder
from modelward_operator.engine.kube import gateway as api
from modelward_operator.engine.pods.control_client import LEASE_SECONDS, Exchange, IssuedLeases
from modelward_operator.engine.reconcile.observe import observe
from tests.support.builders import digest
from tests.support.harness import MODEL, SIGNER, operator_harness

HALF = LeaseOrder("v1", "v2", 50, 0.5, "X-Encounter-Id", 250)


@pytest.fixture
async def harness(control_plane):
    async with operator_harness(control_plane) as found:
        await found.version("v1")
        await found.version("v2")
        yield found


def exchange(harness, epoch=3) -> Exchange:
    return Exchange(harness.session, epoch, SIGNER, harness.port)


async def versions(harness):
    return {v.name: v for v in (await observe(harness.gateway, harness.namespace, MODEL)).versions}


async def test_an_order_becomes_a_lease_on_the_ready_challengers(harness):
    champion, challenger = await harness.pod("v1"), await harness.pod("v2")
    await harness.pod("v2", ready=False)
    await exchange(harness).order(IssuedLeases(), await versions(harness), [HALF])
    lease = champion.asked[0].lease
    assert (lease.epoch, lease.champion, lease.challenger.digest) == (3, digest("1"), digest("2"))
    assert lease.challenger.endpoints == (f"{challenger.ip}:8080",)
    assert (lease.weight, lease.mirror, lease.sticky_header, lease.deadline_ms) == (50, 0.5, "X-Encounter-Id", 250)
    assert lease.ttl_seconds == LEASE_SECONDS
    assert challenger.asked == []


async def test_a_lease_keeps_its_sequence_while_it_stays_the_same_and_grows_when_it_changes(harness):
    pod, held, talk = await harness.pod("v1"), IssuedLeases(), exchange(harness)
    await harness.pod("v2")
    await talk.order(held, await versions(harness), [HALF])
    await talk.renew(held, await versions(harness), profile=False)
    await talk.renew(held, await versions(harness), profile=False)
    await harness.pod("v2")
    await talk.renew(held, await versions(harness), profile=False)
    await talk.order(held, await versions(harness), [LeaseOrder("v1", None)])
    await talk.order(held, await versions(harness), [HALF])
    sequences = [asked.lease.sequence if asked.lease else None for asked in pod.asked]
    assert sequences[0] == sequences[1] == sequences[2]
    assert sequences[4] is None
    assert sequences[0] < sequences[3] < pod.asked[4].sequence < sequences[5]


async def test_a_challenger_with_tls_is_asked_so_at_the_pods_that_already_speak_it(harness):
    champion, _, secure = await harness.pod("v1"), await harness.pod("v2"), await harness.pod("v2", tls=True)
    change = {"spec": {"serving": {"tls": {"secretName": "t"}}}}
    await harness.gateway.patch(api.MODEL_VERSIONS, harness.namespace, "v2", change)
    await exchange(harness).order(IssuedLeases(), await versions(harness), [HALF])
    challenger = champion.asked[0].lease.challenger
    assert (challenger.tls, challenger.endpoints) == (True, (f"{secure.ip}:8080",))


async def test_a_new_pod_of_the_champion_gets_the_lease_in_the_next_round(harness):
    held, talk = IssuedLeases(), exchange(harness)
    await harness.pod("v1")
    await harness.pod("v2")
    await talk.order(held, await versions(harness), [HALF])
    late = await harness.pod("v1")
    await talk.renew(held, await versions(harness), profile=False)
    assert late.lease.weight == 50


async def test_an_operator_that_has_just_started_leaves_leases_as_they_are(harness):
    await harness.say_phase("v1", "Champion")
    pod = await harness.pod("v1")
    await exchange(harness).renew(IssuedLeases(), await versions(harness), profile=True)
    assert pod.asked[0].keep
    assert pod.asked[0].profile


async def test_a_pod_that_does_not_answer_holds_nobody_up(harness):
    answering = await harness.pod("v1")
    answering.count("v2", pairs=7)
    for _ in range(3):
        await harness.pod("v1", server=False)
    hanging = await harness.pod("v1")
    hanging.delay = 30
    began = time.monotonic()
    answers = await exchange(harness).order(IssuedLeases(), await versions(harness), [HALF])
    assert time.monotonic() - began < 3.5
    assert [answer.pod for answer in answers] == [answering.name]
    assert answers[0].evidence[0].counts == PairedCounts(pairs=7)


async def test_an_answer_that_is_none_is_left_out(harness):
    pod = await harness.pod("v1")
    pod.garbage = True
    assert await exchange(harness).order(IssuedLeases(), await versions(harness), [HALF]) == []


async def test_a_challenger_that_is_gone_ends_the_lease(harness):
    pod, held, talk = await harness.pod("v1"), IssuedLeases(), exchange(harness)
    await harness.pod("v2")
    await talk.order(held, await versions(harness), [HALF])
    found = await versions(harness)
    del found["v2"]
    await talk.renew(held, found, profile=False)
    assert pod.lease is None


async def test_profiles_are_asked_for_only_when_somebody_looks_at_them(harness):
    await harness.say_phase("v1", "Champion")
    pod = await harness.pod("v1")
    pod.profile = ProfileCounts(rows=9)
    talk = exchange(harness)
    quiet = await talk.renew(IssuedLeases(), await versions(harness), profile=False)
    asked = await talk.renew(IssuedLeases(), await versions(harness), profile=True)
    assert [answer.profile for answer in (*quiet, *asked)] == [None, ProfileCounts(rows=9)]


async def test_documents_are_asked_for_once_a_digest(harness):
    pod, talk = await harness.pod("v1"), exchange(harness)
    for _ in range(3):
        found = await talk.documents((await versions(harness)).values())
    assert found.keys() == {digest("1")}
    assert pod.documents_asked == 1


async def test_documents_of_another_digest_are_not_believed(harness):
    await harness.version("v3", artifact={"uri": "store://x", "digest": digest("3")})
    pod = await harness.pod("v3")
    pod.version = "v4"  # what it tells
    assert await exchange(harness).documents((await versions(harness)).values()) == {}


async def test_a_hundred_pods_are_asked_in_one_round(harness):
    pods = [await harness.pod("v1") for _ in range(100)]
    found = await versions(harness)
    began = time.monotonic()
    answers = await exchange(harness).order(IssuedLeases(), found, [HALF])
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
async def test_a_lease_that_a_pod_refuses_stands_in_the_conditions_until_it_is_taken(harness, fault, reason):
    operate, pod = harness.reconciler(), await harness.pod("v1")
    for _ in range(4):
        await operate(harness.key)
    assert (await harness.status("v1"))["phase"] == "Champion"
    for name, value in fault.items():
        setattr(pod, name, value)
    await operate(harness.key)
    told = await harness.condition("v1", "LeaseTaken")
    assert (told["status"], told["reason"]) == ("False", reason)
    assert pod.name in told["message"]
    pod.refuses, pod.distrusts = None, False
    await operate(harness.key)
    assert await harness.condition("v1", "LeaseTaken") == {}


class Compromised:
    """What answers in a pod's place: these bytes first, then this part again and again."""

    def __init__(self, first: bytes, part: bytes = b"") -> None:
        self._first, self._part = first, part
        self.taken = 0
        """Bytes that the operator took, or that wait for it in the kernel."""

    async def __call__(self, reader, writer):
        with contextlib.suppress(ConnectionError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(self._first)
            while self._part:
                writer.write(self._part)
                await writer.drain()
                self.taken += len(self._part)
        writer.close()


OK = b"HTTP/1.1 200 OK\r\n"
BOMB = gzip.compress(b"[" * 100_000_000, 9)
ANSWERS = {
    "huge": (OK + b"content-length: 10000000000\r\n\r\n", b" " * (1 << 20)),
    "endless": (OK + b"transfer-encoding: chunked\r\n\r\n", b"100000\r\n" + b" " * (1 << 20) + b"\r\n"),
    "an endless head": (OK, b"x-a: " + b"a" * 1000 + b"\r\n"),
    "a refusal without end": (b"HTTP/1.1 401 no\r\ncontent-length: 10000000000\r\n\r\n", b" " * (1 << 20)),
    "a small one that unpacks to a large one": (
        OK + b"content-encoding: gzip\r\ncontent-length: %d\r\n\r\n" % len(BOMB) + BOMB,
        b"",
    ),
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS.keys())
async def test_a_compromised_pod_cannot_exhaust_the_operator_and_keeps_no_other_pod_from_its_lease(harness, answer):
    bad, good = await harness.pod("v1", server=False), await harness.pod("v1")
    place = Compromised(*answer)
    async with await asyncio.start_server(place, bad.ip, harness.port):
        found, talk, began = await versions(harness), exchange(harness), time.monotonic()
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        answers = await talk.order(IssuedLeases(), found, [HALF])
        await talk.documents(found.values())
        assert time.monotonic() - began < 6
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 64 * 1024
    assert [told.pod for told in answers] == [good.name]
    assert place.taken < 64 << 20


async def test_a_pod_cannot_send_the_operator_elsewhere(harness):
    bad, other = await harness.pod("v1", server=False), await harness.pod("v2")
    place = f"http://{other.ip}:{harness.port}/v1/exchange".encode()
    moved = b"HTTP/1.1 307 elsewhere\r\nlocation: %b\r\ncontent-length: 0\r\n\r\n" % place
    async with await asyncio.start_server(Compromised(moved), bad.ip, harness.port):
        assert await exchange(harness).order(IssuedLeases(), await versions(harness), [HALF]) == []
    assert other.asked == []


@pytest.mark.parametrize("reason", ["TlsSecretMissing", "TlsSecretUnusable"])
async def test_a_secret_that_pods_cannot_use_any_more_stands_in_the_conditions_until_it_is_back(harness, reason):
    secured = {"tls": {"secretName": "mortality-tls"}}
    await harness.version("v3", artifact={"uri": "store://x", "digest": digest("3")}, serving=secured)
    await harness.say_phase("v3", "Champion")
    operate, pod = harness.reconciler(), await harness.pod("v3", tls=True)
    await operate(harness.key)
    assert (await harness.condition("v3", "TlsReady"))["status"] == "True"
    pod.certificate = reason
    await operate(harness.key)
    told = await harness.condition("v3", "TlsReady")
    assert (told["status"], told["reason"]) == ("False", reason)
    assert pod.name in told["message"]
    assert "restore the Secret" in told["message"]
    assert (await harness.condition("v3", "Ready"))["status"] == "True"
    pod.certificate = None
    await operate(harness.key)
    assert (await harness.condition("v3", "TlsReady"))["status"] == "True"


async def test_a_reason_that_a_pod_makes_up_is_not_shown(harness):
    await harness.say_phase("v1", "Champion")
    pod = await harness.pod("v1")
    pod.certificate = "PATIENT-7f3"
    held = IssuedLeases()
    await exchange(harness).renew(held, await versions(harness), profile=False)
    assert held.certificates == {}
