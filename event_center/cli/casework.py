"""
The command `cases`: tests for a machine, found by trying; and which of its branches are taken.

The tests go to stdout, to be put below the machine in its YAML; what they say is what the machine
does, so that people can judge it. `machine.deriving` and `machine.coverage` have the next steps.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Annotated, NamedTuple

import typer

from event_center.app.settings import Settings
from event_center.app.wiring import envelopes
from event_center.cli.drawing import Named, machine_of
from event_center.cli.event_lines import read_lines
from event_center.cli.exits import Exit, perform
from event_center.cli.options import AsJson, Config
from event_center.cli.output import Output
from event_center.cli.session import Where
from event_center.errors import ConfigurationError, Undecodable
from event_center.machine import Machine
from event_center.machine.cases import plain_cases
from event_center.machine.coverage import branches_of, covered_by_events, covered_by_tests
from event_center.machine.deriving import derived
from event_center.machine.problems import Place
from event_center.machine.writing import yaml_text
from event_center.model import Json, Record
from event_center.plugins.discovery import discover
from event_center.plugins.registry import resolve
from event_center.wire.envelope import Envelope, Rules


def cases(
    machine: Named,
    *,
    coverage: Annotated[
        bool, typer.Option("--coverage", help="Which branches the machine's own tests take.")
    ] = False,
    events: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Which branches these events take: a JSON object a line, as for `publish`; `.gz` is "
            "unpacked, `-` is stdin.",
        ),
    ] = None,
    config: Config = None,
    as_json: AsJson = False,
) -> None:
    """Print tests that take every branch of a machine; or which branches are taken."""
    output, where = Output(as_json=as_json), Where(config, None)
    if events is not None or coverage:
        perform(output, partial(_covered, output, where, machine, events))
    else:
        perform(output, partial(_derived, output, where, machine))


async def _derived(output: Output, where: Where, named: str) -> Exit:
    found = derived(machine_of(named, where.settings()))
    plain = plain_cases(found.cases)
    if output.as_json:
        missed = [one.way for one in found.missed]
        output.json({"tests": plain, "missed": missed})
        return Exit.OK
    output.text(yaml_text({"tests": plain}))
    for one in found.missed:
        output.note(f"nothing was found that takes the branch of {one.way}, line {one.place.line}")
    return Exit.OK


async def _covered(output: Output, where: Where, named: str, file: Path | None) -> Exit:
    settings = where.settings()
    machine = machine_of(named, settings)
    machine = resolve(
        machine, discover([Path(machine.source)], settings.plugins, settings.root)
    ).machine
    if file is None:
        taken, events, refused = covered_by_tests(machine), 0, 0
    else:
        read = [event async for event in _events(file, _envelope(machine, settings))]
        taken, refused = covered_by_events(machine, read)
        events = len(read)
    _print(output, machine, _Counts(taken, events, refused))
    return Exit.OK


class _Counts(NamedTuple):
    """What was counted."""

    taken: Counter[Place]
    events: int
    refused: int


def _print(output: Output, machine: Machine, counts: _Counts) -> None:
    known = branches_of(machine.definition)
    rows = [
        {
            "branch": one.way,
            "target": one.target,
            "line": one.place.line,
            "taken": counts.taken[one.place],
        }
        for one in known
    ]
    covered = sum(bool(row["taken"]) for row in rows)
    if output.as_json:
        output.json({"branches": rows, "covered": covered, "of": len(rows), **_heard(counts)})
        return
    cells = [(row["branch"], row["target"] or "", row["line"], f"{row['taken']}") for row in rows]
    output.table(["BRANCH", "TARGET", "LINE", "TAKEN"], cells)
    said = f"{covered} of {len(rows)} branches are taken"
    if counts.events:
        said += f", by {counts.events} events, of which {counts.refused} are refused"
    output.say(said)


def _heard(counts: _Counts) -> dict[str, int]:
    return {"events": counts.events, "refused": counts.refused} if counts.events else {}


def _envelope(machine: Machine, settings: Settings) -> Envelope:
    """How events of the machine are read: as those of its topic, or in the usual form."""
    topics = [name for name, topic in settings.topics.items() if topic.machine == machine.name]
    return envelopes(settings)[topics[0]] if topics else Envelope("events", Rules(machine.name))


async def _events(file: Path, envelope: Envelope) -> AsyncIterator[tuple[str, str, Json]]:
    async for lines in read_lines(file):
        for line in lines:
            try:
                workflow_id, _, event = envelope.read(Record(0, 0, None, line.text), 0)
            except Undecodable as error:
                raise ConfigurationError(f"{file}:{line.number}: {error}") from error
            yield workflow_id, event.name, event.payload
