"""The Persona Fidelity Gap's studies on public ratings."""
