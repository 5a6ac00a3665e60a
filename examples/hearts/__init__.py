"""A small real experiment: tabular agents learn to bring hearts out of a grid world."""
