"""The snippets of the pages run; those of docs/ print what stands under them."""

import re
import shlex
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from programs import call

import bp_torch as bp

ROOT = Path(__file__).parent.parent
SNIPPET = re.compile(r"```python\n(.*?)```\n(?:\n```text\n(.*?)```)?", re.DOTALL)
MNIST = ROOT / "data" / "MNIST" / "raw"


def snippets(page: str) -> list[tuple[str, str | None]]:
    """Each snippet and what it is to print (None where the page does not say)."""
    return [(code, printed or None) for code, printed in SNIPPET.findall((ROOT / page).read_text())]


def _enlarged_digits(split: str, **_: object) -> tuple[torch.Tensor, torch.Tensor]:
    """The embedded digits as images of 28 × 28, where MNIST is not at hand."""
    x, y = bp.data.digits(split)
    images = torch.nn.functional.interpolate(x.view(-1, 1, 8, 8), size=20)
    return torch.nn.functional.pad(images, (4, 4, 4, 4)).flatten(1), y


PAGES = {  # and what they need besides the package
    "docs/tutorial.md": (),
    "docs/guide.md": (),
    "docs/exercises.md": (),
    "docs/arrays.md": (),
    "docs/sklearn.md": (),
    "docs/deploy.md": ("onnxruntime", "onnxscript", "tensorboard"),
}


@pytest.mark.parametrize("page", PAGES)
def test_a_page_runs_and_prints_what_it_says(
    page: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for needed in PAGES[page]:
        pytest.importorskip(needed)
    mnist = len(list(MNIST.glob("*.gz"))) == 4
    load: Callable[..., tuple[torch.Tensor, torch.Tensor]] = bp.data.mnist if mnist else _enlarged_digits
    monkeypatch.setattr(bp.data, "mnist", lambda split: load(split, root=ROOT / "data"))
    monkeypatch.setattr("sys.stderr.isatty", lambda: True)  # as in a session: the bar of `fit` is no part of stdout
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    trained_on_mnist = False
    assert len(snippets(page)) >= 4
    for code, wanted in snippets(page):
        with torch.random.fork_rng():  # torch's own modules draw from its global generator
            exec(code, namespace)  # noqa: S102 (the page's own code)
        printed = capsys.readouterr().out
        trained_on_mnist |= "bp.data.mnist" in code
        if wanted is not None and (mnist or not trained_on_mnist):
            assert _rounded(printed) == _rounded(wanted), code
        assert bool(printed) == (wanted is not None)


COMMAND = re.compile(
    r"^    (?:bp-torch train|python scripts/train.py) (--dataset digits .*(?:(?<=\\)\n.*)?)$", re.MULTILINE
)


@pytest.mark.parametrize(("page", "count"), [("docs/guide.md", 2), ("docs/deploy.md", 1), ("README.md", 1)])
def test_the_commands_of_a_page_run(page: str, count: int, tmp_path: Path) -> None:
    """Those on the embedded digits, for an epoch."""
    for needed in PAGES.get(page, ()):
        pytest.importorskip(needed)
    commands = COMMAND.findall((ROOT / page).read_text())
    assert len(commands) == count
    for k, command in enumerate(commands):
        options = shlex.split(command.replace("\\\n", ""), comments=True)
        assert call("train", *options, "--epochs", 1, "--engine", "eager", "--out", tmp_path / str(k)) == 0


def test_the_readmes_snippets_run(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    namespace: dict[str, object] = {}
    for code, _ in snippets("README.md"):
        exec(code, namespace)  # noqa: S102 (the page's own code)
        assert capsys.readouterr().out


def test_each_function_of_single_examples_has_a_line_of_example_in_the_tutorial() -> None:
    net = bp.Network.create([64, 5, 10], seed=0)
    x, y = (part[:20] for part in bp.data.digits("train"))
    table = re.findall(
        r"^\| `(bp\.per_example\.(\w+)\(.*\))` \|", (ROOT / "docs/tutorial.md").read_text(), re.MULTILINE
    )
    assert {name for _, name in table} | {"NoiseScale"} == set(bp.per_example.__all__) == set(dir(bp.per_example))
    for line, _ in table:
        assert eval(line, {"bp": bp, "net": net, "x": x, "y": y}) is not None  # noqa: S307 (the page's own code)


def _rounded(text: str) -> list[object]:
    """Words as they are, numbers with some tolerance: the last digits are the machine's, and so are relative errors."""
    text = re.sub(r" *\d\.\de[-+]\d\d", " tiny", text)
    return [
        pytest.approx(float(part), rel=0.05, abs=0.02) if re.fullmatch(r"-?\d+\.\d+|-?\d+\.?", part) else part.strip()
        for part in re.split(r"(-?\d+\.\d+|-?\d+\.?)", text)
        if part.strip()
    ]
