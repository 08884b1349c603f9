"""Topics that change under a center: gaps, topics made anew, partitions that were not there before."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio
import pytest

from event_center.engine.home import Home
from event_center.engine.member import TOPICS_S, Member
from event_center.errors import ConfigurationError, DataLost, EventCenterError, UnknownTopic
from event_center.log.memory import MemoryLog
from event_center.log.partitioner import murmur2
from tests.engine.script import HOLD, Script
from tests.engine.test_log_errors import world_with
from tests.engine.world import EVENTS, OWN, World

COUNTER = """
    machine: counter
    version: 1
    initial: open
    perpetual: true
    data: {n: 0}
    states:
      open: {on: {add: {assign: {n: =data.n + 1}}}}
    """


async def ends_with(world: World, error: type[EventCenterError], match: str) -> None:
    """Run one more member on the world's log until it ends with this error."""
    member = Member(MemoryLog(world.broker, clock=world.clock), world.plan)
    with pytest.RaisesGroup(pytest.RaisesExc(error, match=match), flatten_subgroups=True):
        await member.run()


def continuing(world: World) -> None:
    """Write `on_data_loss = "continue"`."""
    world.plan = replace(world.plan, continue_after_loss=True)


async def stopped_behind(world: World) -> None:
    """Two events are read, three more published while nobody runs."""
    for _ in range(2):
        world.send("w", "add")
    await world.idle()
    await world.stop()
    for _ in range(3):
        world.send("w", "add")


class TestGaps:
    async def test_retention_that_was_faster_stops_the_center(self) -> None:
        """P1: records that are gone unread are named, and nothing is skipped."""
        async with World(COUNTER) as world:
            await stopped_behind(world)
            world.broker.trim((EVENTS, 0), 4)
            message = r"events/0: 2 records from offset 2 to before 4 .*on_data_loss"
            await ends_with(world, DataLost, message)
            assert world.entry().offsets[EVENTS] == 2

    async def test_with_continue_it_goes_on_and_says_so(self) -> None:
        """The twin: what is there is read, what is lost is counted and told in the history."""
        async with World(COUNTER) as world:
            world.audits = False  # it asks for an outcome of every record
            await stopped_behind(world)
            world.broker.trim((EVENTS, 0), 4)
            continuing(world)
            await world.start()
            await world.idle()
            assert world.snapshot("w").data == {"n": 3}
            entry = world.entry()
            assert (entry.lost, entry.offsets[EVENTS]) == ({EVENTS: 2}, 5)
            [told] = world.history(kind="lost")
            assert (told["reason"], told["records"]) == ("retention", 2)
            assert (told["topic"], told["since"], told["next"]) == (EVENTS, 2, 4)

    async def test_what_was_never_begun_is_no_loss(self) -> None:
        """A topic that is new to a shard is read from its oldest record."""
        async with World(COUNTER) as world:
            world.audits = False
            await world.stop()
            for _ in range(3):
                world.send("w", "add")
            world.broker.trim((EVENTS, 0), 2)
            await world.start()
            await world.idle()
            assert world.snapshot("w").data == {"n": 1}
            assert world.entry().lost == {}


class TestMadeAnew:
    async def test_it_stops_the_center(self) -> None:
        """Offsets of the old topic say nothing in the new one: nothing is skipped or read again."""
        async with World(COUNTER) as world:
            world.audits = False
            await stopped_behind(world)
            world.broker.remove(EVENTS)
            world.broker.create({EVENTS: 1})
            world.send("w", "add")
            await ends_with(world, DataLost, r"'events' was deleted and made anew.* events up to 2")

    async def test_with_continue_all_of_it_is_read(self) -> None:
        """The twin: events below the old offset count too, once, also after a takeover."""
        async with World(COUNTER) as world:
            world.audits = False
            await stopped_behind(world)
            world.broker.remove(EVENTS)
            world.broker.create({EVENTS: 1})
            world.send("w", "add")
            continuing(world)
            await world.start()
            await world.idle()
            assert world.snapshot("w").data == {"n": 3}
            await world.crash_and_recover()
            world.send("w", "add")
            await world.idle()
            assert world.snapshot("w").data == {"n": 4}
            assert world.snapshot("w").seen == {EVENTS: 1, f"{EVENTS}~1": 1}
            assert world.entry().redelivered == 0
            [told] = world.history(kind="lost")
            assert (told["reason"], told["records"], told["topic"]) == ("made_anew", None, EVENTS)

    async def test_while_it_runs(self) -> None:
        """A center notices within seconds that a topic is another one."""
        async with World(COUNTER) as world:

            def change() -> None:
                world.broker.remove(EVENTS)
                world.broker.create({EVENTS: 1})

            await stops_after(world, change, DataLost, "made anew while the center read it")

    async def test_one_that_is_gone(self) -> None:
        """A topic that was deleted is missed at the second look, with what to do."""
        async with World(COUNTER) as world:
            world.audits = False
            match = "'events' was deleted.* create it again"
            await stops_after(world, lambda: world.broker.remove(EVENTS), UnknownTopic, match)


class TestGrowth:
    async def test_new_partitions_are_read_without_a_restart(self) -> None:
        """Events on partitions that were not there before are forwarded, and decided once."""
        async with World(COUNTER, shards=2) as world:
            world.send("w", "add")
            await world.idle()
            world.broker.grow(EVENTS, 5)
            for partition in range(5):
                world.send("w", "add", partition=partition)
            await world.rest(TOPICS_S * 1.5)
            await world.idle()
            assert world.snapshot("w").data == {"n": 6}
            assert {name for q in (0, 1) for name in world.entry(q).offsets} >= {
                "events/2",
                "events/3",
                "events/4",
            }

    async def test_a_callback_goes_on_meanwhile(self) -> None:
        """Growth interrupts no run that is under way."""
        work = Script(HOLD)
        async with world_with(work) as world:
            world.send("w", "go")
            await world.rest()
            world.broker.grow(EVENTS, 2)
            await world.rest(TOPICS_S * 1.5)
            assert len(work.calls) == 1
            world.send("w", "add", partition=1)
            work.let_go("done")
            await world.idle()
            assert len(work.calls) == 1
            assert world.snapshot("w").data == {"n": 1}

    @pytest.mark.parametrize("topic", [OWN.inbox, OWN.commands])
    async def test_of_the_centers_own_topics(self, topic: str) -> None:
        """Shard p has partition p of them and no other: more are refused, with the way out."""
        async with World(COUNTER) as world:
            match = f"'{topic}' has 2 partitions.* make it anew with 1 partitions"
            await stops_after(world, lambda: world.broker.grow(topic, 2), ConfigurationError, match)

    async def test_where_records_may_not_be_forwarded(self) -> None:
        """`wrong_partition = "dead_letter"` and another number of partitions do not go together."""
        async with World(COUNTER, dead_letter_strays=[EVENTS]) as world:
            match = 'write wrong_partition = "forward"'
            await stops_after(
                world, lambda: world.broker.grow(EVENTS, 2), ConfigurationError, match
            )

    async def test_of_history_harms_nothing(self) -> None:
        """Each shard writes its own partition; others stay empty."""
        async with World(COUNTER) as world:
            world.broker.grow(OWN.history, 3)
            world.send("w", "add")
            await world.rest(TOPICS_S * 1.5)
            await world.idle()
            assert world.snapshot("w").data == {"n": 1}

    async def test_another_number_of_shards_is_refused(self) -> None:
        """Workflows live where the first number of shards put them."""
        async with World(COUNTER) as world:
            world.send("w", "add")
            await world.idle()
            await world.stop()
            await world.rest()
            for topic in (OWN.inbox, OWN.commands, OWN.history, OWN.dead_letters):
                world.broker.grow(topic, 2)
            world.plan = replace(world.plan, home=Home(murmur2, 2))
            await ends_with(world, ConfigurationError, "write partitions = 1")


async def stops_after(
    world: World, change: Callable[[], None], error: type[EventCenterError], match: str
) -> None:
    """Let a member run, change something under it, and wait until it ends with this error."""
    await world.stop()
    member = Member(MemoryLog(world.broker, clock=world.clock), world.plan)
    with pytest.RaisesGroup(pytest.RaisesExc(error, match=match), flatten_subgroups=True):
        async with anyio.create_task_group() as tasks:
            await tasks.start(member.run)
            await world.rest(TOPICS_S * 1.5)
            change()
