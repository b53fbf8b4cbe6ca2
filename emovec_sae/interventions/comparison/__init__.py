"""The parts of a comparison: names of arms, selectors of latents, controls, cells, outcomes, statistics, result."""
