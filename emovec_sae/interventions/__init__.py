"""Interventions: edits, dose, patching, and the comparison of arms at equal dose."""
