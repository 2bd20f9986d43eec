"""Products with sparse matrices."""

from cukernels.sparse.sort_memory import sort_bytes
from cukernels.sparse.sparse import check_rows

__all__ = ["check_rows", "sort_bytes"]
