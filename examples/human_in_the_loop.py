"""A session that waits for a person: pause, answer from another process, resume in a third.

It shows that nobody holds a session while it waits (so the wait may take days, and the machine
may restart), and how an answer gets in: store.edit.

    python human_in_the_loop.py                            # all three roles, as real processes

    python human_in_the_loop.py ask    --root ./store      # the agent: drafts, then asks
    python human_in_the_loop.py answer --root ./store yes  # the person, or the web server for her
    python human_in_the_loop.py work   --root ./store      # the worker: resumes with the answer
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile

from sessionstore import END, RevisionConflict, Session, SessionClaimed, SessionStore

GOAL = "send-newsletter"


def say(text: str) -> None:
    print(f"pid {os.getpid()}: {text}", flush=True)


def ask(store: SessionStore) -> None:
    """The agent: work up to the question, then pause and end."""
    with store.create(GOAL) as session:
        data = session.state.data_buffer
        data["draft"] = "Dear reader, our store now survives kill -9."
        data["question"] = "Send this to 4,000 readers?"
        session.checkpoint("node_complete", node="draft", next_node="ask_person")
        session.pause(node="ask_person", resume_from="send")
    say(f"{session.session_id} is paused: {data['question']}")


def answer(store: SessionStore, text: str) -> None:
    """The person: store the answer. The session stays paused until a worker resumes it."""
    for item in store.iter_find(goal_id=GOAL, status="paused"):
        with store.edit(item.session_id) as session:
            data = session.state.data_buffer
            is_asked = "question" in data and "answer" not in data
            if is_asked:
                data["answer"] = text  # stored at the end of the block: a resume sees it
        if is_asked:
            say(f"{session.session_id} is answered: {text}")


def work(store: SessionStore) -> None:
    """The worker: resume what a worker left behind, and every session that has its answer."""
    for session in store.resume_interrupted(goal_id=GOAL):
        finish(session)
    for item in store.iter_find(goal_id=GOAL, status="paused", resumable=True):
        if "answer" not in store.load(item.session_id).data_buffer:
            continue  # still waiting for the person
        try:
            session = store.resume(item.session_id, expected_revision=item.revision)
        except (SessionClaimed, RevisionConflict):
            continue  # another worker was faster
        finish(session)


def finish(session: Session) -> None:
    with session:
        answer = session.state.data_buffer.get("answer")
        if answer is None:
            session.pause()  # it was interrupted by its own agent: it still waits for the person
        else:
            sent = answer == "yes"
            session.checkpoint("node_complete", node="send" if sent else "discard", next_node=END)
            session.complete(output={"sent": sent})
    say(f"{session.session_id} is {session.state.status}")


def all_roles() -> int:
    with tempfile.TemporaryDirectory() as root:
        for role in (["ask"], ["answer", "yes"], ["work"]):
            subprocess.run([sys.executable, __file__, *role, "--root", root], check=True)
        with SessionStore(root) as store:
            ended = [store.load(item.session_id) for item in store.iter_find(goal_id=GOAL)]
    for state in ended:
        say(f"{state.session_id}: {state.status}, path {' > '.join(state.progress.path)}")
    return 0 if [state.status for state in ended] == ["completed"] else 1


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    roles = parser.add_subparsers(dest="role")
    for role in ("ask", "answer", "work"):
        options = roles.add_parser(role)
        options.add_argument("--root", required=True, help="directory of the store")
        if role == "answer":
            options.add_argument("text", help="the answer, such as yes")
    given = parser.parse_args()

    if given.role is None:
        return all_roles()
    with SessionStore(given.root) as store:
        if given.role == "ask":
            ask(store)
        elif given.role == "answer":
            answer(store, given.text)
        else:
            work(store)
    return 0


if __name__ == "__main__":
    sys.exit(main())
