"""Training and measurement of the bundle."""
