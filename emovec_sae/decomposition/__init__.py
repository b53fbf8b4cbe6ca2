"""Decomposition: which SAE latents compose an emotion vector, with an error term and against null models."""
