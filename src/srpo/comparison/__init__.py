"""Comparing algorithms: arms times seeds at equal budgets (docs/compare.md).

`comparing` is the command. `plan` reads what is to be compared, `jobs` makes runs of it, `record`
and `source` see to it that a folder holds one comparison, by one srpo; `running` trains it in
processes. `results` reads the run directories, `summary` puts seeds together, `statistics` has the
arithmetic.
"""
