"""Work on a GPU that the host starts by a single call: CUDA graphs, and what they need."""

from cukernels.graphs.arena import Arena
from cukernels.graphs.lanes import Lanes
from cukernels.graphs.recorded import Recorded
from cukernels.graphs.tables import Table, pinned, read

__all__ = ["Arena", "Lanes", "Recorded", "Table", "pinned", "read"]
