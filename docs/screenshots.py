"""The pictures of the pages in these documents: live.jpg, report.jpg and serve.jpg, taken from a run by a browser.

    pydarknet train BCCD_Dataset/BCCD --live 0          # walk-through.md
    python docs/screenshots.py runs/train1

Needs Chromium and chromedriver, Selenium, and the extras `plot` and `serve`.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests"))

from support.browser import chromium, use_scheme, wait  # noqa: E402

LARGEST = 95_000  # bytes of a picture
WIDEST = 900  # pixels of a picture


@contextmanager
def started(*arguments: str) -> Iterator[str]:
    """The address that a command serves a page on, while the block runs."""
    command = [sys.executable, "-m", "pydarknet", *arguments, "--port", "0"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        try:
            url = next((found[0] for line in process.stderr if (found := re.search(r"http://\S+", line))), None)
            if url is None:
                sys.exit(f"{' '.join(command)}: ended without an address")
            yield url
        finally:
            process.terminate()


def take(browser: Any, url: str, size: tuple[int, int], ready: Callable[[], Any], path: Path) -> None:
    """Write what a window of `size` shows of a page as soon as it is ready."""
    browser.set_window_size(size[0], size[1])
    missing = size[1] - browser.execute_script("return window.innerHeight")  # the frame of the window
    browser.set_window_size(size[0], size[1] + missing)
    browser.get(url)
    wait(browser, ready)
    browser.execute_script("document.documentElement.style.overflow = 'hidden'")  # no scroll bars
    picture = cv2.imdecode(np.frombuffer(browser.get_screenshot_as_png(), np.uint8), cv2.IMREAD_COLOR)
    share = min(1, WIDEST / picture.shape[1])
    picture = cv2.resize(picture, None, fx=share, fy=share, interpolation=cv2.INTER_AREA)
    for quality in range(90, 30, -5):
        content = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, quality])[1].tobytes()
        if len(content) <= LARGEST:
            break
    path.write_bytes(content)
    print(f"{path}: {picture.shape[1]} x {picture.shape[0]}, {len(content)} bytes, quality {quality}")


def take_all(run: Path, out: Path) -> None:
    """The three pictures of a run."""
    picture = (run / "valid.txt").read_text().splitlines()[0]
    cfg = next(run.glob("*.cfg"))
    with chromium() as browser:
        use_scheme(browser, "light")

        def script(code: str) -> Callable[[], Any]:
            return lambda: browser.execute_script(f"return {code}")

        with started("live", str(run)) as url:
            drawn = script(
                "[...document.images].every(each => each.complete && each.naturalWidth) && document.images.length"
            )
            take(browser, url, (1100, 1292), drawn, out / "live.jpg")
        report = (run / "report/report.html").resolve().as_uri()
        take(browser, report, (1160, 1240), script("document.readyState === 'complete'"), out / "report.jpg")
        weights = f"{cfg.with_suffix('')}_best.weights"
        with started("serve", str(cfg), weights, "--names", str(run / "obj.names")) as url:

            def answered() -> bool:
                if not browser.find_element("id", "file").get_attribute("value"):
                    browser.find_element("id", "file").send_keys(picture)
                return " found in " in browser.find_element("id", "message").text

            take(browser, url, (1200, 640), answered, out / "serve.jpg")


def main() -> None:
    parser = argparse.ArgumentParser(description="Pictures of the pages, from the folder of a run.")
    parser.add_argument("run", type=Path)
    parser.add_argument("--out", type=Path, default=ROOT / "docs")
    options = parser.parse_args()
    take_all(options.run, options.out)


if __name__ == "__main__":
    main()
