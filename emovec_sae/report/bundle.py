"""The one script library of the page: Vega as it lies in ``vega/``, and the command that makes it again."""

from __future__ import annotations

from functools import cache
from pathlib import Path

from emovec_sae.provenance import atomic

PATH = Path(__file__).parent / "vega" / "vega.js"
NOTICE = PATH.with_name("NOTICE.md")
"""Names, versions and licences of what is in the script; they must go along with every copy of it."""


@cache
def library() -> str:
    """Return the script that defines ``vegaEmbed``, its licences before it; it holds no end of a script element."""
    return f"/*!\n{NOTICE.read_text(encoding='utf-8')}*/\n{PATH.read_bytes().decode()}"


def make_library() -> Path:
    """Bundle the Vega inside vl-convert, the Vega-Lite that altair writes, into `PATH`; half a minute of work."""
    import altair as alt
    import vl_convert

    lite = alt.SCHEMA_VERSION.removeprefix("v").rpartition(".")[0]
    made = vl_convert.javascript_bundle("window.vegaEmbed=vegaEmbed;", vl_version=lite)
    with atomic(PATH) as part:
        # One function, so that its thousands of names stay inside it.
        part.write_bytes(f"(()=>{{{made}}})();\n".encode())
    return PATH


if __name__ == "__main__":
    make_library()
