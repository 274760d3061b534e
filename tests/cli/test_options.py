"""Options of training: those that are parts of a field, and what a run's config makes of all of them."""

import argparse
import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from programs import call

import bp_torch as bp
from bp_torch.cli import parts, train
from bp_torch.cli.options import given
from bp_torch.recipe import as_text
from bp_torch.runs import config as configuration
from bp_torch.runs.config import Config

DIGITS = ["--dataset", "digits"]
OTHER_THAN_DEFAULT: dict[str, Any] = {
    "epochs": 2,
    "batch_size": 7,
    "lr": "one_cycle(0.5, pct_start=0.2)",
    "optimizer": "adamw(betas=(0.8, 0.99))",
    "rate_factors": "biases:0.5,first:2.0",
    "decay_factors": "biases:0.0",
    "l2": 0.1,
    "l1": 0.2,
    "max_norm": 3.0,
    "dropout": "0.2,0.5",
    "clip_norm": 1.0,
    "clip_value": 0.5,
    "label_smoothing": 0.1,
    "class_weight": "0:2.0,3:0.5",
    "accumulate": 2,
    "shuffle": False,
    "seed": 5,
    "engine": "eager",
    "precision": "bf16",
    "threads": 1,
}


def asked(*arguments: str, run: bp.Recipe | None = None) -> dict[str, Any]:
    """The fields that a command line names."""
    parser = argparse.ArgumentParser()
    train.add_options(parser)
    options = parser.parse_args(arguments)
    return parts.asked(given(options), options, run).fields


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("", {}),
        ("--lr 0.1", {"lr": 0.1}),
        ("--lr cosine(0.1)", {"lr": "cosine(0.1)"}),
        ("--schedule cosine", {"lr": "cosine"}),
        ("--schedule cosine --lr 0.1 --warmup 0.05", {"lr": "cosine(0.1, warmup=0.05)"}),
        ("--schedule step(gamma=0.5) --lr 2", {"lr": "step(2.0, gamma=0.5)"}),
        ("--schedule step(0.3,gamma=0.5)", {"lr": "step(0.3, gamma=0.5)"}),
        ("--warmup 0.1", {"lr": "constant(warmup=0.1)"}),
        ("--lr cosine(0.1) --warmup 0.1", {"lr": "cosine(0.1, warmup=0.1)"}),
        ("--schedule constant --lr 0.1", {"lr": 0.1}),
        ("--weight-decay 0.1", {"optimizer": "sgd(weight_decay=0.1)"}),
        ("--optimizer adam(eps=1e-07) --weight-decay 0.1", {"optimizer": "adam(eps=1e-07, weight_decay=0.1)"}),
        (
            "--optimizer nadam(decoupled_weight_decay=True) --weight-decay 0.1",
            {"optimizer": "nadam(weight_decay=0.1, decoupled_weight_decay=True)"},
        ),
    ],
)
def test_parts_are_put_into_their_fields(arguments: str, wanted: dict[str, Any]) -> None:
    named = asked(*arguments.split())
    assert named == wanted
    recipe = bp.Recipe(**named)
    assert {name: as_text(name, getattr(recipe, name)) for name in named} == wanted


@pytest.mark.parametrize(
    ("arguments", "wanted"),
    [
        ("--lr 0.1", {"lr": "cosine(0.1, warmup=0.05)"}),
        ("--schedule cosine", {"lr": "cosine(0.2, warmup=0.05)"}),
        ("--schedule cosine --warmup 0.1", {"lr": "cosine(0.2, warmup=0.1)"}),
        ("--schedule linear", {"lr": "linear(0.2)"}),
        ("--weight-decay 0.1", {"optimizer": "adam(eps=1e-07, weight_decay=0.1)"}),
    ],
)
def test_where_a_run_goes_on_its_own_values_stand_for_what_is_left_out(arguments: str, wanted: dict[str, Any]) -> None:
    run = bp.Recipe(lr="cosine(0.2, warmup=0.05)", optimizer="adam(eps=1e-07, weight_decay=0.01)")
    assert asked(*arguments.split(), run=run) == wanted


def test_every_field_comes_back_from_config_json(tmp_path: Path) -> None:
    assert set(OTHER_THAN_DEFAULT) == {each.name for each in fields(bp.Recipe)}
    config = Config(dataset="digits", recipe=bp.Recipe(**OTHER_THAN_DEFAULT))
    default = bp.Recipe()
    assert all(getattr(config.recipe, each.name) != getattr(default, each.name) for each in fields(bp.Recipe))
    configuration.write(tmp_path, config)
    written = json.loads((tmp_path / configuration.FILE).read_text())
    assert {name: written[name] for name in OTHER_THAN_DEFAULT} == OTHER_THAN_DEFAULT
    assert configuration.read(tmp_path) == config
    (tmp_path / configuration.FILE).write_text('{"dataset": "digits"}')
    assert configuration.read(tmp_path) == Config(dataset="digits")


def test_tables_that_name_nothing_come_back_as_none() -> None:
    recipe = bp.Recipe(class_weight={}, rate_factors={}, decay_factors={})
    assert Config.of(Config(dataset="digits", recipe=recipe).settings()) == Config(dataset="digits")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("--weight-decay -1", "--weight-decay must be a number of 0 or more"),
        ("--optimizer adam(weight_decay=1) --weight-decay 1", "(weight_decay=1) says what --weight-decay does: leave"),
        ("--schedule cosin", "unknown schedule 'cosin': choose one of constant, linear"),
        ("--schedule cosine(", "--schedule must be a name with its options"),
        ("--schedule cosine(0.1) --lr 0.1", "--schedule cosine(0.1) says what --lr does: leave one of them away"),
        ("--schedule cosine --lr cosine(0.1)", "--lr cosine(0.1) says what --schedule does"),
        ("--schedule cosine(warmup=0.1) --warmup 0.1", "says what --warmup does"),
        ("--schedule cosine --lr -1", "--lr must be a positive, finite number"),
        ("--warmup 1", "--warmup must be a number from 0 to below 1"),
        ("--schedule one_cycle --warmup 0.1", "one_cycle has a warm-up of its own"),
        ("--lr fast", "--lr must be a number or a schedule, and 'fast' is none: unknown schedule"),
        ("--dropout 0.2,1", "--dropout must be a number from 0 to below 1"),
        ("--l2 -1", "--l2 must be a number of 0 or more"),
        ("--clip-norm 0", "--clip-norm must be a positive, finite number"),
        ("--label-smoothing 1", "--label-smoothing must be a number from 0 to below 1"),
        ("--rate-factors middle:2", "unknown part of rate_factors 'middle': choose one of weights"),
    ],
)
def test_what_cant_be_is_one_sentence(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], arguments: str, message: str
) -> None:
    assert call("train", *DIGITS, *arguments.split(), "--out", tmp_path / "run") == 2
    printed = capsys.readouterr()
    assert message in printed.err.splitlines()[-1]
    assert printed.out == ""
    assert not (tmp_path / "run").exists()


def test_what_is_trained_is_told_in_a_line_and_a_contradiction_by_its_options(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = "--optimizer adam --weight-decay 0.01 --schedule cosine --warmup 0.1 --dropout 0.2,0.5 --l2 0.1"
    few = [*DIGITS, "--hidden", "4", "--epochs", "1", "--batch-size", "200", "--engine", "eager", "--summary"]
    assert call("train", *few, *options.split(), "--out", tmp_path / "run") == 0
    printed = capsys.readouterr().out
    assert "; adam(weight_decay=0.01), η by cosine(0.001, warmup=0.1), batches of 200, 1 epoch; " in printed
    net = bp.load(tmp_path / "run" / "weights.safetensors")
    assert str(bp.summary(net, batch_size=200, optimizer="adam(weight_decay=0.01)")) in printed
    assert "; l2 0.1, dropout 0.2,0.5; on digits, cpu; run folder" in printed
    # the last of 8 steps: half a cosine after the warm-up, at (7/8 - 0.1) / 0.9 of it
    assert "  η 4.68e-05  " in next(line for line in printed.splitlines() if line.startswith("epoch"))
    written = json.loads((tmp_path / "run" / "config.json").read_text())
    assert (written["lr"], written["optimizer"]) == ("cosine(0.001, warmup=0.1)", "adam(weight_decay=0.01)")
    assert call("train", "--resume", tmp_path / "run", *options.split()) == 0
    capsys.readouterr()
    for contradiction, has in (
        ("--weight-decay 0.1", "adam(weight_decay=0.01): leave --weight-decay away"),
        ("--optimizer sgd --weight-decay 0.1", "adam(weight_decay=0.01): leave --optimizer and --weight-decay away"),
        ("--lr 0.1", "cosine(0.001, warmup=0.1): leave --lr away"),
        ("--schedule linear", "cosine(0.001, warmup=0.1): leave --schedule away"),
        ("--dropout 0.5", "0.2,0.5: leave --dropout away"),
        ("--clip-norm 1.0", "none: leave --clip-norm away"),
    ):
        assert call("train", "--resume", tmp_path / "run", *contradiction.split()) == 2
        said = f"{contradiction} contradicts the run in {tmp_path / 'run'}, which has {has}, or start a new run"
        assert said in capsys.readouterr().err


def test_a_divergence_under_a_schedule_names_its_highest_rate(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Not the rate that the failing step happened to have: a rate between the two would fail again."""
    diverging = ["--activation", "identity", "--cost", "softmax_cross_entropy", "--schedule", "linear", "--lr", "1e30"]
    assert call("train", *DIGITS, *diverging, "--engine", "eager", "--epochs", 1, "--out", tmp_path / "run") == 1
    said = capsys.readouterr().err
    batch = int(said.split("batch ")[1].split(",")[0])
    rate = 1e30 * (1 - (batch - 1) / 144)  # of 144 steps
    assert f"in epoch 1, batch {batch}, where η had come to {rate:g}: layer " in said
    assert said.endswith("Start a new run with a smaller --lr than 1e+30\n")
