"""
What the engine of one center works with: machines, callbacks, envelopes, topics and limits.

Made once by the wiring, frozen, and shared by all shards. Every room above the log and the machine
meets here, so that the engine itself never looks into settings.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from event_center.engine.closed_topics import ClosedTopics
from event_center.engine.home import Home
from event_center.engine.workflow import Waiting
from event_center.errors import InvariantError, Undecodable
from event_center.machine.step import Machine
from event_center.model import Event, Snapshot
from event_center.plugins.listening import Listener
from event_center.plugins.registry import Bound
from event_center.plugins.signatures import Callback
from event_center.wire.envelope import Envelope


@dataclass(frozen=True, kw_only=True, slots=True)
class OwnTopics:
    """The topics that belong to the app, by what they hold."""

    inbox: str
    commands: str
    history: str
    dead_letters: str


@dataclass(frozen=True, kw_only=True, slots=True)
class EngineLimits:
    """The limits of one process; each is a setting with its reason (docs/configuration.md)."""

    max_waiting: int = 10_000
    """Waiting events of one workflow; later ones are dead-lettered in sequence."""
    waiting_bytes: int = 256 * 1024**2
    """Events that wait in one shard, whatever for, before its intake pauses."""
    max_held: int = 100
    """Events that are held for one workflow that does not exist yet."""
    max_held_in_shard: int = 10_000
    callbacks: int = 1_000
    """Callbacks under way at once in the process, without jobs."""
    jobs: int = 1_000
    """Jobs under way at once in the process: they last, and may not keep callbacks from running."""
    threads: int = 40
    """Of the callbacks, and as many again of the jobs, plain functions: each holds a thread."""
    mailbox: int = 10_000
    """Events that wait for their turn in the memory of the process before the intake pauses."""
    mailbox_bytes: int = 64 * 1024**2
    """The same in bytes."""
    cut_records: int = 20_000
    """Records that a shard may take in before a cut covers them."""
    cut_bytes: int = 64 * 1024**2
    """What one cut of a shard may hold beside small things: large snapshots, letters, what is sent."""
    snapshot_bytes: int = 16 * 1024**2
    """Data of one workflow and the events that it still works on; what would add more is rejected."""
    record_bytes: int = 64 * 1024**2
    """What the log can hold of one record that callbacks send, or that is forwarded."""
    warm: int = 20_000
    """Workflows that stay decoded after their last event: these, and up to as many before them."""
    keep_finished_ms: int | None = None
    """How long a finished workflow is kept after all of it is over; None is for ever."""
    kept_bytes: int = 256 * 1024**2
    """Of shards that were released, for the case that they come back."""
    grace_s: float = 20.0
    """How long a shutdown waits for callbacks that are under way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Everything that the engine needs to know besides its log."""

    app: str
    bound: Mapping[str, Bound]
    """Per machine its definition with guards, and its callbacks."""
    machines: Mapping[str, Machine]
    envelopes: Mapping[str, Envelope]
    """Per topic that carries events, the inbox included."""
    dead_letter_strays: frozenset[str]
    """Topics whose records on a wrong partition become letters instead of being forwarded."""
    topics: OwnTopics
    publishable: frozenset[str]
    """Topics that callbacks may publish to."""
    home: Home
    clock: Callable[[], int]
    limits: EngineLimits
    continue_after_loss: bool = False
    """Go on without records that are gone before they were read; False: stop and say so."""
    owner: str = ""
    """What the shard entries call this process: host and process id."""
    at_least_once: bool = False
    """The log may hold the records of a cut twice after a crash: events get ids by which that is seen."""
    older: Mapping[tuple[str, int], Bound] = field(default_factory=dict)
    """Older versions, by name and version, of machines whose workflows stay where they are."""
    listeners: tuple[Listener, ...] = ()
    """Functions of plugins that hear what has happened."""
    steady: bool = False
    """Clock and topics change only as this process knows: nobody has to look whether they did."""
    closed_topics: ClosedTopics = field(default_factory=ClosedTopics)
    """Topics that take nothing at the moment: the one thing in here that changes."""
    every_outcome: bool = True
    """History holds every outcome; False: only what moved a workflow."""

    def callback(self, snapshot: Snapshot, name: str) -> Callback:
        """The implementation of a callback that a workflow's machine names."""
        bound = self.bound[snapshot.machine]
        if bound.machine.version != snapshot.version:
            bound = self.older.get((snapshot.machine, snapshot.version), bound)
        return bound.callbacks[name]

    def machine_of(self, snapshot: Snapshot) -> Machine | None:
        """The machine that a workflow runs: the loaded one, or the version that it is pinned to."""
        machine = self.machines.get(snapshot.machine)
        if machine is None or machine.version == snapshot.version or not machine.pins:
            return machine
        older = self.older.get((snapshot.machine, snapshot.version))
        return None if older is None else older.machine

    def running(self, snapshot: Snapshot) -> Machine:
        """The same for a workflow of which something was decided: its machine is there."""
        machine = self.machine_of(snapshot)
        if machine is None:
            msg = f"machine {snapshot.machine!r} of {snapshot.workflow_id!r} is not loaded"
            raise InvariantError(msg)
        return machine

    def event_of(self, item: Waiting) -> Event | None:
        """The event of something that waits; None if its topic's rules can not read it any more."""
        if item.event is None and item.record is not None:
            envelope = self.envelopes.get(item.topic)
            if envelope is None:
                return None
            try:
                item.event = envelope.read(item.record, item.partition)[2]
            except Undecodable:
                return None
        return item.event

    def consumed(self) -> list[str]:
        """The topics that a center reads: commands first."""
        return [self.topics.commands, *self.envelopes]
