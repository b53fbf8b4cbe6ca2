"""The judge: its scores are those of scikit-learn, it names emotions of topics it has not seen, bad data is refused."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest
from scipy.special import logit

from emovec_sae.directions import judge as module
from emovec_sae.directions.judge import train_judge
from emovec_sae.errors import ConfigError

CENTRES = {"a": 0, "b": 1, "c": 2}


def fake(texts: Sequence[str]) -> np.ndarray:
    """A text is its emotion's letter and a number; the embedding points along the emotion, with some noise."""
    rows = []
    for text in texts:
        noise = np.random.default_rng(int(text[1:])).normal(0, 0.15, 6)
        rows.append(np.eye(6)[CENTRES[text[0]]] + noise)
    return np.array(rows, np.float32)


def data(letters: str) -> tuple[list[str], list[str], list[str]]:
    texts = [f"{letter}{number}" for letter in letters for number in range(12)]
    return texts, [text[0] for text in texts], [str(int(text[1:]) % 4) for text in texts]


@pytest.mark.parametrize("letters", ["ab", "abc"])
def test_log_odds_are_those_of_scikit_learn(monkeypatch: pytest.MonkeyPatch, letters: str) -> None:
    from sklearn.linear_model import LogisticRegression

    monkeypatch.setattr(module, "embed", fake)
    texts, emotions, groups = data(letters)
    judge = train_judge(texts, emotions, groups)
    plain = LogisticRegression(C=10.0, max_iter=2000).fit(fake(texts), emotions)
    new = [f"{letter}{number}" for letter in letters for number in (77, 78)]
    got = judge.read([*new, " "])
    np.testing.assert_allclose(got[:-1], logit(plain.predict_proba(fake(new))), atol=1e-3)  # two fits of one optimum
    assert np.isnan(got[-1]).all()
    assert judge.emotions == tuple(letters)
    assert judge.top1.value == 1.0
    assert judge.fingerprint != train_judge(texts[:-1], emotions[:-1], groups[:-1]).fingerprint


def test_a_judge_of_noise_is_at_chance_on_unseen_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "embed", lambda texts: np.random.default_rng(0).normal(size=(len(texts), 6)))
    texts, emotions, groups = data("abc")
    assert train_judge(texts, emotions, groups).top1.value < 0.65


def test_what_is_no_data_is_refused() -> None:
    with pytest.raises(ConfigError, match="2 texts, 1 emotions, 2 groups"):
        train_judge(["x", "y"], ["a"], ["1", "2"])
    with pytest.raises(ConfigError, match="2 emotions and 2 groups, got 1 and 2"):
        train_judge(["x", "y"], ["a", "a"], ["1", "2"])


def test_the_encoder_tells_fear_from_joy() -> None:
    texts = [
        "The footsteps stopped outside the door and her hands shook.", "We danced in the kitchen until the sun rose.",
        "He hid under the stairs and held his breath.", "The children laughed and ran through the sprinkler.",
        "Something moved in the dark behind the shed.", "They cheered as she opened the present.",
    ]  # fmt: skip
    judge = train_judge(texts, ["afraid", "happy"] * 3, ["1", "1", "2", "2", "3", "3"])
    told = judge.read(["A stranger followed them through the black alley.", "Everyone sang at the birthday party."])
    assert told.argmax(axis=1).tolist() == [0, 1]
