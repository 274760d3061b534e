"""Kills training processes by SIGKILL at random instants, resumes each, and compares the ends with a run left alone.

What it counts: a run is lost where after a kill neither generation of its checkpoint loads, where it can't be resumed,
or where its metrics are not those of the run left alone; differing bits are those of the final weights and biases.
Options after -- go to scripts/train.py.
"""

import argparse
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import bp_torch as bp
from bp_torch import checks
from bp_torch.cli.main import ends
from bp_torch.runs import config, metrics
from bp_torch.runs.session import WEIGHTS
from bp_torch.saving.checkpoint import newest

EXAMPLE = """example:
  python tests/soak.py --kills 100
  python tests/soak.py --kills 100 -- --checkpoint-every 0.1
"""
TRAIN = Path(__file__).parent.parent / "scripts" / "train.py"
RUN = ["--dataset", "digits", "--epochs", "200"]
KILLS_A_RUN = 10  # about
EARLY = 0.2  # the share of kills that come while a process starts, up to its first step; the others come after that


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, epilog=EXAMPLE, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--kills", type=int, default=100, help="default: 100")
    parser.add_argument("--seed", type=int, default=0, help="of the instants (default: 0)")
    parser.add_argument("train", nargs="*", metavar="-- OPTION", help=f"of scripts/train.py, after {' '.join(RUN)}")
    return parser.parse_args()


def main() -> int:
    options = parse()
    kills = checks.whole("--kills", options.kills, 1)
    rng = random.Random(options.seed)  # noqa: S311 (instants, not secrets)
    arguments = [*RUN, *options.train]
    with tempfile.TemporaryDirectory() as work:
        alone = Path(work, "alone")
        began = time.perf_counter()
        process = _start("--out", alone, *arguments)
        _until_training(process)
        start_up = time.perf_counter() - began
        process.communicate()
        if process.returncode:
            raise ValueError(
                f"scripts/train.py {' '.join(arguments)} failed by itself: it ended with {process.returncode}"
            )
        seconds = time.perf_counter() - began - start_up
        print(f"scripts/train.py {' '.join(arguments)}: {seconds:.1f} s of training when left alone")
        killed = lost = bits = finished = midst = 0
        while killed < kills or finished == 0:
            out = Path(work, f"run-{finished}")
            done = False
            while not done:
                early = rng.random() < EARLY
                patience = rng.uniform(0, start_up if early else seconds / KILLS_A_RUN) if killed < kills else None
                done = _ended(out, arguments, early, patience)
                if done is None:
                    lost, done = lost + 1, True
                elif not done:
                    killed += 1
                    mid, loads = _standing(out)
                    midst, lost = midst + mid, lost + (not loads)
                    if killed % 10 == 0:
                        print(f"{killed} kills, {finished} runs finished, {lost} lost", flush=True)
            finished += 1
            lost += not _same_metrics(alone, out)
            bits += _differing_bits(alone, out)
            litter = sorted({path.name for path in out.iterdir()} - {path.name for path in alone.iterdir()})
            if litter:
                print(f"left behind in {out.name}: {', '.join(litter)}")
    print(
        f"{killed} kills ({midst} with the newest checkpoint in the midst of an epoch), {finished} runs finished, "
        f"{lost} lost, {bits} differing bits"
    )
    return 1 if lost or bits else 0


def _start(*arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, str(TRAIN), *map(str, arguments)]
    environment = {**os.environ, "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(command, env=environment, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def _until_training(process: subprocess.Popen[str]) -> None:
    """Waits for the line that train.py prints before its first step."""
    for line in process.stdout or ():
        if "run folder" in line:
            return


def _ended(out: Path, arguments: list[str], early: bool, patience: float | None) -> bool | None:
    """Starts or resumes the run; kills it after this time: True where it had ended by then, None where it failed."""
    if not (out / config.FILE).exists():
        shutil.rmtree(out, ignore_errors=True)  # killed before there was a run
    process = _start(*(["--resume", out] if out.exists() else ["--out", out, *arguments]))
    if not early:
        _until_training(process)
    try:
        output, _ = process.communicate(timeout=patience)
    except subprocess.TimeoutExpired:
        process.kill()
        process.communicate()
        return False
    if process.returncode:
        print(f"{out.name} could not go on: {output.strip()}")
    return None if process.returncode else True


def _standing(out: Path) -> tuple[bool, bool]:
    """Whether the newest checkpoint is one in the midst of an epoch, and whether there is one that loads, if any."""
    if not list(out.glob("weights*")):
        return False, True  # killed before it was there: the run begins anew
    try:
        checkpoint, _ = newest(out / WEIGHTS)
    except (bp.CheckpointError, FileNotFoundError) as error:
        print(error)
        return False, False
    return checkpoint.position.batch > 0, True


def _same_metrics(alone: Path, out: Path) -> bool:
    figures = []
    for folder in (alone, out):
        lines = (folder / metrics.FILE).read_text().splitlines()
        figures.append([{k: v for k, v in json.loads(line).items() if "second" not in k} for line in lines])
    return figures[0] == figures[1]


def _differing_bits(alone: Path, out: Path) -> int:
    pairs = zip(bp.load(alone / WEIGHTS).layers, bp.load(out / WEIGHTS).layers, strict=True)
    bits = 0
    for one, other in ((t, u) for layers in pairs for t, u in zip(*layers, strict=True)):
        first, second = (int.from_bytes(t.numpy().tobytes(), "little") for t in (one, other))
        bits += (first ^ second).bit_count()
    return bits


if __name__ == "__main__":
    ends("python tests/soak.py", main)
