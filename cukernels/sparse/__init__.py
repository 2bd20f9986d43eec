"""Products with sparse matrices."""

from cukernels.sparse.sparse import check_rows

__all__ = ["check_rows"]
