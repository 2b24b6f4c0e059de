"""Pure values and rules of DICOM: bytes in, values out, no other I/O."""
