"""Restore Video (GPEN): a film in, a film with restored faces out, from file to file."""

from __future__ import annotations

import io as bytes_io
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import folder_paths
from comfy_api.latest import InputImpl, io

from ..gpen_core.films.formats import is_film, require_reader
from ..gpen_core.options import FilmOptions
from ..gpen_core.run import Run, Tools
from ..gpen_core.text import counted
from . import host, weights, widgets
from .say import say, warn
from .schema import advanced, later, schema

_ALIASES = ["video", "film", "face", "restore video", "video face restore", "gpen", "视频人脸修复"]


class RestoreVideo(io.ComfyNode):
    """A video in, a video with restored faces out; never more than a few frames in memory."""

    @classmethod
    def define_schema(cls) -> io.Schema:
        return schema(
            node_id="GPEN_RestoreVideo",
            display_name="Restore Video (GPEN)",
            description="Finds the faces in a video, follows and restores them, frame after frame. "
            "Sound, subtitles and what no face touches stay as they are.",
            search_aliases=_ALIASES,
            inputs=[
                io.Video.Input(id="video", tooltip="From Load Video; a trimmed one stays trimmed."),
                widgets.strength(),
                widgets.keep_tracks(),
                widgets.mask(),
                widgets.color_match(),
                widgets.detector(),
                widgets.confidence(),
                widgets.file(),
                widgets.detect_every(),
                widgets.shortest(),
                widgets.gap(),
                widgets.smoothing(),
                widgets.steadiness(),
                advanced(widgets.sort()),
                advanced(widgets.min_size()),
                widgets.rotations(),
                widgets.batch_size(),
                later(widgets.gpen_model()),
                later(widgets.careful()),
                later(widgets.only_below()),
                later(widgets.auto_strength()),
                later(widgets.occlusion()),
                later(widgets.parts()),
            ],
            outputs=[
                io.Video.Output(id="restored", display_name="VIDEO"),
                io.Int.Output(
                    id="count",
                    display_name="count",
                    tooltip="Number of faces restored, each followed through its frames.",
                ),
            ],
            hidden=[io.Hidden.unique_id],
        )

    @classmethod
    def validate_inputs(cls, keep: str | None) -> bool | str:
        # The host holds each parameter named here for wrong, so there is only one.
        return widgets.problem(keep=keep) or True

    @classmethod
    def fingerprint_inputs(cls, file: str | None = None, **_: Any) -> str:
        """Changes when the file is replaced on disk."""
        return weights.fingerprint(file)

    @classmethod
    def execute(
        cls,
        video: io.Video.Type,
        detector: str,
        mask_type: str,
        file: str,
        gpen_model: host.HostModel | None = None,
        **values: Any,
    ) -> io.NodeOutput:
        require_reader()
        from ..gpen_core.films.restore import restore_film

        options = widgets.read(mask_type=mask_type, **values)
        model = gpen_model or host.load_model(weights.model_file(weights.chosen(file)))
        tools = Tools(
            model.model,
            weights.detector(detector),
            weights.parser(mask_type),
            weights.embedder(options),
        )
        hooks = host.FilmHooks(cls, stages=(), model=model)
        with _stored(video) as source:
            target = _new_file(source.suffix)
            film = FilmOptions(window=_window(video))
            report = restore_film(source, target, Run(tools, options, hooks), film)
        text = _told(cls, len(report.survey.kept), len(report.survey.tracks), report.frames)
        return io.NodeOutput(
            InputImpl.VideoFromFile(str(target)),
            len(report.survey.kept),
            ui={"text": [" ".join([text, *report.events])]},
        )


@contextmanager
def _stored(video: io.Video.Type) -> Iterator[Path]:
    """The video as a file: its own, or a copy of what is in memory."""
    source = video.get_stream_source()
    if isinstance(source, str) and is_film(Path(source)):
        yield Path(source)
        return
    with tempfile.TemporaryDirectory(dir=_temporary_folder()) as folder:
        copy = Path(folder, "video.mp4")
        with copy.open("wb") as file:
            if isinstance(source, bytes_io.BytesIO):
                source.seek(0)
                shutil.copyfileobj(source, file)
            else:
                with Path(source).open("rb") as other:
                    shutil.copyfileobj(other, file)
        yield copy


def _temporary_folder() -> Path:
    folder = Path(folder_paths.get_temp_directory())
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _new_file(suffix: str) -> Path:
    """A name in the host's temporary folder, which it empties when it starts."""
    return Path(tempfile.mkdtemp(prefix="gpen-", dir=_temporary_folder())) / f"video{suffix}"


def _window(video: io.Video.Type) -> tuple[float, float] | None:
    """Start and length of a trimmed video, seconds; older hosts do not trim."""
    trimmed = getattr(video, "get_active_trim_window", None)
    window = None if trimmed is None else trimmed()
    return None if window in (None, (0.0, 0.0)) else window


def _told(cls: type[io.ComfyNode], kept: int, found: int, frames: int) -> str:
    if kept:
        return say(cls, f"{counted(kept, 'face')} restored in {counted(frames, 'frame')}.")
    if found:
        return warn(cls, f"{counted(found, 'face')} found, but none is kept; change keep.")
    return warn(cls, "No face was found; the video is unchanged. Try a lower confidence.")
