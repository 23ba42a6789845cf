"""The client of the pods' control port: it sends traffic leases and collects counts."""

from __future__ import annotations

import asyncio
import itertools
import json
import logging
import zlib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import aiohttp
from pydantic import ValidationError

from modelward_api import names
from modelward_api.base import Digest
from modelward_api.bundle.documents import BundleDocuments
from modelward_api.resources.reasons import Reason
from modelward_api.wire.exchange import Challenger, ExchangeRequest, ExchangeResponse, TrafficLease
from modelward_operator.domain.core.failure import Failure
from modelward_operator.domain.rollout.decision import LeaseOrder
from modelward_operator.domain.rollout.observation import Pod, Version
from modelward_operator.domain.rollout.plan import ENDED
from modelward_operator.engine.pods.answers import CAREFUL, content_of
from modelward_operator.engine.pods.request_signing import Signer

log = logging.getLogger(__name__)

TIMEOUT = aiohttp.ClientTimeout(total=2.0, connect=1.0)
LEASE_SECONDS, STANDBY_LEASE_SECONDS = 10.0, 30.0
"""Lifetime of a lease that is not renewed: a champion's, and a standby's, which forwards late clients to the champion."""
_LASTING: Mapping[str, str] = {Reason.WRONG_MODEL: "model", Reason.WRONG_DIGEST: "bundle"}
"""The lasting reasons of a pod's refusal, and what is wrong."""
_CERTIFICATE: Mapping[str, str] = {
    Reason.TLS_SECRET_MISSING: "lacks tls.crt, tls.key, or the ca.crt that clientAuthentication needs",
    Reason.TLS_SECRET_UNUSABLE: "holds a tls.crt, tls.key or ca.crt that cannot be used",
}
MAX_DOCUMENTS = 4096
"""Bundles whose documents are cached, compressed to a few kilobytes each."""


@dataclass(slots=True)
class IssuedLeases:
    """The leases last issued to one model's pods."""

    orders: dict[str, LeaseOrder] = field(default_factory=dict)
    """The orders by holder."""
    leases: dict[str, TrafficLease] = field(default_factory=dict)
    """By holder: the lease for the order, renewed unchanged until its content changes."""
    ends: dict[str, int] = field(default_factory=dict)
    """By holder without a lease: the sequence number at which its lease ended."""
    refused: dict[str, Failure] = field(default_factory=dict)
    """By holder: why one of its pods refused the last lease."""
    certificates: dict[str, Failure] = field(default_factory=dict)
    """By holder: why one of its pods cannot use its TLS files any more."""


@dataclass(frozen=True, slots=True)
class SignatureRefused:
    """A pod has rejected the signature of a request."""


def raises(before: LeaseOrder | None, order: LeaseOrder) -> bool:
    """Whether an order gives a challenger traffic, or more than the order before."""
    if order.challenger is None:
        return False
    return before is None or before.challenger != order.challenger or order.weight > before.weight


def connections() -> aiohttp.ClientSession:
    """Return a session that keeps a connection to each pod between two exchanges, however many there are."""
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


class Exchange:
    """The exchange with serving pods. A pod that does not respond is skipped: its lease expires.

    ``permit`` is called before each request, and raises once this process no longer leads: a pod learns of a newer epoch only
    from the next leader's first request.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession,
        epoch: int,
        signer: Signer,
        control_port: int = names.CONTROL_PORT,
        permit: Callable[[], None] = lambda: None,
    ) -> None:
        self.signer = signer
        self._session = session
        self._epoch = epoch
        self._port = control_port
        self._permit = permit
        self._sequence = itertools.count(1)
        self._documents: dict[Digest, bytes] = {}

    async def renew(
        self, issued: IssuedLeases, versions: Mapping[str, Version], profile: bool
    ) -> list[ExchangeResponse]:
        """Renew the lease of every pod that can hold one, and collect its counts."""
        holders = set(issued.orders) | {n for n, v in versions.items() if v.status.phase in ("Champion", "Standby")}
        return await self._issue(issued, versions, holders & set(versions), profile)

    async def order(
        self, issued: IssuedLeases, versions: Mapping[str, Version], orders: Iterable[LeaseOrder]
    ) -> list[ExchangeResponse]:
        """Issue new leases to the pods of their holders."""
        chosen = {order.holder: order for order in orders}
        issued.orders.update(chosen)
        return await self._issue(issued, versions, set(chosen), False)

    async def documents(self, versions: Iterable[Version]) -> dict[Digest, BundleDocuments]:
        """Return the bundle documents of versions whose pods have returned them, now or before; not of ended versions."""
        found = {}
        for version in versions:
            if version.artifact is None or (version.status.phase in ENDED and not version.pods):
                continue
            digest = version.artifact.digest
            if digest not in self._documents:
                await self._ask_for_documents(digest, version.pods)
            if digest in self._documents:
                found[digest] = BundleDocuments.model_validate_json(zlib.decompress(self._documents[digest]))
        return found

    async def _issue(
        self, issued: IssuedLeases, versions: Mapping[str, Version], holders: set[str], profile: bool
    ) -> list[ExchangeResponse]:
        calls, asked = [], []
        for holder in sorted(holders & set(versions)):
            request = self._request(issued, versions, versions[holder], profile)
            body = json.dumps(request.to_json()).encode()
            pods = [pod for pod in versions[holder].pods if _is_reachable(pod)]
            calls += [self._exchange(pod, body) for pod in pods]
            asked += [(holder, pod) for pod in pods]
            issued.refused.pop(holder, None)
            issued.certificates.pop(holder, None)
        answers = await asyncio.gather(*calls)
        for (holder, pod), answer in zip(asked, answers, strict=True):
            if (failure := _refusal(pod, answer)) is not None:
                issued.refused.setdefault(holder, failure)
            if (failure := _certificate_failure(pod, answer)) is not None:
                issued.certificates.setdefault(holder, failure)
        return [answer for answer in answers if isinstance(answer, ExchangeResponse)]

    def _request(
        self, issued: IssuedLeases, versions: Mapping[str, Version], holder: Version, profile: bool
    ) -> ExchangeRequest:
        order = issued.orders.get(holder.name)
        if order is None:
            return ExchangeRequest(epoch=self._epoch, keep=True, profile=profile)
        lease = self._lease(issued, order, versions, holder)
        sequence = issued.ends.get(holder.name)
        return ExchangeRequest(epoch=self._epoch, lease=lease, sequence=sequence, profile=profile)

    def _lease(
        self, issued: IssuedLeases, order: LeaseOrder, versions: Mapping[str, Version], holder: Version
    ) -> TrafficLease | None:
        challenger = versions.get(order.challenger or "")
        if challenger is None or challenger.artifact is None or holder.artifact is None:
            if issued.leases.pop(holder.name, None) is not None or holder.name not in issued.ends:
                issued.ends[holder.name] = next(self._sequence)
            return None
        before = issued.leases.get(holder.name)
        lease = TrafficLease(
            epoch=self._epoch,
            sequence=before.sequence if before else 0,
            model=holder.spec.model,
            champion=holder.artifact.digest,
            challenger=Challenger(
                version=challenger.spec.version,
                digest=challenger.artifact.digest,
                endpoints=tuple(
                    f"{pod.ip}:{names.HTTP_PORT}" for pod in challenger.pods if _is_reachable(pod, challenger)
                ),
                tls=challenger.tls,
            ),
            weight=order.weight,
            mirror=order.mirror,
            sticky_header=order.sticky_header,
            deadline_ms=order.deadline_ms,
            ttl_seconds=STANDBY_LEASE_SECONDS if order.turn_away else LEASE_SECONDS,
            turn_away=order.turn_away,
            proof=self.signer.prove(challenger.artifact.digest),
        )
        if lease != before:
            lease = lease.model_copy(update={"sequence": next(self._sequence)})
        issued.leases[holder.name] = lease
        issued.ends.pop(holder.name, None)
        return lease

    async def _exchange(self, pod: Pod, body: bytes) -> ExchangeResponse | SignatureRefused | None:
        try:
            response = ExchangeResponse.model_validate_json(await self._ask(pod, "POST", names.EXCHANGE_PATH, body))
        except aiohttp.ClientResponseError as error:
            return SignatureRefused() if error.status == 401 else None
        except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
            log.info("pod %s did not answer the exchange: %s", pod.name, type(error).__name__)
            return None
        if response.refused is not None:
            log.warning("pod %s refused its lease: %s", pod.name, response.refused)
        return response

    async def _ask_for_documents(self, digest: Digest, pods: Iterable[Pod]) -> None:
        for pod in pods:
            if not _is_reachable(pod):
                continue
            try:
                content = await self._ask(pod, "GET", names.DOCUMENTS_PATH)
                documents = BundleDocuments.model_validate_json(content)
            except (aiohttp.ClientError, TimeoutError, OSError, ValidationError) as error:
                log.info("pod %s did not return its bundle's documents: %s", pod.name, type(error).__name__)
                continue
            if documents.digest == digest:
                while len(self._documents) >= MAX_DOCUMENTS:
                    self._documents.pop(next(iter(self._documents)))
                self._documents[digest] = zlib.compress(content)
                return

    async def _ask(self, pod: Pod, method: str, path: str, body: bytes = b"") -> bytes:
        """Send one signed request to a pod's control port."""
        self._permit()
        url = f"http://{pod.ip}:{self._port}{path}"
        headers = {"Authorization": f"Bearer {self.signer.sign(pod.uid, method, path, body)}"}
        if body:
            headers["Content-Type"] = "application/json"
        async with self._session.request(
            method, url, data=body or None, headers=headers, timeout=TIMEOUT, **CAREFUL
        ) as answer:
            content = await content_of(answer)
            if answer.status == 401:
                log.warning(
                    "pod %s rejected the operator's signature: %s", pod.name, content[:300].decode(errors="replace")
                )
            answer.raise_for_status()
            return content


def _refusal(pod: Pod, answer: ExchangeResponse | SignatureRefused | None) -> Failure | None:
    """Return why a pod refused its lease; None for a late or missing response, which resolves itself."""
    if isinstance(answer, SignatureRefused):
        message = (
            f"Pod {pod.name} rejects the operator's signature, so its lease expires. Check that ConfigMap "
            f"{names.CONTROL_KEYS} exists and that the pod's clock is right"
        )
        return Failure(Reason.SIGNATURE_REFUSED, message)
    if answer is None or answer.refused is None or answer.refused not in _LASTING:
        return None
    message = (
        f"Pod {pod.name} refuses its lease: it serves another {_LASTING[answer.refused]} than the version's spec names"
    )
    return Failure(
        Reason.LEASE_REFUSED,
        f"{message}. It forwards no request to another version until you delete the pod or apply the right bundle",
    )


def _certificate_failure(pod: Pod, answer: ExchangeResponse | SignatureRefused | None) -> Failure | None:
    """Return why a pod cannot use its TLS files any more. A reason that is not known is not shown: a pod chooses it."""
    told = answer.certificate if isinstance(answer, ExchangeResponse) else None
    if told is None or told not in _CERTIFICATE:
        return None
    message = (
        f"The Secret of spec.serving.tls.secretName {_CERTIFICATE[told]}. Pod {pod.name} serves with the certificate that it "
        "has, and new pods do not start: restore the Secret"
    )
    return Failure(told, message)


def _is_reachable(pod: Pod, version: Version | None = None) -> bool:
    """Whether a pod can be reached; as a challenger, also whether it has its version's current settings."""
    speaks = version is None or version.is_current(pod)
    return pod.ready and pod.ip is not None and not pod.deleting and speaks
