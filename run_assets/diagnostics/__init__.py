"""What is wrong with a run: rules with thresholds, evidence and a next step.

A module a family, a function a rule; `registry` knows them all, `diagnose` runs them.
"""
