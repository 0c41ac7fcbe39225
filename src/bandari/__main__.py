"""``python -m bandari`` is ``bandari``."""

from bandari.cli import main

if __name__ == "__main__":
    main()
