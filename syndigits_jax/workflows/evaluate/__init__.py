"""Are these twins good enough, for which questions and for whom: one report on two tables."""
