"""The gateway and the programs around it, started as real processes for tests."""
