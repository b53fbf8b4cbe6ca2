"""The entry point: parse, run, and turn every expected error into one line and exit code 2."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from emovec_sae.cli import corpora
from emovec_sae.cli.output import show_messages
from emovec_sae.errors import EmovecError

app = App(
    name="emovec",
    help="Which sparse-autoencoder latents compose an emotion vector, and do they do what the vector does?",
    version_flags=["--version"],
    suppress_keyboard_interrupt=False,
)
VERBS = {
    "demo": ("demo:demo", "The embedded run, from texts to report."),
    "run": ("demo:run", "Run a study file, every stage; what is done is not run again."),
    "models": ("inventory:models", "List the embedded models."),
    "saes": ("inventory:saes", "List the pretrained SAEs of the sae-lens catalogue."),
    "record": ("recording:record", "Record activations of a corpus into HDF5 shards."),
    "verify": ("store:verify", "Check recorded shards; --repair drops broken ones."),
    "repack": ("store:repack", "Copy a store with another compression, such as one that any HDF5 library reads."),
    "fit": ("directions:fit", "Fit emotion directions on recorded activations."),
    "evaluate": ("directions:evaluate", "Test directions on held-out texts."),
    "train-sae": ("saes:train_sae", "Train an SAE on recorded tokens."),
    "passport": ("passport:passport", "Measure how well an SAE fits recorded activations."),
    "decompose": ("decomposition:decompose", "Write directions as latents of an SAE, with nulls."),
    "naming": ("naming:naming", "Tell latents that write an emotion's word from latents that evoke it."),
    "steer": ("steering:steer", "Generate with an emotion added."),
    "calibrate": ("steering:calibrate", "Find the strength that moves the model by a wanted amount."),
    "patch": ("patching:patch", "Patch activations between minimal pairs."),
    "behave": ("behaviour:behave", "Steer, and ask a behaviour battery: sycophancy, refusal, advice, or your own."),
    "compare": ("demo:compare", "Compare the arms of a study at equal dose."),
    "bench": ("bench:bench", "Make the score card of a model's emotion directions."),
    "figures": ("outputs:figures", "Draw the figures of a run."),
    "report": ("outputs:report", "Write the page of a run."),
    "app": ("app:app", "Explore a run in the browser, on its live model."),
    "export": ("export:export", "Write directions, decompositions and SAEs for other tools and for the hub."),
    "cite": ("cite:cite", "Print the BibTeX of what results were made with."),
    "pull": ("export:pull", "Fetch directions, a decomposition or an SAE from the hub."),
}
"""Verb -> (module and function below ``emovec_sae.cli``, help); a module is imported when its verb is used."""
for _verb, (_where, _help) in VERBS.items():
    app.command(f"emovec_sae.cli.{_where}", name=_verb, help=_help)

_corpora = App(name="corpora", help="List the packaged texts; let a model write more.")
_corpora.default(corpora.corpora)
_corpora.command(corpora.generate)
_corpora.command(corpora.layouts)
app.command(_corpora)

CHECKS = {
    "scenarios": ("checks", "Is the emotion that a text implies among the first few?"),
    "intensity": ("checks", "Do larger numbers move the emotions the right way?"),
    "labels": ("checks", "Hold readings against labels, intensities and ratings."),
    "lens": ("vector_checks", "Do the directions write their own words?"),
    "shape": ("vector_checks", "Spectrum, families, valence and arousal."),
    "similarity": ("vector_checks", "The similarity of emotions across sites and models."),
    "languages": ("checks", "Fit in each language, read in each."),
    "preferences": ("vector_checks", "What would the model rather do?"),
    "speaker": ("checks", "The present against the other speaker."),
    "learning": ("checks", "How many topics are enough?"),
    "diagnose": ("checks", "Numbered diagnostics of recorded texts."),
}
"""Check -> (module below ``emovec_sae.cli`` of which it is a function, help)."""
_checks = App(name="check", help="One check of directions at a time.")
for _verb, (_where, _help) in CHECKS.items():
    _checks.command(f"emovec_sae.cli.{_where}:{_verb}", name=_verb, help=_help)
app.command(_checks)

LATENTS = {
    "show": ("latents:show", "Read latents: passages, tokens, firing rate, emotions that they tell apart."),
    "probe": ("latents:probe", "Tell emotions by a few latents: the quality of a dictionary."),
    "agreement": ("selection:agreement", "Do the methods select the same latents?"),
    "stability": ("selection:stability", "Are the same latents selected on other texts?"),
    "match": ("selection:match", "Find the latents of one SAE in another."),
    "shared": ("selection:shared", "Tell latents that many emotions share from specific ones."),
}
"""Verb of ``emovec latents`` -> (module and function below ``emovec_sae.cli``, help)."""
_latents = App(name="latents", help="Read latents, and ask whether methods, texts and SAEs agree on them.")
for _verb, (_where, _help) in LATENTS.items():
    _latents.command(f"emovec_sae.cli.{_where}", name=_verb, help=_help)
app.command(_latents)

BAD_INPUT = 2
INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line.

    Returns
    -------
    int
        0 on success, 2 for bad input, 130 when interrupted.
    """
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    show_messages()
    warnings.simplefilter("ignore")  # what people should know is an error or a line of ours
    try:
        app(
            list(sys.argv[1:] if arguments is None else arguments),
            exit_on_error=False,
            print_error=False,
            result_action="return_value",
        )
    except CycloptsError as error:
        return _fail(str(error))
    except EmovecError as error:
        return _fail(str(error))
    except OSError as error:
        return _fail(f"{error.strerror or error}: {error.filename}" if error.filename else str(error))
    except KeyboardInterrupt:
        sys.stderr.write("emovec: interrupted; what was finished is kept, run the same command again to go on\n")
        return INTERRUPTED
    return 0


def _fail(message: str) -> int:
    line = " ".join(message.split())
    sys.stderr.write(f"emovec: {line}\n")
    return BAD_INPUT
