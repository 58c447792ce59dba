"""Everything that is claimed about speed, from one command."""

from benchmarks.suite.command import main

if __name__ == "__main__":
    main()
