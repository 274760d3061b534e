"""train.py and predict.py on every kind of data set: the network's sizes follow the data, and bad data makes no run."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from idxfiles import compressed, examples, files, idx_bytes, resources, serving, write
from matplotlib.figure import Figure
from PIL import Image
from programs import call
from torchvision import datasets

import bp_torch as bp
from bp_torch import runs
from bp_torch.runs import Config, pictures
from bp_torch.trace import Trace

Program = Callable[..., tuple[int, str, str]]


@pytest.fixture
def program(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Program:
    """Runs a program with its arguments in tmp_path: exit code, standard output, the last line of standard error."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: object) -> tuple[int, str, str]:
        code = call(command, *arguments)
        printed = capsys.readouterr()
        return code, printed.out, (printed.err.splitlines() or [""])[-1]

    return run


def sizes(run: Path) -> list[int]:
    return json.loads((run / "config.json").read_text())["sizes"]


def flowers(path: Path, rows: int = 60) -> Path:
    lines = [f"{k % 3},{k % 3 * 2 + k / 100},{('rose', 'aster', 'iris')[k % 3]}" for k in range(rows)]
    path.write_text("\n".join(["length,width,kind", *lines]))
    return path


def test_a_table_with_classes(program: Program, tmp_path: Path) -> None:
    flowers(tmp_path / "flowers.csv")
    code, out, err = program("train", "--dataset", "flowers.csv", "--target", "kind", "--hidden", "5", "--out", "run")
    assert code == 0, err
    assert sizes(tmp_path / "run") == [2, 5, 3]
    assert "kind: 3 classes, aster, iris, rose; 48 rows to train on, 12 to test" in out
    assert json.loads((tmp_path / "run" / "config.json").read_text())["classes"] == ["aster", "iris", "rose"]
    x, y = bp.data.table("flowers.csv", target="kind").test
    accuracy = bp.load(tmp_path / "run" / "weights.safetensors").accuracy(x, y)
    assert accuracy == 1
    assert f"At the end, on the 12 test examples: accuracy {accuracy:.2%}" in out


def test_predict_finds_the_table_again_from_another_folder(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    flowers(tmp_path / "flowers.csv")
    program("train", "--dataset", "flowers.csv", "--target", "kind", "--epochs", 2, "--out", "run")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, out, err = program("predict", "../run")
    assert code == 0, err
    assert "12 test examples: accuracy" in out
    shutil.move(tmp_path / "flowers.csv", "moved.csv")
    code, _, err = program("predict", "../run")
    assert code == 2
    assert "there is no file" in err
    assert program("predict", "../run", "--dataset", "moved.csv")[1].split(": ")[1] == out.split(": ")[1]


def test_predict_refuses_a_table_that_has_changed(program: Program, tmp_path: Path) -> None:
    """Its test rows would be others, some of which the network has been trained on."""
    flowers(tmp_path / "flowers.csv")
    program("train", "--dataset", "flowers.csv", "--target", "kind", "--epochs", 1, "--out", "run")
    flowers(tmp_path / "flowers.csv", rows=61)
    code, out, err = program("predict", "run")
    assert (code, out) == (2, "")
    assert "is no longer, the table that run was trained on" in err


def test_a_real_valued_target_takes_identity_and_quadratic(program: Program, tmp_path: Path) -> None:
    rows = [f"{k % 10},{k // 10},{1000 + 3 * (k % 10) - 5.5 * (k // 10)}" for k in range(100)]
    (tmp_path / "prices.tsv").write_text("\n".join(["a,b,price", *rows]).replace(",", "\t"))
    code, out, err = program("train", "--dataset", "prices.tsv", "--target", "price", "--out", "run", "--check")
    assert code == 0, err
    assert sizes(tmp_path / "run") == [2, 30, 1]
    assert "price: real-valued; 80 rows to train on, 20 to test" in out
    assert "At the end, on the 20 test examples: root mean square error " in out
    assert sorted(path.name for path in (tmp_path / "run").iterdir() if "confusion" in path.name) == []
    net = bp.load(tmp_path / "run" / "weights.safetensors")
    assert (net.activations[-1].name, net.cost_function.name) == ("identity", "quadratic")
    code, out, err = program("predict", "run")
    assert code == 0, err
    result = bp.data.table("prices.tsv", target="price")
    x, y = result.test
    away = (net.forward(x).a[-1] - y).square().mean().sqrt().item() * result.target_scale
    assert f"root mean square error {away:.5g} (in price)" in out
    assert away < 5


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gz"])
def test_a_folder_of_idx_files(program: Program, tmp_path: Path, packed: bool) -> None:
    content = files(3, 5)
    write(tmp_path / "mine", compressed(content) if packed else content)
    code, out, err = program("train", "--dataset", "idx", "--data-dir", "mine", "--epochs", 1, "--out", "run")
    assert code == 0, err
    assert sizes(tmp_path / "run") == [15, 30, 10]
    code, out, err = program("predict", "run")
    assert code == 0, err
    assert "idx, 12 test examples: accuracy" in out


def test_idx_classes_follow_the_training_labels(program: Program, tmp_path: Path) -> None:
    labels = {f"{name}-labels-idx1-ubyte": examples(name)[1] % 3 + 1 for name in ("train", "t10k")}
    write(tmp_path / "mine", files(2, 2) | {name: idx_bytes(tensor) for name, tensor in labels.items()})
    program("train", "--dataset", "idx", "--data-dir", "mine", "--epochs", 1, "--out", "run")
    assert sizes(tmp_path / "run") == [4, 30, 4]


@pytest.mark.parametrize(
    ("name", "kind"), [("mnist", "MNIST"), ("fashion-mnist", "FashionMNIST"), ("kmnist", "KMNIST")]
)
def test_downloaded_sets(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, kind: str
) -> None:
    with serving(compressed(files())) as server:
        monkeypatch.setattr(getattr(datasets, kind), "mirrors", [server.url])
        monkeypatch.setattr(getattr(datasets, kind), "resources", resources(server.served))
        arguments = ["--dataset", name, "--data-dir", "cache", "--epochs", 1, "--out", "run"]
        code, _, err = program("train", *arguments)
    assert code == 0, err
    assert sizes(tmp_path / "run") == [784, 30, 10]
    assert (tmp_path / "cache" / kind / "raw" / "t10k-labels-idx1-ubyte.gz").is_file()
    code, out, err = program("predict", "run")  # without the server, from the run's own folder
    assert code == 0, err
    assert f"{name}, 12 test " in out


BAD = [
    (
        ["--dataset", "flowers.csv"],
        "--target must name the column to predict where the",
    ),
    (
        ["--dataset", "digits", "--target", "kind"],
        "--target must name the column to predict where the",
    ),
    (["--dataset", "flowers.csv", "--target", "colour"], "has no column 'colour': its columns are length, width, kind"),
    (["--dataset", "none.csv", "--target", "kind"], "there is no file none.csv"),
    (
        ["--dataset", "holes.csv", "--target", "kind"],
        "missing cells in column 'kind' (1 of 3 rows, the first in line 3): correct them, or leave out their rows",
    ),
    (
        ["--dataset", "words.csv", "--target", "kind"],
        "text in column 'width' (1 of 3 rows, 'wide' in line 2): correct them, or leave it out, --drop width",
    ),
    (
        ["--dataset", "prices.csv", "--target", "price", "--cost", "softmax_cross_entropy"],
        "--cost must be quadratic for 'price', which is real-valued",
    ),
    (["--dataset", "flowers.npz", "--target", "kind"], "unknown dataset 'flowers.npz'"),
    (["--dataset", "idx"], "--data-dir must be the folder of the four IDX files"),
    (["--dataset", "idx", "--data-dir", "nowhere"], "nowhere lacks train-images-idx3-ubyte and"),
    (["--dataset", "idx", "--data-dir", "unequal"], "the test examples have 6 values, not 4"),
    (["--dataset", "idx", "--data-dir", "one"], "all training examples are of one class"),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(arguments) for arguments, _ in BAD])
def test_bad_data_is_one_sentence_and_makes_no_run_folder(
    program: Program, tmp_path: Path, arguments: list[str], message: str
) -> None:
    flowers(tmp_path / "flowers.csv")
    (tmp_path / "holes.csv").write_text("length,width,kind\n1,2,x\n2,3,\n3,4,x\n")
    (tmp_path / "words.csv").write_text("length,width,kind\n1,wide,x\n2,3,y\n3,4,x\n")
    (tmp_path / "prices.csv").write_text("a,price\n1,2.5\n2,3.5\n3,4.5\n")
    write(tmp_path / "unequal", {name: (files(2, 3) if "t10k" in name else files(2, 2))[name] for name in files()})
    zeros = {name: idx_bytes(torch.zeros_like(examples(name)[1])) for name in ("train", "t10k")}
    write(tmp_path / "one", files(2, 2) | {f"{name}-labels-idx1-ubyte": data for name, data in zeros.items()})
    code, out, err = program("train", *arguments, "--out", "run")
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "run").exists()


def test_predict_takes_images_for_networks_trained_on_images_only(program: Program, tmp_path: Path) -> None:
    flowers(tmp_path / "flowers.csv")
    program("train", "--dataset", "flowers.csv", "--target", "kind", "--epochs", 1, "--out", "run")
    code, _, err = program("predict", "run", "seven.png")
    assert code == 2
    assert "was trained on a table, and seven.png is none: name a CSV, TSV or Parquet file." in err
    assert err.endswith("Its test rows: bp-torch predict run") or err.endswith("predict.py run")


@pytest.mark.parametrize("count", [3, 10, 40, 41, 300])
@pytest.mark.parametrize("named", [True, False])
def test_a_confusion_matrix_of_any_number_of_classes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, count: int, named: bool
) -> None:
    """Its size is bounded, and so is the number of texts, of which drawing takes its time."""
    drawn = []
    savefig = Figure.savefig
    monkeypatch.setattr(Figure, "savefig", lambda self, *a, **k: (drawn.append(self), savefig(self, *a, **k)))
    labels = torch.arange(count).repeat(2)
    names = [f"a long name of a class, number {c}" for c in range(count)] if named else None
    pictures.confusion(tmp_path / "confusion.png", labels, labels.flip(0), names)
    with Image.open(tmp_path / "confusion.png") as picture:
        assert 400 < picture.width < 1500
    axes = drawn[0].axes[0]
    assert len(axes.texts) == (count**2 if count <= pictures.CELLS else 0)
    texts = [text.get_text() for text in axes.get_xticklabels()]
    assert len(texts) <= pictures.CELLS
    assert texts[0] == ("a long name of a …" if named else "0")
    assert max(map(len, texts)) <= 18


def test_names_of_classes_are_text_and_those_that_do_not_occur_have_their_row(tmp_path: Path) -> None:
    names = ["$\\frac$", "ü", "汉字", "two\nlines", ""]
    pictures.confusion(tmp_path / "confusion.png", torch.tensor([0, 1, 1]), torch.tensor([0, 1, 2]), names)
    assert (tmp_path / "confusion.png").stat().st_size > 5000


def test_a_table_that_changes_is_read_again_and_what_is_handed_out_is_the_callers(tmp_path: Path) -> None:
    flowers(tmp_path / "flowers.csv")
    first = bp.data.load(str(tmp_path / "flowers.csv"), "train", target="kind")
    before = first.x.clone()
    first.x.zero_()
    assert torch.equal(bp.data.load(str(tmp_path / "flowers.csv"), "train", target="kind").x, before)
    flowers(tmp_path / "flowers.csv", rows=90)
    assert len(bp.data.load(str(tmp_path / "flowers.csv"), "train", target="kind").x) == 72


def rooms(path: Path) -> Path:
    path.write_text("area,rooms\n" + "".join(f"{k},{k % 4 + 1}\n" for k in range(40)))
    return path


QUICK = ["--hidden", 2, "--epochs", 1, "--engine", "eager"]


def test_counts_are_classes_or_values_as_the_flags_say(program: Program, tmp_path: Path) -> None:
    """Without a flag they are classes, and a line names the flag; the run keeps what they are."""
    rooms(tmp_path / "homes.csv")
    arguments = ["--dataset", "homes.csv", "--target", "rooms", *QUICK]
    code, out, err = program("train", *arguments, "--out", "guessed")
    assert code == 0, err
    line = "The whole numbers in rooms are taken for classes; if they are values, type --regression\n"
    assert line in out
    for task, outputs in (("classification", 4), ("regression", 1)):
        code, out, err = program("train", *arguments, f"--{task}", "--out", task)
        assert code == 0, err
        assert line not in out
        assert sizes(tmp_path / task) == [1, 2, outputs]
        assert json.loads((tmp_path / task / "config.json").read_text())["task"] == task
        code, out, err = program("predict", task)
        assert code == 0, err
        assert ("root mean square error" in out) == (task == "regression")
    assert json.loads((tmp_path / "guessed" / "config.json").read_text())["task"] == "classification"
    code, _, err = program("train", "--resume", "guessed", "--classification")
    assert code == 0, err
    code, _, err = program("train", "--resume", "guessed", "--regression")
    assert code == 2
    assert err.endswith(
        "--regression contradicts the run in guessed, which has classification: leave --regression away, or start a "
        "new run"
    )


def test_a_run_that_does_not_say_its_task_goes_on(program: Program, tmp_path: Path) -> None:
    """As those of earlier versions; nor do their checkpoints say it."""
    rooms(tmp_path / "homes.csv")
    config = Config(
        dataset="homes.csv", target="rooms", hidden=2, recipe=bp.Recipe(epochs=2, engine="eager"), checkpoint_every=2
    )
    with runs.begin(config, "run") as session:
        pass
    assert session.config.task == "classification"
    without = {name: value for name, value in session.config.settings().items() if name != "task"}
    bp.save(tmp_path / "run" / "weights.safetensors", session.net, settings=without)
    about = {name: value for name, value in session.config.about.items() if name != "table"}
    (tmp_path / "run" / "config.json").write_text(json.dumps({**without, **about}))
    code, _, err = program("train", "--resume", "run", "--regression")
    assert code == 2
    assert "--regression contradicts the run in run, which has classification" in err
    code, out, err = program("train", "--resume", "run", "--classification")
    assert code == 0, err
    assert "Going on in epoch 1, after batch 0." in out


FLAGS = [
    (["--dataset", "flowers.csv", "--target", "kind", "--regression"], "leave --regression away for classes"),
    (["--dataset", "digits", "--regression"], "--regression is for a table, FILE.csv: leave it away for digits"),
    (["--dataset", "commas.csv", "--target", "t"], "if these are names of classes, say --classification"),
    (
        ["--dataset", "homes.csv", "--target", "rooms", "--regression", "--classification"],
        "argument --classification: not allowed with argument --regression",
    ),
    (
        ["--dataset", "homes.csv", "--target", "rooms", "--regression", "--cost", "softmax_cross_entropy"],
        "--cost must be quadratic for 'rooms', which is real-valued",
    ),
]


@pytest.mark.parametrize(("arguments", "message"), FLAGS, ids=[" ".join(arguments) for arguments, _ in FLAGS])
def test_a_flag_that_contradicts_the_data_is_one_sentence(
    program: Program, tmp_path: Path, arguments: list[str], message: str
) -> None:
    flowers(tmp_path / "flowers.csv")
    rooms(tmp_path / "homes.csv")
    (tmp_path / "commas.csv").write_text("a;t\n1;1,5\n2;2,5\n3;1,5\n4;2,5\n")
    code, out, err = program("train", *arguments, "--out", "run")
    assert (code, out) == (2, "")
    assert message in err
    assert not (tmp_path / "run").exists()


def test_what_may_be_a_slip_in_the_classes_is_said_in_a_line(
    program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Names that are nearly one, and a class without a row to test on."""
    kinds = ["yes", "YES ", "Yes", "no"] * 10 + ["maybe"]
    (tmp_path / "t.csv").write_text("a,kind\n" + "".join(f"{k},{kind}\n" for k, kind in enumerate(kinds)))
    assert call("train", "--dataset", "t.csv", "--target", "kind", *QUICK, "--out", "run") == 0
    printed = capsys.readouterr()
    said = (
        "train.py: t.csv, column 'kind': 'YES', 'Yes', 'yes' are classes of their own, though they differ only in case"
    )
    assert [said in line for line in printed.err.splitlines() if "t.csv" in line] == [True]
    assert "kind: 5 classes, YES, Yes, maybe, no, yes; 33 rows to train on, 8 to test\n" in printed.out
    assert "Classes without a row to test on: maybe. How well they are learned is not seen.\n" in printed.out


def test_one_row_is_one_row_in_what_is_printed(
    program: Program, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "t.csv").write_text("a,kind\n1,x\n2,y\n3,x\n")
    assert call("train", "--dataset", "t.csv", "--target", "kind", *QUICK, "--out", "run") == 0
    assert call("predict", "run") == 0
    printed = capsys.readouterr().out
    assert "2 rows to train on, 1 to test\n" in printed
    assert "At the end, on the 1 test example: accuracy" in printed
    assert "t.csv, 1 test example: accuracy" in printed


@pytest.mark.parametrize("arguments", [("foo", "train"), ("digits", "valid")])
def test_a_data_set_or_part_that_does_not_exist_is_named(arguments: tuple[str, str]) -> None:
    with pytest.raises(ValueError, match=r"unknown (dataset 'foo'|split 'valid'): choose one of"):
        bp.data.load(*arguments)


def oblong(folder: Path) -> torch.Tensor:
    """A folder of IDX files of 16 × 25 pixels, each class a bright row; returns the images of the test set."""
    content = {}
    for name in ("train", "t10k"):
        images, labels = examples(name, 16, 25)
        images = images // 4
        images[torch.arange(len(images)), labels.long()] = 255
        content |= {f"{name}-images-idx3-ubyte": idx_bytes(images), f"{name}-labels-idx1-ubyte": idx_bytes(labels)}
    write(folder, content)
    return images


def test_images_of_16_by_25_keep_their_height_and_width(program: Program, tmp_path: Path) -> None:
    """400 values are 20 × 20 too: the file says which."""
    images = oblong(tmp_path / "mine")
    data = bp.data.load("idx", "test", root=tmp_path / "mine")
    assert data.image == (16, 25)
    program("train", "--dataset", "idx", "--data-dir", "mine", "--epochs", 3, "--engine", "eager", "--out", "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    assert config["image"] == [16, 25]
    for k in (3, 7):
        Image.fromarray(images[k].numpy()).save(tmp_path / f"{k}.png")
        Image.fromarray(images[k].numpy()).resize((250, 160), Image.Resampling.NEAREST).save(
            tmp_path / f"{k}-large.png"
        )
    _, out, err = program("predict", "run", "3.png", "3-large.png", "7.png", "7-large.png")
    assert err == ""
    outputs = bp.load(tmp_path / "run" / "weights.safetensors").forward(data.x).a[-1]
    for line, k in zip(out.splitlines(), (3, 3, 7, 7), strict=True):
        shares = "  ".join(f"{c}: {share:.1%}" for c, share in enumerate(outputs[k].tolist()))
        assert f"{int(outputs[k].argmax())}  ({shares})" in line
    assert program("report", "run")[0] == 0
    assert '"image":[16,25]' in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")


def test_images_of_another_height_and_width_are_refused_though_they_have_as_many_pixels(
    program: Program, tmp_path: Path
) -> None:
    oblong(tmp_path / "mine")
    square = files(20, 20)
    write(tmp_path / "square", square)
    mixed = {name: (tmp_path / "mine" / name).read_bytes() if "train" in name else square[name] for name in square}
    write(tmp_path / "mixed", mixed)
    code, _, err = program("train", "--dataset", "idx", "--data-dir", "mixed", "--out", "run")
    assert code == 2
    assert "the test images are of (height, width) (20, 20) pixels, and those to train on of (16, 25)" in err
    program("train", "--dataset", "idx", "--data-dir", "mine", "--epochs", 1, "--engine", "eager", "--out", "run")
    code, _, err = program("predict", "run", "--data-dir", "square")
    assert code == 2
    assert "images of (height, width) (20, 20) pixels, and run was trained on (16, 25)" in err


def test_a_run_that_does_not_say_its_images_sizes_takes_square_ones(program: Program, tmp_path: Path) -> None:
    write(tmp_path / "mine", files(6, 6))
    program("train", "--dataset", "idx", "--data-dir", "mine", "--epochs", 1, "--engine", "eager", "--out", "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    del config["image"], config["paper"]
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    Image.linear_gradient("L").save(tmp_path / "any.png")
    code, out, err = program("predict", "run", "any.png")
    assert code == 0, err
    assert out.startswith("any.png: ")


def test_several_shapes_are_nothing_to_networks_that_are_not_trained_on_digits(
    program: Program, tmp_path: Path
) -> None:
    write(tmp_path / "mine", files(8, 8))
    program("train", "--dataset", "idx", "--data-dir", "mine", "--epochs", 1, "--engine", "eager", "--out", "mine-run")
    program("train", "--dataset", "digits", "--epochs", 1, "--engine", "eager", "--out", "digits-run")
    two = torch.zeros(8, 8, dtype=torch.uint8)
    two[1:7, [1, 6]] = 255
    Image.fromarray(two.numpy()).save(tmp_path / "two.png")
    assert program("predict", "mine-run", "two.png")[0] == 0
    code, out, err = program("predict", "digits-run", "two.png")
    assert (code, out) == (2, "")
    assert "two.png shows 2 separate shapes" in err


def test_a_blank_picture_is_refused_by_name(program: Program, tmp_path: Path) -> None:
    program("train", "--dataset", "digits", "--epochs", 1, "--engine", "eager", "--out", "run")
    for name, image in {
        "white.png": Image.new("L", (60, 60), 255),
        "black.png": Image.new("L", (60, 60)),
        "empty.png": Image.new("RGBA", (60, 60)),
    }.items():
        image.save(tmp_path / name)
        code, out, err = program("predict", "run", name)
        assert (code, out) == (2, "")
        assert f"{name} is blank" in err


def test_an_uncertain_reading_says_that_it_is_one(
    program: Program, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Uncertain: no output reaches 75 %, or the next one comes within 50 % of it."""
    program("train", "--dataset", "digits", "--epochs", 1, "--engine", "eager", "--out", "run")
    x, y = bp.data.digits("test")
    pixels = (x[int((y == 3).nonzero()[0])] * 255).round().byte().view(8, 8)
    Image.fromarray(pixels.numpy()).save(tmp_path / "three.png")
    for outputs, ending in (
        ({3: 0.97, 5: 0.01}, ")"),
        ({3: 0.55, 5: 0.01}, "uncertain, perhaps 5"),
        ({3: 0.95, 8: 0.6}, "uncertain, perhaps 8"),
        ({3: 0.8, 9: 0.2}, ")"),
    ):
        a = torch.zeros(1, 10)
        a[0, list(outputs)] = torch.tensor(list(outputs.values()))
        monkeypatch.setattr(bp.Network, "forward", lambda *_, a=a: Trace((a,), (a,)))
        assert program("predict", "run", "three.png")[1].rstrip().endswith(ending)


def test_show_writes_what_the_network_saw(program: Program, tmp_path: Path) -> None:
    program("train", "--dataset", "digits", "--epochs", 1, "--engine", "eager", "--out", "run")
    image = Image.new("L", (120, 90), 255)
    image.paste(0, (50, 20, 58, 70))
    image.save(tmp_path / "one.png")
    assert program("predict", "run", "one.png", "one.png", "--show", "seen.png")[::2] == (0, "")
    with Image.open(tmp_path / "seen.png") as shown:
        assert shown.size == (320 + 8 + 240, 240 + 8 + 240)
    code, _, err = program("predict", "run", "--show", "seen.png")
    assert (code, "--show is for images" in err) == (2, True)
    code, _, err = program("predict", "run", "one.png", "--show", "seen.jpg")
    assert (code, "must name a .png file" in err) == (2, True)
