"""A run in its folder: begun or resumed, trained with checkpoints, and ended in pictures.

    with runs.begin(runs.Config(dataset="digits"), "runs/mine") as session:
        for record in runs.train(session):
            print(record.epoch, record.validation_accuracy)

A folder holds weights.safetensors (the checkpoint) and weights.previous.safetensors, config.json, metrics.jsonl,
observations.safetensors, curve.png and confusion.png; with a patience best.safetensors, too.
"""

import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from bp_torch.data.named import Split
from bp_torch.errors import CheckpointError, DivergenceError
from bp_torch.network import Network
from bp_torch.recipe import Recipe
from bp_torch.runs import best, metrics, observations, pictures
from bp_torch.runs import config as configuration
from bp_torch.runs.config import Config
from bp_torch.runs.examples import with_indices
from bp_torch.runs.folder import leave, locked, new_folder
from bp_torch.runs.preparing import prepared
from bp_torch.runs.quality import predicted_classes
from bp_torch.saving.checkpoint import newest, save
from bp_torch.state import Position, is_finite
from bp_torch.training import engines, loop
from bp_torch.training.loop import Record
from bp_torch.training.stopping import is_better

WEIGHTS = "weights.safetensors"
SECONDS_A_WRITE = 5.0  # between writes of the observations, which cost some 10 ms
SECONDS_A_STOP = 0.5  # about as long as a signal waits for the next place to stop at


@dataclass
class Status:
    """What becomes of a session: whether its context is open, whether it has been trained, and what is left to do."""

    is_open: bool = True
    trained: bool = False
    finish: Callable[[], None] = lambda: None


class Session(NamedTuple):
    """A run that is open for training; its folder is locked against other processes.

    config: with nothing left out. net: as the run has trained it until `position`; of a run with a patience that is
    over, with the weights of its best epoch. data, test: its examples. records: of the epochs until there. validation:
    what a run with a patience chooses by; None in others, whose records are of the test examples.
    """

    folder: Path
    config: Config
    net: Network
    data: Split
    test: Split
    position: Position
    records: tuple[Record, ...]
    status: Status
    validation: Split | None = None

    @property
    def recipe(self) -> Recipe:
        """That of the config as training takes it."""
        return with_indices(self.config.recipe, self.data.classes)

    @property
    def watched(self) -> Split:
        """The examples that the records' validation figures are of."""
        return self.validation or self.test

    def is_over(self, records: Sequence[Record]) -> bool:
        """Whether nothing is left to train after these epochs."""
        return best.is_over(self.config, len(records), best.best(records) if self.validation else None)


@contextmanager
def begin(config: Config, folder: str | Path | None = None) -> Iterator[Session]:
    """A new run in a folder that is new or empty (None: runs/DATASET-TIME), as a context that holds it.

    Its first checkpoint holds the weights that it starts from. Raises ValueError for a folder that can't be taken,
    DataError for data that can't be had; nothing is left in the folder then.
    """
    folder = new_folder(folder, Path(config.dataset).stem)
    with locked(folder):
        try:
            session = _at_the_start(config, folder)
        except BaseException:
            leave(folder)
            raise
        try:
            configuration.write(folder, session.config)
            save(folder / WEIGHTS, session.net, settings=session.config.settings())
        except Exception:
            leave(folder)
            raise
        with _opened(session):
            yield session


@contextmanager
def resume(folder: str | Path, config: Config | None = None) -> Iterator[Session]:
    """The run in this folder, to go on where it stopped, as a context that holds it; metrics.jsonl is cut to there.

    config: that of the folder, or the same with its data elsewhere. A run killed before its first checkpoint begins
    anew. Warns where the newest checkpoint can't be loaded, and takes the one before it. Raises ValueError where there
    is no run, the data has changed, or another process trains the run; CheckpointError where no checkpoint can be
    loaded, or it is another run's, or the metrics of an epoch before it are missing.
    """
    folder = Path(folder)
    if not (folder / configuration.FILE).is_file():
        raise ValueError(f"{folder} is not a run that training started: it has no {configuration.FILE}")
    with locked(folder):
        session = _standing(_at_the_start(config or configuration.read(folder), folder))
        with _opened(session):
            yield session


@contextmanager
def _opened(session: Session) -> Iterator[None]:
    """Closes the session at its end; where the caller left the training early, what was trained is saved first."""
    try:
        yield
        session.status.finish()
    finally:
        session.status.is_open = False


def train(session: Session, stop: Callable[[], bool] = lambda: False) -> Iterator[Record]:
    """Trains the run to its end, saves as its config says, and yields a record after every epoch.

    Where a run with a patience is over, its network and its weights.safetensors get the weights of the best epoch.

    stop: asked after every few batches; where it says so, the run is saved and ends there. Leaving the loop does the
    same, at the end of the context. Raises DivergenceError; what was learned until then stays.
    """
    if not isinstance(session, Session):
        raise ValueError("train takes an open run: with runs.begin(config, folder) as session: runs.train(session)")
    if not session.status.is_open or session.status.trained:
        raise ValueError(f"the run in {session.folder} is closed or has been trained: open it again with runs.resume")
    session.status.trained = True
    return _train(session, stop)


def _train(session: Session, stop: Callable[[], bool]) -> Iterator[Record]:
    folder, config, net, data, test, position, earlier, status, validation = session
    recipe = session.recipe
    of_a_step = recipe.batch_size * recipe.accumulate
    steps = -(-len(data.x) // of_a_step)
    between = max(1, round(config.checkpoint_every * steps))  # steps between two checkpoints
    part = min(engines.batches_in(SECONDS_A_STOP, net, of_a_step), between)
    records, saved = list(earlier), position
    lead = best.best(records) if validation else None
    written = turned = time.perf_counter()
    before = position.seconds  # of an epoch that an earlier session began
    watch = observations.start(data[:2], test[:2], recipe.epochs)
    observations.restore(watch, folder, until=position.epoch - 1)
    if position == Position():
        observations.look(watch, net, 0)

    def finish() -> None:
        status.finish = lambda: None
        if records and records[-1].position.epoch > saved.epoch:
            save(folder / WEIGHTS, net, position=records[-1].position, settings=config.settings())
        over = best.is_over(config, len(records), lead)
        if lead is not None and over and best.take(folder, net, lead.epoch):
            save(folder / WEIGHTS, net, position=Position(len(records) + 1), settings=config.settings())
        _finish(session, records, watch)

    status.finish = finish
    if best.is_over(config, len(records), lead):
        return finish()
    try:
        for record in loop.train(
            net, data[:2], validation=session.watched[:2], every=part, start=position, recipe=recipe
        ):
            here, stopping = record.position, stop()
            over = False
            if record.whole:
                records.append(record)
                if validation and is_better(record, lead, best.MONITOR):
                    lead = record
                    best.keep(folder, config, net, record.epoch)
                over = best.is_over(config, len(records), lead)
                observations.look(watch, net, record.epoch)
                if over or time.perf_counter() - written > SECONDS_A_WRITE:
                    observations.write(folder, watch, net)
                    written = time.perf_counter()
                now = time.perf_counter()
                metrics.append(folder, record, before + now - turned)  # on the disk before the checkpoint that follows
                turned, before = now, 0.0
                due = config.checkpoint_every < 1 or not record.epoch % config.checkpoint_every
                due = due or over
            elif is_finite(net):
                since = here.batch - (saved.batch if saved.epoch == here.epoch else 0)
                due = config.checkpoint_every < 1 and since >= between
            else:
                continue  # nothing to keep: at the epoch's end training names the batch and the layer
            if due or stopping:
                save(folder / WEIGHTS, net, position=here, settings=config.settings())
                saved = here
            if record.whole:
                yield record
            if stopping or over:
                break
    except DivergenceError:
        finish()
        raise
    finish()


def _finish(session: Session, records: list[Record], watch: observations.Watch) -> None:
    """The observations and the pictures."""
    folder, config, net, _, test = session[:5]
    observations.write(folder, watch, net)
    title = f"{net.sizes} {net.activations[0].name}, {net.cost_function.name}"
    drawings: list[Callable[[], None]] = []
    if test.classes:
        names = test.classes
        drawings.append(
            lambda: pictures.confusion(folder / "confusion.png", test.y, predicted_classes(net, test.x), names)
        )
    if records:
        drawings.append(lambda: pictures.curve(folder / "curve.png", records, title, config.validation))
    for draw in drawings:
        try:
            draw()
        except Exception as error:  # a picture that can't be drawn takes nothing from what was trained
            missing = (
                f"{error.name} is not installed" if isinstance(error, ImportError) else " ".join(str(error).split())
            )
            warnings.warn(f"{folder} lacks a picture: {missing}", RuntimeWarning, stacklevel=3)


def _at_the_start(config: Config, folder: Path) -> Session:
    config, net, data, test, validation = prepared(config)
    return Session(folder, config, net, data, test, Position(), (), Status(), validation)


def _standing(fresh: Session) -> Session:
    """The run as its folder has it; `fresh` is as it began."""
    folder, config = fresh.folder, fresh.config
    path = folder / WEIGHTS
    try:
        (net, position, settings, _), source = newest(path, fresh.net.layers[0].w.device)
    except FileNotFoundError:
        if (folder / metrics.FILE).exists() and (folder / metrics.FILE).stat().st_size:
            raise CheckpointError(f"{folder} has trained, and its {WEIGHTS} is gone: put it back") from None
        return fresh
    if source != path:
        warnings.warn(
            f"{path} can't be loaded: the run goes on from the one before, {source}", RuntimeWarning, stacklevel=4
        )
    saved = Config.of({"data_dir": config.data_dir, "task": config.task, **settings})  # at first it held neither
    if saved.sha256 != config.sha256:
        raise ValueError(f"{config.dataset} has changed since the run began: put back what it was trained on")
    if not config.is_same_run(saved) or net.sizes != fresh.net.sizes:
        raise CheckpointError(
            f"{source} was saved with other settings than {folder / configuration.FILE} says: put these right"
        )
    try:
        records = metrics.read(folder, position.epoch - 1)
    except ValueError as error:
        raise CheckpointError(str(error)) from error
    if [record.epoch for record in records] != list(range(1, position.epoch)):
        raise CheckpointError(
            f"{folder / metrics.FILE} does not hold epochs 1 to {position.epoch - 1}, which {source} comes after"
        )
    metrics.cut(folder, len(records))
    if net.preprocessing is None:  # of a version that did not keep it there
        net = replace(net, preprocessing=fresh.net.preprocessing)
    return fresh._replace(net=net, position=position, records=tuple(records))
