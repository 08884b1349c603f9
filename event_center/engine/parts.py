"""
The parts that serve one shard between a takeover and its end, put together.

Everything in here is memory that a lost lease throws away as a whole. The owner (`shard`) holds one of
these at a time; `restoring` fills it.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from event_center.engine.commands import Commands
from event_center.engine.freedom import Freedom
from event_center.engine.holds import Holds
from event_center.engine.intake import Intake
from event_center.engine.ledger import Ledger
from event_center.engine.letters import Letters
from event_center.engine.outbox import Outbox
from event_center.engine.plan import Plan
from event_center.engine.quarantine import Quarantine
from event_center.engine.removal import Removal
from event_center.engine.run import Pool
from event_center.engine.standing import Standing
from event_center.engine.starts import StartCounts
from event_center.engine.timers import Timers
from event_center.engine.topics import Gap, Losses
from event_center.engine.turn import Turn
from event_center.engine.waiting import WaitingRoom
from event_center.engine.workflow import Workflows
from event_center.errors import FormatError, Interrupted
from event_center.log.ownership import offset_key
from event_center.log.port import Batch
from event_center.model import Position, Shard, Snapshot, Status
from event_center.wire.entries import ShardEntry
from event_center.wire.history import HistoryWriter

log = structlog.get_logger()


class Parts:
    """
    Intake, turn, effects, jobs, timers, commands and ledger of one shard.

    Each is made after those that it calls. Only the turn is called back: it makes those who do
    (`decider` says who, and with what).
    """

    def __init__(
        self,
        shard: Shard,
        plan: Plan,
        runners: Pool,
        job_runners: Pool,
        *,
        where: str,
        wake: Callable[[], None],
        earlier: Callable[[], None],
    ) -> None:
        self.shard, self.entry = shard, ShardEntry()
        self.workflows = workflows = Workflows(f"shard {shard} of {where}")
        self._plan, self._runners, self._job_runners = plan, runners, job_runners
        workflows.apart.wake = wake
        self._watermarks: dict[str, int] = {}
        self._earlier = earlier
        self.resumed = False
        """What a takeover has found goes on: not before the bare cut of a shard served in pieces."""
        self.ledger = ledger = self._ledger(wake)
        self.freedom = freedom = Freedom(workflows, ledger)
        self.starts = starts = StartCounts(workflows, ledger, freedom)
        self.quarantine = Quarantine(workflows, ledger, starts, runners=runners, jobs=job_runners)
        self.losses = Losses(ledger, shard, goes_on=plan.continue_after_loss)
        self.timers = timers = Timers(earlier)
        self.removal = removal = Removal(plan, ledger, timers)
        letters, outbox = Letters(plan, ledger), Outbox(ledger, plan, shard)
        self._holds = holds = Holds(plan, workflows, ledger, letters=letters, timers=timers)
        self.turn = turn = Turn(
            plan,
            workflows,
            ledger,
            letters=letters,
            timers=timers,
            freedom=freedom,
            waiting=WaitingRoom(plan, workflows, ledger),
            outbox=outbox,
            runners=self.quarantine.door,
            job_runners=self.quarantine.job_door,
        )
        self.effects, self.jobs = turn.effects, turn.jobs
        self._intake = Intake(
            plan,
            workflows,
            ledger,
            shard=shard,
            letters=letters,
            outbox=outbox,
            freedom=freedom,
            holds=holds,
            turn=turn,
        )
        self._commands = Commands(
            plan,
            workflows,
            ledger,
            letters=letters,
            timers=timers,
            freedom=freedom,
            turn=turn,
            runners=runners,
            removal=removal,
        )

    def _ledger(self, wake: Callable[[], None]) -> Ledger:
        plan = self._plan
        ledger = Ledger(
            self.entry,
            self.workflows,
            writer=HistoryWriter(plan.topics.history, self.shard, f"/{plan.app}"),
            letters=(plan.topics.dead_letters, self.shard),
            clock=plan.clock,
            warm=plan.limits.warm // plan.home.shards,
            machines=plan.machines,
            everything=plan.every_outcome,
        )
        ledger.wake = wake
        return ledger

    def leave_unborn(self, workflow_id: str) -> None:
        """The next event of this workflow, which does not exist, becomes a letter."""
        self._intake.unborn.add(workflow_id)

    def refuse(self, position: Position) -> bool:
        """No cut goes through with what is asked there: it is refused; False: it is no command."""
        if position.topic != self._plan.topics.commands:
            return False
        self._commands.spoiling = position
        return True

    def take(self, batch: Batch) -> None:
        """Take in a batch of events or commands."""
        source = offset_key(batch.topic, batch.partition, self.shard)
        self._watermarks[source] = batch.watermark
        following = self.entry.offsets.get(source, 0)
        if not batch.records:
            self._pass_over(batch, following)
            return
        if batch.records[0].offset < following:
            batch = self._without_repeated(batch, following)
            if not batch.records:
                return
        if batch.topic == self._plan.topics.commands:
            self._commands.take(batch)
        else:
            self._intake.take(batch)
        if self.timers.behind:
            self.fire_released()

    def _pass_over(self, batch: Batch, following: int) -> None:
        """The log has removed what was to be read next: go on behind it."""
        if batch.after > following:
            self.losses.passed(Gap(batch.topic, batch.partition, following, batch.after))
        if self.timers.behind:
            self.fire_released()

    def _without_repeated(self, batch: Batch, following: int) -> Batch:
        """With atomic cuts this never happens: the log delivers what this shard has read already."""
        new = [record for record in batch.records if record.offset >= following]
        repeated = len(batch.records) - len(new)
        self.ledger.repeated(repeated)
        log.error("intake.redelivered", shard=self.shard, topic=batch.topic, records=repeated)
        return batch._replace(records=new)

    def drain(self) -> None:
        """Begin nothing more: what has not started stays owed or waiting, what runs may end."""
        self.workflows.draining = True
        for run in list(self.workflows.runs.values()):
            if run.task is None:
                self._runners.cancel(run, Interrupted())
        self._end_jobs()  # they last: who comes next begins them anew

    def end(self) -> None:
        """Whatever still ends here counts for nothing any more; callbacks under way are cancelled."""
        self.workflows.draining = self.workflows.gone = True
        for run in list(self.workflows.runs.values()):
            self._runners.cancel(run, Interrupted())
        self._end_jobs()

    def _end_jobs(self) -> None:
        for run in list(self.workflows.jobs.values()):
            self._job_runners.cancel(run, Interrupted())

    def resume(self, *, crashed: bool) -> None:
        """After a restore: what was under way goes on; if it `crashed`, not what ends its process."""
        self.resumed = True
        self.ledger.tick()
        workflows, apart = self.workflows, self.workflows.apart
        owing = [
            workflow_id
            for workflow_id, workflow in workflows.by_id.items()
            if isinstance(workflow, Snapshot) and (workflow.owed or workflow.jobs)
        ]
        found = dict.fromkeys([*workflows.mailboxes, *owing])
        self.quarantine.shut(crashed=crashed)
        for workflow_id in found:
            if workflow_id not in apart.whom:
                self._resume(workflow_id)
        self.quarantine.begin(self.turn)
        for workflow_id in found:
            if workflow_id in apart.whom:
                resume = partial(self._resume, workflow_id)
                apart.put_off(workflow_id, partial(self.quarantine.late, resume), resumes=True)
        self.timers.looking = True  # until the timekeeper, which this wakes, has done so
        self._earlier()

    def _resume(self, workflow_id: str) -> None:
        snapshot = self._readable(workflow_id)
        if snapshot is not None:
            self.effects.start(snapshot)
            if workflow_id in self.workflows.mailboxes:
                self.turn.advance(snapshot)

    def turn_again(self) -> None:
        """Go on with workflows that have more waiting events than are decided in a row."""
        if self.quarantine.watching:
            self.quarantine.settled()
        again, self.turn.again = self.turn.again, []
        self.ledger.tick()
        apart = self.workflows.apart
        for snapshot in again:
            if not apart.whom or not apart.put_off(
                snapshot.workflow_id, partial(self._advance, snapshot)
            ):
                self._advance(snapshot)
        if again:
            self.ledger.wake()

    def _advance(self, snapshot: Snapshot) -> None:
        if snapshot is self.workflows.by_id.get(snapshot.workflow_id):  # else it was removed
            self.turn.advance(snapshot)

    def start_due(self, now_ms: int) -> list[str]:
        """Start what waited for its retry; returns the workflows of which timers are due."""
        self.ledger.tick()
        timed: list[str] = []
        workflows = self.workflows
        for workflow_id in self.timers.pop(now_ms):
            before = workflows.by_id.get(workflow_id)
            if isinstance(before, Standing):
                continue  # it has left the state in which something was due
            snapshot = self._readable(workflow_id)
            if snapshot is None:
                continue
            self.timers.again(snapshot, now_ms)
            self.removal.again(snapshot, now_ms)
            if self.freedom.heeds_time(snapshot) and self._go_on(snapshot, now_ms):
                timed.append(workflow_id)
            elif isinstance(before, bytes) and workflow_id not in self.ledger.dirty:
                workflows.put_back(workflow_id, before)
        return timed

    def _go_on(self, snapshot: Snapshot, now_ms: int) -> bool:
        """Begin the next attempts that are due of a workflow; whether something else of it is due, too."""
        workflow_id, apart = snapshot.workflow_id, self.workflows.apart
        if snapshot.status is Status.RETRYING:
            retry = partial(self._retry, workflow_id, now_ms)
            if not (apart.whom and apart.put_off(workflow_id, retry)):
                retry()
        if snapshot.jobs:
            self.effects.start(snapshot)
        timed = any(timer.due_ms <= now_ms for timer in snapshot.timers)
        return timed or self.removal.outlived(snapshot, now_ms)

    def _retry(self, workflow_id: str, now_ms: int) -> None:
        """The wait between two attempts is over."""
        snapshot = self._readable(workflow_id)
        if snapshot is None or workflow_id in self.workflows.runs:
            return
        if snapshot.deciding_due_ms and snapshot.deciding_due_ms <= now_ms:
            self.turn.failing.retry(snapshot)
        if snapshot.owed and snapshot.owed[0].due_ms <= now_ms:
            self.effects.start(snapshot)

    def _readable(self, workflow_id: str) -> Snapshot | None:
        """The live workflow; None if there is none, or if its snapshot is damaged: only it stands still."""
        try:
            return self.workflows.live(workflow_id)
        except FormatError as error:  # `live` has noted it among the unreadable ones
            log.warning("workflow.unreadable", workflow_id=workflow_id, error=str(error))
            return None

    def fire_released(self) -> None:
        """Fire timers that are due and behind nothing that the log held then: as many as a cut may hold."""
        self.ledger.tick()
        apart = self.workflows.apart
        for workflow_id, due_ms in self.timers.caught_up(self.entry.offsets, self.entry.cut):
            fire = partial(self._fire, workflow_id, due_ms)
            if not (apart.whom and apart.put_off(workflow_id, fire)):
                fire()
        if self.timers.enough:
            self.ledger.asked()  # perhaps nothing has come of any of them

    def _fire(self, workflow_id: str, now: int) -> None:
        """Fire what was due of one workflow by then."""
        snapshot = self._readable(workflow_id)
        if snapshot is None:
            return
        if snapshot.status is Status.EXPECTED:
            self._holds.expire(snapshot, now)
            return
        if self.removal.outlived(snapshot, now):
            self.removal.remove(snapshot, "retention")
            return
        for timer in sorted(snapshot.timers, key=lambda timer: timer.due_ms):
            if timer.due_ms <= now and timer in snapshot.timers:
                self.turn.fire(snapshot, timer)

    def idle(self, *, jobs: bool = True) -> bool:
        """Nothing is under way, waits for its turn or is not durable yet; `jobs`: no job either."""
        workflows = self.workflows
        if workflows.runs or not self.ledger.clean or self.turn.again or not self.timers.at_rest:
            return False
        if workflows.apart.waiting:
            return False
        if self._retrying() or (jobs and workflows.jobs):
            return False
        for workflow_id, _ in self.jobs.waiting if jobs else ():
            snapshot = self._readable(workflow_id)
            if snapshot is not None and not self.freedom.stopped(snapshot):
                return False
        for workflow_id, mailbox in workflows.mailboxes.items():
            snapshot = self._readable(workflow_id)
            if snapshot is None or self.freedom.stopped(snapshot):
                continue
            if mailbox.queue or snapshot.owed:
                return False
        return True

    def _retrying(self) -> bool:
        """Whether a workflow waits for its next attempt; one that can not be read will make none."""
        counts = self.entry.counts.items()
        if not any(n and one.status is Status.RETRYING for one, n in counts):
            return False
        workflows = self.workflows
        return not workflows.unreadable or any(
            isinstance(workflow, Snapshot) and workflow.status is Status.RETRYING
            for workflow in workflows.by_id.values()
        )

    def totals(self) -> dict[str, int]:
        """Records by outcome, and `read` and `waiting`."""
        entry = self.entry
        return {"read": entry.read, "waiting": sum(entry.waiting.values()), **entry.outcomes}

    @property
    def waiting_bytes(self) -> int:
        """What waits weighs so much: records, and results of jobs."""
        return sum(self.ledger.waiting.weights.values()) + self.jobs.weight

    def lag(self) -> int:
        """Records between what was taken in and the watermarks of the last batches."""
        offsets = self.entry.offsets
        seen = self._watermarks.items()
        return sum(max(0, watermark - offsets.get(source, 0)) for source, watermark in seen)
