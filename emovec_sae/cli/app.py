"""emovec app: the live explorer of a finished run."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from emovec_sae.cli.output import bar, say
from emovec_sae.errors import ConfigError


def app(
    run: Path,
    *,
    host: str = "127.0.0.1",
    port: int = 7860,
    measure: bool = False,
    model: str | None = None,
) -> None:
    """Explore a run in the browser: mix emotions, read texts and latents, patch sentences, on the live model.

    It serves this machine alone until it is interrupted (Ctrl-C); nothing is sent anywhere else.

    Parameters
    ----------
    run
        Folder of a run.
    host
        Address to serve at; 0.0.0.0 lets other machines in, without a password.
    port
        Port; 0 takes any that is free.
    measure
        First measure where the model's texts break down, where the sliders then end; kept beside the run.
    model
        Load this model instead of the name in the study (a folder that has moved); it must be the same one.
    """
    missing = [name for name in ("starlette", "uvicorn") if find_spec(name) is None]
    if missing:
        raise ConfigError(f"the explorer needs {' and '.join(missing)}; run: pip install 'emovec_sae[app]'")
    from emovec_sae.report.app.explorer import Explorer
    from emovec_sae.report.app.guard import limit_of, measure_limit
    from emovec_sae.report.app.material import open_material
    from emovec_sae.report.app.server import bind, local, serve

    with bind(host, port) as sock:
        material = open_material(run, model=model)
        if measure:
            with bar("look for the break-down") as progress:
                limit = measure_limit(material, progress=progress)
        else:
            limit = limit_of(material)
        explorer = Explorer(material, limit=limit)
        name = f"[{host}]" if ":" in host else host
        say(f"sliders end at {limit.strength:g}: {limit.said}")
        if not local(host):
            say(f"--host {host} lets every machine that reaches this one use the model; there is no password")
        say(f"explorer of {run}: http://{name}:{sock.getsockname()[1]}/ (Ctrl-C ends it)")
        serve(explorer, sock, host=host)
