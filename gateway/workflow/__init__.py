"""What happens to a series after it is kept: completion, routing, actions, delivery."""

from gateway.workflow.validation import Configuration, validated
from gateway.workflow.worker import run_worker

__all__ = ["Configuration", "run_worker", "validated"]
