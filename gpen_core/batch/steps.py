"""What is said of one picture, wherever it comes from and goes."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import PurePath

from ..errors import GPENError
from ..faces.holes import UNTOUCHED
from ..files import shown
from ..memory.allowance import shortage
from ..memory.shortage import is_out_of_memory
from ..report import Report

log = logging.getLogger(__name__)


def status_of(report: Report, source: PurePath) -> str:
    """ "restored", or "unchanged" with the reason in the log.

    Example:
        >>> status_of(Report(), PurePath("nobody.png"))
        'unchanged'
    """
    if report.restored:
        return "restored"
    why = "no face was selected" if report.found else "no face was found"
    if UNTOUCHED in report.why_left:
        why = "the mask touches no face"
    elif report.why_left:
        why = f"its faces are left as they are ({report.why_left})"
    log.warning("%s: %s; the picture is unchanged.", shown(source), why)
    return "unchanged"


def reason(error: Exception, source: PurePath, explain: Callable[[GPENError], str] = str) -> str:
    """Why a picture failed, in one sentence that names it.

    Args:
        error: what was raised.
        source: the picture.
        explain: an error in the caller's terms.

    Example:
        >>> reason(ZeroDivisionError("of ours"), PurePath("a.png"))
        'a.png: unexpected ZeroDivisionError: of ours'
    """
    name = shown(source)
    if isinstance(error, GPENError):
        text = explain(error)
        return text if name in text else f"{name}: {text}"
    if is_out_of_memory(error):
        return f"{name}: {shortage('this')}"
    return f"{name}: unexpected {type(error).__name__}: {error}"
