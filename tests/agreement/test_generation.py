"""Generation under edits against permanent forward hooks and against plain generation of the Hugging Face module."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch

from emovec_sae.errors import ConfigError, CorpusError
from emovec_sae.interventions.edits import Ablate, ByRow, Shift
from emovec_sae.models.generate import generate, generate_ids
from emovec_sae.models.hooks import edited
from emovec_sae.models.model import Model
from emovec_sae.models.positions import locate
from emovec_sae.models.sampling import sample_ids
from emovec_sae.models.seam import forward
from emovec_sae.models.stream import stream_ids
from emovec_sae.models.tokens import pad
from emovec_sae.sites import Site
from emovec_sae.testing import ARCHITECTURES, tiny_model

FAMILIES = ["llama", "gemma3", "gpt2"]
SITE = Site("resid_post", 1)
LENGTH = 32
PROMPTS = ["a river and a lamp", "paper"]


@pytest.fixture(params=FAMILIES)
def model(request: pytest.FixtureRequest, endless: Callable[[str], Model]) -> Model:
    return endless(request.param)


@pytest.fixture(scope="module")
def endless() -> Callable[[str], Model]:
    """Tiny models that never end a text: every generation has its full length."""
    made: dict[str, Model] = {}

    def make(architecture: str) -> Model:
        if architecture not in made:
            made[architecture] = lively(architecture)
            made[architecture].module.generation_config.eos_token_id = None
        return made[architecture]

    return make


def lively(architecture: str) -> Model:
    """A tiny model with a head of its own: a random model with a tied one says the same token for ever."""
    model = tiny_model(architecture, seed=1)
    head = torch.randn(model.config.vocab_size, model.d_model, generator=torch.Generator().manual_seed(0))
    model.module.lm_head.weight = torch.nn.Parameter(head, requires_grad=False)
    return model


def shift(model: Model, *, seed: int = 0, size: float = 2.0, positions: str = "all") -> Shift:
    vector = np.random.default_rng(seed).standard_normal(model.d_model)
    return Shift(vector, site=SITE, coefficient=size, positions=positions)


@contextmanager
def permanent(model: Model, change: Callable[[torch.Tensor], torch.Tensor]) -> Iterator[None]:
    """A plain hook on the block, for as long as the context lasts."""
    path = {"GPT2LMHeadModel": "transformer.h.1"}.get(type(model.module).__name__, "model.layers.1")
    handle = model.module.get_submodule(path).register_forward_hook(lambda *parts: change(parts[2]))
    try:
        yield
    finally:
        handle.remove()


def plain(model: Model, prompt: list[int]) -> list[int]:
    """Greedy continuation by hand: the whole text again for every token, no cache, no padding."""
    ids = list(prompt)
    with torch.no_grad():
        for _ in range(LENGTH):
            ids.append(int(model.module(input_ids=torch.tensor([ids])).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def run(model: Model, prompts: list[list[int]], *edits: Any, length: int = LENGTH) -> list[list[int]]:
    return generate_ids(model, prompts, edits=edits, max_new_tokens=length).tolist()


def test_steering_equals_a_permanent_hook(model: Model) -> None:
    prompts, edit = model.tokens.encode(PROMPTS), shift(model)
    added = torch.from_numpy(edit.unit * np.float32(edit.coefficient))
    with permanent(model, lambda stream: stream + added):
        right = [plain(model, prompt) for prompt in prompts]
    got = run(model, prompts, edit)
    assert got == right
    assert all(len(row) == LENGTH for row in got)
    assert got != run(model, prompts), "the edit did nothing"


def test_ablation_equals_a_permanent_hook(model: Model) -> None:
    prompts = model.tokens.encode(PROMPTS)
    basis = np.linalg.qr(np.random.default_rng(1).standard_normal((model.d_model, 8)))[0].T.astype(np.float32)
    away = torch.eye(model.d_model) - torch.from_numpy(basis.T @ basis)
    with permanent(model, lambda stream: stream @ away):
        right = [plain(model, prompt) for prompt in prompts]
    assert run(model, prompts, Ablate(basis, SITE)) == right != run(model, prompts)


def test_dose_zero_is_the_base_bit_for_bit(model: Model) -> None:
    prompts = model.tokens.encode(PROMPTS)
    assert run(model, prompts, shift(model, size=0.0)) == run(model, prompts)
    batch = pad(prompts, pad_id=0)
    base = forward(model, batch, final=True).final
    got = forward(model, batch, edits=[shift(model, size=0.0)], final=True).final
    torch.testing.assert_close(got, base, rtol=0, atol=0)
    own = model.module(**batch.inputs()).logits
    torch.testing.assert_close(model.head(got)[batch.mask], own[batch.mask], rtol=0, atol=0)


def test_a_padded_batch_equals_single_runs(model: Model) -> None:
    prompts = model.tokens.encode(["a", "a river and a lamp", "paper window", "letter table garden stone"])
    edit = shift(model)
    assert run(model, prompts, edit) == [run(model, [prompt], edit)[0] for prompt in prompts]
    assert run(model, prompts) == [plain(model, prompt) for prompt in prompts]


def test_each_row_may_have_its_own_edit(model: Model) -> None:
    prompts = [model.tokens.encode(PROMPTS)[0]] * 3
    one, other = shift(model), shift(model, seed=5)
    got = run(model, prompts, ByRow((one, None, other), SITE))
    right = [run(model, prompts[:1], one)[0], run(model, prompts[:1])[0], run(model, prompts[:1], other)[0]]
    assert got == right
    assert len({tuple(row) for row in got}) == 3
    with pytest.raises(ConfigError, match="3 edits were given for a batch of 2 rows"):
        run(model, prompts[:2], ByRow((one, None, other), SITE), length=2)


@pytest.mark.parametrize(
    ("architecture", "dtype"),
    [*((name, "float32") for name in ARCHITECTURES), *((name, "bfloat16") for name in ("llama", "gemma2", "gpt2"))],
)
def test_on_every_architecture_hooks_traces_and_a_permanent_hook_agree(
    tiny: Callable[..., Model], architecture: str, dtype: str
) -> None:
    model = tiny(architecture, dtype=dtype)
    prompts = model.tokens.encode(PROMPTS)
    batch = pad(prompts, pad_id=0)
    base = model.module(**batch.inputs()).logits
    for stream in model.blocks.streams():
        vector = np.random.default_rng(0).standard_normal(model.d_model)
        edit = Shift(vector, site=Site(stream, 1), coefficient=3.0)
        with torch.no_grad(), edited(model, batch, [edit]):
            found = model.module(**batch.inputs()).logits
        traced = model.head(forward(model, batch, edits=[edit], final=True).final)
        # the same operations on the same numbers, but Gemma 2 caps its logits in its own precision, `head` in float32
        steps = 2**-6 if (architecture, dtype) == ("gemma2", "bfloat16") else 0
        torch.testing.assert_close(found.float()[batch.mask], traced[batch.mask], rtol=steps, atol=steps)
        assert not torch.equal(found, base)
        with torch.no_grad(), edited(model, batch, [edit.at(0.0)]):
            assert torch.equal(model.module(**batch.inputs()).logits, base)
    edit = shift(model)
    added = torch.from_numpy(edit.added).to(getattr(torch, dtype))
    path = model.blocks.path(SITE)
    handle = model.module.get_submodule(path).register_forward_hook(
        lambda _module, _args, out: (out[0] + added, *out[1:]) if isinstance(out, tuple) else out + added
    )
    try:
        right = run(model, prompts)
    finally:
        handle.remove()
    assert run(model, prompts, edit) == right
    assert run(model, prompts, edit.at(0.0)) == run(model, prompts)


TEMPLATE = (
    "{% for m in messages %}<{{ m.role }}>{{ m.content }}<end>{% endfor %}"
    "{% if add_generation_prompt %}<assistant>{% endif %}"
)
TALK = [
    {"role": "user", "content": "a lamp"},
    {"role": "assistant", "content": "paper"},
    {"role": "user", "content": "a river"},
]


@pytest.fixture
def chatty() -> Model:
    model = lively("llama")
    model.module.generation_config.eos_token_id = None
    model.tokens.tokenizer.chat_template = TEMPLATE
    return model


@pytest.mark.parametrize(
    ("positions", "text"),
    [("role:user", "a lampa river"), ("role:assistant", "paper"), ("span:2-5", "riv"), ("span:0-7", "a river")],
)
def test_named_positions_are_the_tokens_of_their_text(chatty: Model, positions: str, text: str) -> None:
    ids, named = locate(chatty.tokens, [TALK, TALK[2:]], [positions, "all"], chat=positions != "all")
    assert list(named) == [positions]
    kept = "".join(chatty.tokens.strings([token for token, on in zip(ids[0], named[positions][0], strict=True) if on]))
    assert kept == text
    assert ids[1] == chatty.tokens.chat_prompt("a river")
    assert ids[0] == chatty.tokens.encode([chatty.tokens.render(TALK, reply=True)], special=False)[0]


@pytest.mark.parametrize("positions", ["role:user", "role:assistant", "span:2-5", "from:3", "from:25"])
def test_named_positions_confine_an_edit(chatty: Model, positions: str) -> None:
    edit = shift(chatty, positions=positions)
    prompts = ["a river", "a river of lamps"]
    ids, named = locate(chatty.tokens, prompts, [positions], chat=True)
    added = torch.from_numpy(edit.added)

    def change(stream: torch.Tensor, row: int, start: int) -> torch.Tensor:
        acts = torch.zeros(stream.shape[1], dtype=torch.bool)
        for place in range(stream.shape[1]):
            at = start + place
            if positions.startswith("from:"):
                acts[place] = at >= int(positions[5:])
            elif at < len(ids[row]):
                acts[place] = bool(named[positions][row][at])
            else:
                acts[place] = positions == "role:assistant"
        return torch.where(acts[None, :, None], stream + added, stream)

    right = []
    for row, prompt in enumerate(ids):
        with permanent(chatty, lambda stream, row=row: change(stream, row, 0)):
            right.append(plain(chatty, prompt))
    got = generate_ids(chatty, ids, edits=[edit], max_new_tokens=LENGTH, named=named).tolist()
    assert got == right
    assert got != generate_ids(chatty, ids, max_new_tokens=LENGTH).tolist()
    texts = generate(chatty, prompts, edits=[edit], max_new_tokens=LENGTH)
    assert texts == [chatty.tokens.decode(row) for row in right]


@pytest.mark.parametrize(
    ("positions", "chat", "error", "said"),
    [
        ("role:user", False, ConfigError, "need the chat template"),
        ("span:3-90", True, CorpusError, "outside of a prompt of 7 characters"),
        ("role:system", True, CorpusError, "hold no token"),
    ],
)
def test_positions_that_are_not_there_are_refused(
    chatty: Model, positions: str, chat: bool, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said):
        generate(chatty, "a river", edits=[shift(chatty, positions=positions)], chat=chat)


def by_hand(model: Model, prompt: list[int], added: torch.Tensor, positions: str) -> list[int]:
    """Greedy with the key-value cache, the edit at named tokens by a hook that counts its calls."""
    calls = [0]

    def change(stream: torch.Tensor) -> torch.Tensor:
        step = calls[0]
        calls[0] += 1
        found = stream.clone()
        if positions == "last":
            found[:, -1] += added
        elif positions == ("prompt" if step == 0 else "generated"):
            found += added
        return found

    ids, cache, given = list(prompt), None, torch.tensor([prompt])
    with torch.no_grad(), permanent(model, change):
        for _ in range(LENGTH):
            out = model.module(input_ids=given, past_key_values=cache, use_cache=True)
            ids.append(int(out.logits[0, -1].argmax()))
            cache, given = out.past_key_values, torch.tensor([[ids[-1]]])
    return ids[len(prompt) :]


@pytest.mark.parametrize("positions", ["prompt", "generated", "last"])
def test_positions_confine_an_edit(model: Model, positions: str) -> None:
    prompts, edit = model.tokens.encode(PROMPTS), shift(model, positions=positions)
    added = torch.from_numpy(edit.unit * np.float32(edit.coefficient))
    got = run(model, prompts, edit)
    assert got == [by_hand(model, prompt, added, positions) for prompt in prompts]
    others = [run(model, prompts, shift(model, positions=one)) for one in ("all", "prompt", "generated", "last")]
    assert others.count(got) == 1, "another choice of positions gives the same text: the test could not tell"


def test_several_edits_act_in_their_order_at_several_sites(model: Model) -> None:
    prompts = model.tokens.encode(PROMPTS)
    vector = np.random.default_rng(3).standard_normal(model.d_model)
    low = Shift(vector, site=Site("resid_post", 0), coefficient=2.0)
    high = shift(model)
    both = run(model, prompts, high, low)
    assert both == run(model, prompts, low, high)
    assert both not in (run(model, prompts, low), run(model, prompts, high))
    twice = run(model, prompts, shift(model, size=1.0), shift(model, size=1.0))
    assert twice == run(model, prompts, shift(model, size=2.0))


class Failing:
    """An edit that breaks at a later token."""

    site = SITE
    positions = "all"

    def __init__(self, step: int) -> None:
        self.left = step

    def __call__(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        self.left -= 1
        if self.left < 0:
            raise ZeroDivisionError("inside an edit")
        return hidden + 100


@pytest.mark.parametrize("step", [0, 3])
def test_an_error_inside_an_edit_leaves_no_trace(model: Model, step: int) -> None:
    prompts = model.tokens.encode(PROMPTS)
    batch = pad(prompts, pad_id=0)
    before, logits = run(model, prompts), model.module(**batch.inputs()).logits
    hooks = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules()]
    with pytest.raises(ZeroDivisionError, match="inside an edit"):
        run(model, prompts, Failing(step))
    if step == 0:
        with pytest.raises(ZeroDivisionError, match="inside an edit"):
            forward(model, batch, edits=[Failing(0)], final=True)
    torch.testing.assert_close(model.module(**batch.inputs()).logits, logits, rtol=0, atol=0)
    assert run(model, prompts) == before
    assert run(model, prompts, shift(model, size=0.0)) == before
    now = [len(part._forward_hooks) + len(part._forward_pre_hooks) for part in model.module.modules()]
    assert now == hooks


def test_sampling_is_decided_by_its_seed_and_leaves_the_global_one(model: Model) -> None:
    torch.manual_seed(11)
    state = torch.random.get_rng_state()
    texts = [generate(model, "a river", temperature=1.0, max_new_tokens=20, seed=seed) for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    assert torch.equal(torch.random.get_rng_state(), state)
    edited = [generate(model, "a river", edits=[shift(model, size=0.0)], temperature=1.0, max_new_tokens=20, seed=1)]
    assert edited[0] == texts[0]


def test_a_text_that_ends_early_is_padded(endless: Callable[[str], Model]) -> None:
    model = endless("gpt2")
    prompts = model.tokens.encode(PROMPTS)
    free = run(model, prompts)
    first = [{token: row.index(token) for token in row} for row in free]
    end = next(token for token in free[0] if first[0][token] < first[1].get(token, LENGTH))
    cut = [row[: row.index(end) + 1] if end in row else row for row in free]
    made = lively("gpt2")
    made.module.generation_config.eos_token_id = end
    got = run(made, prompts, shift(made, size=0.0))
    assert got == [row + [0] * (max(map(len, cut)) - len(row)) for row in cut]


def test_no_new_token_is_refused(tiny: Callable[..., Model]) -> None:
    with pytest.raises(ConfigError, match="at least 1 token"):
        generate(tiny(), "a", max_new_tokens=0)


def test_the_head_reads_states_in_one_piece_while_a_model_generates(endless: Callable[[str], Model]) -> None:
    """A slice with gaps would be multiplied by a copy of the head a row: gigabytes, and minutes."""
    model = endless("llama")
    head = model.module.get_output_embeddings()
    whole: list[bool] = []
    hook = head.register_forward_hook(lambda _, args, __: whole.append(args[0].is_contiguous()))
    ids = model.tokens.encode(["she felt", "it was late", "no"])
    try:
        generate_ids(model, ids, max_new_tokens=3)
        list(stream_ids(model, ids, max_new_tokens=3))
        sample_ids(model, ids, draws=np.full((3, 3), 0.5))
        kept = len(whole)
        model.module(torch.tensor(ids[1:2] * 2), logits_to_keep=1)
    finally:
        hook.remove()
    assert kept >= 9
    assert whole == [True] * kept + [False]  # the last call shows that it is not so by itself
    assert not head._forward_pre_hooks
