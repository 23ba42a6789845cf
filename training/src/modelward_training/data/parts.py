"""What is read: for each file a lazy table in the data's own names."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import polars as pl

from modelward_api.resources.data import Dialect, Source


@dataclass(frozen=True)
class Part:
    """The rows of one file, or of one query."""

    index: int
    """Index of the source in spec.data.sources."""
    source: Source
    names: tuple[str, ...]
    """Names of all columns in the data: data themselves, never told."""
    frame: pl.LazyFrame
    """The columns, called 0, 1, 2 and so on, because two of them may have one name: text as written, or typed."""
    where: str
    """The part in messages: the declared address, and the place among its files."""
    is_trimmed: bool = False
    """Whether no text has spaces around it."""

    @property
    def path(self) -> str:
        """Path of the source in the TrainingJob."""
        return f"spec.data.sources[{self.index}]"

    @property
    def dialect(self) -> Dialect:
        """How numbers and times are written. Only CSV files have a dialect of their own."""
        return self.source.dialect

    @property
    def address(self) -> str:
        """Path of the source's address in the TrainingJob."""
        return f"{self.path}.{'uri' if self.source.sql is None else 'sql'}"


@dataclass(frozen=True)
class Parts:
    """The rows of all sources."""

    parts: tuple[Part, ...]
    digest: str
    """SHA-256 over the bytes of the sources, in the order of the declaration."""
    notes: tuple[str, ...] = ()
    """What was recognised instead of declared, such as a separator."""
    mappings: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    """Mappings of valuesFrom, by address."""
