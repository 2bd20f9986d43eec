"""A whole search at once
======================

How fast should a network learn, and how strong should its penalty be? Nobody knows beforehand, so
one tries: 5 rates times 8 strengths are 40 candidates, each trained three times, every time with
another third of the digits held out. That makes 120 networks. scikit-learn's `GridSearchCV` trains
one after the other, and for each of them it scales the digits and computes their principal
components anew.

The `GridSearchCV` of `estimators.model_selection` has the same parameters and the same results, to
the last bit. It trains the networks *together*, as one stack of models: a step of all of them is
one product of stacks of matrices. A small network leaves a processor waiting for Python most of the
time; 120 of them at once keep it busy. And what is the same for many candidates is computed once:
the scaling and the components here are fitted three times, once a fold, and not 120 times.

Left: the score of each candidate on digits that it has not learned from. The rate matters most: too
low, and the network has not got anywhere after 15 epochs; too high, and it throws away what it has
learned. With the right one a penalty helps as well. Below, with ``keep_curves=True``, the loss of
each candidate over its epochs, in the colour of its score: the best is not the one that learns its
own digits best. Right: how the time grows with the number of networks, trained together and one
after the other; and the best score so far, while the candidates are tried in their order.
"""

import time

import matplotlib.pyplot as plt
from _gallery import load, pick, save
from sklearn.decomposition import PCA
from sklearn.pipeline import Pipeline
from sklearn.preprocessing import StandardScaler

from estimators import MLPClassifier
from estimators.inspection import SearchDisplay
from estimators.model_selection import GridSearchCV

X, X_test, y, y_test = load(3000, 5000)

model = Pipeline(
    [
        ("scale", StandardScaler()),
        ("components", PCA(pick(50, 20), random_state=0)),
        ("network", MLPClassifier((32,), max_iter=pick(15, 3), random_state=0)),
    ]
)
grid = {
    "network__alpha": [0.001, 0.01, 0.1, 0.5, 1, 2, 5, 10],
    "network__learning_rate_init": [0.001, 0.003, 0.01, 0.03, 0.1],
}
search = GridSearchCV(model, grid, cv=3, keep_curves=True).fit(X, y)
right = search.score(X_test, y_test)
print(f"{search.best_score_:.3f} right with {search.best_params_}, {right:.3f} on the test set")

# %%
# Together, and one after the other
# ---------------------------------


def seconds(n_candidates, fused):
    """How long a search over the first candidates takes."""
    few = [{name: [value] for name, value in p.items()} for p in candidates[:n_candidates]]
    start = time.perf_counter()
    GridSearchCV(model, few, cv=3, refit=False, fused=fused).fit(X, y)
    return time.perf_counter() - start


candidates = search.cv_results_["params"]
together = {3 * n: seconds(n, True) for n in pick((1, 5, 10, 20, 40), (1, 40))}
alone = {3 * n: seconds(n, False) for n in pick((1, 2, 5, 10), (1, 2))}
for n, spent in alone.items():
    print(f"{n:3} networks: {spent:5.1f} s one after the other, {spent / n:.3f} s each")
for n, spent in together.items():
    print(f"{n:3} networks: {spent:5.1f} s together, {spent / n:.3f} s each")

# %%
# The picture
# -----------

figure, ((scores, times), (losses, best)) = plt.subplots(
    2, 2, figsize=(11, 8.4), layout="constrained", width_ratios=[1.25, 1]
)
SearchDisplay.from_estimator(
    search, params=["network__learning_rate_init", "network__alpha"], ax=scores
)
scores.set_title("Which rate, which penalty?")

for spent, name in ((alone, "one after the other"), (together, "together")):
    times.plot(list(spent), list(spent.values()), "o-", label=name)
times.set(title="How long", xlabel="networks", ylabel="seconds", xlim=(0, None), ylim=(0, None))
times.legend()

SearchDisplay.from_estimator(search, kind="loss", log=True, ax=losses)
losses.set_title("How each of them learns")
SearchDisplay.from_estimator(search, kind="best", ax=best)
best.set_title("How soon a good one is found")
save(figure)
