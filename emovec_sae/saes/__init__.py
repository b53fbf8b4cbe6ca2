"""Sparse autoencoders: load or train one, read it on unit decoder rows, measure its fitness."""
