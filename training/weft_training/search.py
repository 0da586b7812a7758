"""Search a recipe's settings: trials by Optuna over a shared database, each judged out of fold by subject.

Any number of processes and machines that reach the storage take part; one that dies leaves its trial to
another, which goes on at the last finished epoch where both see the same folder. The best of many is
flattered by having been picked: it is measured again on other splits, beside the recipe as it stood.
"""

import hashlib
import json
import multiprocessing
import os
import time
import warnings
from collections import Counter
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import optuna
from optuna.trial import FrozenTrial, Trial, TrialState

from weft.errors import RecipeError, RunError, WeftError
from weft_training.recipe import Recipe, dump_recipe
from weft_training.run import write_atomically
from weft_training.search_measure import measure_recipe, tidy
from weft_training.search_space import Space, lay_over

_RETRIES: Final = 3  # of a trial whose worker died; more, and the trial itself kills its worker
_WAIT_S: Final = 1.0  # between looks at what the other workers are about


@dataclass(frozen=True)
class Search:
    """Everything that a worker needs to take part; plain values, so that it can be sent to a process."""

    recipe: Recipe
    space: Space
    folder: Path  # of the trials' folders
    storage: str  # an URL of SQLAlchemy
    study: str
    trials: int
    heartbeat_s: int = 20  # a worker that has not been heard of for three of these is taken for dead


@dataclass(frozen=True)
class Found:
    """The best trial, and what it and the recipe as it stood give when they are measured again."""

    values: dict[str, Any]  # by path of the recipe
    figure: float  # of the best trial: flattered
    trial: int
    trials: Counter[str]  # by state
    stood: float | None  # the recipe as it stood, in the search; None where its values lie outside the space
    again: dict[int, tuple[float, float]]  # by seed: the recipe as it stood, and the best
    skipped: list[int]  # seeds whose split could not be trained on


def run_search(search: Search, *, workers: int, resume: bool) -> optuna.Study:
    """Run trials until there are as many as asked for, those of other workers included.

    Raises:
        RunError: A study of this name exists and `resume` is False, or it is of another recipe or space;
            a worker failed.
    """
    _start(search, resume=resume)
    if workers == 1:
        work(search, 0, threads=None)
    else:
        threads = max(1, (os.cpu_count() or 1) // workers)
        context = multiprocessing.get_context("spawn")  # torch's threads do not survive a fork
        processes = [
            context.Process(target=_work_apart, args=(search, number, threads)) for number in range(workers)
        ]
        for process in processes:
            process.start()
        for process in processes:
            process.join()
        failed = [process.exitcode for process in processes if process.exitcode]
        if len(failed) == len(processes):
            raise RunError(f"search {search.study}: every worker ended with an error (see above)")
        # What a dead worker left is done here.
        work(search, workers, threads=None)
    study = open_study(search)
    if not study.get_trials(states=(TrialState.COMPLETE,)):
        faults = {trial.user_attrs["fault"] for trial in study.trials if "fault" in trial.user_attrs}
        raise RunError(f"search {search.study}: no trial came to an end; {'; '.join(sorted(faults)[:3])}")
    return study


def work(search: Search, number: int, *, threads: int | None) -> None:
    """Do trials until enough are done, by whomever; wait for those that other workers are still at."""
    if threads is not None:
        import torch

        torch.set_num_threads(threads)
    optuna.logging.set_verbosity(optuna.logging.ERROR)  # a refused trial is no news
    study = open_study(search, worker=number)
    while True:
        with _experimental():
            optuna.storages.fail_stale_trials(study)
        states = Counter(_state(trial) for trial in study.get_trials(deepcopy=False))
        begun = sum(states[name] for name in ("complete", "pruned", "running", "refused"))
        if states["waiting"] or begun < search.trials:
            with _experimental():
                study.optimize(lambda trial: _try(trial, search), n_trials=1, catch=(RecipeError,))
        elif states["running"]:
            time.sleep(_WAIT_S)
        else:
            return


def _work_apart(search: Search, number: int, threads: int) -> None:
    try:
        work(search, number, threads=threads)
    except WeftError as error:
        raise SystemExit(f"worker {number}: {error}") from error


def measure_again(search: Search, study: optuna.Study, *, seeds: int) -> Found:
    """The best trial's values, measured on `seeds` other splits, as is the recipe as it stood."""
    best = study.best_trial
    values = search.space.values(best.params)
    again: dict[int, tuple[float, float]] = {}
    skipped: list[int] = []
    for seed in (search.recipe.seed + 1000 * (1 + number) for number in range(4 * seeds)):
        if len(again) == seeds:
            break
        other = search.recipe.model_copy(update={"seed": seed})
        both = {"stood": other, f"trial-{best.number}": lay_over(other, values)}
        try:
            measured = [
                measure_recipe(recipe, search.folder / f"again-{name}-{seed}", search.space.objective)
                for name, recipe in both.items()
                if name == "stood" or recipe != other  # the best may be the recipe as it stood
            ]
        except RecipeError:  # a split of few subjects may leave a fold's training without a fibre
            skipped.append(seed)
        else:
            again[seed] = (measured[0], measured[-1])
    assert best.value is not None, "a complete trial has a value"
    states = Counter(_state(trial) for trial in study.trials)
    stood = _value_as_it_stood(search, study)
    return Found(values, best.value, best.number, states, stood, again, skipped)


def open_study(search: Search, *, worker: int = 0) -> optuna.Study:
    """The study as it lies in the storage, made where there is none.

    Raises:
        RunError: The storage cannot be reached.
    """
    engine = {"connect_args": {"timeout": 100}} if search.storage.startswith("sqlite") else {}
    better = search.space.better()
    try:
        with _experimental():
            return optuna.create_study(
                storage=optuna.storages.RDBStorage(
                    search.storage,
                    engine_kwargs=engine,
                    heartbeat_interval=search.heartbeat_s,
                    grace_period=3 * search.heartbeat_s,
                    heartbeat_stale_trial_callback=optuna.storages.RetryHeartbeatStaleTrialCallback(_RETRIES),
                ),
                sampler=optuna.samplers.TPESampler(
                    # Another stream for each worker, or all would try the same at first.
                    seed=search.recipe.seed * 1000 + worker,
                    n_startup_trials=max(4, min(10, search.trials // 4)),
                ),
                pruner=optuna.pruners.MedianPruner(n_startup_trials=4),
                study_name=search.study,
                direction="minimize" if better == "minimise" else "maximize",
                load_if_exists=True,
            )
    except Exception as error:  # SQLAlchemy and its drivers raise many kinds
        raise RunError(
            f"{search.storage}: the search's storage cannot be used ({str(error).splitlines()[0][:200]}); "
            f"give an URL of SQLAlchemy, such as sqlite:///runs/search.db"
        ) from error


def _start(search: Search, *, resume: bool) -> None:
    study = open_study(search)
    asked = _asked(search)
    before = study.user_attrs.get("asked")
    if before is not None and before != asked:
        raise RunError(
            f"search {search.study}: was begun with another recipe or space; give --study a new name"
        )
    if before is not None and not resume:
        raise RunError(
            f"search {search.study}: exists already, with {len(study.trials)} trials; --resume goes on with "
            f"it or joins it, --study begins another"
        )
    study.set_user_attr("asked", asked)
    stands = search.space.stored(search.space.stands_at(search.recipe))
    fixed = [trial.system_attrs.get("fixed_params") for trial in study.trials if _state(trial) != "died"]
    if stands and stands not in fixed:
        study.enqueue_trial(stands)  # the recipe as it stands: what is found must beat that


def _try(trial: Trial, search: Search) -> float:
    values = search.space.suggest(trial)
    with _experimental():
        kept = trial.study.get_trials(deepcopy=False)[trial.number]
        retried = optuna.storages.RetryHeartbeatStaleTrialCallback.retried_trial_number(kept)
    number = trial.number if retried is None else retried  # a retry goes on in the folder of the first try

    def after_fold(done: int, figure: float) -> None:
        trial.report(figure, done)
        if trial.should_prune():
            raise optuna.TrialPruned

    folder = search.folder / f"trial-{number}"
    try:
        recipe = lay_over(search.recipe, values)
        return measure_recipe(recipe, folder, search.space.objective, after_fold=after_fold)
    except optuna.TrialPruned:
        tidy(folder)
        raise
    except RecipeError as error:  # values that do not go together
        trial.set_user_attr("fault", str(error))
        raise


def _state(trial: FrozenTrial) -> str:
    if trial.state == TrialState.FAIL:
        return "refused" if "fault" in trial.user_attrs else "died"
    return trial.state.name.lower()


def _value_as_it_stood(search: Search, study: optuna.Study) -> float | None:
    stands = search.space.stored(search.space.stands_at(search.recipe))
    if len(stands) < len(search.space.parameters):
        return None
    same = [trial for trial in study.trials if trial.params == stands and trial.state == TrialState.COMPLETE]
    return same[0].value if same else None


def _asked(search: Search) -> str:
    """Digest of all that a trial's figure hangs on; not of the machine it runs on or what is made of it."""
    recipe = search.recipe.model_dump(mode="json", exclude={"compute", "export", "track"})
    told = json.dumps([recipe, search.space.model_dump(mode="json")], sort_keys=True)
    return hashlib.sha256(told.encode()).hexdigest()


def _experimental() -> AbstractContextManager[Any]:
    """Heartbeats are experimental in Optuna since 2021; the warning would stand in every worker's output."""
    return warnings.catch_warnings(category=optuna.exceptions.ExperimentalWarning, action="ignore")


def write_best(path: Path, recipe: Recipe, values: dict[str, Any], *, said: str) -> Path:
    """The recipe with the values found, as YAML that `weft train` takes."""
    heading = "".join(f"# {line}\n" for line in said.splitlines())
    write_atomically(path, (heading + dump_recipe(lay_over(recipe, values))).encode())
    return path
