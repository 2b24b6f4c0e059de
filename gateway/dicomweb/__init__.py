"""DICOMweb (PS3.18), as the node uses it with its peers."""

from gateway.dicomweb.counting import count_series

__all__ = ["count_series"]
