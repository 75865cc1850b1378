"""A private PostgreSQL cluster, for `pgtally run` and for the tests. It touches no other."""

import contextlib
import os
import pwd
import re
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import msgspec
import psycopg
from psycopg.conninfo import make_conninfo

EXTENSIONS = ("pg_cron", "hll")
DATABASE = "pgtally"
START_SECONDS = 30


class ClusterError(Exception):
    """The cluster cannot be made or started; the message says what to do."""


def find_binaries(extensions: Sequence[str] = EXTENSIONS) -> Path:
    """The folder of initdb and pg_ctl of the newest PostgreSQL >= 15 that has the extensions."""
    candidates = sorted(
        (path for path in Path("/usr/lib/postgresql").glob("*/bin") if path.parent.name.isdigit()),
        key=lambda path: int(path.parent.name),
        reverse=True,
    )
    pg_config = shutil.which("pg_config")
    if pg_config:
        candidates.append(Path(_output([pg_config, "--bindir"])))
    for bin_dir in candidates:
        if not (bin_dir / "initdb").exists():
            continue
        found = re.search(r"\) (\d+)", _output([str(bin_dir / "postgres"), "--version"]))
        share = Path("/usr/share/postgresql") / (found[1] if found else "") / "extension"
        if (bin_dir / "pg_config").exists():
            share = Path(_output([str(bin_dir / "pg_config"), "--sharedir"])) / "extension"
        if (
            found
            and int(found[1]) >= 15
            and all((share / f"{e}.control").exists() for e in extensions)
        ):
            return bin_dir
    raise ClusterError(
        "no PostgreSQL 15 or newer with pg_cron and hll. On Debian and Ubuntu: "
        "apt-get install postgresql-15 postgresql-15-cron postgresql-15-hll"
    )


def _output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()  # noqa: S603


class Account(msgspec.Struct):
    """The system user that the server runs as: PostgreSQL refuses to run as root."""

    name: str
    uid: int
    gid: int

    @staticmethod
    def choose() -> "Account":
        if os.geteuid() != 0:
            me = pwd.getpwuid(os.geteuid())
            return Account(me.pw_name, me.pw_uid, me.pw_gid)
        for name in ("postgres", "nobody"):
            with contextlib.suppress(KeyError):
                user = pwd.getpwnam(name)
                return Account(user.pw_name, user.pw_uid, user.pw_gid)
        raise ClusterError(
            "PostgreSQL refuses to run as root, and there is no user postgres or nobody"
        )

    def run(self, command: list[str]) -> subprocess.CompletedProcess[str]:
        """Runs a command as this user, in a folder that it can enter."""
        options: dict[str, Any] = {}
        if os.geteuid() != self.uid:
            options = {"user": self.uid, "group": self.gid, "extra_groups": []}
        return subprocess.run(  # noqa: S603
            command,
            cwd="/",
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LC_ALL": "C.UTF-8", "HOME": "/"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            **options,
        )

    def can_enter(self, folder: Path) -> bool:
        return self.run(["test", "-x", str(folder)]).returncode == 0


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Cluster:
    """A cluster in a folder of its own, with a superuser password in `secrets`."""

    def __init__(self, home: Path, settings: dict[str, str] | None = None) -> None:
        self.account = Account.choose()
        self.bin = find_binaries()
        self.link = home / "cluster"
        self.password_file = home / "superuser-password"
        self.settings = settings or {}

    @property
    def folder(self) -> Path:
        return self.link.resolve()

    @property
    def data(self) -> Path:
        return self.folder / "data"

    def dsn(
        self, dbname: str = DATABASE, user: str = "postgres", password: str | None = None
    ) -> str:
        """A connection string over loopback."""
        return make_conninfo(
            host="127.0.0.1",
            port=self._port(),
            dbname=dbname,
            user=user,
            password=password or self.password_file.read_text().strip(),
        )

    def _port(self) -> int:
        found = re.search(r"^port = (\d+)$", (self.data / "pgtally.conf").read_text(), re.M)
        if not found:
            raise ClusterError(f"{self.data / 'pgtally.conf'} names no port")
        return int(found[1])

    def _socket_folder(self) -> str:
        # A socket's path may have about 100 bytes.
        if len(str(self.folder)) < 80:
            return str(self.folder)
        return tempfile.gettempdir()

    def create(self) -> bool:
        """Makes the cluster unless it exists; says whether it did."""
        if self.link.is_symlink() and (self.data / "pgtally.conf").exists():
            return False
        home = self.link.parent
        home.mkdir(parents=True, exist_ok=True)
        if self.link.is_symlink():
            self.remove()
        place = home
        if not self.account.can_enter(home):
            # For example a clone under root's home: the server's user cannot go there.
            place = Path("/var/lib/pgtally")
            place.mkdir(parents=True, exist_ok=True)
            place.chmod(0o755)
        folder = place / f"cluster-{secrets.token_hex(4)}"
        folder.mkdir(mode=0o700)
        os.chown(folder, self.account.uid, self.account.gid)
        self.link.symlink_to(folder)
        self.password_file.touch(mode=0o600)
        self.password_file.write_text(secrets.token_urlsafe(24))
        handed_over = folder / "password"
        handed_over.touch(mode=0o600)
        handed_over.write_text(self.password_file.read_text())
        os.chown(handed_over, self.account.uid, self.account.gid)
        done = self.account.run(
            [
                str(self.bin / "initdb"), "--pgdata", str(self.data), "--username", "postgres",
                "--auth", "scram-sha-256", "--pwfile", str(handed_over), "--encoding", "UTF8",
                "--locale", "C.UTF-8", "--data-checksums", "--no-instructions",
            ]
        )  # fmt: skip
        handed_over.unlink()
        if done.returncode:
            shutil.rmtree(folder)
            self.link.unlink()
            raise ClusterError(f"initdb failed: {done.stderr.strip()}")
        with (self.data / "postgresql.conf").open("a") as main:
            main.write("include 'pgtally.conf'\n")
        self._write_settings(free_port())
        return True

    def _write_settings(self, port: int) -> None:
        settings = {
            "listen_addresses": "127.0.0.1",
            "unix_socket_directories": self._socket_folder(),
            "shared_preload_libraries": "pg_cron",
            "cron.database_name": DATABASE,
            "cron.use_background_workers": "on",
            "max_worker_processes": "24",
            "shared_buffers": "512MB",
            "max_wal_size": "4GB",
            "wal_compression": "on",
            "checkpoint_timeout": "15min",
            "random_page_cost": "1.1",
            "jit": "off",
            "timezone": "UTC",
            "log_timezone": "UTC",
            **self.settings,
        }
        text = "".join(f"{name} = '{value}'\n" for name, value in settings.items())
        target = self.data / "pgtally.conf"
        target.write_text(f"# Written by pgtally at each start.\nport = {port}\n{text}")
        os.chown(target, self.account.uid, self.account.gid)

    def _ctl(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        log = ["--log", str(self.folder / "postgres.log")] if "start" in arguments else []
        return self.account.run(
            [
                str(self.bin / "pg_ctl"),
                "--pgdata",
                str(self.data),
                "--timeout",
                "120",
                *log,
                *arguments,
            ]
        )

    def is_running(self) -> bool:
        return self.link.is_symlink() and self._ctl("status").returncode == 0

    def start(self) -> None:
        """Starts the cluster, on another port if its own has been taken meanwhile."""
        if self.is_running():
            self.stop()
        port = self._port()
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                port = free_port()
        self._write_settings(port)
        deadline = time.monotonic() + START_SECONDS
        while self._ctl("--wait", "start").returncode:
            log = (self.folder / "postgres.log").read_text().splitlines()[-15:]
            # After a crash the last backends may take a moment to notice and leave.
            if "shared memory block" not in "".join(log) or time.monotonic() > deadline:
                raise ClusterError("PostgreSQL did not start:\n" + "\n".join(log))
            time.sleep(0.5)
        with psycopg.connect(self.dsn("postgres"), autocommit=True) as connection:
            row = connection.execute("select from pg_database where datname = %s", (DATABASE,))
            if row.fetchone() is None:
                connection.execute(f"create database {DATABASE}".encode())
            # Else each BI login could leave large objects there, and take locks.
            connection.execute("revoke connect on database postgres, template1 from public")

    def stop(self) -> None:
        if self.is_running():
            self._ctl("--mode", "fast", "--wait", "stop")

    def remove(self) -> None:
        """Stops the cluster and deletes its data."""
        folder = self.folder
        if folder.exists():
            self.stop()
            shutil.rmtree(folder)
        self.link.unlink()
        self.password_file.unlink(missing_ok=True)
