"""The code in README and docs: Python runs, page by page; command lines are understood; study files are valid.

A block under ``<!-- not run: REASON -->`` is only looked at: its names and keywords must exist.
"""

from __future__ import annotations

import ast
import inspect
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from doc_blocks import ROOT, Block, blocks, commands, inline_commands, pages, trouble

import emovec_sae as ev
from emovec_sae.config import load_study
from emovec_sae.testing import tiny_folder

if TYPE_CHECKING:
    from collections.abc import Iterator

    from emovec_sae.models.model import Model
    from emovec_sae.store.reader import Activations

ALL = [block for path in pages() for block in blocks(path)]
RUN = [block for block in ALL if block.kind == "python" and not block.reason and block.page != "README.md"]
FEW = 1 / 3
"""A larger share of the Python must not be marked as not run."""
MODEL = "smollm2-135m-instruct"


@pytest.fixture(scope="module")
def desk(stories: Activations, smollm: Model, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what the pages take as given: recordings, directions, an SAE, a decomposition, texts, a model."""
    folder = tmp_path_factory.mktemp("desk")
    acts = ev.open_activations(copied(Path(stories.path), folder / "activations" / "stories"))
    vectors = ev.fit_directions(acts, site="resid_post.18")
    for name in ("vectors", "directions"):
        vectors.save(folder / f"{name}.safetensors")
    sae = ev.train_sae(acts["resid_post.18"], d_sae=512, k=32, tokens=20_000, out=folder / "saes" / "mine")
    ev.decompose(vectors, sae, acts, k=24, nulls=4).save(folder / "contrast.parquet")
    texts = ev.load_corpus("stories", emotions=["calm", "proud", "sad"], groups="demo").frame
    texts[["text", "emotion", "group"]].to_json(folder / "mine.jsonl", orient="records", lines=True)
    tiny_folder(folder / "checkpoints" / "mine")
    (folder / "figures").mkdir()
    for table in ROOT.glob("figures/*.parquet"):  # the published set, which pages redraw
        shutil.copy2(table, folder / "figures")
    return folder


def copied(source: Path, target: Path) -> Path:
    """A copy of a folder."""
    return Path(shutil.copytree(source, target))


@pytest.fixture
def given(desk: Path, smollm: Model, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """A copy of the desk to work in, and the names that pages use without making them."""
    folder = copied(desk, tmp_path / "desk")
    monkeypatch.chdir(folder)
    load = ev.load_model
    # Every page loads the embedded model; here all of them get the one that is loaded.
    monkeypatch.setattr(ev, "load_model", lambda name, **options: smollm if name == MODEL else load(name, **options))
    return {
        "__name__": "page",
        "ev": ev,
        "model": smollm,
        "acts": ev.open_activations("activations/stories"),
        "vectors": ev.load_directions("vectors.safetensors"),
        "sae": ev.load_sae("saes/mine"),
        "parts": ev.load_decomposition("contrast.parquet"),
        "pairs": ev.load_pairs().head(2),
    }


@pytest.mark.parametrize("page", dict.fromkeys(block.page for block in RUN))
def test_the_python_of_a_page_runs(page: str, given: dict[str, Any], tmp_path: Path) -> None:
    for block in (one for one in RUN if one.page == page):
        code = "\n" * (block.line - 1) + block.code  # lines as in the page, so that an error tells the place
        script = tmp_path / f"{Path(page).stem}_{block.line}.py"  # nnsight reads the source of a trace from a file
        script.write_text(code, encoding="utf-8")
        exec(compile(code, str(script), "exec"), given)


@pytest.mark.parametrize(
    "block", [one for one in ALL if one.kind == "python"], ids=lambda one: f"{one.page}:{one.line}"
)
def test_names_and_keywords_exist(block: Block) -> None:
    for node in ast.walk(ast.parse(block.code)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ev":
            assert hasattr(ev, node.attr), node.attr
        if (
            isinstance(node, ast.Call)
            and ast.unparse(node.func).startswith("ev.")
            and ast.unparse(node.func).count(".") == 1
        ):
            accepted = inspect.signature(getattr(ev, ast.unparse(node.func)[3:])).parameters
            if not any(one.kind is one.VAR_KEYWORD for one in accepted.values()):
                assert {word.arg for word in node.keywords if word.arg} <= set(accepted), ast.unparse(node)


def test_what_is_not_run_says_why_and_is_little() -> None:
    marked = [block for block in ALL if block.reason and block.kind == "python"]
    assert all(len(block.reason) > 5 for block in marked)
    share = len(marked) / sum(block.kind == "python" for block in ALL)
    assert share <= FEW, [f"{one.page}:{one.line}" for one in marked]


def all_commands() -> Iterator[tuple[str, str, bool]]:
    """Place, line, and whether it stands in running text, where what is required may be left out."""
    for block in ALL:
        if block.kind in {"sh", "console", "bash"}:
            yield from ((f"{block.page}:{block.line}", line, False) for line in commands(block.code))
    for path in pages():
        name = path.relative_to(ROOT).as_posix()
        yield from ((name, line, True) for line in inline_commands(path.read_text(encoding="utf-8")))


def test_every_command_line_is_understood() -> None:
    wrong = [
        f"{place}: {line}: {problem}"
        for place, line, loose in all_commands()
        if (problem := trouble(line, loose=loose))
    ]
    assert not wrong, "\n".join(wrong)
    assert len(list(all_commands())) > 80


def test_a_wrong_command_is_noticed() -> None:
    assert trouble("emovec fit acts --sit resid_post.1 --out x.safetensors")
    assert trouble("emovec fitt ...")
    assert trouble("emovec fit ... --sit x")
    assert trouble("emovec fit acts")


@pytest.mark.parametrize("block", [one for one in ALL if one.kind == "yaml"], ids=lambda one: f"{one.page}:{one.line}")
def test_study_files_are_valid(block: Block, tmp_path: Path) -> None:
    path = tmp_path / "study.yaml"
    path.write_text(block.code, encoding="utf-8")
    load_study(path)


def test_every_block_says_what_it_is() -> None:
    known = {"python", "sh", "bash", "text", "yaml", "json", "bibtex", "html"}
    assert {block.kind for block in ALL} <= known
