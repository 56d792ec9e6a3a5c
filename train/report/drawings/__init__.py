"""The drawings of a report's answers: curves, matrices, calibration, numbers."""
