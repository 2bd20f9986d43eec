"""Scores, probabilities, losses: logistic regression and softmax
==============================================================

A linear classifier has a score for each class. *Softmax* makes probabilities of them: it raises e
to each score and divides by the sum. The *loss* of a digit is the negative logarithm of the
probability that its true class is given; training makes the sum of the losses small, which is to
make the labels as likely as possible. Above: a model of three classes of digits, and its scores,
probabilities and loss for a digit that is easy, one that is not, and one that is lost.

Why the logarithm, and not the square of the difference between probability and answer? Below on the
left are both, for an answer of 1, against the score. The log-likelihood loss grows for ever, with a
slope near 1 wherever the model is wrong. The quadratic loss is flat there: the surer a mistake, the
smaller the gradient, and the less is learned from it.

Below on the right the same starting point, with all scores wrong by a wide margin, is trained with
the one and with the other: ``loss="log_loss"`` recovers at once, ``loss="squared_error"`` stands
still.
"""

import matplotlib.pyplot as plt
import numpy as np
from _gallery import load, pick, save

from estimators import LogisticRegression, MLPClassifier

X, X_test, y, y_test = load(6000, 2000)
side = int(np.sqrt(X.shape[1]))
names = np.array([3, 5, 8])
three, three_test = np.isin(y, names), np.isin(y_test, names)

# %%
# Three classes
# -------------

model = LogisticRegression(C=0.1, max_iter=200, tol=1e-3).fit(X[three], y[three])
digits, labels = X_test[three_test], y_test[three_test]
scores = model.decision_function(digits)
p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
assert np.allclose(p, model.predict_proba(digits), atol=1e-5)
of_the_truth = p[np.arange(len(p)), np.searchsorted(names, labels)]
loss = -np.log(of_the_truth)
print(f"mean loss {loss.mean():.3f}, {model.score(digits, labels):.3f} right")
order = np.argsort(loss)
shown = [order[len(order) // 4], order[np.searchsorted(loss[order], 0.6)], order[-1]]
for i in shown:
    numbers = "  ".join(
        f"{name}: score {s:6.2f}, e^score {np.exp(s):8.3f}, probability {q:.3f}"
        for name, s, q in zip(names, scores[i], p[i], strict=True)
    )
    print(f"a {labels[i]}   {numbers}   loss -log({of_the_truth[i]:.3f}) = {loss[i]:.3f}")

# %%
# Two losses
# ----------

score = np.linspace(-8, 8, 200)
chance = 1 / (1 + np.exp(-score))
curves = {
    "log-likelihood": (-np.log(chance), chance - 1, "C0"),
    "quadratic": ((chance - 1) ** 2 / 2, (chance - 1) * chance * (1 - chance), "C1"),
}

# %%
# Trained from a bad start
# ------------------------

bad = np.zeros((X.shape[1], 10))
for digit in range(10):  # each class begins with the average of the next digit as its template
    bad[:, digit] = 4 * (X[y == (digit + 1) % 10].mean(axis=0) - X.mean(axis=0))
histories = {}
for loss_name in ("log_loss", "squared_error"):
    history = histories[loss_name] = []
    MLPClassifier.from_weights(
        [bad],
        [np.zeros(10)],
        loss=loss_name,
        solver="sgd",
        learning_rate_init=0.02,
        max_iter=pick(15, 3),
        n_iter_no_change=1000,
        warm_start=True,
        random_state=0,
        callbacks=lambda model, info, history=history: history.append(model.score(X_test, y_test)),
    ).fit(X, y)

# %%
# The picture
# -----------

figure = plt.figure(figsize=(10, 7), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[1.2, 1])
top.suptitle("From scores to probabilities to a loss (blue: the true class)")
axes = top.subplots(3, 3, width_ratios=[0.5, 1, 1])
for row, i in zip(axes, shown, strict=True):
    row[0].imshow(digits[i].reshape(side, side), cmap="gray_r")
    row[0].set(xticks=[], yticks=[], xlabel=f"a {labels[i]}")
    colors = ["C0" if name == labels[i] else "0.75" for name in names]
    at = np.arange(3)
    for ax, values, form in ((row[1], scores[i], "{:.2f}"), (row[2], p[i], "{:.3f}")):
        bars = ax.barh(at, values, color=colors)
        ax.bar_label(bars, [form.format(v) for v in values], padding=3, fontsize=8)
        ax.set_yticks(at, names)
        ax.invert_yaxis()
        ax.spines[["top", "right"]].set_visible(False)
    row[1].axvline(0, color="0.3", linewidth=0.8)
    widest = np.abs(scores[shown]).max() * 1.35
    row[1].set(xlim=(-widest, widest), xlabel="score")
    row[2].set(xlim=(0, 1.5), xticks=[0, 0.5, 1], xlabel="probability")
    row[2].text(
        1.48, 1, f"loss\n{loss[i]:.3f}", ha="right", va="center", fontsize=11, fontweight="bold"
    )

values_at, slopes_at, training_at = bottom.subplots(1, 3)
for name, (value, slope, color) in curves.items():
    values_at.plot(score, value, color=color, label=name)
    slopes_at.plot(score, slope, color=color, label=name)
values_at.set(title="Loss, where the answer is 1", xlabel="score", ylabel="loss")
values_at.legend()
slopes_at.set(title="Its slope, which learning follows", xlabel="score", ylabel="slope")
for name, history in histories.items():
    training_at.plot(np.arange(1, len(history) + 1), history, marker=".", label=f'loss="{name}"')
training_at.set(
    title="Trained from a bad start", xlabel="epoch", ylabel="part of test digits right"
)
training_at.xaxis.get_major_locator().set_params(integer=True)
training_at.legend()
save(figure)
