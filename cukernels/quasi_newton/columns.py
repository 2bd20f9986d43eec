"""What is in which column of a plan of `lbfgs_step`, and of a record of `lbfgs_products`."""

from __future__ import annotations

# A plan, before the coefficients of the pairs in a direction: all s, then all y.
MODEL = 0  # where the model's vectors lie
SOURCE = 1  # where the point is that it moves to, or -1
SLOT = 2  # which of the pairs the move replaces, or -1
COUNT = 3  # how many pairs there are, after that
S_FACTOR, Y_FACTOR = 4, 5  # of the old direction and of the change of gradient, in the new pair
TURNS = 6  # 1 for a new direction, 0 for the old one
G_FACTOR = 7  # of the gradient in the new direction
STEP = 8  # along the direction, to the next point
COEFFICIENTS = 9  # the first one

# A record, before the products of all pairs with the gradient, and of all pairs with its change
# since the last point.
VALUE, SLOPE, LARGEST, GG, YG, YY = range(6)
PRODUCTS = 6  # the first one
