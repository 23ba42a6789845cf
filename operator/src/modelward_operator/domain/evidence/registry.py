"""The signals of a rollout, each once. ``tests/unit/operator/domain/test_signals.py`` names what a new one still lacks.

To add a signal: an entry here; its counts in ``PairedCounts`` (and in the serving pods, which count them); its name in the API's
``SignalEvidence``; its judgement in ``signals.assess``.
"""

from __future__ import annotations

from dataclasses import dataclass

from modelward_api.resources.modelversion import Analysis


@dataclass(frozen=True, slots=True)
class Signal:
    """One way in which a challenger can be worse than the champion."""

    name: str
    """Its name in the API."""
    words: str
    """The words after the rate, as in '3% missed deadlines'."""
    counts: tuple[str, ...]
    """The fields of ``PairedCounts`` that only this signal rests on."""
    allowance: str | None = None
    """The field of ``Analysis`` that says how much is allowed; None: it shares ``error_margin``."""
    is_certain: bool = False
    """Whether it calls harm without any test, by failures that leave no doubt."""

    def is_tested(self, analysis: Analysis) -> bool:
        """Whether it can call harm by evidence: then it takes its share of ``alpha``. One that is allowed everything cannot."""
        if self.is_certain:
            return False
        return self.allowance is None or getattr(analysis, self.allowance) < 1


SIGNALS = (
    Signal("validity", "validity", ("invalid", "opening_pairs", "opening_errors"), is_certain=True),
    Signal("errors", "errors", ("errors_challenger", "errors_champion")),
    Signal("latency", "missed deadlines", ("late_challenger", "late_champion")),
    Signal("flips", "changed decisions", ("flips",), "flip_allowance"),
    Signal("latency-shift", "more slow answers", ("slower_challenger", "slower_champion"), "latency_shift"),
    Signal("score-shift", "scores moved", ("higher_challenger", "higher_champion"), "score_shift"),
)
"""In the order of the status."""

OTHER_COUNTS = frozenset({"pairs", "compared", "errors_both", "late_both", "answered", "fallbacks", "requests"})
"""Fields of ``PairedCounts`` that belong to no single signal: those that several signals use, and those that describe
traffic."""
