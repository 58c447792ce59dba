"""Does calibration close the fidelity gap? Digital twins placed as personas."""
