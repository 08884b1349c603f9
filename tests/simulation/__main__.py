"""
Plays seeds of the engine's simulation on all cores, with a bar; a seed that breaks a promise is told.

Garbage is collected between two seeds, of what they made alone. `--state FILE` keeps how far it came, so
that a night that was interrupted can go on; `--story FILE` plays again what a seed that broke a promise has
left behind. Called by `scripts/simulate`.
"""

from __future__ import annotations

import argparse
import gc
import json
import multiprocessing
import os
import sys
import time
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from event_center.testing.simulation import play
from event_center.testing.simulation_shrinking import shrunk, story
from tests.simulation.stories import Story, read_story
from tests.simulation.workload import VARIANTS, scenery_of, storm

PIECE = 25
"""Seeds of one piece: a second's work, after which the bar moves and the state is kept."""


def leave_alone() -> None:
    """What a process has before its first seed is no garbage, nor is any looked for within a seed."""
    gc.disable()
    gc.freeze()


def broken(seeds: range) -> list[int]:
    """Those of the seeds that break a promise."""
    found = []
    for seed in seeds:
        if play(seed, scenery_of(seed)).violations:
            found.append(seed)
        gc.collect()  # the next seed has this one's memory, which the processor's cache holds still
    return found


def tell(seed: int) -> None:
    """Print the shrunk story of a seed, and keep it as a file."""
    scenery = scenery_of(seed)
    short = shrunk(play(seed, scenery), scenery)
    path = Path(f"seed-{seed}.json")
    about = str(short.violations[0])
    spared = tuple(sorted(short.spared))
    Story(about, seed, seed % len(VARIANTS), "", spared, short.schedule).write(path)
    print(story(short))
    print(f"to repeat it: scripts/simulate --story {path}")


def retell(path: Path) -> int:
    """Play a story again and print it; 1 if it still breaks a promise."""
    try:
        kept = read_story(path)
    except (OSError, ValueError, KeyError, TypeError) as error:
        print(f"{path} is no story of scripts/simulate: {error!r}", file=sys.stderr)
        return 2
    played = kept.play()
    print(f"{path}: {kept.about}")
    print(story(played))
    if not played.violations:
        print("it breaks nothing now")
    return 1 if played.violations else 0


def main() -> int:
    """Play the seeds that the arguments name; 1 if one of them breaks a promise."""
    parser = argparse.ArgumentParser(prog="scripts/simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=1_000, help="how many")
    parser.add_argument("--from", type=int, default=0, dest="first", help="the first one")
    parser.add_argument("--state", type=Path, help="a file that keeps how far it came")
    parser.add_argument("--story", type=Path, help="play this file again instead of seeds")
    asked = parser.parse_args()
    if asked.story is not None:
        return retell(asked.story)
    for variant in range(len(VARIANTS)):
        storm(variant)  # before the processes are made: they have it from here
    first = asked.first
    if asked.state is not None and asked.state.exists():
        first = int(json.loads(asked.state.read_text(encoding="utf-8"))["next"])
    stop = asked.first + asked.seeds
    found = play_all(first, stop, asked.state)
    for seed in found:
        tell(seed)
    return 1 if found else 0


def play_all(first: int, stop: int, state: Path | None) -> list[int]:
    """Play the seeds, piece by piece; returns those that break a promise."""
    found: list[int] = []
    pieces = [range(start, min(start + PIECE, stop)) for start in range(first, stop, PIECE)]
    begun = time.monotonic()
    columns = (TextColumn("seeds"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    context = multiprocessing.get_context("fork")
    with (
        context.Pool(os.cpu_count(), leave_alone) as pool,
        Progress(*columns, disable=not sys.stderr.isatty()) as bar,
    ):
        task = bar.add_task("seeds", total=max(0, stop - first))
        for piece, some in zip(pieces, pool.imap(broken, pieces), strict=True):
            found += some
            for seed in some:
                bar.console.print(f"seed {seed} breaks a promise")
            bar.advance(task, len(piece))
            if state is not None:
                state.write_text(json.dumps({"next": piece.stop}), encoding="utf-8")
    seconds = time.monotonic() - begun
    print(f"{stop - first} seeds in {seconds:.0f} s, {len(found)} of them break a promise")
    return found


if __name__ == "__main__":
    sys.exit(main())
