"""What our estimators do beyond scikit-learn's."""

# scikit-learn's functions say little of what they return
# pyright: reportAttributeAccessIssue=false, reportAssignmentType=false, reportCallIssue=false, reportArgumentType=false

import pickle
from collections.abc import Callable
from typing import Any

import joblib
import numpy as np
import pandas as pd
import polars as pl
import pytest
import scipy.sparse
import sklearn
import torch
from sklearn.base import clone
from sklearn.datasets import load_diabetes, load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler, scale

import bp_torch as bp
from bp_torch.sklearn import MLPClassifier, MLPRegressor

pytestmark = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")

X: Any
Y: Any
X, Y = load_iris(return_X_y=True)
X = scale(X)
X_REAL: Any
Y_REAL: Any
X_REAL, Y_REAL = map(scale, load_diabetes(return_X_y=True))
NAMES = np.array(["setosa", "versicolor", "virginica"])
SMALL: dict[str, Any] = dict(hidden_layer_sizes=(8, 5), max_iter=5, random_state=0, engine="eager")


def _bent(z: torch.Tensor) -> torch.Tensor:
    return z.sin()


def _slope(z: torch.Tensor, a: torch.Tensor) -> torch.Tensor:
    return z.cos()


SINE = bp.Activation("sine", _bent, _slope)


@pytest.mark.parametrize(
    "activation",
    ["gelu", "sigmoid", ["tanh", "relu"], (SINE, "logistic"), SINE],
    ids=["one", "sigmoid", "list", "own and theirs", "own"],
)
def test_activations_one_for_all_or_one_a_layer(activation: Any) -> None:
    model = MLPClassifier(activation=activation, **SMALL).fit(X, Y)
    names = [f.name for f in model.network_.activations]
    each = activation if isinstance(activation, (list, tuple)) else [activation] * 2
    assert names == [getattr(one, "name", {"logistic": "sigmoid"}.get(one, one)) for one in each] + ["softmax"]
    assert np.array_equal(pickle.loads(pickle.dumps(model)).predict(X), model.predict(X))  # noqa: S301


@pytest.mark.parametrize("solver", [*bp.OPTIMISERS, bp.AdamW(weight_decay=0.1)], ids=str)
def test_every_rule_of_the_table_is_a_solver(solver: Any) -> None:
    first, later = (MLPClassifier(solver=solver, **{**SMALL, "max_iter": n}).fit(X, Y).loss_ for n in (1, 5))
    assert later < first


def test_a_solver_with_its_options_is_that_rule() -> None:
    """The steps are those of bp.train, from the same weights, with the examples in the same order."""
    rule = bp.RMSprop(momentum=0.5)
    parameters: dict[str, Any] = {**SMALL, "shuffle": False, "alpha": 0.0, "batch_size": 50, "solver": rule}
    schedule = bp.schedules.cosine(0.01)
    model = MLPRegressor(learning_rate_init=schedule, dropout=0.0, l1=0.2, clip_norm=1.0, **parameters)
    start = MLPRegressor(**{**parameters, "max_iter": 1, "learning_rate_init": 1e-300}).fit(X_REAL, Y_REAL).network_
    model.fit(X_REAL, Y_REAL)
    data = torch.as_tensor(X_REAL), torch.as_tensor(Y_REAL).unsqueeze(1)
    settings: dict[str, Any] = dict(epochs=5, batch_size=50, optimizer=rule, lr=schedule, l1=0.2, clip_norm=1.0)
    records = list(bp.train(start, data, shuffle=False, engine="eager", **settings))
    for mine, wanted in zip(model.network_.parameters(), start.parameters(), strict=True):
        torch.testing.assert_close(mine, wanted, rtol=1e-9, atol=1e-12)
    assert len(model.loss_curve_) == len(records)


def test_dropout_and_label_smoothing_change_the_training() -> None:
    plain, *others = (
        MLPClassifier(**SMALL, **extra).fit(X, Y)
        for extra in (dict[str, Any](), dict(dropout=0.5), dict(dropout=[0.1, 0.2, 0.3]), dict(label_smoothing=0.2))
    )
    for other in others:
        assert not np.allclose(other.coefs_[0], plain.coefs_[0])
        assert np.array_equal(clone(other).fit(X, Y).coefs_[0], other.coefs_[0])


@pytest.mark.parametrize("solver", ["adam", "lbfgs"])
def test_class_weight_is_a_weight_of_each_example(solver: str) -> None:
    names, table = NAMES[Y], {"setosa": 3.0, "virginica": 0.5}
    weights = np.array([table.get(name, 1.0) for name in names])
    one = MLPClassifier(solver=solver, class_weight=table, **SMALL).fit(X, names)
    other = MLPClassifier(solver=solver, **SMALL).fit(X, names, weights)
    np.testing.assert_allclose(one.coefs_[0], other.coefs_[0])
    few = slice(30, None)
    balanced = MLPClassifier(class_weight="balanced", **SMALL).fit(X[few], Y[few])
    assert not np.allclose(balanced.coefs_[0], MLPClassifier(**SMALL).fit(X[few], Y[few]).coefs_[0])


def test_an_own_cost() -> None:
    model = MLPClassifier(cost="quadratic", **SMALL).fit(X, Y)
    assert model.out_activation_ == "logistic"
    np.testing.assert_allclose(model.predict_proba(X).sum(1), 1)
    assert MLPRegressor(cost="poisson", **SMALL).fit(X_REAL, Y_REAL + 10).out_activation_ == "exp"


def test_a_given_validation_set_and_its_losses() -> None:
    model = MLPClassifier(**SMALL).fit(X[::2], NAMES[Y][::2], X_val=X[1::2], y_val=NAMES[Y][1::2])
    net = model.network_
    wanted = net.cost(torch.as_tensor(X[1::2]), torch.as_tensor(Y[1::2])).item()
    assert model.validation_loss_curve_[-1] == pytest.approx(wanted)
    assert len(model.validation_loss_curve_) == model.n_iter_
    assert model.validation_scores_ is None
    stopped = MLPClassifier(early_stopping=True, **{**SMALL, "max_iter": 60}).fit(
        X[::2], Y[::2], X_val=X[1::2], y_val=Y[1::2]
    )
    assert stopped.score(X[1::2], Y[1::2]) == stopped.best_validation_score_ == max(stopped.validation_scores_)
    values = MLPRegressor(**SMALL).fit(X_REAL, Y_REAL, X_val=X_REAL[:9], y_val=Y_REAL[:9])
    wanted = np.mean((values.predict(X_REAL[:9]) - Y_REAL[:9]) ** 2) / 2
    assert values.validation_loss_curve_[-1] == pytest.approx(wanted)


def test_the_best_weights_are_restored() -> None:
    """By the validation loss: with a rate this high it rises and falls."""
    parameters: dict[str, Any] = {**SMALL, "solver": "sgd", "learning_rate_init": 1.5, "max_iter": 12, "tol": 0}
    data: dict[str, Any] = dict(X=X[::3], y=Y[::3], X_val=X[1::3], y_val=Y[1::3])
    last, best = (MLPClassifier(restore_best=each, **parameters).fit(**data) for each in (False, True))
    assert last.validation_loss_curve_ == best.validation_loss_curve_
    x, y = torch.as_tensor(X[1::3]), torch.as_tensor(Y[1::3])
    assert best.network_.cost(x, y).item() == pytest.approx(min(best.validation_loss_curve_))
    assert last.network_.cost(x, y).item() == pytest.approx(last.validation_loss_curve_[-1])
    assert best.validation_loss_curve_[-1] > min(best.validation_loss_curve_)


def test_iter_fit_is_fit_seen_epoch_by_epoch() -> None:
    model, seen = MLPClassifier(**SMALL), []
    for record in model.iter_fit(X, Y, X_val=X, y_val=Y):
        assert record.validation_cost == model.validation_loss_curve_[-1]
        seen.append((record.epoch, model.n_iter_, model.loss_, model.predict_proba(X)[0, 0]))
    whole = MLPClassifier(**SMALL).fit(X, Y)
    assert np.array_equal(model.coefs_[0], whole.coefs_[0])
    assert [epoch for epoch, *_ in seen] == [n for _, n, *_ in seen] == [1, 2, 3, 4, 5]
    assert [loss for _, _, loss, _ in seen] == whole.loss_curve_
    assert len({chance for *_, chance in seen}) == 5
    broken = MLPClassifier(**SMALL)
    for record in broken.iter_fit(X, Y):
        if record.epoch == 3:
            break
    assert broken.n_iter_ == 3
    assert np.array_equal(broken.coefs_[0], MLPClassifier(**{**SMALL, "max_iter": 3}).fit(X, Y).coefs_[0])
    assert not hasattr(MLPClassifier(solver="lbfgs"), "iter_fit")


def test_transform_gives_the_activations_of_a_hidden_layer() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    model = MLPClassifier(activation="tanh", **SMALL).set_output(transform="pandas").fit(frame, Y)
    hidden = model.transform(frame)
    assert list(hidden.columns) == list(model.get_feature_names_out()) == [f"mlpclassifier{k}" for k in range(5)]
    first = np.tanh(X @ model.coefs_[0] + model.intercepts_[0])
    np.testing.assert_allclose(hidden, np.tanh(first @ model.coefs_[1] + model.intercepts_[1]))
    np.testing.assert_allclose(model.set_params(transform_layer=0).transform(frame), first)
    with pytest.raises(ValueError, match="transform_layer is 2, and there are 2 hidden layers"):
        model.set_params(transform_layer=2).transform(frame)
    pipeline = make_pipeline(MLPClassifier(**{**SMALL, "max_iter": 100}), LogisticRegression()).fit(X, Y)
    assert pipeline.score(X, Y) > 0.8


def _chances(model: MLPClassifier, names: list[str]) -> Any:
    """The probabilities of these classes, among themselves."""
    chosen = model.predict_proba(X)[:, [list(model.classes_).index(name) for name in names]]
    return chosen / chosen.sum(1, keepdims=True)


@pytest.mark.parametrize("known", [["b"], ["b", "d"], ["b", "d", "f"]], ids="".join)
@pytest.mark.parametrize("new", ["a", "c", "z"])
@pytest.mark.parametrize("solver", ["sgd", "adam"])
def test_a_class_that_comes_later_gets_an_output(known: list[str], new: str, solver: str) -> None:
    """What was known stays as it was: with a rate of nearly 0, the known classes' chances don't change."""
    model = MLPClassifier(solver=solver, alpha=0, **SMALL)
    y = np.array(known)[np.arange(150) % len(known)]
    model.partial_fit(X, y, classes=known)
    before = None if len(known) == 1 else _chances(model, known)
    model._optimizer.learning_rate = 1e-300
    model.partial_fit(X[:9], [new] * 9)
    assert list(model.classes_) == sorted([*known, new])
    if before is not None:
        np.testing.assert_allclose(_chances(model, known), before, rtol=1e-6)
    assert model.out_activation_ == ("logistic" if len(known) == 1 else "softmax")
    model._optimizer.learning_rate = 0.05
    for _ in range(60):
        model.partial_fit(X, np.where(Y == 0, new, known[0]))
    assert model.score(X, np.where(Y == 0, new, known[0])) > 0.9


def test_classes_may_come_by_their_name_alone_and_labels_as_columns() -> None:
    model = MLPClassifier(**SMALL).partial_fit(X, Y == 1, classes=[False, True])
    assert model.partial_fit(X, Y == 1, classes=[False, True]).n_outputs_ == 1
    model = MLPClassifier(**SMALL).partial_fit(X[:50], Y[:50], classes=[0, 1])
    assert model.partial_fit(X, Y, classes=[0, 1, 2]).n_outputs_ == 3
    assert model.partial_fit(X, Y, classes=[0, 1]).n_outputs_ == 3  # as a loop says it each time
    labels = np.c_[Y == 0, Y > 0, Y == 2].astype(int)
    model = MLPClassifier(**SMALL).partial_fit(X, labels[:, :2], classes=[0, 1])
    before = model.predict_proba(X)
    model._optimizer.learning_rate = 1e-300
    model.partial_fit(X, labels)
    np.testing.assert_allclose(model.predict_proba(X)[:, :2], before)
    assert model.predict(X).shape == (150, 3)


REFUSED: list[tuple[Callable[[], Any], str]] = [
    (lambda: MLPClassifier().partial_fit(X, Y), "classes must be passed on the first call to partial_fit"),
    (lambda: MLPClassifier().partial_fit(X, Y, classes=[0, 1]), "`y` has classes not in `self.classes_`"),
    (
        lambda: MLPClassifier(**SMALL).partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, Y, classes=[1, 2]),
        "is not the same as on last call to partial_fit",
    ),
    (
        lambda: MLPClassifier(**SMALL).partial_fit(X, Y, classes=[0, 1, 2]).partial_fit(X, np.eye(3)[Y]),
        "y must be of the same kind in each call",
    ),
    (
        lambda: MLPClassifier(**SMALL).partial_fit(X, np.eye(3)[Y], classes=[0, 1, 2]).partial_fit(X, np.eye(2)[Y % 2]),
        "y has 2 labels, but MLPClassifier is expecting 3 labels",
    ),
    (lambda: MLPClassifier(class_weight="balanced").partial_fit(X, Y, classes=[0, 1, 2]), "is not supported for"),
    (
        lambda: MLPClassifier(learning_rate_init=bp.schedules.linear(0.1)).partial_fit(X, Y, classes=[0, 1, 2]),
        "partial_fit does not support a schedule",
    ),
    (lambda: MLPClassifier().fit(X, Y, X_val=X), "X_val and y_val go together"),
    (lambda: MLPClassifier().fit(X, Y, X_val=X[:, :2], y_val=Y), "X has 2 features, but MLPClassifier is expecting 4"),
    (lambda: MLPClassifier().fit(X, Y, X_val=X, y_val=Y + 1), "`y_val` has classes not in `self.classes_`"),
    (lambda: MLPClassifier().fit(X, Y, X_val=X, y_val=Y[:9]), "inconsistent numbers of samples"),
    (lambda: MLPClassifier(activation=["relu", "tanh"]).fit(X, Y), "activation names 2 activations, and hidden_layer"),
    (lambda: MLPClassifier(activation=["tan"]).fit(X, Y), "unknown activation 'tan': choose one of logistic"),
    (lambda: MLPClassifier(solver="lbfgs", dropout=0.5, l1=1.0).fit(X, Y), "solver='lbfgs' .* without l1, dropout"),
    (lambda: MLPClassifier(device="tpu").fit(X, Y), "unknown device 'tpu'"),
    (lambda: MLPClassifier(engine="steam").fit(X, Y), "unknown engine 'steam'"),
    (lambda: MLPClassifier().fit(X, Y, -np.ones(150)), "Negative values in data passed to `sample_weight`"),
    (lambda: MLPRegressor(loss="poisson").fit(X, Y - 1.0), r"out of the valid range of the loss 'poisson'"),
    (lambda: MLPRegressor().fit(X, NAMES[Y]), "MLPRegressor takes numbers as y, not <U10"),
]


@pytest.mark.parametrize(("call", "message"), REFUSED, ids=[message for _, message in REFUSED])
def test_what_cant_be_used_is_told(call: Callable[[], Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call()


def test_a_training_that_diverges_keeps_the_best_weights_where_it_is_to() -> None:
    parameters: dict[str, Any] = dict(solver="sgd", activation="identity", learning_rate_init=3.0, random_state=0)
    with pytest.raises(ValueError, match="Solver produced non-finite parameter weights"):
        MLPRegressor(**parameters).fit(100 * X_REAL, Y_REAL)
    model = MLPRegressor(early_stopping=True, **parameters)
    with pytest.warns(ConvergenceWarning, match="The best weights before it are kept"):
        model.fit(100 * X_REAL, Y_REAL)
    assert all(np.isfinite(coef).all() for coef in model.coefs_)
    assert np.isnan(model.validation_scores_[-1])


def test_sparse_x_gives_what_dense_x_gives_and_is_never_made_dense(monkeypatch: pytest.MonkeyPatch) -> None:
    dense = np.where(np.abs(X_REAL) > 1, X_REAL, 0)
    rows = scipy.sparse.csc_matrix(dense)
    labels = Y_REAL > 0
    wanted = [MLPClassifier(solver=solver, **SMALL).fit(dense, labels) for solver in ("adam", "lbfgs")]
    monkeypatch.setattr(scipy.sparse.csr_matrix, "toarray", lambda *_: pytest.fail("made dense"))
    monkeypatch.setattr(torch.Tensor, "to_dense", lambda *_, **__: pytest.fail("made dense"))
    for expected in [*wanted, clone(wanted[0]).set_params(engine="native").fit(dense, labels)]:
        model = clone(expected).fit(rows, labels)
        np.testing.assert_allclose(model.coefs_[0], expected.coefs_[0], rtol=0, atol=1e-6)
        np.testing.assert_allclose(model.predict_proba(rows), expected.predict_proba(dense), rtol=1e-4)
        np.testing.assert_allclose(model.transform(rows), expected.transform(dense), rtol=0, atol=1e-5)
    MLPClassifier(early_stopping=True, **SMALL).fit(rows, labels)


def test_frames_of_pandas_and_polars_with_their_own_dtypes() -> None:
    frame = pd.DataFrame(X, columns=list("abcd"))
    wanted = MLPClassifier(**SMALL).fit(X, NAMES[Y])
    tables: list[Any] = [frame, frame.convert_dtypes(), pl.DataFrame(X, schema=list("abcd"))]
    targets: list[Any] = [
        pd.Series(NAMES[Y], dtype="string"),
        pd.Series(NAMES[Y], dtype="category"),
        pl.Series(NAMES[Y].tolist()),
    ]
    for table, y in zip(tables, targets, strict=True):
        model = MLPClassifier(**SMALL).fit(table, y)
        assert list(model.feature_names_in_) == list("abcd")
        np.testing.assert_allclose(model.coefs_[0], wanted.coefs_[0])
        assert model.score(table, y) == wanted.score(X, NAMES[Y])
    with pytest.raises(ValueError, match="feature names should match those that were passed during fit"):
        MLPClassifier(**SMALL).fit(frame, Y).predict(frame[list("badc")])


def test_a_fitted_model_is_numpys_and_goes_on_where_it_stood(tmp_path: Any) -> None:
    model = MLPClassifier(**SMALL).fit(X, Y)
    content = pickle.dumps(model)
    assert b"torch._utils" not in content
    assert all(type(each) is np.ndarray for each in (*model.coefs_, *model.intercepts_))
    joblib.dump(model, tmp_path / "model.joblib")
    for other in (pickle.loads(content), joblib.load(tmp_path / "model.joblib", mmap_mode="r")):  # noqa: S301
        assert np.array_equal(other.predict_proba(X), model.predict_proba(X))
        other.partial_fit(X, Y)
    again = pickle.loads(content)  # noqa: S301
    again.partial_fit(X, Y)
    model.partial_fit(X, Y)
    assert model._optimizer.taken == again._optimizer.taken == 6
    np.testing.assert_allclose(again.coefs_[0], model.coefs_[0])
    model.coefs_[-1] = np.zeros_like(model.coefs_[-1])  # as with scikit-learn's, they are what predicts
    model.intercepts_[-1] = np.zeros_like(model.intercepts_[-1])
    np.testing.assert_allclose(model.predict_proba(X), 1 / 3)


def test_a_grid_in_two_processes_and_a_pipeline_with_routed_weights() -> None:
    grid = GridSearchCV(
        make_pipeline(StandardScaler(), MLPClassifier(**SMALL)),
        {"mlpclassifier__solver": ["adam", bp.Lion()]},
        cv=2,
        n_jobs=2,
    )
    assert grid.fit(X, Y).best_score_ > 0.3
    with sklearn.config_context(enable_metadata_routing=True):
        routed = MLPClassifier(**SMALL).set_fit_request(sample_weight=True, X_val=False, y_val=False)
        pipeline = make_pipeline(StandardScaler().set_fit_request(sample_weight=False), routed)
        weights = np.linspace(0, 1, 150)
        fitted = pipeline.fit(X, Y, sample_weight=weights)[-1]
    wanted = MLPClassifier(**SMALL).fit(StandardScaler().fit_transform(X), Y, weights)
    np.testing.assert_allclose(fitted.coefs_[0], wanted.coefs_[0])


def test_an_interrupt_keeps_what_was_learned(monkeypatch: pytest.MonkeyPatch) -> None:
    model = MLPClassifier(**SMALL)
    monkeypatch.setattr(MLPClassifier, "_as_loss", lambda self, cost: _interrupted(model, cost))
    with pytest.warns(UserWarning, match="Training interrupted by user"):
        model.fit(X, Y)
    assert model.predict(X).shape == (150,)


def _interrupted(model: MLPClassifier, cost: float) -> float:
    if model.n_iter_ == 3:
        raise KeyboardInterrupt
    return cost


def test_a_classifier_refuses_a_cost_whose_outputs_are_no_probabilities() -> None:
    with pytest.raises(ValueError, match="cost='poisson' has outputs that are no probabilities: leave cost out"):
        MLPClassifier(cost="poisson", **SMALL).fit(X, Y)


def test_targets_to_validate_on_have_the_outputs_of_the_others() -> None:
    with pytest.raises(ValueError, match="y_val has 2 outputs, and y has 1"):
        MLPRegressor(**SMALL).fit(X_REAL, Y_REAL, X_val=X_REAL, y_val=np.c_[Y_REAL, Y_REAL])


@pytest.mark.parametrize("sizes", [(2.5,), (True,), [7.9]], ids=str)
def test_neurons_are_whole_numbers(sizes: Any) -> None:
    with pytest.raises(TypeError, match="hidden_layer_sizes must be whole numbers"):
        MLPClassifier(**{**SMALL, "hidden_layer_sizes": sizes}).fit(X, Y)


def test_dropout_is_any_number() -> None:
    models = [MLPClassifier(dropout=p, **SMALL).fit(X, Y) for p in (0.5, np.float32(0.5), np.array([0, 0.5]))]
    for model in models[1:]:
        assert np.array_equal(model.coefs_[0], models[0].coefs_[0])


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_batch_of_weight_0_is_refused(shuffle: bool) -> None:
    weights = np.r_[np.ones(60), np.zeros(len(Y) - 60)]
    model = MLPClassifier(**{**SMALL, "batch_size": 5, "shuffle": shuffle})
    with pytest.raises(ValueError, match="all examples of a batch have weight 0: give a larger batch_size"):
        model.fit(X, Y, weights)


def test_a_negative_weight_of_a_class_is_refused() -> None:
    with pytest.raises(ValueError, match="weights must be finite and at least 0"):
        MLPClassifier(class_weight={0: -1}, **SMALL).fit(X, Y)


def test_a_model_may_be_fitted_within_its_own_loop() -> None:
    """The outer training goes on, and its weights are those of the end."""
    alone, model = (MLPClassifier(early_stopping=True, **SMALL) for _ in range(2))
    alone.fit(X, Y)
    for _ in model.iter_fit(X, Y):
        clone(model).fit(X, Y)
        MLPClassifier.fit(model, X, Y)
    assert np.array_equal(model.coefs_[0], alone.coefs_[0])
    plain = MLPClassifier(**SMALL)
    for _ in plain.iter_fit(X, Y):
        plain.partial_fit(X, Y)
    assert plain.n_iter_ > 0


def test_messages_of_training_name_the_estimators_parameters() -> None:
    with pytest.raises(ValueError, match="a smaller learning_rate_init"):
        MLPClassifier(solver="sgd", learning_rate_init=1e300, **SMALL).fit(X, Y)
    with pytest.raises(ValueError, match="alpha is of all: do without it, or use solver='adam'"):
        MLPClassifier(solver="sparse_adam", **SMALL).fit(scipy.sparse.csr_matrix(X), Y)
    with pytest.raises(ValueError, match=r"scale the targets$"):
        MLPRegressor(cost="binary_cross_entropy", **SMALL).fit(X_REAL, Y_REAL)
