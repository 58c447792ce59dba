"""Batched solvers as pure functions of arrays: nothing here knows of twins or questions."""
