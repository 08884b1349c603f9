"""
Membership in memory: who is in the group, which shard is whose, and how a shard changes hands.

The steps of a change of hands: (1) a member joins or leaves and the balance is worked out anew, (2)
the holder is told Revoked, (3) it releases its lease, or its time is over, (4) the new holder is
told Assigned, with a greater token. Promises: a shard has one holder at a time; tokens only rise;
the same joins and leaves give the same assignment. `group.py` is a member's view of this;
`broker.py` owns it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Hashable
from contextvars import copy_context
from typing import Protocol

from event_center.errors import LogInUse
from event_center.log.ownership import balance
from event_center.log.port import Assigned, Change, Lost, Revoked
from event_center.model import Shard, Token


class Member(Hashable, Protocol):
    """What membership needs of a group."""

    shards: int

    def tell(self, change: Change) -> None:
        """Queue a change for whoever awaits `changes`."""
        ...

    def writes(self, shard: Shard) -> bool:
        """It has a lease of the shard that can still commit."""
        ...

    def ring(self) -> None:
        """Wake its fetches."""
        ...


class Members:
    """The members in the order they joined, and the holder of every shard."""

    def __init__(self, handover_timeout_s: float) -> None:
        self._handover_timeout_s = handover_timeout_s
        self._members: list[Member] = []
        self._holders: dict[int, tuple[Member, Token]] = {}
        self._revoked: set[tuple[Shard, Token]] = set()
        self._token = 0
        self._context = copy_context()
        """The broker's own: its timers run also while the process that started them stands still."""

    def __len__(self) -> int:
        return len(self._members)

    def join(self, member: Member) -> None:
        """
        Let a member in; shards come to it from the others. One that is in stays as it is.

        Raises:
            LogInUse: the group has another number of shards.
        """
        for other in self._members:
            if other.shards != member.shards:
                raise LogInUse(
                    f"the group of this log in memory has {other.shards} shards, this member wants "
                    f"{member.shards}: stop the other members first, or ask for {other.shards}"
                )
        if member not in self._members:
            self._members.append(member)
            self._share_out()

    def leave(self, member: Member) -> None:
        """Let a member go, by its own will or because it crashed; it is told nothing."""
        if member in self._members:
            self._members.remove(member)
        for shard, (holder, _) in list(self._holders.items()):
            if holder is member:
                del self._holders[shard]
        self._share_out()

    def expel(self, member: Member) -> None:
        """Throw a live member out, as after a session timeout: it is told Lost."""
        lost = [shard for shard, (holder, _) in self._holders.items() if holder is member]
        untold = [s for s in lost if (Shard(s), self._holders[s][1]) not in self._revoked]
        self.leave(member)
        for shard in untold:
            member.tell(Lost(shard=Shard(shard)))

    def current(self, member: Member, shard: Shard, token: Token) -> bool:
        """The token names the assignment that the shard has now, and it is this member's."""
        return self._holders.get(shard) == (member, token) and (shard, token) not in self._revoked

    def released(self, member: Member, shard: Shard) -> None:
        """A lease is given up: a shard that was revoked can change hands."""
        holder, token = self._holders.get(shard, (None, None))
        if holder is member and token is not None and (shard, token) in self._revoked:
            self._give_up(shard, token)

    def ring(self) -> None:
        """Wake every fetch: there are new records."""
        for member in self._members:
            member.ring()

    def _share_out(self) -> None:
        if not self._members:
            return
        shards = self._members[0].shards
        holders = {shard: holder for shard, (holder, _) in self._holders.items()}
        for number, wanted in sorted(balance(self._members, holders, shards).items()):
            shard = Shard(number)
            if shard not in self._holders:
                self._token += 1
                self._holders[shard] = wanted, Token(self._token)
                wanted.tell(Assigned(shard=shard, token=Token(self._token)))
            elif holders[shard] is not wanted:
                self._revoke(shard)

    def _revoke(self, shard: Shard) -> None:
        holder, token = self._holders[shard]
        if (shard, token) in self._revoked:
            return
        self._revoked.add((shard, token))
        holder.tell(Revoked(shard=shard))
        loop = asyncio.get_running_loop()
        if holder.writes(shard):
            wait_s, context = self._handover_timeout_s, self._context
            loop.call_later(wait_s, self._give_up, shard, token, context=context)
        else:
            loop.call_soon(self._give_up, shard, token, context=self._context)

    def _give_up(self, shard: Shard, token: Token) -> None:
        if shard in self._holders and self._holders[shard][1] == token:
            self._revoked.discard((shard, token))
            del self._holders[shard]
            self._share_out()
