"""What a center may do on a secured broker: exactly the entries of docs/security.md, each needed."""

from __future__ import annotations

import re
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest
import pytest_asyncio
from structlog.testing import capture_logs

from event_center import Center, Publisher
from event_center.app.opening import open_log
from event_center.app.settings import Settings, load_settings
from event_center.errors import EventCenterError, NotCommitted, Unknown
from event_center.model import Outgoing, Shard
from scripts.broker import Cluster, acls
from scripts.broker.acls import Entry, May, On, Pattern
from scripts.broker.security import CLIENT, PASSWORD
from tests.kafka.broker import secured
from tests.log.harness import joined, puts
from tests.waiting import PATIENCE_S, until

MACHINE = """
machine: order
version: 1
initial: new
states:
  new: {on: {flow_begin: told}}
  told: {entry: tell, on: {heard: ended}}
  ended: {type: final, result: success}
"""
PLUGIN = """
from event_center import callbacks

order = callbacks("order")


@order.action("tell")
async def tell(ctx):
    ctx.emit("heard")
"""
SETTINGS = """
app = "app"
machines = ["order.yaml"]
[log]
kind = "kafka"
[log.kafka]
bootstrap = "{bootstrap}"
topic_prefix = "{prefix}"
replication_factor = 1
session_timeout = "6s"
heartbeat = "200ms"
request_timeout = "5s"
{access}
[topics.orders]
machine = "order"
"""
ACCESS = """
[log.kafka.tls]
enabled = true
ca_file = "{authority}"
[log.kafka.sasl]
mechanism = "SCRAM-SHA-512"
username = "{user}"
password = "{password}"
"""
TOPICS = {
    "orders": (May.READ,),
    "app.inbox": (May.READ, May.WRITE),
    "app.commands": (May.READ,),
    "app.snapshots": (May.READ, May.WRITE),
    "app.history": (May.WRITE,),
    "app.dead-letters": (May.WRITE,),
}
NEEDED = [
    *((On.TOPIC, name, may) for name, allowed in TOPICS.items() for may in allowed),
    (On.GROUP, "app.center", May.READ),
    (On.TRANSACTIONAL_ID, "app.center.", May.WRITE),
]
"""What a daemon needs, as docs/security.md has it."""
LATER = (
    (On.TOPIC, "app.snapshots", May.READ),
    (On.TOPIC, "app.dead-letters", May.WRITE),
)
"""Those of them that are missed at the next takeover, and at the first letter."""
AT_WORK = [one for one in NEEDED if one not in LATER]
EACH = 2
"""Events that one order takes: its beginning, and what its callback emits."""
ROOT = Path(__file__).resolve().parents[2]


class Project:
    """A center on the secured broker, and a super user beside it."""

    def __init__(self, folder: Path, broker: Cluster) -> None:
        assert broker.security is not None
        self.folder, self.broker = folder, broker
        (folder / "order.yaml").write_text(MACHINE, encoding="utf-8")
        (folder / "order.py").write_text(PLUGIN, encoding="utf-8")
        self.prefix = f"t{uuid.uuid4().hex[:12]}."
        access = ACCESS.format(authority=broker.security.authority, user=CLIENT, password=PASSWORD)
        self.settings = self._settings("center", broker.secure, access)
        self.super = self._settings("super", broker.plain, "")

    def _settings(self, name: str, bootstrap: str, access: str) -> Settings:
        file = self.folder / f"{name}.toml"
        text = SETTINGS.format(bootstrap=bootstrap, prefix=self.prefix, access=access)
        file.write_text(text, encoding="utf-8")
        return load_settings(file)

    async def give(self, *needed: tuple[On, str, May]) -> None:
        """Let the center do this too."""
        await acls.give(self.broker.plain, CLIENT, map(self._entry, needed))

    async def take(self, needed: tuple[On, str, May]) -> None:
        """Let the center do this no more."""
        await acls.take(self.broker.plain, CLIENT, self._entry(needed))

    def _entry(self, needed: tuple[On, str, May]) -> Entry:
        on, name, may = needed
        pattern = Pattern.PREFIXED if on is On.TRANSACTIONAL_ID else Pattern.LITERAL
        return Entry(on, self.prefix + name, may, pattern)

    async def publish(self, workflow_id: str) -> None:
        """Begin an order."""
        async with Publisher.open(self.super) as publisher:
            await publisher.publish("orders", workflow_id=workflow_id, event="flow_begin")

    @asynccontextmanager
    async def running(self) -> AsyncIterator[Running]:
        """Run the center beside the test."""
        started = Running(self.settings)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(started.run)
            yield started
            await started.stop()


class Running:
    """A center under way, which begins again when it could not begin."""

    def __init__(self, settings: Settings) -> None:
        self.errors: list[str] = []
        self._settings = settings
        self._center: Center | None = None
        self._stopped = False

    async def run(self) -> None:
        """Run, and note why it did not start."""
        while not self._stopped:
            try:
                async with Center.open(self._settings) as self._center:
                    await self._center.run()
            except EventCenterError as error:
                self.errors.append(str(error))

    async def stop(self) -> None:
        """End it."""
        self._stopped = True
        assert self._center is not None
        await self._center.stop()

    async def has_applied(self, count: int) -> None:
        """Wait until so many events are applied."""
        await until(lambda: self._center is not None and self._applied() >= count)

    def _applied(self) -> int:
        assert self._center is not None
        totals: dict[str, int] = self._center.totals
        return totals.get("applied", 0)


@pytest_asyncio.fixture
async def project(tmp_path: Path) -> Project:
    """A center that has run once, as a super user, so that all its topics are there."""
    made = Project(tmp_path, secured())
    await acls.take(made.broker.plain, CLIENT)
    async with Center.open(made.super):
        await made.publish("o-0")
    async with Center.open(made.super) as center:
        await center.run(until_idle=True)
    await made.publish("o-1")
    return made


def test_the_page_lists_them() -> None:
    """docs/security.md has exactly these, and those of topics that only some centers have."""
    page = (ROOT / "docs/security.md").read_text(encoding="utf-8")
    first = page.split("## What a center must be allowed")[1].split("Besides")[0]
    found = set()
    for kind, name, allowed in re.findall(
        r"^\| ([a-z ]+) \| (.+?) \| ([A-Z, ]+) \|", first, re.MULTILINE
    ):
        topic = re.sub(r"each topic under `\[topics\]`", "`orders`", name)
        plain = re.findall(r"`([^`\[]+)`", topic)
        on = On[kind.upper().replace(" ", "_")]
        found |= {(on, one, May[may]) for one in plain for may in allowed.split(", ")}
    assert found == set(NEEDED)


async def test_they_are_enough(project: Project) -> None:
    """With these entries alone the center decides what there is, and complains of nothing."""
    await project.give(*NEEDED)
    with capture_logs() as lines, anyio.fail_after(PATIENCE_S):
        async with project.running() as running:
            await running.has_applied(2 * EACH)
    assert running.errors == []
    complaints = [line for line in lines if line["log_level"] in {"warning", "error"}]
    # A machine that is busy with other things is no matter of permissions.
    assert [line for line in complaints if line["event"] != "loop.blocked"] == []


def wanted(project: Project, entry: tuple[On, str, May]) -> re.Pattern[str]:
    """What must be said of an entry: what to give, and on what."""
    on, name, may = entry
    kind = on.name.lower().replace("_", " ")
    return re.compile(rf"{may.name}\b.* on {kind} {re.escape(project.prefix + name)}(?![\w-])")


def named(entry: tuple[On, str, May]) -> str:
    """An entry as the name of a test."""
    return f"{entry[2].name}-{entry[0].name}-{entry[1]}"


@pytest.mark.parametrize("missing", NEEDED, ids=named)
async def test_each_is_needed(project: Project, missing: tuple[On, str, May]) -> None:
    """Without one of them it is said which one to give to what; once it is given, all goes on."""
    await project.give(*(one for one in NEEDED if one != missing))
    said = wanted(project, missing)
    with capture_logs() as lines, anyio.fail_after(PATIENCE_S):
        async with project.running() as running:
            await until(lambda: said.search(f"{lines} {running.errors}") is not None)
            await project.give(missing)
            await project.publish("o-2")
            await running.has_applied(3 * EACH)


@pytest.mark.parametrize("taken", AT_WORK, ids=named)
async def test_each_taken_away_while_it_works(project: Project, taken: tuple[On, str, May]) -> None:
    """The shard does not stop in silence: it says what to give, waits for it, and loses nothing."""
    await project.give(*NEEDED)
    said = wanted(project, taken)
    with capture_logs() as lines, anyio.fail_after(PATIENCE_S):
        async with project.running() as running:
            await running.has_applied(2 * EACH)
            await project.take(taken)
            await project.publish("o-2")
            await until(lambda: said.search(f"{lines} {running.errors}") is not None)
            await project.give(taken)
            await project.publish("o-3")
            await running.has_applied(4 * EACH)
    assert running.errors == []


@pytest.mark.parametrize("known", [True, False], ids=["used_before", "first_use"])
async def test_a_topic_of_a_cut_is_named(project: Project, known: bool) -> None:
    """Of the topics of a cut, and of what is published, the one that may not be written is named."""
    history = (On.TOPIC, "app.history", May.WRITE)
    await project.give(*NEEDED)
    log = await open_log(project.settings)
    told = Outgoing("app.history", b"k", b"v", partition=0)
    try:
        async with await joined(log, ["orders"], 1) as member:
            await member.has(0)
            lease = member.leases[Shard(0)]
            if known:
                await lease.commit(puts({b"a": b"1"}, told))
            await project.take(history)
            with pytest.raises(Unknown, match=r"WRITE on topic .*app.history") as lost:
                await lease.commit(puts({b"a": b"2"}, told))
            assert lost.value.topic == "app.history"
        with pytest.raises(NotCommitted, match=r"WRITE on topic .*app.history") as refused:
            await log.publish([told])
        assert refused.value.topic == "app.history"
    finally:
        await log.close()
