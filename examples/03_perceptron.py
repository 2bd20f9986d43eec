"""The perceptron, update by update
================================

A perceptron has a weight for each pixel. Its score is the sum of weights times pixels, and its
guess the sign of the score. Rosenblatt's rule (1958) looks at one digit after the other and changes
the weights only at a mistake:

    w <- w + rate * answer * x        where the answer is 1 for one class and -1 for the other

so the weights are pictures: digits of one class added up, less those of the other. Top row: the
weights after the first updates on two classes of digits, computed by that line; the class
`Perceptron` does the same, and the script checks that it has the same weights after each digit.

Where no hyperplane separates the classes the rule never comes to rest. A rate that decays, such as
``1 / sqrt(t)`` at the t-th digit, calms it, as later updates count for less: middle, for the two
classes, by their mistakes so far, and for ten, by the errors on other digits.

Of ten classes each has its own weights. At a mistake the weights of the right class are *raised* by
the digit and those of the guess *lowered* by it (``multi_class="multinomial"``). What comes of it,
image by image, is a template of each class: where it hopes for ink (red), and where it does not
want to see any (blue), mostly where another digit would have it.
"""

import matplotlib.pyplot as plt
import numpy as np
from _gallery import load, pick, save

from estimators import Perceptron
from estimators.inspection import WeightsDisplay

X, X_test, y, y_test = load(6000, 2000)
side = int(np.sqrt(X.shape[1]))

# %%
# Two classes, by hand
# --------------------

one, other = 4, 9
pair, pair_test = np.isin(y, (one, other)), np.isin(y_test, (one, other))
digits, signs = X[pair], np.where(y[pair] == other, 1, -1)

rates = {"constant rate": "constant", "rate 1 / sqrt(t)": "invscaling"}
snapshots, mistakes = {}, {}
for name, schedule in rates.items():
    w, b = np.zeros(digits.shape[1]), 0.0
    model = Perceptron(learning_rate=schedule, shuffle=False)
    snapshots[name], mistakes[name] = {}, [0]
    for t, (x, sign) in enumerate(zip(digits[: pick(800, 60)], signs, strict=False), start=1):
        rate = 1.0 if schedule == "constant" else 1 / np.sqrt(t)
        n = mistakes[name][-1]
        if sign * (x @ w + b) <= 0:  # a wrong guess, or none
            w, b, n = w + rate * sign * x, b + rate * sign, n + 1
            snapshots[name][n] = w.copy()
        mistakes[name].append(n)
        model.partial_fit(x[None], [sign], classes=[-1, 1])
        assert np.allclose(model.coef_[0], w, atol=1e-4) and np.isclose(model.intercept_[0], b)
    print(f"{name}: {n} mistakes among {t} digits; Perceptron has the same weights after each")

# %%
# Ten classes, with the one rate and the other
# --------------------------------------------

curves = {}
for name, rate in rates.items():
    curve = Perceptron(learning_rate=rate, multi_class="multinomial")
    curves[name] = []
    for _ in range(pick(15, 3)):
        curve.partial_fit(X, y, classes=np.arange(10))
        curves[name].append(100 * (1 - curve.score(X_test, y_test)))

# %%
# The templates of ten classes
# ----------------------------

templates = Perceptron(
    multi_class="multinomial", learning_rate="invscaling", max_iter=pick(15, 3), tol=None
).fit(X, y)
print(f"ten classes: {templates.score(X_test, y_test):.3f} right")

# %%
# The picture
# -----------

figure = plt.figure(figsize=(10, 6.6), layout="constrained")
steps_at, curves_at, templates_at = figure.subfigures(3, 1, height_ratios=[1, 1.15, 1.75])
mistakes_at, errors_at = curves_at.subplots(1, 2)

steps_at.suptitle(f"{one} (blue) against {other} (red): the weights, mistake by mistake")
of_rule = snapshots["constant rate"]
chosen = [n for n in (1, 2, 3, 4, 5, 10, 20, 40) if n in of_rule]
display = WeightsDisplay(
    np.stack([of_rule[n].reshape(side, side, 1) for n in chosen]),
    labels=[f"update {n}" for n in chosen],
)
display.plot(scale="each", columns=len(chosen), ax=steps_at.subplots())

for name, so_far in mistakes.items():
    mistakes_at.plot(so_far, label=name)
mistakes_at.set(title=f"{one} against {other}", xlabel="digits seen", ylabel="mistakes so far")
for name, errors in curves.items():
    errors_at.plot(np.arange(1, len(errors) + 1), errors, marker=".", label=name)
errors_at.set(title="Ten classes", xlabel="epoch", ylabel="% of digits wrong")
errors_at.xaxis.get_major_locator().set_params(integer=True)
mistakes_at.legend()
errors_at.legend(loc="upper right", ncols=2)
errors_at.margins(y=0.3)

templates_at.suptitle("Ten classes: the templates, raised (red) and lowered (blue) digit by digit")
WeightsDisplay.from_estimator(templates, scale="each", ax=templates_at.subplots())
save(figure)
