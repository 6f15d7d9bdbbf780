"""Write into docs/how-to/steps.md which steps are replayed, however a session goes on.

    python -m tools.docs.step_table docs/how-to/steps.md

In each way a process makes a step, a checkpoint and a step, and stops. Another one goes on and
makes both steps again.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from sessionstore import Session, SessionState, SessionStore
from tools.docs.stop_table import replace

BEGIN = "<!-- the table below is made by: python -m tools.docs.step_table docs/how-to/steps.md -->"
END = "<!-- end of the table -->"
CHECKOUT = Path(__file__).parents[2]
ID = "job"
HEAD = ("The session goes on by", "A step before the checkpoint", "A step after it")

Store = SessionStore[SessionState]
Run = Session[SessionState]


def dies(_: Run) -> None:
    """End the process as a crash does."""
    os._exit(0)


def resumes(store: Store) -> Run:
    """Resume the latest."""
    return store.resume(ID)


def first(store: Store) -> str:
    """Return the id of the first checkpoint."""
    return store.checkpoint_names(ID)[0]


def before_resume(store: Store) -> str:
    """Go back to the first checkpoint; return the id of what was kept of the state before."""
    store.resume(ID, checkpoint_id=first(store)).pause()
    kinds = {one.checkpoint_type: one.checkpoint_id for one in store.checkpoints(ID)}
    return kinds["before_resume"]


def forks(store: Store) -> Run:
    """Fork, and resume the fork."""
    return store.resume(store.fork(ID, new_id="copy"))


def forks_before_resume(store: Store) -> Run:
    """Fork what a resume went back from, and resume the fork."""
    return store.resume(store.fork(ID, checkpoint_id=before_resume(store), new_id="copy"))


def edits(session: Run) -> None:
    """Pause, and edit the session."""
    session.pause()
    with SessionStore(session.directory.parents[1]).edit(ID) as edited:
        edited.state.data_buffer["edited"] = True


class Way(NamedTuple):
    """A way to stop, and to go on."""

    name: str
    stop: Callable[[Run], object]
    go_on: Callable[[Store], Run] = resumes
    has_checkpoint: bool = True


WAYS = (
    Way("`resume` after a crash", dies),
    Way("`resume` after a crash before the first save", dies, has_checkpoint=False),
    Way("`resume` after an exception", lambda session: session.fail("on purpose")),
    Way("`resume` after `pause()`", lambda session: session.pause()),
    Way("`resume` after `pause(resume_from=…)`", lambda session: session.pause(resume_from="next")),
    Way("`resume` after `edit`", edits),
    Way(
        "`resume` of the checkpoint, named",
        dies,
        lambda store: store.resume(ID, checkpoint_id=first(store)),
    ),
    Way(
        "`resume` of `before_resume`, made after a crash",
        dies,
        lambda store: store.resume(ID, checkpoint_id=before_resume(store)),
    ),
    Way("`resume(from_last_save=True)`", dies, lambda store: store.resume(ID, from_last_save=True)),
    Way(
        "`resume(again=True)` after `complete()`",
        lambda session: session.complete(),
        lambda store: store.resume(ID, again=True),
    ),
    Way("`resume` of a fork", lambda session: session.pause(), forks),
    Way("`resume` of a fork of `before_resume`, made after a crash", dies, forks_before_resume),
)


class Row(NamedTuple):
    """What became of both steps."""

    name: str
    before: str
    after: str


def live(root: str, number: int) -> None:
    """Make both steps of a session, and stop it; this process ends."""
    way = WAYS[number]
    with SessionStore(root) as store:
        session = store.create("goal", session_id=ID)
        session.step("before", lambda: "kept")
        if way.has_checkpoint:
            session.checkpoint("between")
        session.step("after", lambda: "kept")
        way.stop(session)


def measure(place: Path) -> list[Row]:
    """Return what each way to go on makes of the steps."""
    return [_look(place / str(number), number) for number in range(len(WAYS))]


def _look(root: Path, number: int) -> Row:
    code = "import sys; from tools.docs.step_table import live; live(sys.argv[1], int(sys.argv[2]))"
    subprocess.run([sys.executable, "-c", code, str(root), str(number)], cwd=CHECKOUT, check=True)
    with SessionStore(root) as store, WAYS[number].go_on(store) as session:
        said = {"kept": "replayed", "anew": "runs"}
        before = said[session.step("before", lambda: "anew")]
        after = said[session.step("after", lambda: "anew")]
        return Row(WAYS[number].name, before, after)


def render(rows: list[Row]) -> str:
    """Return the table as Markdown."""
    lines = [HEAD, ("---",) * len(HEAD), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def main(argv: list[str]) -> int:
    """Write the table into the page that is named."""
    page = Path(argv[0])
    with tempfile.TemporaryDirectory() as place:
        table = render(measure(Path(place)))
    page.write_text(replace(page.read_text(), table, BEGIN, END))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
