"""Who is calling? API keys and share links, found by their public start and remembered for a
moment."""

import asyncio
import hashlib
import hmac
import re
import time
from collections import OrderedDict
from datetime import UTC, datetime
from uuid import UUID

from pgtally.database import Database
from pgtally.http.operation import Kind, unauthorized
from pgtally.http.passage import Caller
from pgtally.http.rate_limit import AddressLimit, remember

FIND = """
  select
    key_hash, key_id, tenant_id, scopes, key_limits_per_minute, tenant_limits_per_minute,
    lineage_id, tenant_deleted, origins
  from api.key_find(p_key_prefix => %(key_prefix)s::text)
"""
FIND_SHARE = """
  select
    token_hash, share_id, tenant_id, scopes, key_limits_per_minute, tenant_limits_per_minute,
    lineage_id, tenant_deleted, origins, view
  from api.share_find(p_token_prefix => %(key_prefix)s::text)
"""
TOUCH = """
  select changed
  from api.key_touch(
    p_key_ids => %(key_ids)s::uuid[], p_used_at => %(used_at)s::timestamptz[]) as changed
"""
REMEMBERED = 10_000
# A key that is unknown, expired or revoked never becomes valid.
UNKNOWN_SECONDS = 60.0
_shape = re.compile(r"((pg[ts])_[0-9a-f]{12})_[0-9a-f]{64}([0-9a-f]{6})")


class Authentication:
    """Finds callers. An answer holds for key_cache_seconds, so a revoked key lives no longer than
    that. Wrong keys count against the address that they come from.

    A key of the right form may be valid whatever else came from its address, so it is looked up
    although the address has used up its tries, unless too many such keys of the address were
    unknown: each of them cost a query."""

    def __init__(
        self,
        database: Database,
        addresses: AddressLimit,
        look_ups: AddressLimit,
        cache_seconds: float,
    ) -> None:
        self._database = database
        self._addresses = addresses
        self._look_ups = look_ups
        self._cache_seconds = cache_seconds
        self._known: OrderedDict[bytes, tuple[float, Caller]] = OrderedDict()
        self._unknown: OrderedDict[bytes, float] = OrderedDict()
        self._asked: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._used: dict[UUID, datetime] = {}

    async def find(self, key: str, address: str, kind: Kind = "pgt") -> Caller:
        """The caller with this key, or with this token of a share link. Raises Problem 401, or 429
        where an address keeps guessing."""
        key_hash = hashlib.sha256(key.encode()).digest()
        until, caller = self._known.get(key_hash, (0.0, None))
        if until <= time.monotonic():
            match = _shape.fullmatch(key)
            caller = None
            # The checksum tells a mistyped key from a real one without asking the database.
            if (
                match
                and match[2] == kind
                and hashlib.sha256(key[:-6].encode()).hexdigest()[:6] == match[3]
            ):
                caller = await self._caller(match[1], key_hash, address)
        if caller is not None and (caller.view is not None) != (kind == "pgs"):
            # Remembered for another kind of door.
            caller = None
        if caller is None:
            self._addresses.spend(address)
            raise unauthorized("unknown, expired or revoked API key")
        if caller.view is None:
            self._used[caller.key_id] = datetime.now(UTC)
        return caller

    async def _caller(self, key_prefix: str, key_hash: bytes, address: str) -> Caller | None:
        """From the database, unless it is known to be none. Raises Problem 429."""
        if self._unknown.get(key_hash, 0.0) > time.monotonic():
            return None
        if key_hash in self._known:
            return await self._ask_once(key_prefix, key_hash)
        async with self._look_ups.turn(address):
            self._look_ups.check(address)
            caller = await self._ask_once(key_prefix, key_hash)
            if caller is None:
                self._look_ups.spend(address)
        return caller

    async def _ask_once(self, key_prefix: str, key_hash: bytes) -> Caller | None:
        """Asks the database, for all requests that wait for the same answer."""
        task = self._asked.get(key_hash)
        if task is None:
            task = asyncio.create_task(self._look_up(key_prefix, key_hash))
            self._asked[key_hash] = task
            task.add_done_callback(lambda _: self._asked.pop(key_hash, None))
        return await asyncio.shield(task)

    async def _look_up(self, key_prefix: str, key_hash: bytes) -> Caller | None:
        asked_at = time.monotonic()
        statement = FIND_SHARE if key_prefix.startswith("pgs") else FIND
        rows = await self._database.call(statement, {"key_prefix": key_prefix})
        if rows and hmac.compare_digest(rows[0][0], key_hash):
            caller = Caller(*rows[0][1:])
            remember(self._known, key_hash, (asked_at + self._cache_seconds, caller), REMEMBERED)
            return caller
        # Apart, so that guesses push no valid key out of the memory.
        self._known.pop(key_hash, None)
        remember(self._unknown, key_hash, asked_at + UNKNOWN_SECONDS, REMEMBERED)
        return None

    async def tell_uses(self) -> None:
        """Writes when keys were used last; called once a minute, so no request costs a write."""
        used, self._used = self._used, {}
        if used:
            await self._database.call(
                TOUCH, {"key_ids": list(used), "used_at": list(used.values())}
            )
