"""Videos are opened as files and as nothing else: whatever they are called, and whatever lies there."""

import os
from pathlib import Path

import numpy as np
import pytest

from palmar.data import video
from palmar.errors import BadFile

FRAMES = [np.full((32, 32, 3), 60 * i, np.uint8) for i in range(4)]
NAMES = (
    "concat:x.mp4",
    "http:x.mp4",
    "file:x.mp4",
    "pipe:0",
    "-",
    "a|b.mp4",
    "[bold].mp4",
    "%d.mp4",
    os.fsdecode(b"\xff.mp4"),
)


@pytest.mark.parametrize("name", NAMES, ids=ascii)
def test_a_name_is_no_protocol(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # such a name is one only without a folder before it
    path = Path(name)
    path.write_bytes(video.encode(FRAMES, 10))
    assert video.count_frames(path) == 4
    assert [frame[0, 0, 0] // 50 for _, frame in video.decode(path, 0.0, 4, 10)] == [0, 1, 2, 3]
    reader = video.FrameReader()
    assert reader.read(path, 0.0, 2, 10).shape == (32, 32, 3)
    reader.close()
    path.rename("source.mp4")
    assert len(video.join([Path("source.mp4")] * 2, path, 10)) == 2
    assert video.count_frames(path) == 8 and sorted(os.listdir()) == sorted([name, "source.mp4"])  # noqa: PTH208


LISTS = {
    "a list of parts": "ffconcat version 1.0\nfile good.mp4\n",
    "a playlist": "#EXTM3U\n#EXT-X-TARGETDURATION:5\n#EXTINF:5,\ngood.mp4\n#EXT-X-ENDLIST\n",
    "a session": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 5004 RTP/AVP 96\na=rtpmap:96 H264/90000\n",
    "no video": "\0" * 100,
}


@pytest.mark.parametrize("text", LISTS.values(), ids=LISTS)
def test_a_file_that_names_other_files_is_no_video(text: str, tmp_path: Path) -> None:
    (tmp_path / "good.mp4").write_bytes(video.encode(FRAMES, 10))
    (tmp_path / "x.mp4").write_text(text)
    with pytest.raises(BadFile, match=r"x.mp4' is damaged or not a video"):
        video.count_frames(tmp_path / "x.mp4")


def test_a_pipe_or_a_folder_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.mp4")
    (tmp_path / "folder.mp4").mkdir()
    for name, kind in (("pipe", "pipe"), ("folder", "folder")):
        with pytest.raises(BadFile, match=f"{name}.mp4' is a {kind}"):
            video.count_frames(tmp_path / f"{name}.mp4")
    with pytest.raises(BadFile, match=r"none.mp4' is missing"):
        video.count_frames(tmp_path / "none.mp4")
