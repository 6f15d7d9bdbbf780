"""The fields of a listing, as ``ls --fields`` names them; ``columns.py`` says how they look."""

from __future__ import annotations

import click

FIELDS: dict[str, tuple[str, ...]] = {
    "id": ("session_id",),
    "status": ("status", "is_stale", "is_interrupted"),
    "liveness": ("liveness",),
    "goal": ("goal_id",),
    "agent": ("agent_id",),
    "stream": ("stream_id",),
    "correlation": ("correlation_id",),
    "labels": ("labels",),
    "entry": ("entry_point",),
    "node": ("current_node", "paused_at"),
    "steps": ("steps_executed",),
    "revision": ("revision",),
    "started": ("started_at",),
    "updated": ("updated_at",),
    "ended": ("completed_at",),
    "checkpoint": ("latest_checkpoint_id",),
    "resumable": ("is_resumable", "is_finished", "unresumable"),
    "recoveries": ("recovery",),
    "stops": ("recovery",),
    "pid": ("pid",),
    "owner": ("owner",),
    "error": ("error",),
    "remark": ("damaged", "unresumable", "unsettled_steps", "error"),
}
"""Each name, and its keys in the JSON of a listing."""
LABEL = "label:"
"""The beginning of a name that ends in the key of a label; in JSON it stands for ``labels``."""

USUAL = ("id", "status", "goal", "node", "steps", "updated", "resumable", "remark")
"""What a table shows by default; the last one only if a row has a value."""


def read_fields(
    context: click.Context, option: click.Parameter, value: str | None
) -> tuple[str, ...] | None:
    """Return the names in ``id,status,goal``, in that order; None without the option."""
    if value is None:
        return None
    names = tuple(name.strip() for name in value.split(",") if name.strip())
    known = f"the fields are {', '.join(FIELDS)} and {LABEL}KEY"
    for name in names:
        if name not in FIELDS and not (name.startswith(LABEL) and name != LABEL):
            raise click.BadParameter(f"{name!r} is not a field; {known}", context, option)
    if not names:
        raise click.BadParameter(f"no field is named; {known}", context, option)
    return names


def json_keys(name: str) -> tuple[str, ...]:
    """Return the keys in the JSON of a listing that a field stands for."""
    return FIELDS["labels"] if name.startswith(LABEL) else FIELDS[name]


def complete_fields(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[str]:
    """Return what the last name may become."""
    del context, parameter
    before, comma, last = incomplete.rpartition(",")
    named = before.split(",")
    return [
        before + comma + name
        for name in (*FIELDS, LABEL)
        if name.startswith(last) and name not in named
    ]
