"""The application: the one place where an error becomes a message and an exit code."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

import sessionstore
from sessionstore.cli import signals, streams
from sessionstore.cli.commands import LazyGroup
from sessionstore.cli.completion.ids import VARIABLE
from sessionstore.cli.errors import Exit, refused
from sessionstore.cli.options.shared import Settings, shared_options
from sessionstore.errors import SessionStoreError

NAME = "sessionstore"
_HELP = {"help_option_names": ["-h", "--help"], "max_content_width": 100}


class Application(LazyGroup):
    """The group of commands; errors, Ctrl-C and closed pipes become exit codes."""

    def main(self, args: Any = None, *_: Any, **__: Any) -> NoReturn:
        """Run the command line, by default on ``sys.argv``, and exit."""
        sys.exit(self.execute(sys.argv[1:] if args is None else list(args)))

    def execute(self, args: list[str]) -> int:
        """Run the command line; return the exit code."""
        streams.accept_any_text()
        with signals.as_interrupts() as ending:
            code = self._execute(args, ending)
        return code if ending.number is None else ending.die()

    def _execute(self, args: list[str], ending: signals.Ending) -> int:
        code: int = Exit.OK
        try:
            asked = os.environ.get(VARIABLE)
            code = self._complete(asked) if asked else self._run(args)
            sys.stdout.flush()
        except BrokenPipeError:  # the reader has closed the pipe: `sessionstore ls | head -1`
            streams.abandon(sys.stdout)
        except KeyboardInterrupt:
            streams.abandon(sys.stdout)
            streams.error(f"ended by {ending}" if ending.number else "interrupted")
            code = Exit.INTERRUPTED
        except OSError as error:  # a full disk behind stdout
            streams.abandon(sys.stdout)
            streams.error(f"cannot write the output: {error.strerror or error}")
            code = Exit.ERROR
        return code

    def _complete(self, instruction: str) -> int:
        """Answer a shell that completes; the words typed so far are in the environment."""
        from click.shell_completion import shell_complete

        return shell_complete(self, {"obj": Settings()}, NAME, VARIABLE, instruction)

    def _run(self, args: list[str]) -> int:
        typed = ""
        try:
            with self.make_context(NAME, args, obj=Settings()) as context:
                try:
                    return int(self.invoke(context) or Exit.OK)
                finally:
                    typed = context.invoked_subcommand or ""
        except click.exceptions.Exit as end:  # --help, --version
            return end.exit_code
        except click.UsageError as error:
            _explain_usage(error)
            return Exit.USAGE
        except click.ClickException as error:
            streams.error(error.format_message())
            return error.exit_code
        except SessionStoreError as error:
            return refused(error, typed)


def _explain_usage(error: click.UsageError) -> None:
    # Not error.show(): it writes arguments unescaped, and they may come from a pipe.
    if error.ctx is not None:
        for line in error.ctx.get_usage().splitlines():
            streams.warning(line)
        streams.warning(f"Try '{error.ctx.command_path} --help' for help.")
    for line in error.format_message().expandtabs(4).splitlines():
        streams.error(line)


@click.group(
    NAME,
    cls=Application,
    context_settings=_HELP,
    invoke_without_command=True,
    subcommand_metavar="COMMAND [ARGS]...",
    epilog="""\b
Examples:
  sessionstore --root ./state ls --resumable --unfinished
  sessionstore --root ./state show session_20260125_17
  sessionstore --root ./state recover --apply
  sessionstore --root ./state fsck

\b
Exit codes: 0 ok, 1 error, 2 usage, 3 not found (session or store),
4 claimed by a live process, 5 damage found, 6 partly done, 7 timed out,
130 interrupted.""",
)
@shared_options(outermost=True)
@click.version_option(sessionstore.__version__, prog_name=NAME)
@click.pass_context
def app(context: click.Context) -> None:
    """List and inspect stored sessions, recover what dead processes left behind, and check them.

    Data goes to stdout, everything else to stderr. Only import --create creates a store.
    """
    if context.invoked_subcommand is None:
        # To stderr and with the code of wrong usage, as click does: a script forgot the command.
        click.echo(context.get_help(), err=True)
        context.exit(Exit.USAGE)
