"""
The settings: every key that this release knows, its type, its default, and the reason for it.

`load_settings` reads them once, when a command or a `Center` starts; nothing asks them per event.
One TOML file lies at the bottom, environment variables over it, flags on top (sources.py reads
these). Every problem is reported at once, with the place where it was written (problems.py). The
descriptions below are the reference: docs/configuration.md repeats them, and a test compares.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    Field,
    PrivateAttr,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from event_center.app.log_settings import LogSettings
from event_center.app.problems import described, place_of
from event_center.app.quantity import Bytes, Seconds, SecondsOrUnlimited
from event_center.app.section import FilePath, Limit, Section
from event_center.app.sources import PREFIX, Source, environment, flags, overlaid, settings_file
from event_center.errors import ConfigurationError

OWN_TOPICS = ("inbox", "commands", "snapshots", "history", "dead-letters")
"""The center's own topics; the name of the app stands before each."""

_NAME = re.compile(r"[A-Za-z0-9._-]{1,200}")


def _plain_name(name: str) -> str:
    """Names of apps, topics and machines: what every log can hold as the name of a topic."""
    if not _NAME.fullmatch(name) or name in {".", ".."}:
        raise ValueError(f"{name!r} is not a name; letters, digits, '.', '_' and '-' make one")
    return name


def _foreign(name: str, info: ValidationInfo) -> str:
    """A topic's name that is not one of the center's own topics."""
    if name in {f"{info.data.get('app')}.{own}" for own in OWN_TOPICS}:
        raise ValueError(f"{name!r} is a topic of the center itself; choose another name")
    return name


def _expression(text: str) -> str:
    if not text.startswith("=") or len(text) == 1:
        raise ValueError(f'is an expression, which begins with "="; write e.g. "={text or "key"}"')
    return text


def _name_or_expression(text: str) -> str:
    return _expression(text) if text.startswith("=") else _plain_name(text)


Name = Annotated[str, AfterValidator(_plain_name)]
Expression = Annotated[str, AfterValidator(_expression)]
Text = Annotated[str, StringConstraints(min_length=1)]


class EngineSettings(Section):
    """The limits and choices of the engine."""

    history: Literal["all", "transitions"] = Field(
        default="all",
        description="What goes into `<app>.history`: every outcome, or `transitions` only, which is"
        " smaller but does not say what was refused.",
    )
    max_waiting: Limit = Field(
        default=10_000,
        description="Events that may wait for one workflow, in the log. A workflow that is stuck"
        " stops growing there: its later events become dead letters.",
    )
    waiting_bytes: Bytes = Field(
        default=256 * 1024**2,
        description="What the events that wait in one shard may weigh, whatever they wait for, before it"
        " takes in no more: a size. It bounds memory; until some are decided or discarded its other"
        " workflows wait too.",
    )
    max_held: Limit = Field(
        default=100,
        description="Events that are held for one workflow that does not exist yet. It bounds what a"
        " wrong workflow_id gathers; later ones are what the machine says of expired ones.",
    )
    max_held_in_shard: Limit = Field(
        default=10_000,
        description="The same for all workflows of one shard. It bounds the memory that events for"
        " workflows that never come take until they expire.",
    )
    keep_finished: SecondsOrUnlimited = Field(
        default=30 * 86_400.0,
        description='How long a finished workflow is kept: a duration, or "unlimited". Its late events'
        " are refused meanwhile; later ones find no workflow, and may make one of the same id.",
    )
    processes: Annotated[int, Field(ge=1, le=256)] = Field(
        default=1,
        description="Processes that `run` starts on this machine, 1 to 256; they share the shards of"
        " a log on Kafka. One uses one core; more than there are shards only stand by.",
    )
    callbacks: Limit = Field(
        default=1_000,
        description="Callbacks that run at once in this process. It bounds memory and the load on"
        " what they call; the others wait their turn.",
    )
    jobs: Limit = Field(
        default=1_000,
        description="Jobs that run at once in this process, beside its callbacks. It bounds memory"
        " and the load on what they call; the others wait their turn.",
    )
    threads: Limit = Field(
        default=40,
        description="Callbacks that are plain functions, and so hold a thread each, that run at"
        " once, and as many jobs. It bounds threads, which are far dearer than callbacks that are"
        " async.",
    )
    mailbox: Limit = Field(
        default=10_000,
        description="Events that wait in the memory of this process before it takes in no more. It"
        " bounds memory when callbacks are slower than publishers.",
    )
    mailbox_bytes: Bytes = Field(
        default=64 * 1024**2,
        description="What the same events may weigh before it takes in no more: a size. It bounds memory"
        " when they are large, whatever the number of shards.",
    )
    cut_records: Limit = Field(
        default=20_000,
        description="Records of one shard that are taken in and not yet durable before it takes in"
        " no more. It bounds what a crash makes the next owner do again.",
    )
    cut_bytes: Bytes = Field(
        default=64 * 1024**2,
        description="What one cut of a shard may hold before it takes in no more: a size. It counts what"
        " is not small: snapshots, letters, what callbacks send. It bounds memory, and the time of a"
        " cut.",
    )
    snapshot_bytes: Bytes = Field(
        default=16 * 1024**2,
        description="What the data of one workflow, and the events that it still works on, may have: a"
        " size. Each cut that changes it writes all of it again; an event that would add more is"
        " rejected.",
    )
    warm: Limit = Field(
        default=20_000,
        description="Workflows that this process keeps decoded after their last event, and up to as"
        " many before them; the others are bytes. Busy ones need no decoding; each takes some 1.5 kB.",
    )
    kept: Bytes = Field(
        default=256 * 1024**2,
        description="Memory for the entries of shards that moved to another daemon: a size. One that comes"
        " back, as after a rolling restart, reads only what was written since. It counts on Kafka.",
    )
    grace: Seconds = Field(
        default=20.0,
        description="How long a stopping daemon waits for running callbacks before it owes them to"
        " its next start: a duration. Keep it below what your supervisor allows.",
    )
    partitioner: Literal["murmur2", "crc32"] = Field(
        default="murmur2",
        description="Which partition a workflow_id belongs to: as Java's Kafka clients (`murmur2`)"
        " or as librdkafka (`crc32`) say. It never changes once there are workflows.",
    )


class PublishSettings(Section):
    """What callbacks may publish to, and machines emit to."""

    topics: tuple[Name, ...] = Field(
        default=(),
        description="Topics that callbacks may publish to, and machines emit to. A name that is not listed"
        " is refused, so that a typing error makes no topic.",
    )


class TopicSettings(Section):
    """One topic of events: where its records say what they are."""

    machine: Annotated[str, AfterValidator(_name_or_expression)] = Field(
        description="The machine of workflows that this topic creates: its name, or an expression."
    )
    workflow_id: Expression | None = Field(
        default=None,
        description="An expression. Default: body.workflow_id, else a CloudEvent's subject, else"
        " the record's key.",
    )
    event: Text | None = Field(
        default=None,
        description="An expression, or one name for all records of the topic. Default: body.event,"
        " else a CloudEvent's type. A binary CloudEvent has its type in the headers, and its body is"
        " the payload: always its type.",
    )
    id: Expression | None = Field(
        default=None,
        description="An expression: the publisher's id, by which an event sent twice is found out."
        " Default: body.id; of a CloudEvent its source and id, with a space between them.",
    )
    payload: Expression | None = Field(
        default=None,
        description="An expression. Default: body.payload, else body.data, else the whole body.",
    )
    time: Expression | None = Field(
        default=None,
        description="An expression: when it happened, in milliseconds since 1970 or as RFC 3339."
        " Default: a CloudEvent's time, else when the log received it.",
    )
    partitions: Annotated[int, Field(ge=1, le=1024)] | None = Field(
        default=None,
        description="Partitions that the topic is made with. Default: `log.partitions`. Another number"
        " needs `wrong_partition` to be `forward`; a topic that exists keeps its own.",
    )
    wrong_partition: Literal["forward", "dead_letter"] = Field(
        default="forward",
        description="What becomes of a record that lies in another partition than its workflow's:"
        " on to the right one, or a dead letter.",
    )


class LoggingSettings(Section):
    """What the daemon says while it runs."""

    level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The least level that is written."
    )
    format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="`console` for people, `json` for machines; `auto` is console on a terminal and"
        " json elsewhere.",
    )


class Settings(BaseSettings):
    """
    All settings, read and checked. Made by `load_settings`; nothing changes after that.

    A relative path is meant from `root`: the folder that holds the settings file, or the folder
    above it if the file lies in one named `config`; without a file, the working directory.
    """

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        env_prefix=PREFIX,
        env_nested_delimiter="__",
        # What was written may be a secret; `problems` shows what can be shown.
        hide_input_in_errors=True,
    )

    app: Name = Field(
        default="event-center",
        description="The prefix of the center's own topics, and so the name of its state: letters,"
        " digits, '.', '_' and '-'. It never changes once there are workflows.",
    )
    machines: tuple[FilePath, ...] = Field(
        default=(Path("machines"),),
        description="Machine files, or folders of them, relative to the project's root. A Python"
        " module beside a file is its plugin; one that is named here has machines as classes.",
    )
    plugins: tuple[Text, ...] = Field(
        default=(),
        description="More plugins: names of modules, or paths of Python files relative to the"
        " project's root.",
    )
    log: LogSettings = Field(default=LogSettings(), description="Where the log lies.")
    engine: EngineSettings = Field(default=EngineSettings(), description="Limits and choices.")
    publish: PublishSettings = Field(
        default=PublishSettings(), description="What callbacks publish."
    )
    topics: dict[Annotated[Name, AfterValidator(_foreign)], TopicSettings] = Field(
        default={}, description="The topics of events to consume, each with a table of its own."
    )
    logging: LoggingSettings = Field(default=LoggingSettings(), description="What the daemon says.")
    _root: Path = PrivateAttr(default=Path())
    _file: Path | None = PrivateAttr(default=None)
    _sources: tuple[Source, ...] = PrivateAttr(default=())

    @property
    def root(self) -> Path:
        """The folder that relative paths are meant from."""
        return self._root

    @property
    def file(self) -> Path | None:
        """The settings file that was read; None if there was none."""
        return self._file

    def place(self, *key: str) -> str:
        """Where a setting was written, as `config/event-center.toml:12`, for messages about it."""
        return place_of(key, self._sources) if self._sources else "settings"

    def under_root(self, path: Path) -> Path:
        """A path of these settings as the process can open it; an absolute one stays as it is."""
        return self._root / path

    @field_validator("publish")
    @classmethod
    def _publishes_elsewhere(
        cls, publish: PublishSettings, info: ValidationInfo
    ) -> PublishSettings:
        for name in publish.topics:
            _foreign(name, info)
        return publish

    @classmethod
    def settings_customise_sources(  # noqa: PLR0917 - the signature is pydantic's
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003 - as above, and the three below
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Take what the constructor is given and nothing else: `load_settings` lays the sources."""
        return (init_settings,)


def load_settings(
    path: Path | None = None, overrides: Mapping[str, Any] = MappingProxyType({})
) -> Settings:
    """
    Read the settings file, then environment variables, then `overrides`; a later one wins.

    Args:
        path: the TOML file; None looks for config/event-center.toml, then ./event-center.toml, and
            does without a file if there is neither.
        overrides: flags, nested as in the file; one that is None was not given.

    Raises:
        ConfigurationError: the file can not be read, or has problems; the message lists all.
    """
    file = settings_file(path)
    layers = (flags(overrides), environment(Settings), file)
    try:
        settings = Settings(**overlaid(*(layer.values for layer in layers)))
    except ValidationError as error:
        raise ConfigurationError(described(error, Settings, layers)) from error
    settings._root = file.root  # noqa: SLF001 - set once, before anybody has the settings
    settings._file = file.file  # noqa: SLF001 - as above
    settings._sources = layers  # noqa: SLF001 - as above
    return settings
