"""TOML files that a user writes: read whole, or refused by name."""

import tomllib
from pathlib import Path
from typing import Any

from iac_cli.errors import IacError, Word, forbidden


def read_toml(path: Path, called: str, *, way_out: str) -> dict[str, Any]:
    """What the file holds; sentences call it `called` and its name.

    Raises: IacError: input_forbidden, input_not_found, bad_setting.
    """
    what = f"{called} {path.name}"
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except PermissionError as error:
        raise forbidden(f"{what} may not be read") from error
    except OSError as error:
        raise IacError(
            Word.INPUT_NOT_FOUND, f"{what} cannot be read", way_out="check its path"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise IacError(
            Word.BAD_SETTING, f"{path.name}: {called} is not valid TOML ({error})", way_out=way_out
        ) from error
