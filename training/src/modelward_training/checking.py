"""`python -m modelward_training check`: the checks of a TrainingJob on a desk, without a cluster."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

import yaml
from pydantic import ValidationError

from modelward_api import names
from modelward_api.bundle.data_report import DataReport
from modelward_api.resources.trainingjob import TrainingJobSpec
from modelward_api.wire.exchange import INVALID_INPUT_EXIT_CODE
from modelward_training.errors import InvalidInputError, StoreError

FAILED = 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the command's options."""
    parser.add_argument(
        "--spec", type=Path, required=True, metavar="FILE", help="the TrainingJob's manifest, as YAML or JSON"
    )
    parser.add_argument(
        "--store", metavar="DIR", help="folder, or address, that store:// stands for (default: the spec needs none)"
    )
    parser.add_argument(
        "--report", type=Path, default=Path(), metavar="DIR", help="where the report is written (default: here)"
    )


def check(options: argparse.Namespace) -> int:
    """Check the data, print the findings and write the report; returns the exit code."""
    try:
        spec = read_spec(options.spec)
    except ValidationError as error:
        sys.stderr.writelines(f"{line}\n" for line in _problems(error))
        return INVALID_INPUT_EXIT_CODE
    except (OSError, ValueError) as error:
        sys.stderr.write(f"{options.spec}: {error.strerror if isinstance(error, OSError) else error}\n")
        return INVALID_INPUT_EXIT_CODE
    from modelward_training import pipeline  # its libraries take seconds to import
    from modelward_training.report.summary import Facts, summarise

    facts, refused = Facts(), None
    try:
        pipeline.check(spec, _address(options.store), facts)
    except InvalidInputError as error:
        refused = error
    except StoreError as error:
        sys.stderr.write(f"{error.reason}: {error}\n")
        return FAILED
    report = summarise(spec, facts, refused)
    try:
        written = write_report(report, options.report)
    except OSError as error:
        sys.stderr.write(f"--report must be a folder that can be written: {error.strerror}\n")
        return FAILED
    sys.stdout.write("\n".join((*table(report), *_verdict(report, refused), f"report: {written}", "")))
    return 0 if refused is None else INVALID_INPUT_EXIT_CODE


class _Loader(yaml.SafeLoader):
    """Reads times as text, as kubectl does."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def read_spec(path: Path) -> TrainingJobSpec:
    """Read the spec of a manifest, of the JSON that a Job's pod gets, or a bare spec.

    Raises:
        OSError: the file cannot be read.
        ValueError: it is not such a document.
        ValidationError: the spec is not valid.
    """
    try:
        documents = [d for d in yaml.load_all(path.read_text(), _Loader) if isinstance(d, dict)]
    except yaml.YAMLError:
        raise ValueError("the file is neither YAML nor JSON") from None
    jobs = [document for document in documents if document.get("kind") == "TrainingJob"] or documents
    if not jobs:
        raise ValueError("the file holds no document with kind: TrainingJob and spec")
    return TrainingJobSpec.model_validate(jobs[0].get("spec", jobs[0]))


def write_report(report: DataReport, folder: Path) -> Path:
    """Write both files of the report; returns the page."""
    from modelward_training.report.page import page

    folder.mkdir(parents=True, exist_ok=True)
    (folder / names.VALIDATION_FILE).write_text(json.dumps(report.to_json(), sort_keys=True, indent=1))
    path = folder / names.VALIDATION_PAGE
    path.write_text(page(report))
    return path


def table(report: DataReport) -> list[str]:
    """Return the findings as lines of a table."""
    if not report.findings:
        return ["no findings"]
    rows = [("SEVERITY", "FINDING", "SITE", "ROWS", "MESSAGE")]
    rows += [
        (
            found.severity,
            str(found.code),
            found.site or "",
            "" if found.rows is None else f"{found.rows:,}",
            found.message,
        )
        for found in report.findings
    ]
    return _aligned(rows)


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]) - 1)]
    return [
        "  ".join((*(cell.ljust(width) for cell, width in zip(row, widths, strict=False)), row[-1])) for row in rows
    ]


def _verdict(report: DataReport, refused: InvalidInputError | None) -> list[str]:
    if refused is None:
        parts = ", ".join(
            f"{part.part} {'withheld' if part.rows is None else f'{part.rows:,}'}"
            + (f" at {part.site}" if part.site else "")
            for part in report.parts
        )
        return ["", f"accepted: {parts}"]
    return ["", f"refused: {refused.reason}: {refused.message}", *([f"  at {refused.field}"] if refused.field else [])]


def _problems(error: ValidationError) -> list[str]:
    """Describe what is wrong with the spec, by its paths. The spec is the user's own, and stands in front of him."""
    problems = error.errors(include_input=False, include_url=False)
    return [f"spec.{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in problems]


def _address(store: str | None) -> str | None:
    return store if store is None or "://" in store else f"file://{Path(store).resolve()}"
