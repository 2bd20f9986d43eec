"""Training set, validation set, test set
======================================

A model that knows its training digits by heart has learned nothing yet: what counts are the errors
on digits that it has not seen. So the data are cut in three. The *training set* sets the weights,
the *validation set* sets what the weights are trained with (how long, how strong a penalty, how
many units), and the *test set* is looked at once, in the end, since whatever has been chosen on a
set looks better on it than it is.

Left: a large network on a few digits, of which a fifth have a wrong label. It learns the digits
first, and then, by and by, the mistakes as well: the loss on its own digits goes on falling while
that on others turns (the star) and rises. `early_stopping=True` stops at the turn.

Middle: the same with the strength of a penalty. With a weak one (on the right) the training digits
are known by heart; with a strong one not even those are learned. The validation score has its best
(the star) in between.

Right: where digits are scarce, none can be spared for validation. In *k-fold cross-validation* each
of k parts is held out in turn, and with as many parts as digits this is *leave-one-out*. More parts
leave more to learn from, so that the estimate is less too low: the truth, here, is the score on the
large test set of a model that learned from all of 150 digits. Each point is an estimate with other
digits, each bar their mean.
"""

import matplotlib.pyplot as plt
import numpy as np
from _gallery import load, pick, save
from sklearn.metrics import log_loss
from sklearn.model_selection import GridSearchCV, KFold, LeaveOneOut, cross_val_score

from estimators import LogisticRegression, MLPClassifier, NearestNeighborClassifier
from estimators.inspection import SearchDisplay

pool, X_test, pool_labels, y_test = load(3000, 2000)
X, y = pool[:300], pool_labels[:300]

# %%
# How long
# --------

rng = np.random.default_rng(0)
mistaken = y.copy()
flipped = rng.random(len(y)) < 0.2
mistaken[flipped] = rng.integers(0, 10, flipped.sum())

losses = {"its own digits": [], "other digits": []}


def watch(model, info):
    """After each epoch: the loss on both sets. Returning True would stop the training."""
    losses["its own digits"].append(log_loss(mistaken, model.predict_proba(X)))
    losses["other digits"].append(log_loss(y_test, model.predict_proba(X_test)))


large = MLPClassifier(
    (256,), batch_size=30, learning_rate_init=0.003, max_iter=pick(60, 5), tol=0, alpha=0,
    random_state=0, callbacks=watch,
)  # fmt: skip
large.fit(X, mistaken)

# %%
# How strong a penalty
# --------------------

strengths = {"C": np.logspace(-5, 3, pick(9, 3)).tolist()}
search = GridSearchCV(
    LogisticRegression(max_iter=200, tol=1e-3), strengths, cv=3, return_train_score=True
)
search.fit(X, mistaken)

# %%
# How many folds
# --------------

n, neighbor = 150, NearestNeighborClassifier()
splits = {str(k): KFold(k, shuffle=True, random_state=0) for k in pick((2, 3, 5, 10, 30), (2, 5))}
splits[f"{n}\nleave-one-out"] = LeaveOneOut()
gaps = {name: [] for name in splits}
for start in range(0, len(pool), n)[: pick(20, 2)]:  # twenty times other digits
    few, few_labels = pool[start : start + n], pool_labels[start : start + n]
    truth = neighbor.fit(few, few_labels).score(X_test, y_test)
    for name, split in splits.items():
        estimate = cross_val_score(neighbor, few, few_labels, cv=split).mean()
        gaps[name].append(100 * (estimate - truth))
for name, values in gaps.items():
    print(f"{name.split()[0]:>4} folds: {np.mean(values):+.1f} +- {np.std(values):.1f} % too high")

# %%
# The picture
# -----------

figure, (long, strong, many) = plt.subplots(1, 3, figsize=(11, 3.6), layout="constrained")

epochs = np.arange(1, len(losses["other digits"]) + 1)
for name, values in losses.items():
    long.plot(epochs, values, label=f"on {name}")
turn = int(np.argmin(losses["other digits"]))
long.plot(epochs[turn], losses["other digits"][turn], "*", color="C3", markersize=12, label="turn")
long.set(title="How long to train", xlabel="epoch", ylabel="log-loss", ylim=(0, None))
long.legend()

SearchDisplay.from_estimator(search, ax=strong)
strong.set(
    title="How strong a penalty", xlabel="C, the inverse of its strength",
    ylabel="part of digits that is right",
)  # fmt: skip

for place, values in enumerate(gaps.values()):
    many.plot(np.full(len(values), place), values, "o", color="C0", alpha=0.3)
    many.plot(place, np.mean(values), "_", color="C0", markersize=22, markeredgewidth=2.5)
many.axhline(0, color="0.3", linestyle="--", label="the truth")
many.set_xticks(range(len(gaps)), list(gaps))
many.set(title="How many folds", xlabel="folds", ylabel="estimate less truth, in %")
many.legend(loc="lower right")
save(figure)
