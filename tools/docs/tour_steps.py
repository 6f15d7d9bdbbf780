"""The steps of the tour: what a person types, when, and why."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from tools.docs import crowd

NIGHT = datetime(2026, 3, 2, 2, 58, tzinfo=UTC)
"""When the fleet came to what it is found in."""


@dataclass(frozen=True)
class Step:
    """Something that a person types, and why."""

    heading: str
    words: str
    command: str
    moment: str
    """When it is typed, as the commands see it; after an @ their clock goes on."""
    code: int = 0


STALE = f"session_{NIGHT - timedelta(seconds=30):%Y%m%d_%H%M%S}"
"""The last session of the fleet that a process left behind: half a minute ago."""
DIED_THRICE = f"session_{NIGHT - timedelta(minutes=1.5 * crowd.SWEPT):%Y%m%d_%H%M%S}"
"""The oldest session of the fleet that was swept."""

STEPS = (
    Step(
        "A worker is killed",
        "The agent of [Get started](index.md) is killed in the middle of its third step: it says"
        " nothing more.",
        'DIE_IN=write python agent.py "answer the mail"',
        "2026-01-25 17:09:03",
        137,
    ),
    Step(
        "What is there",
        "A minute later somebody looks. That the process died is not written anywhere: it is seen.",
        "sessionstore ls",
        "2026-01-25 17:10:05",
    ),
    Step(
        "What happened",
        "Who held it, how it ended and how that is known, what a resume would restore and what"
        " not, and what to do.",
        "sessionstore explain session_",
        "2026-01-25 17:10:21",
    ),
    Step(
        "The worker is started again",
        "It sweeps, finds the session, and goes on where the last checkpoint says.",
        "python agent.py",
        "2026-01-25 17:11:00",
    ),
    Step(
        "How it came about",
        "Its checkpoints as a timeline: the state of the crash was kept, too.",
        "sessionstore history session_",
        "2026-01-25 17:11:30",
    ),
    Step(
        "What changed",
        "Between a checkpoint and the state as it is now.",
        "sessionstore diff session_ r3 current",
        "2026-01-25 17:11:50",
    ),
    Step(
        "Try something else",
        "A new session from a kept state; the old one is not touched.",
        "sessionstore fork session_ --at r2 --as what-if",
        "2026-01-25 17:12:10",
    ),
    Step(
        "A month later",
        "What ended long ago may go. The fork waits for somebody, so it stays.",
        "sessionstore prune --older-than 30d",
        "2026-02-28 09:00:00",
    ),
    Step(
        "Delete it",
        "The same command, meant.",
        "sessionstore prune --older-than 30d --apply",
        "2026-02-28 09:00:20",
    ),
    Step(
        "Take the rest elsewhere",
        "Through a pipe; a file or a directory would do as well.",
        "sessionstore export --all -O - | sessionstore --root elsewhere import - --create",
        "2026-02-28 09:01:00",
    ),
    Step(
        "And there it is",
        "With its lineage, its checkpoint and its revisions.",
        "sessionstore --root elsewhere history what-if",
        "2026-02-28 09:01:30",
    ),
    Step(
        "A program with steps is killed",
        "The one of [Keep the results of calls](how-to/steps.md), in the second of its calls.",
        "DIE_IN=draft python answer.py",
        "2026-02-28 10:00:00",
        137,
    ),
    Step(
        "Which calls are kept",
        "What the first call returned is there; of the second it is known that it began.",
        "sessionstore --root mail steps mail-1",
        "2026-02-28 10:00:30",
    ),
    Step(
        "What the next run will do",
        "It is told of the steps, too: which are kept, and within which one the process died.",
        "sessionstore --root mail explain mail-1",
        "2026-02-28 10:00:40",
    ),
    Step(
        "The program is started again",
        "The first call is not made again.",
        "python answer.py",
        "2026-02-28 10:01:00",
    ),
    Step(
        "Called at three in the morning",
        "A fleet of workers keeps three hundred sessions in this store, and it was a bad night."
        " What was updated last comes first, a session a line.",
        "sessionstore --root fleet ls -n 24",
        "2026-03-02 03:00:00",
    ),
    Step(
        "What nobody has swept yet",
        "These say that they are active, and their process is gone.",
        "sessionstore --root fleet ls --stale",
        "2026-03-02 03:00:20",
    ),
    Step(
        "What happened to one of them",
        "A unique prefix of its id is enough.",
        f"sessionstore --root fleet explain {STALE}",
        "2026-03-02 03:00:40",
    ),
    Step(
        "What a sweep would do",
        "What runs is not touched.",
        "sessionstore --root fleet recover",
        "2026-03-02 03:01:00",
    ),
    Step(
        "Sweep",
        "The same command, meant.",
        "sessionstore --root fleet recover --apply",
        "2026-03-02 03:01:20",
    ),
    Step(
        "Which sessions crash again and again",
        "After the sweep the remark says how each session ended, or how often it has crashed.",
        "sessionstore --root fleet ls --interrupted --sort started_at -n 30",
        "2026-03-02 03:01:40",
    ),
    Step(
        "The timeline of one that died three times",
        "Each resume kept the state that the crash had left.",
        f"sessionstore --root fleet history {DIED_THRICE}",
        "2026-03-02 03:02:00",
    ),
    Step(
        "What is damaged",
        "Damage comes first, then modes and what interrupted writes have left.",
        "sessionstore --root fleet fsck",
        "2026-03-02 03:02:20",
        5,
    ),
    Step(
        "What still runs",
        "Every change from now on, one a line.",
        "sessionstore --root fleet watch -s active --timeout 1s",
        "@2026-03-02 03:02:40",
    ),
    Step(
        "Make room",
        "What ended more than a week ago may go.",
        "sessionstore --root fleet prune --older-than 7d",
        "2026-03-02 03:03:00",
        5,
    ),
)
