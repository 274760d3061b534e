"""Breaks one line of the package at a time and demands that the suite fails: python tests/mutants.py.

Each mutant is a copy of the repository with one text replaced; the copy without a replacement has to pass.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
TESTS = [
    "tests/test_equations.py",
    "tests/test_gradients.py",
    "tests/training/test_step.py",
    "tests/training/test_loop.py",
    "tests/test_optimisers.py",
    "tests/test_schedules.py",
    "tests/test_dropout.py",
    "tests/test_clipping.py",
    "tests/training/test_plan.py",
    "tests/test_sequential.py",
    "tests/test_sparse.py",
    "tests/training/test_sparse.py",
    "tests/test_network.py",
    "tests/test_given.py",
    "tests/training/test_held_out.py",
    "tests/estimators/test_equal.py",
]  # quick

MUTANTS = [
    ("BP1 with the wrong sign", "costs.py", "output_error(a - y,", "output_error(y - a,"),
    ("BP1 without σ′", "equations.py", "return grad_a * sigma_prime", "return grad_a"),
    ("BP2 without σ′", "equations.py", "(delta_next @ w_next).mul_(sigma_prime)", "delta_next @ w_next"),
    ("BP2 with the wrong sign", "equations.py", "return (delta_next @ w_next)", "return -(delta_next @ w_next)"),
    ("BP2 with w transposed", "equations.py", "(delta_next @ w_next)", "(delta_next @ w_next.mT)"),
    (
        "BP2 with the w of the layer below",
        "passes.py",
        "net.layers[l].w, delta, sigma_prime",
        "net.layers[l - 1].w, delta, sigma_prime",
    ),
    ("BP2 with the σ′ of the layer above", "passes.py", "trace.z[l - 1], trace.a[l])", "trace.z[l], trace.a[l + 1])"),
    ("BP3 without 1/m", "equations.py", "return delta.mean(-2)", "return delta.sum(-2)"),
    ("no bias gradient", "equations.py", "return delta.mean(-2)", "return 0 * delta.mean(-2)"),
    ("BP4 without 1/m", "equations.py", "weight_sum(delta, a) / delta.shape[-2]", "weight_sum(delta, a)"),
    ("BP4 with the wrong sign", "equations.py", "return delta.mT @ a", "return -delta.mT @ a"),
    ("z with w transposed", "equations.py", "torch.addmm(b, a, w.mT)", "torch.addmm(b, a, w)"),
    ("z without b", "equations.py", "torch.addmm(b, a, w.mT)", "torch.mm(a, w.mT)"),
    ("z rounded otherwise than by torch's Linear", "equations.py", "torch.addmm(b, a, w.mT)", "(a @ w.mT).add_(b)"),
    ("z of a stack with w transposed", "equations.py", "a @ w.mT if dense", "a @ w if dense"),
    ("z of a stack without b", "equations.py", "z.add_(b if b.ndim == 1 else b.unsqueeze(-2))", "z"),
    ("logits without their softmax", "sequential.py", "activations[-1] = chosen.output", "pass"),
    ("a module's options unseen", "sequential.py", "if _options(module) != _options(made) and", "if False and"),
    ("Poisson's cost without y", "costs.py", "(a - y * z).sum(-1)", "(a - z).sum(-1)"),
    ("steps before a run forgotten", "training/tables.py", "taken + (begin - 1) * batches", "(begin - 1) * batches"),
    (
        "an estimator's ε as torch has it",
        "estimators/choices.py",
        "eps * (1 - self.betas[1] ** t) ** -0.5",
        "eps + 0 * t",
    ),
    ("a velocity of another rate", "estimators/stochastic.py", "velocity.mul_(kept.learning_rate / rate)", "pass"),
    ("Adam's mean without its correction", "adam.py", "rate / (1 - b1**t), (1", "rate + 0 * t, (1"),
    ("Nesterov's momentum as the plain one", "optimisers.py", "g + momentum * v if self.nesterov else v", "v"),
    ("weight decay on nothing", "updates.py", "g + decay * w if weight_decay else g", "g"),
    ("the mask missing in the backward pass", "passes.py", "sigma_prime = sigma_prime * mask", "pass"),
    (
        "BP4 with what the mask took away",
        "trace.py",
        "return self.entered[l] if self.entered else self.a[l]",
        "return self.a[l]",
    ),
    ("dropout without 1 / (1 − p)", "training/plan.py", "[1 / (1 - rate) for rate", "[1.0 for rate"),
    ("the same masks in each epoch", "training/job.py", "self.recipe.seed, epoch)", "self.recipe.seed, 1)"),
    ("no clipping", "clipping.py", "return (most / (norm + EPSILON)).clamp(max=1)", "return 0 * first + 1"),
    ("the norm by the errors without the biases", "clipping.py", "products(a, a) + 1)", "products(a, a))"),
    ("a mask by places that forget the rows before", "sparse.py", "(row_numbers(x) + first)", "row_numbers(x)"),
    (
        "BP4 of a sparse x in the wrong columns",
        "sparse.py",
        "return Active(numbers.long()",
        "return Active(numbers.long().flip(0)",
    ),
    (
        "a sparse batch of the wrong sign",
        "sparse.py",
        "index_select(0, stored), x.values()",
        "index_select(0, stored), -x.values()",
    ),
    (
        "the lazy Adam that keeps its means",
        "training/lazy.py",
        "*zip(slots, of_used.slots, strict=True)",
        "*zip((), ())",
    ),
    (
        "the book's penalty on biases",
        "training/step.py",
        "with_penalty(net.layers[l].w, w, of.l2, of.l1), b)",
        "with_penalty(net.layers[l].w, w, of.l2, of.l1), with_penalty(net.layers[l].b, b, of.l2, of.l1))",
    ),
    ("max_norm that lengthens", "penalties.py", "(most / norm).clamp(max=1)", "(most / norm)"),
    (
        "weighted costs by the number of examples",
        "training/tables.py",
        "totals = sizes if counts is None else _summed(counts[orders[0]], recipe.batch_size)",
        "totals = sizes",
    ),
    (
        "no label smoothing",
        "training/weighting.py",
        "return (1 - epsilon) * y + epsilon / y.shape[-1]",
        "return y",
    ),
    (
        "a schedule by the epoch alone",
        "training/tables.py",
        "recipe.lr.rates(numbers / (recipe.epochs * batches))",
        "recipe.lr.rates(numbers // batches / recipe.epochs)",
    ),
    ("a factor of the biases on all", "factors.py", '"biases": kind == 1', '"biases": True'),
    (
        "the last part of a step alone",
        "training/step.py",
        "gradient if l not in totals else Layer(*map(torch.add, totals[l], gradient))",
        "gradient",
    ),
    ("the cosine falls in the warm-up", "schedules.py", "self.final, self._after_warmup(p))", "self.final, p)"),
    ("the first step of a warm-up lost", "schedules.py", "WARMUP_FROM + (1 - WARMUP_FROM) *", "1 *"),
    ("the step uphill", "training/plan.py", "-rates if plan.is_plain", "rates if plan.is_plain"),
    (
        "the step without 1/m",
        "training/plan.py",
        "if plan.is_plain else 1) / totals]",
        "if plan.is_plain else 1) + 0 * t]",
    ),
    (
        "the step without the biases",
        "training/step.py",
        "            bias_update(net.layers[l].b, delta, batch.ones)\n",
        "",
    ),
    ("BP4's step without w", "equations.py", "        w.addmm_(delta.mT, a)\n", "        pass\n"),
    (
        "the ragged batch's 1/m from the full batch",
        "training/batches.py",
        "    sizes[-1] = m - batch_size * (len(sizes) - 1)\n",
        "",
    ),
    (
        "a number is rounded that nobody asked to round",
        "given.py",
        "        if place is not None:",
        "        if False:",
    ),
    ("two classes exchanged", "network.py", "torch.cat([1 - a, a], -1)", "torch.cat([a, 1 - a], -1)"),
    (
        "trained on what is held out, too",
        "training/examples.py",
        "_rows(data, ~apart), _rows(data, apart)",
        "data, _rows(data, apart)",
    ),
]


def survives(name: str, file: str = "", text: str = "", replacement: str = "") -> bool:
    """Whether the tests pass on a copy in which `text` of `file` is replaced."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder)
        for part in ("bp_torch", "tests", "scripts"):
            shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copy(ROOT / "pyproject.toml", copy)
        if file:
            path = copy / "bp_torch" / file
            source = path.read_text()
            if source.count(text) != 1:
                sys.exit(
                    f"{name}: {file} holds {text!r} {source.count(text)} times, not once: bring this list up to date"
                )
            path.write_text(source.replace(text, replacement))
        python = [sys.executable, "-P"]  # the copy is found through PYTHONPATH, nothing through the current folder
        environment = {**os.environ, "PYTHONPATH": folder}
        where = [*python, "-c", "import bp_torch; print(bp_torch.__file__)"]
        imported = subprocess.run(where, cwd=copy, env=environment, capture_output=True, text=True, check=False).stdout
        if not imported.startswith(folder):
            sys.exit(f"the copy in {folder} was to be tested, not {imported!r}")
        tests = [*python, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *TESTS]
        done = subprocess.run(tests, cwd=copy, env=environment, capture_output=True, text=True, check=False)
        if done.returncode not in (0, 1):  # 1: tests failed; anything else, they could not be run
            sys.exit(f"{name}: the tests could not be run\n{done.stdout}{done.stderr}")
        return done.returncode == 0


def main() -> None:
    if not survives("no mutant"):
        sys.exit("the tests fail without any mutant")
    alive = []
    for mutant in MUTANTS:
        lives = survives(*mutant)
        print(f"{'ALIVE ' if lives else 'killed'}  {mutant[0]}", flush=True)
        alive += [mutant[0]] if lives else []
    print(f"{len(MUTANTS) - len(alive)} of {len(MUTANTS)} mutants killed")
    sys.exit(bool(alive))


if __name__ == "__main__":
    main()
