"""Matrix products, and sums in a fixed order."""
