"""The report in headless Chromium, at three widths, light and dark, by keyboard."""

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import browser
import pytest
from browser import Browser
from idxfiles import files, write
from programs import call
from run_folders import KINDS, SECTIONS, run_of_kind

from bp_torch.data import Split
from bp_torch.runs import saved

pytestmark = pytest.mark.skipif(
    not browser.DRIVER or not browser.CHROMIUM, reason="needs chromium and chromedriver (apt install chromium-driver)"
)

PICTURES = """
return [...document.querySelectorAll("#follow canvas, #follow svg")]
  .map(e => e.toDataURL ? e.toDataURL() : e.outerHTML).join()
"""
VALUED = ("real targets", "one output")  # without names of classes
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("runs") / "digits"
    call("train", "--dataset", "digits", "--epochs", 3, "--engine", "eager", "--out", out)
    call("report", out)
    return (out / "report.html").as_uri()


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with browser.browser() as driver:
        yield driver


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 800, 1400])
def test_it_is_all_there_at_any_width(chromium: Browser, page: str, width: int, scheme: str) -> None:
    chromium.open(page, width, scheme)
    assert chromium.log() == []
    assert chromium.run("return innerWidth") == width
    assert chromium.run(OVERFLOW) <= 0
    assert chromium.run("return document.documentElement.dataset.theme") == scheme
    assert chromium.run("return [...document.querySelectorAll('main section')].map(s => s.id)") == SECTIONS
    counts = {
        "#follow canvas": 5,  # input, hidden a, hidden δ, what enters, gradient
        "#follow svg": 3,  # outputs, their δ, where δ comes from
        "#curves svg[role=img]": 2,
        "#norms svg[role=img]": 3,
        "#saturation svg": 4,
        "#weights canvas": 30,
        "#confusion td": 11 + 100 - 10,
        ".tiles dd": 8,
    }
    for selector, count in counts.items():
        assert chromium.run("return document.querySelectorAll(arguments[0]).length", selector) == count, selector
    unnamed = "return [...document.querySelectorAll('input, select, button, canvas, svg[role=img]')].filter("
    unnamed += "e => !(e.ariaLabel || e.labels?.length || e.textContent.trim())).length"
    assert chromium.run(unnamed) == 0
    small = "return [...document.querySelectorAll('main *')].filter(e => e.childNodes.length && e.checkVisibility() &&"
    small += "parseFloat(getComputedStyle(e).fontSize) < 9 && e.textContent.trim()).map(e => e.outerHTML)"
    assert chromium.run(small) == []


def test_sliders_change_the_picture_by_keyboard(chromium: Browser, page: str) -> None:
    chromium.open(page, 800)
    pictures = [chromium.run(PICTURES)]
    for element, key in [
        ("example", "right"),
        ("epoch", "left"),
        ("neuron", "right"),
        ("layer", "down"),
        ("epoch2", "home"),
    ]:
        chromium.press(element, key)
        pictures.append(chromium.run(PICTURES))
        assert pictures[-1] != pictures[-2], element
    assert chromium.run("return [state.example, state.e, state.layer]") == [6, 0, 1]
    assert chromium.run("return document.getElementById('verdict').textContent").startswith("Before training")
    chromium.press("epoch2", "end")
    assert chromium.run("return document.getElementById('epoch-value').textContent") == "3 epochs"
    before = chromium.run(PICTURES)
    chromium.press("theme", "space")
    assert chromium.run("return document.documentElement.dataset.theme") == "dark"
    assert chromium.run(PICTURES) != before
    assert chromium.run("return getComputedStyle(document.activeElement).outlineStyle") == "solid"
    assert chromium.log() == []


def test_a_click_chooses_a_neuron_and_its_gradient_is_a_times_delta(chromium: Browser, page: str) -> None:
    chromium.open(page, 1400)
    click = """
    const box = document.getElementById("delta-0").getBoundingClientRect();
    document.getElementById("delta-0").dispatchEvent(new MouseEvent("click", {bubbles: true,
      clientX: box.left + box.width / 12, clientY: box.top + box.height * 0.3}));
    const x = at(unpack(DATA.observed.x), state.example);
    const delta = at(unpack(DATA.observed["delta.0"]), state.e, state.example);
    return [state.layer, state.neuron, Number(document.getElementById("product").dataset.most),
      largest(x) * Math.abs(delta[6])];
    """
    layer, neuron, text, wanted = chromium.run(click)
    assert (layer, neuron) == (0, 6)
    assert text == pytest.approx(wanted, rel=1e-5)
    chromium.run(
        "document.querySelector('#delta-1 [data-j=\"4\"]').dispatchEvent(new MouseEvent('click', {bubbles: true}))"
    )
    assert chromium.run("return [state.layer, state.neuron]") == [1, 4]
    assert chromium.log() == []


def test_the_chosen_neurons_error_is_taken_apart_by_bp2(chromium: Browser, page: str) -> None:
    chromium.open(page, 800)
    every = """
    const rows = [], slider = document.getElementById("neuron");
    for (let j = 0; j < 30; j++) {
      slider.value = j;
      slider.dispatchEvent(new Event("input"));
      const { sum, slope, delta } = document.querySelector(".sum").dataset;
      rows.push([Number(sum) * Number(slope), Number(delta), at(unpack(DATA.observed["delta.0"]), 3, 5)[j]]);
    }
    return rows;
    """
    for product, text, delta in chromium.run(every):
        assert text == delta
        assert product == pytest.approx(delta, rel=1e-4, abs=1e-9)


@pytest.mark.parametrize("kind", [*KINDS, "without observations"])
def test_any_run_is_drawn_without_an_error(
    chromium: Browser, kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pair = run_of_kind(kind if kind in KINDS else "no hidden layer", tmp_path / "run")
    if kind not in KINDS:
        (tmp_path / "run" / "observations.safetensors").unlink()
        (tmp_path / "run" / "metrics.jsonl").unlink()
    test = Split(*pair, None)
    monkeypatch.setattr(saved, "load_test_set", lambda *_: ("the test set", test))
    call("report", tmp_path / "run")
    chromium.open((tmp_path / "run" / "report.html").as_uri(), 400)
    assert chromium.log() == []
    assert chromium.run(OVERFLOW) <= 0
    linked = chromium.run("return [...document.querySelectorAll('nav a')].map(a => a.hash.slice(1))")
    assert linked == [name for name in SECTIONS if name != "confusion" or kind not in VALUED]
    if kind in KINDS:
        before = chromium.run(PICTURES)
        chromium.press("epoch", "home")
        assert chromium.run(PICTURES) != before
    else:
        assert "train again" in chromium.run("return document.getElementById('follow').textContent")
        assert "No epoch" in chromium.run("return document.getElementById('curves').textContent")
    assert chromium.log() == []


NAMES = ["</script><b>bold</b>", "a&b", "ü", "{{script}}", "a name that is much too long for a label " * 5]


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The run of a table whose classes have these names, and are hard to tell."""
    folder = tmp_path_factory.mktemp("named")
    rows = [f"{k * 37 % 101},{k * 53 % 89},{NAMES[k // 3 % 5]}" for k in range(200)]
    (folder / "table.csv").write_text("\n".join(["a,b,{{script}}", *rows]) + "\n")
    arguments = ["--dataset", folder / "table.csv", "--target", "{{script}}", "--epochs", 2, "--engine", "eager"]
    call("train", *arguments, "--out", folder / "run")
    call("report", folder / "run")
    return folder / "run"


@pytest.mark.parametrize("width", [400, 1200])
def test_classes_are_shown_by_name(chromium: Browser, named: Path, width: int) -> None:
    chromium.open((named / "report.html").as_uri(), width)
    assert chromium.log() == []
    assert chromium.run(OVERFLOW) <= 0
    names = [name.strip() for name in sorted(NAMES)]
    assert chromium.run("return [...document.querySelectorAll('tbody th')].map(e => e.textContent)")[:3] == [
        chromium.run("return fitted(arguments[0], 100)", name) for name in names[:3]
    ]
    assert "a&b" in chromium.run("return document.querySelector('.matrix thead').textContent")
    assert chromium.run("return document.querySelectorAll('main b').length") == chromium.run(
        "return document.querySelectorAll('.eq b').length"
    )
    text = "return [...document.querySelectorAll('#a-1 title')].map(e => e.textContent)"
    assert chromium.run(text) == names
    assert "ü" in chromium.run("return document.getElementById('a-1').textContent")
    message = "return ['verdict', 'example-value'].map(id => document.getElementById(id).textContent)"
    verdict, example = chromium.run(message)
    label = chromium.run("return className(DATA.observed.labels[state.example])")
    assert f"takes this “{label}” for “" in verdict
    assert example.endswith(f", “{label}”")
    pair = "const { true: t, predicted: s } = DATA.test.mistakes[0]; return `${className(t)} → ${className(s)}`"
    first = "return document.querySelector('#mistakes figcaption strong').textContent"
    assert chromium.run(first) == chromium.run(pair)
    assert " taken for " in chromium.run("return document.querySelector('.pairs-list dl:last-of-type dt').textContent")


def test_thinned_epochs_are_said_to_be(chromium: Browser, page: str, named: Path, tmp_path: Path) -> None:
    chromium.open(page, 800)
    assert "are drawn" not in chromium.run("return document.body.innerText")
    shutil.copytree(named, tmp_path / "long")
    line = (named / "metrics.jsonl").read_text().splitlines()[0]
    lines = [json.dumps(json.loads(line) | {"epoch": e}) + "\n" for e in range(1, 2502)]
    (tmp_path / "long" / "metrics.jsonl").write_text("".join(lines))
    call("report", tmp_path / "long")
    chromium.open((tmp_path / "long" / "report.html").as_uri(), 800)
    assert chromium.log() == []
    for section in ("curves", "timings"):
        message = chromium.run(f"return document.getElementById('{section}').textContent")
        assert "Of the 2,501 epochs, 2,000 are drawn" in message
    assert "2,501" in chromium.run("return document.getElementById('tiles').textContent")


@pytest.fixture(scope="module")
def rents(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The report of a run on a table of real values."""
    folder = tmp_path_factory.mktemp("rents")
    rows = [f"{1990 + k % 33},{k % 5 * 1e6},7,{2e5 + 1250.5 * (k % 17) - 5000 * (k % 5) + k % 3}" for k in range(200)]
    (folder / "rents.csv").write_text("\n".join(["year,area <b>,constant,rent & co", *rows]) + "\n")
    arguments = ["--dataset", folder / "rents.csv", "--target", "rent & co", "--epochs", 3, "--engine", "eager"]
    call("train", *arguments, "--lr", 0.1, "--out", folder / "run")
    call("report", folder / "run")
    return (folder / "run" / "report.html").as_uri()


@pytest.mark.parametrize("width", [400, 1200])
def test_a_tables_bars_have_its_columns_names_and_its_own_units(chromium: Browser, rents: str, width: int) -> None:
    chromium.open(rents, width)
    assert chromium.log() == []
    assert chromium.run(OVERFLOW) <= 0
    columns = ["year", "area <b>", "constant"]
    titles = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent)"
    first = "#weights figure:first-child title", "#mistakes figure:first-child title"
    for selector in ("#input title", "#enters title", "#product title", *first):
        assert chromium.run(titles, selector) == columns, selector
    assert chromium.run("return document.querySelectorAll('#weights figure svg').length") == 30
    year, area, constant = chromium.run(titles, "#input g > text:last-child")
    assert 1990 <= int(year) < 2023
    assert area in {"0", "1000000", "2000000", "3000000", "4000000"}
    assert constant == "–"
    assert chromium.run(titles, "#a-1 title") == ["rent & co"]
    true = chromium.run("return trueValue(at(unpack(DATA.observed.y), state.example)[0])")
    assert float(true) * 2 % 1 == 0
    verdict = chromium.run("return document.getElementById('verdict').textContent")
    assert f"the network says rent & co {chromium.run(titles, '#a-1 g > text:last-child')[0]}; it is {true}." in verdict
    assert chromium.run("return document.getElementById('example-value').textContent").endswith(f", rent & co {true}")
    tiles = chromium.run("return document.getElementById('tiles').innerText")
    assert "Root mean square error, in rent & co" in tiles
    assert "R²" in tiles
    assert "Root mean square error by epoch" in chromium.run("return document.getElementById('curves').textContent")


def test_what_enters_a_neuron_above_the_first_layer_is_drawn_for_tables_too(chromium: Browser, rents: str) -> None:
    chromium.open(rents, 1200)
    chromium.press("layer", "down")
    assert chromium.run(
        "return [state.layer, document.querySelectorAll('#enters canvas, #product canvas').length]"
    ) == [1, 2]
    assert chromium.run("return document.getElementById('neuron-value').textContent") == "j = 0, rent & co"
    assert "Where δ of “rent & co” comes from" in chromium.run("return document.getElementById('backward').textContent")
    chromium.press("layer", "home")
    assert chromium.run("return document.querySelectorAll('#enters canvas, #product canvas').length") == 0
    assert chromium.log() == []


def test_accuracy_stands_beside_what_it_is_to_be_held_against(chromium: Browser, named: Path) -> None:
    chromium.open((named / "report.html").as_uri(), 1200)
    tiles = chromium.run("return document.getElementById('tiles').innerText")
    assert "Accuracy of always “" in tiles
    assert "Balanced accuracy" in tiles
    assert "Training alone" in tiles
    assert "With evaluating and saving" in tiles
    assert chromium.run("return document.querySelectorAll('.recall dd').length") == 5
    curves = chromium.run("return document.getElementById('curves').textContent")
    assert "at the end " in curves
    assert "always “" in curves


@pytest.mark.parametrize(("height", "width"), [(16, 25), (25, 16)])
def test_images_that_are_not_square_are_drawn_by_their_height_and_width(
    chromium: Browser, tmp_path: Path, height: int, width: int
) -> None:
    write(tmp_path / "mine", files(height, width))
    data = ["--dataset", "idx", "--data-dir", tmp_path / "mine"]
    call("train", *data, "--epochs", 1, "--engine", "eager", "--out", tmp_path / "run")
    call("report", tmp_path / "run")
    chromium.open((tmp_path / "run" / "report.html").as_uri(), 800, "light")
    assert chromium.log() == []
    drawn = "const c = document.querySelectorAll('#weights canvas')[3], b = c.getBoundingClientRect();"
    drawn += "return [c.height, c.width, b.height / b.width]"
    assert chromium.run(drawn) == [height, width, pytest.approx(height / width, rel=0.05)]
    assert chromium.run("return document.querySelector('#input').width") == width
