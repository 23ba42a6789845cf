"""Kubernetes' quantities as numbers, to compare them. (The client's own parser is beyond a pure module's reach.)"""

from __future__ import annotations

from decimal import Decimal

_SUFFIXES = {
    **{unit: Decimal(1000) ** power for unit, power in zip("numkMGTPE", (-3, -2, -1, 1, 2, 3, 4, 5, 6), strict=True)},
    **{f"{unit}i": Decimal(1024) ** power for power, unit in enumerate("KMGTPE", 1)},
}


def amount(quantity: str) -> Decimal:
    """The number that a quantity of the API's type Quantity stands for, such as ``250m`` or ``1Gi``."""
    digits = quantity.rstrip("numkMGTPEKi")
    return Decimal(digits) * _SUFFIXES.get(quantity[len(digits) :], Decimal(1))
