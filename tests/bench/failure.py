"""What ends a benchmark: a figure of work that was not done is worth nothing."""


class BenchmarkFailed(Exception):
    """A receiver did not start, refused an instance, lost one, or answered wrongly."""
