"""Names that other tools give to what a command here does, and what to type instead."""

from __future__ import annotations

from collections.abc import Collection
from difflib import get_close_matches

_ADVICE = {
    "resume restart continue start run rerun unpause": "the application resumes sessions;"
    " to have its start-up loop try one again: sessionstore retry ID",
    "rm remove del erase destroy drop unlink": "to delete sessions: sessionstore delete ID",
    "describe inspect get cat view print read": "to show a session in full: sessionstore show ID",
    "info status state why": "what happened to a session: sessionstore explain ID;"
    " all sessions: sessionstore ls; how many: sessionstore stats",
    "list dir ll ps find search query sessions jobs top": "to list sessions: sessionstore ls",
    "kill stop abort terminate end quit": "to ask the process that runs a session to end it:"
    " sessionstore cancel ID",
    "logs log events trace": "the saves of a session: sessionstore tail ID; its checkpoints:"
    " sessionstore history ID; its records: sessionstore journal ID",
    "repair check verify validate scrub fix": "to find damage: sessionstore fsck;"
    " to repair it: sessionstore fsck --repair",
    "gc clean cleanup clear purge vacuum expire": "to delete old sessions:"
    " sessionstore prune --older-than 30d; to find left-overs: sessionstore fsck",
    "sweep reap": "to mark what dead processes left active: sessionstore recover --apply",
    "unlock release steal": "if you know that the process of a session is gone:"
    " sessionstore recover --apply --assume-dead ID",
    "backup dump save archive": "to write sessions to an archive:"
    " sessionstore export --all -O FILE",
    "restore load": "to read sessions from an archive: sessionstore import FILE;"
    " to create a session from a checkpoint: sessionstore fork ID --at CHECKPOINT",
    "rollback rewind revert undo reset": "to create a session from a checkpoint:"
    " sessionstore fork ID --at CHECKPOINT",
    "copy cp clone branch duplicate": "to create a session from another: sessionstore fork ID",
    "mv move rename": "an id stays; to create a copy with another id:"
    " sessionstore fork ID --as NEW",
    "tag annotate": "to label a session: sessionstore label ID KEY=VALUE",
    "follow monitor": "to see sessions change: sessionstore watch; to see the saves of one:"
    " sessionstore tail ID -f",
    "checkpoint checkpoints timeline": "to list the checkpoints of a session:"
    " sessionstore history ID",
    "compare": "to compare two states of a session: sessionstore diff ID A B",
    "count size du usage summary": "to count and measure sessions: sessionstore stats",
    "fail pause finish complete": "to record how a session ended that nobody runs:"
    " sessionstore mark ID failed --reason TEXT",
    "diagnose test health": "to test the directory of the store: sessionstore doctor",
    "create new add init": "the application creates sessions; to create a store from an archive:"
    " sessionstore import FILE --create",
    "edit set update": "the application changes states; to change labels:"
    " sessionstore label ID KEY=VALUE",
    "version": "sessionstore --version",
}

NEAR_MISSES = {word: advice for words, advice in _ADVICE.items() for word in words.split()}
"""What to type, by the name that was typed in its place."""


def suggestion(name: str, commands: Collection[str]) -> str:
    """Return what to type instead of ``name``, which is no command; no text if nothing is near."""
    if name.startswith("session_"):
        return f": what happened to a session: sessionstore explain {name}"
    name = name.lower()
    if name in NEAR_MISSES:
        return f": {NEAR_MISSES[name]}"
    if nearest := [name] if name in commands else get_close_matches(name, commands, n=2):
        return f". Did you mean {' or '.join(nearest)}?"
    alike = get_close_matches(name, NEAR_MISSES, n=1)
    return f": {NEAR_MISSES[alike[0]]}" if alike else ""
