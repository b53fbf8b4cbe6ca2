"""Scores: how likely the words of an emotion are next, and how much an edit disturbs the model."""
