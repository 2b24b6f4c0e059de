"""Places in S3: a bucket and the beginning of keys."""

import re
from dataclasses import dataclass
from typing import Self

_URI = re.compile(r"s3://([a-z0-9][a-z0-9.-]{1,61}[a-z0-9])(?:/(.*))?")


@dataclass(frozen=True, kw_only=True, slots=True)
class S3Place:
    """A prefix in a bucket; it ends with a slash unless it is empty.

    So ``.../1`` never stands for ``.../10`` too.
    """

    bucket: str
    prefix: str

    @classmethod
    def read(cls, uri: str) -> Self:
        """Read ``s3://bucket/prefix``, with or without a slash at its end.

        Raises:
            ValueError: it is no such address.
        """
        match = _URI.fullmatch(uri)
        if match is None:
            raise ValueError(f"{uri!r} is not of the form s3://BUCKET/PREFIX")
        prefix = (match[2] or "").strip("/")
        return cls(bucket=match[1], prefix=f"{prefix}/" if prefix else "")

    def inside(self, *words: str) -> "S3Place":
        """Return a place below this one."""
        return S3Place(bucket=self.bucket, prefix=self.prefix + "".join(f"{w}/" for w in words))

    def key(self, name: str) -> str:
        """Return the key of an object directly in this place."""
        return self.prefix + name

    def __str__(self) -> str:
        return f"s3://{self.bucket}/{self.prefix}"
