"""Behaviour under steering: forced choices of batteries, and preferences between activities."""
