"""``sessionstore completion``: the completion script of a shell."""

from __future__ import annotations

import click

from sessionstore.cli import streams
from sessionstore.cli.completion.ids import VARIABLE
from sessionstore.cli.errors import Exit


@click.command(
    epilog="""\b
Examples:
  bash:  sessionstore completion bash > ~/.local/share/bash-completion/completions/sessionstore
  zsh:   sessionstore completion zsh > "${fpath[1]}/_sessionstore"
  fish:  sessionstore completion fish > ~/.config/fish/completions/sessionstore.fish
  now:   eval "$(sessionstore completion bash)" """
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
def completion(shell: str) -> int:
    """Print the completion script of a shell: commands, options, ids, statuses and files.

    Ids come from the store that SESSIONSTORE_ROOT or --root names; of many, the first and the last
    are offered. A value is completed after a space (--at cp), not after = (--at=cp). The bash
    script needs bash 4.4; under zsh, compinit must run after it.
    """
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    assert kind is not None  # click has all three
    outermost = click.get_current_context().find_root()
    script = kind(outermost.command, {}, outermost.info_name or "", VARIABLE)
    # Not source(): it runs the shell for its version, and the shell need not be installed.
    text = script.source_template % script.source_vars()
    # Fish must not cut a list of statuses at its commas.
    text = text.replace('string split ","', 'string split --max 1 ","')
    streams.write(text.strip() + "\n")
    return Exit.OK
