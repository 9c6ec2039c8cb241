"""`python -m srpo` is the command `srpo`."""

from srpo.cli import main

main()
