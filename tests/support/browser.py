"""A headless Chromium, where the machine has one."""

import shutil
from contextlib import contextmanager

BROWSER = next(
    (path for name in ("chromium", "chromium-browser", "google-chrome") if (path := shutil.which(name))), None
)
DRIVER = shutil.which("chromedriver")
MISSING = not (BROWSER and DRIVER)


@contextmanager
def chromium():
    """A driver of Selenium; cameras are imitated and allowed."""
    from selenium import webdriver
    from selenium.webdriver.chrome.options import Options
    from selenium.webdriver.chrome.service import Service

    options = Options()
    options.binary_location = BROWSER
    for argument in (
        "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        "--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream",
    ):  # fmt: skip
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    with webdriver.Chrome(options=options, service=Service(DRIVER)) as driver:
        driver.set_page_load_timeout(60)
        yield driver


def wait(browser, condition):
    """Until it is true, a minute at most."""
    from selenium.webdriver.support.ui import WebDriverWait

    WebDriverWait(browser, 60).until(lambda _: condition())


def errors(browser):
    """What the browser's console has of errors."""
    return [line for line in browser.get_log("browser") if line["level"] == "SEVERE"]


def resources(browser):
    """The addresses of all that the page has loaded."""
    return browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")


def use_scheme(browser, scheme):
    """`light` or `dark`, as the system of a user says."""
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
