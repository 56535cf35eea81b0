"""The page in a real browser (Chromium): what an operator sees, clicks and types."""

import os
import signal
import subprocess
import sys
import time

import pytest
from chromium import browser_path
from paged import PATIENCE, Browser, operated, until

from palmar.runtime.supervision.controller import Mode
from palmar.serve.page.config import PageConfig

pytestmark = pytest.mark.skipif(browser_path() is None, reason="no Chromium on this machine: apt-get install chromium")
WAIT = PATIENCE * 1000


@pytest.fixture(scope="module")
def chromium():
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path(), args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def shown():
    with operated() as session:
        yield session


@pytest.fixture
def opened(chromium, shown):
    """Opens the page; what goes wrong in it fails the test."""
    contexts, errors = [], []

    def open_page(width=1280, height=900, address=None, path="/", **options):
        contexts.append(chromium.new_context(viewport={"width": width, "height": height}, **options))
        page = contexts[-1].new_page()
        page.set_default_timeout(WAIT)
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto((address or shown.address) + path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not errors


def connected(page):
    page.wait_for_selector("#line:text-is('connected')")
    return page


def drive(page):
    page.click("#drive")
    page.wait_for_selector("#drive[aria-pressed='true']")


def test_an_operator_sees_what_the_robot_does(shown, opened):
    shown.run()
    page = connected(opened())
    page.wait_for_selector("#mode:text-is('RUNNING')")
    for camera in ("front", "wrist"):
        page.wait_for_selector(f"canvas[aria-label='camera {camera}'][data-pictures]")
    page.wait_for_selector("#sureplot polyline", state="attached")
    page.wait_for_selector("#hist rect[height='62']")
    assert page.inner_text("#current") == "now: wave" and "waves" in page.inner_text("#what")
    assert "joint1" in page.inner_text("#channels") and "rad" in page.inner_text("#channels")
    shown.controller.finish()
    shown.over()
    page.wait_for_selector("#mode:text-is('WAITING')")
    assert "wave" in page.inner_text("#runs") and "1 of 1" in page.inner_text("#rate")


def test_the_stop_button(shown, opened):
    shown.run()
    page = connected(opened())
    page.wait_for_selector("#mode:text-is('RUNNING')")
    page.click("#stop")
    assert shown.over().mode is Mode.ESTOP
    page.wait_for_selector("#said:has-text('the robot brakes')")


@pytest.mark.parametrize("place", ["body", "#text", "#drive", "#hold"])
def test_escape_stops_wherever_the_focus_is(shown, opened, place):
    shown.run()
    page = connected(opened())
    page.wait_for_selector("#mode:text-is('RUNNING')")
    page.focus(place)
    page.keyboard.press("Escape")
    assert shown.over().mode is Mode.ESTOP


def test_it_stops_without_its_websockets(shown, opened):
    """Both lines are cut; the stop goes by a request of its own."""
    shown.run()
    page = connected(opened())
    page.wait_for_selector("#mode:text-is('RUNNING')")
    page.evaluate("hand.send = () => {}")  # what is sent gets lost
    page.click("#stop")
    assert shown.over().reason.startswith("stopped from the page")


def test_nobody_answers(opened, chromium):
    """The page's process is stopped: the page says so in large letters."""
    with operated() as session:
        page = connected(opened(address=session.address))
        os.kill(session.page.process.pid, signal.SIGSTOP)
        page.click("#stop")
        page.wait_for_selector("#said.bad:has-text('NO ANSWER')")


def test_take_over_and_drive_by_keys_and_by_the_pad(shown, opened):
    shown.run()
    page = connected(opened())
    page.wait_for_selector("#mode:text-is('RUNNING')")
    assert page.is_disabled("#take") and not page.is_visible("#pads")
    drive(page)
    page.keyboard.press("t")
    page.wait_for_selector("#reason:text-is('a person drives')")
    body, frame = shown.body, shown.body.embodiment.frame()

    def x():
        return body.embodiment.pose(frame, body.commands[-1])[0][0]

    before = x()
    page.keyboard.down("w")
    until(lambda: x() > before + 0.01, "the key moves nothing")
    page.keyboard.up("w")
    before = x()
    page.hover("[data-key='s']")
    page.mouse.down()
    until(lambda: x() < before - 0.01, "the pad moves nothing")
    page.mouse.up()
    page.focus("[data-key='w']")
    before = x()
    page.keyboard.down(" ")
    until(lambda: x() > before + 0.01, "the pad moves nothing by the keyboard")
    page.keyboard.up(" ")
    page.focus("#text")
    page.keyboard.type("b")  # a letter of an instruction is no command
    assert page.input_value("#text") == "b" and page.inner_text("#reason") == "a person drives"
    page.click("#give")
    page.wait_for_selector("#reason:text-is('the policy drives')")
    page.click("#finish")
    assert shown.over().mode is Mode.RUN


def test_a_driver_who_closes_the_page_holds_the_robot(shown, opened):
    shown.run()
    page = connected(opened())
    drive(page)
    page.click("#take")
    page.wait_for_selector("#reason:text-is('a person drives')")
    page.close()
    until(lambda: shown.controller.mode is Mode.HOLD, "not held")
    shown.controller.finish()
    shown.over()


def test_two_viewers_and_one_driver(shown, opened):
    shown.run()
    one, two = connected(opened()), connected(opened())
    drive(one)
    two.wait_for_selector("#role:has-text('drives.')")
    two.click("#drive")
    two.wait_for_selector("#said:has-text('drives')")
    assert two.is_disabled("#send") and two.is_disabled("#goon")
    two.click("#hold")
    one.wait_for_selector("#mode:text-is('HELD')")
    one.click("#goon")
    two.wait_for_selector("#mode:text-is('RUNNING')")
    one.click("#drive")
    drive(two)
    two.click("#stop")
    one.wait_for_selector("#mode:text-is('EMERGENCY STOP')")
    shown.over()


def test_a_killed_server_comes_back_by_itself(opened):
    with operated() as session:
        session.run()
        page = connected(opened(address=session.address))
        os.kill(session.page.process.pid, signal.SIGKILL)
        page.wait_for_selector("#line.off")
        connected(page)
        page.wait_for_selector("#mode:text-is('HELD')")
        drive(page)
        page.click("#goon")
        page.wait_for_selector("#mode:text-is('RUNNING')")


def test_a_slow_line_sees_the_newest_and_stops_at_once(shown, opened):
    shown.run()
    page = opened()
    network = page.context.new_cdp_session(page)
    slow = {"offline": False, "latency": 200, "downloadThroughput": 20_000, "uploadThroughput": 20_000}
    network.send("Network.emulateNetworkConditions", slow)
    connected(page)
    page.wait_for_selector("#mode:text-is('RUNNING')")
    page.click("#stop")
    assert shown.over().mode is Mode.ESTOP


def test_a_key_is_asked_for(opened):
    with operated(PageConfig(port=0, key="secret")) as session:
        page = opened(address=session.address)
        page.wait_for_selector("#locked[open]")
        page.fill("#key", "wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("#locked[open]")
        page.fill("#key", "secret")
        page.keyboard.press("Enter")
        connected(page)
        other = connected(opened(address=session.address, path="/#key=secret"))
        assert "secret" not in other.url


def test_a_question_and_an_instruction(opened):
    import threading

    with operated() as session:
        page = connected(opened(address=session.address))
        page.fill("#text", "pick <b>up</b>")
        assert page.is_disabled("#send")
        drive(page)
        page.click("#send")
        assert session.page.instruction() == "pick <b>up</b>"
        answers = []
        asking = threading.Thread(target=lambda: answers.append(session.page.ask("Did it succeed?")), daemon=True)
        asking.start()
        page.click("#yes")
        asking.join(PATIENCE)
        assert answers == [True]
        session.page.ended({"instruction": "<img src=x>", "success": False, "seconds": 1.0, "reason": "stopped"})
        page.wait_for_selector("#runs li")
        assert page.locator("#runs img").count() == 0 and "<img src=x>" in page.inner_text("#runs")
        page.click("#end")
        assert session.page.instruction() is None


def test_the_deadman_button(opened):
    with operated() as session:
        page = connected(opened(address=session.address))
        session.page.holding(True)
        drive(page)
        page.wait_for_selector("#enable:visible")
        assert not session.page.deadman()
        page.keyboard.down("Shift")
        until(session.page.deadman, "not held")
        page.keyboard.up("Shift")
        until(lambda: not session.page.deadman(), "still held")
        page.hover("#enable")
        page.mouse.down()
        until(session.page.deadman, "not held")
        page.evaluate("dispatchEvent(new Event('blur'))")  # another window is in front now
        until(lambda: not session.page.deadman(), "still held")
        page.mouse.up()


def test_a_phone(shown, opened):
    """380 px: nothing is wider than the screen, and the stop is on it wherever one has scrolled to."""
    shown.run()
    page = connected(opened(380, 760, has_touch=True))
    page.wait_for_selector("canvas[data-pictures]")
    drive(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 380
    for y in (0, 300, 3000):
        page.evaluate(f"scrollTo(0, {y})")
        box = page.locator("#stop").bounding_box()
        assert box["y"] >= 0 and box["y"] + box["height"] <= 760 and box["height"] >= 44 and box["width"] >= 120
    assert not page.is_checked("#tilt")
    page.tap("#stop")
    assert shown.over().mode is Mode.ESTOP


def test_the_phone_is_tilted(shown, opened):
    shown.run()
    page = connected(opened(380, 760, has_touch=True))
    drive(page)
    page.click("#take")
    page.wait_for_selector("#reason:text-is('a person drives')")
    page.check("#tilt")
    said = []
    keys = shown.page.keys.said
    shown.page.keys.said = lambda down: (said.append(set(down := list(down))), keys(down))
    tilt = "b => dispatchEvent(new DeviceOrientationEvent('deviceorientation', {beta: b, gamma: 0}))"
    page.evaluate(tilt, 40)
    page.hover("#tilting")
    page.mouse.down()
    page.evaluate(tilt, 40)
    page.evaluate(tilt, 10)
    until(lambda: {"w"} in said, "tilting moves nothing")
    page.mouse.up()
    until(lambda: said[-1] == set(), "it moves on")
    page.click("#stop")
    shown.over()


def test_everything_has_a_name_for_a_screen_reader(shown, opened):
    page = connected(opened())
    name = "e.ariaLabel || (e.labels && e.labels[0] && e.labels[0].textContent) || e.textContent.trim()"
    names = page.evaluate(f"[...document.querySelectorAll('button, input')].map(e => {name})")
    assert all(names) and len(names) > 20
    assert page.get_attribute("#mode", "aria-live") == "assertive" and page.get_attribute("#said", "role") == "alert"
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.tagName") in ("INPUT", "BUTTON")


def test_the_command_line_from_the_first_word_to_the_last(opened, tmp_path):
    words = [sys.executable, "-m", "palmar.cli", "run", "--page", "--page-address", "0", "--video", "None", "--json"]
    run = subprocess.Popen(
        words,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"COLUMNS": "200"},
    )
    try:
        address = next(word for word in run.stderr.readline().split() if word.startswith("http"))
        page = connected(opened(address=address))
        assert page.inner_text("#reason") == "Type an instruction to begin."
        drive(page)
        page.fill("#text", "dance")
        page.keyboard.press("Enter")
        page.wait_for_selector("#note:has-text('Next:')")
        page.fill("#text", "reach the red cube")
        page.click("#send")
        page.wait_for_selector("#runs li:has-text('reach the red cube')")
        page.click("#end")
        out, err = run.communicate(timeout=PATIENCE)
        assert run.returncode == 0 and '"instruction": "reach the red cube"' in out and "Traceback" not in err
    finally:
        run.kill()
        run.communicate()


def test_other_viewers_cost_the_stop_nothing(shown, opened):
    """Inference, pictures, and a viewer that never reads: the stop comes through."""
    from paged import Waves
    from websockets.sync.client import connect

    shown.run(Waves(shown.body.embodiment, busy=0.05))
    with connect(shown.address.replace("http", "ws", 1) + "/live", max_size=None) as lazy:
        lazy.send("{}")
        other, page = Browser(shown.address), connected(opened())
        page.wait_for_selector("#mode:text-is('RUNNING')")
        pressed = time.monotonic()
        page.keyboard.press("Escape")
        assert shown.over().mode is Mode.ESTOP
        assert shown.brakes.when > pressed
        other.close()
