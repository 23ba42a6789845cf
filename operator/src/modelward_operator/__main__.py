"""`python -m modelward_operator`: the operator's command line."""

from __future__ import annotations

import argparse
import asyncio
import logging
import os
import sys
from importlib.metadata import version

from modelward_operator.manifests.settings import InvalidSettingsError, Settings


def main() -> int:
    """Parse the command line and run."""
    parser = argparse.ArgumentParser(prog="modelward_operator", description="Modelward's Kubernetes operator.")
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="watch and reconcile until SIGTERM; settings are read from MODELWARD_*")
    run.add_argument("--health-port", type=int, default=8081, help="/livez and /readyz (default: %(default)s)")
    run.add_argument("--metrics-port", type=int, default=8080, help="/metrics (default: %(default)s)")
    run.add_argument("--resync", type=float, default=60.0, help="seconds between full resyncs (default: %(default)g)")
    commands.add_parser("version", help="print the version")
    options = parser.parse_args()
    if options.command == "version":
        sys.stdout.write(version("modelward-operator") + "\n")
        return 0
    return _run(options)


def _run(options: argparse.Namespace) -> int:
    try:
        settings = Settings.from_environment(os.environ)
    except InvalidSettingsError as error:
        sys.stderr.write(f"modelward_operator: {error}\n")
        return 2
    from modelward_operator import process
    from modelward_operator.engine.telemetry import logs

    logs.begin(settings.log_level)

    try:
        asyncio.run(
            process.run(
                settings,
                health_port=options.health_port,
                metrics_port=options.metrics_port,
                resync_period=options.resync,
            )
        )
    except process.ENDINGS as error:
        logging.getLogger(__name__).error("%s; exiting, to be restarted", error)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
