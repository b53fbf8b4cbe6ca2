"""Sparse autoencoders: load or train one, read it on unit decoder rows, measure its fitness."""

from __future__ import annotations

from emovec_sae.saes.coder import SparseCoder
from emovec_sae.saes.load import catalogue, load_sae
from emovec_sae.saes.passport import Passport, passport
from emovec_sae.saes.train import train_sae

__all__ = ["Passport", "SparseCoder", "catalogue", "load_sae", "passport", "train_sae"]
