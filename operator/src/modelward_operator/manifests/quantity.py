"""Kubernetes quantities as numbers, for comparison. (A pure module cannot import the client's parser.)"""

from __future__ import annotations

from decimal import Decimal

_SUFFIXES = {
    **{unit: Decimal(1000) ** power for unit, power in zip("numkMGTPE", (-3, -2, -1, 1, 2, 3, 4, 5, 6), strict=True)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def amount(quantity: str) -> Decimal:
    """Return the number for a quantity such as ``250m`` or ``1Gi``."""
    digits = quantity.rstrip("numkMGTPEKi")
    return Decimal(digits) * _SUFFIXES.get(quantity[len(digits) :], Decimal(1))
