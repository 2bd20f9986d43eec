"""Handwritten digits: one layer, a multi-layer perceptron, a convolutional network
================================================================================

Three models of the same digits, each with more between the pixels and the answer:

* *One layer* (`LogisticRegression`) has one template a class. A digit must match it pixel by pixel,
  so a template is a blur of all the ways to write the digit, and what stands out is blue: ink that
  would make it another digit. The Hinton diagram shows the same weights by the area of squares,
  where the many small ones can be told from nothing.
* A *multi-layer perceptron* (`MLPClassifier`) has as many templates as hidden units, none of which
  has to be of a whole digit.
* A *convolutional network* (`ConvNetClassifier`) looks through small filters that are the same at
  every place, so that what it learns at one place it knows at all. The picture of its layers shows
  what a place of each sees of the one before. Its filters are edges and
  strokes; the rows of maps show what they make of a digit, layer by layer, down to the
  probabilities; and the patches are what filters of the second layer are most excited by: on the
  left of the line an ideal one, made by gradient ascent, then real ones.

What is left are the errors: the surest ones of the convolutional network, some of which are hard
for us too, and scikit-learn's confusion matrix of all of them.
"""

import time

import matplotlib.pyplot as plt
from _gallery import load, pick, save
from sklearn.metrics import ConfusionMatrixDisplay

from estimators import ConvNetClassifier, LogisticRegression, MLPClassifier
from estimators.inspection import (
    ActivationMapsDisplay,
    ErrorsDisplay,
    FiltersDisplay,
    MaximalPatchesDisplay,
    NetworkDisplay,
    WeightsDisplay,
)

X, X_test, y, y_test = load(10_000, 5000)

models = {
    "one layer": LogisticRegression(C=0.02, max_iter=60, tol=1e-3),
    "MLP": MLPClassifier(
        (64,), alpha=0.05, batch_size=64, learning_rate="cosine", max_iter=pick(10, 3),
        random_state=0,
    ),
    "ConvNet": ConvNetClassifier(
        pick((8, 16), (4, 6)), kernel_size=5, hidden_layer_sizes=(64,), batch_size=64,
        learning_rate="cosine", learning_rate_init=0.003, max_iter=pick(3, 2), random_state=0,
    ),
}  # fmt: skip
for name, model in models.items():
    start = time.perf_counter()
    model.fit(X, y)
    wrong = 100 * (1 - model.score(X_test, y_test))
    print(f"{name:10} {wrong:5.2f} % wrong after {time.perf_counter() - start:.1f} seconds")
linear, mlp, net = models.values()

# %%
# The picture
# -----------

figure = plt.figure(figsize=(11, 16.6), layout="constrained")
first, second, layers, third, fourth = figure.subfigures(5, 1, height_ratios=[1, 1, 1, 1.75, 1.55])

left, right = first.subfigures(1, 2)
left.suptitle("One layer: a template a class (red: ink for it, blue: against)")
WeightsDisplay.from_estimator(linear, scale="each", ax=left.subplots())
right.suptitle("The same as Hinton diagrams")
WeightsDisplay.from_estimator(linear, scale="each", kind="hinton", ax=right.subplots())

left, right = second.subfigures(1, 2)
left.suptitle("MLP: the weights of 18 of its 64 hidden units")
WeightsDisplay.from_estimator(mlp, units=range(18), scale="each", columns=6, ax=left.subplots())
right.suptitle("ConvNet: the filters of the first layer")
FiltersDisplay.from_estimator(net, columns=4, ax=right.subplots())

layers.suptitle("ConvNet: its layers")
NetworkDisplay.from_estimator(net, ax=layers.subplots())

left, right = third.subfigures(1, 2, width_ratios=[1.1, 1])
left.suptitle("ConvNet: what the layers make of a digit")
ActivationMapsDisplay.from_estimator(net, X_test[0], ax=left.subplots())
right.suptitle("ConvNet: what excites eight filters of the second layer")
MaximalPatchesDisplay.from_estimator(net, X[:2000], layer=1, ax=right.subplots())

left, right = fourth.subfigures(1, 2, width_ratios=[1.35, 1])
left.suptitle("ConvNet: its surest errors (the label, then the guess)")
ErrorsDisplay.from_estimator(net, X_test, y_test, n_images=18, columns=6, ax=left.subplots())
right.suptitle("ConvNet: what it takes for what")
ConfusionMatrixDisplay.from_estimator(
    net, X_test, y_test, ax=right.subplots(), colorbar=False, cmap="Blues", text_kw={"fontsize": 7}
)
save(figure)
