"""The `pathline` command: its sub-commands, and what becomes of errors."""

import os
import sys

import typer

from pathline.cli import catalogue, evidence, runs

app = typer.Typer(
    name="pathline",
    help="Learn how things move: compare published methods on your own data, with evidence.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
for command in (
    catalogue.methods,
    catalogue.info,
    catalogue.datasets,
    runs.fit,
    runs.predict,
    runs.evaluate,
    runs.compare,
    evidence.claim,
    evidence.evidence,
    runs.report,
):
    app.command()(command)


@app.callback(invoke_without_command=True)
def _root(version: bool = typer.Option(False, "--version", help="Print the version and leave.")) -> None:
    if version:
        import pathline

        print(pathline.__version__)
        raise typer.Exit


def main() -> None:
    """Entry point: 0 done, 1 a check failed, 2 bad input, 130 or 143 stopped by a signal."""
    from pathline.data.errors import PathlineError

    try:
        app()
    except PathlineError as error:
        print(f"pathline: {error}", file=sys.stderr)
        sys.exit(128 + getattr(error, "signal", -126))
    except KeyboardInterrupt:
        print("pathline: stopped", file=sys.stderr)
        sys.exit(130)
    except BrokenPipeError:  # the reader of our output went away, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
