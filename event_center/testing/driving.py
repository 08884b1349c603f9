"""
`drive`: a machine tried out by pure steps, without a log, callbacks or asyncio.

    order = drive("machines/order.yaml")
    order.send("flow_begin")
    assert order.owed == ["start_processing"]
    order.advance("24h")
    assert order.state == "error"

What the engine would do with a decision is done by `machine.trial`, on which the tests that machines
bring along run too. For the tests of plugins there is `TestCenter`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from event_center.errors import PluginError
from event_center.machine import Machine
from event_center.machine.decision import Refused
from event_center.machine.duration import duration_ms
from event_center.machine.spelling import hint, listed
from event_center.machine.trial import START_MS, Trial, answering
from event_center.model import Json
from event_center.plugins.discovery import discover
from event_center.plugins.registry import resolve
from event_center.testing.project import MachineLike, loaded


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """What a machine said to an event, or to time; false if it refused."""

    before: str
    """The state before."""
    after: str
    """The state now."""
    actions: tuple[str, ...] = ()
    """The callbacks that are awaited before the transition stands."""
    owed: tuple[str, ...] = ()
    """The entry callbacks that the transition owes."""
    reason: str | None = None
    """Why it was refused, in a word; None: it was accepted."""
    detail: str = ""
    """Why it was refused, in a sentence."""

    def __bool__(self) -> bool:
        return self.reason is None


class Driver:
    """One workflow of a machine, moved by a test. Made by `drive`."""

    def __init__(self, machine: Machine, workflow_id: str) -> None:
        self.machine = machine
        self._trial = Trial(machine, workflow_id)

    @property
    def state(self) -> str:
        """Where it is: the name of a state, or of all active ones joined by `|`."""
        return self._trial.snapshot.state

    @property
    def data(self) -> dict[str, Json]:
        """Its data."""
        return self._trial.snapshot.data

    @property
    def result(self) -> str | None:
        """How it ended: success, failure, cancelled; None: it has not."""
        return self._trial.snapshot.result

    @property
    def owed(self) -> list[str]:
        """The entry callbacks that are owed, in their order."""
        return [one.name for one in self._trial.snapshot.owed]

    @property
    def jobs(self) -> list[str]:
        """The jobs that run."""
        return [one.name for one in self._trial.snapshot.jobs]

    @property
    def timers(self) -> dict[str, float]:
        """What is due later: the names of timers, and in how many seconds from now."""
        now_ms = self._trial.now_ms
        return {one.id: (one.due_ms - now_ms) / 1000 for one in self._trial.snapshot.timers}

    @property
    def passed_s(self) -> float:
        """Seconds since the workflow's test began."""
        return (self._trial.now_ms - START_MS) / 1000

    def send(self, event: str, payload: Json = None) -> Decided:
        """
        Decide one event.

        Raises:
            ExpressionError, GuardFailed: the machine failed on it.
        """
        before = self.state
        return self._decided(before, event, self._trial.send(event, payload))

    def advance(self, duration: str | float) -> Decided:
        """
        Let time pass, and let what becomes due happen, the earliest first.

        Args:
            duration: as machines write it, `24h` or `500ms`, or seconds.

        Raises:
            ValueError: this is no duration.
        """
        before = self.state
        ms = duration_ms(duration) if isinstance(duration, str) else round(duration * 1000)
        return self._decided(before, "", self._trial.wait(ms))

    def done(self, name: str, result: Json = None) -> Decided:
        """
        An entry callback has done its work, or a job has, with this result.

        Raises:
            PluginError: it is not owed; the message says what is.
        """
        before = self.state
        try:
            return self._decided(before, name, self._trial.done(name, result))
        except KeyError:
            raise self._not_owed(name) from None

    def failed(self, name: str, message: str = "it failed") -> Decided:
        """
        An entry callback or a job has failed for good, after all its attempts.

        Raises:
            PluginError: it is not owed; the message says what is.
        """
        before = self.state
        try:
            return self._decided(before, name, self._trial.error(name, {"message": message}))
        except KeyError:
            raise self._not_owed(name) from None

    def _not_owed(self, name: str) -> PluginError:
        known = [*self.owed, *self.jobs]
        return PluginError(
            f"{name!r} is not owed in state {self.state!r}; owed is {listed(known) or 'nothing'}"
            f"{hint(name, known, 'callbacks')}"
        )

    def _decided(self, before: str, event: str, refused: Refused | None) -> Decided:
        if refused is None:
            actions, owed = self._trial.actions, self._trial.effects
            return Decided(before=before, after=self.state, actions=actions, owed=owed)
        why = refused.explained(self.state, event)
        return Decided(before=before, after=self.state, reason=str(refused.reason), detail=why)


def drive(
    machine: MachineLike,
    *,
    guards: Mapping[str, bool] | None = None,
    workflow_id: str = "trial",
) -> Driver:
    """
    A workflow of this machine, to be moved by hand.

    Args:
        machine: a file, a machine from `load` or `parse`, or a class. Its guards are those of the plugin
            beside the file.
        guards: answers of guards, by their names; the plugin is not asked then, nor needed.
        workflow_id: of the workflow.

    Raises:
        DefinitionError, PluginError: the machine or its guards can not be loaded.
    """
    found = loaded(machine)
    if len(found) != 1:
        raise PluginError(
            f"{machine} has {len(found)} machines ({listed(one.name for one in found)}); drive one of "
            "its classes"
        )
    one = found[0]
    answers = dict(guards or {})
    for name in answers:
        if name not in one.guards:
            raise PluginError(
                f"guards[{name!r}]: machine {one.name!r} has no guard of this name"
                f"{hint(name, sorted(one.guards), 'guards')}"
            )
    if one.guards - answers.keys():
        one = resolve(one, discover([Path(one.source)])).machine
    return Driver(answering(one, answers), workflow_id)
