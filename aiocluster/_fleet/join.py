"""A cluster joins its fleet."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from .._primary.primary import Primary
from .._wire.windows import SendWindow
from ..errors import BackplaneError, BackplaneStartupError
from ..fleet import Fleet
from .member import Member


async def join(primary: Primary, backplane: str, fleet: str, lone_agents: Iterable[str]) -> Member:
    """Makes a cluster a member of a fleet. The caller must call `Member.end` once its agents have ended.

    Args:
        primary: The cluster's primary, which has no workers yet.
        backplane: The URL of the Redis.
        fleet: The fleet's name.
        lone_agents: The agents of which the fleet has one each.

    Raises:
        BackplaneStartupError: The backplane can't be had.
    """
    settings, shared = primary.settings, primary._shared
    try:
        member = Member(
            backplane,
            fleet,
            settings.fleet_lease,
            lone_agents,
            shared.router,
            shared.topics,
            shared.hub,
            shared.requests,
        )
    except BackplaneError as error:
        raise BackplaneStartupError(str(error)) from None
    try:
        await member.begin(settings.start_timeout)
    except BaseException:
        await member.end()
        raise
    shared.host = member.host
    member.told = primary._unreachable
    primary._unreachable(member.error)
    return member


class PrimarysView:
    """What a primary knows of its fleet.

    Args:
        member: The cluster in its fleet.
        primary: Its primary.
    """

    def __init__(self, member: Member, primary: Primary) -> None:
        self._member = member
        self._primary = primary

    @property
    def name(self) -> str:
        """See `Fleet.name`."""
        return self._member.name

    @property
    def host(self) -> str:
        """See `Fleet.host`."""
        return self._member.host

    @property
    def members(self) -> Mapping[str, tuple[int, ...]]:
        """See `Fleet.members`."""
        return self._member.members

    @property
    def error(self) -> BackplaneError | None:
        """See `View.error`."""
        return self._member.error

    def windows(self) -> Iterable[SendWindow]:
        """See `View.windows`."""
        for session in self._primary._all_sessions():
            if session.identity.name is None:
                yield session.conversation.send_window
        yield from self._member.own_windows()


def fleet_of(member: Member, primary: Primary) -> Fleet:
    """The fleet as its users see it in a primary."""
    return Fleet._create(PrimarysView(member, primary))
