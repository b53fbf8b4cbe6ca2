"""The parts of activation patching: how texts align, what is moved, the exact and the approximate way, the result."""
