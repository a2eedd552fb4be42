"""From a request to its tenant context: resolve, authenticate, admit; and from an error to a response."""

from partywall.web.gate import Authenticate, Gate
from partywall.web.principal import Principal
from partywall.web.problems import ProblemResponse, problem
from partywall.web.request import Request

__all__ = ["Authenticate", "Gate", "Principal", "ProblemResponse", "Request", "problem"]
