"""The same parameters and random_state give scikit-learn's model: its weights, losses and decisions, up to rounding."""

# scikit-learn's functions say little of what they return
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportCallIssue=false, reportArgumentType=false

from typing import Any

import numpy as np
import pytest
import sklearn.neural_network as theirs
from numpy.typing import NDArray
from sklearn.datasets import load_diabetes, load_iris, make_multilabel_classification
from sklearn.preprocessing import scale

import bp_torch.sklearn as ours

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X_IRIS: Any
Y_IRIS: Any
X_DIABETES: Any
Y_DIABETES: Any
X_LABELS: Any
Y_LABELS: Any
X_IRIS, Y_IRIS = load_iris(return_X_y=True)
X_IRIS = scale(X_IRIS)
X_DIABETES, Y_DIABETES = load_diabetes(return_X_y=True)
X_DIABETES, Y_DIABETES = scale(X_DIABETES)[:100], Y_DIABETES[:100] / 100
X_LABELS, Y_LABELS = make_multilabel_classification(n_samples=60, n_classes=3, random_state=0)
NAMES = np.array(["setosa", "versicolor", "virginica"])
WEIGHTS = np.linspace(0.5, 2, 150)


def _same(name: str, X: Any, y: Any, weights: Any = None, rtol: float = 1e-9, **parameters: Any) -> None:
    """Fits both, and holds everything that the fit leaves to be the same."""
    mine, wanted = (
        getattr(module, name)(random_state=3, **parameters).fit(X, y, sample_weight=weights)
        for module in (ours, theirs)
    )
    for attribute in ("coefs_", "intercepts_"):
        for got, expected in zip(getattr(mine, attribute), getattr(wanted, attribute), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=rtol * np.abs(expected).max())
    for attribute in ("n_iter_", "t_", "n_layers_", "n_outputs_", "out_activation_", "n_features_in_"):
        assert getattr(mine, attribute) == getattr(wanted, attribute), attribute
    for attribute in ("loss_", "best_loss_", "best_validation_score_", "loss_curve_", "validation_scores_"):
        if hasattr(wanted, attribute) and getattr(wanted, attribute) is not None:
            expected = getattr(wanted, attribute)
            np.testing.assert_allclose(getattr(mine, attribute), expected, rtol=rtol, err_msg=attribute)
        else:
            assert getattr(mine, attribute, None) is None, attribute
    predicted, expected = mine.predict(X), wanted.predict(X)
    assert predicted.dtype == expected.dtype
    if name == "MLPClassifier":
        assert np.array_equal(mine.classes_, wanted.classes_)
        assert np.array_equal(predicted, expected)
        np.testing.assert_allclose(mine.predict_proba(X), wanted.predict_proba(X), rtol=100 * rtol, atol=rtol)
    else:
        np.testing.assert_allclose(predicted, expected, rtol=0, atol=rtol * np.abs(expected).max())
    assert mine.score(X, y, weights) == pytest.approx(wanted.score(X, y, weights))


SETTINGS: dict[str, dict[str, Any]] = {
    "defaults": dict(),
    "sgd": dict(solver="sgd", learning_rate_init=0.1),
    "plain": dict(solver="sgd", momentum=0, learning_rate_init=0.1),
    "momentum": dict(solver="sgd", nesterovs_momentum=False, learning_rate_init=0.02),
    "invscaling": dict(solver="sgd", learning_rate="invscaling", learning_rate_init=0.5, power_t=0.3),
    "adaptive": dict(solver="sgd", learning_rate="adaptive", learning_rate_init=0.1, tol=1e-2, max_iter=80),
    "tol": dict(tol=0.01, n_iter_no_change=2, learning_rate_init=0.01, max_iter=100),
    "early": dict(early_stopping=True, validation_fraction=0.2, learning_rate_init=0.01, max_iter=60),
    "batches": dict(batch_size=25),
    "in order": dict(batch_size=25, shuffle=False, solver="sgd"),
    "deep": dict(hidden_layer_sizes=(7, 5), activation="tanh", beta_1=0.8, beta_2=0.99, epsilon=1e-3),
    "logistic": dict(hidden_layer_sizes=6, activation="logistic"),
    "identity": dict(hidden_layer_sizes=[4], activation="identity"),
    "no hidden": dict(hidden_layer_sizes=()),
    "lbfgs": dict(solver="lbfgs", max_iter=15),
}
TARGETS: dict[str, tuple[str, NDArray[Any], NDArray[Any], dict[str, Any]]] = {
    "names": ("MLPClassifier", X_IRIS, NAMES[Y_IRIS], {}),
    "two": ("MLPClassifier", X_IRIS, Y_IRIS == 1, {}),
    "labels": ("MLPClassifier", X_LABELS, Y_LABELS, {}),
    "values": ("MLPRegressor", X_DIABETES, Y_DIABETES, {}),
    "several": ("MLPRegressor", X_DIABETES, np.c_[Y_DIABETES, -Y_DIABETES], {}),
    "counts": ("MLPRegressor", X_DIABETES, np.round(Y_DIABETES), dict(loss="poisson")),
}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("target", ["names", "values"])
def test_each_setting_gives_their_model(target: str, setting: str) -> None:
    name, X, y, parameters = TARGETS[target]
    settings = {"max_iter": 20, **SETTINGS[setting], **parameters}
    rtol = 1e-5 if setting == "lbfgs" else 1e-7
    _same(name, X, y, rtol=rtol, **settings)


@pytest.mark.parametrize("setting", ["defaults", "early"])
@pytest.mark.parametrize("target", ["two", "labels", "several", "counts"])
def test_each_kind_of_target_gives_their_model(target: str, setting: str) -> None:
    name, X, y, parameters = TARGETS[target]
    _same(name, X, y, rtol=1e-7, **{"max_iter": 20, **SETTINGS[setting], **parameters})


@pytest.mark.parametrize("target", ["two", "labels", "counts"])
def test_lbfgs_gives_their_model(target: str) -> None:
    name, X, y, parameters = TARGETS[target]
    _same(name, X, y, rtol=1e-4, solver="lbfgs", max_iter=10, hidden_layer_sizes=10, **parameters)


@pytest.mark.parametrize("solver", ["sgd", "adam", "lbfgs"])
def test_weights_of_examples_give_their_model(solver: str) -> None:
    _same("MLPClassifier", X_IRIS, Y_IRIS, WEIGHTS, rtol=1e-6, solver=solver, max_iter=15, alpha=0.01)


def test_float32_gives_their_model_in_float32() -> None:
    _same("MLPClassifier", X_IRIS.astype(np.float32), Y_IRIS, rtol=1e-4, max_iter=20)


def test_calls_of_partial_fit_give_their_model() -> None:
    """Chunks of different sizes, by a rule that counts its steps."""
    for solver in ("sgd", "adam"):
        models = [
            module.MLPClassifier(solver=solver, random_state=1, learning_rate="invscaling", learning_rate_init=0.01)
            for module in (ours, theirs)
        ]
        for model in models:
            for rows in (slice(0, 70), slice(70, 75), slice(75, 150)):
                model.partial_fit(X_IRIS[rows], Y_IRIS[rows], classes=[0, 1, 2])
        mine, wanted = models
        for got, expected in zip(mine.coefs_, wanted.coefs_, strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-9)
        assert mine.loss_curve_ == pytest.approx(wanted.loss_curve_)


def test_a_warm_start_gives_their_model() -> None:
    models = [
        module.MLPClassifier(solver="sgd", warm_start=True, random_state=1, learning_rate="invscaling", max_iter=5)
        for module in (ours, theirs)
    ]
    for model in models:
        model.fit(X_IRIS, Y_IRIS).fit(X_IRIS, Y_IRIS)
    mine, wanted = models
    assert mine.t_ == wanted.t_
    assert mine.loss_curve_ == pytest.approx(wanted.loss_curve_)
    np.testing.assert_allclose(mine.coefs_[0], wanted.coefs_[0], rtol=0, atol=1e-9)


def test_examples_of_weight_0_take_their_places_in_the_batches() -> None:
    """As bagging gives them to those out of the bag: as many steps are taken as without weights."""
    weights = np.random.RandomState(0).binomial(1, 0.3, len(X_IRIS)).astype(float)
    parameters: Any = dict(hidden_layer_sizes=(6,), alpha=0, batch_size=25, max_iter=3, random_state=0)
    mine, wanted = (
        module.MLPClassifier(**parameters).fit(X_IRIS, Y_IRIS, sample_weight=weights) for module in (ours, theirs)
    )
    assert mine.t_ == wanted.t_
    for got, expected in zip(mine.coefs_, wanted.coefs_, strict=True):
        np.testing.assert_allclose(got, expected, atol=1e-12)
