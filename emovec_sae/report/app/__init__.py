"""The explorer: a live page on the loopback to play with a finished run, its model, directions and latents."""
