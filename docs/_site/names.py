"""The pages of the Python reference: every public name by room, and the results that they give."""

from __future__ import annotations

import emovec_sae

ROOMS = {
    "corpora": "Texts",
    "models": "Models",
    "recording": "Recording",
    "store": "Recorded activations",
    "directions": "Directions",
    "saes": "SAEs",
    "decomposition": "Decomposition",
    "scoring": "Scores and damage",
    "interventions": "Interventions",
    "studies": "Studies",
    "charts": "Charts",
    "report": "Report",
    "exports": "For other tools",
    "sites": "Sites",
    "errors": "Errors",
    "testing": "For your own tests",
}
"""Room -> title of its page; a room that is not here gets its own name."""
RESULTS = {
    "models": ["models.model.Model"],
    "store": ["store.reader.SiteActivations", "store.verify.Verification"],
    "directions": [
        "directions.direction.Direction",
        "directions.evaluation.Evaluation",
        "directions.geometry.Geometry",
        "directions.diagnostics.diagnose",
        "directions.diagnostics.Diagnosis",
    ],
    "saes": ["saes.coder.SparseCoder", "saes.passport.Passport", "saes.matching.Matching", "saes.probing.Probing"],
    "decomposition": [
        "decomposition.result.Decomposition",
        "decomposition.reading.Reading",
        "decomposition.agreement.Agreement",
        "decomposition.stability.Stability",
        "decomposition.sharing.Sharing",
        "decomposition.across_saes.SelectedMatches",
        "decomposition.naming.naming",
        "decomposition.naming.Naming",
    ],
    "interventions": [
        "interventions.patches.result.Patching",
        "interventions.sweep.Sweep",
        "interventions.dose.Dose",
        "interventions.breakdown.Breakdown",
        "interventions.comparison.result.Comparison",
    ],
    "exports": ["exports.hub.Pushed", "exports.citing.Citations"],
    "errors": ["errors"],
    "testing": ["testing"],
}
"""Room -> what else is documented on its page: classes that public functions return, and whole modules."""


def by_room() -> dict[str, list[str]]:
    """Room -> its public names, in the order of `ROOMS`."""
    found: dict[str, list[str]] = {room: [] for room in ROOMS}
    for name in emovec_sae.__all__:
        found.setdefault(emovec_sae._PUBLIC[name].partition(".")[0], []).append(name)
    return {room: names for room, names in found.items() if names or RESULTS.get(room)}


def pages() -> dict[str, str]:
    """Page -> its Markdown: the index of all names, and a page a room."""
    rooms = by_room()
    rows = [
        f"| [{ROOMS.get(room, room)}]({room}.md) | "
        + ", ".join(f"[`{name}`]({room}.md#emovec_sae.{name})" for name in names)
        + " |"
        for room, names in rooms.items()
        if names
    ]
    head = (
        "# Python\n\nEvery public name is taken from the package itself: `import emovec_sae as ev`, then `ev.record`. "
        "Importing is light: a name's room is loaded when the name is first used.\n\n| | |\n|---|---|\n"
    )
    made = {"index": head + "\n".join(rows) + "\n"}
    for room, names in rooms.items():
        parts = [f"# {ROOMS.get(room, room)}\n"]
        parts += [f"::: emovec_sae.{name}\n" for name in names]
        if RESULTS.get(room):
            parts += [f"::: emovec_sae.{path}\n" for path in RESULTS[room]]
        made[room] = "\n".join(parts)
    return made
