"""The version of this installation."""

from importlib.metadata import version

VERSION = version("gateway")
WORKFLOW_VERSION = "1"
"""Raised when a workflow's steps change, so that an upgrade finishes what the old one began."""
