"""Settings, read from the environment as PGTALLY_<NAME>. docs/configuration.md lists them."""

import ipaddress
import os
import re
from collections.abc import Mapping
from typing import Annotated, Any

import msgspec
from msgspec import Meta

PREFIX = "PGTALLY_"


class SettingsError(Exception):
    """A setting is missing or out of range; the message names it and what is allowed."""


class Settings(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What the service runs with. Limits carry their unit in the name."""

    dsn: str
    host: str = "127.0.0.1"
    port: Annotated[int, Meta(ge=1, le=65535)] = 8000
    workers: Annotated[int, Meta(ge=1, le=64)] = 1
    pool_size: Annotated[int, Meta(ge=1, le=100)] = 8
    pool_timeout_ms: Annotated[int, Meta(ge=10, le=60_000)] = 1000
    key_cache_seconds: Annotated[float, Meta(ge=0, le=60)] = 1.0
    max_body_bytes: Annotated[int, Meta(ge=1024, le=100_000_000)] = 10_000_000
    request_timeout_ms: Annotated[int, Meta(ge=100, le=600_000)] = 20_000
    unauthenticated_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 60
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    ingest_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 1000
    bulk_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 1000
    analytics_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 100
    summaries_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 300
    tenants_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 100


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """Settings from the environment. Raises SettingsError with every wrong one."""
    values: dict[str, Any] = {}
    problems = []
    for field in msgspec.structs.fields(Settings):
        name = PREFIX + field.name.upper()
        if name not in environment:
            if field.required:
                problems.append(f"{name} is not set")
            continue
        text: Any = environment[name]
        if field.type == tuple[str, ...]:
            text = tuple(part.strip() for part in text.split(",") if part.strip())
        try:
            values[field.name] = msgspec.convert(text, field.type, strict=False)
        except msgspec.ValidationError as error:
            problems.append(f"{name}={environment[name]!r}: {error}")
    for proxy in values.get("trusted_proxies", ()):
        try:
            ipaddress.ip_network(proxy)
        except ValueError as error:
            problems.append(f"{PREFIX}TRUSTED_PROXIES={proxy!r}: {error}")
    for origin in values.get("cors_origins", ()):
        if origin != "*" and not re.fullmatch(r"https?://[^/*]+", origin):
            problems.append(f"{PREFIX}CORS_ORIGINS={origin!r}: expected https://host or *")
    if problems:
        raise SettingsError("; ".join(problems))
    return Settings(**values)
