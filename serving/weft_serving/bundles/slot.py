"""One task's place in the service: what answers, what answered before, what is on trial, and their files."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import NamedTuple

from weft.bundle import Bundle, check_seal
from weft.bundle_files import challenger_of, install_bundle, previous_of, replace_file
from weft.card import Task
from weft.errors import BundleError, StoreError
from weft.stages import Stage, untold
from weft_serving.bundles.figures import BundleFigures
from weft_serving.bundles.models import BundleName, Model, Models, ServedTask, make_model, warm
from weft_serving.bundles.trial import Trial
from weft_serving.bundles.watched import WatchedFile
from weft_serving.problems import FolderError, NoOtherBundleError
from weft_serving.tables import now


@dataclass(frozen=True, slots=True)
class Refused:
    """A bundle that was to come into service and did not; what answered before still does."""

    at: datetime
    reason: str  # one sentence: what is wrong, what to do
    from_file: bool  # not sent


@dataclass(frozen=True, slots=True)
class Earlier:
    """The bundle before: its file's bytes where there are any; a model that runs takes several times more."""

    name: BundleName
    kept: bytes | Model


class SlotTools(NamedTuple):
    models: Models
    figures: BundleFigures
    stage: Stage
    open: Callable[[bytes, str, Task], Bundle]


class Slot:
    """Every method that changes something runs in the one thread of `Changes`; reading is safe anywhere."""

    def __init__(self, task: ServedTask, tools: SlotTools, file: Path | None, trial: Trial) -> None:
        self.task: ServedTask = task
        self.trial = trial
        self.file = file
        self.since = now()
        self.earlier: Earlier | None = None
        self.refused: Refused | None = None
        self._tools = tools
        self._watched = None if file is None else WatchedFile(file)
        self._on_trial = None if file is None else WatchedFile(challenger_of(file))
        self._at_restart: str | None = self.current.bundle.sha256
        tools.figures.serving(task, self.current.name)

    @property
    def current(self) -> Model:
        return self._tools.models.of(self.task)

    @property
    def previous(self) -> BundleName | None:
        """What `rollback` brings back."""
        return None if self.earlier is None else self.earlier.name

    @property
    def kept(self) -> bool:
        """Whether a restart would take what is in service."""
        return self._at_restart == self.current.bundle.sha256

    def files_changed(self) -> bool:
        """Asked at every look, so that both files settle."""
        looks = [file.has_changed() for file in (self._watched, self._on_trial) if file is not None]
        self._news = looks
        return any(looks)

    def take_files(self) -> None:
        """Take up what somebody put into the folder; a fault is told and changes nothing."""
        if self._watched is None or self._on_trial is None:
            return
        served, challenger = self._news
        if served:
            self._attempt(self._watched, self._take_served)
        if challenger:
            self._attempt(self._on_trial, self._take_challenger)

    def install(self, data: bytes, source: str) -> bool:
        """Bring a bundle into service, and into the folder for the next start, both or neither.

        Returns:
            False where this very bundle is in service already: `previous` stays what it is.

        Raises:
            BundleError: Its seal, graph, card, task or proof does not hold.
            FolderError: It cannot be kept.
        """
        try:
            sha256 = check_seal(data, source=source)
            model = None if self._serves(sha256) else self._load(data, source, self._tools.stage)
        except BundleError as error:
            self.refuse(error)
            raise
        self._keep(data, sha256)
        if model is None:
            self._accept()
            return False
        self._swap(model, "posted")
        return True

    def rollback(self) -> None:
        """Back to the bundle before this one; a second call comes back. Raises NoOtherBundleError."""
        earlier = self._kept_earlier()
        if isinstance(earlier, bytes):
            model = self._load(earlier, "the bundle before", self._tools.stage)
            with suppress(FolderError):  # going back must not wait for a disk; `kept` tells
                self._keep(earlier, model.bundle.sha256)
        else:
            model = earlier
        self._swap(model, "rolled back")

    def challenge(self, data: bytes, source: str) -> None:
        """Put a bundle on trial: it sees live photos or scans and answers nobody.

        Raises:
            BundleError: Its seal, graph, card, task or proof does not hold.
            FolderError: It cannot be kept for the next start.
        """
        try:
            model = self._load(data, source, untold)
        except BundleError as error:
            self.refuse(error)
            raise
        if self._on_trial is not None:
            _write(replace_file, self._on_trial.path, data)
            self._on_trial.remember(model.bundle.sha256)
        self._begin_trial(model)

    def end_trial(self) -> None:
        """Let the challenger go. Raises NoOtherBundleError where there is none."""
        name = self._challenger().name
        self._forget_challenger()
        self._tools.figures.changed(self.task, "trial ended", name)

    def promote_challenger(self) -> bool:
        """Bring the challenger into service and end the trial; False where it is in service already.

        Raises:
            NoOtherBundleError: None is on trial.
            FolderError: It cannot be kept, or its file is another one by now.
        """
        challenger = self._challenger()
        sha256 = challenger.bundle.sha256
        if self.file is not None:
            data = _sealed_as(challenger_of(self.file), sha256)
            if data is None:
                raise FolderError(
                    f"{challenger_of(self.file).name} is not the bundle on trial any more; wait for it to be "
                    "taken up, or post it again"
                )
            self._keep(data, sha256)
        if self._serves(sha256):
            self.end_trial()
            return False
        self._swap(make_model(challenger.bundle, self._tools.stage), "challenger promoted")
        self._forget_challenger()
        return True

    def _take_served(self, file: WatchedFile) -> None:
        self._at_restart = None  # until it is known that it would load
        if not file.exists:
            raise BundleError(
                f"{file.path.name} is gone; what was loaded answers until a restart: put a bundle there"
            )
        data, sha256 = file.read()
        if not self._serves(sha256):
            model = self._load(data, file.path.name, self._tools.stage)
            self._swap(model, "file replaced")
        elif self.refused is not None and self.refused.from_file:
            self._accept()  # somebody has put the good one back
        self._at_restart = sha256

    def _take_challenger(self, file: WatchedFile) -> None:
        if not file.exists:
            if self.trial.challenger is not None:
                self.end_trial()
            return
        data, sha256 = file.read()
        if self.trial.challenger is None or self.trial.challenger.bundle.sha256 != sha256:
            self._begin_trial(self._load(data, file.path.name, untold))

    def _attempt(self, file: WatchedFile, take: Callable[[WatchedFile], None]) -> None:
        try:
            take(file)
        except BundleError as error:
            self.refuse(error, from_file=True)

    def _load(self, data: bytes, source: str, stage: Stage) -> Model:
        model = make_model(self._tools.open(data, source, self.task), stage)
        try:
            warm(model)
        except Exception as error:  # onnxruntime raises bare exceptions of several private types
            raise BundleError(
                f"{source}: its proof holds, but it cannot answer on an input of usual size "
                f"({type(error).__name__}); export it again"
            ) from error
        return model

    def _swap(self, model: Model, how: str) -> None:
        old = self.current  # it goes when its last request has been answered
        self._tools.models.swap(model)
        self.earlier = Earlier(old.name, self._file_of(old) or old)
        self.since = now()
        self._accept()
        self._tools.figures.serving(self.task, model.name)
        self._tools.figures.changed(self.task, how, model.name)

    def _serves(self, sha256: str) -> bool:
        return sha256 == self.current.bundle.sha256

    def _keep(self, data: bytes, sha256: str) -> None:
        """Into the file. Beside it goes what is in service, and nothing that never was."""
        if self.file is None or self._watched is None:
            return
        try:
            _, held = self._watched.read()
        except BundleError:
            held = None
        if held != sha256:
            served = held is not None and self._serves(held)
            _write(install_bundle if served else replace_file, self.file, data)
        self._watched.remember(sha256)
        self._at_restart = sha256

    def _begin_trial(self, model: Model) -> None:
        self.trial.begin(model)
        self._accept()
        self._tools.figures.changed(self.task, "on trial", model.name)

    def _challenger(self) -> Model:
        challenger = self.trial.challenger
        if challenger is None:
            raise NoOtherBundleError(f"no bundle for {self.task} is on trial; post one as challenger first")
        return challenger

    def _forget_challenger(self) -> None:
        self.trial.end()
        if self._on_trial is not None:
            with suppress(OSError):  # a folder that only others write: theirs to clear
                self._on_trial.path.unlink(missing_ok=True)
                self._on_trial.forget()

    def _kept_earlier(self) -> bytes | Model:
        if self.earlier is not None:
            return self.earlier.kept
        # After a restart: what the folder keeps beside the file.
        data = None if self.file is None else _sealed_as(previous_of(self.file), None)
        if data is None or self._serves(check_seal(data, source="the bundle before")):
            raise NoOtherBundleError(
                f"no other bundle for {self.task} has been in service here; post the one you want"
            )
        return data

    def _file_of(self, model: Model) -> bytes | None:
        """The bundle of a model as some file has it."""
        places = [Path(model.bundle.source)] if self.file is None else [previous_of(self.file), self.file]
        found = (_sealed_as(place, model.bundle.sha256) for place in places)
        return next((data for data in found if data is not None), None)

    def _accept(self) -> None:
        self.refused = None
        self._tools.figures.refused.labels(self.task).set(0)

    def refuse(self, error: BundleError, *, from_file: bool = False) -> None:
        """What came is not used; say so until something better comes."""
        self.refused = Refused(now(), str(error), from_file)
        self._tools.figures.was_refused(self.task, str(error))


def _sealed_as(path: Path, sha256: str | None) -> bytes | None:
    """The file's content, if its seal holds and is this one; None asks for any."""
    try:
        data = path.read_bytes()
        found = check_seal(data, source=path.name)
    except (OSError, BundleError):
        return None
    return data if sha256 is None or found == sha256 else None


def _write(how: Callable[[Path, bytes], None], path: Path, data: bytes) -> None:
    try:
        how(path, data)
    except StoreError as error:
        raise FolderError(
            f"{path.name} cannot be written, so nothing has changed; make the folder of bundles writable for "
            "the server, or start it without one to keep bundles in memory only"
        ) from error
