"""Sites: to and from text and TransformerLens names, in the order of the forward pass."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from emovec_sae.errors import ConfigError
from emovec_sae.sites import STREAMS, Site, parse_sites

sites = st.builds(Site, st.sampled_from(STREAMS), st.integers(0, 200))


@given(sites)
def test_text_and_hook_name_lead_back_to_the_site(site: Site) -> None:
    assert Site.parse(str(site)) == site
    assert Site.from_hook_name(site.hook_name) == site
    assert Site.parse(site) is site


def test_hook_name_is_the_one_of_transformer_lens() -> None:
    assert Site("resid_post", 17).hook_name == "blocks.17.hook_resid_post"


@given(st.lists(sites, min_size=1))
def test_a_list_comes_back_without_duplicates_in_forward_order(some: list[Site]) -> None:
    found = parse_sites(",".join(map(str, some)))
    assert set(found) == set(some)
    assert len(found) == len(set(some))
    keys = [(site.layer, ("resid_pre", "attn_out", "mlp_out", "resid_post").index(site.stream)) for site in found]
    assert keys == sorted(keys)
    assert parse_sites([*some, *map(str, some)]) == found


@given(st.integers(0, 30), st.integers(0, 30))
def test_a_range_holds_both_ends(first: int, more: int) -> None:
    found = parse_sites(f"mlp_out.{first}-{first + more}")
    assert [site.layer for site in found] == list(range(first, first + more + 1))


def test_a_star_is_every_block() -> None:
    assert parse_sites("attn_out.*", 4) == [Site("attn_out", layer) for layer in range(4)]


def test_spaces_and_several_parts() -> None:
    assert parse_sites(" resid_post.2 , mlp_out.0,resid_post.1-2 ") == [
        Site("mlp_out", 0),
        Site("resid_post", 1),
        Site("resid_post", 2),
    ]


@pytest.mark.parametrize(
    ("text", "n_layers", "said"),
    [
        ("resid_pots.3", None, "did you mean 'resid_post'"),
        ("resid_post", None, "cannot read site 'resid_post'"),
        ("resid_post.-1", None, "cannot read site"),
        ("resid_post.1.5", None, "cannot read site"),
        ("resid_post.5-3", None, "write resid_post.3-5"),
        ("resid_post.*", None, "needs a model"),
        ("resid_post.30", 30, "the model has 30 blocks, 0 to 29"),
        ("resid_post.28-30", 30, "'resid_post.30' does not exist"),
        ("", None, "no site was given"),
        (" , ", None, "no site was given"),
    ],
)
def test_what_cannot_be_read_says_what_is_right(text: str, n_layers: int | None, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse_sites(text, n_layers)
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_one_site_is_wanted_where_one_is_wanted() -> None:
    with pytest.raises(ConfigError, match="names 2 sites"):
        Site.parse("resid_post.1-2")


@pytest.mark.parametrize("name", ["blocks.3.attn.hook_z", "blocks.x.hook_resid_post", "hook_embed", "blocks.3.hook_q"])
def test_other_hooks_are_refused(name: str) -> None:
    with pytest.raises(ConfigError, match="is no site that can be recorded"):
        Site.from_hook_name(name)


def test_negative_layer_is_refused() -> None:
    with pytest.raises(ConfigError, match="layers count from 0"):
        Site("resid_post", -1)
