"""The methods of the three services: names, messages and directions, as in protos/cordon/wire/v1."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from cordon.envelope import Envelope
from cordon.wire import messages, proofs


@dataclass(frozen=True, slots=True)
class Method:
    """One remote call. Request and response are models, or unions of models."""

    service: str
    name: str
    request: Any
    response: Any
    request_stream: bool = False
    response_stream: bool = False

    @property
    def path(self) -> str:
        """As HTTP/2 names it."""
        return f"/cordon.wire.v1.{self.service}/{self.name}"


WATCH = Method("Federation", "Watch", Envelope, messages.Task, response_stream=True)
ANSWER = Method("Federation", "Answer", messages.NodeAnswer, messages.Accepted)
CONTRIBUTE = Method("Federation", "Contribute", messages.ContributionPart, messages.Accepted, request_stream=True)
VOUCH = Method("Federation", "Vouch", Envelope, messages.Accepted)
DEPOSIT = Method("Federation", "Deposit", Envelope, messages.Accepted)

CATALOGUE = Method("Analysis", "Catalogue", messages.CatalogueRequest, messages.CatalogueReply)
SUBMIT = Method("Analysis", "Submit", messages.Submission, messages.Event, response_stream=True)
FOLLOW = Method("Analysis", "Follow", messages.QueryName, messages.Event, response_stream=True)
PROCEED = Method("Analysis", "Proceed", messages.QueryName, messages.Accepted)
SUM = Method("Analysis", "Sum", messages.QueryName, messages.SumPart, response_stream=True)
CONTRIBUTIONS = Method("Analysis", "Contributions", messages.QueryName, messages.ContributionPart, response_stream=True)
REJECT = Method("Analysis", "Reject", Envelope, messages.Accepted)

PROVE = Method("Register", "Prove", proofs.ProofRequest, proofs.Proof)
LEAVES = Method("Register", "Leaves", proofs.LeavesRequest, proofs.LeafPage, response_stream=True)
OPENINGS = Method("Register", "Openings", proofs.LeavesRequest, proofs.Opening, response_stream=True)
KEPT = Method("Register", "Kept", proofs.KeptRequest, messages.ContributionPart, response_stream=True)
PUBLISH = Method("Register", "Publish", proofs.Publication, messages.Accepted)

METHODS = (
    *(WATCH, ANSWER, CONTRIBUTE, VOUCH, DEPOSIT),
    *(CATALOGUE, SUBMIT, FOLLOW, PROCEED, SUM, CONTRIBUTIONS, REJECT),
    *(PROVE, LEAVES, OPENINGS, KEPT, PUBLISH),
)
