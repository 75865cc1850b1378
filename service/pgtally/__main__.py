"""`python -m pgtally`: the command."""

from pgtally.cli.main import main

main()
