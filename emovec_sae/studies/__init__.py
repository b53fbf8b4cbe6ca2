"""Studies: the stages of a run, their cache, and the demo."""
