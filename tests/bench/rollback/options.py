"""The command line."""

from __future__ import annotations

import argparse
from pathlib import Path

from tests.bench import rollback


def parse() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench.rollback",
        description=rollback.__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--ours", action="store_true", help="Modelward alone")
    parser.add_argument("--only", default="", help="scenarios whose name has this in it")
    parser.add_argument("--runs", type=int, default=20, help="of each hard scenario, ours")
    parser.add_argument("--soft-runs", type=int, default=12, help="of the soft one, ours")
    parser.add_argument("--lanes", type=int, default=4, help="models at a time")
    parser.add_argument("--rate", type=float, default=20.0, help="requests a second to each model")
    parser.add_argument("--peers", action="store_true", help="the others alone")
    parser.add_argument("--peer-seconds", type=float, default=720.0, help="how long the others are watched")
    parser.add_argument("--peer-runs", type=int, default=10, help="of each of their scenarios, at most")
    parser.add_argument("--json", type=Path, help="add the results to those of this file")
    parser.add_argument("--publish", action="store_true", help="write docs/benchmarks-rollback.md and its plot")
    return parser.parse_args()
