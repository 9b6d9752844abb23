"""The command `transferkit`: the names of its commands, loaded on first use, and how a command ends."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Annotated, Any, Final, final

import typer
from typer.core import TyperGroup
from typer.main import get_command

from transferkit import __version__

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

__all__ = ["COMMANDS", "app"]

COMMANDS: Final = {
    "demo": "Run one application on every provider's emulator.",
    "emulate": "Serve the providers' emulators on this machine, with a web page.",
    "check": "Check the configuration, the store and the credentials.",
    "serve": "Receive callbacks on a port and do the work that is due.",
    "transfer": "Transfer a call and print its events.",
    "redirect": "Redirect an incoming call and print its events.",
    "answer": "Answer an incoming call and print its events.",
    "hang-up": "End a call and print its events.",
    "consult": "Call an agent while the caller waits, then connect the two.",
    "route": "Transfer a call to the first of several targets that takes it.",
    "events": "Print the event stream.",
    "show": "Show the timeline of one transfer.",
    "groups": "Show consumer groups and handle their parked events.",
    "relay": "Forward the event stream to a broker.",
    "store": "Create the store's tables, show their size, remove old calls.",
    "decode": "Decode callback bodies and print them as events.",
}
"""Each command's one-line help, in the order of the help page.

A command's module has its name, with `_` for `-`.
"""

_EXAMPLES: Final = "Examples:\n"


@final
class _Commands(TyperGroup):
    """Loads a command's module only to run the command or to show its own help.

    Contexts and commands are those of click or of typer's copy of it, depending on typer's version.
    """

    def list_commands(self, ctx: Any) -> list[str]:  # noqa: ARG002 - click's signature
        return [*COMMANDS, *_commands_of_adapters()]

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ARG002 - click's signature
        if cmd_name in COMMANDS:
            name = cmd_name.replace("-", "_")
            function = getattr(import_module(f"transferkit.cli.commands.{name}"), name)
        elif (point := _commands_of_adapters().get(cmd_name)) is not None:
            function = point.load()
        else:
            return None
        if isinstance(function, typer.Typer):
            command = get_command(function)
        else:
            single = typer.Typer(add_completion=False, pretty_exceptions_enable=False, rich_markup_mode=None)
            single.command(name=cmd_name)(function)
            command = get_command(single)
        _keep_lines_of_examples(command)
        return command

    def format_commands(self, ctx: Any, formatter: Any) -> None:  # noqa: ARG002 - click's signature
        with formatter.section("Commands"):
            others = {name: f"Commands of the adapter {name}." for name in _commands_of_adapters()}
            formatter.write_dl([*COMMANDS.items(), *others.items()])

    def invoke(self, ctx: Any) -> Any:
        """Run a command. An error of the library ends it with its message; Ctrl-C ends it without one."""
        from transferkit.cli.output import INTERRUPTED, unusable
        from transferkit.errors import ConfigError, TransferKitError

        try:
            return super().invoke(ctx)
        except (ConfigError, TransferKitError) as error:
            raise unusable(error) from None
        except KeyboardInterrupt:
            raise typer.Exit(INTERRUPTED) from None


def _commands_of_adapters() -> dict[str, EntryPoint]:
    """The command groups that adapters provide. The own commands take precedence."""
    from transferkit.provider.entry_points import COMMANDS as GROUP
    from transferkit.provider.entry_points import announced

    return {name: points[0] for name, points in sorted(announced(GROUP).items()) if name not in COMMANDS}


def _keep_lines_of_examples(command: Any) -> None:
    """Mark the examples in a command's help as lines that click must not wrap."""
    command.help = (command.help or "").replace(_EXAMPLES, f"\b\n{_EXAMPLES}")
    for subcommand in getattr(command, "commands", {}).values():
        _keep_lines_of_examples(subcommand)


app = typer.Typer(
    name="transferkit",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,  # click's plain help: readable at 80 columns, and rich need not be loaded
)


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"transferkit {__version__}")
        raise typer.Exit


@app.callback()
def transferkit(
    *,
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Transfer and redirect calls through one API for every provider, and report what happened.

    'transferkit COMMAND --help' explains a command and shows examples.
    """
