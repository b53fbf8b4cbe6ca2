"""Load any causal language model under nnsight, and read, edit and generate at its sites."""
