"""DriftMonitor: watches what a model is asked, by counts against what it was trained on."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Document, Duration, Name, Timestamp
from modelward_api.resources.conditions import Condition


class DriftTests(Document):
    """When a shift counts."""

    minimum_effect: Annotated[
        float,
        Field(
            gt=0,
            le=10,
            description="No alarm below this population stability index (PSI, less what chance gives), however sure.",
        ),
    ] = 0.1
    alpha: Annotated[
        float,
        Field(
            gt=0,
            lt=0.5,
            description="False-alarm budget: without drift, on average at most one alarm in 1/alpha windows over all features.",
        ),
    ] = 0.001
    minimum_rows: Annotated[
        int, Field(ge=20, le=1_000_000, description="Rows in a window before it is judged; fewer wait for more.")
    ] = 100


class Action(Document):
    """What to do on an alarm."""

    when: Annotated[Literal["drift"], Field(description="The alarm. (Not 'on': YAML reads that as true.)")] = "drift"
    do: Annotated[
        Literal["alert", "rollback"],
        Field(description="alert: condition, Event and metric. rollback: the warm version before takes over again."),
    ]
    cooldown: Annotated[Duration, Field(description="The least time between two of this action.")] = "24h"


class DriftMonitorSpec(Document):
    """What to watch, and what to do about it."""

    model: Annotated[Name, Field(description="The model to watch.")]
    interval: Annotated[Duration, Field(description="How often the counts are looked at.")] = "5m"
    features: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(description="The features to watch; all by default. 'score' is always watched.", max_length=512),
    ] = ()
    subgroups: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(
            description="What is watched in each of the model's subgroups, too: the score by default; features by name. An "
            "empty list watches the whole alone.",
            max_length=4,
        ),
    ] = ("score",)
    tests: Annotated[DriftTests, Field(description="When a shift counts.")] = DriftTests()
    actions: Annotated[
        tuple[Action, ...],
        Field(description="What to do on an alarm.", max_length=8),
    ] = (Action(do="alert"),)


class FeatureDrift(Document):
    """What one feature shows."""

    name: Annotated[str, Field(description="The feature, or 'score'; of a subgroup, such as score[sex=female].")]
    rows: Annotated[int, Field(description="About so many rows were in the window that was judged last.")]
    log_evidence: Annotated[
        float,
        Field(
            description="Natural logarithm of the evidence for drift, over all stretches of windows that end now; of rough counts."
        ),
    ]
    threshold: Annotated[float, Field(description="The logarithm at which drift is called.")]
    psi: Annotated[
        float,
        Field(
            description="Effect size of the stretch with the most evidence: PSI less what chance gives, of rough counts."
        ),
    ]
    jensen_shannon: Annotated[
        float, Field(description="Its Jensen-Shannon divergence in bits, less what chance gives, of rough counts.")
    ]
    drifting: Annotated[
        bool, Field(description="From evidence and effect above their thresholds until three quiet windows.")
    ]


class ActionTaken(Document):
    """One action that was taken."""

    time: Annotated[Timestamp, Field(description="When.")]
    do: Annotated[str, Field(description="The action.")]
    feature: Annotated[str, Field(description="The feature that raised the alarm.")]
    outcome: Annotated[str, Field(description="What came of it.")]


class DriftMonitorStatus(Document):
    """What the monitor sees."""

    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this status speaks of.")
    ] = None
    state: Annotated[
        Literal["Unknown", "InsufficientData", "Quiet", "Drifting"] | None, Field(description="The overall state.")
    ] = None
    message: Annotated[str | None, Field(description="One line for people.")] = None
    champion: Annotated[
        str | None, Field(description="The ModelVersion whose reference the counts are compared with.")
    ] = None
    window_since: Annotated[Timestamp | None, Field(description="When the current window began.")] = None
    rows: Annotated[int | None, Field(description="Rows judged since monitoring began.")] = None
    worst_feature: Annotated[str | None, Field(description="The feature with the most evidence.")] = None
    evidence: Annotated[str | None, Field(description="The worst feature's evidence and effect, for people.")] = None
    features: Annotated[tuple[FeatureDrift, ...], Field(description="What each feature shows.")] = ()
    last_alarm: Annotated[Timestamp | None, Field(description="When drift was last called.")] = None
    actions_taken: Annotated[
        tuple[ActionTaken, ...], Field(description="The last actions, newest last.", max_length=16)
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...], Field(description="Drifting, and Ready, Reconciling, Stalled (kstatus).")
    ] = ()
