"""A chat that is killed and goes on: its messages stand in a journal, each of them once.

It shows why an append takes a key: the worker runs its code again after each crash, and no message
is stored twice.

    python transcript.py                         # a worker that is killed again and again

    python transcript.py work --root ./store     # one worker; start it again after a kill
    python transcript.py read --root ./store     # the transcript, also while a worker runs
"""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress

from sessionstore import SessionEnded, SessionStore

CHAT = "chat-1"
QUESTIONS = ["Who are you?", "What do you keep?", "For how long?", "And after a crash?", "Bye!"]


def model(question: str) -> str:
    """Stand in for a model, which takes its time."""
    time.sleep(0.05)
    return f"You said: {question}"


def work(store: SessionStore) -> None:
    """Answer what is not answered yet. Nothing is saved: the journal alone tells how far it is."""
    with store.create_or_resume(CHAT, "chat", max_recoveries=1000) as session:
        messages = session.journal("messages")
        for turn, question in enumerate(QUESTIONS):
            messages.append({"role": "user", "text": question}, key=f"user-{turn}")
            if messages.count() > 2 * turn + 1:
                continue  # answered by a process that died since
            answer = {"role": "assistant", "text": model(question)}
            messages.append(answer, key=f"assistant-{turn}")
        session.complete()


def read(store: SessionStore) -> None:
    """Print the transcript, without a lock."""
    for record in store.journal(CHAT, "messages"):
        print(f"{record.number:>3} {record.value['role']:>9}: {record.value['text']}")


def demo() -> None:
    """Kill a worker at other moments until one comes to the end."""
    with tempfile.TemporaryDirectory() as root:
        kills, seconds = 0, 0.3
        while True:
            worker = subprocess.Popen([sys.executable, __file__, "work", "--root", root])
            try:
                worker.wait(seconds)
                break
            except subprocess.TimeoutExpired:
                worker.send_signal(signal.SIGKILL)
                worker.wait()
                kills, seconds = kills + 1, seconds + 0.07
        read(SessionStore(root))
        print(f"killed {kills} times")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("role", nargs="?", choices=["demo", "work", "read"], default="demo")
    parser.add_argument("--root", default=os.environ.get("SESSIONSTORE_ROOT"))
    given = parser.parse_args()
    if given.role == "demo":
        demo()
        return
    if not given.root:
        parser.error("which store? --root DIR")
    store = SessionStore(given.root, create=given.role == "work")
    with suppress(SessionEnded):  # it is done: the last worker was killed right after its end
        work(store) if given.role == "work" else read(store)


if __name__ == "__main__":
    main()
