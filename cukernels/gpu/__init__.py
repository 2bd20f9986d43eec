"""The one door to a GPU: how kernels are compiled, checked and launched."""
