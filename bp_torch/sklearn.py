"""scikit-learn's estimators, trained by `bp_torch`: change an import, and the program stays as it is.

    from bp_torch.sklearn import MLPClassifier  # was: from sklearn.neural_network import MLPClassifier

Parameters, their order and defaults, fitted attributes and messages are those of scikit-learn's own MLPs. What is new
stands after them; docs/sklearn.md tells of it, and of what differs. This module imports scikit-learn; `bp_torch` itself
does not.
"""

from bp_torch.estimators.classifier import MLPClassifier
from bp_torch.estimators.regressor import MLPRegressor

__all__ = ["MLPClassifier", "MLPRegressor"]
