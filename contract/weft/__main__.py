"""`python -m weft`, where the command is not on the path."""

from weft.cli import main

if __name__ == "__main__":
    main()
