"""Comparing algorithms: arms times seeds at equal budgets (docs/compare.md).

`plan` reads what is to be compared, `running` trains it in processes, `results` reads the run
directories, `statistics` has the arithmetic.
"""
