"""Jobs that fail for good, that operators stop, and whose processes end."""

from __future__ import annotations

import pytest

from event_center.engine.jobs import Jobs
from event_center.engine.ledger import Ledger
from event_center.errors import RetryLater
from event_center.failpoint import Step
from event_center.log.memory import Ending
from tests.engine.job_world import MACHINE, NAMES, Stubborn, jobs_world
from tests.engine.script import HOLD, Script


async def test_the_end_of_a_former_job_begins_none_before_the_entry_callbacks() -> None:
    """A state that is entered again has its entry callback first, whenever the job before it ends."""
    prepare, after_it = Script(None, HOLD), Stubborn(0.5, None)
    async with jobs_world(prepare=prepare, after_it=after_it) as world:
        after_it.world = world
        world.send("w", "first")
        await world.rest(1)
        world.send("w", "leave")
        world.send("w", "first")
        await world.rest(2)
        assert (prepare.held, after_it.calls) == (1, 1)
        prepare.let_go()
        await world.rest(1)
        assert after_it.calls == 2


async def test_attempts_survive_a_crash() -> None:
    """A job that waits for its retry is tried by the next owner, at its time, with its count."""
    build = Script(ConnectionError("no"), "yes")
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(0.5)
        await world.crash_and_recover()
        await world.rest(0.1)
        assert build.attempts == [1]
        await world.idle()
        assert build.attempts == [1, 2]


async def test_without_on_error_the_workflow_is_parked() -> None:
    """P8: a job that nobody hears of parks its workflow; `retry` begins it anew."""
    mute = Script(ConnectionError("no"), "fine")
    async with jobs_world(mute=mute) as world:
        world.send("w", "alone")
        await world.idle()
        found = world.snapshot("w")
        assert (found.status, found.parked) == ("parked", "failed")
        assert found.failure is not None
        assert found.failure.message == "no"
        world.send("w", "tick")
        await world.idle()
        assert world.waiting() == 1
        world.command("retry", "w")
        await world.idle()
        assert mute.attempts == [1, 1]
        assert world.snapshot("w").status == "active"
        assert world.outcomes("w")[-1] == "tick applied"
        assert not world.snapshot("w").jobs


async def test_skip_gives_up_the_job_that_failed() -> None:
    """The others of its state go on."""
    one = Script(*[ConnectionError("no")] * 3)
    two = Script(HOLD)
    async with jobs_world(one=one, two=two) as world:
        world.send("w", "both")
        await world.rest(10)
        assert world.snapshot("w").status == "parked"
        world.command("skip", "w")
        await world.rest(0.5)
        assert [owed.name for owed in world.snapshot("w").jobs] == ["two"]
        two.let_go()
        await world.idle()
        assert world.state() == "idle"
        assert world.runs()[-2:] == ["one 3 given_up", "two 1 done"]


async def test_skip_of_a_job_under_way_gives_it_up() -> None:
    """With nothing else to give up: the jobs of the workflow are asked to end, and it stays."""
    build = Script(HOLD)
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        world.command("skip", "w", by="me")
        await world.idle()
        assert build.cancelled == 1
        assert world.runs() == ["build 0 given_up"]
        assert world.state() == "building"


async def test_retry_does_not_wait() -> None:
    """A job that waits for its next attempt is begun anew at once."""
    build = Script(ConnectionError("no"), "yes")
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(0.3)
        world.command("retry", "w")
        await world.rest(0.3)
        assert build.attempts == [1, 1]
        await world.idle()
        assert world.snapshot("w").data["result"] == "yes"
        world.command("retry", "w")
        await world.idle()
        assert world.outcomes("w")[-1] == "@retry rejected(not_applicable)"


async def test_the_end_of_a_job_waits_while_its_workflow_is_paused() -> None:
    """A paused workflow keeps its job running, and hears of its end when it is resumed."""
    build = Script(HOLD)
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        world.command("pause", "w")
        await world.rest(0.2)
        build.let_go("whole")
        await world.rest(0.2)
        assert world.state() == "building"
        world.command("resume", "w")
        await world.idle()
        assert world.snapshot("w").data["result"] == "whole"
        assert build.attempts == [1]


async def test_no_job_starts_while_its_workflow_is_paused() -> None:
    """Neither one whose attempt is due nor one that begins: `resume` starts them."""
    build = Script(ConnectionError("no"), "yes")
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(0.3)
        world.command("pause", "w")
        await world.rest(10)
        assert build.attempts == [1]
        world.command("resume", "w")
        await world.idle()
        assert build.attempts == [1, 2]


@pytest.mark.parametrize("command", ["cancel", "set-state"])
async def test_operators_end_jobs(command: str) -> None:
    """`cancel` and `set-state` leave the state, and its job with it."""
    build = Script(HOLD)
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        world.command(command, "w", state="broken", reason="a test")
        await world.idle()
        assert build.cancelled == 1
        assert world.runs() == ["build 0 given_up"]
        assert not world.snapshot("w").jobs


async def test_an_operator_can_put_a_workflow_to_its_job() -> None:
    """`set-state` owes the jobs of the state, like a transition into it."""
    build = Script("whole")
    async with jobs_world(build=build) as world:
        world.send("w", "both")
        await world.idle()
        world.command("set-state", "w", state="building", reason="a test")
        await world.idle()
        assert build.events == ["@set-state"]
        assert world.snapshot("w").data["result"] == "whole"


async def test_a_clean_stop_ends_jobs_and_the_next_owner_begins_them_anew() -> None:
    """A job is no reason to wait with a shutdown; its attempt does not count, its key stays."""
    build = Script(HOLD, "whole")
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        begun = world.clock()
        await world.stop()
        assert world.clock() - begun < 1_000
        assert build.cancelled == 1
        await world.start()
        await world.idle()
        assert build.attempts == [1, 1]
        assert set(build.keys) == {"w/1/build"}
        assert world.snapshot("w").data["result"] == "whole"


@pytest.mark.parametrize("step", Step)
async def test_a_job_survives_a_death_at_every_step(step: Step) -> None:
    """P3: whenever its process dies, the job runs, with its one key, and moves its workflow once."""
    build = Script(ConnectionError("no"), *["whole"] * 5)
    async with jobs_world(build=build) as world:
        await world.idle()
        for number in range(3):
            world.die_at = step
            world.send(f"w{number}", "go")
            world.send(f"w{number}", "tick")
            await world.rest(3)
            world.die_at = None
            if not world.processes:
                await world.start()
        await world.idle()
        for number in range(3):
            assert world.state(f"w{number}") == "idle"
            assert world.snapshot(f"w{number}").data["result"] == "whole"
            assert world.runs(f"w{number}")[-1].endswith("done")
        assert set(build.keys) == {f"w{number}/1/build" for number in range(3)}
        assert world.entry().jobs == 0


async def test_skip_of_an_end_that_can_not_be_decided_gives_the_job_up() -> None:
    """Also after a crash, when only the snapshot knows what was tried."""
    note = Script(*[ConnectionError("no")] * 9)
    async with jobs_world(tell=Script(1), note=note) as world:
        world.send("w", "retell")
        await world.idle()
        assert world.snapshot("w").status == "parked"
        await world.crash_and_recover()
        world.command("skip", "w")
        await world.idle()
        found = world.snapshot("w")
        assert (found.status, found.jobs, found.state) == ("active", (), "told")


async def test_a_machine_that_knows_a_job_no_more_parks_its_workflow() -> None:
    """Another version without the job: nothing is dropped without a word."""
    build = Script(HOLD)
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        other = MACHINE.replace("version: 1", "version: 2").replace("do: build", "do: one")
        world.redefine((other, {name: Script() for name in NAMES if name != "build"}))
        await world.crash_and_recover()
        await world.idle()
        assert world.snapshot("w").parked == "no_place"
        world.command("skip", "w")
        await world.idle()
        assert world.snapshot("w").status == "active"
        assert world.runs() == ["build 0 given_up"]


async def test_without_the_wait_for_its_cut_a_job_is_a_phantom(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: with P3's protection off, the job of a transition that is never durable runs."""
    monkeypatch.setattr(Ledger, "promised", lambda self, workflow_id: False)
    build = Script(HOLD)
    async with jobs_world(build=build) as world:
        await world.idle()
        world.faults.commits.extend([Ending.NOT_COMMITTED] * 6)
        world.send("w", "go")
        world.command("pause", "v")
        await world.rest(0.1)
        parts = world.processes[0].owner(0)._parts
        assert parts is not None
        snapshot = parts.workflows.live("w")
        assert snapshot is not None
        parts.effects.start(snapshot)
        await world.rest(0.1)
        assert build.keys == ["w/1/build"]
        assert not world.exists("w")
        world.audits = False


async def test_without_the_mark_of_leaving_a_late_result_counts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The twin: a job that its state has left must be marked, or its result moves the workflow."""
    monkeypatch.setattr(Jobs, "_leave", lambda self, place: None)
    build = Script(HOLD)
    async with jobs_world(build=build) as world:
        world.send("w", "go")
        await world.rest(1)
        world.send("w", "leave")
        world.send("w", "go")
        await world.rest(1)
        build.let_go("of the first")
        await world.rest(1)
        assert world.snapshot("w").data["result"] == "of the first"
        world.audits = False


async def test_retry_keeps_a_pause() -> None:
    """A paused workflow whose job failed begins it anew when it is resumed, and not before."""
    job = Script(RetryLater(3600), HOLD)
    async with jobs_world(two=job, one=Script(HOLD)) as world:
        world.send("w", "both")
        await world.rest()
        world.command("pause", "w")
        await world.rest()
        world.command("retry", "w")
        await world.rest(1)
        assert world.history("w", "command")[-1]["outcome"] == "applied"
        assert world.snapshot("w").status == "paused"
        calls = len(job.calls)
        world.command("resume", "w")
        await world.rest(1)
        assert len(job.calls) == calls + 1
