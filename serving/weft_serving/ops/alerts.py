"""What an operator has to know now, in words, with what to do; named like the rules for Prometheus."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from weft.cells import words_of_cell
from weft_serving.ops.history import Minute
from weft_serving.ops.quality import Quality
from weft_serving.ops.verdicts import ALL, RARE

if TYPE_CHECKING:
    from weft.line.records import LineState

# Thresholds; deploy/prometheus/alerts.yaml has the same ones, and a test compares the names.
SHED_SHARE: Final = 0.01
SLOW_MS: Final = 1_000.0
FAULT_SHARE: Final = 0.005
UNREADABLE_SHARE: Final = 0.2
UNREADABLE_OF: Final = 50
MEMORY_SHARE: Final = 0.8
LAG_MS: Final = 250.0
SHORT_MINUTES: Final = 5
LONG_MINUTES: Final = 60


@dataclass(frozen=True, slots=True)
class Alert:
    """One thing that is wrong. `do` is one sentence; docs/watching.md has more under `name`."""

    name: str
    level: Literal["page", "ticket"]  # wake somebody, or look at it in the morning
    says: str
    do: str
    about: str = ""  # which of several: a task, a group, a line and its alarm


@dataclass(frozen=True, slots=True)
class Standing:
    """All that alerts are judged by."""

    minutes: Sequence[Minute]  # the newest last
    memory_limit_mib: float
    database_up: bool
    refused_bundles: Sequence[str]  # tasks
    quality: Quality | None
    lines: "Mapping[str, LineState]"


def find_alerts(standing: Standing) -> list[Alert]:
    """All that are on; those that wake somebody first."""
    found = [*_load(standing), *_house(standing), *_answers(standing), *_lines(standing)]
    return sorted(found, key=lambda alert: alert.level != "page")


def _load(standing: Standing) -> Iterator[Alert]:
    newest = standing.minutes[-SHORT_MINUTES:]
    requests = sum(minute.requests for minute in newest)
    refused = sum(minute.refused for minute in newest)
    faults = sum(minute.faults for minute in newest)
    if refused > SHED_SHARE * requests and refused:
        yield Alert(
            "WeftShedding",
            "page",
            f"{refused:,} of {requests:,} requests of the last {SHORT_MINUTES} minutes were refused for load",
            "Add a replica or cores; until then clients come back by themselves after Retry-After.",
        )
    slow = [minute.p99_ms for minute in newest if minute.p99_ms is not None]
    if len(slow) >= 2 and sorted(slow)[len(slow) // 2] > SLOW_MS:
        yield Alert(
            "WeftSlow",
            "ticket",
            f"one answer in a hundred takes {sorted(slow)[len(slow) // 2] / 1000:.1f} s after its last byte",
            "Compare CPU and jobs below: at full CPU add cores, at idle CPU look at the database's disk.",
        )
    if faults > FAULT_SHARE * requests and faults:
        yield Alert(
            "WeftFaults",
            "page",
            f"{faults:,} requests of the last {SHORT_MINUTES} minutes hit a fault of ours",
            'Search the log for lines with "event": "fault" and report them; roll back a new bundle.',
        )
    lags = sorted(minute.lag_ms for minute in newest)
    if len(lags) >= 2 and lags[len(lags) // 2] > LAG_MS:
        yield Alert(
            "WeftLoopLag",
            "ticket",
            f"the event loop wakes up {lags[len(lags) // 2]:.0f} ms late",
            "The machine is overbooked or swaps: give it its cores, or start fewer WEFT_WORKERS.",
        )


def _house(standing: Standing) -> Iterator[Alert]:
    if not standing.database_up:
        yield Alert(
            "WeftDatabaseAway",
            "page",
            "the database does not answer; estimates are refused with 503",
            "Look whether it is up and has room; the service goes on by itself when it answers again.",
        )
    memory = standing.minutes[-1].memory_mib if standing.minutes else 0.0
    if memory > MEMORY_SHARE * standing.memory_limit_mib:
        yield Alert(
            "WeftMemory",
            "page",
            f"{memory:,.0f} MiB of {standing.memory_limit_mib:,.0f} MiB are taken",
            "Lower WEFT_RECENT_BYTES, and WEFT_IN_FLIGHT_BYTES where it was raised; or raise the limit.",
        )
    for task in standing.refused_bundles:
        yield Alert(
            "WeftSwapFailed",
            "ticket",
            f"the last {task} bundle that came was refused; the one before it answers on",
            "The log says why; export or promote it again.",
            about=task,
        )


def _answers(standing: Standing) -> Iterator[Alert]:
    newest = standing.minutes[-LONG_MINUTES:]
    read = sum(minute.photos + minute.scans for minute in newest)
    unreadable = sum(minute.unreadable for minute in newest)
    if unreadable >= UNREADABLE_SHARE * max(read, UNREADABLE_OF):
        yield Alert(
            "WeftUnreadable",
            "ticket",
            f"{unreadable:,} photos or scans of the last hour could not be read, {read:,} could",
            "See which kind in weft_decode_errors_total: a new app or instrument sends something else.",
        )
    if standing.quality is not None:
        yield from _drift(standing.quality)
        yield from _coverage(standing.quality)


def _drift(quality: Quality) -> Iterator[Alert]:
    strangers, scans, width = quality.strangers, quality.unknown_scans, quality.width
    if strangers is not None and strangers.alarm:
        yield Alert(
            "WeftStrangePhotos",
            "ticket",
            f"{strangers.share:.0%} of the last {strangers.seen} parcels look unlike the training photos, "
            f"{strangers.expected:.1%} at most were expected",
            "Look at kept photos: another camera, another bag, another light? Weigh some and train on them.",
        )
    if width.alarm:
        yield Alert(
            "WeftWideIntervals",
            "ticket",
            f"intervals are {width.times:.1f} times as wide as when the bundle was made",
            "The same as for strange photos; a scale mark in the picture narrows them at once.",
        )
    if scans.alarm:
        yield Alert(
            "WeftUnknownScans",
            "ticket",
            f"{scans.share:.0%} of the last {scans.seen} scans are no textile the model knows, "
            f"{scans.expected or 0:.0%} were before",
            "Clean the window, take the references anew; else a new material or instrument has come.",
        )


def _coverage(quality: Quality) -> Iterator[Alert]:
    for one in quality.coverage:
        if one.alarm:
            whose = "" if one.group == ALL else f" with {words_of_cell(one.group)}"
            yield Alert(
                "WeftCoverageLow",
                "ticket",
                f"{one.covered:.0%} of {one.subjects} weighed parcels{whose} lie in their interval, "
                f"{one.nominal:.0%} should; chance alone does that less than {RARE:.1%} of the time",
                "Check the scale first, then weft harvest the weighed photos and train on them.",
                about=one.group,
            )


def _lines(standing: Standing) -> Iterator[Alert]:
    for name, state in standing.lines.items():
        for alarm in state.alarms:
            yield Alert(
                "WeftLineAlarm",
                "page",
                f"line {name}: {alarm.code.replace('-', ' ')}: {alarm.cause}",
                f"See /lines/{name}; garments go to the rest meanwhile.",
                about=f"{name} {alarm.code}",
            )
