"""How an op finds its body, and a kernel its GPU."""
