"""
Who is in the group of an embedded log, and which shard is whose: the part that is in the file.

The steps of a change of hands: (1) a member joins, leaves or is found dead, and every member works
out the same balance, (2) the holder tells its owner Revoked, (3) it gives the shard up once the
lease is released, (4) the new holder takes it, with a greater token. Promises: a shard has one
holder at a time; tokens only rise; the generation rises whenever anything of this changes. These
functions run inside a transaction of the writer; `group.py` submits them and tells its owner what
came of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from event_center.errors import Fenced, LogInUse
from event_center.log.ownership import balance
from event_center.log.sqlite.transaction import Transaction
from event_center.model import Shard, Token

RISE = "UPDATE generation SET value = value + 1"


class Wish(NamedTuple):
    """What a member wants changed: who is dead, what it gives up, what it takes by force."""

    me: str
    shards: int
    dead: Sequence[str] = ()
    give_up: Sequence[tuple[Shard, Token]] = ()
    take: Sequence[tuple[Shard, Token]] = ()
    """Shards due to this member that were not given up in time, as their holder has them."""


class View(NamedTuple):
    """The group as the file has it."""

    generation: int
    members: tuple[str, ...]
    holders: dict[Shard, tuple[str, Token]]
    wanted: dict[int, str]


def join(transaction: Transaction, wish: Wish, topics: Sequence[str]) -> View:
    """
    Let a member in.

    Raises:
        UnknownTopic: one of the topics does not exist.
        LogInUse: the group has another number of shards.
    """
    execute = transaction.connection.execute
    ids = [(transaction.topic_id(name),) for name in topics]
    for name, shards in execute("SELECT name, shards FROM members").fetchall():
        if shards != wish.shards and name not in wish.dead:
            raise LogInUse(
                f"the group of this log has {shards} shards, this member wants {wish.shards}: stop "
                f"the other members first, or ask for {shards}"
            )
    execute("INSERT INTO members(name, shards) VALUES (?, ?)", (wish.me, wish.shards))
    for id_ in ids:
        execute("UPDATE topics SET joined = 1 WHERE id = ?", id_)
    for shard in range(wish.shards):
        execute("INSERT INTO shards(shard) VALUES (?) ON CONFLICT DO NOTHING", (shard,))
    execute(RISE)
    return share_out(transaction, wish)


def share_out(transaction: Transaction, wish: Wish) -> View:
    """Do what a member wishes, give it what is free and due to it, and say how things stand."""
    connection = transaction.connection
    before = connection.total_changes
    for name in wish.dead:
        _drop(transaction, name)
    for shard, token in wish.give_up:
        connection.execute(
            "UPDATE shards SET member = NULL WHERE shard = ? AND token = ? AND member = ?",
            (shard, token, wish.me),
        )
    members = _members(transaction)
    holders = _holders(transaction, wish.shards)
    wanted = balance(
        members, {shard: holder for shard, (holder, _) in holders.items()}, wish.shards
    )
    for number, member in wanted.items():
        shard = Shard(number)
        if member == wish.me and (shard not in holders or (shard, holders[shard][1]) in wish.take):
            connection.execute(
                "UPDATE shards SET member = ?, token = token + 1 WHERE shard = ?", (wish.me, shard)
            )
    if connection.total_changes != before:
        connection.execute(RISE)
        holders = _holders(transaction, wish.shards)
    (generation,) = connection.execute("SELECT value FROM generation").fetchone()
    return View(generation, members, holders, wanted)


def leave(transaction: Transaction, me: str) -> None:
    """Take a member out of the group; its shards are free."""
    _drop(transaction, me)
    transaction.connection.execute(RISE)


def lease(transaction: Transaction, me: str, shard: Shard, token: Token) -> int:
    """
    Raise the epoch of a shard, which shuts every former owner out; returns the new one.

    Raises:
        Fenced: the assignment named by the token is not this member's, or not the last one.
    """
    execute = transaction.connection.execute
    row = execute(
        "SELECT epoch FROM shards WHERE shard = ? AND token = ? AND member = ?", (shard, token, me)
    ).fetchone()
    if row is None:
        raise Fenced(
            f"assignment {token} of shard {shard} is not the current one: wait for the "
            "next Assigned"
        )
    epoch = int(row[0]) + 1
    execute("UPDATE shards SET epoch = ? WHERE shard = ?", (epoch, shard))
    return epoch


def _drop(transaction: Transaction, name: str) -> None:
    transaction.connection.execute("DELETE FROM members WHERE name = ?", (name,))
    transaction.connection.execute("UPDATE shards SET member = NULL WHERE member = ?", (name,))


def _members(transaction: Transaction) -> tuple[str, ...]:
    rows = transaction.connection.execute("SELECT name FROM members ORDER BY id").fetchall()
    return tuple(row[0] for row in rows)


def _holders(transaction: Transaction, shards: int) -> dict[Shard, tuple[str, Token]]:
    rows = transaction.connection.execute(
        "SELECT shard, member, token FROM shards WHERE member IS NOT NULL AND shard < ?", (shards,)
    ).fetchall()
    return {Shard(shard): (member, Token(token)) for shard, member, token in rows}
