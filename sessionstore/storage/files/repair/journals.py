"""Check and repair the journals of a session.

A repair keeps what a resume of the latest checkpoint keeps: every record that is whole, also behind
damage. The damaged file goes into quarantine whole, and a new one takes its place.
"""

from __future__ import annotations

import io
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial

from sessionstore.clock import Clock
from sessionstore.durable import append, replace
from sessionstore.durable.directory import Directory
from sessionstore.durable.regular_file import open_below
from sessionstore.errors import SessionCorrupt
from sessionstore.model import codec
from sessionstore.model.state import SessionState
from sessionstore.storage.files import journal_copy, journal_rescue, state_file
from sessionstore.storage.files.checkpoint_file import linked
from sessionstore.storage.files.journal_rescue import Condition, Rescue
from sessionstore.storage.files.layout import JOURNAL_SUFFIX, JOURNALS, STATE, Layout
from sessionstore.storage.files.quarantine import quarantine, quarantine_entry
from sessionstore.storage.files.repair.mended import mended
from sessionstore.storage.files.usage import is_journal
from sessionstore.storage.report import Finding, FindingKind
from sessionstore.text import count_of


def check_journals(
    layout: Layout, session_id: str, directory: Directory, *, repair: bool, in_use: bool, now: Clock
) -> list[Finding]:
    """Return findings about the journals in a session's directory.

    With ``in_use`` a live process holds the session: what it is writing is no finding.
    """
    # The state first: what it says was flushed is there when the journal is read.
    saved = _saved(directory, session_id)
    check = _Check(layout, session_id, saved, repair=repair, in_use=in_use, now=now)
    try:
        journals = Directory(JOURNALS, directory)
    except FileNotFoundError:
        if not saved:
            return []
        if not repair:
            return [check.missing(os.path.join(directory.path, JOURNALS), name) for name in saved]
        directory.make_directory(JOURNALS)
        directory.flush()
        journals = Directory(JOURNALS, directory)
    except OSError as error:
        if damage := state_file.describe_damage(error):
            return [check.foreign(directory, JOURNALS, damage)]
        raise
    with journals:
        return list(check.findings(journals))


def _saved(directory: Directory, session_id: str) -> dict[str, int]:
    """Return the numbers up to which the stored state says that the journals were flushed.

    Raises:
        OSError: the system refused. Without the state a repair would take for torn what was saved.
    """
    try:
        payload, _ = state_file.read(directory, STATE, session_id)
        state = codec.decode(payload, SessionState, session_id, STATE)
    except (FileNotFoundError, SessionCorrupt):
        return {}  # that is a finding of its own
    except OSError as error:
        if state_file.describe_damage(error):
            return {}  # as above
        raise
    return {name: place[0] for name, place in sorted(state.journals.items()) if place[0]}


class _Check:
    """The check of the journals of one session."""

    def __init__(
        self,
        layout: Layout,
        session_id: str,
        saved: dict[str, int],
        *,
        repair: bool,
        in_use: bool,
        now: Clock,
    ) -> None:
        self._session_id = session_id
        self._saved = saved
        self._repair = repair
        self._in_use = in_use
        self._quarantine = partial(quarantine, layout, session_id=session_id, now=now)
        self._locked = partial(journal_copy.locked, session_id=session_id)
        self._entry = partial(quarantine_entry, layout, session_id, now=now)

    def findings(self, journals: Directory) -> Iterator[Finding]:
        """Yield what is wrong in ``journals``."""
        names = set(journals.names())
        for name in sorted(names):
            if replace.is_temporary(name):
                if not self._in_use:
                    yield self._leftover(journals, name)
            elif is_journal(name):
                yield from self._journal(journals, name)
            elif name.endswith(JOURNAL_SUFFIX):
                yield self._finding(
                    FindingKind.WRONG_ID,
                    os.path.join(journals.path, name),
                    "its name is not the name of a journal: nothing reads it",
                    "rename it, or move it away, by hand",
                )
        for stem in self._saved:
            if (name := stem + JOURNAL_SUFFIX) not in names:
                finding = self.missing(journals.path, stem)
                yield self._done(finding, partial(self._write_anew, journals, name))

    def missing(self, place: str, stem: str) -> Finding:
        """Return the finding of a journal that is not there at all."""
        return self._short(os.path.join(place, stem + JOURNAL_SUFFIX), 0, self._saved[stem])

    def foreign(self, place: Directory, name: str, damage: str) -> Finding:
        """Return the finding of something that stands in the place of a journal, or of all."""
        called = JOURNALS if name == JOURNALS else "journal"

        def mend() -> str:
            return "put into " + self._quarantine(place, name, called=called, reason=damage)

        file = os.path.join(place.path, name)
        what = "it would be put into quarantine"
        finding = self._finding(FindingKind.DAMAGED_JOURNAL, file, damage, what, is_damage=True)
        return self._done(finding, mend)

    def _leftover(self, journals: Directory, name: str) -> Finding:
        # The journal that was to be written anew stays in its place until the copy is whole.
        finding = self._finding(
            FindingKind.LEFTOVER,
            os.path.join(journals.path, name),
            "left over from writing a journal anew",
            "it would be removed",
        )

        def mend() -> str:
            journals.unlink(name)
            return "removed"

        return self._done(finding, mend)

    def _journal(self, journals: Directory, name: str) -> Iterator[Finding]:
        saved = self._saved.get(name.removesuffix(JOURNAL_SUFFIX), 0)
        try:
            condition = self._examine(journals, name, saved)
        except FileNotFoundError:
            return  # it was removed
        except OSError as error:
            damage = state_file.describe_damage(error)
            with suppress(FileNotFoundError):
                if damage is None and not stat.S_ISREG(journals.status(name).st_mode):
                    damage = "it is not a regular file"
            if damage is None:
                raise
            yield self.foreign(journals, name, damage)
            return
        file = os.path.join(journals.path, name)
        if condition.damage is not None:
            kept = count_of(condition.records, "record")
            finding = self._finding(
                FindingKind.DAMAGED_JOURNAL,
                file,
                condition.damage,
                f"it would be put into quarantine, and written anew with {kept} that are whole",
                is_damage=True,
            )
            mend = partial(self._keep_whole, journals, name, saved, condition)
            yield self._done(finding, mend)
            return
        if condition.torn and not self._in_use:
            finding = self._finding(
                FindingKind.TORN_JOURNAL,
                file,
                f"{count_of(condition.torn, 'byte')} of an append that never returned follow number"
                f" {condition.end.number:,}; the next holder of the session erases them, too",
                "they would be erased",
            )
            yield self._done(finding, partial(self._erase, journals, name, saved))
        if condition.end.number < saved:
            finding = self._short(file, condition.end.number, saved)
            yield self._done(finding, partial(self._write_anew, journals, name))

    def _examine(self, journals: Directory, name: str, saved: int) -> Condition:
        condition = Condition()
        for _ in range(2):
            before = condition
            file, _ = open_below(journals, name)
            reader: io.BufferedReader = io.BufferedReader(file)
            with reader:
                condition = journal_rescue.examine(reader, saved)
            if condition.damage is None or not self._in_use:
                return condition
        # Race: Reader beside an append. What looks damaged may be half a line before a whole one.
        return condition if condition == before else Condition(end=condition.end)

    # --- repair ----------------------------------------------------------------------------------

    def _keep_whole(self, journals: Directory, name: str, saved: int, condition: Condition) -> str:
        path, reason = os.path.join(journals.path, name), str(condition.damage)
        with self._locked(journals, name=name) as file, self._entry(path, reason) as entry:
            if not linked(journals, name, entry, "journal.jsonl"):
                whole = append.pieces(file, os.fstat(file.fileno()).st_size)
                replace.write_pieces(entry, "journal.jsonl", whole, is_executable=False)
            entry.flush()
            self._rewrite(journals, name, file, saved)
            kept = count_of(condition.records, "record")
            return f"written anew with {kept}; what was there is in {entry.path}"

    def _write_anew(self, journals: Directory, name: str) -> str:
        saved = self._saved[name.removesuffix(JOURNAL_SUFFIX)]
        with self._locked(journals, name=name) as file:
            self._rewrite(journals, name, file, saved)
        return "a line in it says now which records were lost"

    def _rewrite(self, journals: Directory, name: str, file: io.FileIO, saved: int) -> None:
        """Replace a journal by one with its whole records, under its lock."""
        with open(file.fileno(), "rb", closefd=False) as reader:
            whole = Rescue(reader).batches(saved)
            mtime = int(os.fstat(file.fileno()).st_mtime)
            journal_copy.replace_file(journals, name, whole, mtime=mtime)

    def _erase(self, journals: Directory, name: str, saved: int) -> str:
        with self._locked(journals, name=name) as file:
            with open(file.fileno(), "rb", closefd=False) as reader:
                condition = journal_rescue.examine(reader, saved)
            append.erase_after(file, condition.end.offset)
        return "erased"

    def _short(self, file: str, last: int, saved: int) -> Finding:
        return self._finding(
            FindingKind.SHORT_JOURNAL,
            file,
            f"it ends at number {last:,}, and the state says that {saved:,} was flushed",
            "a line in it would say which records were lost",
            is_damage=True,
        )

    def _finding(
        self, kind: FindingKind, file: str, detail: str, what: str, *, is_damage: bool = False
    ) -> Finding:
        return Finding(kind, self._session_id, file, detail, what, is_damage=is_damage)

    def _done(self, finding: Finding, mend: Callable[[], str]) -> Finding:
        return mended(finding, mend) if self._repair else finding
