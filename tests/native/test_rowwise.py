"""The printed function of rows under the compiler's sanitizers: odd widths, a last block that overlaps, threads."""

import subprocess
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import bp_torch as bp
from bp_torch.insight import blocks
from bp_torch.native import build, rowwise
from bp_torch.trace import Layer

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not build.compiler() or "g++" not in str(build.compiler()), reason="needs g++"),
]

HELPERS = """
extern "C" { void* malloc(size_t); void* aligned_alloc(size_t, size_t); int printf(const char*, ...); }
static real* some(int64_t n) {
  real* p = (real*)malloc(n * sizeof(real));
  for (int64_t i = 0; i < n; i++) p[i] = i % 3 ? 0 : (i * 37 % 101) / real(101);
  return p;
}
static real* padded(int64_t rows, int64_t columns) {
  real* p = (real*)aligned_alloc(64, rows * pad(columns) * sizeof(real));
  for (int64_t i = 0; i < rows * pad(columns); i++)
    p[i] = i % pad(columns) < columns ? (i * 31 % 89 - 44) / real(890) : 0;
  return p;
}
"""


def program(sizes: list[int], m: int, dtype: torch.dtype, skips: bool) -> str:
    """The norms' code with a `main`, which takes the number of threads. Behind each matrix there is nothing."""
    net = bp.Network.create(sizes, hidden="gelu", cost="softmax_cross_entropy", dtype=dtype)

    def function(rows, parameters):
        layers = tuple(Layer(*pair) for pair in zip(parameters[::2], parameters[1::2], strict=True))
        return blocks.squares(bp.Network(layers, net.activations, net.cost_function), *rows)

    shapes = [(rowwise.BLOCK, n) for n in (sizes[0], sizes[-1])] + [tuple(t.shape) for t in net.parameters()]
    text, widths = rowwise._text(rowwise.OfRows(function, None), tuple(shapes), 2, dtype, skips)
    made = [
        f"padded({n_in}, {n_out}), padded(1, {n_out})"
        if skips and l == 0
        else f"padded({n_out}, {n_in}), padded(1, {n_out})"
        for l, (n_in, n_out) in enumerate(pairwise(sizes))
    ]
    made += [f"some({m})" for _ in widths]
    return f"""{text}{HELPERS}
int main(int, char** arguments) {{
  const int threads = *arguments[1] - '0';
  real *rows[] = {{some({m * sizes[0]}), some({m * sizes[-1]})}}, *parameters[] = {{{", ".join(made)}}};
  real* room = (real*)aligned_alloc(64, (workspace() * sizeof(real) * threads + 63) / 64 * 64);
  memset(room, 0, workspace() * sizeof(real) * threads);
  run(rows, {m}, parameters, room, threads);
  double sum = 0;
  for (int k = {2 * len(sizes) - 2}; k < {2 * len(sizes) - 2 + len(widths)}; k++)
    for (int i = 0; i < {m}; i++) sum += parameters[k][i];
  printf("%.9g", sum);
}}"""


@pytest.mark.parametrize("sanitizers", ["address,undefined", "thread"])
@pytest.mark.parametrize("skips", [True, False])
@pytest.mark.parametrize(
    ("sizes", "m", "dtype"),
    [([67, 33, 1, 5], 203, torch.float32), ([64, 16, 2], 80, torch.float64), ([1, 1], 81, torch.float32)],
)
def test_rows_are_read_and_written_where_they_lie(
    tmp_path: Path, sizes: list[int], m: int, dtype: torch.dtype, skips: bool, sanitizers: str
) -> None:
    (tmp_path / "rows.cpp").write_text(program(sizes, m, dtype, skips), encoding="utf-8")
    kept = [flag for flag in (*build.FLAGS, *build.THREADED) if flag not in ("-shared", "-fPIC")]
    flags = *kept, "-O1", f"-fsanitize={sanitizers}", "-fno-sanitize-recover=all"
    subprocess.run([str(build.compiler()), *flags, "rows.cpp", "-o", "rows"], cwd=tmp_path, check=True)
    found = []
    for threads in "123":
        command = [str(tmp_path / "rows"), threads]
        environment = {"ASAN_OPTIONS": "detect_leaks=0"}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
        assert (done.returncode, done.stderr) == (0, "")
        found.append(done.stdout)
    assert len(set(found)) == 1
