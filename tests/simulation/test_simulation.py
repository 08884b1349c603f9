"""The simulation of the engine: its seeds keep all promises, and each is the same whenever it is played."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from event_center.testing.simulation import play
from event_center.testing.simulation_mirror import Mirror
from event_center.testing.simulation_schedule import What
from event_center.testing.simulation_shrinking import shrunk, story
from tests.simulation.__main__ import retell
from tests.simulation.mutations import MUTATIONS
from tests.simulation.stories import Story, kept, read_story
from tests.simulation.workload import scenery_of
from tests.waiting import PATIENCE_S

SEEDS = 2_000
"""Seeds of each run of the tests, some 25 a second on a core; a night plays 100,000."""
BATCH = 50
TRACE = """
import zlib
from event_center.testing.simulation import play
from tests.simulation.workload import scenery_of
for seed in (1, 2, 7):
    print(zlib.crc32(play(seed, scenery_of(seed)).trace().encode()))
"""


@pytest.mark.parametrize("first", range(0, SEEDS, BATCH))
def test_seeds_keep_all_promises(first: int) -> None:
    """P1 to P8 under crashes, zombies, rebalances, failed cuts, clock steps, upgrades and commands."""
    for seed in range(first, first + BATCH):
        played = play(seed, scenery_of(seed))
        assert not played.violations, story(played)
        assert played.compared


@pytest.mark.parametrize("path", kept(), ids=lambda path: path.stem)
def test_what_was_found_stays_mended(path: Path) -> None:
    """A story in which a promise was broken keeps all of them; the same mistake breaks one again."""
    told = read_story(path)
    played = told.play()
    assert not played.violations, story(played)
    if told.mutation:
        mutation = next(one for one in MUTATIONS if one.name == told.mutation)
        with mutation.made():
            broken = {one.promise for one in told.play().violations}
        assert broken & mutation.promises


def test_a_seed_is_the_same_in_every_process() -> None:
    """Same seed, same trace, byte for byte, whatever the order of sets in a process."""
    told = {
        subprocess.run(
            [sys.executable, "-c", TRACE],
            env=os.environ | {"PYTHONHASHSEED": hashed},
            check=True,
            capture_output=True,
            text=True,
            timeout=3 * PATIENCE_S,
        ).stdout
        for hashed in ("1", "2")
    }
    here = "".join(f"{_crc(seed)}\n" for seed in (1, 2, 7))
    assert told == {here}


def _crc(seed: int) -> int:
    return zlib.crc32(play(seed, scenery_of(seed)).trace().encode())


def test_whoever_looks_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """A world in which memory is never compared with its cuts is the same, to the millisecond."""
    compared = _crc(2)
    monkeypatch.setattr(Mirror, "compared", lambda *_: [])
    monkeypatch.setattr(Mirror, "at_rest", lambda *_: [])
    assert _crc(2) == compared


def test_every_fault_happens() -> None:
    """The schedules of some dozen seeds have everything that can happen."""
    seen = {one.what for seed in range(60) for one in scenery_of(seed).schedule(seed)}
    assert seen == set(What)


def test_a_seed_that_fails_is_told_shortly() -> None:
    """Of 80 happenings few are left, the same promise is broken, and the story names its workflow."""
    mutation = next(one for one in MUTATIONS if one.name == "newest_first")
    with mutation.made():
        played = play(0, scenery_of(0))
        shortest = shrunk(played, scenery_of(0), most=60)
    assert len(shortest.schedule) <= 12 < len(played.schedule)
    assert {one.promise for one in shortest.violations} & mutation.promises
    text = story(shortest)
    assert "seed 0 breaks" in text
    assert "published to events" in text


def test_a_story_is_kept_as_it_is(tmp_path: Path) -> None:
    """What is written of a story reads as the same one, and plays as its seed did."""
    played = play(3, scenery_of(3))
    told = Story("why", 3, 3, "", ("a#1",), played.schedule)
    told.write(tmp_path / "story.json")
    assert read_story(tmp_path / "story.json") == told
    assert told._replace(spared=()).play().trace() == played.trace()


def test_a_story_is_told_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`scripts/simulate --story` prints what happens, and says whether a promise is broken."""
    assert retell(kept()[0]) == 0
    assert "it breaks nothing now" in capsys.readouterr().out
    (tmp_path / "no.json").write_text("[]")
    assert retell(tmp_path / "no.json") == 2
    assert "is no story" in capsys.readouterr().err
