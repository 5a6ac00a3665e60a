"""The shell of the pipeline: one asset a table, in the order of the flow."""
