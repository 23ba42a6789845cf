"""Differences between sites: each site's features against those of all other sites, in the bins and by the formulas of drift."""

from __future__ import annotations

from collections.abc import Mapping
from math import log

import numpy as np

from modelward_api.bundle.shift import MIN_REFERENCE_ROWS, drift_effect, log_drift_evidence
from modelward_api.resources.reasons import FindingCode
from modelward_training.data.dataset import Dataset
from modelward_training.data.findings import Finding
from modelward_training.reference.profile import counts_in, feature_reference

MIN_EFFECT = 0.25
"""PSI, less its noise, from which a difference is told: sites are not alike, and small differences are expected."""
MAX_ROWS = 200_000
"""Rows that are compared: more change no difference that is told."""
MIN_ODDS = 1000.0
"""Evidence beside it: the Bayes factor, over all comparisons."""


def site_differences(data: Dataset, where: Mapping[str, str]) -> list[Finding]:
    """Tell of features that a site's patients have otherwise than those of the other sites, or that it records otherwise.

    Args:
        data: the rows of all sites.
        where: path in the TrainingJob by column.
    """
    if data.site is None:
        return []
    names, codes = data.site
    of_site = np.bincount(codes, minlength=len(names))
    if len(data) > MAX_ROWS:
        sample = np.sort(np.random.default_rng(0).choice(len(data), MAX_ROWS, replace=False))
        data, codes = data.take(sample), codes[sample]
    rows = np.bincount(codes, minlength=len(names))
    judged = [
        i for i, name in enumerate(names) if name and MIN_REFERENCE_ROWS <= rows[i] <= len(data) - MIN_REFERENCE_ROWS
    ]
    threshold = log(MIN_ODDS * max(1, len(judged) * len(data.features)))
    findings = []
    for column in data.features:
        if column.kind == "timestamp":
            continue
        reference = feature_reference(column, data)
        by_site = {i: counts_in(reference, data, codes == i) for i in judged}
        for i, here in by_site.items():
            elsewhere = tuple(whole - part for whole, part in zip(reference.counts, here, strict=True))
            effect = drift_effect(elsewhere, here)
            if effect >= MIN_EFFECT and log_drift_evidence(elsewhere, here) >= threshold:
                findings.append(_finding(column.name, str(names[i]), effect, int(of_site[i]), where[column.name]))
    return findings


def _finding(column: str, site: str, effect: float, rows: int, field: str) -> Finding:
    message = f"{column} at site {site} differs from the other sites (PSI {effect:.2g}): check its unit, coding and measurement"
    return Finding(FindingCode.SITE_DIFFERS, "warning", message, field, column, site, rows)
