"""What the stand-in answers where it refuses, in the shape of AWS's REST protocol.

ServiceError
├── ValidationError         400  ValidationException
├── BadRequestError         400  BadRequestException, of GetImageFrame
├── QuotaExceededError      402  ServiceQuotaExceededException
├── AccessDeniedError       403  AccessDeniedException
│   ├── UnknownKeyError     403  UnrecognizedClientException
│   ├── SignatureError      403  InvalidSignatureException
│   └── ExpiredTokenError   403  ExpiredTokenException
├── NotFoundError           404  ResourceNotFoundException
├── NotAcceptableError      406  NotAcceptableException
├── ConflictError           409  ConflictException
├── TooLargeError           413  RequestEntityTooLargeException
├── ThrottledError          429  ThrottlingException
├── InternalError           500  InternalServerException
└── UnavailableError        503  ServiceUnavailableException
"""

from typing import ClassVar

from gateway.errors import Rejected


class ServiceError(Rejected):
    """A request that is refused; its text is the ``message`` of the answer."""

    name: ClassVar[str] = "InternalServerException"
    """What the header ``x-amzn-ErrorType`` says."""


class ValidationError(ServiceError):
    """The request is not what the operation takes."""

    http_status = 400
    name = "ValidationException"


class BadRequestError(ServiceError):
    """GetImageFrame is asked for what is no frame."""

    http_status = 400
    name = "BadRequestException"


class QuotaExceededError(ServiceError):
    """As much of this as may be is under way."""

    http_status = 402
    name = "ServiceQuotaExceededException"


class AccessDeniedError(ServiceError):
    """The caller may not do this."""

    http_status = 403
    name = "AccessDeniedException"


class UnknownKeyError(AccessDeniedError):
    """Nobody has this access key."""

    name = "UnrecognizedClientException"


class SignatureError(AccessDeniedError):
    """The signature is another one, or too old."""

    name = "InvalidSignatureException"


class ExpiredTokenError(AccessDeniedError):
    """The session that the token belongs to has ended."""

    name = "ExpiredTokenException"


class NotFoundError(ServiceError):
    """Nothing of that name is here."""

    http_status = 404
    name = "ResourceNotFoundException"


class NotAcceptableError(ServiceError):
    """The answer cannot be had in the form that was asked for."""

    http_status = 406
    name = "NotAcceptableException"


class ConflictError(ServiceError):
    """What the request is about is locked, has changed, or is not empty."""

    http_status = 409
    name = "ConflictException"


class TooLargeError(ServiceError):
    """The request's body is longer than the service takes."""

    http_status = 413
    name = "RequestEntityTooLargeException"


class ThrottledError(ServiceError):
    """Too many requests came."""

    http_status = 429
    name = "ThrottlingException"


class InternalError(ServiceError):
    """The service failed."""

    http_status = 500
    name = "InternalServerException"


class UnavailableError(ServiceError):
    """The service is not there for the moment."""

    http_status = 503
    name = "ServiceUnavailableException"
