"""One convolution, in numbers: 32 x 32 x 3 pixels, six filters of 5 x 5 x 3, maps of 28 x 28 x 6
==============================================================================================

A filter of a layer that reads colours has a weight for each of its 5 x 5 places and 3 colours, 75
in all, and a bias. It fits into 32 x 32 pixels at 32 - 5 + 1 = 28 places along each side, so that
its answers make a map of 28 x 28. Six filters make six maps, a new image of 28 x 28 "pixels" with 6
channels, which the next layer reads as this one has read the colours. With a padding of 2 the maps
would be 32 x 32; with a stride of 2, 14 x 14.

The layer has 6 * (75 + 1) = 456 parameters, whatever the size of the image. The filters below are
learned: a convolution of this shape, averaged over the image and read by a single unit, is to tell
patches of one photograph from patches of another. Its filters answer to colours and to edges. The
white square is what a filter sees at one place, and the black ones are its answer to that.
"""

import matplotlib.pyplot as plt
import numpy as np
from _gallery import pick, save
from matplotlib.patches import Rectangle
from sklearn.datasets import load_sample_images

from cukernels import conv2d
from estimators import AvgPool2D, Conv2D, ConvNetClassifier
from estimators.inspection import FiltersDisplay

# %%
# Patches of two photographs, at half their size
# ----------------------------------------------

photographs = [
    photo[: 426 // 2 * 2, :640].reshape(213, 2, 320, 2, 3).mean(axis=(1, 3)).astype("float32") / 255
    for photo in load_sample_images().images
]
rng = np.random.default_rng(0)
n = pick(600, 60)
corners = np.stack([rng.integers(0, 213 - 32, 2 * n), rng.integers(0, 320 - 32, 2 * n)], axis=1)
labels = np.arange(2 * n) % 2
patches = np.stack(
    [photographs[k][i : i + 32, j : j + 32] for k, (i, j) in zip(labels, corners, strict=True)]
)

# %%
# The layer, and the numbers of the slide
# ---------------------------------------

net = ConvNetClassifier(
    layers=[Conv2D(6, kernel_size=5, padding="valid"), AvgPool2D(28)],
    learning_rate_init=0.01, learning_rate="cosine", alpha=0.1, batch_size=32,
    max_iter=pick(20, 2), random_state=0,
)  # fmt: skip
net.summary((32, 32, 3), n_classes=2)
net.fit(patches[: n + n // 2], labels[: n + n // 2])
print(f"\n{net.score(patches[n + n // 2 :], labels[n + n // 2 :]):.3f} of other patches right")

image = photographs[1][70:102, 130:162]
filters, bias = net.coefs_[0], net.intercepts_[0]
maps = conv2d(image[None], filters, bias)[0]
assert (image.shape, filters.shape, maps.shape) == ((32, 32, 3), (6, 5, 5, 3), (28, 28, 6))

# One answer, computed by hand: the sum of products of a filter and the pixels under it.
row, column = 3, 17
under_it = image[row : row + 5, column : column + 5]
by_hand = [(under_it * one).sum() + b for one, b in zip(filters, bias, strict=True)]
assert np.allclose(maps[row, column], by_hand, atol=1e-5)

# %%
# The picture
# -----------

figure = plt.figure(figsize=(11, 4.4), layout="constrained")
parts = figure.subfigures(1, 3, width_ratios=[1, 1.1, 1.6])
parts[0].suptitle("an image: 32 x 32 x 3", fontsize=10)
ax = parts[0].subplots()
ax.imshow(image)
ax.add_patch(Rectangle((column - 0.5, row - 0.5), 5, 5, fill=False, edgecolor="white", linewidth=2))
ax.set(xticks=[0, 31], yticks=[0, 31])
parts[1].suptitle("six filters: 5 x 5 x 3 (zero is grey)", fontsize=10)
FiltersDisplay(filters, columns=3).plot(ax=parts[1].subplots())
parts[2].suptitle("what they answer: 28 x 28 x 6 (red: much, blue: little)", fontsize=10)
for k, ax in enumerate(parts[2].subplots(2, 3).flat):
    centred = maps[:, :, k] - np.median(maps[:, :, k])
    largest = np.abs(centred).max()
    ax.imshow(centred, cmap="RdBu_r", vmin=-largest, vmax=largest)
    ax.plot(column, row, "s", markersize=5, color="black", fillstyle="none")
    ax.set(xticks=[0, 27], yticks=[0, 27], title=f"filter {k + 1}")
save(figure)
