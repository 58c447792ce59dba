"""The SYN-DIGITS paper's tables, our numbers beside the published ones."""

from collections.abc import Sequence
from pathlib import Path

from syndigits_jax.cli.render.console import output, print_block, showing_progress
from syndigits_jax.cli.render.figures import save_result_figures
from syndigits_jax.results.records import RESULTS
from syndigits_jax.studies.syn_digits.comparison import largest_difference, printed_blocks
from syndigits_jax.studies.syn_digits.tables import run_table


def show_table(
    table: str,
    data: Path,
    out: Path,
    constructions: Sequence[str],
    methods: Sequence[str],
    setting: str,
) -> list[Path]:
    """Evaluate a table of the paper, print it and draw its figures; return the files.

    **Arguments:** `table`, `out`, `constructions`, `methods`, `setting`: as in
    [`run_table`][syndigits_jax.studies.syn_digits.tables.run_table]; `data`: the folder of the
    public data.
    """
    with showing_progress() as on_progress:
        records, results = run_table(
            table,
            data,
            constructions=constructions,
            methods=methods,
            setting=setting,
            out=out,
            on_progress=on_progress,
        )
    console = output()
    for block in printed_blocks(records):
        print_block(console, block)
    if table == "figure5":
        for record in records:
            if record.metric == "adaptive_pearson_best":
                paper = "" if record.paper_mean is None else f" (paper {record.paper_mean:.3f})"
                console.print(
                    f"{record.method}, {record.setting}: best adaptive correlation "
                    f"{record.mean:.3f}{paper}"
                )
    furthest = largest_difference(records)
    if furthest is not None and furthest.mean is not None and furthest.paper_mean is not None:
        console.print(
            f"largest difference from the paper: {furthest.mean - furthest.paper_mean:+.4f} "
            f"({furthest.method}, {furthest.construction})"
        )
    written = [out / RESULTS, *save_result_figures(out, records, results)]
    console.print("written: " + ", ".join(str(path) for path in written), soft_wrap=True)
    return written
