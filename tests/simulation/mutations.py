"""
Mistakes that the engine and the log do not make, each made on purpose: the simulation must find it.

A mutation is a small patch, and the promise that it breaks. `test_mutations` plays seeds with it until
a violation of that promise is found; without it the same seed is clean. Those named `found_...` are
mistakes that this project did make, and that the simulation found.
"""

from __future__ import annotations

from tests.simulation import mutations_log, mutations_search, mutations_turn
from tests.simulation.mutation import MUTATIONS, Mutation

__all__ = ["MUTATIONS", "Mutation", "mutations_log", "mutations_search", "mutations_turn"]
