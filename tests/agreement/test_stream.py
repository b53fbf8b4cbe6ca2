"""Streamed tokens against `generate`: the same ones, in any company, and no trace on the model between two of them."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest
from typing import Any

import numpy as np
import pytest
import torch

from emovec_sae.errors import ConfigError
from emovec_sae.interventions.edits import ByRow, Shift
from emovec_sae.models.generate import generate, generate_ids
from emovec_sae.models.model import Model
from emovec_sae.models.stream import stream, stream_ids
from emovec_sae.sites import Site
from emovec_sae.testing import tiny_model

FAMILIES = ["llama", "gemma2", "gemma3", "gpt2", "gpt_neox", "qwen3_moe"]
LENGTH = 12
PROMPTS = ["a river and a lamp", "paper"]


def lively(architecture: str, dtype: str = "float32") -> Model:
    """A head of its own: a random model with a tied one says the same token for ever."""
    model = tiny_model(architecture, seed=1, dtype=dtype)
    head = torch.randn(model.config.vocab_size, model.d_model, generator=torch.Generator().manual_seed(0))
    model.module.lm_head.weight = torch.nn.Parameter(head.to(getattr(torch, dtype)), requires_grad=False)
    return model


@pytest.fixture(scope="module")
def made() -> Callable[..., Model]:
    found: dict[tuple[str, str], Model] = {}

    def make(architecture: str = "llama", dtype: str = "float32") -> Model:
        key = (architecture, dtype)
        if key not in found:
            found[key] = lively(architecture, dtype)
        return found[key]

    return make


def shift(model: Model, *, seed: int = 0, positions: str = "all") -> Shift:
    vector = np.random.default_rng(seed).standard_normal(model.d_model)
    return Shift(vector, site=Site("resid_post", 1), coefficient=8.0, positions=positions)


def streamed(model: Model, prompts: list[list[int]], **options: Any) -> list[list[int]]:
    return torch.stack(list(stream_ids(model, prompts, max_new_tokens=LENGTH, **options)), 1).tolist()


@pytest.mark.parametrize("options", [{}, {"temperature": 1.0, "top_p": 0.9, "seed": 3}], ids=["greedy", "drawn"])
@pytest.mark.parametrize(("architecture", "dtype"), [*((name, "float32") for name in FAMILIES), ("llama", "bfloat16")])
def test_the_tokens_are_those_of_generate(
    made: Callable[..., Model], architecture: str, dtype: str, options: dict[str, Any]
) -> None:
    model = made(architecture, dtype)
    prompts = model.tokens.encode(PROMPTS)
    edit = ByRow((shift(model), None), Site("resid_post", 1))
    right = generate_ids(model, prompts, edits=[edit], max_new_tokens=LENGTH, **options).tolist()
    assert streamed(model, prompts, edits=[edit], **options) == right
    assert right != generate_ids(model, prompts, max_new_tokens=LENGTH, **options).tolist(), "the edit did nothing"


@pytest.mark.parametrize("positions", ["prompt", "generated", "last", "from:20"])
def test_the_step_is_told_to_the_edits(made: Callable[..., Model], positions: str) -> None:
    model = made()
    edit = shift(model, positions=positions)
    prompts = model.tokens.encode(PROMPTS)
    right = generate_ids(model, prompts, edits=[edit], max_new_tokens=LENGTH).tolist()
    assert streamed(model, prompts, edits=[edit]) == right


def test_the_last_text_is_that_of_generate_and_each_begins_with_the_one_before(made: Callable[..., Model]) -> None:
    model = made()
    model.tokens.tokenizer.chat_template = None
    found = list(stream(model, PROMPTS, edits=[shift(model)], max_new_tokens=LENGTH))
    assert found[-1] == generate(model, PROMPTS, edits=[shift(model)], max_new_tokens=LENGTH)
    assert len(found) == LENGTH


def test_streams_beside_each_other_and_other_work_between_two_tokens_change_nothing(made: Callable[..., Model]) -> None:
    model = made()
    prompts = model.tokens.encode(PROMPTS)
    asked = [
        {"edits": [shift(model)], "temperature": 1.0, "seed": 1},
        {"edits": [shift(model, seed=5)], "temperature": 1.0, "seed": 1},
        {"edits": []},
    ]
    alone = [streamed(model, prompts, **one) for one in asked]
    plain = model.module(input_ids=torch.tensor(prompts[:1])).logits
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules()]
    state = torch.random.get_rng_state()
    together: list[list[torch.Tensor]] = [[], [], []]
    for tokens in zip_longest(*(stream_ids(model, prompts, max_new_tokens=LENGTH, **one) for one in asked)):
        for row, own in zip(together, tokens, strict=True):
            row.append(own)
        assert torch.equal(model.module(input_ids=torch.tensor(prompts[:1])).logits, plain)
        now = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules()]
        assert now == hooks
    assert [torch.stack(one, 1).tolist() for one in together] == alone
    assert torch.equal(torch.random.get_rng_state(), state)


def test_a_text_that_ends_early_is_padded_and_ends_the_stream() -> None:
    model = lively("gpt2")
    model.module.generation_config.eos_token_id = None
    prompts = model.tokens.encode(PROMPTS)
    free = generate_ids(model, prompts, max_new_tokens=LENGTH).tolist()
    model.module.generation_config.eos_token_id = free[0][2]
    right = generate_ids(model, prompts, max_new_tokens=LENGTH).tolist()
    assert streamed(model, prompts) == right
    alone = streamed(model, prompts[:1])
    assert alone == [free[0][: free[0].index(free[0][2]) + 1]]


def test_a_model_is_held_to_its_own_generation_settings() -> None:
    model = lively("llama")
    prompts = model.tokens.encode(PROMPTS)
    before = streamed(model, prompts)
    model.module.generation_config.repetition_penalty = 50.0
    right = generate_ids(model, prompts, max_new_tokens=LENGTH).tolist()
    assert streamed(model, prompts) == right != before


def test_no_new_token_is_refused(made: Callable[..., Model]) -> None:
    with pytest.raises(ConfigError, match="at least 1 token"):
        next(stream(made(), "a", max_new_tokens=0, chat=False))
