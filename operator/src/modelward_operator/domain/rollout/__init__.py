"""How versions of one model follow each other: observation in, decision out."""

from modelward_operator.domain.rollout.advance import advance

__all__ = ["advance"]
