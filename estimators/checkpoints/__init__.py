"""Files that a fit is resumed from: what they hold, and how they are written and read."""
