"""Tables of cases, of which `make check` runs some and `make test` the rest."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import pytest


def cases(table: Mapping[str, Any], always: Collection[str]) -> list[Any]:
    """Return parameters by name. Those not named in ``always`` are marked slow; a tuple becomes several arguments."""
    assert set(always) <= set(table), "a case that is always tried is in the table"
    return [
        pytest.param(
            *(value if isinstance(value, tuple) else (value,)), id=name, marks=[pytest.mark.slow] * (name not in always)
        )
        for name, value in table.items()
    ]
