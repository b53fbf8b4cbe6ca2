"""Diagnostics of a store of activations, numbered like a linter's rules: one file each, one line each here."""

from __future__ import annotations

# Importing a diagnostic registers it; the same name twice says that this is all the import is for.
from emovec_sae.directions.diagnostics import ev001_length as ev001_length
from emovec_sae.directions.diagnostics import ev002_first_word as ev002_first_word
from emovec_sae.directions.diagnostics import ev003_position as ev003_position
from emovec_sae.directions.diagnostics import ev004_split_half as ev004_split_half
from emovec_sae.directions.diagnostics import ev005_shuffled_labels as ev005_shuffled_labels
from emovec_sae.directions.diagnostics import ev006_label_set as ev006_label_set
from emovec_sae.directions.diagnostics import ev007_near_duplicates as ev007_near_duplicates
from emovec_sae.directions.diagnostics import ev008_groups as ev008_groups
from emovec_sae.directions.diagnostics import ev009_writer as ev009_writer
from emovec_sae.directions.diagnostics.diagnose import diagnose
from emovec_sae.directions.diagnostics.diagnosis import Diagnosis
from emovec_sae.directions.diagnostics.finding import STATUSES, Finding, Status
from emovec_sae.directions.diagnostics.registry import DIAGNOSTICS, Diagnostic

__all__ = ["DIAGNOSTICS", "STATUSES", "Diagnosis", "Diagnostic", "Finding", "Status", "diagnose"]
