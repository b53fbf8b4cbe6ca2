"""Recording: a corpus goes through a model, and the store receives its activations."""
