"""What runs for a tenant: counted, admitted fairly, stopped."""

from partywall.agents.agent import Agent
from partywall.agents.agents import Agents
from partywall.agents.ladder import StopReport
from partywall.agents.run import AgentState, Output

__all__ = ["Agent", "AgentState", "Agents", "Output", "StopReport"]
