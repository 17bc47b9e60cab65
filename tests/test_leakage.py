"""What is kept apart from training, and ``harness leakage``, which shows that it is, on planted copies."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

Cli = Callable[..., Any]
OWN = [f"Sentence number {word} of the training text is about {word} things." for word in "abcdefghijkl"]
TESTED = ["The cat sleeps under the warm kitchen stove tonight.", "Nobody knows the way home any more."]


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """Plain text in two languages with copies of Tatoeba sentences, on one side of a pair too."""
    folder = tmp_path / "data"
    (folder / "text").mkdir(parents=True)
    (folder / "tatoeba" / "v1").mkdir(parents=True)
    for code, lines in (
        ("eng", TESTED),
        ("deu", ["Die Katze schläft heute Nacht am Ofen.", "Niemand weiß es."]),
    ):
        path = folder / "tatoeba" / "v1" / f"tatoeba.deu-eng.{code}"
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    english = [*OWN, f"She said that {TESTED[0]}"]
    german = [f"Satz {word} handelt von {word} Dingen und sonst nichts." for word in "abcdefghijkl"]
    for code, lines in (("en", english), ("de", [*german, "niemand weiss es"])):
        (folder / "text" / f"{code}.train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
        (folder / "text" / f"{code}.dev.txt").write_text(lines[0] + "\n", encoding="utf-8")
    pairs = [*zip(OWN, german, strict=True), (TESTED[1], "Keiner kennt den Weg.")]
    for split in ("train", "dev"):
        text = "".join(f"{one}\t{other}\n" for one, other in pairs)
        (folder / "text" / f"en-de.{split}.tsv").write_text(text, encoding="utf-8")
    return folder


def trained(cli: Cli, data: Path, folder: Path, *more: str) -> dict[str, Any]:
    command = (
        f"train -m sample -t tlm --mlm-share 0.5 --mlm-languages de,en --data {data} -o {folder} --device cpu"
    )
    command += " --hyper max_steps=2 --hyper batch_size=4 --hyper warmup=0"
    done = cli(*command.split(), *more)
    assert done.code == 0, done.err
    told: dict[str, Any] = json.loads((folder / "training.json").read_text(encoding="utf-8"))
    return told


def test_copies_are_found_and_named(cli: Cli, data: Path, tmp_path: Path) -> None:
    trained(cli, data, tmp_path / "ckpt")
    done = cli("leakage", tmp_path / "ckpt", "-t", "tatoeba", "-l", "de", "--data", data)
    assert done.code == 1
    lines = done.out.strip().splitlines()
    assert "leak       2 of mlm/train in tatoeba/de/test, e.g. " in done.out
    assert (
        "leak       1 of tlm/train in tatoeba/de/test, e.g. 'Nobody knows the way home any more.'" in done.out
    )
    assert lines[-1].startswith("leakage: 6 times a learned text is evaluated")


def test_what_is_kept_apart_is_not_learned_and_the_check_says_so(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    told = trained(cli, data, tmp_path / "ckpt", "--apart", "tatoeba")
    learned = {course["task"]: course for course in told["courses"]}
    assert learned["mlm"]["learn"]["apart"] == ["tatoeba"]
    assert (learned["mlm"]["learn"]["left_out"], learned["tlm"]["learn"]["left_out"]) == (2, 1)
    # 13 English and 13 German lines, less one each: "weiß" and "weiss" are the same word here.
    assert (learned["mlm"]["examples"], learned["tlm"]["examples"]) == (24, 12)
    done = cli("leakage", tmp_path / "ckpt", "-t", "tatoeba", "-l", "de", "--data", data, "--json")
    assert done.code == 0, done.err
    found = json.loads(done.out)
    assert found["leaks"] == []
    assert found["evaluated"] == {"tatoeba/de/dev": 4, "tatoeba/de/test": 4}
    assert set(found["learned"]) == {"mlm/train", "tlm/train"}
    assert found["verdict"].startswith("no leakage among ")


@pytest.fixture
def tagged(tmp_path: Path) -> Path:
    """Plain English text of which one line holds a tagged test sentence, and one no more than a word of it."""
    folder = tmp_path / "tagged"
    (folder / "text").mkdir(parents=True)
    (folder / "udpos").mkdir()
    words = ["The", "owl", "does", "n't", "sleep", "before", "dawn", "."]
    tags = ["DET", "NOUN", "AUX", "PART", "VERB", "ADP", "NOUN", "PUNCT"]
    sentence = "".join(f"{word}\t{tag}\n" for word, tag in zip(words, tags, strict=True))
    for split in ("dev", "test"):
        (folder / "udpos" / f"{split}-en.tsv").write_text(sentence + "\n", encoding="utf-8")
    lines = [*OWN, "They say that the owl doesn't sleep before dawn.", "Dawn."]
    (folder / "text" / "en.train.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    (folder / "text" / "en.dev.txt").write_text(OWN[0] + "\n", encoding="utf-8")
    return folder


def test_a_tagged_sentence_is_looked_for_as_a_whole(cli: Cli, tagged: Path, tmp_path: Path) -> None:
    command = f"train -m sample -t mlm --data {tagged} --device cpu --hyper max_steps=1 --hyper warmup=0"
    assert cli(*command.split(), "-o", tmp_path / "all").code == 0
    done = cli("leakage", tmp_path / "all", "-t", "udpos", "-l", "en", "--data", tagged)
    assert done.code == 1
    assert "leak       1 of mlm/train in udpos/en/test, e.g. \"They say that the owl doesn't" in done.out
    assert cli(*command.split(), "-o", tmp_path / "apart", "--apart", "udpos").code == 0
    course = json.loads((tmp_path / "apart" / "training.json").read_text(encoding="utf-8"))["courses"][0]
    assert (course["learn"]["left_out"], course["examples"]) == (1, len(OWN) + 1)
    done = cli("leakage", tmp_path / "apart", "-t", "udpos", "-l", "en", "--data", tagged)
    assert done.code == 0, done.out


def test_texts_are_looked_for_where_answers_were_taken_out_and_what_is_not_at_hand_is_named(
    cli: Cli, tmp_path: Path
) -> None:
    """XTREME's own copies of the test sets: words, pairs and questions without what was to be found."""
    data = tmp_path / "data"
    copies = ["The owl of Aleppo sleeps by day", "A river has no name here", "Where does the old owl sleep"]
    question = {"id": "english-1", "question": copies[2] + "?", "answers": [{"text": "", "answer_start": 0}]}
    article = {"paragraphs": [{"context": "It sleeps.", "qas": [question]}]}
    for name, text in (
        ("text/en.train.txt", "\n".join([*OWN, *(f"{copy}, they say." for copy in copies)])),
        ("text/en.dev.txt", OWN[0]),
        ("panx/test-en.tsv", copies[0].replace(" ", "\n") + "\n"),
        ("pawsx/test-en.tsv", f"Something else\t{copies[1]} ."),
        ("tydiqa/tydiqa-goldp-v1.1-dev/tydiqa.goldp.en.dev.json", json.dumps({"data": [article]})),
    ):
        path = data / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n", encoding="utf-8")
    command = f"train -m sample -t mlm --data {data} --device cpu --hyper max_steps=1 --hyper warmup=0"
    assert cli(*command.split(), "-o", tmp_path / "ckpt").code == 0
    done = cli(*f"leakage {tmp_path / 'ckpt'} -t panx,pawsx,tydiqa -l en --json --data {data}".split())
    assert done.code == 1
    found = json.loads(done.out)
    assert {leak["evaluated"]: leak["texts"] for leak in found["leaks"]} == {
        "panx/en/test": 1,
        "pawsx/en/test": 1,
        "tydiqa/en/test": 1,
        "tydiqa/en/dev": 1,
    }
    assert set(found["unread"]) == {"panx/en/dev", "pawsx/en/dev"}
    assert "2 evaluated sets are not at hand or cannot be read" in found["verdict"]
    apart = cli(*command.split(), "-o", tmp_path / "apart", "--apart", "panx,pawsx,tydiqa")
    assert apart.code == 0
    told = json.loads((tmp_path / "apart" / "training.json").read_text(encoding="utf-8"))["courses"][0]
    assert (told["learn"]["left_out"], told["examples"]) == (3, len(OWN))
    assert told["caveats"] == [
        "evaluated sets that are not at hand (panx/en/dev, pawsx/en/dev); copies of their texts may be learned"
    ]


def caveats_of(cli: Cli, model: Path, data: Path, task: str, language: str) -> list[str]:
    """What a score says against itself that has to do with what the model learned."""
    out = model.parent / f"run-{model.name}-{task}-{language}"
    done = cli("eval", "-m", model, "-t", task, "-l", language, "--data", data, "-o", out, "--device", "cpu")
    assert done.code == 0, done.err
    lines = (out / "records.jsonl").read_text(encoding="utf-8").splitlines()
    (caveats,) = {tuple(json.loads(line)["caveats"]) for line in lines}
    return [caveat for caveat in caveats if "learned" in caveat]


def test_a_score_says_what_was_learned_without_a_look_at_its_texts(
    cli: Cli, data: Path, tmp_path: Path
) -> None:
    """Texts in two languages and pairs of both: Tatoeba's English sentences could be in either."""
    told = "{} was learned and not kept apart from tatoeba/test; 'harness leakage' tells whether texts of it are among that"
    trained(cli, data, tmp_path / "all")
    both = [told.format("tlm/train"), told.format("mlm/train")]
    assert caveats_of(cli, tmp_path / "all", data, "tatoeba", "de") == both
    trained(cli, data, tmp_path / "apart", "--apart", "tatoeba")
    assert caveats_of(cli, tmp_path / "apart", data, "tatoeba", "de") == []
    for code in ("fra", "eng"):
        (data / "tatoeba" / "v1" / f"tatoeba.fra-eng.{code}").write_text("Un.\nDeux.\n", encoding="utf-8")
    assert caveats_of(cli, tmp_path / "apart", data, "tatoeba", "fr") == [], "French was not learned"


def test_a_set_that_was_not_at_hand_then_is_not_kept_apart(cli: Cli, data: Path, tmp_path: Path) -> None:
    moved = tmp_path / "elsewhere"
    (data / "tatoeba").rename(moved)
    told = trained(cli, data, tmp_path / "apart", "--apart", "tatoeba")
    assert told["courses"][0]["learn"]["unread"] == ["tatoeba/de/test", "tatoeba/de/dev"]
    moved.rename(data / "tatoeba")
    found = caveats_of(cli, tmp_path / "apart", data, "tatoeba", "de")
    assert len(found) == 2
    assert all("apart from tatoeba/test, which was not at hand then; 'harness" in caveat for caveat in found)


def test_another_set_of_texts_is_another_training(cli: Cli, data: Path, tmp_path: Path) -> None:
    first = trained(cli, data, tmp_path / "a")
    second = trained(cli, data, tmp_path / "b", "--apart", "tatoeba")
    assert first["key"] != second["key"]


def test_nothing_left_out_is_told_by_a_checkpoint_of_its_own(cli: Cli, data: Path, tmp_path: Path) -> None:
    """The same examples are learned either way, but only one of the trainings knows that nothing of Tatoeba is in them."""
    for code in ("deu", "eng"):
        path = data / "tatoeba" / "v1" / f"tatoeba.deu-eng.{code}"
        path.write_text("Ganz etwas anderes.\nUnd noch etwas.\n", encoding="utf-8")
    learned = [
        trained(cli, data, tmp_path / name, "--seed", "1", *more)["courses"][0]
        for name, more in (("all", ()), ("apart", ("--apart", "tatoeba")))
    ]
    assert learned[0]["learned"] == learned[1]["learned"]
    assert [course["learn"]["apart"] for course in learned] == [[], ["tatoeba"]]
    assert len(caveats_of(cli, tmp_path / "all", data, "tatoeba", "de")) == 2
    assert caveats_of(cli, tmp_path / "apart", data, "tatoeba", "de") == []


def test_data_that_was_not_learned_decides_nothing(cli: Cli, data: Path, tmp_path: Path) -> None:
    trained(cli, data, tmp_path / "ckpt")
    for path in (data / "text").glob("*.train.*"):
        path.write_text(path.read_text(encoding="utf-8").replace("things", "matters"), encoding="utf-8")
    for path in (data / "text").glob("de.train.txt"):
        path.write_text("Anders.\n", encoding="utf-8")
    done = cli("leakage", tmp_path / "ckpt", "-t", "tatoeba", "-l", "de", "--data", data)
    assert done.code == 4
    assert (
        done.out.strip()
        .splitlines()[-1]
        .startswith("cannot decide: tlm/train, mlm/train could not be read again; ")
    )
    assert "the data is not what was learned" in done.err


def test_a_model_without_a_history_decides_nothing(cli: Cli, sample_model: Path) -> None:
    done = cli("leakage", sample_model, "-t", "tatoeba", "--data", "sample")
    assert done.code == 4
    assert "cannot decide: the checkpoint has no training.json of this harness" in done.out


@pytest.mark.parametrize("name", ["sample", "new:layers=2"])
def test_a_model_that_learned_nothing_is_refused(cli: Cli, name: str) -> None:
    done = cli("leakage", name, "-t", "tatoeba", "--data", "sample")
    assert done.code == 2
    assert done.complaint.startswith(f"harness: CHECKPOINT {name}: it has learned nothing yet; ")


def test_a_language_that_no_task_has_is_refused(cli: Cli, sample_model: Path) -> None:
    """Else the answer would be about English alone."""
    done = cli("leakage", sample_model, "-t", "xnli", "-l", "ja", "--data", "sample")
    assert done.code == 2
    assert done.complaint == "harness: --languages ja: none of xnli has it"


def test_a_set_of_nothing_but_copies_is_one_line(cli: Cli, tmp_path: Path) -> None:
    command = f"train -m sample -t tlm --mlm-languages de --data sample --apart xtreme -o {tmp_path / 'x'}"
    done = cli(*command.split())
    assert done.code == 2
    assert done.complaint.startswith(
        "harness: tlm/train has nothing to learn: every text occurs in the sets that it is kept apart from; give other text"
    )


@pytest.mark.parametrize("name", ["nothing", "mlm"])
def test_a_wrong_name_is_one_line(cli: Cli, tmp_path: Path, name: str) -> None:
    command = f"train -m sample -t mlm --data sample --apart {name} -o {tmp_path / 'x'}"
    done = cli(*command.split())
    assert (done.code, len(done.err.strip().splitlines())) == (2, 1)
    assert name in done.complaint
