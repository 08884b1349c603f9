"""Stubs: types and functions of a machine; run again, only what the machine changed is changed."""

from __future__ import annotations

import difflib
import subprocess
import sys
from pathlib import Path

import pytest

from event_center.errors import PluginError
from event_center.machine import load, parse
from event_center.plugins.discovery import discover
from event_center.plugins.registry import resolve
from event_center.plugins.stubs import BEGIN, END, stubbed

MACHINES = Path(__file__).parents[2] / "machines"

LAMP = """
machine: night-lamp
version: 1
initial: dark
states:
  dark: {on: {press: {target: lit, guard: powered, before: crm.note, actions: count}, unplug: gone}}
  lit: {entry: glow, exit: [fade, cool], on: {press: dark, "so \\"dim\\"": {}}}
  gone: {type: final}
"""

GROWN = LAMP.replace("before: crm.note, ", "").replace(
    "press: dark,", "press: {target: dark, actions: wink}, shake: dark,"
)


def changed(before: str, after: str) -> list[str]:
    lines = difflib.ndiff(before.splitlines(), after.splitlines())
    return [line for line in lines if line[0] in "+-"]


def test_a_begun_module_fits_its_machine(tmp_path: Path) -> None:
    """The module that is written implements every callback and guard, with the names of the machine."""
    found = stubbed(parse(LAMP))
    assert found.added == ("powered", "crm.note", "count", "glow", "fade", "cool")
    (tmp_path / "lamp.yaml").write_text(LAMP)
    (tmp_path / "lamp.py").write_text(found.text)
    bound = resolve(load(tmp_path / "lamp.yaml"), discover([tmp_path / "lamp.yaml"]))
    assert bound.warnings == ()
    assert bound.callback("crm.note").function.__name__ == "crm_note"
    assert (bound.callback("glow").function.__doc__ or "") == "Entry of 'lit'."


def test_a_function_of_migrate_is_begun_as_well() -> None:
    """It has its own decorator and types, and says which version it is for."""
    text = LAMP.replace("version: 1", "version: 2\nmigrate: {from: 1, data: brighten}")
    found = stubbed(parse(text))
    assert found.added[0] == "brighten"
    assert stubbed(parse(text), found.text) == (found.text, (), ())
    assert "def brighten(self) -> _Callable[..., dict[str, object]]: ..." in found.text
    function = found.text[found.text.index("@night_lamp.upgrade") :]
    assert function.startswith('''@night_lamp.upgrade("brighten")
def brighten(data: dict[str, object]) -> dict[str, object]:
    """New data for workflows of version 1."""
''')


def test_running_it_again_changes_nothing() -> None:
    """A module that is up to date stays as it is, to the last byte."""
    found = stubbed(parse(LAMP))
    again = stubbed(parse(LAMP), found.text)
    assert again.text == found.text
    assert again.added == ()


def test_only_what_the_machine_changed_is_changed() -> None:
    """What people wrote stays; types change by their lines, functions are added and never taken away."""
    mine = stubbed(parse(LAMP)).text.replace(
        'raise NotImplementedError("glow of machine night-lamp")', "print('glows')  # mine"
    )
    found = stubbed(parse(GROWN), mine)
    assert (found.added, found.unused) == (("wink",), ("crm.note",))
    difference = changed(mine, found.text)
    assert "-     def crm_note(self) -> NightLampCallback: ..." in difference
    assert '+     "shake",' in difference
    types = found.text[found.text.index(BEGIN) : found.text.index(END)]
    functions = mine[mine.index(END) :]
    assert "crm_note" not in types
    assert functions.rstrip() in found.text
    assert "print('glows')  # mine" in found.text
    assert "async def crm_note" in found.text


def test_what_people_wrote_in_their_own_way_is_seen() -> None:
    """Decorators with states, without names, and functions of other machines are read as plugins do."""
    text = (
        '"""Mine."""\nimport event_center\nfrom event_center import callbacks, Context\n\n'
        'lamp = event_center.callbacks("night-lamp")\nother = callbacks("other")\n\n'
        '@lamp.entry("lit")\nasync def shine(ctx): ...\n\n'
        '@lamp.exit("lit")\ndef fade(): ...\n\n@lamp.exit("lit")\ndef cool(): ...\n\n'
        "@lamp.guard\ndef powered(): return True\n\n@lamp.action\ndef count(): ...\n\n"
        '@other.action("crm.note")\ndef note(): ...\n'
    )
    found = stubbed(parse(LAMP), text)
    assert (found.added, found.unused) == (("crm.note",), ())
    assert found.text.index(BEGIN) < found.text.index("lamp = event_center.callbacks")
    assert '@lamp.action("crm.note")' in found.text


@pytest.mark.parametrize("name", ["helpdesk", "job", "order", "review"])
def test_the_examples_need_no_more_functions(name: str) -> None:
    """Of the examples, whose plugins are whole, nothing is missing and nothing unused."""
    plugin = (MACHINES / f"{name}.py").read_text(encoding="utf-8")
    found = stubbed(load(MACHINES / f"{name}.yaml"), plugin)
    assert (found.added, found.unused) == ((), ())


def test_the_types_find_a_misspelt_event(tmp_path: Path) -> None:
    """A type checker accepts the stubs, takes the module for its Protocol, and refuses a wrong event."""
    text = stubbed(parse(LAMP)).text
    (tmp_path / "lamp.py").write_text(text)
    (tmp_path / "uses.py").write_text(
        "import lamp\n\nwhole: lamp.NightLampCallbacks = lamp\nstate: lamp.NightLampState = 'lit'\n"
    )
    assert mypy(tmp_path, "uses.py", "lamp.py") == ""
    wrong = 'return "presss"'
    (tmp_path / "lamp.py").write_text(
        text.replace('raise NotImplementedError("glow of machine night-lamp")', wrong)
    )
    assert "Incompatible return value" in mypy(tmp_path, "lamp.py")


def mypy(folder: Path, *names: str) -> str:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", *names]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False).stdout


def test_what_can_not_be_brought_up_to_date() -> None:
    """Text that is no Python, has no callbacks of the machine, or half a block, is told."""
    machine = parse(LAMP)
    with pytest.raises(PluginError, match=r"lamp.py:2: not Python"):
        stubbed(machine, "a = 1\nb = (\n", "lamp.py")
    with pytest.raises(PluginError, match=r'has no `night_lamp = callbacks\("night-lamp"\)`'):
        stubbed(machine, "from event_center import callbacks\nx = callbacks('other')\n", "lamp.py")
    with pytest.raises(PluginError, match="is gone; put it back"):
        stubbed(machine, stubbed(machine).text.replace(END, ""), "lamp.py")


def test_jobs_get_functions_of_their_own() -> None:
    """With `.job`, the context that has a heartbeat, and a result that may be anything."""
    text = LAMP.replace("  gone:", "  warm: {invoke: [heat, {do: watch, on_done: lit}]}\n  gone:")
    text = text.replace("unplug: gone", "unplug: gone, heat: warm")
    found = stubbed(parse(text))
    assert found.added[-2:] == ("heat", "watch")
    assert '@night_lamp.job("watch")\nasync def watch(ctx: _JobContext) -> object:' in found.text
    assert '    """Job of \'warm\'."""' in found.text
    assert stubbed(parse(text), found.text).added == ()
    assert "JobContext" not in stubbed(parse(LAMP)).text
