"""What importing the package costs, in fresh interpreters."""

from __future__ import annotations

import os
import subprocess
import sys

from benchmarks.harness import Group, Options, Sample, raw, say
from benchmarks.limits import Figure

_ON_DEMAND = ("psutil", "click", "rich")
_ALSO = ("asyncio", "filelock", "ctypes", "sqlite3")
_ONE_MODEL = """from pydantic import BaseModel, Field
class Model(BaseModel):
    names: list[str] = Field(default_factory=list)"""
_MADE = """from sessionstore import SessionStore
SessionStore("there is none here")"""
_IMPORTS = {
    "import pydantic": "import pydantic",
    "from pydantic import BaseModel": "from pydantic import BaseModel",
    "pydantic and one model": _ONE_MODEL,
    "import sessionstore": "import sessionstore",
    "from sessionstore import SessionStore": "from sessionstore import SessionStore",
    "a SessionStore that is made": _MADE,
}
_USED = "from sessionstore import SessionStore"
_TIMED = """
from time import perf_counter
begin = perf_counter()
{statement}
print(perf_counter() - begin)
import sys
print(*sys.modules)
"""


def measure_imports(options: Options) -> list[Figure]:
    """Import in fresh interpreters, one after the other, from compiled files."""
    say("import")
    times: dict[str, list[float]] = {name: [] for name in _IMPORTS}
    loaded: set[str] = set()
    with options.space() as compiled:
        environment = dict(os.environ, PYTHONPYCACHEPREFIX=str(compiled))
        environment.pop("PYTHONDONTWRITEBYTECODE", None)
        for turn in range(-2, 8 if options.quick else 20):  # the first rounds compile
            for name, statement in _IMPORTS.items():
                command = [sys.executable, "-c", _TIMED.format(statement=statement)]
                ended = subprocess.run(
                    command, capture_output=True, text=True, check=True, env=environment
                )
                seconds, modules = ended.stdout.splitlines()
                if turn >= 0:
                    times[name].append(float(seconds) * 1e6)
                if name == _USED:
                    loaded = set(modules.split())
    samples = {name: Sample(taken) for name, taken in times.items()}
    # pydantic itself loads on demand: what it costs a program shows with the first model.
    figures = [
        Figure(
            "import",
            f"{name}, beyond {base}",
            "ms",
            [(samples[name].median - samples[base].median) / 1000],
            limit=60.0,
        )
        for name, base in (
            ("import sessionstore", "import pydantic"),
            (_USED, "import pydantic"),
            (_USED, "from pydantic import BaseModel"),
            (_USED, "pydantic and one model"),
        )
    ]
    # The import leaves pydantic to whoever makes a store: so it is not saved, but comes later.
    made, one = "a SessionStore that is made", "pydantic and one model"
    later = [(samples[made].median - samples[one].median) / 1000]
    figures.append(Figure("import", f"{made}, beyond {one}", "ms", later))
    figures.append(
        Figure(
            "import",
            "psutil, click and rich among the modules that this loads",
            "",
            [float(len(loaded & set(_ON_DEMAND)))],
            limit=0.0,
            note=_listed(loaded, _ON_DEMAND),
        )
    )
    figures.append(
        Figure(
            "import",
            f"{', '.join(_ALSO)} among them",
            "",
            [float(len(loaded & set(_ALSO)))],
            note=_listed(loaded, _ALSO),
        )
    )
    return figures + raw("import", samples, "")


def _listed(loaded: set[str], names: tuple[str, ...]) -> str:
    return ", ".join(name for name in names if name in loaded) or "none"


GROUPS: dict[str, Group] = {"import": measure_imports}
