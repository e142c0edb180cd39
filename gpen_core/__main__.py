"""`python -m gpen_core ...` is the command `gpen`; launchers of several processes need a module."""

from .cli.app import main

if __name__ == "__main__":
    main()
