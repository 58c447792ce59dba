"""The SYN-DIGITS paper's tables and figures."""
