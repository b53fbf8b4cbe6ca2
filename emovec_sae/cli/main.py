"""The entry point: parse, run, and turn every expected error into one line and exit code 2."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Sequence

from cyclopts import App, CycloptsError

from emovec_sae.errors import EmovecError

app = App(
    name="emovec",
    help="Which sparse-autoencoder latents compose an emotion vector, and do they do what the vector does?",
    version_flags=["--version"],
)
for _verbs in (
    "demo",
    "inventory",
    "recording",
    "directions",
    "saes",
    "decomposition",
    "steering",
    "patching",
    "outputs",
):
    app.command(f"emovec_sae.cli.{_verbs}:app", name="*")

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
