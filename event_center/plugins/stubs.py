"""
The plugin of a machine, begun or brought up to date: types of its states, events and callbacks, and a
function for each callback that nobody has written yet.

The types stand in one block between two marks, which is written anew each time; functions are only
ever added, at the end. So running it again changes what the machine changed, and nothing else. It
reads the module's text, and runs nothing of it. Pure; called by the CLI's `stubs`.
"""

from __future__ import annotations

import ast
import keyword
import re
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from event_center.errors import PluginError
from event_center.machine.definition import Definition, Phase
from event_center.machine.guard import Named, leaves
from event_center.machine.spelling import quoted
from event_center.machine.step import Machine
from event_center.plugins.callbacks import Role

BEGIN = "# -- types of the machine: written by `event-center stubs`, and overwritten by it --"
END = "# -- end of the types --"


class Stubbed(NamedTuple):
    """A module as it should be."""

    text: str
    added: tuple[str, ...]
    """The callbacks and guards that got a function."""
    unused: tuple[str, ...]
    """Those that the module implements and the machine does not name."""


def stubbed(machine: Machine, text: str = "", where: str = "<plugin>") -> Stubbed:
    """
    The module of a machine's callbacks.

    Args:
        machine: the machine.
        text: the module as it is; empty: there is none yet.
        where: what messages call it.

    Raises:
        PluginError: the text is no Python, or has a begun block without an end.
    """
    return _Module(machine, text, where).stubbed()


class _Module:
    """One module, being read and written."""

    def __init__(self, machine: Machine, text: str, where: str) -> None:
        self._machine = machine
        self._where = where
        self._text = text or _HEAD.format(name=machine.name, variable=_variable(machine.name))
        try:
            self._tree = ast.parse(self._text)
        except SyntaxError as error:
            raise PluginError(
                f"{where}:{error.lineno}: not Python: {error.msg}; mend it first"
            ) from None
        self._object = self._callbacks_object()
        upgrades = machine.definition.upgrades
        self._upgrades = sorted({one.function for one in upgrades if one.function})

    def stubbed(self) -> Stubbed:
        known = {(self._role(name), name) for name in self._machine.callbacks}
        known |= {(Role.GUARD, name) for name in self._machine.guards}
        known |= {(Role.UPGRADE, name) for name in self._upgrades}
        there = set(self._implemented())
        missing = sorted(known - there, key=self._place)
        text = self._with_types()
        for role, name in missing:
            text = text.rstrip("\n") + "\n\n\n" + self._function(role, name)
        unused = sorted(name for _, name in there - known)
        return Stubbed(text, tuple(name for _, name in missing), tuple(unused))

    def _role(self, name: str) -> Role:
        """What implements a callback of this name."""
        phases = self._machine.callbacks.get(name, ())
        return Role.JOB if Phase.INVOKE in phases else Role.ACTION

    def _place(self, one: tuple[Role, str]) -> tuple[int, ...]:
        role, name = one
        kind = str(role) if role in {Role.GUARD, Role.UPGRADE} else "callback"
        line, column = self._machine.position(kind, name).rsplit(":", 2)[1:]
        return int(line), int(column)

    # -- what is there ---------------------------------------------------------------------------

    def _callbacks_object(self) -> str:
        """The name of the module's `callbacks("...")` of this machine."""
        for node in self._tree.body:
            match node:
                case ast.Assign(
                    targets=[ast.Name(id=name)],
                    value=ast.Call(func=function, args=[ast.Constant(value=machine)]),
                ) if machine == self._machine.name and _last(function) == "callbacks":
                    return name
        raise PluginError(
            f'{self._where} has no `{_variable(self._machine.name)} = callbacks("{self._machine.name}")` '
            "at its top; write it, and run this again"
        )

    def _implemented(self) -> Iterator[tuple[Role, str]]:
        """What the decorators of the module's functions say, by the names of the machine."""
        for node in ast.walk(self._tree):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                for decorator in node.decorator_list:
                    yield from self._decorated(decorator, node.name)

    def _decorated(self, decorator: ast.expr, function: str) -> Iterator[tuple[Role, str]]:
        argument = function
        if isinstance(decorator, ast.Call):
            first = decorator.args[0] if decorator.args else None
            if isinstance(first, ast.Constant) and isinstance(first.value, str):
                argument = first.value
            decorator = decorator.func
        match decorator:
            case ast.Attribute(value=ast.Name(id=name), attr="guard" | "upgrade" as role) if (
                name == self._object
            ):
                yield Role(role), argument
            case ast.Attribute(value=ast.Name(id=name), attr="action" | "job") if (
                name == self._object
            ):
                yield self._role(argument), argument
            case ast.Attribute(value=ast.Name(id=name), attr="entry" | "exit" as phase) if (
                name == self._object
            ):
                table = self._machine.entries if phase == "entry" else self._machine.exits
                names = table.get(argument, ())
                yield Role.ACTION, names[0] if len(names) == 1 else function

    # -- what is written -------------------------------------------------------------------------

    def _with_types(self) -> str:
        """The text with the block of types as the machine has them now."""
        block = "\n".join([BEGIN, *self._types(), END, ""])
        if BEGIN in self._text:
            before, _, rest = self._text.partition(BEGIN)
            _, end, after = rest.partition(END + "\n")
            if not end:
                raise PluginError(
                    f"{self._where}: the line '{END}' is gone; put it back below the types, or remove "
                    f"the line '{BEGIN}' with them"
                )
            return before + block + after
        lines = self._text.splitlines(keepends=True)
        at = self._object_line() - 1
        return "".join(lines[:at]) + block + "\n" + "".join(lines[at:])

    def _object_line(self) -> int:
        return next(
            node.lineno
            for node in self._tree.body
            if isinstance(node, ast.Assign)
            and isinstance(node.targets[0], ast.Name)
            and node.targets[0].id == self._object
        )

    def _types(self) -> Iterator[str]:
        title = _title(self._machine.name)
        definition = self._machine.definition
        yield "from collections.abc import Awaitable as _Awaitable"
        yield "from collections.abc import Callable as _Callable"
        yield "from typing import Literal as _Literal"
        yield "from typing import Protocol as _Protocol"
        yield ""
        yield "from event_center import Event as _Event"
        roles = {name: self._role(name) for name in sorted(self._machine.callbacks)}
        if Role.JOB in roles.values():
            yield "from event_center import JobContext as _JobContext"
        yield ""
        yield from _literal(f"{title}State", definition.states)
        yield from _literal(f"{title}Event", _events(definition))
        yield f"{title}Returns = {title}Event | _Event | None"
        yield f"{title}Callback = _Callable[..., {title}Returns | _Awaitable[{title}Returns]]"
        yield ""
        yield ""
        yield f"class {title}Callbacks(_Protocol):"
        yield f'    """Every function that machine {_quoted(self._machine.name)} needs."""'
        for name, role in roles.items():
            kind = "_Callable[..., object]" if role is Role.JOB else f"{title}Callback"
            yield ""
            yield "    @property"
            yield f"    def {_identifier(name)}(self) -> {kind}: ..."
        answers = dict.fromkeys(sorted(self._machine.guards), "bool")
        answers |= dict.fromkeys(self._upgrades, "dict[str, object]")
        for name, answer in answers.items():
            yield ""
            yield "    @property"
            yield f"    def {_identifier(name)}(self) -> _Callable[..., {answer}]: ..."
        yield ""
        yield ""

    def _function(self, role: Role, name: str) -> str:
        title, own = _title(self._machine.name), _identifier(name)
        find = _upgraded if role is Role.UPGRADE else _uses
        uses = "; ".join(find(self._machine.definition, role, name))
        if role is Role.GUARD:
            head = f"def {own}(payload: object, data: dict[str, object]) -> bool:"
        elif role is Role.UPGRADE:
            head = f"def {own}(data: dict[str, object]) -> dict[str, object]:"
        elif role is Role.JOB:
            head = f"async def {own}(ctx: _JobContext) -> object:"
        else:
            head = f"async def {own}(ctx: Context) -> {title}Returns:"
        return (
            f'@{self._object}.{role}("{name}")\n'
            f"{head}\n"
            f'    """{uses}."""\n'
            f'    raise NotImplementedError("{name} of machine {self._machine.name}")\n'
        )


_HEAD = '''"""The callbacks of machine {name}."""

from __future__ import annotations

from event_center import Context, callbacks

{variable} = callbacks("{name}")
'''


def _events(definition: Definition) -> list[str]:
    """All events that the machine declares, hears or raises, but none of its own."""
    tables = [definition.on, *(state.on for state in definition.states.values())]
    names = [*(definition.events or {}), *(name for on in tables for name in on)]
    names += [name for state in definition.states.values() for name in state.defer]
    return sorted({name for name in names if name != "*"})


def _uses(definition: Definition, role: Role, name: str) -> Iterator[str]:
    """Where the machine names it, in words."""
    for state in definition.states.values():
        for phase, calls in ((Phase.ENTRY, state.entry), (Phase.EXIT, state.exit)):
            if role is Role.ACTION and any(call.action.name == name for call in calls):
                yield f"{phase.capitalize()} of {quoted(state.name)}"
        if role is Role.JOB and any(job.action.name == name for job in state.invoke):
            yield f"Job of {quoted(state.name)}"
    for way, on in definition.everything():
        for branch in on.branches:
            asked = [leaf for leaf in leaves(branch.guard) if isinstance(leaf, Named)]
            if role is Role.GUARD and any(leaf.name == name for leaf in asked):
                yield f"Asked by {way}"
            calls = (*branch.before, *branch.actions)
            if role is Role.ACTION and any(call.action.name == name for call in calls):
                yield f"Awaited by {way}"


def _upgraded(definition: Definition, _role: Role, name: str) -> Iterator[str]:
    """Whose data a function of `migrate` makes anew, in words."""
    for upgrade in definition.upgrades:
        if upgrade.function == name:
            yield f"New data for workflows of version {upgrade.version}"


def _literal(name: str, values: Iterable[str]) -> Iterator[str]:
    """One value a line, so that a change of the machine is a change of its lines only."""
    found = list(values)
    if not found:
        yield f"{name} = str"
        return
    yield f"{name} = _Literal["
    yield from (f"    {_quoted(value)}," for value in found)
    yield "]"


def _quoted(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _identifier(name: str) -> str:
    own = name.replace(".", "_")
    return f"{own}_" if keyword.iskeyword(own) else own


def _variable(machine: str) -> str:
    own = re.sub(r"\W", "_", machine).lower()
    return _identifier(own if own[:1].isidentifier() else f"machine_{own}")


def _title(machine: str) -> str:
    parts = re.split(r"[^A-Za-z0-9]+", machine)
    own = "".join(part[:1].upper() + part[1:] for part in parts)
    return own if own[:1].isalpha() else f"Machine{own}"


def _last(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
