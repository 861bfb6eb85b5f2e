"""`python -m gateway` is the command `daysheet`."""

from gateway.cli import main

main()
