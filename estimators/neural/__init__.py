"""The networks: what their classes have in common, how a fit is prepared, and how they are used."""
