"""``python -m run_assets.cli``."""

from run_assets.cli import main

main()
