"""The data of a session: SessionState and its parts, as the stored schema has them."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Self

from pydantic import AliasChoices, BaseModel, ConfigDict, Field, computed_field, model_validator

from sessionstore import clock
from sessionstore.model import legacy
from sessionstore.model.status import SessionStatus as SessionStatus  # noqa: PLC0414 - re-exported

SCHEMA_VERSION = "1.2"


class Part(BaseModel, extra="allow", protected_namespaces=()):
    """A piece of the stored state: unknown fields are kept, misspelt attributes refused."""

    if not TYPE_CHECKING:  # a type checker would take it as leave to set anything

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
        """Drop computed keys that a file carried: they are computed anew, and written once."""
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
        " (own data belongs into data_buffer, or into a subclass given as state_type=)"
    )


class SessionTimestamps(Part):
    """ISO 8601 times; naive ones are local time of this machine."""

    started_at: str
    updated_at: str
    completed_at: str | None = None
    paused_at_time: str | None = None


class SessionProgress(Part):
    """How far the session has come."""

    current_node: str | None = None
    paused_at: str | None = None
    resume_from: str | None = None
    steps_executed: int = 0
    total_tokens: int = 0
    total_latency_ms: int = 0
    path: list[str] = Field(default_factory=list)
    total_retries: int = 0
    nodes_with_failures: list[str] = Field(default_factory=list)
    retry_details: dict[str, int] = Field(default_factory=dict)
    had_partial_failures: bool = False
    execution_quality: str = "clean"
    node_visit_counts: dict[str, int] = Field(default_factory=dict)


class SessionResult(Part):
    """How the session ended; ``success`` is None while it runs."""

    success: bool | None = None
    error: str | None = None
    output: dict[str, Any] = Field(default_factory=dict)


class SessionMetrics(Part):
    """Counters of a run."""

    decision_count: int = 0
    problem_count: int = 0
    total_input_tokens: int = 0
    total_output_tokens: int = 0
    nodes_executed: list[str] = Field(default_factory=list)
    edges_traversed: list[str] = Field(default_factory=list)


class SessionOwner(Part):
    """Which process holds a session, in terms that another process can check."""

    model_config: ClassVar[ConfigDict] = ConfigDict(frozen=True)

    host: str | None = None
    boot_id: str | None = None
    pid: int | None = None
    start_token: str | None = None
    """When the kernel started the process, in ticks since boot: unlike a time of day it cannot
    be moved by setting the clock."""
    pidfd_inode: int | None = None
    """Inode of the process' pidfd (Linux 6.9 and newer): unique until the next boot."""
    pid_namespace: str | None = None
    token: str | None = None
    """Random, new with each claim."""
    command: str | None = None
    claimed_at: str | None = None

    def describe(self) -> str:
        """Return ``pid 4711 (python agent.py) on web1 since 12:03:11Z``, as far as known."""
        from sessionstore.text import printable

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
    """What the last recovery sweep that marked this session found. It survives a resume."""

    count: int = 0
    """How many times a sweep has found this session left behind by a dead process."""
    at: str = ""
    reason: str = ""
    owner: SessionOwner | None = None


class SessionState(Part):
    """The single source of truth for a session's status and resumability.

    Subclass it to store typed data, and give the subclass to the store as ``state_type=``.
    """

    schema_version: str = SCHEMA_VERSION
    session_id: str
    stream_id: str = ""
    correlation_id: str = ""
    status: SessionStatus = SessionStatus.ACTIVE
    goal_id: str
    agent_id: str = ""
    entry_point: str = "start"
    timestamps: SessionTimestamps
    progress: SessionProgress = Field(default_factory=SessionProgress)
    result: SessionResult = Field(default_factory=SessionResult)
    data_buffer: dict[str, Any] = Field(
        default_factory=dict, validation_alias=AliasChoices("data_buffer", "memory")
    )
    metrics: SessionMetrics = Field(default_factory=SessionMetrics)
    problems: list[dict[str, Any]] = Field(default_factory=list)
    decisions: list[dict[str, Any]] = Field(default_factory=list)
    input_data: dict[str, Any] = Field(default_factory=dict)
    current_run_id: str | None = None
    pid: int | None = None
    isolation_level: str = "shared"
    checkpoint_enabled: bool = False
    latest_checkpoint_id: str | None = None
    active_triggers: list[str] = Field(default_factory=list)
    trigger_tasks: dict[str, str] = Field(default_factory=dict)
    worker_configured: bool = False
    revision: int = 0
    incarnation: str | None = None
    owner: SessionOwner | None = None
    recovery: SessionRecovery | None = None
    forked_from: dict[str, Any] | None = None

    @property
    def memory(self) -> dict[str, Any]:
        """The old name of ``data_buffer``."""
        return self.data_buffer

    @memory.setter
    def memory(self, value: dict[str, Any]) -> None:
        self.data_buffer = value

    @computed_field  # type: ignore[prop-decorator]  # pydantic documents this order for mypy
    @property
    def duration_ms(self) -> int:
        """completed_at minus started_at in milliseconds; 0 while there is no completed_at."""
        if self.timestamps.completed_at is None:
            return 0
        return clock.milliseconds_between(self.timestamps.started_at, self.timestamps.completed_at)

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def is_resumable_from_checkpoint(self) -> bool:
        """Whether this session has a checkpoint to resume from."""
        return self.checkpoint_enabled and self.latest_checkpoint_id is not None

    @computed_field  # type: ignore[prop-decorator]  # as above
    @property
    def is_resumable(self) -> bool:
        """The same: any session with a checkpoint can be resumed, whatever its status."""
        return self.checkpoint_enabled and self.latest_checkpoint_id is not None

    @property
    def is_interrupted(self) -> bool:
        """Whether a sweep marked this session and nothing has run in it since.

        A resume clears the result, and a node's own failure has an error of its own, so the
        sweep's verdict stands only where the error still is the sweep's reason.
        """
        return (
            self.status is not SessionStatus.ACTIVE
            and self.recovery is not None
            and self.result.error == self.recovery.reason
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
        """Return the state that the outcome of an execution amounts to.

        Paused if ``result.paused_at`` is non-empty, else completed if ``result.success``, else
        failed. ``started_at`` is an ISO 8601 time, by default now.
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
        cls,
        run: legacy.LegacyRun | Mapping[str, Any],
        session_id: str,
        stream_id: str = "",
    ) -> Self:
        """Return the state of a run from before there were session files (schema 1.0).

        ``run`` is an object with the attributes of :class:`~sessionstore.LegacyRun`, or the same
        as plain JSON. Token counts are an approximation: all of them count as input.
        """
        return cls.model_validate(
            {
                "session_id": session_id,
                "stream_id": stream_id,
                **legacy.fields_of_run(run, clock.to_text(clock.utc_now())),
            }
        )

    def to_session_state_dict(self) -> dict[str, Any]:
        """Return what callers that resume by state expect. Resume from a checkpoint instead.

        Kept for the original framework's callers: ``SessionStore.resume`` replaces it.
        """
        progress = self.progress
        last = progress.path[-1] if progress.path else None
        resume_from = progress.resume_from or progress.paused_at or last or None
        return {
            "paused_at": resume_from,
            "resume_from": resume_from,
            "data_buffer": self.data_buffer,
            "execution_path": progress.path,
            "node_visit_counts": progress.node_visit_counts,
        }
