"""The HTTP side: health, readiness and metrics."""

from gateway.web.server import run_web

__all__ = ["run_web"]
