"""Real engines, as processes, behind the real roles: what no simulated engine proves. `make e2e` builds what they need."""
