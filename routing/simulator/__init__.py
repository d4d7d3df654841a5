"""What the routing would have done with another roster: played in memory, by the decision that routes live."""

from routing.simulator.asking import KIND, LATEST, MOST_LEADS, Scenario, SimulationError, of_plain, start
from routing.simulator.running import run, simulate

__all__ = ["KIND", "LATEST", "MOST_LEADS", "Scenario", "SimulationError", "of_plain", "run", "simulate", "start"]
