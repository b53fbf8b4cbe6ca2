"""Training of SAEs: settings, the stream of tokens, the step, checkpoints, and what is written beside the weights."""
