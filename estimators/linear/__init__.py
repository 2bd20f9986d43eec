"""The linear models: losses, solvers and fits."""
