"""Two layers, three layers, and the gradients that train them
===========================================================

A multi-layer perceptron is a chain: a product with weights, an activation, a product, and so on.
Without activations between them, products of products are one product. However deep, such a network
draws the flat boundaries of a single layer (top right: its errors stay where they are), so that all
that depth gives comes from the bends in between.

*Backpropagation* is the chain rule in the right order. Going forward, each layer keeps what it was
given. Going backward, each is handed the slope of the loss in its output, and makes two things of
it: the slopes in its own weights, and the slope in its input, which it hands on. One sweep costs
about two forward passes, and gives the slopes in all weights at once.

The script writes that sweep out for a network of three layers, with the ops of `cukernels`: every
op `f` comes with an `f_backward`. The result is compared with what the definition of a slope says:
change one weight by a little, up and down, and see what the loss does. That costs two forward
passes for each weight and is good for nothing but checking. Below, slopes of both kinds; they agree
to about nine digits.
"""

import matplotlib.pyplot as plt
import numpy as np
from _gallery import load, pick, save

from cukernels import matmul, matmul_backward, softmax_cross_entropy, tanh, tanh_backward
from estimators import MLPClassifier
from estimators.inspection import LossCurveDisplay

X, X_test, y, y_test = load(5000, 2000)

# %%
# Depth, with and without activations
# -----------------------------------

shapes = {"one layer": (), "two layers": (100,), "three layers": (100, 50)}
networks, errors = {}, {}
for activation in ("identity", "relu"):
    for name, sizes in shapes.items():
        model = MLPClassifier(
            sizes, activation=activation, batch_size=64, learning_rate="cosine",
            max_iter=pick(12, 2), random_state=0,
        ).fit(X, y)  # fmt: skip
        errors[activation, name] = 100 * (1 - model.score(X_test, y_test))
        if activation == "relu":
            networks[name] = model
for (activation, name), error in errors.items():
    print(f"{name:13} {activation:9} {error:5.2f} % wrong")

# %%
# Backpropagation, written out
# ----------------------------

rng = np.random.default_rng(0)
sizes = [X.shape[1], 12, 8, 10]
weights = [rng.normal(size=(n, m)) / np.sqrt(n) for n, m in zip(sizes, sizes[1:], strict=False)]
biases = [0.1 * rng.normal(size=m) for m in sizes[1:]]
digits, labels = X[:20].astype(float), y[:20]


def loss_and_slopes(weights, biases, backward=True):
    # Forward: each layer's input is kept.
    kept, x = [], digits
    for k, (w, b) in enumerate(zip(weights, biases, strict=True)):
        z = matmul(x, w, b)
        kept.append((x, w, b, z))
        x = tanh(z) if k < 2 else z
    loss, dz = softmax_cross_entropy(x, labels)
    if not backward:
        return loss
    # Backward: from the slope in the scores down to the first weights.
    slopes = []
    for k in (2, 1, 0):
        x, w, b, z = kept[k]
        dx, dw, db = matmul_backward(dz, x, w, b, z)
        slopes.append((dw, db))
        if k > 0:
            dz = tanh_backward(dx, x)  # x is what tanh made of the layer before
    return loss, slopes[::-1]


_, slopes = loss_and_slopes(weights, biases)
step, n_checked = 1e-5, pick(60, 5)
checked = {}
print(f"\n{'layer':10} {'weights':>8} {'largest slope':>14} {'largest difference':>19}")
for k in range(3):
    for kind, arrays, exact in (
        ("weights", weights, slopes[k][0]),
        ("biases", biases, slopes[k][1]),
    ):
        values = arrays[k].reshape(-1)  # a view: changing it changes the network
        where = np.argsort(-np.abs(exact.ravel()))[: 4 * n_checked]
        where = rng.permutation(where)[:n_checked]
        numerical = []
        for i in where:
            before, sides = values[i], []
            for change in (step, -step):
                values[i] = before + change
                sides.append(loss_and_slopes(weights, biases, backward=False))
            values[i] = before
            numerical.append((sides[0] - sides[1]) / (2 * step))
        pair = exact.ravel()[where], np.array(numerical)
        checked[f"{kind} {k + 1}"] = pair
        gap = np.abs(pair[0] - pair[1]).max()
        print(f"{kind} {k + 1:<3} {values.size:8} {np.abs(pair[0]).max():14.6f} {gap:19.1e}")
        assert gap < 1e-8 * max(1, np.abs(pair[0]).max())

# %%
# The picture
# -----------

figure = plt.figure(figsize=(10, 7), layout="constrained")
top, bottom = figure.subfigures(2, 1)
curves_at, errors_at = top.subplots(1, 2)
LossCurveDisplay.from_estimator(networks, log=True, ax=curves_at)
curves_at.set_title("Training, with relu between the layers")
at = np.arange(3)
for shift, activation, color in ((-0.2, "identity", "0.65"), (0.2, "relu", "C0")):
    label = "without activation" if activation == "identity" else "with relu"
    values = [errors[activation, name] for name in shapes]
    errors_at.bar_label(
        errors_at.bar(at + shift, values, 0.38, color=color, label=label), fmt="%.1f", fontsize=8
    )
errors_at.set_xticks(at, list(shapes))
errors_at.set(title="Errors on test digits", ylabel="% wrong", ylim=(0, 1.3 * max(errors.values())))
errors_at.legend()

scatter_at, table_at = bottom.subplots(1, 2, width_ratios=[0.8, 1])
for k, (name, (exact, numerical)) in enumerate(checked.items()):
    scatter_at.plot(exact, numerical, "ox"[k % 2], color=f"C{k // 2}", markersize=4, label=name)
ends = np.array(scatter_at.get_xlim())
scatter_at.plot(ends, ends, color="0.7", linewidth=0.8, zorder=0)
scatter_at.set(
    title="Slopes of the loss in single weights",
    xlabel="by backpropagation", ylabel="by changing the weight a little",
)  # fmt: skip
scatter_at.legend(fontsize=8)
table_at.set_axis_off()
table_at.set_title("Backpropagation against numerical slopes")
rows = [
    [name, f"{exact[j]:+.9f}", f"{numerical[j]:+.9f}", f"{abs(exact[j] - numerical[j]):.0e}"]
    for name, (exact, numerical) in checked.items()
    for j in (0, 1)
]
table = table_at.table(
    rows, colLabels=["", "backpropagation", "numerical", "difference"], loc="center",
    cellLoc="right", edges="horizontal", colWidths=[0.24, 0.3, 0.3, 0.2],
)  # fmt: skip
table.auto_set_font_size(False)
table.set_fontsize(9)
table.scale(1, 1.15)
save(figure)
