"""
A project under simulation: many seeds of its own machines and plugins, and what they show.

    report = simulate("config/event-center.toml", seeds=200)
    assert report.ok, report

The real engine runs the project's callbacks in this process, on a log in memory and under virtual time:
what they would do outside has to be faked. `event-center simulate` and tests of projects call this;
`simulation_findings` says what is looked for.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio

from event_center.app.settings import Settings, load_settings
from event_center.testing.simulation import Played, play
from event_center.testing.simulation_findings import Sighting, Sort, findings
from event_center.testing.simulation_project import scenery_of
from event_center.testing.simulation_scenery import Scenery
from event_center.testing.simulation_shrinking import shrunk, story

MOST_TRIES = 60
"""Worlds that are tried to make a story short: somebody waits for it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Weakness:
    """One thing that was found, and the first seed that shows it."""

    sort: Sort
    what: str
    """The callback, or machine and state."""
    told: str
    """What was seen."""
    seed: int
    """`event-center simulate --from SEED --seeds 1` repeats it."""
    seeds: int
    """How many seeds show it."""
    story: str
    """What happened under the seed, made short."""

    def __str__(self) -> str:
        head = f"{self.sort.replace('_', ' ')}: {self.what} ({self.seeds} seeds, first {self.seed})"
        return f"{head}\n  {self.told}"


@dataclass(frozen=True, kw_only=True, slots=True)
class Simulated:
    """What the seeds have shown."""

    seeds: int
    calls: int
    """Calls of callbacks."""
    findings: tuple[Weakness, ...]

    @property
    def ok(self) -> bool:
        """Nothing is wrong; races of timers are told, and may be meant."""
        return all(one.sort is Sort.RACE for one in self.findings)

    def __str__(self) -> str:
        told = [f"{one}\n{one.story}" for one in self.findings]
        return "\n\n".join([f"{self.seeds} seeds, {self.calls} calls of callbacks", *told])


def simulate(
    config: Path | str | Settings | None = None,
    *,
    seeds: int = 200,
    first: int = 0,
    on_seed: Callable[[], None] = lambda: None,
) -> Simulated:
    """
    Play the project of these settings under many seeds; not to be called while an event loop runs.

    Args:
        config: a settings file, settings made in code, or None for the default places.
        seeds: how many.
        first: the first of them.
        on_seed: called after each, for a progress bar.

    Raises:
        DefinitionError, PluginError, ConfigurationError: machines, plugins or settings are wrong.
    """
    settings = config if isinstance(config, Settings) else load_settings(_path(config))
    return anyio.run(_within_lifespans, settings, range(first, first + seeds), on_seed)


def _path(config: Path | str | None) -> Path | None:
    return None if config is None else Path(config)


async def _within_lifespans(
    settings: Settings, seeds: range, on_seed: Callable[[], None]
) -> Simulated:
    """Plugins find what they hold open; each world has an event loop of its own, in a thread."""
    scenery = scenery_of(settings)
    async with AsyncExitStack() as stack:
        for plan in scenery.plans:
            for bound in plan.bound.values():
                for lifespan in bound.lifespans:
                    await stack.enter_async_context(lifespan())
        return await anyio.to_thread.run_sync(_play_all, scenery, seeds, on_seed)


def _play_all(scenery: Scenery, seeds: range, on_seed: Callable[[], None]) -> Simulated:
    seen: dict[tuple[Sort, str], list[tuple[Sighting, Played]]] = {}
    calls = 0
    for seed in seeds:
        played = play(seed, scenery)
        calls += len(played.started)
        for found in findings(played, scenery):
            seen.setdefault((found.sort, found.what), []).append((found, played))
        on_seed()
    return Simulated(
        seeds=len(seeds),
        calls=calls,
        findings=tuple(_finding(pairs, scenery) for pairs in seen.values()),
    )


def _finding(pairs: list[tuple[Sighting, Played]], scenery: Scenery) -> Weakness:
    """The first seed that shows something, made short as long as it does."""
    found, played = pairs[0]

    def shows(tried: Played) -> bool:
        return any(one[:2] == found[:2] for one in findings(tried, scenery))

    shortest = shrunk(played, scenery, most=MOST_TRIES, broken=shows)
    told = next(one.story for one in findings(shortest, scenery) if one[:2] == found[:2])
    return Weakness(
        sort=found.sort,
        what=found.what,
        told=told,
        seed=played.seed,
        seeds=len(pairs),
        story=story(shortest),
    )
