"""Read back which system calls a process made, as strace recorded them."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

CALLS = (
    "openat,open,creat,close,dup,dup2,dup3,lseek,write,pwrite64,writev,pwritev,pwritev2,"
    "truncate,ftruncate,fallocate,copy_file_range,sendfile,fsync,fdatasync,sync_file_range,sync,syncfs,"
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,mkdir,mkdirat,rmdir,symlink,symlinkat"
)
"""What strace has to record."""

_LINE = re.compile(r"^(?:\d+ +)?(\w+)\((.*)\) += (-?\d+)")
_ARGUMENT = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*")|(?P<fd>-?\d+|AT_FDCWD)<[^>]*>(?:\(deleted\))?|(?P<word>[^,\s]+)'
)


@dataclass(frozen=True)
class Call:
    """One system call that succeeded."""

    name: str
    arguments: tuple[str | int | bytes, ...]
    result: int


def parse(trace: Path) -> Iterator[Call]:
    """Yield the successful calls of a single-threaded process that ``strace -y`` recorded."""
    for line in trace.read_text(errors="surrogateescape").splitlines():
        assert "unfinished" not in line, f"more than one thread makes system calls: {line[:200]}"
        match = _LINE.match(line)
        if match is None or int(match[3]) < 0:
            continue
        arguments: list[str | int | bytes] = []
        for argument in _ARGUMENT.finditer(match[2]):
            if argument["text"]:
                arguments.append(bytes(ast.literal_eval("b" + argument["text"])))
            elif argument["fd"]:
                arguments.append(-1 if argument["fd"] == "AT_FDCWD" else int(argument["fd"]))
            else:
                word = argument["word"]
                arguments.append(int(word) if word.isdecimal() else word)
        yield Call(match[1], tuple(arguments), int(match[3]))
