"""The verification service: C-ECHO (PS3.4 annex A)."""

from pynetdicom.dimse_primitives import C_ECHO

from gateway.dimse.library import VERIFICATION
from gateway.dimse.service import Exchange, Primitive
from gateway.errors import ProtocolViolated


class Verification:
    """Answers that the node is there."""

    sop_classes = (VERIFICATION,)

    def serve(self, exchange: Exchange, request: Primitive) -> None:
        """Answer one C-ECHO with Success."""
        if not isinstance(request, C_ECHO):
            raise ProtocolViolated("a request other than C-ECHO on a verification context")
        response = C_ECHO()
        response.MessageIDBeingRespondedTo = request.MessageID
        response.AffectedSOPClassUID = request.AffectedSOPClassUID
        response.Status = 0x0000
        exchange.respond(response)
