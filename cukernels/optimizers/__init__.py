"""Optimizers: one step of all parameters of all models of a stack."""
