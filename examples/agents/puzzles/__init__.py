"""Twelve puzzles and three solvers of different strength; plain Python."""
