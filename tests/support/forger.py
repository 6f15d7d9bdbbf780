"""Archives made by hand, as anybody may make them."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from typing import Any

from tests.support.cli import state

STATE = json.dumps(state("s1")).encode()
PLACE = "sessions/s1/state.json"


class Forger:
    """An archive made by hand, with a manifest that fits unless another one is given."""

    def __init__(self) -> None:
        self.parts: list[tuple[tarfile.TarInfo, bytes]] = []
        self.sessions: dict[str, dict[str, Any]] = {}

    def add(self, name: str, data: bytes = b"", *, listed: bool = True, **fields: Any) -> Forger:
        entry = tarfile.TarInfo(name)
        entry.size = len(data)
        for field, value in fields.items():
            setattr(entry, field, value)
        self.parts.append((entry, data))
        if listed and name.count("/") >= 2:
            _, session_id, inside = name.split("/", 2)
            self.list(session_id, inside, data)
        return self

    def list(self, session_id: str, name: str, data: bytes) -> None:
        session = self.sessions.setdefault(
            session_id,
            {"session_id": session_id, "files": [], "directories": [], "executable": []},
        )
        digest = hashlib.sha256(data).hexdigest()
        session["files"].append({"name": name, "size": len(data), "sha256": digest})

    def manifest(self) -> bytes:
        listed = {"schema": "sessionstore.export/1", "sessions": list(self.sessions.values())}
        return json.dumps(listed).encode()

    def tar(self, manifest: bytes | None = None, **options: Any) -> bytes:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", **options) as tar:
            for entry, data in self.parts:
                tar.addfile(entry, io.BytesIO(data))
            data = self.manifest() if manifest is None else manifest
            if data:
                last = tarfile.TarInfo("manifest.json")
                last.size = len(data)
                tar.addfile(last, io.BytesIO(data))
        return out.getvalue()

    def packed(self, manifest: bytes | None = None, **options: Any) -> bytes:
        return gzip.compress(self.tar(manifest, **options))


def sound() -> Forger:
    return Forger().add(PLACE, STATE)
