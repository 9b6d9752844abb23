"""The command `transferkit`. Needs the extra `transferkit[cli]`."""

import sys

__all__ = ["main"]


def main() -> None:
    """Run the command line.

    Exits with 0, 1 (the outcome or a check failed), 2 (usage or configuration) or 130 (Ctrl-C).
    """
    try:
        from transferkit.cli.app import app
    except ModuleNotFoundError as error:
        if error.name not in {"typer", "rich", "click"}:
            raise
        print("the command line needs an extra: pip install 'transferkit[cli]'", file=sys.stderr)
        sys.exit(2)
    app()
