"""`python -m modelward_serving`: the serving container's command line."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from dataclasses import fields
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from modelward_api import job_process
from modelward_serving.observability import logs

STOPPED = "Scoring was stopped before it finished: by a deadline, a suspension, a deletion or a drained node"
KILLED = "scoring was killed; if it ran out of memory, raise spec.resources.limits.memory"

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
        parser.error("set both --tls-cert and --tls-key, or neither")
    if options.command == "check-store" and not options.store:
        parser.error("set --store or MODELWARD_STORE")
    if options.command == "serve" and options.callers_issuer is not None:
        if not options.callers_audience:
            parser.error("--callers-issuer requires --callers-audience")
        if (options.callers_jwks is None) == (options.callers_jwks_url is None):
            parser.error("--callers-issuer requires either --callers-jwks or --callers-jwks-url")
    logs.begin()
    if options.command == "version":
        sys.stdout.write(version("modelward-serving") + "\n")
        return 0
    if options.command == "fetch":
        from modelward_serving.model import fetch

        wanted = options.model, options.version
        return fetch.run(options.uri, options.digest, options.into, options.store, options.termination_log, *wanted)
    if options.command == "check-store":
        from modelward_serving.model import store_check

        return store_check.run(options.store)
    if options.command == "batch":
        return _supervised_batch(options) if supervised else _batch(options)
    return _serve(options)


def _serve(options: argparse.Namespace) -> int:
    """Run the server; flags that have the name of one of its options set it."""
    from modelward_serving import server

    names = {field.name for field in fields(server.Options)}
    named = {name: value for name, value in vars(options).items() if name in names}
    return server.run(server.Options(directory=options.bundle, **named, tls=_tls(options), callers=_callers(options)))


def _batch(options: argparse.Namespace) -> int:
    from modelward_serving.batch import command

    return command.run(options)


def _supervised_batch(options: argparse.Namespace) -> int:
    """Run the batch in a child process. This process imports no library: threads would make the fork unsafe."""
    from modelward_api.resources.reasons import Reason
    from modelward_api.wire.exchange import BatchOutcome
    from modelward_serving.termination import tell

    log = logging.getLogger("modelward.batch")

    def stopped() -> None:
        outcome = BatchOutcome(succeeded=False, reason=Reason.TERMINATED, message=STOPPED, shard=options.shard)
        tell(options.termination_log, outcome.to_json())
        log.info("shard %d: %s: %s", options.shard, Reason.TERMINATED, STOPPED)

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
    parser = argparse.ArgumentParser(prog="modelward_serving", description="Modelward's model server.")
    commands = parser.add_subparsers(dest="command", required=True)
    log: dict[str, Any] = {
        "type": Path,
        "default": Path("/dev/termination-log"),
        "help": "file for the termination message (default: %(default)s)",
    }
    _add_fetch(commands, log)
    _add_serve(commands, log)
    _add_batch(commands, log)
    checking = commands.add_parser(
        "check-store", help="write a small file into the store and delete it, or say why not"
    )
    checking.add_argument("--store", default=os.environ.get("MODELWARD_STORE"), help="its address (MODELWARD_STORE)")
    commands.add_parser("version", help="print the version")
    return parser


def _add_fetch(commands: Any, log: dict[str, Any]) -> None:
    environ = os.environ
    fetch = commands.add_parser("fetch", help="fetch a bundle, verify its digest and unpack it")
    fetch.add_argument(
        "--uri", required=True, help="address of the bundle: store://PATH, s3://, or file:// below the store"
    )
    fetch.add_argument("--digest", required=True, help="expected digest of the bundle, sha256:...")
    fetch.add_argument("--model", help="expected model of the bundle")
    fetch.add_argument("--version", help="expected version of the bundle")
    fetch.add_argument("--into", type=Path, required=True, help="empty directory to unpack into")
    fetch.add_argument(
        "--store", default=environ.get("MODELWARD_STORE"), help="address that store:// stands for (MODELWARD_STORE)"
    )
    fetch.add_argument("--termination-log", **log)


def _add_serve(commands: Any, log: dict[str, Any]) -> None:
    environ = os.environ
    serve = commands.add_parser("serve", help="serve an unpacked bundle until SIGTERM")
    serve.add_argument(
        "--bundle",
        type=Path,
        default=environ.get("MODELWARD_BUNDLE", "/bundle"),
        help="directory of the unpacked bundle (MODELWARD_BUNDLE)",
    )
    serve.add_argument(
        "--digest", default=environ.get("MODELWARD_DIGEST"), help="expected digest of the bundle (MODELWARD_DIGEST)"
    )
    serve.add_argument("--pod", default=environ.get("MODELWARD_POD", "local"), help="name of this pod (MODELWARD_POD)")
    serve.add_argument(
        "--request-timeout",
        type=float,
        default=environ.get("MODELWARD_REQUEST_TIMEOUT", "10"),
        help="seconds until a request times out (MODELWARD_REQUEST_TIMEOUT)",
    )
    serve.add_argument("--host", default="0.0.0.0")  # noqa: S104
    serve.add_argument(
        "--port", type=int, default=8080, help="port of the Open Inference Protocol over REST (default: %(default)s)"
    )
    serve.add_argument(
        "--grpc-port",
        type=int,
        default=9000,
        help="port of the Open Inference Protocol over gRPC (default: %(default)s)",
    )
    serve.add_argument("--control-port", type=int, default=8090, help="port for the operator (default: %(default)s)")
    serve.add_argument(
        "--control-keys",
        type=Path,
        default=environ.get("MODELWARD_CONTROL_KEYS") or None,
        help="the operator's public keys (JWKS); without them the control port is unauthenticated (MODELWARD_CONTROL_KEYS)",
    )
    serve.add_argument(
        "--pod-uid",
        default=environ.get("MODELWARD_POD_UID", "local"),
        help="expected audience of control tokens: the UID of this pod (MODELWARD_POD_UID)",
    )
    serve.add_argument(
        "--tls-cert", type=Path, help="certificate (PEM); clients must then use TLS; reloaded when it changes"
    )
    serve.add_argument("--tls-key", type=Path, help="private key of --tls-cert (PEM)")
    serve.add_argument("--tls-ca", type=Path, help="CA certificates that verify challengers (default: the system's)")
    serve.add_argument(
        "--tls-client-ca", type=Path, help="CA certificates that verify clients; a client certificate is then required"
    )
    serve.add_argument(
        "--tls-server-name",
        default="localhost",
        help="expected server name in a challenger's certificate (default: %(default)s)",
    )
    serve.add_argument("--callers-issuer", help="require a bearer token (JWT) of this issuer")
    serve.add_argument(
        "--callers-audience", action="append", default=[], help="accepted audience of tokens; may be repeated"
    )
    serve.add_argument(
        "--callers-subject", action="append", default=[], help="allowed sub claim; may be repeated (default: any)"
    )
    serve.add_argument(
        "--callers-jwks", type=Path, help="file with the issuer's public keys (JWKS); reloaded when it changes"
    )
    serve.add_argument("--callers-jwks-url", help="URL of the issuer's public keys, instead of --callers-jwks")
    serve.add_argument(
        "--grpc-connection-seconds",
        type=float,
        default=60.0,
        help="seconds until a gRPC client is asked to reconnect (default: %(default)s)",
    )
    serve.add_argument(
        "--drain-seconds", type=float, default=5.0, help="seconds to keep serving after SIGTERM (default: %(default)s)"
    )
    serve.add_argument("--termination-log", **log)


def _add_batch(commands: Any, log: dict[str, Any]) -> None:
    environ = os.environ
    batch = commands.add_parser(
        "batch",
        help="score files with an unpacked bundle; exit status 65 means invalid input",
        description="Score one shard: read its rows, validate them as requests are validated, and write a file of scores.",
    )
    batch.add_argument(
        "--bundle",
        type=Path,
        default=environ.get("MODELWARD_BUNDLE", "/bundle"),
        help="directory of the unpacked bundle (MODELWARD_BUNDLE)",
    )
    batch.add_argument("--digest", required=True, help="expected digest of the bundle")
    batch.add_argument(
        "--input", required=True, help="file, folder, or pattern with *: store://, s3://, or file:// below the store"
    )
    batch.add_argument("--format", choices=["csv", "parquet"], required=True)
    batch.add_argument(
        "--output", required=True, help="folder for the scores: store://, s3://, or file:// below the store"
    )
    batch.add_argument(
        "--keep",
        action="append",
        default=[],
        metavar="COLUMN",
        help="input column to copy to the output; may be repeated",
    )
    batch.add_argument("--on-invalid-row", choices=["fail", "skip", "null"], default="null")
    batch.add_argument("--shards", type=int, default=1)
    batch.add_argument(
        "--shard", type=int, default=environ.get("JOB_COMPLETION_INDEX", "0"), help="(JOB_COMPLETION_INDEX)"
    )
    batch.add_argument(
        "--store", default=environ.get("MODELWARD_STORE"), help="address that store:// stands for (MODELWARD_STORE)"
    )
    batch.add_argument("--termination-log", **log)


if __name__ == "__main__":
    job_process.keep_silent_of_errors()
    sys.exit(main(supervised=True))
