"""`transferkit asterisk`: the commands of the adapter. Needs the extra `transferkit[cli]`."""

from __future__ import annotations

import typer

from transferkit.cli.options import ConfigFile
from transferkit.config import is_in_environment, load_config
from transferkit_asterisk.callbacks import PROVIDER
from transferkit_asterisk.dialplan import dialplan
from transferkit_asterisk.settings import AsteriskSettings

__all__ = ["commands"]

commands = typer.Typer(
    name="asterisk",
    add_completion=False,
    rich_markup_mode=None,
    help="Set up an Asterisk PBX for transferkit.",
    no_args_is_help=True,
)


@commands.callback()
def asterisk() -> None:
    """Set up an Asterisk PBX for transferkit."""


@commands.command("dialplan")
def print_dialplan(*, config: ConfigFile = None) -> None:
    """Print the dialplan that the adapter needs, for extensions.conf.

    Uses app and context of [providers.asterisk]. Without a configuration, both are transferkit.

    Examples:
      transferkit asterisk dialplan
      transferkit asterisk dialplan --config transferkit.toml
    """
    settings = AsteriskSettings()
    if config is not None or is_in_environment():
        settings = load_config(config).providers.get(PROVIDER, settings)
    typer.echo(dialplan(settings), nl=False)
