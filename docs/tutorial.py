# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # Tutorial: from texts to latents in ten minutes
#
# This page goes the whole way once, on a real model that fits on a laptop: SmolLM2 135M Instruct. Record what the
# model computes while it reads stories, fit emotion directions, test them, train a small SAE, write a direction as
# latents, steer with it, and patch. Everything is small here, so that it takes under a minute on one core; the
# numbers are those of this page's run and show the steps, not a finding. For findings see the
# [experiments](experiments/index.md).
#
# The page is a notebook in text form, `docs/tutorial.py`. Run it as a script (`python docs/tutorial.py`), or open it
# in Jupyter (`jupytext --to ipynb docs/tutorial.py`).
#
# ## The model
#
# A name of an embedded model, a Hugging Face id, a folder or a `.gguf` file. Before you get it, each site is read and
# written to once, so a model whose parts we misunderstand is refused here and not discovered later.

# %%
import tempfile
from pathlib import Path

import emovec_sae as ev

work = Path(tempfile.mkdtemp())  # a folder of yours in real work: what is recorded can be used again
model = ev.load_model("smollm2-135m-instruct", device="cpu")
print(f"{model.n_layers} blocks of width {model.d_model}, in {model.dtype}")

# %% [markdown]
# ## Texts
#
# The packaged stories show a character with an emotion that is never named, on 16 topics. The topic is the *group*:
# what must not be divided between fitting and testing, or a direction could win by knowing the topic. We take six
# emotions on the eight topics of the demo.

# %%
stories = ev.load_corpus("stories", emotions=["afraid", "angry", "calm", "happy", "proud", "sad"], groups="demo")
print(stories)
print(stories.frame["text"][0])

# %% [markdown]
# ## Record
#
# A *site* is a place in the model: `resid_post.18` is the residual stream behind block 18 (blocks count from 0). We
# keep the mean over each story's tokens at three sites, for directions, and every token at one of them, for an SAE.
# The mean starts at token 20: at the first words there is little to feel yet. Token 0, which models use as a sink, is
# never in.

# %%
sites = {"resid_post.12": ["mean"], "resid_post.18": ["mean", "none"], "resid_post.24": ["mean"]}
acts = ev.record(model, stories, sites=sites, out=work / "stories")
acts

# %% [markdown]
# ## Fit and test directions
#
# A direction is, in its simplest form, the mean of an emotion's stories minus the mean over emotions.
# `cross_validate` leaves each topic out in turn, fits on the others and names the emotion of the stories left out.
# The same is done from words alone (TF-IDF): a direction that does no better than that has read words.

# %%
tested = ev.cross_validate(acts)
print(tested)
tested.frame().query("metric == 'top1'")[["site", "readout", "value", "low", "high", "chance"]].round(2)

# %% [markdown]
# Look at the readouts. Plain `dot` and `cosine` are hardly better than chance, because they measure mostly what all
# stories have in common; once the training stories' mean is taken off, the same vectors name the emotion of three
# stories in four. Intervals are over topics. Choosing the best site from this very table would flatter; the package
# can choose inside the folds ([directions](directions.md)). We go on with block 18, about two thirds of the way up.

# %%
vectors = ev.fit_directions(acts, site="resid_post.18")
vectors.frame()[["emotion", "norm", "n_texts"]].round(2)

# %% [markdown]
# ## A small SAE
#
# A sparse autoencoder writes each token's activation as a sum of few *latents* out of many, plus an error. This one
# is tiny and trained for seconds; [own SAE](guides/own-sae.md) says what a usable one takes. Two topics are held out,
# and the *passport* measures it on them. An SAE that explains less than half of the variance is refused by
# `decompose`.

# %%
sae = ev.train_sae(
    acts["resid_post.18"], d_sae=1024, k=32, tokens=60_000, held_out=["hospital", "walk"], out=work / "sae"
)
passport = ev.passport(sae, acts.select(groups=["hospital", "walk"]))
passport.frame()

# %% [markdown]
# ## Which latents compose the direction?
#
# Not by encoding the vector: an encoder expects an activation, and a difference of two is none ([why](concepts.md)).
# The `contrast` method encodes every token of the stories and takes differences of the mean latents instead. That is
# an identity: the latents' parts and the error's part add up to the vector.

# %%
parts = ev.decompose(vectors, sae, acts, method="contrast", k=16, nulls=20)
parts.frame().query("emotion == 'afraid'")[["rank", "latent", "coefficient", "share", "low", "high", "auroc"]].head(8)

# %%
parts.plot("afraid")

# %% [markdown]
# How good is it that the first 16 latents point where the vector points? That depends on what chance reaches, so each
# number stands beside nulls: random targets, permuted labels, a rotated dictionary. The hardest is mostly *permuted
# labels*, pseudo-emotions whose stories were drawn across the labels.

# %%
chance = parts.excess()
chance.query("k == 16 and quantity == 'cosine'")[
    ["null", "value", "null_mean", "excess", "excess_low", "excess_high"]
].round(2)

# %% [markdown]
# ## Steer
#
# Add the direction to the stream while the model writes. *Strength* is in mean residual norms at the site. How much
# is too much differs between models and directions: [steering safely](guides/steering-safely.md).

# %%
question = "Describe the room that you are in."
for strength in (0.0, 0.1, 0.2):
    (text,) = ev.generate(model, question, edits=[ev.Steer(vectors["afraid"], strength=strength)], max_new_tokens=30)
    print(f"{strength}: {text}\n")

# %% [markdown]
# The same with 16 latents in place of the vector. To compare the two, doses must be equal in what they do to the
# model (a KL divergence on neutral text), not in length: that is what `ev.calibrate` and `ev.compare` are for.

# %%
edits = {
    "vector": ev.raw_arms(vectors, ["afraid"])[0].edit,
    "16 latents": ev.latent_arms(parts, sae, ["afraid"], sizes=(16,))[0].edit,
}
prompts = ["She opened the letter and felt", "He came home and was", "They looked at the sky and felt"]
words = {"fear": ["afraid", "scared", "terrified"], "joy": ["happy", "glad", "delighted"]}
moved = ev.sweep(model, prompts, edits, [0.0, 0.1, 0.2], score=words, unit=vectors.residual_norm)
moved.frame().round(2)

# %% [markdown]
# Changes of log-probability, with intervals over prompts. Three prompts and a toy SAE say little: here the latents
# lower the words of joy as the vector does, and hardly raise those of fear. At dose 0 nothing changes, to the last
# bit.
#
# ## Patch
#
# Two sentences that differ in a word, after which a feeling is due. The activations of one are put into the run of
# the other, site by site and token by token: where does the answer follow?

# %%
pairs = ev.load_pairs().groupby("family").head(1)  # a pair of each family
print(pairs["source"][0], "->", pairs["source_answer"][0])
print(pairs["target"][0], "->", pairs["target_answer"][0])
found = ev.patch(model, pairs, sites="resid_post.8-22", positions="spans", limit=10)
found.plot()

# %% [markdown]
# Low in the model the feeling sits on the changed word; higher up it has moved to the last token.
#
# ## Where to go
#
# - The same on the command line, and the page of a whole run: [start](start.md).
# - [Your own model](guides/own-model.md), [your own data](guides/own-data.md), [your own SAE](guides/own-sae.md).
# - [What the numbers of a decomposition say](guides/reading-a-decomposition.md), and what they do not.
# - [Gotchas](gotchas.md): what you see, why, what to do.
