"""Features made by hand against features learned
==============================================

No line separates a ring from the points inside of it. Two ways lead out.

One is to think: what matters is the distance from the middle. With the features ``a^2`` and ``b^2``
in place of a and b (top, second picture) a line separates the two classes, and drawn in the plane
that line is an ellipse. It takes somebody who knows what to look for.

The other is to learn the features too. A hidden layer of three units is trained together with the
line that reads it. Bottom left is the boundary that it finds in the plane; next to it, the same
points as the hidden layer sees them, turned so that the flat cut is in view. The layer has lifted
the middle out of the ring: now a plane separates them.

Right: the same on real digits, with the products of pairs of pixels as features made by hand
(components of the digits, to be exact), against a hidden layer that learns its own. Both leave the
plain pixels behind. The products do so thanks to whoever thought of them; the hidden layer was told
nothing, and the same three lines learn features of anything else.
"""

import matplotlib.pyplot as plt
import numpy as np
from _gallery import load, pick, save
from sklearn.datasets import make_circles
from sklearn.decomposition import PCA
from sklearn.inspection import DecisionBoundaryDisplay
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer, PolynomialFeatures, StandardScaler

from cukernels import matmul
from estimators import LogisticRegression, MLPClassifier

rings, inside = make_circles(300, noise=0.08, factor=0.45, random_state=0)

# %%
# Three models of the rings
# -------------------------

line = LogisticRegression().fit(rings, inside)
squares = make_pipeline(FunctionTransformer(np.square), LogisticRegression(C=100))
squares.fit(rings, inside)
network = MLPClassifier(
    (3,), activation="tanh", solver="lbfgs", alpha=0.01, random_state=1, dtype="float64"
).fit(rings, inside)  # fmt: skip

# What the hidden layer sees: the first half of the network, by the op that it is made of.
hidden = matmul(rings, network.coefs_[0], network.intercepts_[0], activation="tanh")
normal = network.coefs_[1][:, 0] / np.linalg.norm(network.coefs_[1])
height = hidden @ normal + network.intercepts_[1][0] / np.linalg.norm(network.coefs_[1])
flat = hidden - np.outer(hidden @ normal, normal)
sideways = PCA(1).fit_transform(flat)[:, 0]

# %%
# Digits
# ------

X, X_test, y, y_test = load(6000, 2000)
components = PCA(pick(40, 10), random_state=0)
models = {
    "pixels": LogisticRegression(C=0.1, max_iter=100, tol=1e-3),
    "products of\n40 components": make_pipeline(
        components, PolynomialFeatures(2), StandardScaler(),
        LogisticRegression(C=0.01, max_iter=100, tol=1e-3),
    ),
    "learned:\n256 units": MLPClassifier(
        (256,), max_iter=pick(25, 3), batch_size=64, learning_rate="cosine", random_state=0
    ),
}  # fmt: skip
scores = {name: model.fit(X, y).score(X_test, y_test) for name, model in models.items()}
for name, score in scores.items():
    print(f"digits, {' '.join(name.split()):30} {score:.3f} right")

# %%
# The picture
# -----------

figure, axes = plt.subplot_mosaic(
    [["line", "squares", "digits"], ["network", "hidden", "digits"]],
    figsize=(10, 6.4), width_ratios=[1, 1, 0.95], layout="constrained",
)  # fmt: skip


def show_points(ax, points):
    for value, color in ((0, "C0"), (1, "C3")):
        ax.scatter(
            *points[inside == value].T, s=12, color=color, edgecolors="white", linewidths=0.3
        )


for name, model, title in (
    ("line", line, "a and b: no line will do"),
    ("network", network, "a and b, by three hidden units"),
):
    DecisionBoundaryDisplay.from_estimator(
        model, rings, ax=axes[name], response_method="predict_proba", plot_method="pcolormesh",
        cmap="RdBu_r", vmin=-1, vmax=2, grid_resolution=pick(200, 30), eps=0.3,
    )  # fmt: skip
    show_points(axes[name], rings)
    axes[name].set(title=title, aspect="equal", xlabel="a", ylabel="b")

squared = rings**2
show_points(axes["squares"], squared)
(weights,), (bias,) = squares[-1].coef_, squares[-1].intercept_
along = np.array([0, squared[:, 0].max()])
axes["squares"].plot(along, -(bias + weights[0] * along) / weights[1], color="0.2")
axes["squares"].set(
    title="made by hand: the squares", xlabel="a²", ylabel="b²",
    xlim=(-0.05, None), ylim=(-0.05, squared[:, 1].max() * 1.05),
)  # fmt: skip
show_points(axes["hidden"], np.stack([sideways, height], axis=1))
axes["hidden"].axhline(0, color="0.2")
axes["hidden"].set(
    title="learned: what the hidden layer sees", xlabel="along the cut", ylabel="across the cut"
)
bars = axes["digits"].bar(range(3), [100 * (1 - s) for s in scores.values()],
                          color=["0.75", "0.55", "0.35"])  # fmt: skip
axes["digits"].bar_label(bars, fmt="%.1f %%")
axes["digits"].set_xticks(range(3), list(scores))
axes["digits"].set(title="digits: errors on the test set", ylabel="% wrong")
axes["digits"].spines[["top", "right"]].set_visible(False)
save(figure)
