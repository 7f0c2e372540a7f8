"""From the settings that a user gives to those that a cluster runs with: some follow from others. Pure."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

from ..scheduling._registry import WEIGHTED
from ..settings import AT_THE_START, Agent, Settings, check_setting

REPORTS_PER_HANG = 4
"""How many reports of its event loop a worker has missed, at least, when it is taken for blocked."""


@dataclass(frozen=True, slots=True)
class Given:
    """The settings as they were given, one after the other.

    Attributes:
        settings: Their values.
        is_policy_chosen: Whether ``scheduling`` is among them.
    """

    settings: Settings = field(default_factory=Settings)
    is_policy_chosen: bool = False

    def changed(self, changes: Mapping[str, Any]) -> Self:
        """Returns these with some of them replaced.

        Raises:
            ValueError: A setting is out of its range.
            TypeError: There is no such setting, or it is of the wrong type.
        """
        is_chosen = changes["scheduling"] is not None if "scheduling" in changes else self.is_policy_chosen
        return replace(self, settings=self.settings._changed("Cluster", changes), is_policy_chosen=is_chosen)

    def completed(self) -> Settings:
        """Returns the settings to run with: the policy goes by the weights, and ``heartbeat`` suits ``hang_timeout``.

        Raises:
            ValueError: The policy that was chosen, here or by ``AIOCLUSTER_SCHEDULING``, has no weights; or there is a
                backplane without a fleet, a fleet without a backplane, or an agent of a fleet without one.
        """
        settings = _with_weighted_policy(self.settings, self.is_policy_chosen)
        settings = _with_fleet(settings)
        if (limit := settings.hang_timeout) is not None:
            settings = replace(settings, heartbeat=min(settings.heartbeat, limit / REPORTS_PER_HANG))
        return settings


def check_can_be_changed(changes: Mapping[str, Any]) -> None:
    """Raises TypeError if a setting is among these that only counts when a cluster starts."""
    for name in sorted(AT_THE_START.intersection(changes)):
        instead = "; scale() changes the number of workers" if name == "workers" else ""
        raise TypeError(f"setup() can't change {name}, which counts when the cluster starts{instead}")


def check_weights(settings: Settings, most: int) -> None:
    """Raises ValueError if there are weights, but not one for each of so many workers."""
    if settings.weights is not None and len(settings.weights) != most:
        raise ValueError(f"weights must be {most} numbers, one per worker, not {settings.weights!r}")


def _with_fleet(given: Settings) -> Settings:
    changes = {
        name: check_setting(name, os.environ[variable])
        for name, variable in (("backplane", "AIOCLUSTER_BACKPLANE"), ("fleet", "AIOCLUSTER_FLEET"))
        if getattr(given, name) is None and os.environ.get(variable)
    }
    settings = replace(given, **changes)
    if settings.fleet is None and settings.backplane is not None:
        raise ValueError("backplane needs fleet, the name of the fleet that this cluster is one of")
    if settings.backplane is None and settings.fleet is not None:
        raise ValueError("fleet needs backplane, the URL of the Redis that its clusters share")
    alone = [name for name, agent in (settings.agents or {}).items() if is_of_fleet(agent)]
    if alone and settings.fleet is None:
        raise ValueError(f"the agent {alone[0]!r} is to be one in the fleet: that needs backplane and fleet")
    return settings


def is_of_fleet(agent: Any) -> bool:
    """Whether the fleet has one agent of that name, not each cluster."""
    return isinstance(agent, Agent) and agent.once == "fleet"


def _with_weighted_policy(given: Settings, is_chosen: bool) -> Settings:
    if given.weights is None:
        return given
    if not is_chosen and not os.environ.get("AIOCLUSTER_SCHEDULING"):
        return replace(given, scheduling="weighted_round_robin")
    if isinstance(given.scheduling, str) and given.scheduling not in WEIGHTED:
        raise ValueError(
            f"weights have no effect with the policy {given.scheduling!r}: "
            f"take one of {', '.join(WEIGHTED)}, or no weights"
        )
    return given
