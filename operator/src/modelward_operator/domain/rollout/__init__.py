"""The rollout of a model's versions: observation in, decision out."""

from modelward_operator.domain.rollout.advance import advance

__all__ = ["advance"]
