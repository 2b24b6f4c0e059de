"""DICOM's own network services, as provider (SCP) and as user (SCU)."""
