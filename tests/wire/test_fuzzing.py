"""Damaged bytes and texts of every form end in what was read, or in the one error of their form."""

from __future__ import annotations

import random
from functools import partial

import pytest

from event_center.errors import FormatError
from tests import fuzzing
from tests.wire.fuzzing import READ, TRIES

FEW = {"settings": 25, "files": 25, "xstate": 25}
CORPUS: dict[str, list[bytes]] = {
    "snapshots": [
        b"",
        b"1\torder\t1\trunning\tactive\t0",
        b"1\torder\t1\trunning\tactive\t0\n[]",
        b"1\torder\tx\trunning\tactive\t0\n{}",
        b"1\torder\t1\trunning\tnowhere\t0\n{}",
        b"1\xff\torder\t1\trunning\tactive\t0\n{}",
        b"2\torder\t1\trunning\tactive\t0\n{}",
        b'1\torder\t1\trunning\tactive\t0\n{"seq":1,"at":1,"data":{},"seen":{},"waiting":[1]}',
        b'1\torder\t1\trunning\tactive\t0\n{"seq":1,"at":1,"data":{},"seen":{},"earlier":[5]}',
        b'1\torder\t1\trunning\tactive\t0\n{"seq":true,"at":1,"data":{},"seen":{}}',
        b'1\torder\t1\trunning\tactive\t0\n{"seq":1,"at":1,"data":{},"seen":{"orders":"4"}}',
        b'1\torder\t1\trunning\tactive\t0\n{"seq":18446744073709551615,"at":1,"data":{},"seen":{}}',
    ],
    "waiting": [
        b"\n",
        b"[]\n",
        b'{"format":1}\n',
        b'{"format":2}\n',
        '{"format":1,"offset":0,"at":0,"key":"Ѐ","null":false,"headers":[]}\n'.encode(),
        b'{"format":1,"offset":0,"at":0,"key":5,"null":false,"headers":[[]]}\n',
        b'{"format":1,"offset":"0","at":0,"key":null,"null":false,"headers":[],"topic":"a","partition":0,'
        b'"deferred":false}\n',
    ],
    "shards": [b"[]", b"null", b"{}", b'{"format":1,"counts":[[1]]}', b'{"format":9}'],
    "commands": [b"[]", b'{"format":1}', b'{"format":1,"command":"explode"}', b"\xff"],
    "migrations": [b"5", b'{"format":1,"stage":"away"}', b'{"format":1,"stage":[]}'],
    "history": [b"{}", b'{"type":1,"subject":"w","time":"","data":[1]}', b'"a"'],
}
"""Inputs that each took a way of its own through what reads them; one that has failed is added."""

FOUND = [("xstate", 791056705336)]
"""Seeds of `scripts/fuzz` that have found something: `[form] [how many] [seed]`."""


@pytest.mark.parametrize("name", sorted(TRIES))
def test_what_is_read_ends_well(name: str) -> None:
    """No damaged input makes anything but what was read, or the error of its form, within a second."""
    found = fuzzing.fuzz(name, range(FEW.get(name, 400)))
    assert found.total() == FEW.get(name, 400)


@pytest.mark.parametrize(("name", "seed"), FOUND)
def test_what_the_nights_have_found(name: str, seed: int) -> None:
    """An input that was once answered with a traceback is answered well."""
    assert fuzzing.fuzz(name, range(seed, seed + 1)).total() == 1


@pytest.mark.parametrize("name", sorted(CORPUS))
def test_the_corpus_is_refused(name: str) -> None:
    """What was ever found to be wrong with bytes is told as what it is."""
    for value in CORPUS[name]:
        with pytest.raises(FormatError):
            READ[name](value)


def test_what_breaks_the_rule_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The twin: another error, and an input without end, end the run with the seed that makes it again."""

    def endless(_random: random.Random) -> str:
        while True:
            pass

    for attempt, error in ((endless, fuzzing.TooLong), (partial(int, "x"), TypeError)):
        monkeypatch.setitem(fuzzing.TRIES, "history", attempt)
        with pytest.raises(error) as raised:
            fuzzing.fuzz("history", range(7, 8), longest_s=0.01)
        assert raised.value.__notes__[-1] == "scripts/fuzz history 1 7"
