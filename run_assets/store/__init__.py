"""Parquet partitions, the published DuckDB file and the SQL models."""
