"""The rate limit: token buckets in the database, spent from small lots taken in advance.

A bucket holds and refills `limit` tokens a minute. A process takes a lot of 1/20 of that and spends
it within two seconds without asking again, so most requests cost no round trip and the limit holds
over all processes. Tokens of a lot that are not spent in time are lost to the caller, never gained.
"""

import math
import time

import msgspec

from service.database import Database
from service.keys import Caller
from service.problems import Problem
from service.settings import Settings

TAKE = """
  select taken, remaining, retry_after_ms
  from api.rate_take(
    p_bucket => %(bucket)s::text,
    p_per_minute => %(limit)s::integer,
    p_wanted => %(wanted)s::integer)
"""
LOT_SECONDS = 2.0
LOTS_A_MINUTE = 20


class Lot(msgspec.Struct):
    """Tokens in hand, and until when they may be spent."""

    tokens: int
    remaining: int
    until: float
    blocked_until: float = 0.0


class RateLimit:
    """Counts requests by tenant and class."""

    def __init__(self, database: Database, settings: Settings) -> None:
        self._database = database
        self._limits = {
            "ingest": settings.ingest_per_minute,
            "analytics": settings.analytics_per_minute,
            "summaries": settings.summaries_per_minute,
            "tenants": settings.tenants_per_minute,
        }
        self._lots: dict[str, Lot] = {}

    async def spend(self, caller: Caller, kind: str) -> dict[str, str]:
        """Spends one token and returns the headers that tell of it. Raises Problem 429."""
        limit = caller.limits_per_minute.get(kind, self._limits[kind])
        if limit == 0:
            raise Problem(
                429, f"this key may make no {kind} requests", headers={"Retry-After": "60"}
            )
        owner = caller.tenant_id or caller.key_id
        if kind in caller.limits_per_minute:
            owner = caller.key_id
        bucket = f"{owner}:{kind}"
        now = time.monotonic()
        lot = self._lots.get(bucket)
        if lot is None or (now >= lot.blocked_until and (lot.tokens <= 0 or now >= lot.until)):
            wanted = max(1, limit // LOTS_A_MINUTE)
            rows = await self._database.call(
                TAKE, {"bucket": bucket, "limit": limit, "wanted": wanted}, repeatable=False
            )
            taken, remaining, retry_after_ms = rows[0]
            if len(self._lots) > 100_000:
                self._lots.clear()
            # A concurrent request may have taken a lot meanwhile: its tokens are kept.
            held = self._lots.get(bucket)
            if held is not None and held.until > now:
                taken += max(0, held.tokens)
            lot = self._lots[bucket] = Lot(
                taken, remaining, now + LOT_SECONDS, now + retry_after_ms / 1000
            )
        left = max(0, lot.tokens - 1) + lot.remaining
        reset_seconds = math.ceil((limit - min(left, limit)) * 60 / limit)
        headers = {
            "RateLimit-Policy": f'"{kind}";q={limit};w=60',
            "RateLimit": f'"{kind}";r={left};t={reset_seconds}',
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Remaining": str(left),
            "X-RateLimit-Reset": str(reset_seconds),
        }
        if lot.tokens <= 0:
            wait_seconds = max(1, math.ceil(lot.blocked_until - now))
            raise Problem(
                429,
                f"more than {limit} {kind} requests a minute",
                headers={**headers, "Retry-After": str(wait_seconds)},
            )
        lot.tokens -= 1
        return headers
