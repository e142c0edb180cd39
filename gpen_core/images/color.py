"""Pixels of other color spaces to RGB, by their profile where they have one."""

from __future__ import annotations

import io
import logging

from PIL import Image, ImageCms

log = logging.getLogger(__name__)


def to_rgb(image: Image.Image, icc: bytes | None, name: str) -> Image.Image:
    """A CMYK, Lab, YCbCr or HSV image as RGB; the profile describes the pixels of CMYK.

    The result is sRGB, so the profile must not travel on. A profile that cannot be used is said in
    the log, and the plain conversion taken.

    Raises:
        OSError: Lab pixels that cannot be converted.
    """
    if image.mode == "LAB":
        return _convert(image, ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")))
    if image.mode == "CMYK" and icc:
        try:
            converted = _convert(image, ImageCms.ImageCmsProfile(io.BytesIO(icc)))
        except (OSError, ValueError, TypeError) as error:
            log.warning("%s: the color profile cannot be used (%s); it is left out.", name, error)
        else:
            log.info("%s: CMYK pixels are converted to RGB by their profile.", name)
            return converted
    log.info("%s: %s pixels are converted to RGB.", name, image.mode)
    return image.convert("RGB")


def _convert(image: Image.Image, profile: ImageCms.ImageCmsProfile) -> Image.Image:
    target = ImageCms.createProfile("sRGB")
    try:
        converted = ImageCms.profileToProfile(
            image,
            profile,
            ImageCms.ImageCmsProfile(target),
            renderingIntent=ImageCms.Intent.RELATIVE_COLORIMETRIC,
            outputMode="RGB",
        )
    except ImageCms.PyCMSError as error:
        raise OSError(str(error)) from error
    assert converted is not None  # only a conversion in place gives none
    return converted
