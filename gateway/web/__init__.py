"""The HTTP side: health, readiness and metrics."""
