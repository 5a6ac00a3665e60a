"""The command line: the same functions as every other door, and nothing of its own."""


def main() -> None:
    """Entry point of ``run-assets``."""
    from run_assets.cli.app import run

    run()
