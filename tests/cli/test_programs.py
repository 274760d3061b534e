"""The command-line programs, run as a user runs them."""

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from PIL import Image, ImageOps
from programs import call

import bp_torch as bp
from bp_torch.cli.main import ends
from bp_torch.data import named, picture
from bp_torch.runs import config as configuration

ROOT = Path(__file__).parent.parent.parent


def run(
    script: str, *arguments: object, cwd: Path = ROOT, python: tuple[str, ...] = ()
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *python, str(ROOT / "scripts" / script), *map(str, arguments)]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A run on the digits with the defaults: its folder, and what was printed."""
    out = tmp_path_factory.mktemp("runs") / "digits"
    done = run("train.py", "--dataset", "digits", "--out", out)
    assert done.returncode == 0, done.stderr
    return out, done.stdout


def test_training_ends_in_a_run_folder_and_a_summary(trained: tuple[Path, str]) -> None:
    out, printed = trained
    names = ["config.json", "confusion.png", "curve.png", "metrics.jsonl", "observations.safetensors"]
    names += ["weights.previous.safetensors", "weights.safetensors"]
    assert sorted(path.name for path in out.iterdir()) == names
    config = json.loads((out / "config.json").read_text())
    assert (config["sizes"], config["lr"], config["init"], config["seed"]) == ([64, 30, 10], 3.0, None, 0)
    metrics = [json.loads(line) for line in (out / "metrics.jsonl").read_text().splitlines()]
    assert [record["epoch"] for record in metrics] == list(range(1, 31))
    best = max(record["validation_accuracy"] for record in metrics)
    assert best >= 0.96
    assert f"At the end, on the 360 test examples: accuracy {metrics[-1]['validation_accuracy']:.2%}" in printed
    told = f", accuracy {best:.2%}: it is the best on these very examples, which flatters it"
    assert ("no epoch before was better" if metrics[-1]["validation_accuracy"] == best else told) in printed
    assert str(out / "curve.png") in printed
    for name in ("curve.png", "confusion.png"):
        with Image.open(out / name) as picture:
            assert picture.width > 400
    assert bp.load(out / "weights.safetensors").accuracy(*bp.data.digits("test")) == metrics[-1]["validation_accuracy"]


def test_the_same_command_gives_the_same_weights(trained: tuple[Path, str], tmp_path: Path) -> None:
    run("train.py", "--dataset", "digits", "--out", tmp_path / "again")
    first, again = (bp.load(out / "weights.safetensors") for out in (trained[0], tmp_path / "again"))
    for one, other in zip(first.layers, again.layers, strict=True):
        assert torch.equal(one.w, other.w)
        assert torch.equal(one.b, other.b)


def test_predict_evaluates_on_the_runs_own_data_set(trained: tuple[Path, str]) -> None:
    done = run("predict.py", trained[0])
    accuracy = bp.load(trained[0] / "weights.safetensors").accuracy(*bp.data.digits("test"))
    assert f"digits, 360 test digits: accuracy {accuracy:.2%}" in done.stdout


def test_predict_reads_images(trained: tuple[Path, str], tmp_path: Path) -> None:
    """An image of the data set's own size is taken as it is, dark on light as well."""
    x, _ = bp.data.digits("test")
    net = bp.load(trained[0] / "weights.safetensors")
    paths = []
    for i in range(3):
        image = Image.frombytes("L", (8, 8), bytes((x[i] * 255).round().to(torch.uint8).tolist()))
        image.save(tmp_path / f"{i}-light.png")
        ImageOps.invert(image).save(tmp_path / f"{i}-dark.png")
        paths += [tmp_path / f"{i}-light.png", tmp_path / f"{i}-dark.png"]
    lines = run("predict.py", trained[0], *paths).stdout.splitlines()
    for line, path, i in zip(lines, paths, [0, 0, 1, 1, 2, 2], strict=True):
        digit, sure = int(net.predict(x[i : i + 1])), net.forward(x[i : i + 1]).a[-1].max().item()
        assert line.startswith(f"{path}: {digit}  (0: ")
        shares = {int(d): float(share) / 100 for d, share in re.findall(r"(\d): ([\d.]+)%", line.split("(")[1])}
        assert shares[digit] == pytest.approx(sure, abs=0.01)


@pytest.mark.parametrize("ink", [255, 0])
def test_a_larger_image_is_cut_scaled_and_centred(tmp_path: Path, ink: int) -> None:
    """As MNIST was made: the digit in a box of 20 pixels, its centre of mass in the middle."""
    image = Image.new("L", (200, 120), 255 - ink)
    image.paste(ink, (150, 20, 170, 100))  # a bar of 20 × 80, off the middle
    image.save(tmp_path / "one.png")
    square = picture(tmp_path / "one.png", 28).view(28, 28)
    assert square.max() == 1
    rows, columns = square.nonzero().unbind(1)
    assert (rows.min(), rows.max()) == (4, 23)
    assert square.sum(1).tolist() == pytest.approx([0] * 4 + [5] * 20 + [0] * 4, abs=0.01)  # 5 wide, edges in mid-pixel
    weighted = square.sum(0).double() @ torch.arange(28, dtype=torch.float64) / square.sum()
    assert weighted.item() == pytest.approx(13.5, abs=0.1)
    assert columns.max() - columns.min() + 1 in (5, 6)


def test_a_divergence_ends_with_1_and_keeps_the_run(tmp_path: Path) -> None:
    diverging = ["--activation", "identity", "--cost", "softmax_cross_entropy", "--lr", 1e30]
    done = run("train.py", "--dataset", "digits", *diverging, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert "Training stopped in epoch" in done.stderr
    assert "Traceback" not in done.stderr
    kept = f"The run in {tmp_path / 'run'} keeps the weights from the start of epoch 1. Start a new run with a smaller"
    assert f"{kept} --lr than 1e+30" in done.stderr
    assert "net.layers" not in done.stderr
    net = bp.load(tmp_path / "run" / "weights.safetensors")
    assert all(t.isfinite().all() for layer in net.layers for t in layer)


BAD = [
    (["--hidden", "3O"], "--hidden must list whole numbers"),
    (["--hidden", "0"], "layer size must be a whole number of at least 1"),
    (["--hidden", "9" * 20], "layer size must be a whole number of at most 2**63 - 1"),
    (["--epochs", "9" * 20], "--epochs must be a whole number of at most 2**63 - 1"),
    (["--batch-size", "9" * 20], "--batch-size must be a whole number of at most 2**63 - 1"),
    (["--activation", "sigmoyd"], "unknown activation 'sigmoyd': choose one of identity, sigmoid"),
    (["--cost", "mse"], "unknown cost 'mse': choose one of quadratic"),
    (["--init", "zeros"], "unknown init 'zeros': choose one of normal"),
    (["--epochs", "0"], "--epochs must be a whole number of at least 1"),
    (["--batch-size", "0"], "--batch-size must be a whole number of at least 1"),
    (["--lr", "0"], "--lr must be a positive, finite number"),
    (["--lr", "nan"], "--lr must be a positive, finite number"),
    (["--seed", "-1"], "--seed must be a whole number from 0"),
    (["--device", "cuda:99"], "use 'cpu'"),
    (["--device", "tpu"], "unknown device 'tpu'"),
    (["--dataset", "cifar"], "unknown dataset 'cifar': choose one of mnist, digits"),
    (["--dtype", "int8"], "unknown dtype 'int8': choose one of float32"),
    (["--engine", "persistent"], ": --engine persistent needs CUDA and Triton: use --engine auto"),
    (["--engine", "graph"], "on the CPU: use --engine native or --engine eager"),
    (["--engine", "native", "--dtype", "bfloat16"], "is for CPUs, float32 or float64, and --precision dtype: use"),
    (["--precision", "tf32"], ": --precision tf32 is not for this cpu device: use --precision dtype"),
    (["--precision", "tf32", "--dtype", "float64"], "and this one is of float64: use --precision dtype"),
    (["--out", "{full}"], "is not empty"),
    (["--out", "{full}/file"], "is a file"),
    (["--out", "{full}/file/run"], "can't be written"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_input_is_one_sentence_and_exit_code_2(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    arguments: list[str],
    message: str,
) -> None:
    full = tmp_path / "full"
    full.mkdir()
    (full / "file").touch()
    out = [] if "--out" in arguments else ["--out", str(tmp_path / "run")]
    filled = [argument.format(full=full) for argument in arguments]
    assert call("train", "--dataset", "digits", *filled, *out) == 2
    printed = capsys.readouterr()
    assert message in printed.err.splitlines()[-1]
    assert printed.out == ""
    assert sorted(tmp_path.iterdir()) == [full]


def test_bad_input_is_refused_without_assertions_too() -> None:
    """Labels, widths, types, sizes and devices under python -O: a ValueError in one sentence, before any step."""
    code = """
import torch, bp_torch as bp
net = bp.Network.create([5, 10])
before = net.layers[0].w.clone()
x, y = torch.zeros(6, 5), torch.zeros(6, dtype=torch.int64)
bad = [(x, torch.full((6,), label)) for label in (-1, 10, 0.5)]
bad += [(torch.zeros(6, 4), y), (x.long(), y), (x[:0], y[:0]), (x.to("meta"), y), (x, y[:5])]
calls = [lambda pair=pair: bp.train(net, pair) for pair in bad]
calls += [lambda size=size: bp.train(net, (x, y), batch_size=size) for size in (0, -1, 2.5)]
for call in calls:
    try:
        call()
    except ValueError as error:
        if "\\n" not in str(error) and torch.equal(net.layers[0].w, before):
            continue
    raise SystemExit(1)
print(len(calls), __debug__)
"""
    done = subprocess.run([sys.executable, "-O", "-c", code], capture_output=True, text=True, check=False)
    assert done.stdout == "11 False\n", done.stderr


def test_mnist_that_cant_be_had_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("in the way of the folder")
    done = run("train.py", "--out", tmp_path / "run", cwd=tmp_path)
    assert done.returncode == 2
    assert "python scripts/train.py --dataset digits" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(("run_folder", "message"), [("nowhere", "is not a run folder"), (".", "is not a run folder")])
def test_predict_refuses_what_is_not_a_run(tmp_path: Path, run_folder: str, message: str) -> None:
    done = run("predict.py", tmp_path / run_folder)
    assert done.returncode == 2
    assert message in done.stderr


def test_predict_refuses_what_is_not_an_image(trained: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("seven")
    done = run("predict.py", trained[0], tmp_path / "text.png")
    assert done.returncode == 2
    assert "can't be read as an image" in done.stderr


@pytest.mark.parametrize("script", ["train.py", "predict.py", "report.py", "experiments.py"])
def test_help_has_an_example(script: str) -> None:
    done = run(script, "--help")
    assert done.returncode == 0
    assert f"examples:\n  python {ROOT / 'scripts' / script}" in done.stdout


def test_check_shows_the_gradients_errors_first(tmp_path: Path) -> None:
    done = run("train.py", "--dataset", "digits", "--epochs", 1, "--check", "--out", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    table, _, rest = done.stdout.partition("epoch 1/1")
    errors = [float(line.split()[-1]) for line in table.splitlines() if "differences" in line]
    assert len(errors) == 4
    assert max(errors) < 1e-6
    assert rest


@pytest.mark.parametrize("hidden", ["99999999999999", "3000000000000000000"])
def test_what_memory_does_not_hold_is_one_sentence_and_exit_code_1(tmp_path: Path, hidden: str) -> None:
    done = run("train.py", "--dataset", "digits", "--hidden", hidden, "--out", tmp_path / "run")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "memory does not hold a network or batch of this size: use smaller --hidden or --batch-size" in done.stderr
    assert not (tmp_path / "run").exists()


def test_a_memory_error_ends_in_one_sentence_and_other_runtime_errors_do_not(
    capsys: pytest.CaptureFixture[str],
) -> None:
    def failing(error: Exception) -> int:
        raise error

    with pytest.raises(SystemExit) as ended:
        ends("train.py", lambda: failing(MemoryError()))
    assert ended.value.code == 1
    assert "memory does not hold" in capsys.readouterr().err
    with pytest.raises(RuntimeError, match="a bug"):
        ends("train.py", lambda: failing(RuntimeError("a bug")))


CONFIGS: list[tuple[object, str]] = [
    ([], "it names no data set"),
    ({}, "it names no data set"),
    ({"dataset": 3}, "it names no data set"),
    ({"dataset": "cifar"}, "unknown dataset 'cifar'"),
    *(
        ({"dataset": "digits", name: 3}, f"{name} is 3, not text")
        for name in ("data_dir", "target", "hidden", "activation", "cost", "init", "engine", "precision", "device")
    ),
    *(
        ({"dataset": "digits", name: value}, f"{name} is {value!r}, not a whole number")
        for name in ("epochs", "batch_size", "seed")
        for value in ("3", 1.5, True, [3])
    ),
    ({"dataset": "digits", "lr": "3"}, "lr must be a number or a schedule, and '3' is none"),
    ({"dataset": "digits", "checkpoint_every": {}}, "checkpoint_every is {}, not a number"),
    ({"dataset": "digits", "dtype": "int8"}, "unknown dtype 'int8'"),
    ({"dataset": "digits", "dtype": ["float32"]}, "dtype is ['float32'], not text"),
    ({"dataset": "digits", "classes": "ab"}, "classes is 'ab', not a list"),
    ({"dataset": "digits", "classes": ["a", None]}, "classes holds what is no name"),
    ({"dataset": "digits", "versions": [1]}, "versions is [1], not names with values"),
]


@pytest.mark.parametrize(("config", "message"), CONFIGS, ids=[message for _, message in CONFIGS])
def test_a_damaged_config_is_said_to_be(tmp_path: Path, config: object, message: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(json.dumps(config))
    with pytest.raises(ValueError, match=re.escape(f"{path} is damaged: {message}")):
        configuration.read(tmp_path)


def test_a_config_of_few_keys_is_read(tmp_path: Path) -> None:
    for settings in (
        {"dataset": "my.csv", "target": "kind"},
        {"dataset": "mnist", "lr": 3, "init": None, "dtype": None},
    ):
        (tmp_path / "config.json").write_text(json.dumps(settings))
        config = configuration.read(tmp_path)
        assert config.dataset == settings["dataset"]
        assert (config.dtype, config.recipe.epochs) == ("float32", 30)


def test_predict_says_that_a_config_is_damaged(
    trained: tuple[Path, str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("weights.safetensors", "config.json"):
        (tmp_path / name).write_bytes((trained[0] / name).read_bytes())
    for damage in (b"", b"{", b"[]", b'{"dataset": "digits", "data_dir": 3}', b"\xff", b"[" * 100_000):
        (tmp_path / "config.json").write_bytes(damage)
        assert call("predict", tmp_path) == 2
        assert "config.json is damaged: " in capsys.readouterr().err


def test_another_data_set_that_does_not_fit_is_named(trained: tuple[Path, str], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("a,kind\n" + "".join(f"{i},{'xy'[i % 2]}\n" for i in range(40)))
    settings = json.loads((trained[0] / "config.json").read_text())
    shutil.copytree(trained[0], tmp_path / "run")
    moved = {**settings, "dataset": str(tmp_path / "t.csv"), "sha256": named.checksum(tmp_path / "t.csv")}
    (tmp_path / "run" / "config.json").write_text(json.dumps({**moved, "target": "kind"}))
    done = run("predict.py", tmp_path / "run")
    assert done.returncode == 2
    assert f"t.csv has 1 inputs, and {tmp_path / 'run'} was trained on 64" in done.stderr
