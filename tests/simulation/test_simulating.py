"""`simulate`: what it says about projects that are wrong on purpose, and about a good one."""

from __future__ import annotations

import json
from pathlib import Path
from textwrap import dedent

from typer.testing import CliRunner

from event_center.cli import app
from event_center.model import Failure, Snapshot
from event_center.testing import Simulated, Sort, Weakness, simulate
from event_center.testing.audit_formats import read_snapshot
from event_center.wire.snapshot import encode

SHOP = """
machine: shop
version: 1
initial: open
states:
  open:
    on: {pay: charging, give_up: lost}
    after: {30s: lost}
  charging:
    entry: {do: charge, retry: {max_attempts: 3, interval: 1s}}
    on: {charged: done, refused: lost}
    on_error: lost
  done: {type: final}
  lost: {type: final, result: failure}
tests:
  - name: a payment
    steps: [{event: pay}]
  - name: a payment that is late
    steps: [{after: 29s}, {event: pay}]
"""
GOOD = """
@shop.action
async def charge(ctx):
    if ctx.idempotency_key not in charged:
        charged[ctx.idempotency_key] = True
        happened("charged " + ctx.workflow_id)
    return "charged"
"""
AGAIN = """
@shop.action
async def charge(ctx):
    ledger.append(ctx.workflow_id)
    return "charged"
"""
OTHERWISE = """
@shop.action
async def charge(ctx):
    return "charged" if ctx.attempt == 1 else "refused"
"""
NOTED = """
@shop.action
async def charge(ctx):
    happened("charged " + ctx.workflow_id)
    return "charged"
"""
SEEDS = 20


def project(folder: Path, plugin: str, machine: str = SHOP) -> Path:
    """A project of one machine; returns its settings file."""
    (folder / "shop.yaml").write_text(machine, encoding="utf-8")
    head = """
    from event_center import callbacks
    from event_center.testing import happened

    shop = callbacks("shop")
    ledger = []
    charged = {}
    """
    (folder / "shop.py").write_text(dedent(head) + plugin, encoding="utf-8")
    config = folder / "event-center.toml"
    config.write_text('machines = ["shop.yaml"]\n[topics.orders]\nmachine = "shop"\n')
    return config


def found(report: Simulated, sort: Sort) -> list[Weakness]:
    return [one for one in report.findings if one.sort is sort]


def test_a_good_project_is_told_nothing(tmp_path: Path) -> None:
    """A callback that honours its key is no finding; a timer that races is told, and fails nothing."""
    report = simulate(project(tmp_path, GOOD), seeds=SEEDS)
    assert report.ok, report
    assert report.calls > SEEDS
    assert {one.sort for one in report.findings} <= {Sort.RACE}


def test_a_callback_that_does_its_work_twice_is_named(tmp_path: Path) -> None:
    """What changes its module's data again under one key is not idempotent, and its story is short."""
    report = simulate(project(tmp_path, AGAIN), seeds=SEEDS)
    [one] = found(report, Sort.TWICE)
    assert not report.ok
    assert one.what == "charge"
    assert "changed ledger again" in one.told
    assert len(one.story.splitlines()) < 15
    again = simulate(tmp_path / "event-center.toml", seeds=1, first=one.seed)
    assert [same.story for same in found(again, Sort.TWICE)] == [one.story]


def test_a_callback_that_answers_otherwise_is_named(tmp_path: Path) -> None:
    """Another event under the same key, with the same data, is not idempotent."""
    [one] = found(simulate(project(tmp_path, OTHERWISE), seeds=SEEDS), Sort.TWICE)
    assert "answered 'refused'" in one.told


def test_an_effect_that_a_fake_notes_twice_is_named(tmp_path: Path) -> None:
    """Fakes of the outside say what happened: twice under one key is not idempotent."""
    [one] = found(simulate(project(tmp_path, NOTED), seeds=SEEDS), Sort.TWICE)
    assert "happened twice" in one.told


def test_an_order_of_events_that_strands_is_told(tmp_path: Path) -> None:
    """`ship` before `pay` is refused, and then nothing moves the workflow: without faults it ends."""
    machine = """
    machine: shop
    version: 1
    initial: open
    events: {pay: {}, ship: {missing: reject}}
    states:
      open: {on: {pay: paid}}
      paid: {on: {ship: done}}
      done: {type: final}
    tests:
      - name: the usual
        steps: [{event: pay}, {event: ship}]
    """
    report = simulate(project(tmp_path, "", dedent(machine)), seeds=60)
    assert found(report, Sort.STRANDED), report
    assert "shop, paid" in {one.what for one in found(report, Sort.STRANDED)}


def test_a_timer_that_races_is_told(tmp_path: Path) -> None:
    """A `pay` that comes right after the 30 s are over would have been taken right before."""
    late = SHOP.replace("on: {pay", "on: {start: {}, pay").replace(
        "{after: 29s}", "{event: start}, {after: 31s}"
    )
    report = simulate(project(tmp_path, GOOD, late), seeds=SEEDS)
    [one] = found(report, Sort.RACE)
    assert one.what == "shop, open: after 30s with pay"


def test_the_command_tells_and_fails(tmp_path: Path) -> None:
    """Text, JSON and exit code 1; wrong settings are exit code 2 and one sentence."""
    config = str(project(tmp_path, AGAIN))
    asked = ["simulate", "--config", config, "--seeds", "5"]
    told = CliRunner().invoke(app, asked)
    assert told.exit_code == 1
    assert "not idempotent: charge" in told.stdout
    assert "to repeat it: event-center simulate" in told.stdout
    plain = CliRunner().invoke(app, [*asked, "--json"])
    assert plain.exit_code == 1
    assert json.loads(plain.stdout)["findings"][0]["what"] == "charge"
    (tmp_path / "shop.yaml").write_text("machine: shop\n", encoding="utf-8")
    assert CliRunner().invoke(app, asked).exit_code == 2


def test_why_a_workflow_is_parked_is_read() -> None:
    """What a stranded workflow is told with: the callback that failed, and its error."""
    snapshot = Snapshot("w-1", "shop", 1, "charging")
    assert read_snapshot(encode(snapshot)[0], "w-1").failed == ""
    snapshot.failure = Failure("charge", "OSError", "the disk is full", 1, 2, "line 3")
    said = read_snapshot(encode(snapshot)[0], "w-1").failed
    assert said == "charge failed with OSError: the disk is full"
