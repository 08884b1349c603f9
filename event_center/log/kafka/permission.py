"""
What a broker's "not authorized" means: who lacks which entry of the access control list, and for what.

Promises: the message names the topic, group or name of a producer, and the entry to give, as
docs/security.md lists them. `client.py` asks for every failure of a client, `transaction.py` and
`log.py` for those of a write.
"""

from __future__ import annotations

from aiokafka.errors import (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)

from event_center.errors import LogRefused
from event_center.log.kafka.options import KafkaOptions

DENIED = (
    ClusterAuthorizationFailedError,
    GroupAuthorizationFailedError,
    TopicAuthorizationFailedError,
    TransactionalIdAuthorizationFailed,
)


def refused(error: BaseException, options: KafkaOptions) -> LogRefused | None:
    """The error to raise if this one, of a client, says that we are not authorized."""
    return LogRefused(_sentence(error, options)) if isinstance(error, DENIED) else None


def _sentence(error: BaseException, options: KafkaOptions) -> str:
    match error:
        case GroupAuthorizationFailedError():
            what, entry = (
                f"join the group {options.group_id!r}",
                f"READ on group {options.group_id}",
            )
        case TransactionalIdAuthorizationFailed():
            start = f"{options.group_id}."
            what = f"write under the names that begin with {start!r}"
            entry = f"WRITE on transactional id {start} (prefixed)"
        case ClusterAuthorizationFailedError():
            what, entry = "make topics", "CREATE on the topics, or make them yourself"
        case _:
            topics = ", ".join(_topics(error))
            what, entry = f"use the topic {topics}", f"READ and WRITE on topic {topics}"
    return (
        f"{who(options)} may not {what} on the Kafka cluster at {options.bootstrap}; give it the "
        f"permission {entry}"
    )


def unseen(topic: str, options: KafkaOptions) -> LogRefused:
    """The error to raise for a topic that we are not shown, and may not make."""
    return LogRefused(
        f"{who(options)} is not shown the topic {topic} on the Kafka cluster at {options.bootstrap},"
        f" and may not make it; give it the permissions READ and WRITE on topic {topic}, as far as"
        " docs/security.md says, and make the topic if it is not there (or give CREATE)"
    )


def hidden(topic: str, options: KafkaOptions) -> str:
    """What may be so besides, where a topic is not there: a cluster hides what may not be used."""
    if options.access.protocol == "PLAINTEXT":
        return ""
    return f", or give {who(options)} the permissions READ and WRITE on topic {topic}"


def who(options: KafkaOptions) -> str:
    """Our name, as far as we know it."""
    access = options.access
    if access.username:
        return f"user {access.username!r}"
    if access.token is not None:
        return "the user of our token"
    return "the user of our certificate" if access.certified else "a user without a name"


def _topics(error: BaseException) -> list[str]:
    """The topics that the client named in its error."""
    found: list[str] = []
    for one in error.args:
        if isinstance(one, str):
            found.append(one)
        elif isinstance(one, list | tuple | set | frozenset):
            found += [each for each in one if isinstance(each, str)]
    return sorted(set(found))
