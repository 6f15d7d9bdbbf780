"""An agent: it thinks, calls tools at once, asks a person, and goes on wherever it was killed.

A kept step is not called again: neither the model nor a tool is paid twice. The transcript is a
journal whose appends have keys, so that code that runs again adds nothing twice. Only the call that
ran when the process died is made again. Booking a flight must not be: it may run at most once.

    python agent.py --root ./store                  # works until a person has to answer
    python agent.py --root ./store --answer yes     # the person answers
    python agent.py --root ./store                  # goes on, and completes
    python agent.py --root ./store --die 0.2        # kills itself in every fifth call
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import signal
import sys
from typing import Any

from pydantic import BaseModel

from sessionstore import AsyncSession, AsyncSessionStore, SessionEnded, SessionStore, Step

JOB = "trip-to-oslo"
GOAL = "plan a trip"


class ToolCall(BaseModel):
    """What the model wants to be done."""

    tool: str
    city: str


class Reply(BaseModel):
    """What the model says."""

    text: str
    tools: list[ToolCall] = []
    asks_person: bool = False
    is_final: bool = False


class World:
    """The model and the tools, all of them fake; each call may be the last of the process."""

    def __init__(self, root: str, dies: float) -> None:
        self._log = os.path.join(root, "calls.log")
        self._dies = dies

    def called(self, name: str) -> None:
        """Note a call, as a bill would, and die now and then."""
        with open(self._log, "a", encoding="utf-8") as log:
            log.write(name + "\n")
        if random.random() < self._dies:
            os.kill(os.getpid(), signal.SIGKILL)

    async def think(self, messages: list[dict[str, Any]]) -> Reply:
        """Answer as a model would; the same messages get the same answer."""
        self.called("think")
        await asyncio.sleep(0.01)
        said = [message["text"] for message in messages]
        if len(said) == 1:
            calls = [ToolCall(tool="weather", city="Oslo"), ToolCall(tool="price", city="Oslo")]
            return Reply(text="I look at the weather and at prices.", tools=calls)
        if not any(text.startswith("person:") for text in said):
            return Reply(text="It is fine, and 120 euros. Shall I book?", asks_person=True)
        if said[-1] == "person: yes":
            booking = ToolCall(tool="book", city="Oslo")
            return Reply(text="I book the flight.", tools=[booking])
        return Reply(text="Done.", is_final=True)

    async def weather(self, city: str) -> str:
        """Return a forecast."""
        self.called("weather")
        await asyncio.sleep(0.01)
        return f"{city}: sunny"

    def price(self, city: str) -> str:
        """Return a price; a plain function, which runs in a thread."""
        self.called("price")
        return f"{city}: 120 euros"

    def book(self, city: str) -> str:
        """Book a flight, which nobody wants twice."""
        self.called("book")
        return f"{city}: booked"


async def run(session: AsyncSession, world: World) -> None:
    """Run the agent from its top; what was done before comes from the session."""
    transcript = session.journal("transcript")
    messages: list[dict[str, Any]] = []

    async def add(key: str, role: str, text: str) -> None:
        messages.append({"role": role, "text": text})
        await transcript.append(messages[-1], key=key)

    await add("goal", "user", "Plan a trip to Oslo.")
    for turn in range(10):
        reply = await session.step(f"think-{turn}", world.think, messages)
        await add(f"reply-{turn}", "assistant", reply.text)
        results = await asyncio.gather(
            *(act(session, world, f"{call.tool}-{turn}", call) for call in reply.tools)
        )
        for number, result in enumerate(results):
            await add(f"tool-{turn}-{number}", "tool", result)
        if reply.asks_person:
            answer = session.state.data_buffer.get("answer")
            if answer is None:
                await session.pause("ask")
                return
            await add(f"answer-{turn}", "user", f"person: {answer}")
        if reply.is_final:
            await session.complete({"turns": turn + 1})
            return


async def act(session: AsyncSession, world: World, name: str, call: ToolCall) -> str:
    """Call one tool, as a step."""
    if call.tool == "weather":
        return await session.step(name, world.weather, call.city)
    if call.tool == "price":
        return await session.step(name, world.price, call.city)
    return await session.step(Step(name, at_most_once=True), world.book, call.city)


async def work(root: str, dies: float) -> int:
    """Start the job, or go on with it; return 0 once it is completed, else 3."""
    async with AsyncSessionStore(root) as store:
        try:
            async with store.create_or_resume(JOB, GOAL, max_recoveries=1000) as session:
                await run(session, World(root, dies))
        except SessionEnded as ended:
            print(f"{JOB} was {ended.state.status} before")
            return 0
        state = await store.load(JOB)
        print(f"{JOB} is {state.status}")
        return 0 if state.status == "completed" else 3


def answer(root: str, text: str) -> int:
    """Hand the person's answer to the paused session."""
    with SessionStore(root) as store, store.edit(JOB) as session:
        session.state.data_buffer["answer"] = text
    print(f"{JOB} was answered")
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--root", required=True, help="directory of the store")
    parser.add_argument("--answer", help="what the person says; ends then")
    parser.add_argument("--die", type=float, default=0.0, help="how likely a call kills us")
    options = parser.parse_args()
    if options.answer is not None:
        return answer(options.root, options.answer)
    return asyncio.run(work(options.root, options.die))


if __name__ == "__main__":
    sys.exit(main())
