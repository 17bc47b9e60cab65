"""Writes the sample files of the two tagging tasks from the hand-tagged tables of the built-in corpus.

Knows: the tables ``corpus/tags/*.tsv``, CoNLL-U with the folders of Universal Dependencies, XTREME's PAN-X columns.
Does not know: the harness, its readers, its models or its scores.

In ``words.tsv`` a word is ``form/UPOS`` and a multiword token ``im=in/ADP+dem/DET``; the running text stands in
``sentences.tsv`` and ``passages.tsv``. In ``entities.tsv`` an entity is ``[Anna Berg]PER``, and spaces part the words.
"""

import csv
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# Only English has training and development sets, as in zero-shot transfer.
TREEBANKS = {"en": "English", "de": "German", "es": "Spanish", "ar": "Arabic", "zh": "Chinese"}
ENTITY_LANGUAGES = ("ar", "de", "en", "es", "sw", "zh")
SPLITS = ("train", "dev", "test")

_ENTITY = re.compile(r"\[([^\[\]]+)\](PER|ORG|LOC)|([^\s\[\]]+)")


def derive_tags(corpus: Path, target: Path) -> list[Path]:
    """Write ``ud/**`` and ``panx/*`` under `target`; return the paths written, in order.

    Raises:
        ValueError: A tagged sentence is not what its running text says, or its marks are wrong.
    """
    return _treebanks(corpus, target / "ud") + _entities(corpus, target / "panx")


def _treebanks(corpus: Path, folder: Path) -> list[Path]:
    rows = _table(corpus / "tags" / "words.tsv")
    texts = _texts(corpus)
    written = []
    for language, name in TREEBANKS.items():
        for split in SPLITS:
            sentences = [
                _conllu(row["id"], texts[row["id"]][language], row[language])
                for row in rows
                if row["split"] == split and row[language]
            ]
            if sentences:
                path = folder / f"UD_{name}-Sample" / f"{language}_sample-ud-{split}.conllu"
                written.append(_write(path, sentences))
    return written


def _texts(corpus: Path) -> dict[str, dict[str, str]]:
    """Sentence id (``s02``, ``p1-6``) -> its text by language."""
    texts = {row["id"]: row for row in _table(corpus / "sentences.tsv")}
    passages = _table(corpus / "passages.tsv")
    return texts | {f"{row['passage']}-{row['sentence']}": row for row in passages}


def _conllu(identity: str, text: str, tagged: str) -> list[str]:
    """The lines of one sentence: two comments, then the words."""
    lines = [f"# sent_id = {identity}", f"# text = {text}"]
    count = place = 0
    for token in tagged.split(" "):
        form, words = _token(token)
        if not text.startswith(form, place):
            raise ValueError(f"words.tsv, {identity}: {form!r} does not stand at {text[place:]!r}")
        place += len(form)
        after = "SpaceAfter=No" if text[place : place + 1].strip() else "_"
        place += text[place : place + 1] == " "
        if len(words) > 1:
            lines.append(_line(f"{count + 1}-{count + len(words)}", form, "_", after))
            after = "_"
        lines += [_line(str(count + at), word, tag, after) for at, (word, tag) in enumerate(words, start=1)]
        count += len(words)
    if place < len(text):
        raise ValueError(f"words.tsv, {identity}: {text[place:]!r} at the end has no tags")
    return lines


def _token(token: str) -> tuple[str, list[tuple[str, str]]]:
    """Form, and the words with their tags: ``im=in/ADP+dem/DET`` has two."""
    form, _, parts = token.rpartition("=")
    words = []
    for part in parts.split("+"):
        word, _, tag = part.rpartition("/")
        words.append((word, tag))
    return form or words[0][0], words


def _line(number: str, form: str, tag: str, misc: str) -> str:
    return f"{number}\t{form}\t_\t{tag}" + "\t_" * 5 + f"\t{misc}"


def _entities(corpus: Path, folder: Path) -> list[Path]:
    rows = _table(corpus / "tags" / "entities.tsv")
    written = []
    for split in SPLITS:
        for language in ENTITY_LANGUAGES:
            sentences = [
                [f"{word}\t{tag}" for word, tag in _tagged_words(row["id"], row[language])]
                for row in rows
                if row["split"] == split and row[language]
            ]
            if sentences:
                written.append(_write(folder / f"{split}-{language}.tsv", sentences))
    return written


def _tagged_words(identity: str, marked: str) -> Iterator[tuple[str, str]]:
    """Words and their BIO tags: ``[Anna Berg]PER`` is ``B-PER I-PER``."""
    spans = list(_ENTITY.finditer(marked))
    if " ".join(span[0] for span in spans) != marked:
        raise ValueError(f"entities.tsv, {identity}: brackets or spaces are wrong in {marked!r}")
    for span in spans:
        if span[3]:
            yield span[3], "O"
        else:
            first, *others = span[1].split(" ")
            yield first, f"B-{span[2]}"
            yield from ((word, f"I-{span[2]}") for word in others)


def _table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))


def _write(path: Path, sentences: Iterable[Iterable[str]]) -> Path:
    """A blank line follows each sentence, the last one too."""
    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(f"{line}\n" for sentence in sentences for line in (*sentence, ""))
    path.write_text(text, encoding="utf-8", newline="\n")
    return path
