"""What an import says of files that it takes with reservations, as of December 2025.

Source: HealthImaging developer guide, "Import job warnings".
"""

from enum import Enum


class FileWarning(Enum):
    """A reservation: its code, and what it means for those who read the instance."""

    TRANSCODING_EXCEPTION = (45312, "the pixel data was not decoded and is kept as it is")
    FRAMES_EXTRACTION_FAILURE = (45328, "frames cannot be told apart")
    FRAME_NUMBER_MISMATCH = (45329, "there are not as many frames as NumberOfFrames says")
    UNSUPPORTED_TRANSFER_SYNTAX = (45344, "the transfer syntax is not known")
    INVALID_UID_FORMAT = (45570, "a UID is not of the form of UIDs")

    @property
    def code(self) -> int:
        """The reason as a number, as the documentation prints it in decimal."""
        return int(self.value[0])

    @property
    def camel_case(self) -> str:
        """The name as warning.ndjson has it."""
        return "".join(word.capitalize() for word in self.name.split("_"))

    @property
    def message(self) -> str:
        """The meaning as a sentence."""
        return str(self.value[1])
