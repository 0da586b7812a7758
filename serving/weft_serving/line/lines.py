"""All lines of a service: read from their files, joined to store, plant and pages, stopped together."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from weft.bundle import Bundle
from weft.errors import LineDescriptionError, RuleError
from weft.line.description import LineDescription, read_description
from weft.line.lanes import LaneRules
from weft.line.reader import BeltReader
from weft.line.rules import read_rules, rules_from_text
from weft_serving.line.engine import LineEngine, SystemClock, Tools
from weft_serving.line.past.archive import LineArchive, Retention
from weft_serving.line.past.audit import AuditSink
from weft_serving.line.plant.outputs import Plant, open_plant
from weft_serving.line.show.live import PageSink
from weft_serving.line.stream.watch import Watcher, open_watchers
from weft_serving.settings import Settings
from weft_serving.store import Store

_FROM_FILE: Final = "file"
_SETTLE_S: Final = 5.0  # that records of an earlier run get to reach the database


class Lines:
    """The lines in service, by name. Made by `open_lines`; with none of them it does nothing."""

    def __init__(self, archive: LineArchive, plant: Plant | None, bundle: Bundle | None) -> None:
        self.engines: dict[str, LineEngine] = {}
        self.pages: dict[str, PageSink] = {}
        self.archive = archive
        self.bundle = bundle
        self._plant = plant
        self._watchers: list[Watcher] = []

    def change_rules(self, name: str, text: str, *, who: str) -> LaneRules:
        """Check rules, keep them, decide by them from the next piece on. Takes about a second.

        Raises:
            RuleError: With all that was found; the old rules stay.
            StoreError: They cannot be kept, so they are not used: every decision names rules that are kept.
        """
        engine = self.engines[name]
        rules = engine.check_rules(text)
        now = datetime.now(UTC)
        self.archive.keep_rules(name, rules.version, rules.text, now, who)
        engine.change_rules(rules)
        self._ruled(name, rules, now)
        return rules

    def start(self) -> None:
        for engine in self.engines.values():
            self._ruled(engine.description.name, engine.rules, datetime.now(UTC))
            engine.start()
        for watcher in self._watchers:
            watcher.start()

    def close(self) -> None:
        for watcher in self._watchers:
            watcher.close()
        for engine in self.engines.values():
            engine.close()
        if self._plant is not None:
            self._plant.close()

    def add(self, engine: LineEngine, store: Store, spill: Path, keep: Retention) -> None:
        """Join a line to what keeps and shows it.

        Raises:
            LineError: The plant's outbox cannot be used.
            StoreError: The database does not answer.
        """
        name = engine.description.name
        audit = AuditSink(store, name, spill=spill, alarm=engine.alarm_of("store"), keep=keep)
        engine.subscribe(audit)
        audit.settle(_SETTLE_S)
        last_number = self.archive.last_number(name)
        audit.reserve_from(last_number)
        engine.go_on_from(last_number)
        self.pages[name] = PageSink(engine.description, lambda: engine.rules, chance=engine.chance)
        engine.subscribe(self.pages[name])
        if self._plant is not None:
            lanes = (*(lane.name for lane in engine.rules.lanes), engine.rules.rest)
            for sink in self._plant.sinks(name, lanes, engine.alarm_of("plant")):
                engine.subscribe(sink)
        self.engines[name] = engine

    def watch(self, folder: Path | None, *, without_encoder: bool) -> None:
        """Feed each line from its subfolder, from `start` on. Raises StoreError where none can be made."""
        self._watchers = open_watchers(folder, self.engines, without_encoder=without_encoder)

    def _ruled(self, name: str, rules: LaneRules, at: datetime) -> None:
        if self._plant is not None:
            self._plant.ruled(name, rules.version, rules.as_json(), at)


def open_lines(settings: Settings, store: Store, bundle: Bundle | None) -> Lines:
    """Make the lines that the settings name; they run from `Lines.start` on.

    Raises:
        LineDescriptionError: A file is not a line's, or two lines have one name.
        RuleError: A file's rules cannot be decided by.
        LineError: MQTT or OPC UA cannot be used.
        StoreError: The database does not answer.
    """
    archive = LineArchive(store)
    if settings.lines is None or bundle is None:
        return Lines(archive, None, None)
    reader = BeltReader(bundle)
    read = [(path, _describe(path, reader)) for path in find_files(settings.lines)]
    names = [description.name for _, description in read]
    if twice := next((name for name in names if names.count(name) > 1), None):
        raise LineDescriptionError(f"{settings.lines}: two lines are called {twice!r}; rename one")
    chosen = [(description, _rules(path, description, reader.fibres, archive)) for path, description in read]
    lines = Lines(archive, open_plant(settings), bundle)
    keep = Retention(settings.evidence_days, settings.evidence_bytes, settings.pieces_days)
    try:
        for description, rules in chosen:
            tools = Tools(reader, SystemClock(), threads=settings.line_threads)
            spill = settings.outbox / f"{description.name}-audit.jsonl"
            lines.add(LineEngine(description, rules, tools), store, spill, keep)
        lines.watch(settings.watch, without_encoder=settings.watch_without_encoder)
    except Exception:
        lines.close()
        raise
    return lines


def find_files(place: Path) -> Sequence[Path]:
    """A line's file, or all of a folder. Raises LineDescriptionError where there is none."""
    if place.is_file():
        return [place]
    found = sorted(path for path in place.glob("*.y*ml") if re.fullmatch(r"\.ya?ml", path.suffix))
    if not found:
        raise LineDescriptionError(f"{place}: no line's YAML file is there; name one, or a folder of them")
    return found


def _describe(path: Path, reader: BeltReader) -> LineDescription:
    description = read_description(path)
    try:
        reader.check_axis(description.nir.wavelength_nm)
    except LineDescriptionError as error:
        raise LineDescriptionError(f"{path}: {error}") from error
    folder = description.references.folder
    if folder is None or folder.is_absolute():
        return description
    # As in any configuration: from where the file lies, not from where the service was started.
    placed = description.references.model_copy(update={"folder": path.parent / folder})
    return description.model_copy(update={"references": placed})


def _rules(
    path: Path, description: LineDescription, fibres: Sequence[str], archive: LineArchive
) -> LaneRules:
    """The rules in force when the service stopped, unless the file has been changed since."""
    try:
        written = read_rules(path, description, fibres)
    except RuleError as error:
        raise RuleError(f"{path}: {error}", findings=error.findings) from error
    name = description.name
    kept = archive.rules_of(name)
    if kept is not None and archive.rules_of(name, written.version) is not None:
        try:
            return rules_from_text(kept, description, fibres)
        except RuleError:  # another bundle or other ejectors: the file is what someone has looked after
            pass
    archive.keep_rules(name, written.version, written.text, datetime.now(UTC), _FROM_FILE)
    return written
