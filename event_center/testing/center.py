"""
`TestCenter`: the real engine on a log in memory, under virtual time, for the tests of plugins.

    async with TestCenter("machines/order.yaml", fakes={"start_processing": None}) as center:
        await center.publish("o-1", "flow_begin")
        await center.advance("24h")
        assert center.workflow("o-1").state == "error"

Put together as a daemon is (`project`), it runs in the event loop of its test, whatever plugin of pytest
that comes from, and makes the time of that loop virtual while it lives (docs/decisions/0054). The engine
lives in an asyncio task of its own, so that a fixture may open the center in one asyncio task and close
it in another. docs/testing.md is the manual; `looking` has what a test may ask for.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from math import ceil, inf
from types import TracebackType
from typing import Any, Self

import orjson

from event_center.app.publishing import check_topic, known_topics
from event_center.app.settings import Settings
from event_center.app.wiring import app_of, max_event_bytes, partitions_wanted
from event_center.client.commands import make_command, send
from event_center.client.publisher import EventPublisher
from event_center.errors import ConfigurationError, UnknownTopic, Unsettled
from event_center.log.memory import MemoryBroker, MemoryLog
from event_center.log.partitioner import PARTITIONERS
from event_center.machine.duration import duration_ms
from event_center.machine.spelling import listed
from event_center.machine.trial import START_MS
from event_center.model import Json, Outgoing, Shard, Status
from event_center.plugins.callbacks import Callbacks
from event_center.testing.fakes import Call, Fake, note_calls
from event_center.testing.lifetime import Lifetime
from event_center.testing.looking import Looking
from event_center.testing.opened import opened
from event_center.testing.project import Config, MachineLike, Project, plan_for
from event_center.testing.virtual_time import VirtualTime
from event_center.wire.command import Verb

SETTLE_S = 7 * 86_400.0
"""How long, in virtual time, a center may take to come to rest: retries are meant to end by then."""


def _running_loop() -> asyncio.AbstractEventLoop:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        raise ConfigurationError(
            "a TestCenter runs on asyncio: run this test on anyio's backend asyncio, not on trio"
        ) from None


class TestCenter(Looking):
    """A center for one test; see the module's text."""

    __test__ = False  # its name does not make it a test of pytest's

    def __init__(
        self,
        *machines: MachineLike,
        plugins: Iterable[Callbacks] = (),
        fakes: Mapping[str, Fake] | None = None,
        config: Config = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """
        Say what is to be tested; it is loaded when the center is entered.

        Args:
            machines: files (the plugin beside each is found as by a daemon), machines from `load` or
                `parse`, or classes. Each has a topic of its name. None: those of the settings file.
            plugins: callbacks to be taken instead of those beside the machines.
            fakes: what stands in for callbacks and guards, by their names: a function, an answer (an
                event's name, an `Event`, None, an exception), or a list of answers, one a call.
            config: a settings file, if no machines are given; None: where a daemon looks for it.
            settings: over those of the file, nested as in it.
        """
        self._project = Project(
            machines=machines,
            plugins=tuple(plugins),
            config=config,
            settings=settings or {},
            fakes=fakes or {},
        )
        self._noted: list[Call] = []
        self._lives: list[Lifetime] = []
        """One, or none: after a crash."""
        self._dying: list[Lifetime] = []
        """Crashed, and perhaps not gone yet."""
        self._time: VirtualTime | None = None
        self._began = 0.0

    # -- life ----------------------------------------------------------------------------------

    async def __aenter__(self) -> Self:
        """
        Load everything, and start.

        Raises:
            ConfigurationError, DefinitionError, PluginError: something does not fit; it says what.
        """
        self._settings, self._plan = plan_for(self._project, self._clock)
        for bound in [*self._plan.bound.values(), *self._plan.older.values()]:
            note_calls(bound, self._noted, self._clock)
        self._open(self._settings)
        self._time = VirtualTime(_running_loop())
        self._time.begin()
        self._began = self._time.time()
        opened.append(self)
        try:
            await self.start()
        except BaseException:  # whatever it was goes on, and time is real again
            self._time.end()
            raise
        return self

    def _open(self, settings: Settings) -> None:
        partitioner = PARTITIONERS[settings.engine.partitioner]
        most = max_event_bytes(settings)
        self._broker = MemoryBroker(partitioner=partitioner, max_event_bytes=most)
        self._broker.create(partitions_wanted(settings))
        self._app = app_of(settings)
        self._client = MemoryLog(self._broker, clock=self._clock)
        self._publisher = EventPublisher(self._client, most)

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop as a daemon stops; an error of the engine comes out here if the test has none."""
        try:
            if error is not None:
                self.crash()  # nothing is to distract from the failure of the test
            for life in self._lives:
                await life.stop()
            await self._gone()
        finally:
            self._times.end()

    async def _gone(self) -> None:
        """Wait until nothing is left of what has crashed."""
        while self._dying:
            await self._dying.pop().ended()

    async def start(self) -> None:
        """Start again after a crash, and settle: as a daemon that comes up."""
        if self._lives:
            raise Unsettled("the center runs; `crash` ends it before it can start again")
        await self._gone()
        log = MemoryLog(self._broker, clock=self._clock, fetch_wait_s=inf)
        life = Lifetime(log, self._plan)
        self._lives.append(life)
        try:
            await life.start()
        except BaseException:  # whatever it was goes on, and it has not started
            self._lives.remove(life)
            raise
        await self.settle()

    def crash(self) -> None:
        """
        Die as after kill -9: what is not durable is forgotten, and callbacks under way are cut off.

        A callback may call this: so its process dies after what it did, and before anybody knows it.
        """
        while self._lives:
            life = self._lives.pop()
            life.crash()
            self._dying.append(life)
        for shard in range(self._plan.home.shards):
            self._broker.fence(Shard(shard))  # nothing of it writes any more, whatever is under way

    # -- time ----------------------------------------------------------------------------------

    @property
    def _times(self) -> VirtualTime:
        if self._time is None:
            raise Unsettled(
                "this TestCenter is not open: write `async with TestCenter(...) as center`"
            )
        return self._time

    def _clock(self) -> int:
        """The wall clock: it begins in 2026, and goes on with the time of the loop."""
        passed_s = 0.0 if self._time is None else self._time.time() - self._began
        return START_MS + round(passed_s * 1000)

    async def settle(self) -> None:
        """
        Wait until every event is decided, and no callback runs or waits for its next attempt.

        Time passes as far as callbacks and retries need it. Jobs may go on, and timers stay: `advance`
        is for them.

        Raises:
            Unsettled: that never comes; it says what goes on.
        """
        time = self._times
        latest = time.time() + SETTLE_S
        while True:
            await time.until(time.time())
            if await self._quiet():
                return
            moment = time.next()
            if moment == inf or moment > latest:
                raise Unsettled(self._unsettled(never=moment == inf))
            await time.until(moment)

    async def advance(self, duration: str | float) -> None:
        """
        Let time pass, exactly so much; what happens by then has happened when this returns.

        Args:
            duration: as machines write it, `24h` or `500ms`, or seconds.

        Raises:
            ValueError: this is no duration.
        """
        seconds = duration_ms(duration) / 1000 if isinstance(duration, str) else float(duration)
        if seconds < 0:
            raise ValueError(f"time does not go back: {duration!r}; advance by 0 or more")
        time = self._times
        # The engine's clock has whole milliseconds: up to the end of the one that is meant.
        await time.until(ceil(round((time.time() + seconds) * 1000, 3)) / 1000)
        self._check()

    def _check(self) -> None:
        for life in self._lives:
            life.check()

    async def _quiet(self) -> bool:
        """Whether all that the log holds is decided; nothing goes on in a center that is down."""
        self._check()
        for life in self._lives:
            owners = list(life.member.owners.values())
            if len(owners) != self._plan.home.shards:
                return False
            for owner in owners:
                if not await owner.quiet(jobs=False):
                    return False
        return True

    def _unsettled(self, *, never: bool) -> str:
        busy = [f"{one.name} of {one.workflow_id}" for one in self._noted if not one.ended]
        tried = [one.workflow_id for one in self.workflows() if one.status is Status.RETRYING]
        what = "nothing would ever go on" if never else f"it is not at rest after {SETTLE_S:.0f} s"
        return (
            f"the center does not settle: {what}; callbacks that have not ended: "
            f"{listed(busy) or 'none'}; workflows that wait for an attempt: {listed(tried) or 'none'}"
        )

    # -- what goes in --------------------------------------------------------------------------

    async def publish(
        self,
        workflow_id: str,
        event: str,
        payload: Json = None,
        *,
        topic: str | None = None,
        id: str | None = None,  # noqa: A002 - the word of the domain and of CloudEvents
        settle: bool = True,
    ) -> None:
        """
        Publish one event, in the plain form that topics without rules read, and settle.

        Args:
            workflow_id: the workflow that it is for.
            event: its name.
            payload: what JSON can hold.
            topic: where to; may be left out if there is only one.
            id: the event's own id, by which duplicates are found.
            settle: wait for what comes of it; False: only until it is in the log.

        Raises:
            UnknownTopic: there is no such topic, or several, and none was named.
            ValueError, TypeError: the event can not be written.
        """
        await self._publisher.publish(
            self._topic(topic), workflow_id=workflow_id, event=event, payload=payload, event_id=id
        )
        await self._settle(settle)

    async def publish_record(
        self,
        body: Json | bytes,
        *,
        key: str | None = None,
        headers: Mapping[str, str] | None = None,
        topic: str | None = None,
        settle: bool = True,
    ) -> None:
        """
        Publish a record as it is, for topics with rules of their own, and settle.

        Args:
            body: its value: bytes as they are, anything else as JSON.
            key: of the record.
            headers: of the record.
            topic: as of `publish`.
            settle: as of `publish`.

        Raises:
            UnknownTopic, TypeError: as of `publish`.
        """
        value = body if isinstance(body, bytes) else orjson.dumps(body)
        named = tuple((name, text.encode()) for name, text in (headers or {}).items())
        record = Outgoing(self._topic(topic), None if key is None else key.encode(), value, named)
        await self._publisher.append([record])
        await self._settle(settle)

    async def command(
        self, verb: str, workflow_id: str, *, reason: str = "", **args: Json
    ) -> dict[str, Any] | None:
        """
        Ask something of a workflow as an operator does, and settle.

        Args:
            verb: pause, resume, retry, skip, cancel, set-state, discard, replay, forget.
            workflow_id: of whom.
            reason: for the history.
            args: of the verb, as `state` of set-state.

        Returns:
            What became of it, as the history has it; None: no center runs that could have answered.

        Raises:
            ValueError: there is no such verb.
        """
        command = make_command(Verb(verb), workflow_id, reason=reason, args=args)
        await send(self._client, self._app, command)
        await self.settle()
        told = self.history(workflow_id)
        return next((one for one in told if one.get("command_id") == command.id), None)

    async def _settle(self, wanted: bool) -> None:
        if wanted:
            await self.settle()

    def _topic(self, topic: str | None) -> str:
        consumed: Sequence[str] = list(self._settings.topics)
        if topic is not None:
            check_topic(topic, known_topics(self._settings))
            return topic
        if len(consumed) != 1:
            raise UnknownTopic(f"say which topic: there are {listed(consumed) or 'none'}")
        return consumed[0]
