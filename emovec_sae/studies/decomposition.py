"""Stage 4: the directions as latents, by the exact contrast and by sparse pursuit, and what those latents are."""

from __future__ import annotations

from typing import Any

from emovec_sae.provenance import write_json
from emovec_sae.studies.context import Context
from emovec_sae.studies.portraits import portraits_stage
from emovec_sae.studies.stage import Progress, Run
from emovec_sae.studies.tables import write_table

METHODS = ("contrast", "omp")


def decomposition_stage(run: Run, context: Context) -> None:
    """Decompose the chosen emotions and read the latents that matter."""
    section, seed = context.study.decomposition, context.study.seed

    def work(progress: Progress) -> None:
        """Decompose by every method, then read the latents."""
        from emovec_sae.decomposition.api import decompose

        emotions = context.emotions(section.emotions)
        for done, method in enumerate(METHODS, start=1):
            options: dict[str, Any] = {"emotions": emotions, "method": method, "k": section.k, "seed": seed}
            found = decompose(context.directions, context.coder, context.acts, **options)
            found.save(context.path / f"{method}.parquet", overwrite=True)
            progress(done, 3)
        found = context.decomposition("contrast")
        words = _words(context, [int(latent) for latent in found.index])
        labels = {latent: ", ".join([word for word in some if _drawable(word)][:3]) for latent, some in words.items()}
        write_table(context.path, "composition", found.composition(section.shown, labels=labels))
        write_table(context.path, "latents_by_emotion", found.by_latent(labels=labels))
        write_json(context.path / "latents.json", _cards(context, found, words))
        progress(3, 3)

    outputs = [f"{method}.{kind}" for method in METHODS for kind in ("parquet", "json", "safetensors")]
    outputs += ["tables/composition.parquet", "tables/latents_by_emotion.parquet", "latents.json"]
    settings = {**section.model_dump(), "arms_for": context.study.interventions.arms_for, "seed": seed}
    run.stage(
        "decomposition",
        "decompose the directions into latents",
        settings=settings,
        after=["directions", "sae"],
        outputs=outputs,
        work=work,
    )
    portraits_stage(run, context)


def _drawable(word: str) -> bool:
    """Whether the fonts that figures embed have the word's letters (Latin, Greek and Cyrillic)."""
    return all(character < "\u0530" for character in word)


def _words(context: Context, latents: list[int]) -> dict[int, list[str]]:
    """Tokens that each latent's decoder row raises most, shortened to what can be read."""
    from emovec_sae.decomposition.latent_tokens import decoder_tokens

    rows = context.coder.directions[latents]
    frame = decoder_tokens(rows, context.model.unembedding(), context.model.token_strings, top=12, ids=latents)
    up = frame[frame["side"] == "up"].sort_values(["latent", "rank"])
    found: dict[int, list[str]] = {}
    for latent, token in zip(up["latent"].tolist(), up["token"].tolist(), strict=True):
        if "\ufffd" not in token:  # a part of a character: nobody can read it
            found.setdefault(latent, []).append(token.strip() or repr(token))
    return found


def _cards(context: Context, found: Any, words: dict[int, list[str]]) -> list[dict[str, Any]]:
    """The report's card of each latent that leads an emotion of the arms: shares, tokens, passages."""
    from emovec_sae.decomposition.reading import read_latents

    section = context.study.decomposition
    emotions = list(dict.fromkeys([section.shown, *context.study.interventions.arms_for]))
    leading = found.frame()
    leading = leading[leading["emotion"].isin(emotions) & (leading["rank"] <= section.cards)]
    chosen = list(dict.fromkeys(int(one) for one in leading.sort_values("rank")["latent"]))
    reading = read_latents(
        context.coder,
        context.acts[context.site],
        chosen,
        detokenize=context.model.token_strings,
        passages=section.passages,
    )
    rates = dict(zip(reading.latents, reading.firing_rate.tolist(), strict=True))
    cards = []
    for latent in chosen:
        shares = leading[leading["latent"] == latent][["emotion", "share", "low", "high"]]
        passages = [
            {
                "emotion": passage.emotion or "",
                "id": passage.id,
                "pieces": [
                    {"token": token, "activation": value}
                    for token, value in zip(passage.tokens, passage.activations, strict=True)
                ],
            }
            for passage in reading.of(latent)
        ]
        card = {"latent": latent, "emotions": shares.to_dict("records"), "tokens_up": words.get(latent, [])[:8]}
        cards.append({**card, "firing_rate": rates[latent], "passages": passages})
    return cards
