"""Image archives are read for what they hold, and the pause image is written as one."""

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from devcluster import archive
from devcluster.errors import DevclusterError


@pytest.fixture
def program(tmp_path: Path) -> Path:
    file = tmp_path / "pause"
    file.write_bytes(b"\x7fELF a static program")
    return file


def _content(tar: tarfile.TarFile, name: str) -> bytes:
    file = tar.extractfile(name)
    assert file, f"{name} is no file"
    return file.read()


def test_the_pause_image_is_read_back_under_its_tag(program: Path, tmp_path: Path) -> None:
    archive.write_pause(program, "localhost/pause:1", tmp_path / "image.tar")
    [image] = archive.images(tmp_path / "image.tar")
    assert image.tags == ("localhost/pause:1",)
    with tarfile.open(tmp_path / "image.tar") as tar:
        manifest = json.loads(_content(tar, "manifest.json"))
        configuration = _content(tar, manifest[0]["Config"])
    assert image.identity == f"sha256:{hashlib.sha256(configuration).hexdigest()}"


def test_the_layer_is_what_the_configuration_says_and_holds_the_program(program: Path, tmp_path: Path) -> None:
    archive.write_pause(program, "localhost/pause:1", tmp_path / "image.tar")
    with tarfile.open(tmp_path / "image.tar") as tar:
        manifest = json.loads(_content(tar, "manifest.json"))
        configuration = json.loads(_content(tar, manifest[0]["Config"]))
        layer = _content(tar, manifest[0]["Layers"][0])
    assert configuration["rootfs"]["diff_ids"] == [f"sha256:{hashlib.sha256(layer).hexdigest()}"]
    with tarfile.open(fileobj=io.BytesIO(layer)) as files:
        assert files.getmember("pause").mode == 0o755
        assert _content(files, "pause") == program.read_bytes()


def test_the_same_program_gives_the_same_archive(program: Path, tmp_path: Path) -> None:
    for name in ("a.tar", "b.tar"):
        archive.write_pause(program, "localhost/pause:1", tmp_path / name)
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


@pytest.mark.parametrize("content", [b"", b"not a tar file", bytes(10240)])
def test_what_is_no_archive_of_images_is_named(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "image.tar"
    file.write_bytes(content)
    with pytest.raises(DevclusterError, match=r"image\.tar is no docker-archive"):
        archive.images(file)


def test_an_archive_that_is_missing_is_named(tmp_path: Path) -> None:
    with pytest.raises(DevclusterError, match=r"nowhere\.tar"):
        archive.images(tmp_path / "nowhere.tar")
