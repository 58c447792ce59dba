"""Study of the effect of calibration on the fidelity gap: digital twins placed as personas."""
