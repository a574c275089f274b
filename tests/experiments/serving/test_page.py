"""Drives the page in headless Chromium as a person does, and as a client that means no good."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import pytest
from PIL import Image

from experiments.inference.examples import read_records
from experiments.serving.corrections import Corrections
from experiments.serving.desk import CAPTION_FIELDS
from tests.experiments.serving.small_desk import WORDS, save_image, small_desk
from tests.experiments.small_stages import write_run

pytest.importorskip("gradio", reason="no Gradio: pip install '.[web]' in the repository")
webdriver = pytest.importorskip("selenium.webdriver", reason="no Selenium: pip install selenium")
from selenium.common.exceptions import WebDriverException  # noqa: E402
from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from experiments.serving.page import Page  # noqa: E402

pytestmark = pytest.mark.slow
Found = TypeVar("Found")
PATIENCE_S = 120.0
UPLOAD_MB = 2


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Holds an untrained run that finds regions, and images with a dark bar."""
    folder = tmp_path_factory.mktemp("page")
    run = write_run(folder / "run", "stage2_tiny.yaml", {"model.init_args.pretrained": "random"})
    point = {"pixel_threshold": 0.3, "image_threshold": 0.3}
    (run / "thresholds.json").write_text(json.dumps(point))
    (folder / "images").mkdir()
    for place in range(2):
        pixels = np.random.default_rng(place).integers(130, 170, (90, 120), dtype=np.uint8)
        pixels[30 + 5 * place : 45 + 5 * place, 25:85] = 25
        Image.fromarray(pixels).save(folder / "images" / f"part {place}.png")
    (folder / "images" / "notes.png").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def address(folder: Path) -> Iterator[str]:
    """Where `serve` shows the page."""
    words = ["--checkpoint", str(folder / "run"), "--out", str(folder / "out")]
    words += ["--port", "0", "--upload_mb", str(UPLOAD_MB), "--device", "cpu"]
    root = Path(__file__).parents[3]
    with (folder / "printed.txt").open("wb") as printed:
        server = subprocess.Popen(
            [sys.executable, "-m", "experiments.serve", *words],
            env={**os.environ, "PYTHONPATH": str(root), "TMPDIR": str(folder)},
            stdout=printed,
            stderr=subprocess.STDOUT,
        )

    def place() -> str:
        text = (folder / "printed.txt").read_text()
        assert server.poll() is None, text
        return "".join(re.findall(r"the page is at (http://127\.0\.0\.1:\d+);", text))

    try:
        yield within(place, seconds=480)
        server.send_signal(signal.SIGINT)
        assert server.wait(240) == 130
        # What was uploaded and never accepted is gone.
        assert not list(folder.glob("diffuse_defect_*"))
    finally:
        server.kill()
        server.wait()


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no Chromium: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for word in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage"):
        options.add_argument(word)
    options.add_argument("--window-size=1440,1100")
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    started = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield started
    started.quit()


def within(look: Callable[[], Found], *, seconds: float = PATIENCE_S) -> Found:
    """What `look` finds, once it is anything; what it raised last when time is up."""
    end = time.monotonic() + seconds
    while True:
        try:
            if found := look():
                return found
        except WebDriverException:  # not there yet, or replaced meanwhile
            pass
        if time.monotonic() > end:
            raise TimeoutError(look)
        time.sleep(0.1)


class Person:
    """What somebody does and sees on the page."""

    def __init__(self, browser: Any) -> None:
        self.browser = browser

    def find(self, selector: str) -> Any:
        return within(lambda: self.browser.find_element("css selector", selector))

    def sees(self, selector: str, text: str) -> str:
        return within(lambda: said if text in (said := self.find(selector).text) else "")

    def clicks(self, selector: str) -> None:
        self.find(selector).click()

    def writes(self, selector: str, text: str) -> None:
        field = self.find(selector)
        field.click()
        field.send_keys(Keys.CONTROL, "a")
        field.send_keys(text, Keys.TAB)

    def presses(self, key: str) -> None:
        self.browser.execute_script("document.activeElement.blur()")
        ActionChains(self.browser).send_keys(key).perform()

    def paints(self, *, dx: int, dy: int) -> None:
        canvas = self.find("#paint")
        within(canvas.is_displayed)
        self.browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", canvas)
        at = ActionChains(self.browser).move_to_element(canvas).click_and_hold()
        at.move_by_offset(dx, dy).release().perform()


def test_drop_name_redraw_and_accept_by_key_are_on_disk(
    folder: Path, address: str, browser: Any
) -> None:
    ann = Person(browser)
    browser.get(address)
    files = [str(folder / "images" / name) for name in ("part 0.png", "notes.png", "part 1.png")]
    ann.find("#drop input[type=file]").send_keys("\n".join(files))
    told = ann.sees("#message", "answered 2 of 3")
    assert "notes.png is not a readable image" in told or "notes.png: is not a readable" in told
    ann.sees("#regions", "1 ")
    ann.presses("a")
    ann.sees("#message", "write your name")
    ann.writes("#reviewer input, #reviewer textarea", "Ann")
    ann.clicks("#caption button")
    ann.writes("#caption_cause input, #caption_cause textarea", "a worn tool")
    ann.writes("#name input, #name textarea", "Fine_Scratch")
    ann.clicks("#rename")
    ann.sees("#regions", "1 fine scratch")
    ann.clicks("#redraw")
    ann.paints(dx=60, dy=-90)
    ann.clicks("#keep")
    ann.sees("#regions", "1 fine scratch · by a person")
    first = ann.find("#heading .name").text
    ann.presses("a")
    ann.sees("#message", f"saved {first}: ")
    (saved,) = Corrections(folder / "out").read_all()
    (review,) = saved.history
    assert (saved.name, review.reviewer, review.overrode) == (first, "Ann", True)
    assert review.caption.cause == "a worn tool" and "fine scratch" in review.caption.defect
    drawn, before = review.regions[0], review.machine.regions[0]
    assert drawn.name == "fine scratch" and before.name != "fine scratch"
    mask, its = drawn.mask(saved.size_px), before.mask(saved.size_px)
    assert (mask & its).sum() == its.sum() < mask.sum()
    _, (record,), _ = read_records(folder / "out")
    assert "fine scratch" in record.defects
    assert within(lambda: ann.find("#heading .name").text != first)
    urls = [
        message["params"]["request"]["url"]
        for entry in browser.get_log("performance")
        if (message := json.loads(entry["message"])["message"])["method"]
        == "Network.requestWillBeSent"
    ]
    local = (address, "data:", "blob:", "chrome")
    assert urls and not [url for url in urls if not url.startswith(local)]


def test_second_person_sees_nothing_of_the_first_and_both_are_told_to_agree(
    folder: Path, address: str, browser: Any
) -> None:
    ben = Person(browser)
    browser.get(address)
    ben.writes("#reviewer input, #reviewer textarea", "Ben")
    ben.clicks("#list label:nth-of-type(2)")
    ben.sees("#heading", "the first is hidden")
    assert "fine scratch" not in ben.find("#regions").text
    ben.clicks("#accept")
    ben.sees("#message", "it differs from the first person's answer")
    ben.clicks("#list label:nth-of-type(3)")
    ben.sees("#regions", "fine scratch")
    ben.clicks("#take_other")
    within(lambda: "fine scratch" not in ben.find("#regions").text)
    ben.clicks("#accept")
    ben.sees("#message", "saved")
    (saved,) = Corrections(folder / "out").read_all()
    assert [one.kind for one in saved.history] == ["review", "second", "consensus"]
    assert saved.settled and saved.settled.regions == saved.history[1].regions


def test_image_opens_with_its_first_answer_and_no_later_one_takes_it_away(tmp_path: Path) -> None:
    files = [str(save_image(tmp_path / "in", place)) for place in range(3)]
    with small_desk(tmp_path / "out") as desk:
        page = Page(desk, words=WORDS, reviewer="Ann", place=tmp_path)
        steps = list(page.on_drop(files, WORDS, "Ann", "to review", None))
        opened = [step[page.draft].entry.name for step in steps if page.draft in step]
        draft = steps[0][page.draft]
        assert opened == ["part 0.png"] and draft.entry.name == "part 0.png"
        marks = [step[page.queue].get("value") for step in steps]
        assert marks == [draft.entry.key, None, None, None]
        fields = [steps[0][box] for box in page.fields]
        fields[CAPTION_FIELDS.index("cause")] = "a worn tool"
        after = page.on_rename(draft, 0, "scuff", *fields)
        cause, defect = (after[page.fields[CAPTION_FIELDS.index(f)]] for f in ("cause", "defect"))
        assert cause == "a worn tool" and "scuff" in defect
        again = list(page.on_drop(files, WORDS, "Ann", "to review", draft))
        assert not [step for step in again if page.draft in step or "value" in step[page.queue]]


def test_client_that_hangs_up_in_mid_upload_stops_nobody(address: str) -> None:
    host, port = address.removeprefix("http://").split(":")
    for _ in range(3):
        with socket.create_connection((host, int(port))) as line:
            line.sendall(
                b"POST /gradio_api/upload HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n"
                b"Content-Type: multipart/form-data; boundary=b\r\n\r\n--b\r\n"
            )
    with urlopen(address) as page:
        assert (
            page.status == 200 and "default-src 'self'" in page.headers["content-security-policy"]
        )


def test_no_path_of_a_client_is_opened_and_no_large_file_is_taken(address: str) -> None:
    for path in ("/etc/hostname", __file__):
        with pytest.raises(HTTPError, match="403"):
            urlopen(f"{address}/gradio_api/file={path}")
    with urlopen(f"{address}/config") as answer:
        config = json.loads(answer.read())
    (drop,) = [one["id"] for one in config["components"] if one["props"].get("elem_id") == "drop"]
    (join,) = [one["id"] for one in config["dependencies"] if [drop, "upload"] in one["targets"]]
    stolen = [{"path": "/etc/hostname", "meta": {"_type": "gradio.FileData"}}]
    body = {"fn_index": join, "data": [stolen, "pit", "", "to review", None], "session_hash": "s"}
    headers = {"Content-Type": "application/json"}
    urlopen(Request(f"{address}/gradio_api/queue/join", json.dumps(body).encode(), headers)).close()
    with urlopen(f"{address}/gradio_api/queue/data?session_hash=s") as stream:
        events = [json.loads(line[6:]) for line in stream if line.startswith(b"data: ")]
    (done,) = [event for event in events if event["msg"] == "process_completed"]
    assert not done["success"]
    large = b"--b\r\nContent-Disposition: form-data; name=files; filename=a.png\r\n\r\n"
    large += bytes(UPLOAD_MB * 1024 * 1024 + 1) + b"\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    with pytest.raises(HTTPError, match="413"):
        urlopen(Request(f"{address}/gradio_api/upload", large, headers))
