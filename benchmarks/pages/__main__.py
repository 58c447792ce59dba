"""Print the figures of the pages, or put them there with `--write`."""

import argparse

from benchmarks.pages import accuracy, picture
from benchmarks.pages.fill import BLOCKS, PAGES, filled
from syndigits_jax.results.files import write_text


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.pages", description=__doc__)
    parser.add_argument("--write", action="store_true", help="replace the blocks of the pages")
    if parser.parse_args().write:
        for page in PAGES:
            write_text(page, filled(page.read_text(encoding="utf-8")))
        picture.draw()
        accuracy.draw()
        return
    for name, block in BLOCKS.items():
        print(f"## {name}\n", *block.build(), "", sep="\n")


if __name__ == "__main__":
    main()
