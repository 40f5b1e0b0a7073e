"""The fault suite: one strike at a time on a running installation, with requests in every phase of a model's life.

table.py says which faults there are, whom they strike and what is promised then; faults.py strikes and heals; loads.py brings models
into their phases and counts what became of the requests; world.py looks whether everything is whole again; report.py writes
docs/reliability.md. `make chaos` runs all of it, `make e2e` a small part.
"""
