"""A training step beside sae-lens's own trainer: the same batches, in float64, end in the same weights."""

from __future__ import annotations

import pytest
import torch
from sae_lens import SAETrainer
from sae_lens.config import LoggingConfig, SAETrainerConfig
from sae_lens.saes.sae import SAEMetadata

from emovec_sae.saes.architectures import training_config, training_sae
from emovec_sae.saes.training.settings import settings
from emovec_sae.saes.training.trainer import Trainer

D, D_SAE, K, BATCH, STEPS = 16, 96, 4, 48, 40
WARM_UP, DECAY, WINDOW = 8, 10, 1
"""So short a window that most latents count as dead in some step: more of them (48) than are revived at once (8)."""

CASES = [
    ("topk", {}),
    ("topk", {"rescale_acts_by_decoder_norm": False, "decoder_init_norm": 0.7}),
    ("topk", {"apply_b_dec_to_input": False, "aux_loss_coefficient": 0.3}),
    ("batchtopk", {}),
    ("batchtopk", {"k": 3.5, "rescale_acts_by_decoder_norm": False, "decoder_init_norm": 0.7}),
    ("matryoshka_batchtopk", {}),
    ("matryoshka_batchtopk", {"matryoshka_widths": [5, 30, 96], "apply_b_dec_to_input": False}),
    ("matryoshka_batchtopk", {"use_matryoshka_aux_loss": True}),
    ("jumprelu", {"l0_warm_up_steps": 7}),
    ("gated", {"l1_warm_up_steps": 5}),
    ("standard", {}),
]


def start(architecture, options):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        metadata = SAEMetadata(hook_name="blocks.1.hook_resid_post")
        config = training_config(
            architecture, d_in=D, d_sae=D_SAE, k=K, options=options, device="cpu", metadata=metadata
        )
        return training_sae(architecture, config, mean=torch.linspace(-1, 1, D)).double()


def trainers(architecture, options):
    config = SAETrainerConfig(
        total_training_samples=STEPS * BATCH,
        train_batch_size_samples=BATCH,
        lr=3e-3,
        lr_end=3e-4,
        lr_warm_up_steps=WARM_UP,
        lr_decay_steps=DECAY,
        dead_feature_window=WINDOW,
        logger=LoggingConfig(log_to_wandb=False),
    )
    theirs = SAETrainer(cfg=config, sae=start(architecture, options), data_provider=iter(()))
    given = {"architecture": architecture, "k": K, "tokens": STEPS * BATCH, "batch": BATCH, "lr": 3e-3}
    given |= {"warm_up": WARM_UP / STEPS, "decay": DECAY / STEPS, "dead_after": WINDOW}
    return theirs, Trainer(start(architecture, options), settings(D_SAE, 0, given, unique=10**6))


@pytest.mark.parametrize(("architecture", "options"), CASES)
def test_the_same_batches_end_in_the_same_weights(architecture, options):
    theirs, ours = trainers(architecture, options)
    before = {name: value.clone() for name, value in ours.sae.state_dict().items()}
    generator, most_dead = torch.Generator().manual_seed(1), 0
    for _ in range(STEPS):
        # sae-lens casts its input to the configured float32: values that this leaves as they are.
        x = (3 * torch.randn(BATCH, D, generator=generator) * torch.linspace(0.2, 1.8, D)).double()
        most_dead = max(most_dead, int(ours.dead.sum()))
        expected = theirs.step(x)
        theirs.n_training_steps += 1
        point = ours.step(x, measure=True)
        assert torch.equal(ours.dead, theirs.dead_neurons)
        told = theirs.build_train_step_log_dict(expected, BATCH)
        assert point.loss == pytest.approx(told["losses/overall_loss"], rel=1e-9)
        assert point.l0 == pytest.approx(told["metrics/l0"], rel=1e-5)
        # Theirs is of float64 sums too, but cast to float32 on the way.
        assert point.explained_variance == pytest.approx(told["metrics/explained_variance"], abs=1e-5)
    found, right = ours.sae.state_dict(), theirs.sae.state_dict()
    assert list(found) == list(right)
    for name, value in found.items():
        # Rounding of float64, and of jumprelu's threshold, which sae-lens keeps in float32.
        torch.testing.assert_close(value, right[name], rtol=0, atol=1e-6 if name == "threshold" else 1e-12)
        assert not torch.allclose(value, before[name], atol=1e-4), f"{name} was not trained"
    if architecture in {"topk", "batchtopk", "matryoshka_batchtopk"}:
        assert most_dead > D // 2, "latents must be revived for their gradients to be compared"


def test_float32_differs_by_rounding_alone():
    """Sums in another order round otherwise; over a few steps the weights stay within 1e-5 of each other."""
    theirs, ours = trainers("topk", {})
    theirs.sae.float()
    ours.sae.float()
    generator = torch.Generator().manual_seed(1)
    for _ in range(5):
        x = torch.randn(BATCH, D, generator=generator)
        theirs.step(x)
        theirs.n_training_steps += 1
        ours.step(x)
    for name, value in ours.sae.state_dict().items():
        torch.testing.assert_close(value, theirs.sae.state_dict()[name], rtol=0, atol=1e-5)
