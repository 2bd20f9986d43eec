"""Fully connected, locally connected, convolutional
=================================================

How many weights does a layer of 40,000 units need to look at an image of 200 x 200 pixels?

* *Fully connected*, every unit sees every pixel: 40,000 x 40,000 = 1.6 billion weights (the slides
  say 2 billion), which is more than there are training images to set them.
* *Locally connected*, every unit sees the 10 x 10 pixels around its place: 40,000 x 100 = 4
  million. What matters in an image is near by.
* *Convolutional*, the units at all places share their weights: with 100 filters, 100 x 100 = 10
  thousand, and 100 times as many units. What is worth seeing at one place is worth seeing at all.

`summary()` prints these counts (with a bias for each unit, or each filter) for a network that is
only described: nothing is allocated.

Then the three are trained on digits. The first two have the same number of units; the third can
afford eight times as many and still has by far the fewest parameters, and makes the fewest errors.
Below are the weights of each. Those of the fully connected units are noisy all over the image.
Those of the locally connected ones have learned at each place what there is at that place, and
nothing in the corners, where no ink is ever seen. The shared filters have seen every place of every
image.
"""

import matplotlib.pyplot as plt
import numpy as np
from _gallery import load, pick, save

from estimators import Conv2D, ConvNetClassifier, Dense, LocallyConnected2D
from estimators.inspection import FiltersDisplay, WeightsDisplay

# %%
# Counting, without allocating
# ----------------------------

slides = {
    "fully connected": Dense(40_000),
    "locally connected": LocallyConnected2D(1, kernel_size=10),
    "convolutional": Conv2D(100, kernel_size=10),
}
counts = {}
for name, layer in slides.items():
    net = ConvNetClassifier(layers=[layer])
    first = net.summary((200, 200), n_classes=10, show=False).layers[0]
    counts[name] = first.parameters
    print(f"{first.name:38} {first.parameters:13,} parameters")

# %%
# Training the three
# ------------------

X, X_test, y, y_test = load(6000, 3000)
side = int(np.sqrt(X.shape[1]))
size, stride, k = (7, 3, 4) if side > 8 else (3, 1, 4)
local = {"kernel_size": size, "stride": stride, "padding": "valid"}
places = (side - size) // stride + 1
layers = {
    "fully connected": Dense(places * places * k),
    "locally connected": LocallyConnected2D(k, **local),
    "convolutional": Conv2D(8 * k, **local),
}
models, errors, sizes = {}, {}, {}
for name, layer in layers.items():
    model = models[name] = ConvNetClassifier(
        layers=[layer], alpha=0.01, batch_size=64, learning_rate="cosine",
        max_iter=pick(12, 2), random_state=0,
    ).fit(X, y)  # fmt: skip
    errors[name] = 100 * (1 - model.score(X_test, y_test))
    sizes[name] = model.coefs_[0].size + model.intercepts_[0].size
    print(f"{name:18} {sizes[name]:8,} parameters in the layer, {errors[name]:.2f} % wrong")

# %%
# The picture
# -----------

figure = plt.figure(figsize=(11, 6.6), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[0.8, 1])
counts_at, trained_at = top.subplots(1, 2)
colors = dict(zip(layers, ("C0", "C1", "C2"), strict=True))
at = np.arange(3)
bars = counts_at.barh(at, counts.values(), color=colors.values())
counts_at.bar_label(bars, [f"{n:,}" for n in counts.values()], padding=3)
counts_at.set_yticks(at, list(counts))
counts_at.invert_yaxis()
counts_at.set(
    xscale="log", xlim=(1e3, 5e11), xlabel="parameters",
    title="A layer that looks at 200 x 200 pixels",
)  # fmt: skip
for name in layers:
    trained_at.plot(sizes[name], errors[name], "o", markersize=10, color=colors[name])
    trained_at.annotate(
        f"{name}, {errors[name]:.1f} %", (sizes[name], errors[name]), (9, 0),
        textcoords="offset points", va="center",
    )  # fmt: skip
trained_at.set(
    xscale="log", xlim=(min(sizes.values()) / 3, max(sizes.values()) * 60),
    xlabel="parameters of the layer", ylabel="% of test digits wrong",
    title="Trained on digits",
)  # fmt: skip
trained_at.margins(y=0.3)
for spot in (counts_at, trained_at):
    spot.spines[["top", "right"]].set_visible(False)

parts = bottom.subfigures(1, 3)
parts[0].suptitle("fully connected: some units")
busy = np.argsort(-np.abs(models["fully connected"].coefs_[1]).sum(axis=1))[:16]
rows = models["fully connected"].coefs_[0].T[busy].reshape(-1, side, side, 1)
WeightsDisplay(rows).plot(columns=4, scale="each", ax=parts[0].subplots())
parts[1].suptitle("locally connected: a filter at each place")
filters = models["locally connected"].coefs_[0]
alive = np.abs(filters).max(axis=(3, 4, 5)).reshape(-1, k) > 0.01  # where it sees ink and answers
FiltersDisplay.from_estimator(
    models["locally connected"], unit=int(alive.sum(axis=0).argmax()), scale="all",
    ax=parts[1].subplots(),
)  # fmt: skip
parts[2].suptitle("convolutional: the same everywhere")
FiltersDisplay.from_estimator(models["convolutional"], columns=8, ax=parts[2].subplots())
save(figure)
