"""The memory on a GPU in which the entries of a matrix are sorted by their columns."""

from __future__ import annotations


def sort_bytes(entries: int, keys: int, itemsize: int, index_itemsize: int) -> int:
    """Return the most bytes that the backward of `csr_matmul` has at once for its sort.

    Parameters
    ----------
    entries : int
        Entries of the matrix, of all models.
    keys : int
        The number of columns times that of models.
    itemsize, index_itemsize : int
        Bytes of a value, and of the number of a column.
    """
    from cukernels.sparse.transpose import blocks_of, digits

    row = 4
    of_entry = itemsize + row + index_itemsize  # what is scattered
    passes = digits(keys)
    first = of_entry + row + index_itemsize  # from keys and rows that were made, and values of X
    most = max(first, 2 * of_entry if len(passes) > 1 else 0)
    counts = max((blocks_of(entries) + 1) << bits for _, bits in passes)
    return entries * most + counts * index_itemsize
