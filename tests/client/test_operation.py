"""An operation: commands with ids of their own, sent once, whatever cuts it short."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest

from event_center.client.operation import Operating, Operation, ends, place_of, save, saved
from event_center.errors import ConfigurationError
from event_center.wire import command as wire
from event_center.wire.command import Verb
from tests.client.shelf import Shelf

NAMES = [f"o-{number}" for number in range(4)]


class _Enough(Exception):
    """The operator has pressed Ctrl-C."""


async def _operation(shelf: Shelf) -> Operation:
    app = shelf.app
    return Operation(
        id="a1",
        log=shelf.log.where,
        verb=Verb.RETRY,
        workflows=NAMES,
        by="ann",
        reason="mended",
        commands_from=await ends(shelf.log, app.commands, app.shards),
        history_from=await ends(shelf.log, app.history, app.shards),
    )


def _sent(shelf: Shelf) -> list[str]:
    found = [wire.decode(record.value) for record in shelf.records(shelf.app.commands)]
    assert {(one.verb, one.by, one.reason) for one in found} == {(Verb.RETRY, "ann", "mended")}
    return sorted(one.workflow_id for one in found)


async def _cut_short(shelf: Shelf) -> Operation:
    """Sent to the first workflow, and no further."""

    def stop() -> None:
        raise _Enough

    operation = await _operation(shelf)
    with pytest.raises(_Enough):
        await Operating(shelf.log, shelf.app, operation).send(10, stop)
    assert _sent(shelf) == NAMES[:1]
    return operation


async def test_it_goes_on_where_it_stood(shelf: Shelf) -> None:
    """What was sent is read from the log, so that the rest is sent and nothing twice."""
    operation = await _cut_short(shelf)
    again = Operating(shelf.log, shelf.app, operation)
    await again.catch_up()
    await again.send(None, lambda: None)
    assert _sent(shelf) == NAMES


async def test_without_a_look_at_the_log_it_would_be_sent_twice(shelf: Shelf) -> None:
    """The twin: who does not catch up sends all; only the daemon's memory of ids would be left."""
    operation = await _cut_short(shelf)
    await Operating(shelf.log, shelf.app, operation).send(None, lambda: None)
    assert _sent(shelf) == [NAMES[0], *NAMES]


@pytest.mark.looptime
async def test_it_keeps_to_its_rate(shelf: Shelf) -> None:
    """Four commands at two a second take a second and a half."""
    began = anyio.current_time()
    moves: list[float] = []
    operating = Operating(shelf.log, shelf.app, await _operation(shelf))
    await operating.send(2, lambda: moves.append(anyio.current_time() - began))
    assert moves == pytest.approx([0, 0.5, 1.0, 1.5])


@pytest.mark.looptime
async def test_answers_are_waited_for(shelf: Shelf) -> None:
    """Answers are found by the ids; one that does not come is given up after the time."""
    operating = Operating(shelf.log, shelf.app, await _operation(shelf))
    await operating.send(None, lambda: None)
    for name in NAMES[:3]:
        await shelf.told("command", name, {"command_id": f"a1/{name}", "outcome": "applied"})
    await shelf.told("duplicate", NAMES[0], {"id": f"a1/{NAMES[0]}", "outcome": "duplicate"})
    await shelf.told("command", NAMES[3], {"command_id": f"b2/{NAMES[3]}", "outcome": "applied"})
    await operating.listen(1, lambda: None)
    assert {name: told["outcome"] for name, told in operating.answers.items()} == dict.fromkeys(
        NAMES[:3], "applied"
    )
    await shelf.told("rejected", NAMES[3], {"id": f"a1/{NAMES[3]}", "outcome": "rejected"})
    await operating.listen(1, lambda: None)
    assert operating.complete


async def test_it_is_written_down(
    shelf: Shelf, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It comes back as it was; a damaged file, or no place for it, is a sentence."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    operation = await _operation(shelf)
    path = save(operation)
    assert path == place_of("a1")
    assert saved("a1") == operation
    path.write_bytes(b'{"id": "a1"}')
    with pytest.raises(ConfigurationError, match="can not be read as an operation"):
        saved("a1")
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    with pytest.raises(ConfigurationError, match="nothing was sent; set XDG_STATE_HOME"):
        save(operation)
