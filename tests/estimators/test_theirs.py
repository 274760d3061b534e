"""scikit-learn's own tests of its MLP, and its checks of any estimator, on ours."""

# scikit-learn's functions say little of what they return
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportCallIssue=false, reportArgumentType=false

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest
from sklearn.utils.estimator_checks import check_estimator

from bp_torch.sklearn import MLPClassifier, MLPRegressor

EXPECTED_FAILED: dict[str, str] = {}
"""Checks of scikit-learn that an estimator of ours can't pass, with the reason; docs/sklearn.md lists them."""

DESELECTED: dict[str, str] = {}
"""Tests of scikit-learn's MLP that hold of its own alone, with the reason; docs/sklearn.md lists them."""

IMPORT = "from sklearn.neural_network import MLPClassifier, MLPRegressor\n"


@pytest.mark.parametrize("kind", [MLPClassifier, MLPRegressor])
@pytest.mark.filterwarnings("ignore")
def test_check_estimator_passes(kind: type) -> None:
    results = check_estimator(kind(max_iter=100), expected_failed_checks=EXPECTED_FAILED, on_skip=None, on_fail="raise")
    assert {each["check_name"] for each in results if each["status"] == "xfail"} == set(EXPECTED_FAILED)
    assert len(results) > 50


def test_the_tests_of_scikit_learns_mlp_pass(tmp_path: Path) -> None:
    """The installed file, whose import is put on our door: it runs in a process of its own, without our settings."""
    spec = importlib.util.find_spec("sklearn.neural_network.tests.test_mlp")
    assert spec is not None
    assert spec.origin is not None
    text = Path(spec.origin).read_text(encoding="utf-8")
    assert text.count(IMPORT) == 1
    file = tmp_path / "test_their_mlp.py"
    file.write_text(
        text.replace(IMPORT, "from bp_torch.sklearn import MLPClassifier, MLPRegressor\n"), encoding="utf-8"
    )
    (tmp_path / "pytest.ini").write_text("[pytest]\n", encoding="utf-8")
    deselected = [argument for name in DESELECTED for argument in ("--deselect", f"{file.name}::{name}")]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "sklearn.conftest", *deselected, file.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout
    assert "failed" not in ran.stdout
