"""A DICOM gateway between a PACS and segmentation models."""
