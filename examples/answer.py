"""Answer a mail in three steps, each of which is called once, however often the process dies.

python answer.py --root store           # to the end
python answer.py --root store --stay    # stays in its second step, until somebody kills it
"""

from __future__ import annotations

import argparse
import time

from sessionstore import Session, SessionEnded, SessionStore

STAY = 300.0  # seconds


def plan(mail: str) -> list[str]:
    print("calling: plan", flush=True)
    return ["greet", f"answer {mail}", "sign"]


def draft(points: list[str], wait: float) -> str:
    print("calling: draft", flush=True)
    time.sleep(wait)
    return "Dear all, " + ", ".join(points)


def send(text: str) -> dict[str, str]:
    print("calling: send", flush=True)
    return {"sent": text}


def answer(session: Session, wait: float) -> None:
    points = session.step("plan", plan, "a mail")
    # How long it waits is no argument of the call: it would be compared with that of the next run.
    text = session.step("draft", lambda given: draft(given, wait), points)
    session.complete(session.step("send", send, text))


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--root", required=True)
    parser.add_argument("--max-recoveries", type=int, default=3)
    parser.add_argument("--stay", action="store_true")
    given = parser.parse_args()
    store = SessionStore(given.root)
    try:
        with store.create_or_resume(
            "mail-1", "answer the mail", max_recoveries=given.max_recoveries
        ) as session:
            answer(session, STAY if given.stay else 0)
    except SessionEnded as ended:
        print("nothing to do:", ended.state.result.output)


if __name__ == "__main__":
    main()
