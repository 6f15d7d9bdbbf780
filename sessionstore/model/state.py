"""The data of a session: SessionState and its parts, field by field as they are stored."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field, model_validator

from sessionstore import clock
from sessionstore.model import legacy
from sessionstore.model.status import SessionStatus as SessionStatus  # noqa: PLC0414 - re-exported
from sessionstore.text import begins_with_line, printable

SCHEMA_VERSION = "1.2"


class Part(BaseModel, extra="allow", protected_namespaces=()):
    """The base of a state and its parts.

    Unknown fields of a file are kept and written back. An assignment to an attribute that is
    neither declared nor loaded raises AttributeError and names the nearest field. Derive parts of
    your own from it, for the fields of a ``state_type``.
    """

    if not TYPE_CHECKING:  # for a type checker it would allow any attribute

        def __setattr__(self, name: str, value: Any) -> None:
            """Set a field that is declared or was loaded; else raise AttributeError."""
            kind = type(self)
            if not (
                name in kind.__pydantic_fields__
                or name.startswith("_")
                or isinstance(getattr(kind, name, None), property | cached_property)
                or name in (self.__pydantic_extra__ or ())
            ):
                raise AttributeError(_no_such_field(self, name))
            super().__setattr__(name, value)

    @model_validator(mode="after")
    def _drop_computed_keys(self) -> Self:
        """Drop the computed keys of a file: they are computed anew, and written once."""
        if extra := self.__pydantic_extra__:
            for name in type(self).__pydantic_computed_fields__:
                extra.pop(name, None)
        return self


def _no_such_field(part: Part, name: str) -> str:
    from difflib import get_close_matches

    known = [*type(part).__pydantic_fields__, *(part.__pydantic_extra__ or ())]
    nearest = get_close_matches(name, known, n=1)
    hint = f"; did you mean {nearest[0]!r}?" if nearest else ""
    return (
        f"{type(part).__name__} has no field {name!r}{hint}"
        " (put your own data into data_buffer, or into a subclass given as state_type=)"
    )


class SessionTimestamps(Part):
    """When a session began, was written, and ended.

    Times are ISO 8601 text. This package writes aware UTC; a time without a zone is local time of
    this machine.
    """

    started_at: str
    """When the session began."""
    updated_at: str
    """When the state was written last."""
    completed_at: str | None = None
    """When the session ended; None while it has not."""
    paused_at_time: str | None = None
    """When the session was paused; None unless it is paused."""


class SessionProgress(Part):
    """How far a session has come."""

    current_node: str | None = None
    """The node at work."""
    paused_at: str | None = None
    """The node that the session paused at."""
    resume_from: str | None = None
    """The entry point or node to go on from."""
    steps_executed: int = 0
    """How many steps were done."""
    total_tokens: int = 0
    """How many tokens were used."""
    total_latency_ms: int = 0
    """How long the steps took, in milliseconds."""
    path: list[str] = Field(default_factory=list)
    """The nodes that were passed, in order."""
    total_retries: int = 0
    """How many times a node was tried again."""
    nodes_with_failures: list[str] = Field(default_factory=list)
    """The nodes that failed at least once."""
    retry_details: dict[str, int] = Field(default_factory=dict)
    """How many times each node was tried again."""
    had_partial_failures: bool = False
    """Whether a node failed and the session went on."""
    execution_quality: str = "clean"
    """``clean``, ``degraded`` or ``failed``."""
    node_visit_counts: dict[str, int] = Field(default_factory=dict)
    """How many times each node was visited."""


class SessionResult(Part):
    """How a session ended."""

    success: bool | None = None
    """Whether it succeeded; None while it runs."""
    error: str | None = None
    """Why it failed, or None."""
    output: dict[str, Any] = Field(default_factory=dict)
    """What it produced."""


class SessionMetrics(Part):
    """Counters of a run."""

    decision_count: int = 0
    """How many decisions were made."""
    problem_count: int = 0
    """How many problems were met."""
    total_input_tokens: int = 0
    """How many tokens were sent to models."""
    total_output_tokens: int = 0
    """How many tokens came back from models."""
    nodes_executed: list[str] = Field(default_factory=list)
    """The nodes that ran."""
    edges_traversed: list[str] = Field(default_factory=list)
    """The edges that were followed."""


class SessionOwner(Part):
    """Which process holds a session, in terms that another process can check."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    host: str | None = None
    """The name of the host."""
    boot_id: str | None = None
    """An id of the host's current boot. It tells a reused process id after a reboot."""
    pid: int | None = None
    """The process id, as the process itself sees it."""
    start_token: str | None = None
    """When the kernel started the process, in ticks since boot. Setting the clock does not move
    it."""
    pidfd_inode: int | None = None
    """Inode of the process' pidfd, unique until the next boot (Linux 6.9 and newer)."""
    pid_namespace: str | None = None
    """The PID namespace that ``pid`` counts in (Linux)."""
    token: str | None = None
    """Random, new with each claim."""
    command: str | None = None
    """The command line, up to 200 characters, with what looks like a secret masked."""
    claimed_at: str | None = None
    """ISO 8601 time of the claim."""
    file_system: str | None = None
    """The kind of file system that the lock lay on, such as ``ext4``."""
    root: str | None = None
    """The root of the store in which the claim was made."""
    root_id: str | None = None
    """The device and inode of that root, such as ``2049:131``."""

    def describe(self) -> str:
        """Return ``pid 4711 (python agent.py) on web1 since 12:03:11Z``, as far as known."""
        if self.pid is None:
            return ""
        words = f"pid {self.pid}"
        if self.command:
            words += f" ({printable(self.command, limit=60)})"
        if self.host:
            words += f" on {printable(self.host, limit=60)}"
        if moment := clock.parse(self.claimed_at):
            today = moment.date() == clock.utc_now().date()
            words += f" since {moment.strftime('%H:%M:%SZ' if today else '%Y-%m-%d %H:%M:%SZ')}"
        return words


class SessionRecovery(Part):
    """How a session was last stopped without a verdict. It survives a resume."""

    count: int = 0
    """How many times a process died while it ran this session."""
    stops: int = 0
    """How many times a cancelled task, Ctrl-C or SystemExit stopped this session."""
    at: str = ""
    """ISO 8601 time at which the last of them was recorded."""
    reason: str = ""
    """How it is known that the process died, or what stopped the session."""
    owner: SessionOwner | None = None
    """The owner that died or was stopped, or None where no record named one."""


class SessionState(Part):
    """The single source of truth for a session's status and resumability.

    ``session.state`` is one. Assign to its fields and save. A subclass stores typed data: give it
    to the store as ``state_type=``.

    Fields that this version does not know are kept. A misspelt attribute raises AttributeError.

    Examples:
        >>> with store.create("triage", agent_id="mail") as session:
        ...     session.state.data_buffer["letters"] = 12
        ...     session.state.progress.current_node = "sort"
        ...     revision = session.save()
    """

    schema_version: str = SCHEMA_VERSION
    """Version of the schema. ``1.0`` and ``1.1`` become ``1.2`` when they are saved."""
    session_id: str
    """The id of the session, which is the name of its directory."""
    stream_id: str = ""
    """The stream of execution that created the session."""
    correlation_id: str = ""
    """An id that related sessions share."""
    status: SessionStatus = SessionStatus.ACTIVE
    """What the session is doing."""
    goal_id: str
    """The goal that the session works for."""
    agent_id: str = ""
    """The agent that runs the session."""
    entry_point: str = "start"
    """The node that the session starts at."""
    timestamps: SessionTimestamps
    """When it began, was written, and ended."""
    progress: SessionProgress = Field(default_factory=SessionProgress)
    """How far it has come."""
    result: SessionResult = Field(default_factory=SessionResult)
    """How it ended."""
    data_buffer: dict[str, Any] = Field(
        default_factory=dict, validation_alias=AliasChoices("data_buffer", "memory")
    )
    """The working data: JSON values only. It is also read under its old name, ``memory``."""
    metrics: SessionMetrics = Field(default_factory=SessionMetrics)
    """Counters of the run."""
    problems: list[dict[str, Any]] = Field(default_factory=list)
    """The problems that were met, each a JSON object."""
    decisions: list[dict[str, Any]] = Field(default_factory=list)
    """The decisions that were made, each a JSON object."""
    input_data: dict[str, Any] = Field(default_factory=dict)
    """What the session was started with, for debugging and replay."""
    current_run_id: str | None = None
    """The run that is at work, or None."""
    pid: int | None = None
    """The process id of the holder; None while nobody holds the session."""
    isolation_level: str = "shared"
    """How the orchestrator isolates the session. This package does not look at it."""
    checkpoint_enabled: bool = False
    """Whether the session keeps checkpoints. The first checkpoint sets it."""
    latest_checkpoint_id: str | None = None
    """The checkpoint that a resume takes unless it is told another."""
    active_triggers: list[str] = Field(default_factory=list)
    """The triggers that are switched on."""
    trigger_tasks: dict[str, str] = Field(default_factory=dict)
    """The text of the task of each trigger."""
    worker_configured: bool = False
    """Whether a worker has run successfully."""
    revision: int = 0
    """Grows by one with every write."""
    incarnation: str | None = None
    """A random name that ``create`` sets: it tells a session from an earlier one of its id."""
    owner: SessionOwner | None = None
    """The process that holds the session; None while nobody holds it."""
    recovery: SessionRecovery | None = None
    """How the session was last stopped without a verdict, or None."""
    forked_from: dict[str, Any] | None = None
    """The session, checkpoint and revision that a fork was made from, or None."""
    labels: dict[str, str] = Field(default_factory=dict)
    """Texts to find the session by. They go on through a resume of any checkpoint, and a fork."""
    journals: dict[str, list[int]] = Field(default_factory=dict)
    """Where each journal ended: the number of its last flushed line, and its end in the file."""
    rewinds: dict[str, list[list[int]]] = Field(default_factory=dict)
    """The ways back that a journal may not have yet: pairs of ``back_to`` and the last line."""
    steps_from: int = 0
    """The number of the last record of ``steps`` when they were closed."""
    saves_from: int = 0
    """``revision`` minus this: how often the application saved since the latest checkpoint."""

    @property
    def memory(self) -> dict[str, Any]:
        """The old name of ``data_buffer``, for reading and assigning."""
        return self.data_buffer

    @memory.setter
    def memory(self, value: dict[str, Any]) -> None:
        self.data_buffer = value

    @computed_field  # type: ignore[prop-decorator]  # pydantic documents this order for mypy
    @property
    def duration_ms(self) -> int:
        """``completed_at`` minus ``started_at`` in milliseconds; 0 without one, and never less."""
        if self.timestamps.completed_at is None:
            return 0
        times = self.timestamps
        return max(0, clock.milliseconds_between(times.started_at, times.completed_at))

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def is_resumable_from_checkpoint(self) -> bool:
        """Whether this session has a checkpoint to resume from."""
        return self.checkpoint_enabled and self.latest_checkpoint_id is not None

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def is_resumable(self) -> bool:
        """The same. A session with a checkpoint can be resumed, whatever its status."""
        return self.checkpoint_enabled and self.latest_checkpoint_id is not None

    @property
    def is_interrupted(self) -> bool:
        """Whether this session was stopped without a verdict and nothing has run in it since.

        A resume clears the result, and a failure of the session's own has another error. So the
        record stands while the error of the result begins with its reason. Somebody decided that
        a COMPLETED or CANCELLED session has ended: it is never interrupted.
        """
        return (
            self.status in (SessionStatus.PAUSED, SessionStatus.FAILED)
            and self.recovery is not None
            and begins_with_line(self.result.error, self.recovery.reason)
        )

    @classmethod
    def from_execution_result(
        cls,
        session_id: str,
        goal_id: str,
        result: legacy.ExecutionResult,
        stream_id: str = "",
        correlation_id: str = "",
        started_at: str = "",
        input_data: dict[str, Any] | None = None,
        agent_id: str = "",
        entry_point: str = "start",
    ) -> Self:
        """Return the state that the result of an execution describes.

        Its status is paused if ``result.paused_at`` is not empty, else completed if
        ``result.success``, else failed.

        Args:
            session_id: The id of the new state.
            goal_id: The goal that the execution worked for.
            result: An object with the attributes of :class:`~sessionstore.ExecutionResult`.
            stream_id: The stream of execution that created it.
            correlation_id: An id that related sessions share.
            started_at: An ISO 8601 time; by default now.
            input_data: What the execution was started with.
            agent_id: The agent that ran.
            entry_point: The node that the execution started at.

        Raises:
            pydantic.ValidationError: an attribute of ``result`` has the wrong type.

        Examples:
            >>> result = executor.run()
            >>> SessionState.from_execution_result("s-1", "triage", result).status
            <SessionStatus.COMPLETED: 'completed'>
        """
        return cls.model_validate(
            {
                "session_id": session_id,
                "goal_id": goal_id,
                "stream_id": stream_id,
                "correlation_id": correlation_id,
                "agent_id": agent_id,
                "entry_point": entry_point,
                "input_data": input_data or {},
                **legacy.fields_of_result(result, started_at, clock.to_text(clock.utc_now())),
            }
        )

    @classmethod
    def from_legacy_run(
        cls, run: legacy.LegacyRun | Mapping[str, Any], session_id: str, stream_id: str = ""
    ) -> Self:
        """Return the state that a run record from before session files describes (schema 1.0).

        Token counts are an approximation: all of them count as input.

        Args:
            run: An object with the attributes of :class:`~sessionstore.LegacyRun`, or the same as
                plain JSON.
            session_id: The id of the new state.
            stream_id: The stream of execution that the run belonged to.

        Raises:
            pydantic.ValidationError: an attribute of ``run`` has the wrong type.

        Examples:
            >>> run = {"goal_id": "triage", "status": "stuck", "started_at": "2020-01-25T12:00:00"}
            >>> SessionState.from_legacy_run(run, "s-1").status
            <SessionStatus.FAILED: 'failed'>
        """
        return cls.model_validate(
            {
                "session_id": session_id,
                "stream_id": stream_id,
                **legacy.fields_of_run(run, clock.to_text(clock.utc_now())),
            }
        )

    def to_session_state_dict(self) -> dict[str, Any]:
        """Return what the original framework resumed from, in the place of a checkpoint."""
        progress = self.progress
        last = progress.path[-1] if progress.path else None
        resume_from = progress.resume_from or progress.paused_at or last
        return {
            "paused_at": resume_from,
            "resume_from": resume_from,
            "data_buffer": self.data_buffer,
            "execution_path": progress.path,
            "node_visit_counts": progress.node_visit_counts,
        }
