"""What the exchange with many champion pods costs the operator: CPU of this process alone, the pods are in another.

Each pod's lease is renewed once a second, signed for it, and its evidence read. `--pods 200 --models 20` is 20 rollouts under
way, each of a champion with ten pods.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from datetime import UTC, datetime
from pathlib import Path

from modelward_api.resources.modelversion import Artifact, ModelVersionSpec, ModelVersionStatus
from modelward_api.wire.exchange import ExchangeResponse
from modelward_operator.domain.operator import keyring
from modelward_operator.domain.operator.keyring import Keyring
from modelward_operator.domain.rollout.advance import ROLLOUT_PERIOD
from modelward_operator.domain.rollout.decision import LeaseOrder
from modelward_operator.domain.rollout.observation import Pod, Version
from modelward_operator.engine.pods.control_client import Exchange, IssuedLeases, connections
from modelward_operator.engine.pods.request_signing import Signer, new_key
from tests.bench import pods as ports
from tests.support.ports import free_port


def digest(number: int) -> str:
    return f"sha256:{number:064x}"


def versions(model: int, pods: list[ports.Pod]) -> dict[str, Version]:
    """A champion with those pods, and a challenger with one."""
    others = [Pod(f"other-{model}", "u", "10.0.0.1", ready=True)]
    own = [Pod(pod.name, f"uid-of-{pod.name}", pod.ip, ready=True) for pod in pods]
    found = {}
    for name, number, phase, has in (("v1", 2 * model, "Champion", own), ("v2", 2 * model + 1, "Canary", others)):
        artifact = Artifact(uri="store://m", digest=digest(number))
        spec = ModelVersionSpec(model=f"model-{model}", version=f"{name[1:]}.0.0", artifact=artifact)
        status = ModelVersionStatus(phase=phase)  # type: ignore[arg-type]
        created = datetime.now(UTC)
        found[name] = Version(name, name, 1, created, spec, status, artifact=artifact, pods=tuple(has))
    return found


async def measure(pods: int, models: int, seconds: float, folder: Path) -> dict[str, float]:
    """CPU in cores, and the longest round, over that many seconds."""
    port = free_port()
    everyone = [
        ports.Pod(
            ports.address(n),
            f"pod-{n}",
            f"model-{n % models}",
            "1.0.0",
            digest(2 * (n % models)),
            digest(2 * (n % models) + 1),
        )
        for n in range(pods)
    ]
    fleet = [versions(m, everyone[m::models]) for m in range(models)]
    held = [IssuedLeases(orders={"v1": LeaseOrder("v1", "v2", 10.0)}) for _ in range(models)]
    signer = Signer(keyring.turned(Keyring(), datetime.now(UTC), new_key))
    with ports.serving(folder, everyone, port):
        async with connections() as session:
            exchange = Exchange(session, 1, signer, port)
            await _round(exchange, held, fleet)
            rounds: list[float] = []
            began, used = time.monotonic(), time.process_time()
            while (ago := time.monotonic() - began) < seconds:
                answers = await _round(exchange, held, fleet)
                rounds.append(time.monotonic() - began - ago)
                assert len(answers) == pods
                await asyncio.sleep(max(0.0, ROLLOUT_PERIOD - rounds[-1]))
            cores = (time.process_time() - used) / (time.monotonic() - began)
    return {"pods": pods, "models": models, "cores": cores, "longest_round_s": max(rounds)}


async def _round(
    exchange: Exchange, held: list[IssuedLeases], fleet: list[dict[str, Version]]
) -> list[ExchangeResponse]:
    calls = [exchange.renew(h, v, profile=False) for h, v in zip(held, fleet, strict=True)]
    return [answer for answers in await asyncio.gather(*calls) for answer in answers]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--pods", type=int, nargs="+", default=[50, 200])
    parser.add_argument("--models", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--json", type=Path)
    options = parser.parse_args()
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for pods in options.pods:
            told = asyncio.run(measure(pods, options.models, options.seconds, Path(folder)))
            print(
                "{pods:5} pods of {models} models: {cores:.3f} cores, rounds of at most {longest_round_s:.3f} s".format(
                    **told
                )
            )
            found.append(told)
    if options.json:
        options.json.parent.mkdir(parents=True, exist_ok=True)
        options.json.write_text(json.dumps(found))


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
