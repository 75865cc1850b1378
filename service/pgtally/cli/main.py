"""The command pgtally."""

import sys
from typing import Any

import click as plain
import rich_click as click
from click.shell_completion import get_completion_class

from pgtally import __version__
from pgtally.cli import bi_roles, events, keys, meters, server, tenant_copies, tenants, upkeep


class Commands(click.RichGroup):
    """The commands. Errors are boxes for who looks on, and plain lines in a log."""

    def main(self, *args: Any, **kwargs: Any) -> Any:
        if sys.stderr.isatty():
            return super().main(*args, **kwargs)
        return plain.Group.main(self, *args, **kwargs)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(__version__, prog_name="pgtally")
def cli() -> None:
    """Multi-tenant event analytics in PostgreSQL."""


for command in (
    server.run_command, server.remove_command, server.init_command, server.migrate_command,
    server.serve_command, server.config_command, server.jobs_command,
    tenants.tenant, keys.key, meters.meter, bi_roles.bi_role,
    events.import_command, events.export_command,
    upkeep.rebuild_command, upkeep.verify_command, upkeep.doctor_command,
):  # fmt: skip
    cli.add_command(command)
tenants.tenant.add_command(tenant_copies.export_command)
tenants.tenant.add_command(tenant_copies.import_command)


@cli.command("completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion_command(shell: str) -> None:
    """Print the completion script of a shell: `eval "$(pgtally completion bash)"`."""
    found = get_completion_class(shell)
    if found is None:
        raise click.ClickException(f"no completion for {shell}")
    click.echo(found(cli, {}, "pgtally", "_PGTALLY_COMPLETE").source())


def main() -> None:
    """The entry point."""
    cli()
