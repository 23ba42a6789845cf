"""The time of one request by step, in microseconds, on one core: decode, check, route, score, count, answer.

In one process without HTTP, the best of many short runs of each step, for 20 numbers a row unless told otherwise.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from modelward_serving.inference.dispatch import CHAMPION, Inference
from modelward_serving.model.predictor import Predictor
from modelward_serving.observability.metrics import Metrics
from modelward_serving.protocol.prediction import ServedPrediction
from modelward_serving.rest import codec
from modelward_serving.rest.app import App
from modelward_serving.rest.call import RestCall
from modelward_serving.routing.challenger_client import Challengers
from modelward_serving.routing.lease import LeaseHolder
from modelward_serving.routing.router import Router
from tests.bench.batch import train
from tests.bench.serving import JSON, write_bodies

RUNS, TIMES = 50, 100


def best(step: Callable[[], object]) -> float:
    """Microseconds."""
    found = []
    for _ in range(RUNS):
        started = time.perf_counter()
        for _ in range(TIMES):
            step()
        found.append((time.perf_counter() - started) / TIMES)
    return 1e6 * min(found)


def steps(predictor: Predictor, body: bytes) -> dict[str, float]:
    """By step."""
    metrics = Metrics(predictor.model, predictor.version, predictor.bundle.digest)
    router = Router(LeaseHolder(predictor.model, predictor.bundle.digest), Challengers(), predictor.model)
    inference = Inference(predictor, router, metrics)

    async def nowhere(*_: object) -> None: ...

    app = App(inference, metrics, nowhere, 10.0)
    rows = predictor.validator.rows(codec.decode(body))
    answer = predictor.predict(rows)
    given = ServedPrediction(answer, predictor.model, predictor.version, predictor.bundle.digest, CHAMPION)

    def whole() -> None:
        app.infer(RestCall(app.codec, {}, body, lambda _, reply: None))

    return {
        "decode": best(lambda: codec.decode(body)),
        "check": best(lambda: predictor.validator.rows(codec.decode(body))) - best(lambda: codec.decode(body)),
        "route": best(lambda: router.route({})),
        "score": best(lambda: predictor.predict(rows)),
        "encode": best(lambda: codec.encode(rows, given)),
        "count": best(lambda: predictor.profile.count(rows.seen, rows.texts, answer.scores)),
        "all": best(whole),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--features", type=int, default=20)
    parser.add_argument("--subgroups", type=int, default=0, help="how many of them are subgroups of two strata, too")
    parser.add_argument("--rows", type=int, nargs="+", default=[1, 32])
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        settings = argparse.Namespace(numeric=options.features, categorical=0, algorithm="logistic-regression")
        predictor = Predictor(train(folder, settings, options.subgroups))
        bodies = write_bodies(folder, options.rows, options.features)[JSON]
        found = {rows: steps(predictor, bodies[rows].read_bytes()) for rows in options.rows}
    print(f"{'us':10}" + "".join(f"{rows:>8} row{'s' if rows > 1 else ' '}" for rows in found))
    for step in next(iter(found.values())):
        print(f"{step:10}" + "".join(f"{by_step[step]:12.1f}" for by_step in found.values()))
    for rows, by_step in found.items():
        print(
            f"counting: {by_step['count'] / rows:.2f} us a row of {options.features} features "
            f"with {options.subgroups} subgroups, {rows} at a time"
        )


if __name__ == "__main__":
    main()
