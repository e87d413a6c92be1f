"""The page of an explanation in a browser: Chromium, without a window.

Skipped where selenium, Chromium or its driver is missing.
"""

import json
import shutil

import numpy as np
import pytest

import tinyreg as tr
from tinyreg.explain.explanation import hand_example

webdriver = pytest.importorskip("selenium.webdriver")
from selenium.webdriver.chrome.service import Service  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)
DRIVER = shutil.which("chromedriver")
pytestmark = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="Chromium is not installed")

FACTORS = [1 / 8, 1 / 4, 1 / 2, 1, 2, 4, 8]
MARKED = """
return [...document.querySelectorAll('.part')].map((cell) => [
    cell.closest('.shown').dataset.result, cell.closest('[data-array]').dataset.array,
    cell.dataset.row, cell.dataset.col, cell.textContent].join(' '));
"""


@pytest.fixture(scope="module")
def chromium():
    options = webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu"):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=Service(DRIVER))
    yield driver
    driver.quit()


@pytest.fixture(scope="module")
def hand(tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "hand.html"
    path.write_text(tr.explain(*hand_example()).html(), encoding="utf-8")
    return path.as_uri()


@pytest.fixture(scope="module")
def digits(tmp_path_factory):
    X, y = tr.load_digits()
    objective = tr.Objective(tr.MLP((64, 64, 10)), tr.SoftmaxCrossEntropy(), tr.L1(1e-3))
    path = tmp_path_factory.mktemp("page") / "digits.html"
    path.write_text(tr.explain(objective, X[:1], y[:1]).html(), encoding="utf-8")
    return path.as_uri()


class Browser:
    """The browser with one page open."""

    def __init__(self, driver):
        self.driver, self.script, self.cdp = driver, driver.execute_script, driver.execute_cdp_cmd

    def open(self, url, width=1000):
        size = {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": width < 500}
        self.cdp("Emulation.setDeviceMetricsOverride", size)
        self.driver.get(url)
        return self

    def one(self, selector):
        return self.driver.find_element("css selector", selector)

    def all(self, selector):
        return self.driver.find_elements("css selector", selector)

    def cell(self, result, row, column):
        """The cell of a result: the last array of its equation."""
        block = f"[data-result='{result}'] [data-array]"
        array = self.all(block)[-1].get_attribute("data-array")
        at = f"[data-array='{array}'] [data-row='{row}'][data-col='{column}']"
        return self.one(f"[data-result='{result}'] {at}")

    def told(self, result):
        return self.one(f"[data-result='{result}'] + .told").text

    def texts(self, selector):
        return self.script(
            "return [...document.querySelectorAll(arguments[0])].map((e) => e.textContent)",
            selector,
        )


@pytest.fixture
def browser(chromium):
    browser = Browser(chromium)
    yield browser
    browser.cdp("Emulation.setEmulatedMedia", {"media": "", "features": []})
    browser.cdp("Emulation.setScriptExecutionDisabled", {"value": False})


@pytest.mark.parametrize("page", ["hand", "digits"])
def test_it_opens_without_an_error_and_asks_for_nothing_else(page, browser, request):
    url = request.getfixturevalue(page)
    browser.driver.get_log("performance")
    browser.open(url)
    events = [json.loads(e["message"])["message"] for e in browser.driver.get_log("performance")]
    asked = {
        event["params"]["request"]["url"]
        for event in events
        if event["method"] == "Network.requestWillBeSent"
    }
    assert asked == {url}
    assert browser.driver.get_log("browser") == []


CELLS = [
    (
        ("dW1", 1, 0),
        "dW1[1,0] = 2 · 0.375 = 0.75; central difference 0.75",
        ["dW1 0 1 0 2", "dW1 1 0 0 0.375"],
    ),
    (
        ("z1", 0, 1),
        "z1[0,1] = 1 · (-1) + 2 · 0.25 + 0 = -0.5",
        ["z1 0 0 0 1", "z1 0 0 1 2", "z1 1 0 1 -1", "z1 1 1 1 0.25", "z1 2 0 1 0"],
    ),
    (("dz1", 0, 1), "dz1[0,1] = (-0.46) · 0 = 0", ["dz1 0 0 1 -0.46", "dz1 1 0 1 0"]),
    (("db2", 0, 1), "db2[1] = dz2[0,1] = -0.5; central difference -0.5", ["dz2 2 0 1 -0.5"]),
    (("p", 0, 0), "p[0,0] = z2[0,0] = 1.5", ["z2 3 0 0 1.5"]),
]


@pytest.mark.parametrize("how", ["pointed at", "focused"])
@pytest.mark.parametrize(("place", "told", "marked"), CELLS, ids=lambda c: str(c[0]))
def test_a_number_shows_what_it_was_made_of(place, told, marked, how, browser, hand):
    cell = browser.open(hand).cell(*place)
    if how == "focused":
        browser.script("arguments[0].focus()", cell)
    else:
        webdriver.ActionChains(browser.driver).move_to_element(cell).perform()
    assert browser.told(place[0]) == told
    assert browser.script(MARKED) == marked
    assert "here" in cell.get_attribute("class")


def test_the_cells_of_an_array_are_one_tab_stop_and_the_arrows_go_between_them(browser, hand):
    browser.open(hand)
    assert browser.script(
        "return [...document.querySelectorAll('[data-array]')]"
        ".map((a) => a.querySelectorAll('[tabindex=\"0\"]').length)"
        ".every((n, i, all) => n <= 1 && all.includes(1))"
    )
    browser.script("arguments[0].focus()", browser.cell("dW1", 0, 0))

    def press(key):
        browser.driver.switch_to.active_element.send_keys(key)
        return browser.told("dW1").partition(" ")[0]

    keys = (Keys.ARROW_DOWN, Keys.ARROW_DOWN, Keys.ARROW_RIGHT, Keys.ARROW_UP, Keys.ARROW_LEFT)
    told = ["dW1[1,0]", "dW1[1,0]", "dW1[1,1]", "dW1[0,1]", "dW1[0,0]"]
    assert [press(key) for key in keys] == told
    assert press(Keys.TAB) == "dW1[0,0]"  # told still, and the focus is elsewhere
    assert browser.driver.switch_to.active_element.tag_name == "summary"
    press(Keys.SHIFT + Keys.TAB)
    assert "here" in browser.driver.switch_to.active_element.get_attribute("class")
    press(Keys.ESCAPE)
    assert browser.all(".here, .part") == []


def test_one_steps_forward_and_back_through_the_pass(browser, hand):
    browser.open(hand)
    before, after, forward, backward = browser.all("figure.pass button")
    names = ["z1", "a1", "z2", "p", "L", "dz2", "dW2", "db2", "da1", "dz1", "dW1", "db1"]

    def seen():
        numbers = "figure.pass svg [data-of]"
        shown = {e.get_attribute("data-of") for e in browser.all(numbers) if e.is_displayed()}
        return [name for name in names if name in shown]

    told = browser.one("figure.pass > .told")
    assert told.text == "The whole pass, 12 steps."
    assert seen() == names
    after.click()
    assert told.text == "Step 1 of 12, forward: z1 = x W1 + b1: 2, -0.5"
    assert seen() == names[:1]
    for _ in range(4):
        after.send_keys(Keys.ENTER)
    assert told.text == "Step 5 of 12, forward: L = Σ_n ℓ_n/N: 0.25"
    backward.click()
    assert told.text == "Step 6 of 12, backward: dz2 = ∂L/∂z2 = (p − y)/N: 0.5, -0.5"
    backward.send_keys(Keys.ARROW_RIGHT)
    assert told.text == "Step 7 of 12, backward: dW2 = a1ᵀ dz2: 1, -1; 0, 0"
    assert seen() == names[:7]
    lit = browser.script(
        "return [...document.querySelectorAll('svg .now')].map((e) => e.tagName + e.textContent)"
    )
    assert [text for text in lit if text.startswith("text")] == [
        "text1",
        "text-1",
        "text0",
        "text0",
    ]
    assert sum(text.startswith("line") for text in lit) == 4
    before.click()
    forward.click()
    assert told.text.startswith("Step 1 of 12")
    before.click()
    assert seen() == names


def walked(lam, eta, steps, method):
    """The 2-2-2 network under ½‖·‖² and λ|w|, forward and backward written out."""
    objective, X, y = hand_example()
    w, path = objective.net.params.copy(), []
    for _ in range(steps + 1):
        path.append(w[:8].copy())
        W1, W2, b1, b2 = w[:4].reshape(2, 2), w[4:8].reshape(2, 2), w[8:10], w[10:]
        z = X @ W1 + b1
        a = np.maximum(z, 0)
        dz = a @ W2 + b2 - y
        below = dz @ W2.T * (z > 0)
        g = np.concatenate([(X.T @ below).ravel(), (a.T @ dz).ravel(), below[0], dz[0]])
        if method == "subgradient":
            g[:8] += lam * np.sign(w[:8])
        w = w - eta * g
        if method == "prox":
            w[:8] = tr.L1(lam).prox(w[:8], eta)
    return np.array(path).T


def points(text):
    return np.array([[float(x) for x in pair.split(",")] for pair in text.split()]) * [1, -1]


def test_the_sliders_show_the_librarys_numbers_at_every_stop(browser, hand):
    browser.open(hand)
    lam, eta = browser.all("figure.sliders input")
    for slider in (lam, eta):
        slider.send_keys(Keys.HOME)
    u_at_start = hand_example()[0].net.params[:8]
    gradient = hand_example()[0].data_gradient(*hand_example()[1:])[:8]
    for k in FACTORS:
        for factor in FACTORS:
            at_lam, at_eta = 0.5 * k, 0.1 * factor
            shown = browser.script(
                "return [[...document.querySelectorAll('.walk polyline, .curve polyline')]"
                ".map((e) => e.getAttribute('points')),"
                "[...document.querySelectorAll('.curve path')].map((e) => e.getAttribute('d')),"
                "[...document.querySelectorAll('.sliders output')].map((e) => e.textContent),"
                "[...document.querySelectorAll('.sliders tbody td')].map((e) => e.textContent)]"
            )
            lines, dots, (told_lam, told_eta), cells = shown
            assert (told_lam, told_eta) == (f"λ = {at_lam:.4g}", f"η = {at_eta:.4g}")
            _, (a, low), (b, high), (right, top) = points(lines[0])
            assert (a, b) == pytest.approx((-at_lam * at_eta, at_lam * at_eta), rel=1e-5)
            assert low == high == 0
            assert top == pytest.approx(right - b, rel=1e-4)
            u = u_at_start - at_eta * gradient
            after = tr.L1(at_lam).prox(u, at_eta)
            drawn = [[float(x) for x in d[1:-2].split()] for d in dots]
            np.testing.assert_allclose(drawn, np.stack([u, -after], axis=1), rtol=6e-6, atol=1e-9)
            ends = []
            for m, method in enumerate(("subgradient", "prox")):
                expected = walked(at_lam, at_eta, 6, method)
                for w in range(8):
                    walk = points(lines[1 + 2 * w + m])
                    np.testing.assert_array_equal(walk[:, 0], range(7))
                    np.testing.assert_allclose(walk[:, 1], expected[w], rtol=1e-5, atol=1e-9)
                    assert (
                        method == "subgradient" or ((walk[:, 1] == 0) == (expected[w] == 0)).all()
                    )
                ends.append(expected[:, -1])
            rows = np.stack([u, after, *ends], axis=1)
            table = np.array(cells, float).reshape(8, 4)
            np.testing.assert_allclose(table, rows, rtol=6e-4, atol=1e-9)
            eta.send_keys(Keys.ARROW_RIGHT)
        eta.send_keys(Keys.HOME)
        lam.send_keys(Keys.ARROW_RIGHT)


def test_moved_there_and_back_the_sliders_show_what_stood_in_the_file(browser, hand):
    def figure():
        return browser.script(
            "return document.querySelector('figure.sliders').innerHTML"
            ".replace(/(\\d)\\.0(?=[ ,\"])/g, '$1').replace(/ aria-valuetext=\"[^\"]*\"/g, '')"
        )

    browser.cdp("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(hand)
    written = figure().replace(' hidden=""', "")
    browser.cdp("Emulation.setScriptExecutionDisabled", {"value": False})
    browser.open(hand)
    assert figure() == written
    slider = browser.all("figure.sliders input")[1]
    slider.send_keys(Keys.ARROW_RIGHT)
    assert figure() != written
    slider.send_keys(Keys.ARROW_LEFT)
    assert figure() == written


@pytest.mark.parametrize("page", ["hand", "digits"])
def test_every_control_and_picture_has_a_name(page, browser, request):
    browser.open(request.getfixturevalue(page))
    nodes = browser.cdp("Accessibility.getFullAXTree", {})["nodes"]
    controls = [
        (node["role"]["value"], node.get("name", {}).get("value", "").strip())
        for node in nodes
        if not node.get("ignored")
        and (
            node["role"]["value"]
            in ("button", "slider", "DisclosureTriangle", "image", "img", "link")
            or any(p["name"] == "focusable" for p in node.get("properties", []))
        )
    ]
    assert {"button", "slider", "DisclosureTriangle"} < {role for role, _ in controls}
    assert [control for control in controls if not control[1]] == []
    sliders = [name for role, name in controls if role == "slider"]
    assert sliders[0].startswith("Strength of the penalty")
    assert sliders[1].startswith("Step size")


@pytest.mark.parametrize("page", ["hand", "digits"])
def test_on_a_phone_nothing_is_wider_than_the_page(page, browser, request):
    browser.open(request.getfixturevalue(page), width=360)
    assert browser.script("return document.documentElement.scrollWidth") == 360


def test_without_javascript_all_is_there_but_the_controls(browser, hand):
    browser.cdp("Emulation.setScriptExecutionDisabled", {"value": True})
    browser.open(hand)
    sums = browser.texts("details.made li")
    assert len(sums) == 28
    assert "dW1[1,0] = 2 · 0.375 = 0.75; central difference 0.75" in sums
    steps = browser.texts("details.steps li")
    assert len(steps) == 12
    assert [e.is_displayed() for e in browser.all(".controls")] == [False, False]
    assert len(browser.all("figure.walk polyline[points]")) == 16
    assert browser.driver.get_log("browser") == []


def test_dark_and_printed(browser, hand):
    def lightness(selector, style):
        found = browser.script(
            "return getComputedStyle(document.querySelector(arguments[0]))[arguments[1]]",
            selector,
            style,
        )
        return np.mean([float(x) for x in found.strip("rgba()").split(",")[:3]])

    browser.open(hand)
    for scheme, dark in (("light", False), ("dark", True)):
        feature = {"name": "prefers-color-scheme", "value": scheme}
        browser.cdp("Emulation.setEmulatedMedia", {"media": "screen", "features": [feature]})
        assert (lightness("body", "color") > 128) == dark
        assert (lightness("figure.pass svg text", "fill") > 128) == dark
        assert (lightness("figure.pass svg rect", "fill") < 128) == dark
    browser.cdp("Emulation.setEmulatedMedia", {"media": "print", "features": [feature]})
    assert not any(e.is_displayed() for e in browser.all(".controls"))
    assert browser.script(
        "return [...document.querySelectorAll('details li')].every((e) => e.checkVisibility())"
    )
    assert lightness("body", "color") < 128  # though the screen is dark
    assert lightness("figure.pass svg rect", "fill") > 128
