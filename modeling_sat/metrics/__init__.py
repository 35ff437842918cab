"""`evaluate` modules, one folder each: `evaluate.load("modeling_sat/metrics/<name>")`.

The arithmetic is in `modeling_sat.evaluation`.
"""
