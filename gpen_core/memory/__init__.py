"""Memory that runs out: known by one rule, answered in one order, said in one sentence."""
