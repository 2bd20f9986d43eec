"""L-BFGS with a strong Wolfe line search."""
