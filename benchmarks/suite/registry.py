"""All cases of the suite."""

from benchmarks.suite.case import Case
from benchmarks.suite.cases import (
    completion,
    distances,
    hard_impute,
    inference,
    nets,
    ridge,
    simplex,
)

CASES: dict[str, Case] = {
    case.name: case
    for module in (ridge, nets, simplex, completion, hard_impute, distances, inference)
    for case in module.CASES
}
