"""The printed C++ under the sanitizers of the compiler, and built for CPUs other than this one.

A program of its own trains on what it makes up: every size of a tile, a panel and a ragged batch, on one to three
threads.
"""

import os
import platform
import shutil
import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import torch
from jobs import job

import bp_torch as bp
from bp_torch.native import build
from bp_torch.training.engines.native import source
from bp_torch.training.engines.native.inputs import ACTIVE, DENSE, Inputs
from bp_torch.training.job import Job
from bp_torch.training.plan import numbers_table

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not build.compiler() or "g++" not in str(build.compiler()), reason="needs g++"),
]

Shape = tuple[list[int], int, int, str, Inputs]
"""Sizes, examples, batch size, rule; how the examples come."""

TEAM = "-DTHREADS", "-pthread"
ARM = shutil.which("aarch64-linux-gnu-g++"), shutil.which("qemu-aarch64")
RAGGED = [1100, 70, 1, 33, 2]
SHAPES = [
    ([3, 1, 2], 9, 4, "adam", DENSE),
    (RAGGED, 71, 33, "sgd", DENSE),
    (RAGGED, 71, 33, "adam", DENSE),
    ([40, 1100, 3], 3, 1, "sgd", DENSE),
    (RAGGED, 71, 33, "sgd", ACTIVE),
    (RAGGED, 71, 33, "adam", ACTIVE),
    ([67, 1100, 3], 3, 1, "sgd", ACTIVE),
    (RAGGED, 71, 33, "sgd", Inputs("stored", "int")),
    (RAGGED, 71, 33, "adam", Inputs("stored", "long long")),
    (RAGGED, 71, 33, "sparse_adam", Inputs("stored", "int", lazy=True)),
    ([67, 1100, 3], 3, 1, "sgd", Inputs("stored", "int")),
    ([64, 5, 3], 9, 4, "sparse_adam", Inputs("stored", "int", lazy=True)),
]


def program(job: Job, inputs: Inputs) -> str:
    """The printed step with a `main`, which takes the number of threads.

    Each matrix is a block of memory of its own, with nothing behind it.
    """
    sizes, m, slots = job.state.net.sizes, len(job.data[0]), len(job.plan.rules[0].optimiser.slots)
    lines = [f"real *all = some({m * sizes[0]}), *y = some({m * sizes[-1]});"]
    if inputs.form == "stored":
        n = sizes[0]
        lines += [
            f"place *bounds = (place*)malloc({m + 1} * sizeof(place)), stored = 0;",
            f"for (int64_t i = 0; i < {m * n}; i++) stored += all[i] != 0;",
            "place* columns = (place*)malloc(stored * sizeof(place));",
            "real *values = (real*)malloc(stored * sizeof(real)), *turned = (real*)malloc(stored * sizeof(real));",
            "int32_t* numbers = (int32_t*)malloc(stored * sizeof(int32_t));",
            "stored = 0;",
            f"for (int64_t i = 0; i < {m * n}; i++) {{",
            f"if (i % {n} == 0) bounds[i / {n}] = stored;",
            f"if (all[i] != 0) {{ columns[stored] = i % {n}; values[stored++] = all[i]; }} }}",
            f"bounds[{m}] = stored;",
            "const Stored kept = {bounds, columns, values, numbers, turned}, *x = &kept;",
        ]
    elif inputs.form == "active":
        lines += [
            f"uint64_t* bits = (uint64_t*)malloc({m} * words({sizes[0]}) * 8);",
            f"real* values = (real*)malloc({m * sizes[0]} * sizeof(real) + 64);",
            f"int64_t* first = (int64_t*)malloc({m + 1} * 8);",
            f"compress(all, {m}, bits, values, first);",
            "const Rows rows = {bits, is_compressed() ? values : all, first}, *x = &rows;",
        ]
    else:
        lines.append("const real* x = all;")
    lines.append("real* parameters[] = {")
    for what in ["padded", *["zeros"] * slots]:
        shapes = [
            (n_in, n_out) if inputs.form and l == 0 else (n_out, n_in)
            for l, (n_in, n_out) in enumerate(pairwise(sizes))
        ]
        lines += [f"  {what}{shape}, {what}(1, {n_out})," for shape, n_out in zip(shapes, sizes[1:], strict=True)]
    lines += ["};", "double cost = 0;"]
    for size in job.sizes_of_batches:
        batches = m // size
        numbers = numbers_table(0.1, torch.full((batches,), size), job.plan)
        given = ", ".join(map(repr, numbers.flatten().tolist()))
        lines += [
            f"{{ int64_t* order = (int64_t*)malloc({batches * size} * 8);",
            f"for (int i = 0; i < {batches * size}; i++) order[i] = (i * 7) % {m};",
            f"const double given[] = {{{given}}};",
            f"real* numbers = (real*)malloc({numbers.numel()} * sizeof(real));",
            f"for (int i = 0; i < {numbers.numel()}; i++) numbers[i] = given[i];",
            f"real* workspace = (real*)aligned_alloc(64, (workspace_{size}() * sizeof(real) + 63) / 64 * 64);",
            f"memset(workspace, 0, workspace_{size}() * sizeof(real));",
            f"cost += run_{size}(x, y, nullptr, order, {batches}, numbers, nullptr, parameters, workspace,",
            "*arguments[1] - '0');",
            "free(order); free(numbers); free(workspace); }",
        ]
    body = "\n  ".join(lines)
    return f"""{source.of(job, inputs)}
extern "C" {{
void* malloc(size_t);
void* aligned_alloc(size_t, size_t);
void free(void*);
int printf(const char*, ...);
}}
static real* some(int64_t n) {{
  real* p = (real*)malloc(n * sizeof(real));
  for (int64_t i = 0; i < n; i++) p[i] = i % 3 ? 0 : (i * 37 % 101) / real(101);
  return p;
}}
static real* padded(int64_t rows, int64_t columns) {{
  real* p = (real*)aligned_alloc(64, rows * pad(columns) * sizeof(real));
  for (int64_t i = 0; i < rows * pad(columns); i++)
    p[i] = i % pad(columns) < columns ? (i * 31 % 89 - 44) / real(890) : 0;
  return p;
}}
static real* zeros(int64_t rows, int64_t columns) {{
  real* p = (real*)aligned_alloc(64, rows * pad(columns) * sizeof(real));
  memset(p, 0, rows * pad(columns) * sizeof(real));
  return p;
}}
int main(int, char** arguments) {{
  {body}
  printf("%.6g\\n", cost);
  return !(cost == cost);
}}"""


def costs(
    folder: Path,
    code: str,
    *flags: str,
    threads: str = "1",
    compiler: str = str(build.compiler()),
    by: str | None = None,
) -> list[float]:
    """What the program comes to, compiled with these flags, on each of these numbers of threads. by: an emulator."""
    (folder / "step.cpp").write_text(code, encoding="utf-8")
    left_out = {"-shared", "-fPIC", *(["-march=native"] if by else [])}
    kept = [flag for flag in build.FLAGS if flag not in left_out]
    subprocess.run([compiler, *kept, "-O1", *flags, "step.cpp", "-o", "step"], cwd=folder, check=True)
    environment = {**os.environ, "ASAN_OPTIONS": "detect_leaks=0"}
    found = []
    for count in threads:
        command = [*([by] if by else []), str(folder / "step"), count]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        found.append(float(done.stdout))
    return found


def step(shape: Shape) -> str:
    sizes, m, batch_size, optimizer, inputs = shape
    net = bp.Network.create(sizes, hidden="gelu", cost="softmax_cross_entropy")
    return program(job(net, m, batch_size=batch_size, optimizer=optimizer), inputs)


each_shape = pytest.mark.parametrize("shape", SHAPES, ids=str)


@each_shape
def test_addresses_and_arithmetic_are_defined(tmp_path: Path, shape: Shape) -> None:
    flags = "-fsanitize=address,undefined", "-fno-sanitize-recover=all", *TEAM
    alone, *others = costs(tmp_path, step(shape), *flags, threads="123")
    assert others == [alone, alone]


@each_shape
def test_threads_do_not_race(tmp_path: Path, shape: Shape) -> None:
    assert costs(tmp_path, step(shape), *TEAM, "-fsanitize=thread", threads="23")


@pytest.mark.skipif(platform.machine() != "x86_64", reason="these are x86-64's")
@pytest.mark.parametrize("march", ["x86-64", "x86-64-v3"], ids=["SSE2", "AVX2"])
@each_shape
def test_builds_for_other_cpus_train_alike(tmp_path: Path, shape: Shape, march: str) -> None:
    here = costs(tmp_path, step(shape))
    flags = f"-march={march}", "-fsanitize=address,undefined", "-fno-sanitize-recover=all"
    assert costs(tmp_path, step(shape), *flags) == pytest.approx(here, rel=1e-3)


@pytest.mark.skipif(not all(ARM), reason="needs g++ for aarch64 and qemu-user")
@each_shape
def test_a_build_for_arm_trains_alike(tmp_path: Path, shape: Shape) -> None:
    """NEON, in an emulator."""
    compiler, emulator = map(str, ARM)
    alike = costs(tmp_path, step(shape), "-static", *TEAM, threads="12", compiler=compiler, by=emulator)
    assert alike == pytest.approx(costs(tmp_path, step(shape)) * 2, rel=1e-3)
