"""The networks: how they are described, trained and used."""
