"""The published hold-out protocol in plain NumPy, scikit-learn and PyTorch, fold by fold.

A correctness oracle for the package and the peer that its speed is measured against. It shares
no code with ``syndigits_jax`` and reads the public CSV files by itself. Run it with
``python -m benchmarks.peer --help``; it needs scikit-learn, pandas, joblib and PyTorch.
"""
