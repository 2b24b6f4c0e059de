"""Measurements of the gateway beside other programs that do the same work."""
