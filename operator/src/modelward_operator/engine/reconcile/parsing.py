"""Parse the content of objects, and explain what is wrong with it."""

from __future__ import annotations

from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError

Model = TypeVar("Model", bound=BaseModel)


def tolerant(model: type[Model], written: Any) -> Model:
    """Parse a status; return an empty one if it is invalid, as it is rewritten anyway."""
    try:
        return model.model_validate(written or {})
    except ValidationError:
        return model()


def explain(error: ValidationError, at: str = "spec") -> str:
    """Return the first problems of a document, with their paths and without values."""
    problems = []
    for problem in error.errors(include_input=False, include_url=False)[:3]:
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"])
        problems.append(f"{at}{path}: {problem['msg']}")
    return "; ".join(problems)
