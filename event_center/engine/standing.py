"""
Workflows that only stand in a state: what its table decides alone moves them without waking them.

Of such a workflow there is nothing to tell but where it stands, since when, its data, and what it has seen
of one source; and most events do no more than move it. So the bytes of its data stay as they are, and what
its snapshots and its history have in common with those of others is kept once, by station and by track.
Promises: everything written is byte for byte what the long way writes (`turn`, `wire`); whatever is not as
plain as this wakes the workflow, and goes that way. `dumping` lets workflows stand, the intake looks for
their tracks, and the ledger moves them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeGuard

from event_center.engine.known_ids import with_id, written
from event_center.log.gates import Place
from event_center.machine.decision import Transition
from event_center.machine.moves import Checked, Choice
from event_center.machine.step import Machine
from event_center.model import Snapshot, Status
from event_center.wire import snapshot as wire
from event_center.wire.entries import Counted
from event_center.wire.history import HistoryWriter


class Station:
    """A state of a machine, for the workflows there that have seen this one source and no other."""

    __slots__ = ("alone", "form", "form_with_ids", "moves", "source", "tracks", "where")

    def __init__(self, where: Counted, source: str, machine: Machine) -> None:
        self.where = where
        self.source = source
        moves = machine.moves(where.state)
        self.moves = {name: move for name, move in moves.items() if _only_moves(move)}
        """What the events do that only move a workflow, or let it stay."""
        self.alone = len(self.moves) == len(moves)
        """No event that the state names does more."""
        self.form = wire.form(where, source, ids=False)
        """The snapshots of all of them that have seen no ids, with a place for each part that differs."""
        self.form_with_ids = wire.form(where, source, ids=True)
        self.tracks: dict[str, Track] = {}
        """By the name of their event: those that were used so far."""


class Track:
    """What one event does to every workflow that stands in a station: it takes it to another one."""

    __slots__ = ("enters", "form", "start", "taken", "to")

    def __init__(self, start: Station, to: Station, form: bytes, *, enters: bool) -> None:
        self.start = start
        self.to = to
        self.enters = enters
        """A state is entered: its time begins anew."""
        self.form = form
        """The history records of it, as `HistoryWriter.form` has them."""
        self.taken = 0
        """How often since the ledger has counted it."""


class Standing:
    """One workflow that only stands in a state. The ledger swaps its fields when it moves."""

    __slots__ = ("at_ms", "data", "ids", "offset", "seq", "station")

    def __init__(  # noqa: PLR0917 - the parts of its snapshot, in their order
        self, station: Station, seq: int, at_ms: int, data: bytes, offset: int, ids: bytes
    ) -> None:
        self.station = station
        self.seq = seq
        self.at_ms = at_ms
        self.data = data
        """As JSON."""
        self.offset = offset
        """The highest that it has seen."""
        self.ids = ids
        """Those that it remembers, as `known_ids` writes them."""

    def learns(self, event_id: str) -> bool:
        """Whether it does not know this id yet; from now on it does."""
        ids = with_id(self.ids, event_id)
        if ids is None:
            return False
        self.ids = ids
        return True

    def encode(self) -> bytes:
        """The value of its snapshot."""
        station, ids = self.station, self.ids
        if ids:
            parts = self.seq, self.at_ms, self.data, self.offset, ids[1:-1]
            return station.form_with_ids % parts
        return station.form % (self.seq, self.at_ms, self.data, self.offset)


class Stations:
    """All stations of one shard, made when they are first needed."""

    __slots__ = ("_all", "_machines", "_writer", "live")

    def __init__(self, machines: Mapping[str, Machine], writer: HistoryWriter) -> None:
        self._machines = machines
        self._writer = writer
        self._all: dict[tuple[Counted, str], Station | None] = {}
        self.live: set[Counted] = set()
        """Where nobody is let stand: what comes next may ask for more, and finds who stays live."""

    def standing(self, snapshot: Snapshot, where: Counted, value: bytes) -> Standing | None:
        """What is kept of a workflow that has nothing to do, and has this value; None: it stays live."""
        seen = snapshot.seen
        if snapshot.refusals or len(seen) != 1:
            return None
        ((source, offset),) = seen.items()
        station = self._station(where, source)
        if station is None or not station.alone:
            self.live.add(where)
            return None
        data = wire.dump(snapshot.data)
        ids = written(snapshot.ids)
        made = Standing(station, snapshot.seq, snapshot.entered_at_ms, data, offset, ids)
        return made if made.encode() == value else None

    def track(self, station: Station, name: str, place: Place) -> Track | None:
        """The track of an event of the station's source, from there; None: it does more, or nothing."""
        move = station.moves.get(name)
        if move is None:
            return None
        to = self._station(station.where._replace(state=move.target), station.source)
        if to is None:
            return None
        where = station.where
        shape = (where.machine, where.version, name, *place, where.state, to.where.state)
        form = self._writer.form(shape)
        station.tracks[name] = made = Track(station, to, form, enters=move.entered)
        return made

    def _station(self, where: Counted, source: str) -> Station | None:
        """Where workflows can stand that have seen this source; None: nowhere."""
        key = where, source
        if key not in self._all:
            machine = self._machines.get(where.machine)
            self._all[key] = made = None
            if (
                machine is not None
                and machine.version == where.version
                and where.status is Status.ACTIVE
                and machine.rests(where.state)
            ):
                self._all[key] = made = Station(where, source, machine)
            return made
        return self._all[key]


def _only_moves(move: Transition | Choice | Checked) -> TypeGuard[Transition]:
    """Whether it takes a workflow to a state, or lets it stay there, and that is all."""
    if not isinstance(move, Transition) or not move.plain:
        return False
    return not move.timers and move.memory is None and move.result is None
