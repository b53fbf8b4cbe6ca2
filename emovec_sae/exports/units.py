"""What the columns of a decomposition's table are, and in which units: for readers without this package."""

from __future__ import annotations

COLUMNS = {
    "emotion": ("name", "the emotion whose vector was decomposed"),
    "rank": ("count from 1", "place of the latent among the first k of the emotion"),
    "latent": ("index from 0", "latent of the SAE"),
    "coefficient": ("units of the residual stream", "coefficient on the unit decoder row of the latent"),
    "share": ("fraction of |v|^2, signed", "coefficient times the row's inner product with the vector v, over |v|^2"),
    "low": ("as share", "lower end of the interval of share"),
    "high": ("as share", "upper end of the interval of share"),
    "null_low": ("as share", "2.5 % point of what random targets of the same norm reach at this rank"),
    "null_high": ("as share", "97.5 % point of the same"),
    "decoder_cosine": ("cosine", "of the decoder row with the vector"),
    "firing_rate": ("fraction of tokens", "tokens of all texts on which the latent fires"),
    "dense": ("true or false", "whether it fires on more than a tenth of the tokens"),
    "cohens_d": ("standard deviations", "coefficient over the pooled deviation of the texts' means within emotions"),
    "auroc": ("probability", "that a text of the emotion has a larger mean activation than one of another emotion"),
    "emotion_rate": ("fraction of tokens", "tokens of the emotion's texts on which the latent fires"),
    "text_rate": ("fraction of texts", "texts in which it fires at all"),
    "emotion_text_rate": ("fraction of texts", "texts of the emotion in which it fires at all"),
    "z": ("standard errors", "statistic of the permutation test of emotions within groups"),
    "p": ("probability", "two-sided p of that test"),
    "p_max_t": ("probability", "p corrected for all tested latents of the emotion by the maximum (single step)"),
    "q": ("probability", "p corrected by Benjamini and Hochberg over the tested latents of the emotion"),
    "permuted_low": ("as share", "2.5 % point of what permuted labels give at this rank"),
    "permuted_high": ("as share", "97.5 % point of the same"),
}
"""Column -> (unit, meaning)."""
