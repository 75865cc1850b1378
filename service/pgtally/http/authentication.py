"""Who is calling? API keys, found by their public start and remembered for a moment."""

import asyncio
import hashlib
import hmac
import re
import time
from datetime import UTC, datetime
from uuid import UUID

from pgtally.database import Database
from pgtally.http.operation import unauthorized
from pgtally.http.passage import Caller
from pgtally.http.rate_limit import AddressLimit

FIND = """
  select
    key_hash, key_id, tenant_id, scopes, key_limits_per_minute, tenant_limits_per_minute, lineage_id
  from api.key_find(p_key_prefix => %(key_prefix)s::text)
"""
TOUCH = """
  select changed
  from api.key_touch(
    p_key_ids => %(key_ids)s::uuid[], p_used_at => %(used_at)s::timestamptz[]) as changed
"""
REMEMBERED = 10_000
_shape = re.compile(r"(pgt_[0-9a-f]{12})_[0-9a-f]{64}([0-9a-f]{6})")


class Authentication:
    """Finds callers. An answer, also 'no such key', holds for key_cache_seconds, so a revoked key
    lives no longer than that. Wrong keys count against the address that they come from."""

    def __init__(self, database: Database, addresses: AddressLimit, cache_seconds: float) -> None:
        self._database = database
        self._addresses = addresses
        self._cache_seconds = cache_seconds
        self._known: dict[bytes, tuple[float, Caller | None]] = {}
        self._asked: dict[bytes, asyncio.Task[Caller | None]] = {}
        self._used: dict[UUID, datetime] = {}

    async def find(self, key: str, address: str) -> Caller:
        """The caller with this key. Raises Problem 401, or 429 where an address keeps guessing."""
        match = _shape.fullmatch(key)
        if not match or hashlib.sha256(key[:-6].encode()).hexdigest()[:6] != match[2]:
            # The checksum tells a mistyped key from a real one without asking the database.
            self._addresses.spend(address)
            raise unauthorized("unknown, expired or revoked API key")
        key_hash = hashlib.sha256(key.encode()).digest()
        until, caller = self._known.get(key_hash, (0.0, None))
        if until <= time.monotonic():
            if caller is None:
                self._addresses.check(address)
            task = self._asked.get(key_hash)
            if task is None:
                task = asyncio.create_task(self._look_up(match[1], key_hash))
                self._asked[key_hash] = task
                task.add_done_callback(lambda _: self._asked.pop(key_hash, None))
            caller = await asyncio.shield(task)
        if caller is None:
            self._addresses.spend(address)
            raise unauthorized("unknown, expired or revoked API key")
        self._used[caller.key_id] = datetime.now(UTC)
        return caller

    async def _look_up(self, key_prefix: str, key_hash: bytes) -> Caller | None:
        asked_at = time.monotonic()
        rows = await self._database.call(FIND, {"key_prefix": key_prefix})
        caller = None
        if rows and hmac.compare_digest(rows[0][0], key_hash):
            caller = Caller(*rows[0][1:])
        if len(self._known) >= REMEMBERED:
            self._known.clear()
        self._known[key_hash] = (asked_at + self._cache_seconds, caller)
        return caller

    async def tell_uses(self) -> None:
        """Writes when keys were used last; called once a minute, so no request costs a write."""
        used, self._used = self._used, {}
        if used:
            await self._database.call(
                TOUCH, {"key_ids": list(used), "used_at": list(used.values())}
            )
