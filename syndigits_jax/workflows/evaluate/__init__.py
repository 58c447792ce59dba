"""One report on two tables: how good the twins are, for which questions and for whom."""
