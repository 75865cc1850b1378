"""UUIDv7 (RFC 9562): 48 bits of milliseconds, then random bits."""

import os
from datetime import UTC, datetime
from uuid import UUID


def uuid7(at: datetime) -> UUID:
    """A new UUIDv7 for the given time."""
    milliseconds = int(at.timestamp() * 1000)
    number = milliseconds << 80 | int.from_bytes(os.urandom(10))
    number = number & ~(0xF << 76) | 7 << 76
    return UUID(int=number & ~(0b11 << 62) | 0b10 << 62)


def uuid7_time(value: UUID) -> datetime | None:
    """The time inside a UUIDv7, to the millisecond; None for any other UUID."""
    if value.int >> 76 & 0xF != 7 or value.int >> 62 & 0b11 != 0b10:
        return None
    try:
        return datetime.fromtimestamp((value.int >> 80) / 1000, UTC)
    except (ValueError, OverflowError):
        return None
