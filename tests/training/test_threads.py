"""How many threads a training runs on, and trainings in several threads at once."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Thread

import pytest
import torch
from jobs import job

import bp_torch as bp
from bp_torch.runs.config import Config
from bp_torch.training import engines
from bp_torch.training.engines.native import source
from bp_torch.training.job import Job, Run

SMALL, LARGE = [20, 6], [2000, 2000, 6]


@pytest.fixture(autouse=True)
def users_number() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    assert torch.get_num_threads() == 2
    torch.set_num_threads(before)


def data(sizes: list[int], m: int = 20) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.full((m, sizes[0]), 0.1), torch.full((m, sizes[-1]), 0.5)


def recorded(monkeypatch: pytest.MonkeyPatch, name: str) -> list[int]:
    """The numbers of threads that the steps of this engine run on; the eager one runs them."""
    seen: list[int] = []
    eager = engines.ENGINES["eager"]

    def build(job: Job) -> Run:
        run = eager.build(job)
        return lambda steps: (seen.append(torch.get_num_threads()), run(steps))[1]

    monkeypatch.setitem(engines.ENGINES, name, eager._replace(build=build))
    monkeypatch.setattr(engines, "choose", lambda job: "eager")
    return seen


@pytest.mark.parametrize("engine", ["auto", "eager", "native", "compiled"])
def test_threads_are_chosen_by_size_whatever_the_engines_name(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded(monkeypatch, "eager" if engine == "auto" else engine)
    for sizes in (SMALL, LARGE):
        for _ in bp.train(bp.Network.create(sizes), data(sizes), epochs=1, batch_size=10, engine=engine):
            assert torch.get_num_threads() == 2  # what the user's own code sees
    assert seen == [1, 2]


@pytest.mark.parametrize("engine", ["auto", "eager", "native"])
def test_threads_that_are_named_count_whatever_the_size(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = recorded(monkeypatch, "eager" if engine == "auto" else engine)
    for sizes, count in ((SMALL, 2), (LARGE, 1), (SMALL, 3)):
        net = bp.Network.create(sizes)
        list(bp.train(net, data(sizes), epochs=1, batch_size=10, engine=engine, threads=count))
    assert seen == [2, 1, 3]


@pytest.mark.parametrize(("m", "named", "count"), [(20, None, 1), (200_000, None, 2), (20, 2, 2)])
def test_validation_runs_on_threads_by_its_own_size(m: int, named: int | None, count: int) -> None:
    seen: dict[int, set[int]] = {}
    own = bp.Activation(
        "own",
        lambda z: (seen.setdefault(len(z), set()).add(torch.get_num_threads()), z.tanh())[1],
        lambda z, a: 1 - a * a,
    )
    net = bp.Network.create([60, 80, 6], hidden=own)
    recipe = bp.Recipe(epochs=1, batch_size=10, engine="eager", threads=named)
    list(bp.train(net, data([60, 6], 30), validation=data([60, 6], m), recipe=recipe))
    assert (seen[10], seen[max(seen)]) == ({named or 1}, {count})


@pytest.mark.parametrize("end", ["abandoned", "closed", "diverged"])
def test_the_users_number_holds_between_epochs_and_after(end: str) -> None:
    net = bp.Network.create(SMALL, hidden="relu")
    training = bp.train(net, data(SMALL), epochs=3, batch_size=10, engine="eager")
    next(training)
    assert torch.get_num_threads() == 2
    if end == "closed":
        training.close()  # pyright: ignore[reportAttributeAccessIssue]
    elif end == "diverged":
        net.layers[0].w.fill_(torch.nan)
        with pytest.raises(bp.DivergenceError):
            next(training)
    else:
        del training
    assert torch.get_num_threads() == 2


@pytest.mark.parametrize("count", [0, -1, 1.5, True, "2", 1025, 10**30])
def test_a_number_of_threads_that_can_not_be_is_refused(count: object) -> None:
    with pytest.raises(ValueError, match="threads must be "):
        bp.Recipe(threads=count)  # pyright: ignore[reportArgumentType]


def test_a_runs_folder_keeps_the_number_of_threads() -> None:
    config = Config.of({"dataset": "digits", "threads": 2})
    assert config.recipe.threads == 2
    assert Config.of(config.settings()) == config


def costs(seed: int, engine: str = "native") -> list[float]:
    """Of a training whose step is recorded anew: an own function is not remembered."""
    own = bp.Activation("own", lambda z: z.tanh(), lambda z, a: 1 - a * a)
    generator = torch.Generator().manual_seed(seed)
    x, y = torch.rand(50, 8, generator=generator), torch.randint(0, 3, (50,), generator=generator)
    net = bp.Network.create([8, 5, 3], hidden=own, seed=seed)
    return [record.cost for record in bp.train(net, (x, y), epochs=2 + seed % 3, engine=engine, validation=(x, y))]


@pytest.mark.parametrize("engine", ["eager", "native", "auto"])
def test_trainings_in_several_threads_are_those_in_turn(engine: str) -> None:
    module = torch.nn.Module.__call__, torch.nn.Module.__getattr__
    in_turn = [costs(seed, engine) for seed in range(12)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(lambda seed: costs(seed, engine), range(12))) == in_turn
        assert set(pool.map(lambda _: torch.get_num_threads(), range(8))) == {2}
    assert (torch.nn.Module.__call__, torch.nn.Module.__getattr__) == module


def test_a_step_that_several_threads_need_is_recorded_once(monkeypatch: pytest.MonkeyPatch) -> None:
    sizes, record = [], source.record_step
    monkeypatch.setattr(source, "record_step", lambda kind, m: sizes.append(m) or record(kind, m))
    nets = [bp.Network.create([9, 7, 3], seed=seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda net: list(bp.train(net, data([9, 3]), epochs=1, engine="native")), nets))
    assert len(sizes) == 1


def test_a_thread_that_begins_during_a_training_has_the_users_number() -> None:
    seen: list[int] = []

    def f(z: torch.Tensor) -> torch.Tensor:
        thread = Thread(target=lambda: seen.append(torch.get_num_threads()))
        thread.start()
        thread.join()
        return z.tanh()

    net = bp.Network.create([20, 6, 6], hidden=bp.Activation("own", f, lambda z, a: 1 - a * a))
    list(bp.train(net, data(SMALL), epochs=1, engine="eager"))
    assert set(seen) == {2}


def test_auto_takes_native_where_the_run_as_a_whole_is_shorter_by_it() -> None:
    """As measured on the digits: an eager step of [64, 30, 10] takes 50 µs and more, a native one 7."""
    net = bp.Network.create([64, 30, 10])
    assert engines.choose(job(net, 1437, epochs=50)) == "native"
    assert engines.choose(job(net, 1437, epochs=10)) == "eager"


def test_what_auto_takes_does_not_depend_on_what_was_built_before() -> None:
    net = bp.Network.create([64, 30, 10])
    small = job(net, bp.data.digits("train"), epochs=2)
    before = engines.choose(small)
    engines.ENGINES["native"].build(job(net, data([64, 10]), epochs=2))
    assert engines.choose(small) == before == "eager"
