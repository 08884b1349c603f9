"""The topics of an app on a cluster: made with settings that fit, checked, described; what they lose."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import orjson
import pytest
from aiokafka.admin import NewTopic
from typer.testing import CliRunner

from event_center.cli import app
from event_center.cli.exits import Exit
from event_center.errors import ConfigurationError, DataLost
from event_center.log.detail import TopicDetail, Use
from event_center.log.kafka import KafkaLog, KafkaOptions
from event_center.log.kafka.wanted import (
    EVERYWHERE,
    LARGEST_BATCH_BYTES,
    RULES,
    flaws,
    settings_for,
)
from event_center.model import Shard
from tests.kafka.broker import bootstrap
from tests.kafka.harness import KafkaHarness
from tests.kafka.running import TOPIC, Running
from tests.log.harness import flat, joined, numbered
from tests.waiting import PATIENCE_S

EVENT = b'{"workflow_id": "w0", "event": "add"}'
OWN = ("inbox", "commands", "history", "dead-letters", "snapshots")
OPTIONS = KafkaOptions(bootstrap="localhost:9092", app="app", group="group")


def told(running: Running, *arguments: str, code: int = 0) -> Any:
    """Run one of the commands; what it printed, read as JSON."""
    command = ["topics", *arguments, "--json", "--config", str(running.settings)]
    done = CliRunner().invoke(app, command)
    assert done.exit_code == code, done.output
    return orjson.loads(done.stdout)


class TestCommands:
    async def test_create(self, running: Running) -> None:
        """What is missing is made, the snapshots too, and has no flaw; a second time changes nothing."""
        own = {f"event-center.{name}": 4 for name in OWN}
        planned = await in_thread(told, running, "create", "--dry-run")
        assert planned == {"created": own, "existing": [], "dry_run": True}
        missing = await in_thread(told, running, "check", code=Exit.NOTHING)
        assert {flaw["found"] for flaw in missing["flaws"]} == {"missing"}
        made = await in_thread(told, running, "create", "--events")
        assert made["created"] == {**own, "events": 4}
        assert (await in_thread(told, running, "create", "--events"))["created"] == {}
        assert await in_thread(told, running, "check") == {"ok": True, "flaws": []}
        found = {one["name"]: one for one in await in_thread(told, running, "describe")}
        assert found.keys() == {*own, "events"}
        snapshots = found["event-center.snapshots"]
        assert (snapshots["use"], snapshots["replicas"]) == ("snapshots", 1)
        assert snapshots["settings"]["cleanup.policy"] == "compact"
        assert found["event-center.dead-letters"]["settings"]["retention.ms"] == "-1"
        assert [part["partition"] for part in found["events"]["partitions"]] == [0, 1, 2, 3]

    async def test_describe(self, running: Running) -> None:
        """A row for each topic: its use, partitions, copies, records, and the settings that matter most."""
        await in_thread(told, running, "create", "--events")
        producer = running.producer()
        for _ in range(3):
            producer.produce(running.topic, b'{"workflow_id": "w0", "event": "add"}', partition=1)
        producer.flush(PATIENCE_S)
        command = ["topics", "describe", "--config", str(running.settings)]
        done = await in_thread(CliRunner(env={"COLUMNS": "160"}).invoke, app, command)
        assert done.exit_code == 0, done.output
        head, *rows = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines()]
        assert head == [
            *("TOPIC", "USE", "PARTITIONS", "COPIES", "IN SYNC", "OFFSETS"),
            *("CLEANUP.POLICY", "RETENTION.MS", "MAX.MESSAGE.BYTES", "MIN.INSYNC.REPLICAS"),
        ]
        week, month, forever = "604800000", "2592000000", "-1"
        wanted = [
            ("event-center.commands", "commands", "0", "delete", week),
            ("event-center.dead-letters", "dead letters", "0", "delete", forever),
            ("event-center.history", "history", "0", "delete", month),
            ("event-center.inbox", "inbox", "0", "delete", week),
            ("event-center.snapshots", "snapshots", "0", "compact", forever),
            ("events", "events", "3", "delete", week),
        ]
        assert rows == [
            [name, use, "4", "1", "1", records, policy, retention, "1048588", "1"]
            for name, use, records, policy, retention in wanted
        ]

    async def test_check_names_what_is_wrong(self, running: Running) -> None:
        """Each wrong setting is named with its risk; a grave one is an exit code."""
        harness = KafkaHarness(bootstrap())
        wrong = {"cleanup.policy": "delete", "unclean.leader.election.enable": "true"}
        name = f"{running.prefix}event-center.snapshots"
        async with harness.admin() as admin:
            await admin.create_topics([NewTopic(name, 3, 1, topic_configs=wrong)])
        await in_thread(told, running, "create", "--events")
        answer = await in_thread(told, running, "check", code=Exit.NOTHING)
        grave = {flaw["setting"]: flaw for flaw in answer["flaws"] if flaw["grave"]}
        assert grave.keys() == {"cleanup.policy", "unclean.leader.election.enable", "partitions"}
        assert grave["partitions"]["found"] == "3"
        assert "forgotten" in grave["cleanup.policy"]["risk"]
        assert {flaw["topic"] for flaw in answer["flaws"]} == {"event-center.snapshots"}

    async def test_a_center_that_may_not_make_topics(self, running: Running) -> None:
        """With `create_topics = false` a start names what is missing and the command that makes it."""
        running.configure(f"create_topics = false\n{TOPIC}")
        with pytest.raises(
            ConfigurationError, match=r"events; `event-center topics create --events`"
        ):
            await running.prepare()
        await in_thread(told, running, "create", "--events")
        await running.prepare()


async def in_thread(function: Any, *arguments: Any, **options: Any) -> Any:
    """A command has an event loop of its own."""
    return await anyio.to_thread.run_sync(partial(function, *arguments, **options))


class TestSettings:
    @pytest.mark.parametrize("use", list(Use))
    def test_new_topics_have_no_flaw(self, use: Use) -> None:
        """What topics are made with is what the check wants."""
        name = {Use.SNAPSHOTS: OPTIONS.snapshots}.get(use, "topic")
        settings = settings_for(OPTIONS, name)
        if use is Use.LETTERS:
            settings |= {"retention.ms": "-1", "retention.bytes": "-1"}
        assert flaws(TopicDetail(name, (), 3, 3, settings), use, OPTIONS) == []

    @pytest.mark.parametrize(
        ("setting", "value", "grave"),
        [
            ("cleanup.policy", "compact,delete", True),
            ("delete.retention.ms", "0", True),
            ("max.message.bytes", "100000", True),
            ("max.message.bytes", "1000000", True),
            ("max.message.bytes", f"{LARGEST_BATCH_BYTES - 1}", True),
            ("unclean.leader.election.enable", "true", True),
            ("segment.bytes", "1073741824", False),
            ("max.compaction.lag.ms", "9223372036854775807", False),
            ("min.compaction.lag.ms", "86400000", False),
            ("min.cleanable.dirty.ratio", "0.9", False),
            ("min.insync.replicas", "1", True),
            ("min.insync.replicas", "3", False),
            ("min.insync.replicas", "4", True),
        ],
    )
    def test_what_is_wrong_with_snapshots(self, setting: str, value: str, *, grave: bool) -> None:
        """Each setting that can harm is found."""
        settings = {**settings_for(OPTIONS, OPTIONS.snapshots), setting: value}
        [found] = flaws(TopicDetail("app.snapshots", (), 3, 3, settings), Use.SNAPSHOTS, OPTIONS)
        assert (found.setting, found.found, found.grave) == (setting, value, grave)

    def test_too_few_copies(self) -> None:
        """Fewer copies than the settings want are grave."""
        settings = {**settings_for(OPTIONS, OPTIONS.snapshots), "min.insync.replicas": "1"}
        [found] = flaws(TopicDetail("app.snapshots", (), 1, 1, settings), Use.SNAPSHOTS, OPTIONS)
        assert (found.setting, found.grave) == ("replication factor", True)

    def test_every_rule_says_why(self) -> None:
        """A risk is a sentence, and each rule is in the documentation."""
        text = (Path(__file__).parents[2] / "docs/kafka.md").read_text(encoding="utf-8")
        for rule in {*EVERYWHERE, *(rule for rules in RULES.values() for rule in rules)}:
            assert len(rule.risk.split()) > 4
            assert re.search(rf"`{re.escape(rule.setting)}`", text), rule.setting
        assert f"needs a batch of {LARGEST_BATCH_BYTES:,} at most" in text


class TestOvertaken:
    async def test_while_it_reads(self, kafka_harness: KafkaHarness, kafka_log: KafkaLog) -> None:
        """Retention that overtakes a reader is told once, between the records around it."""
        value = b"x" * 1_000
        await kafka_log.publish([o._replace(value=value) for o in numbered("orders", 9_000)])
        async with await joined(kafka_log, ["orders"], 1) as member:
            await member.has(0)
            found = await member.fetched(10, limit=10)
            await kafka_harness.trim("orders", 8_900)
            while not found[-1].records or found[-1].records[-1].offset < 8_999:
                found += await member.group.fetch(member.tokens, 1_000)
            gaps = [batch for batch in found if not batch.records]
            offsets = [record.offset for record in flat(found, "orders", 0)]
            at = offsets.index(8_900)
            assert [gap.after for gap in gaps] == [8_900]
            assert offsets == [*range(at), *range(8_900, 9_000)]
            assert (await member.group.watermarks(Shard(0)))["orders"] == 9_000

    async def test_a_center_stops_and_says_so(self, running: Running) -> None:
        """The whole center, on a cluster: stop by default, continue where it is asked for."""
        await self.lose_some(running)
        match = r"events/0: 2 records from offset 1 to before 3 .*on_data_loss"
        with pytest.raises(DataLost, match=match):
            await running.decided()
        go_on(running)
        told = await running.decided()
        assert (told["lost"], told["events"]["applied"], told["lag"]) == (2, 2, 0)

    async def test_a_topic_that_was_made_anew(self, running: Running) -> None:
        """Its offsets begin at 0 again: nothing is skipped or read in silence, and the way out works."""
        await self.lose_some(running)
        harness = harness_of(running)
        await harness.remove("events")
        await running.prepare()
        producer = running.producer()
        for _ in range(2):
            producer.produce(running.topic, EVENT, partition=0)
        producer.flush(PATIENCE_S)
        with pytest.raises(DataLost, match=r"'events' was deleted and made anew.*on_data_loss"):
            await running.decided()
        go_on(running)
        told = await running.decided()
        assert (told["events"]["applied"], told["lag"]) == (3, 0)

    @staticmethod
    async def lose_some(running: Running) -> None:
        """One event is decided, three more published, and two of these removed."""
        await running.prepare()
        producer = running.producer()
        producer.produce(running.topic, EVENT, partition=0)
        producer.flush(PATIENCE_S)
        await running.decided()
        for _ in range(3):
            producer.produce(running.topic, EVENT, partition=0)
        producer.flush(PATIENCE_S)
        await harness_of(running).trim("events", 3)


def harness_of(running: Running) -> KafkaHarness:
    """What an administrator does to the topics of an app."""
    harness = KafkaHarness(bootstrap())
    harness.options = replace(harness.options, topic_prefix=running.prefix)
    return harness


def go_on(running: Running) -> None:
    """Write `on_data_loss = "continue"`."""
    text = running.settings.read_text(encoding="utf-8")
    text = text.replace("[log]", '[log]\non_data_loss = "continue"')
    running.settings.write_text(text, encoding="utf-8")
