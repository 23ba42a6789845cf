"""Families of models: one file a family behind ``base.Family``, and the registry of them."""

from __future__ import annotations

from modelward_training.estimators.base import Family
from modelward_training.estimators.boosting import GradientBoostingFamily
from modelward_training.estimators.linear import LogisticRegressionFamily

FAMILIES: dict[str, Family] = {
    family.algorithm: family for family in (LogisticRegressionFamily(), GradientBoostingFamily())
}
"""By the value of spec.estimator.algorithm."""
