"""Where a model came from, so that another process can load the same one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from emovec_sae.models.model import Model


@dataclass(frozen=True)
class Source:
    """Arguments of `load_model`; can be sent to another process.

    Attributes
    ----------
    name, device, dtype, device_map, quantize, modules
        As `load_model` has them, with what ``auto`` stood for.
    """

    name: str
    device: str
    dtype: str
    device_map: str | Mapping[str, str | int] | None = None
    quantize: str | None = None
    modules: Mapping[str, str] | None = None

    def load(self) -> Model:
        """Load the model; its sites were checked where it was loaded first."""
        from emovec_sae.models.load import load_model

        return load_model(
            self.name,
            device=self.device,
            dtype=self.dtype,
            device_map=self.device_map,
            quantize=self.quantize,
            modules=self.modules,
            check=False,
        )
