"""What `make bench-rag` searches: the answers of Perl's FAQ, as Debian's package perl-doc has it.

People really asked these questions, others wrote the answers, each question has one answer, and nobody here chose them.
A document is an answer without its question, so that a search has to find it by what it says.
"""

import re
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

PACKAGE = "perl-doc"
FILES = "usr/share/perl/*/pod/perlfaq{part}.pod"

CHARACTERS = {"E<lt>": "<", "E<gt>": ">", "E<sol>": "/", "E<verbar>": "|"}


@dataclass(frozen=True, slots=True)
class Question:
    """A question, and the one answer to it."""

    name: str
    """Of the document that the answer becomes; says nothing about it."""
    text: str
    answer: str


@dataclass(frozen=True, slots=True)
class QuestionSet:
    """All that is asked, and where it is from."""

    source: str
    questions: tuple[Question, ...]


def perl_faq(parts: Sequence[int]) -> QuestionSet:
    """Fetch the package, without installing it, and read these of the FAQ's nine parts.

    Raises
    ------
    subprocess.CalledProcessError
        Debian's package can't be had; as root, `apt-get update` may help.
    """
    with TemporaryDirectory() as folder:
        subprocess.run(["apt-get", "-q", "download", PACKAGE], cwd=folder, check=True, capture_output=True)
        (package,) = Path(folder).glob("*.deb")
        subprocess.run(["dpkg-deb", "--extract", package, folder], check=True)
        version = subprocess.run(
            ["dpkg-deb", "--field", package, "Version"], check=True, capture_output=True, text=True
        ).stdout.strip()
        files = [file for part in parts for file in Path(folder).glob(FILES.format(part=part))]
        questions = tuple(question for file in files for question in _questions(file))
    return QuestionSet(f"{PACKAGE} {version}, parts {parts[0]} to {parts[-1]}", questions)


def _questions(file: Path) -> Iterator[Question]:
    for number, section in enumerate(re.split(r"^=head2 ", file.read_text(), flags=re.MULTILINE)[1:], 1):
        question, _, answer = section.partition("\n\n")
        answer = re.split(r"^=head1 ", answer, flags=re.MULTILINE)[0]
        yield Question(f"{file.stem}-{number}", " ".join(readable(question).split()), readable(answer))


def readable(pod: str) -> str:
    """Return the text of Perl's documentation format without its marks."""
    text = re.sub(r"^=item (\*$)?", "", pod, flags=re.MULTILINE)
    text = re.sub(r"^=[a-z]+.*\n+", "", text, flags=re.MULTILINE)
    # X marks words for an index: they are no part of the text.
    text = re.sub(r"X<[^<>]*>", "", text)
    text = re.sub(r"[BCFILS]<<+\s(.*?)\s>>+", r"\1", text, flags=re.DOTALL)
    for mark, character in CHARACTERS.items():
        text = text.replace(mark, character)
    text = re.sub(r"L<([^<>|]*)\|[^<>]*>", r"\1", text)
    text = re.sub(r"[BCFILS]<([^<>]*)>", r"\1", text)
    return text.strip()
