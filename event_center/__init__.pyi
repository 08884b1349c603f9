# The public names as type checkers see them: `__init__.py` finds the heavy ones when they are asked for.
from event_center.app.center import Center as Center
from event_center.app.publishing import Publisher as Publisher
from event_center.app.publishing import SyncPublisher as SyncPublisher
from event_center.errors import ConfigurationError as ConfigurationError
from event_center.errors import DefinitionError as DefinitionError
from event_center.errors import EventCenterError as EventCenterError
from event_center.errors import EventRefused as EventRefused
from event_center.errors import LogError as LogError
from event_center.errors import LogInUse as LogInUse
from event_center.errors import LogUnavailable as LogUnavailable
from event_center.errors import NeverReached as NeverReached
from event_center.errors import NotCommitted as NotCommitted
from event_center.errors import NotReached as NotReached
from event_center.errors import PermanentError as PermanentError
from event_center.errors import PluginError as PluginError
from event_center.errors import RecordChanged as RecordChanged
from event_center.errors import RetryLater as RetryLater
from event_center.errors import Unknown as Unknown
from event_center.errors import UnknownState as UnknownState
from event_center.errors import UnknownTopic as UnknownTopic
from event_center.machine import AnyState as AnyState
from event_center.machine import Blueprint as Blueprint
from event_center.machine import Compound as Compound
from event_center.machine import Do as Do
from event_center.machine import Job as Job
from event_center.machine import Parallel as Parallel
from event_center.machine import State as State
from event_center.model import Event as Event
from event_center.plugins.callbacks import DONE as DONE
from event_center.plugins.callbacks import Callbacks as Callbacks
from event_center.plugins.callbacks import callbacks as callbacks
from event_center.plugins.context import Context as Context
from event_center.plugins.job import JobContext as JobContext
from event_center.plugins.listening import Notice as Notice
from event_center.plugins.registry import Bound as Bound
from event_center.plugins.registry import with_callbacks as with_callbacks
from event_center.plugins.standalone import StandaloneMachine as Machine
from event_center.plugins.standalone import load as load
from event_center.plugins.standalone import parse as parse

__all__ = [
    "DONE",
    "AnyState",
    "Blueprint",
    "Bound",
    "Callbacks",
    "Center",
    "Compound",
    "ConfigurationError",
    "Context",
    "DefinitionError",
    "Do",
    "Event",
    "EventCenterError",
    "EventRefused",
    "Job",
    "JobContext",
    "LogError",
    "LogInUse",
    "LogUnavailable",
    "Machine",
    "NeverReached",
    "NotCommitted",
    "NotReached",
    "Notice",
    "Parallel",
    "PermanentError",
    "PluginError",
    "Publisher",
    "RecordChanged",
    "RetryLater",
    "State",
    "SyncPublisher",
    "Unknown",
    "UnknownState",
    "UnknownTopic",
    "callbacks",
    "load",
    "parse",
    "with_callbacks",
]
