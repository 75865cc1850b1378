"""Settings: from variables PGTALLY_<NAME>, or from the TOML file that PGTALLY_CONFIG names.

docs/configuration.md lists them.
"""

import ipaddress
import os
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, NamedTuple

import msgspec
import psycopg
from msgspec import Meta
from psycopg.conninfo import conninfo_to_dict, make_conninfo

PREFIX = "PGTALLY_"
FILE = PREFIX + "CONFIG"


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
    prepare_statements: bool = True
    key_cache_seconds: Annotated[float, Meta(ge=0, le=60)] = 1.0
    max_body_bytes: Annotated[int, Meta(ge=1024, le=100_000_000)] = 10_000_000
    request_timeout_ms: Annotated[int, Meta(ge=100, le=600_000)] = 20_000
    head_timeout_ms: Annotated[int, Meta(ge=100, le=600_000)] = 10_000
    connections: Annotated[int, Meta(ge=16, le=100_000)] = 4096
    unauthenticated_per_minute: Annotated[int, Meta(ge=1, le=1_000_000)] = 60
    trusted_proxies: tuple[str, ...] = ()
    cors_origins: tuple[str, ...] = ()
    log_requests: bool = True
    ingest_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 1000
    bulk_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 1000
    analytics_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 100
    summaries_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 300
    tenants_per_minute: Annotated[int, Meta(ge=1, le=100_000_000)] = 100
    events_per_minute: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] = 600_000
    bytes_per_minute: Annotated[int, Meta(ge=1, le=1_000_000_000_000)] = 600_000_000
    batches_at_once: Annotated[int, Meta(ge=1, le=10_000)] = 16


class Source(NamedTuple):
    """What is in force, and where it comes from: default, a file, or a variable."""

    name: str
    value: Any
    source: str


def load(environment: Mapping[str, str] = os.environ) -> Settings:
    """The settings in force. Raises SettingsError with every wrong one."""
    values, _ = _read(environment)
    return Settings(**values)


def in_force(environment: Mapping[str, str] = os.environ) -> list[Source]:
    """Every setting with its source, without the password of the dsn. Raises SettingsError."""
    values, sources = _read(environment)
    settings = Settings(**values)
    shown = []
    for field in msgspec.structs.fields(Settings):
        value = getattr(settings, field.name)
        if field.name == "dsn":
            parts = conninfo_to_dict(value)
            if "password" in parts:
                value = make_conninfo(value, password="***")  # noqa: S106
        shown.append(Source(field.name, value, sources.get(field.name, "default")))
    return shown


def _read(environment: Mapping[str, str]) -> tuple[dict[str, Any], dict[str, str]]:
    written, problems = _file(environment.get(FILE))
    values: dict[str, Any] = {}
    sources: dict[str, str] = {}
    for field in msgspec.structs.fields(Settings):
        variable = PREFIX + field.name.upper()
        if variable in environment:
            sources[field.name] = variable
            given: Any = environment[variable]
            if field.type == tuple[str, ...]:
                given = tuple(part.strip() for part in given.split(",") if part.strip())
        elif field.name in written:
            sources[field.name] = environment[FILE]
            given = written[field.name]
        else:
            if field.required:
                problems.append(f"{variable} is not set")
            continue
        try:
            values[field.name] = msgspec.convert(given, field.type, strict=False)
            _check(field.name, values[field.name])
        except (ValueError, msgspec.ValidationError) as error:
            shown = "***" if field.name == "dsn" else repr(given)
            problems.append(f"{sources[field.name]}: {field.name} = {shown}: {error}")
    for name in written.keys() - {field.name for field in msgspec.structs.fields(Settings)}:
        problems.append(f"{environment[FILE]}: there is no setting {name!r}")
    if problems:
        raise SettingsError("\n".join(problems))
    return values, sources


def _file(path: str | None) -> tuple[dict[str, Any], list[str]]:
    if not path:
        return {}, []
    try:
        return tomllib.loads(Path(path).read_text()), []
    except (OSError, ValueError) as error:
        return {}, [f"{FILE}={path!r}: {error}"]


def _check(name: str, value: Any) -> None:
    """What a type cannot say. Raises ValueError."""
    if name == "trusted_proxies":
        for network in value:
            ipaddress.ip_network(network)
    elif name == "cors_origins":
        for origin in value:
            if origin != "*" and not re.fullmatch(r"https?://[^/*]+", origin):
                raise ValueError(f"{origin!r}: expected https://host or *")
    elif name == "dsn":
        try:
            conninfo_to_dict(value)
        except psycopg.ProgrammingError:
            raise ValueError("is no libpq connection string") from None
