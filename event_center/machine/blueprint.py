"""
What a machine is written with in Python: a class with states in it, and transitions between them.

Nothing is checked here but what Python checks by itself: each part notes what it was given, and
where it stands. A keyword is the key of the YAML form and means the same. `builder` makes of such a
class what `document` makes of a text; the door is `event_center.machine.load`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypedDict, TypeVar, Unpack, overload

from event_center.machine.authoring import ANYWHERE, WRITTEN, here, note
from event_center.machine.definition import Text
from event_center.machine.problems import Place

Function = Callable[..., Any]
F = TypeVar("F", bound=Function)
Guard = str | Function | Mapping[str, object]
"""A name, an expression that begins with `=`, a function, or one of not, and, or, in."""
Names = str | Iterable[str]
Raised = str | Mapping[str, object]
Tags = str | Sequence[str] | Mapping[str, str | Sequence[str]]
"""Words for readers and tools, or the same in several languages."""


class _CallOptions(TypedDict, total=False):
    retry: str | Mapping[str, object]
    timeout: str
    eager: bool


@dataclass(frozen=True, slots=True, init=False)
class Do:
    """A callback with what is said of it: `Do(charge, retry="short", timeout="10s")`."""

    callback: str | Function
    options: Mapping[str, object]
    place: Place

    def __init__(self, callback: str | Function, **options: Unpack[_CallOptions]) -> None:
        self._noted(callback, options)

    def _noted(self, callback: str | Function, options: Mapping[str, object]) -> None:
        object.__setattr__(self, "callback", callback)
        object.__setattr__(self, "options", dict(options))
        object.__setattr__(self, "place", here()[1])


class _JobOptions(TypedDict, total=False):
    retry: str | Mapping[str, object]
    timeout: str
    heartbeat: str
    grace: str
    on_done: Led
    on_error: Led


class Job(Do):
    """A callback that a state invokes: `Job(build, timeout="2h", on_done="built")`."""

    def __init__(self, callback: str | Function, **options: Unpack[_JobOptions]) -> None:
        self._noted(callback, options)


Callback = str | Function | Do
"""A name that a plugin implements, the function itself, or either of them in a `Do`."""
Callbacks = Callback | Sequence[Callback]
Jobs = str | Function | Job | Sequence[str | Function | Job]


class _BranchOptions(TypedDict, total=False):
    guard: Guard
    before: Callbacks
    actions: Callbacks
    assign: Mapping[str, Any]
    raises: Raised | Sequence[Raised]
    emit: Mapping[str, object] | Sequence[Mapping[str, object]]
    reenter: bool
    description: Text


class _TimedOptions(_BranchOptions, total=False):
    repeat: bool


class _ErrorOptions(_BranchOptions, total=False):
    errors: str | Sequence[str]


class _OuterOptions(TypedDict, total=False):
    title: Text
    description: Text
    tags: Tags
    meta: Any
    perpetual: bool
    entry: Callbacks
    exit: Callbacks
    invoke: Jobs
    defer: Names
    unhandled: str


class _StateOptions(_OuterOptions, total=False):
    type: Literal["choice", "history"]
    result: str
    history: Literal["shallow", "deep"]
    target: Target


class _MachineOptions(TypedDict, total=False):
    machine: str
    on_upgrade: str
    migrate: Mapping[str, object] | Sequence[Mapping[str, object]]
    title: Text
    description: Text
    tags: Tags
    meta: Any
    data: Mapping[str, Any]
    retries: Mapping[str, Mapping[str, object]]
    events: Mapping[str, Mapping[str, object] | None]
    on_failure: str
    unhandled: str
    perpetual: bool
    tests: Sequence[Mapping[str, object]]


@dataclass(kw_only=True, slots=True)
class Way:
    """One branch as it was written, and the key that it stands below: `on`, `after`, ..."""

    place: Place
    key: str
    names: list[str]
    """Its events, or its time; several events share the branch."""
    named: bool
    """Whether they were given, so that the attribute's name is not the event's."""
    branch: Mapping[str, object]
    anywhere: bool
    """It is written for every state at once."""


@dataclass(kw_only=True, slots=True)
class Part:
    """What a state, or the whole class, was given."""

    file: str
    place: Place
    name: str = ""
    type: str | None = None
    initial: bool = False
    options: dict[str, object] = field(default_factory=dict)
    ways: list[Way] = field(default_factory=list)
    decorated: list[tuple[str, Do]] = field(default_factory=list)
    """Callbacks that a decorator gave, below `entry` or `exit`."""


class Transitions:
    """What `to` and `stay` return: an attribute's name becomes their event; `|` joins them."""

    __slots__ = ("ways",)

    def __init__(self, ways: tuple[Way, ...]) -> None:
        self.ways = ways

    def __or__(self, other: Transitions) -> Transitions:
        return Transitions(self.ways + other.ways)

    def __set_name__(self, owner: type, name: str) -> None:
        for way in self.ways:
            if not way.named:
                way.names.append(name)


class Origin:
    """Whatever transitions lead out of."""

    # One attribute, so that the names of the states inside of a class stay free.
    __part__: Part

    def to(
        self, target: Target, *, event: Names = (), **branch: Unpack[_BranchOptions]
    ) -> Transitions:
        """A branch that leads to another state; `event` is the attribute's name by default."""
        return self._reacting(event, {"target": target, **branch})

    def stay(self, *, event: Names = (), **branch: Unpack[_BranchOptions]) -> Transitions:
        """A branch that is handled inside of the state, which is not left."""
        return self._reacting(event, branch)

    def after(
        self, time: str, target: Target | None = None, **branch: Unpack[_TimedOptions]
    ) -> None:
        """A branch that is taken some time (`30s`, `=data.deadline`) after the state was entered."""
        self._way("after", [time], target, branch)

    def on_error(self, target: Target | None = None, **branch: Unpack[_ErrorOptions]) -> None:
        """A branch for a callback that failed for good."""
        self._way("on_error", [], target, branch)

    def _reacting(self, event: Names, branch: Mapping[str, object]) -> Transitions:
        names = [event] if isinstance(event, str) else list(event)
        return Transitions((self._way("on", names, None, branch),))

    def _way(
        self, key: str, names: list[str], target: Target | None, branch: Mapping[str, object]
    ) -> Way:
        led = branch if target is None else {"target": target, **branch}
        way = Way(
            place=here()[1],
            key=key,
            names=names,
            named=bool(names),
            branch=led,
            anywhere=isinstance(self, AnyState),
        )
        self.__part__.ways.append(way)
        return way


class AnyState(Origin):
    """Every state that is not final; `after` counts from the birth of the workflow."""

    def __init__(self) -> None:
        file, place = here()
        self.__part__ = Part(file=file, place=place)

    def _way(
        self, key: str, names: list[str], target: Target | None, branch: Mapping[str, object]
    ) -> Way:
        way = super()._way(key, names, target, branch)
        note(ANYWHERE, way)
        return way


class Vertex(Origin):
    """A state of any kind."""

    def on_done(self, target: Target | None = None, **branch: Unpack[_BranchOptions]) -> None:
        """A branch for the end of the state's entry callbacks, or of the states inside."""
        self._way("on_done", [], target, branch)

    def always(self, target: Target, **branch: Unpack[_BranchOptions]) -> None:
        """A branch of a choice; they are asked in order, and the last one has no guard."""
        self._way("always", [], target, branch)

    @overload
    def entry(self, function: F, /) -> F: ...
    @overload
    def entry(self, /, **options: Unpack[_CallOptions]) -> Callable[[F], F]: ...
    def entry(
        self, function: F | None = None, /, **options: Unpack[_CallOptions]
    ) -> F | Callable[[F], F]:
        """Owe this callback when the state is entered; in the class's body below staticmethod."""
        return self._doing("entry", function, options)

    @overload
    def exit(self, function: F, /) -> F: ...
    @overload
    def exit(self, /, **options: Unpack[_CallOptions]) -> Callable[[F], F]: ...
    def exit(
        self, function: F | None = None, /, **options: Unpack[_CallOptions]
    ) -> F | Callable[[F], F]:
        """Await this callback before the state is left."""
        return self._doing("exit", function, options)

    @overload
    def invoke(self, function: F, /) -> F: ...
    @overload
    def invoke(self, /, **options: Unpack[_JobOptions]) -> Callable[[F], F]: ...
    def invoke(
        self, function: F | None = None, /, **options: Unpack[_JobOptions]
    ) -> F | Callable[[F], F]:
        """Run this job for as long as the state is active."""
        return self._noted("invoke", function, lambda job: Job(job, **options))

    def _doing(self, key: str, function: F | None, options: _CallOptions) -> F | Callable[[F], F]:
        return self._noted(key, function, lambda callback: Do(callback, **options))

    def _noted(self, key: str, function: F | None, made: Callable[[F], Do]) -> F | Callable[[F], F]:
        def note(decorated: F) -> F:
            self.__part__.decorated.append((key, made(decorated)))
            return decorated

        return note if function is None else note(function)


class State(Vertex):
    """A state without states inside; `name` is the attribute's name by default."""

    def __init__(
        self,
        *,
        name: str = "",
        initial: bool = False,
        final: bool = False,
        **options: Unpack[_StateOptions],
    ) -> None:
        file, place = here()
        self.__part__ = Part(
            file=file,
            place=place,
            name=name,
            type="final" if final else None,
            initial=initial,
            options=dict(options),
        )
        note(WRITTEN, self)

    def __set_name__(self, owner: type, name: str) -> None:
        self.__part__.name = self.__part__.name or name


class Nest(type, Vertex):
    """The kind of classes that are states with states inside."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], body: dict[str, Any], **_options: object
    ) -> Nest:
        """Make the class; `__init__` takes its keywords."""
        return super().__new__(cls, name, bases, body)

    def __init__(
        cls,
        name: str,
        bases: tuple[type, ...],
        body: dict[str, Any],
        *,
        initial: bool = False,
        **options: Unpack[_OuterOptions],
    ) -> None:
        super().__init__(name, bases, body)
        file, place = here()
        cls.__part__ = Part(
            file=file,
            place=place,
            name=name,
            type=getattr(cls, "__kind__", None),
            initial=initial,
            options=dict(options),
        )


class Compound(metaclass=Nest):
    """A state that is in one of the states inside of it; one of them has `initial=True`."""


class Parallel(metaclass=Nest):
    """A state that is in all of the states inside of it at once: its regions."""

    __kind__ = "parallel"


Target = Vertex | str
"""A state, or the name of one: what stands outside of a nested class has to be named."""
Led = Target | Mapping[str, object] | Sequence[Target | Mapping[str, object]]
"""What the end of a job moves: a target, a branch as in YAML, or a list of them."""


class Blueprint:
    """A machine as a class; its name in small letters, or `machine=`, is the machine's."""

    __part__: Part

    def __init_subclass__(cls, *, version: int, **options: Unpack[_MachineOptions]) -> None:
        """Note what the machine was given; its states are in the body."""
        super().__init_subclass__()
        file, place = here()
        words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", cls.__name__).lower()
        given: dict[str, object] = {"machine": words, "version": version, **options}
        cls.__part__ = Part(file=file, place=place, name=str(given["machine"]), options=given)
