"""Networks that compute AND, OR, NOT and XNOR
===========================================

A unit adds its weighted inputs and a bias, and squashes the sum to between 0 and 1 by the logistic
function. With inputs of 0 and 1 and large weights it is a logical gate:

    AND    -30 + 20 a + 20 b      above 0 only where both are 1
    OR     -10 + 20 a + 20 b      above 0 where one of them is
    NOT     10 - 20 a             above 0 where a is 0
    NOR     10 - 20 a - 20 b      NOT a AND NOT b, in one unit

Each cuts the plane by one line, and no line has (0, 0) and (1, 1) on one side and the two other
points on the other. So no unit computes XNOR, "both or none", or its opposite, XOR. Two layers do:
XNOR is (a AND b) OR (a NOR b), which takes the AND and the NOR above as hidden units and an OR that
reads them.

`MLPClassifier.from_weights` makes a network of given weights, which predicts at once and can be
trained on. The last two pictures are of XOR: the best that one unit can do is to say 1/2 at every
point, while a network with hidden units finds weights of its own.
"""

import matplotlib.pyplot as plt
import numpy as np
from _gallery import pick, save
from sklearn.inspection import DecisionBoundaryDisplay

from estimators import LogisticRegression, MLPClassifier

inputs = np.array([[0, 0], [0, 1], [1, 0], [1, 1]], dtype=float)
gate = MLPClassifier.from_weights

# %%
# Gates by hand
# -------------

AND = gate([[[20], [20]]], [[-30]])
OR = gate([[[20], [20]]], [[-10]])
NOT = gate([[[-20]]], [[10]])
XNOR = gate(
    coefs=[[[20, -20], [20, -20]], [[20], [20]]],  # into AND and NOR; from them into OR
    intercepts=[[-30, 10], [-10]],
    activation="logistic",
)
print("a b   AND OR  XNOR")
for row, *answers in zip(
    inputs.astype(int), *(g.predict(inputs) for g in (AND, OR, XNOR)), strict=True
):
    print(*row, "  {}   {}   {}".format(*answers))
print("NOT 0 is", *NOT.predict([[0]]), "and NOT 1 is", *NOT.predict([[1]]))

# %%
# XOR, learned
# ------------

xor = [0, 1, 1, 0]
line = LogisticRegression(C=1e4).fit(inputs, xor)
learned = MLPClassifier(
    (4,), activation="tanh", solver="lbfgs", alpha=1e-3, max_iter=pick(500, 100), random_state=1
).fit(inputs, xor)
print(f"XOR: one unit has {4 * line.score(inputs, xor):.0f} of 4 right, a network "
      f"{4 * learned.score(inputs, xor):.0f}")  # fmt: skip

# %%
# The picture
# -----------

figure, axes = plt.subplots(2, 3, figsize=(9.5, 6.2), layout="constrained")
plane = np.array([[-0.3, -0.3], [1.3, 1.3]])
panels = {
    "AND: -30, 20, 20": (AND, [0, 0, 0, 1]),
    "OR: -10, 20, 20": (OR, [0, 1, 1, 1]),
    "NOT: 10, -20": (NOT, [1, 0]),
    "XNOR: an OR of AND and NOR": (XNOR, [1, 0, 0, 1]),
    "XOR by one unit: impossible": (line, xor),
    "XOR by four hidden units, learned": (learned, xor),
}
for ax, (title, (model, answers)) in zip(axes.flat, panels.items(), strict=True):
    ax.set_title(title)
    colors = ["C3" if answer else "C0" for answer in answers]
    if model is NOT:
        a = np.linspace(-0.3, 1.3, 200)
        ax.plot(a, NOT.predict_proba(a[:, None])[:, 1], color="0.3")
        ax.axhline(0.5, color="0.7", linewidth=0.8, linestyle=":")
        ax.scatter([0, 1], answers, c=colors, s=140, edgecolors="white", zorder=3)
        ax.set(xlabel="a", ylabel="probability of 1")
        continue
    DecisionBoundaryDisplay.from_estimator(
        model, plane, response_method="predict_proba", plot_method="pcolormesh", eps=0,
        grid_resolution=pick(200, 30), cmap="RdBu_r", vmin=-0.5, vmax=1.5, ax=ax,
    )  # fmt: skip
    ax.scatter(*inputs.T, c=colors, s=140, edgecolors="white", zorder=3)
    for point, answer in zip(inputs, answers, strict=True):
        ax.text(*point, str(answer), color="white", ha="center", va="center", fontsize=9, zorder=4)
    ax.set(xlabel="a", ylabel="b", xticks=[0, 1], yticks=[0, 1], aspect="equal")
figure.suptitle("Where a network says 1 (red) and 0 (blue); points have the colour of the answer")
save(figure)
