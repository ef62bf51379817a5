"""The page of `serve` in a browser: what is drawn, the threshold, keyboard, narrow screens, dark mode."""

from pathlib import Path

import pytest
from support.browser import errors, resources, use_scheme, wait

from pydarknet.server.engine import Engine

SAMPLE = Path(__file__).parents[2] / "data/sample.jpg"

pytestmark = pytest.mark.slow


@pytest.fixture
def page(browser, ask):
    """The page with the bundled picture."""
    browser.get(f"http://127.0.0.1:{ask.port}/")
    wait(browser, lambda: "toys" in browser.title)
    return browser


def element(browser, name):
    return browser.find_element("id", name)


def rows(browser):
    return [row.text for row in element(browser, "rows").find_elements("tag name", "tr")]


def choose(browser, path=SAMPLE):
    element(browser, "file").send_keys(str(path))
    wait(browser, lambda: rows(browser))


def colours(browser):
    """How many pixels of the canvas differ from the picture alone, and the canvas's size."""
    return browser.execute_script(
        """
        const plain = document.createElement("canvas");
        plain.width = canvas.width; plain.height = canvas.height;
        plain.getContext("2d").drawImage(picture, 0, 0);
        const [a, b] = [plain, canvas].map(c => c.getContext("2d").getImageData(0, 0, c.width, c.height).data);
        let different = 0;
        for (let i = 0; i < a.length; i += 4) different += a[i] !== b[i] || a[i + 1] !== b[i + 1];
        return [different, canvas.width, canvas.height];
        """
    )


def move(browser, value):
    browser.execute_script(
        "$('threshold').value = arguments[0]; $('threshold').dispatchEvent(new Event('input'))", value
    )


def test_boxes_are_drawn_and_the_threshold_moves_them(page, toys):
    choose(page)
    expected = toys.detect(SAMPLE, 0.5)
    best_first = sorted(expected, key=lambda found: -found.confidence)
    assert [row.split()[0] for row in rows(page)] == [found.name for found in best_first]
    assert element(page, "canvas").get_attribute("aria-label").startswith("Picture with ")
    many, width, height = colours(page)
    assert (width, height) == (640, 480) and many > 1000
    move(page, 0.2)
    assert len(rows(page)) == len(toys.detect(SAMPLE, 0.2)) > len(expected)
    more, *_ = colours(page)
    assert more > many
    move(page, 1)
    assert rows(page) == []
    assert colours(page)[0] == 0
    assert element(page, "canvas").get_attribute("aria-label") == "Picture, nothing found"


def test_a_box_is_where_the_object_is(page, toys):
    choose(page)
    found = toys.detect(SAMPLE, 0.5)[0]
    x, y = found.box.left, found.box.top + found.box.h / 2
    red, green, blue, _ = page.execute_script(
        "return Array.from(pen.getImageData(arguments[0], arguments[1], 1, 1).data)", round(x), round(y)
    )
    page.execute_script("pen.fillStyle = colour(arguments[0]); pen.fillRect(0, 0, 1, 1)", found.class_id)
    expected = page.execute_script("return Array.from(pen.getImageData(0, 0, 1, 1).data)")
    assert [red, green, blue] == pytest.approx(expected[:3], abs=2)


def test_what_is_no_picture_is_said(page, tmp_path):
    (tmp_path / "a.txt").write_text("text")
    element(page, "file").send_keys(str(tmp_path / "a.txt"))
    wait(page, lambda: element(page, "message").get_attribute("class") == "error")
    assert element(page, "message").text == "this is no picture"


def test_the_camera_is_looked_at_until_it_is_stopped(page):
    element(page, "camera").click()
    wait(page, lambda: " found in " in element(page, "message").text)
    assert element(page, "camera").get_attribute("aria-pressed") == "true"
    element(page, "camera").click()
    wait(page, lambda: element(page, "camera").get_attribute("aria-pressed") == "false")
    assert page.execute_script("return stream") is None


def test_the_keyboard_reaches_everything(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    choose(page)
    page.execute_script("document.activeElement.blur()")
    reached = []
    for _ in range(4):
        ActionChains(page).send_keys(Keys.TAB).perform()
        reached.append(page.execute_script("return document.activeElement.id"))
    assert reached == ["file", "camera", "save", "threshold"]
    before = float(element(page, "threshold").get_attribute("value"))
    ActionChains(page).send_keys(Keys.ARROW_RIGHT).perform()
    assert float(element(page, "threshold").get_attribute("value")) == pytest.approx(before + 0.01)
    names = "return [...document.querySelectorAll('input, button')].map(e => e.labels?.[0]?.innerText || e.innerText)"
    assert all(page.execute_script(names))


def test_enter_starts_and_stops_the_camera(page):
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    camera = element(page, "camera")
    page.execute_script("arguments[0].focus()", camera)
    for state in ("true", "false"):
        ActionChains(page).send_keys(Keys.ENTER).perform()
        wait(page, lambda state=state: camera.get_attribute("aria-pressed") == state)


def test_narrow_screens_and_dark_mode(page):
    choose(page)
    page.set_window_size(360, 800)
    assert page.execute_script("return document.documentElement.scrollWidth <= window.innerWidth")
    backgrounds = []
    for scheme in ("light", "dark"):
        use_scheme(page, scheme)
        backgrounds.append(page.execute_script("return getComputedStyle(document.body).color"))
    assert backgrounds == ["rgb(0, 0, 0)", "rgb(255, 255, 255)"]


def test_nothing_is_asked_of_other_machines_and_nothing_fails(page):
    choose(page)
    names = resources(page)
    assert names and all(name.startswith(("http://127.0.0.1:", "blob:", "data:")) for name in names)
    assert errors(page) == []


def test_a_token_in_the_address(browser, toys, start):
    port = start(Engine(toys), token="s3cret").port
    browser.get(f"http://127.0.0.1:{port}/")
    wait(browser, lambda: "asks for a token" in element(browser, "message").text)
    browser.get("about:blank")
    browser.get(f"http://127.0.0.1:{port}/#token=s3cret")
    wait(browser, lambda: "toys" in browser.title)
    choose(browser)
