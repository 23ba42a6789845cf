"""DriftMonitor: compares counts of a model's requests with its training data."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from modelward_api.base import Document, Duration, Name, Timestamp
from modelward_api.resources.conditions import Condition


class DriftTests(Document):
    """When a shift raises an alarm."""

    minimum_effect: Annotated[
        float,
        Field(
            gt=0,
            le=10,
            description="No alarm below this population stability index (PSI, less what chance gives, from rough counts), "
            "however strong the evidence.",
        ),
    ] = 0.1
    alpha: Annotated[
        float,
        Field(
            gt=0,
            lt=0.5,
            description="False-alarm budget. Without drift, at most one alarm in 1/alpha windows on average, over all "
            "features together.",
        ),
    ] = 0.001
    minimum_rows: Annotated[
        int,
        Field(ge=20, le=1_000_000, description="Minimum number of rows in a window. A window with fewer stays open."),
    ] = 100


class Action(Document):
    """One action on an alarm."""

    when: Annotated[
        Literal["drift"],
        Field(description="The alarm. (The field is not called 'on' because YAML reads that as true.)"),
    ] = "drift"
    do: Annotated[
        Literal["alert", "rollback"],
        Field(
            description="alert: set a condition, write an Event and raise a metric. rollback: also return traffic to the "
            "previous version, if it is still warm."
        ),
    ]
    cooldown: Annotated[Duration, Field(description="Minimum time between two runs of this action.")] = "24h"


class DriftMonitorSpec(Document):
    """Model and features to watch, and the actions to take."""

    model: Annotated[Name, Field(description="Name of the model to watch.")]
    interval: Annotated[Duration, Field(description="How often the counts are evaluated.")] = "5m"
    features: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(description="Features to watch. Default: all. 'score' is always watched.", max_length=512),
    ] = ()
    subgroups: Annotated[
        tuple[Annotated[str, Field(max_length=63)], ...],
        Field(
            description="Features to watch in each of the model's subgroups as well, by name; 'score' is the model's score. "
            "An empty list watches no subgroup.",
            max_length=4,
        ),
    ] = ("score",)
    tests: Annotated[DriftTests, Field(description="When a shift raises an alarm.")] = DriftTests()
    actions: Annotated[
        tuple[Action, ...],
        Field(description="What to do on an alarm.", max_length=8),
    ] = (Action(do="alert"),)


class FeatureDrift(Document):
    """Evidence for one feature."""

    name: Annotated[
        str, Field(description="Name of the feature, or 'score'; for a subgroup such as score[sex=female].")
    ]
    rows: Annotated[int, Field(description="Approximate number of rows in the last evaluated window.")]
    log_evidence: Annotated[
        float | None,
        Field(
            description="Natural logarithm of the evidence for drift over all runs of windows that end now, from rough counts. "
            "Absent, as psi and jensenShannon are, for a subgroup while another one of its column has too few rows."
        ),
    ] = None
    threshold: Annotated[float, Field(description="Log-evidence above which drift is called.")]
    psi: Annotated[
        float | None,
        Field(
            description="Effect size over the run of windows with the most evidence: PSI less what chance gives, from "
            "rough counts."
        ),
    ] = None
    jensen_shannon: Annotated[
        float | None,
        Field(
            description="Jensen-Shannon divergence of the same run in bits, less what chance gives, from rough counts."
        ),
    ] = None
    drifting: Annotated[
        bool,
        Field(
            description="True from the moment that evidence and effect exceed their thresholds until three quiet windows have "
            "passed."
        ),
    ]


class ActionTaken(Document):
    """One action that was taken."""

    time: Annotated[Timestamp, Field(description="Time of the action.")]
    do: Annotated[str, Field(description="Action that was taken.")]
    feature: Annotated[str, Field(description="Feature that raised the alarm.")]
    outcome: Annotated[str, Field(description="Result of the action.")]


class DriftMonitorStatus(Document):
    """Observed state of a DriftMonitor."""

    observed_generation: Annotated[
        int | None, Field(description="The metadata.generation that this status was computed from.")
    ] = None
    state: Annotated[
        Literal["Unknown", "InsufficientData", "Quiet", "Drifting"] | None,
        Field(description="Overall state of the monitor."),
    ] = None
    message: Annotated[str | None, Field(description="Human-readable summary in one line.")] = None
    champion: Annotated[
        str | None, Field(description="Name of the ModelVersion whose reference profile the counts are compared with.")
    ] = None
    window_since: Annotated[Timestamp | None, Field(description="Time at which the current window began.")] = None
    rows: Annotated[int | None, Field(description="Number of rows evaluated since monitoring began.")] = None
    worst_feature: Annotated[str | None, Field(description="Feature with the most evidence for drift.")] = None
    evidence: Annotated[str | None, Field(description="Evidence and effect size of worstFeature, for display.")] = None
    features: Annotated[tuple[FeatureDrift, ...], Field(description="Evidence for each feature.")] = ()
    last_alarm: Annotated[Timestamp | None, Field(description="Time of the last alarm.")] = None
    actions_taken: Annotated[
        tuple[ActionTaken, ...], Field(description="Most recent actions, newest last.", max_length=16)
    ] = ()
    conditions: Annotated[
        tuple[Condition, ...], Field(description="Drifting, Ready, Reconciling and Stalled (kstatus).")
    ] = ()
