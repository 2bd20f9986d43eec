"""The classic pipeline: pixels, filters, visual words
===================================================

The oldest recipe for recognising an image has no training at all: give it the label of the most
similar image that is known, where similar means the smallest sum of squared differences of pixels.
On digits, which are centred and of one size, this nearest neighbour is hard to beat; on photographs
it is hopeless, since a picture that is shifted by a few pixels is another point in space.

So people described images by features made by hand. A bank of 38 filters (edges and bars at six
orientations and three scales, a Gaussian and a Laplacian of a Gaussian) answers at every pixel:
which structures are here? The 38 answers of all pixels of many images are clustered; the centres
of the clusters are *visual words*. An image becomes a histogram of its words, here one for each
cell of a grid, and a linear classifier reads the histogram.

Each step is an estimator, so the whole is a `Pipeline`, and `GridSearchCV` chooses the number of
words and the size of the grid. Only the last step learns from labels. The other examples are about
features that are learned instead.
"""

import tempfile

import matplotlib.pyplot as plt
import numpy as np
from _gallery import load, pick, save
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import make_pipeline

from estimators import (
    FilterBankTransformer,
    LogisticRegression,
    NearestNeighborClassifier,
    VisualWordsTransformer,
)
from estimators.inspection import FiltersDisplay, SearchDisplay

X, X_test, y, y_test = load(800, 400)
side = int(np.sqrt(X.shape[1]))

# %%
# Nearest neighbour on pixels
# ---------------------------

neighbor = NearestNeighborClassifier().fit(X, y)
print(f"nearest neighbour on pixels: {neighbor.score(X_test, y_test):.3f} right")

# %%
# Filters, words, histograms, a linear classifier
# -----------------------------------------------

with tempfile.TemporaryDirectory() as cache:  # the bank's responses, computed once a fold
    words = make_pipeline(
        FilterBankTransformer(scales=(0.5, 1, 2)),
        VisualWordsTransformer(max_places=pick(40_000, 4_000), random_state=0),
        LogisticRegression(C=1000, max_iter=100),
        memory=cache,
    )
    grid = {
        "visualwordstransformer__n_words": pick([10, 40, 160], [5, 10]),
        "visualwordstransformer__grid": pick([1, 4], [1, 2]),
    }
    search = GridSearchCV(words, grid, cv=2).fit(X, y)
best = search.best_estimator_
print(f"visual words: {search.score(X_test, y_test):.3f} right, with {search.best_params_}")

# %%
# The picture
# -----------

figure = plt.figure(figsize=(10, 7), layout="constrained")
top, bottom = figure.subfigures(2, 1, height_ratios=[1.1, 1])
left, right = top.subfigures(1, 2, width_ratios=[1, 1.15])

left.suptitle("Digits, below each the nearest known one;\nred: one of another class, a mistake")
_, nearest = neighbor.kneighbors(X_test)
wrong = np.flatnonzero(neighbor.predict(X_test) != y_test)
shown = [*range(12 - min(4, len(wrong))), *wrong[:4]]
grid_of_axes = left.subplots(4, 6)
for k, i in enumerate(shown):
    query, known = grid_of_axes[2 * (k // 6) : 2 * (k // 6) + 2, k % 6]
    right_answer = y[nearest[i, 0]] == y_test[i]
    for ax, row in ((query, X_test[i]), (known, X[nearest[i, 0]])):
        ax.imshow(row.reshape(side, side), cmap="gray_r")
        ax.set(xticks=[], yticks=[])
        for spine in ax.spines.values():
            spine.set_color("0.7" if right_answer else "C3")
            spine.set_linewidth(0.6 if right_answer else 2)

right.suptitle("A bank of 38 filters:\nedges, bars, a Gaussian, a Laplacian of a Gaussian")
bank = best[0].filters_
middle, reach = bank.shape[1] // 2, min(bank.shape[1] // 2, 10)
cut = slice(middle - reach, middle + reach + 1)
FiltersDisplay(bank[:, cut, cut], columns=10).plot(ax=right.subplots())

maps, scores = bottom.subfigures(1, 2, width_ratios=[1, 1.15])
maps.suptitle("The nearest of eight visual words at each pixel")
chosen = [int(np.flatnonzero(y_test == digit)[0]) for digit in (0, 2, 4, 7)]
few = VisualWordsTransformer(8, max_places=10_000, random_state=0).fit(best[0].transform(X[:100]))
found = few.nearest_words(best[0].transform(X_test[chosen]))
for column, i, image in zip(maps.subplots(2, 4).T, chosen, found, strict=True):
    column[0].imshow(X_test[i].reshape(side, side), cmap="gray_r")
    column[1].imshow(image.reshape(side, side), cmap="Set2", vmin=0, vmax=7)
    for ax in column:
        ax.set(xticks=[], yticks=[])

scores.suptitle("How many words, and in how many cells?")
shown = SearchDisplay.from_estimator(search, ax=scores.subplots())
shown.ax_.set(xlabel="cells along each side of the image", ylabel="visual words")
save(figure)
