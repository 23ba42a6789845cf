"""`python -m modelward_serving`: the serving container's command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelward_api import job_process
from modelward_serving.observability import logs

STOPPED = "Scoring was stopped before it ended (a deadline, a suspension, a deletion or a drained node)"
KILLED = "scoring was killed while it ran: if memory ran out, raise spec.resources.limits.memory"

if TYPE_CHECKING:
    from modelward_serving.security.authentication import TokenPolicy
    from modelward_serving.security.tls import Files


def main(*, supervised: bool = False) -> int:
    """Parse the command line and run; each command imports only what it needs.

    Args:
        supervised: score a batch in a child process, so that a signal ends it at once.
    """
    parser = _parser()
    options = parser.parse_args()
    if options.command == "serve" and (options.tls_cert is None) != (options.tls_key is None):
        parser.error("--tls-cert and --tls-key go together")
    if options.command == "serve" and options.callers_issuer is not None:
        if not options.callers_audience:
            parser.error("--callers-issuer needs --callers-audience")
        if (options.callers_jwks is None) == (options.callers_jwks_url is None):
            parser.error("--callers-issuer needs either --callers-jwks or --callers-jwks-url")
    logs.begin()
    if options.command == "version":
        sys.stdout.write(version("modelward-serving") + "\n")
        return 0
    if options.command == "fetch":
        from modelward_serving.model import fetch

        wanted = options.model, options.version
        return fetch.run(options.uri, options.digest, options.into, options.store, options.termination_log, *wanted)
    if options.command == "batch":
        return _supervised_batch(options) if supervised else _batch(options)
    from modelward_serving import server

    return server.run(
        server.Options(
            directory=options.bundle,
            digest=options.digest,
            pod=options.pod,
            request_timeout=options.request_timeout,
            host=options.host,
            port=options.port,
            grpc_port=options.grpc_port,
            control_port=options.control_port,
            drain_seconds=options.drain_seconds,
            grpc_connection_seconds=options.grpc_connection_seconds,
            termination_log=options.termination_log,
            control_keys=options.control_keys,
            pod_uid=options.pod_uid,
            tls=_tls(options),
            callers=_callers(options),
        )
    )


def _batch(options: argparse.Namespace) -> int:
    from modelward_serving.batch import command

    return command.run(options)


def _supervised_batch(options: argparse.Namespace) -> int:
    """The process that waits imports no library: one with threads cannot be copied safely, and it stays small."""
    from modelward_api.wire.exchange import TERMINATED, BatchOutcome
    from modelward_serving.termination import tell

    log = logging.getLogger("modelward.batch")

    def stopped() -> None:
        outcome = BatchOutcome(succeeded=False, reason=TERMINATED, message=STOPPED, shard=options.shard)
        tell(options.termination_log, outcome.to_json())
        log.info("shard %d: %s: %s", options.shard, TERMINATED, STOPPED)

    return job_process.run(lambda: _batch(options), stopped, lambda: log.error(KILLED))


def _tls(options: argparse.Namespace) -> Files | None:
    if options.tls_cert is None:
        return None
    from modelward_serving.security.tls import Files

    return Files(
        options.tls_cert, options.tls_key, options.tls_ca, options.tls_client_ca, server_name=options.tls_server_name
    )


def _callers(options: argparse.Namespace) -> TokenPolicy | None:
    if options.callers_issuer is None:
        return None
    from modelward_serving.security.authentication import TokenPolicy

    return TokenPolicy(
        options.callers_issuer,
        tuple(options.callers_audience),
        tuple(options.callers_subject),
        options.callers_jwks,
        options.callers_jwks_url,
    )


def _parser() -> argparse.ArgumentParser:
    environ = os.environ
    parser = argparse.ArgumentParser(prog="modelward_serving", description="Modelward's model server.")
    commands = parser.add_subparsers(dest="command", required=True)
    log: dict[str, Any] = {"type": Path, "default": Path("/dev/termination-log"), "help": "where the last words go"}
    fetch = commands.add_parser("fetch", help="fetch a bundle, check its digest, unpack it")
    fetch.add_argument("--uri", required=True, help="store://PATH, s3://, or file:// below the store")
    fetch.add_argument("--digest", required=True, help="sha256:... of the bundle")
    fetch.add_argument("--model", help="the model that the bundle must be of")
    fetch.add_argument("--version", help="the version that the bundle must be of")
    fetch.add_argument("--into", type=Path, required=True, help="an empty directory")
    fetch.add_argument("--store", default=environ.get("MODELWARD_STORE"), help="where store:// is (MODELWARD_STORE)")
    fetch.add_argument("--termination-log", **log)
    serve = commands.add_parser("serve", help="serve an unpacked bundle until SIGTERM")
    serve.add_argument(
        "--bundle", type=Path, default=environ.get("MODELWARD_BUNDLE", "/bundle"), help="(MODELWARD_BUNDLE)"
    )
    serve.add_argument("--digest", default=environ.get("MODELWARD_DIGEST"), help="what it must be (MODELWARD_DIGEST)")
    serve.add_argument("--pod", default=environ.get("MODELWARD_POD", "local"), help="this pod's name (MODELWARD_POD)")
    serve.add_argument(
        "--request-timeout", type=float, default=environ.get("MODELWARD_REQUEST_TIMEOUT", "10"), help="seconds"
    )
    serve.add_argument("--host", default="0.0.0.0")  # noqa: S104
    serve.add_argument("--port", type=int, default=8080, help="Open Inference Protocol (default: %(default)s)")
    serve.add_argument("--grpc-port", type=int, default=9000, help="the same over gRPC (default: %(default)s)")
    serve.add_argument("--control-port", type=int, default=8090, help="leases and counts (default: %(default)s)")
    serve.add_argument(
        "--control-keys",
        type=Path,
        default=environ.get("MODELWARD_CONTROL_KEYS") or None,
        help="public keys (JWKS) of who may use the control port; without them everybody may (MODELWARD_CONTROL_KEYS)",
    )
    serve.add_argument(
        "--pod-uid", default=environ.get("MODELWARD_POD_UID", "local"), help="whom tokens are for (MODELWARD_POD_UID)"
    )
    serve.add_argument("--tls-cert", type=Path, help="a certificate: callers must then use https; read again on change")
    serve.add_argument("--tls-key", type=Path, help="its key")
    serve.add_argument("--tls-ca", type=Path, help="whom to believe that a challenger is one (default: the system's)")
    serve.add_argument("--tls-client-ca", type=Path, help="answer only callers with a certificate of this authority")
    serve.add_argument("--tls-server-name", default="localhost", help="what a challenger's certificate must be for")
    serve.add_argument("--callers-issuer", help="answer only callers with a token (JWT) of this issuer")
    serve.add_argument(
        "--callers-audience", action="append", default=[], help="whom tokens must be for; may be repeated"
    )
    serve.add_argument("--callers-subject", action="append", default=[], help="who alone may ask; may be repeated")
    serve.add_argument("--callers-jwks", type=Path, help="the issuer's public keys (JWKS), read again on change")
    serve.add_argument("--callers-jwks-url", help="where they are fetched instead")
    serve.add_argument(
        "--grpc-connection-seconds",
        type=float,
        default=60.0,
        help="how long a gRPC connection lasts before its caller is asked for a new one (default: %(default)s)",
    )
    serve.add_argument("--drain-seconds", type=float, default=5.0, help="how long to answer on after SIGTERM")
    serve.add_argument("--termination-log", **log)
    _add_batch(commands, log)
    commands.add_parser("version", help="print the version")
    return parser


def _add_batch(commands: Any, log: dict[str, Any]) -> None:
    environ = os.environ
    batch = commands.add_parser(
        "batch",
        help="score files with an unpacked bundle; exits with 65 when its input is wrong",
        description="Scores one shard: reads, checks as a request is checked, scores, counts, writes a file of scores.",
    )
    batch.add_argument(
        "--bundle", type=Path, default=environ.get("MODELWARD_BUNDLE", "/bundle"), help="(MODELWARD_BUNDLE)"
    )
    batch.add_argument("--digest", required=True, help="what it must be")
    batch.add_argument(
        "--input", required=True, help="a file, a folder, or names with *: store://, s3://, or file:// below the store"
    )
    batch.add_argument("--format", choices=["csv", "parquet"], required=True)
    batch.add_argument("--output", required=True, help="a folder: store://, s3://, or file:// below the store")
    batch.add_argument("--keep", action="append", default=[], metavar="COLUMN", help="copied beside the scores")
    batch.add_argument("--on-invalid-row", choices=["fail", "skip", "null"], default="null")
    batch.add_argument("--shards", type=int, default=1)
    batch.add_argument(
        "--shard", type=int, default=environ.get("JOB_COMPLETION_INDEX", "0"), help="(JOB_COMPLETION_INDEX)"
    )
    batch.add_argument("--store", default=environ.get("MODELWARD_STORE"), help="where store:// is (MODELWARD_STORE)")
    batch.add_argument("--termination-log", **log)


if __name__ == "__main__":
    job_process.keep_silent_of_errors()
    sys.exit(main(supervised=True))
