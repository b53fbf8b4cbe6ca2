"""The explorer in a real browser on the embedded model: every action, one server, no console error, no network."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlencode, urlsplit

import numpy as np
import pytest
from chromium import needs_chromium, watched
from explorer_run import ATTACK, DECOMPOSED, REAL, real_run

from emovec_sae.interventions.arms import latent_arms
from emovec_sae.interventions.edits import ByRow
from emovec_sae.models.generate import generate
from emovec_sae.models.load import load_model
from emovec_sae.report.app.desk import Desk
from emovec_sae.report.app.doses import from_run
from emovec_sae.report.app.explorer import Explorer
from emovec_sae.report.app.material import Material, _artefacts, join
from emovec_sae.report.app.mix import Mix, length, shift
from emovec_sae.report.app.server import bind, make_server

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Locator, Page

TOKENS = 8

pytestmark = needs_chromium


@pytest.fixture(scope="module")
def material(tmp_path_factory: pytest.TempPathFactory) -> Material:
    """A run of the embedded model, opened."""
    model = load_model("smollm2-135m-instruct", device="cpu")
    return join(_artefacts(real_run(tmp_path_factory.mktemp("explorer"), model), f"A small run {ATTACK}"), model)


@pytest.fixture(scope="module")
def desk() -> Iterator[Desk]:
    found = Desk()
    yield found
    found.close()


@pytest.fixture(scope="module")
def server(material: Material, desk: Desk) -> Iterator[str]:
    """The address of one server, as `emovec app` starts it, in a thread."""
    with bind("127.0.0.1", 0) as sock:
        found = make_server(Explorer(material), desk, host="127.0.0.1")
        thread = threading.Thread(target=found.run, kwargs={"sockets": [sock]})
        thread.start()
        yield f"http://127.0.0.1:{sock.getsockname()[1]}/"
        found.should_exit = True
        thread.join(30)
    assert not thread.is_alive(), "the server does not end"


@pytest.fixture
def visit(browser: Browser, server: str) -> Iterator[Callable[..., Page]]:
    """Opens pages of the server, each a person of its own."""
    with watched(browser, server) as opened:

        def open_page(address: str = "", **options: Any) -> Page:
            page = opened(address, **options)
            page.locator("main[aria-busy=false]").wait_for()
            return page

        yield open_page


def problem(page: Page) -> str:
    """The one line of what was refused."""
    page.locator("#problem").wait_for()
    text = page.locator("#problem-text").inner_text()
    assert "\n" not in text
    return text


def set_mix(page: Page, strengths: dict[str, float], *, tokens: int = TOKENS, k: int = 4) -> None:
    while page.locator(".drop").count():
        page.locator(".drop").first.click()
    for emotion, strength in strengths.items():
        page.fill("#add-emotion", emotion)
        page.click("#add")
        page.get_by_label(f"strength of {emotion} as a number").fill(str(strength))
    page.fill("#tokens", str(tokens))
    page.fill("#k", str(k))


def answer(page: Page) -> dict[str, str]:
    page.click("#answer")
    page.locator("#mix-status", has_text="Done").wait_for()
    return said(page)


def said(page: Page) -> dict[str, str]:
    return {arm: page.locator(f"#said-{arm}").text_content() or "" for arm in ("none", "raw", "latents")}


def titles(found: Locator) -> list[str]:
    return [one.get_attribute("title") or "" for one in found.all()]


def test_the_page_says_what_the_run_is_and_runs_no_text_of_it(visit: Callable[..., Page]) -> None:
    page = visit()
    assert page.title().startswith("Explorer: A small run")
    assert page.locator("h1").inner_text() == f"A small run {ATTACK}"
    assert "4 emotions, 3 of them decomposed into 192 latents" in page.locator("#about").inner_text()
    assert "--measure" in (page.locator("#limit-said").text_content() or "")
    for view in ("text", "latents", "patch", "mix"):
        page.click(f"#tab-{view}")
        assert page.locator("[role=tabpanel]:visible").count() == 1
        assert page.locator(f"#view-{view}").is_visible()
    page.locator("#tab-mix").press("ArrowRight")
    assert page.locator("#view-text").is_visible()


def test_a_mix_is_answered_side_by_side_with_the_tokens_of_generate(
    visit: Callable[..., Page], material: Material
) -> None:
    page = visit()
    page.fill("#prompt", "Tell me about your day.")
    set_mix(page, {"afraid": 0.15})
    found = answer(page)
    raw = page.locator("#dose-raw").inner_text()
    latents = page.locator("#dose-latents").inner_text()
    assert (raw, latents) == (
        "strength 0.15, 0.02 nats",
        "strength 0.30, 0.02 nats; matched by the run's calibration on neutral text",
    )
    mix = Mix.of(material, ["afraid"], [0.15])
    arm = latent_arms(material.contrast, material.coder, ["afraid"], sizes=(4,))[0].edit
    dose = from_run(material.doses, "afraid", 4, 0.15)
    assert dose is not None
    own = mix.latents(material, 4)
    np.testing.assert_allclose(own / length(own), arm.unit, atol=1e-6)
    np.testing.assert_allclose(dose.latents, 0.3, rtol=1e-6)
    # The very numbers: a last bit more or less turns a near tie between two tokens.
    edits = [None, shift(material, mix.raw(material)), shift(material, own * (dose.latents / length(own)))]
    prompts = ["Tell me about your day."] * 3
    right = generate(material.model, prompts, edits=[ByRow(tuple(edits), REAL)], max_new_tokens=TOKENS)
    assert found == dict(zip(("none", "raw", "latents"), right, strict=True))
    assert len(set(right)) > 1, "the edits changed nothing: the test could not tell"
    assert page.locator("#next-rows tr").count() == 8
    assert page.locator("#part-chips .chip").count() == 4


def test_a_mix_of_several_is_matched_by_a_measurement_and_an_emotion_without_latents_is_told(
    visit: Callable[..., Page], material: Material
) -> None:
    page = visit()
    set_mix(page, {"afraid": 0.1, "happy": -0.05})
    together = length(Mix.of(material, ["afraid", "happy"], [0.1, -0.05]).raw(material))
    page.locator("#mix-length", has_text=f"{together:.2f}").wait_for()
    answer(page)
    assert "matched just now on 64 neutral positions" in page.locator("#dose-latents").inner_text()
    set_mix(page, {"sad": 0.1})
    found = answer(page)
    assert "'sad' was not decomposed in this run" in page.locator("#dose-latents").inner_text()
    assert found["raw"]
    assert not found["latents"]
    page.fill("#add-emotion", "afriad")
    page.click("#add")
    assert "no direction for \u201cafriad\u201d" in problem(page)


def test_two_people_at_once_get_the_texts_that_each_gets_alone(visit: Callable[..., Page]) -> None:
    one, other = visit(), visit()
    set_mix(one, {}, tokens=16)
    plain = answer(one)
    set_mix(one, {"afraid": 0.2}, tokens=16)
    set_mix(other, {"happy": 0.2}, tokens=16)
    other.fill("#temperature", "0.8")
    alone = [answer(one), answer(other)]
    for page in (one, other):
        page.click("#answer")
    for page in (one, other):
        page.locator("#mix-status", has_text="Done").wait_for()
    assert [said(one), said(other)] == alone
    set_mix(one, {}, tokens=16)
    assert answer(one) == plain, "an edit was left on the model"


def test_doses_end_at_the_limit_unless_the_box_is_ticked(visit: Callable[..., Page]) -> None:
    page = visit()
    set_mix(page, {"afraid": 0.1}, tokens=2)
    slider = page.locator("#strength-afraid")
    assert (slider.get_attribute("min"), slider.get_attribute("max")) == ("-0.2", "0.20")
    page.get_by_label("strength of afraid as a number").fill("0.5")
    page.click("#answer")
    assert "the mix is 0.50 long, beyond the limit 0.20" in problem(page)
    page.check("#beyond")
    assert page.locator("#strength-afraid").get_attribute("max") == "0.80"
    answer(page)
    assert page.locator("#problem").is_hidden()
    page.get_by_label("strength of afraid as a number").fill("5")
    page.click("#answer")
    assert "even with the tick it ends at 0.80" in problem(page)


def test_an_answer_can_be_stopped(visit: Callable[..., Page], desk: Desk) -> None:
    page = visit()
    set_mix(page, {"afraid": 0.1}, tokens=200)
    page.click("#answer")
    page.locator("#said-raw", has_text=re.compile(r"\w")).wait_for()
    page.click("#stop")
    page.locator("#mix-status", has_text="Stopped").wait_for()
    # 200 tokens take far longer than the step that is under way
    for _ in range(400):
        if not desk.jobs:
            break
        time.sleep(0.05)
    assert desk.jobs == 0, "the stopped answer goes on"


@pytest.mark.parametrize(
    ("field", "value", "line"),
    [
        ("#prompt", "", "the prompt is empty"),
        ("#prompt", "a" * 10_000, "the prompt has 10,000 characters; at most 2,000 are read here"),
        ("#seed", "", "seed: input should be a valid integer"),
    ],
)
def test_what_cannot_be_answered_is_refused_in_one_line(
    visit: Callable[..., Page], field: str, value: str, line: str
) -> None:
    page = visit()
    page.fill(field, value)
    page.click("#answer")
    assert line in problem(page)
    page.click("#problem-close")
    assert page.locator("#problem").is_hidden()


def test_a_text_is_shaded_and_its_markup_stays_text(visit: Callable[..., Page], material: Material) -> None:
    page = visit()
    page.click("#tab-text")
    text = f"She was terrified \U0001f642 {ATTACK} and the day was caf\u00e9 calm."
    page.fill("#text", text)
    page.fill("#read", "afraid")
    page.click("#read-text")
    page.locator("#heat span").nth(3).wait_for()
    assert page.locator("#heat").text_content() == text
    assert page.title().startswith("Explorer")
    assert page.locator("#heat script").count() == 0
    shown = titles(page.locator("#heat span"))
    assert "not scored" in shown[0]
    from emovec_sae.report.app.texts import TextReader

    right = TextReader(material).emotion(text, "afraid")["values"]
    assert shown[1:] == [f"{value:.3f} centred cosine".replace("-", "\u2212") for value in right[1:]]
    page.locator("#heat span").nth(2).hover()
    assert shown[2] in page.locator("#heat-token").inner_text()
    # a latent, by pressing the strongest one
    latent = page.locator("#whole-latents button").first
    name = latent.locator("span").inner_text()
    latent.click()
    page.locator("#heat-name", has_text=name).wait_for()
    assert any(one.endswith("activation") and not one.startswith("0.000") for one in titles(page.locator("#heat span")))


@pytest.mark.parametrize(
    ("text", "read", "line"),
    [
        ("  ", "afraid", "the text is empty"),
        ("a" * 10_000, "afraid", "the text has 10,000 characters; at most 4,000 are read here"),
        ("It was late.", "afriad", "no direction for 'afriad' (did you mean 'afraid'?)"),
        ("It was late.", "192", "there is no latent 192; the SAE has 0 to 191"),
    ],
)
def test_what_cannot_be_read_is_refused_in_one_line(
    visit: Callable[..., Page], text: str, read: str, line: str
) -> None:
    page = visit()
    page.click("#tab-text")
    page.fill("#text", text)
    page.fill("#read", read)
    page.click("#read-text")
    assert line in problem(page)


def test_a_latents_dashboard(visit: Callable[..., Page], material: Material) -> None:
    kept = next(iter(material.cards))
    page = visit(f"?view=latents&latent={kept}")
    page.locator("#card").wait_for()
    assert page.locator("#card-name").inner_text() == f"Latent {kept}"
    assert "It fires on" in page.locator("#card-rate").inner_text()
    assert page.locator("#card-up span").count() == 10
    assert "afraid" in page.locator("#card-emotions").inner_text()
    passage = page.locator(".passage .heat")
    assert passage.text_content() == f"It was {ATTACK} dark"
    assert titles(passage.locator("span"))[2] == "3.000 activation"
    page.select_option("#of-emotion", "angry")
    page.locator("#of-chips .chip:not(.kept)").first.click()
    page.get_by_text("The run kept no passages of this latent").wait_for()
    page.fill("#latent", "5000")
    page.click("#show-latent")
    assert "no latent 5000" in problem(page)
    page.fill("#latent", str(kept))
    page.click("#show-latent")
    page.locator("#card").wait_for()
    page.click("#read-latent")
    page.locator("#heat-name", has_text=f"latent {kept}").wait_for()


def test_two_sentences_are_patched_into_a_map(visit: Callable[..., Page]) -> None:
    page = visit()
    page.click("#tab-patch")
    page.fill("#source", "The door was locked, so the child felt")
    page.fill("#target", "The door was open, so the child felt")
    page.fill("#source-answer", "trapped")
    page.fill("#target-answer", "free")
    page.click("#patch")
    page.locator("#patch-status", has_text="Done").wait_for()
    rows = page.locator("#map tbody tr")
    first = rows.first.locator("td")
    assert first.count() == 30
    # what the source says stands in the changed word at the first block, and is whole at the last token's last one
    assert re.search(r"layer 0, \u201copen\u201d: (0\.[89]|1\.0)\d recovered", titles(first)[0])
    assert re.search(r"layer 29, \u201cfelt\u201d: 1\.00 recovered", titles(rows.last.locator("td"))[-1])
    rows.last.locator("td").last.hover()
    assert page.locator("#map-cell").inner_text().endswith("1.00 recovered")
    page.fill("#source", "The judge had locked him up")
    page.click("#patch")
    assert "these sentences cannot be patched: texts of unequal length that differ up to the end" in problem(page)
    page.fill("#source", "")
    page.click("#patch")
    assert "the first sentence is empty" in problem(page)


def test_a_link_restores_the_page(visit: Callable[..., Page]) -> None:
    page = visit(permissions=["clipboard-read", "clipboard-write"])
    set_mix(page, {"angry": 0.12, "afraid": -0.03})
    page.fill("#prompt", "Who & what?")
    page.fill("#seed", "5")
    page.locator("#view-mix .share").click()
    page.get_by_text("Link copied").wait_for()
    link = page.evaluate("navigator.clipboard.readText()")
    assert link == page.url
    query = {name: value[0] for name, value in parse_qs(urlsplit(link).query).items()}
    assert query == {
        "view": "mix", "emotions": "angry,afraid", "strengths": "0.12,-0.03", "k": "4", "prompt": "Who & what?",
        "seed": "5", "tokens": str(TOKENS), "temperature": "0",
    }  # fmt: skip
    again = visit("?" + urlsplit(link).query)
    assert again.url == link
    assert again.locator("#strength-angry").input_value() == "0.12"
    assert again.locator("#strength-afraid").input_value() == "-0.03"
    assert [again.locator(f"#{one}").input_value() for one in ("prompt", "seed", "k")] == ["Who & what?", "5", "4"]


def test_an_address_that_is_wrong_is_restored_in_part(visit: Callable[..., Page]) -> None:
    query = {"view": "text", "emotions": "afriad", "strengths": "0.1", "text": f"It was {ATTACK}.", "k": "many"}
    page = visit("?" + urlencode(query))
    line = problem(page)
    assert "no direction for 'afriad' (did you mean 'afraid'?)" in line
    assert "k in the address is 'many'" in line
    assert page.locator("#text").input_value() == query["text"]
    assert page.locator("#strength-afraid").count() == 1, "the usual mix is not there"


@pytest.mark.parametrize(("scheme", "dark"), [("light", False), ("dark", True)])
def test_it_fits_a_phone_in_light_and_dark(visit: Callable[..., Page], *, scheme: str, dark: bool) -> None:
    page = visit(viewport={"width": 390, "height": 844}, color_scheme=scheme)
    colour = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert (int(re.findall(r"\d+", colour)[0]) < 128) is dark
    for view in ("mix", "text", "latents", "patch"):
        page.click(f"#tab-{view}")
        assert page.evaluate("document.documentElement.scrollWidth") == 390, f"{view} is wider than a phone"


def test_the_server_serves_this_machine_and_its_own_page_alone(server: str) -> None:
    import http.client

    place = urlsplit(server)

    def ask(method: str, path: str, body: str | None = None, **headers: str) -> tuple[int, str, str]:
        line = http.client.HTTPConnection("127.0.0.1", place.port, timeout=60)
        for _ in range(100):  # the server may still be on its way up
            try:
                line.connect()
                break
            except ConnectionRefusedError:
                time.sleep(0.1)
        line.request(method, path, body, headers)
        found = line.getresponse()
        told = found.status, found.read().decode(), found.headers.get("Content-Security-Policy", "")
        line.close()
        return told

    status, page, policy = ask("GET", "/")
    assert status == 200
    assert "default-src 'none'" in policy
    assert "http" not in re.sub(r"http-equiv", "", page), "the page names another host"
    assert ask("GET", "/", Host="evil.example")[0] == 400, "another name for this machine is served"
    assert ask("POST", "/api/heat", "{}", **{"Content-Type": "text/plain"})[0] == 400, "a foreign form is answered"
    status, line, _ = ask("POST", "/api/heat", "{", **{"Content-Type": "application/json"})
    assert (status, line) == (400, '{"error":"the request is no JSON"}')
    assert ask("GET", "/page/../server.py")[0] == 404
    assert ask("GET", "/nothing")[0] == 404
    assert DECOMPOSED[0] in ask("GET", "/api/facts")[1]
