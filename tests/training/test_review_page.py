"""The review page in headless Chromium: real key presses and clicks, foreign markup, a phone's width, dark mode.

The browser is driven over its own pipe (Chrome DevTools Protocol), so nothing but Chromium has to be installed. Set
TOOLGATE_SCREENSHOTS to a folder to keep the pictures.
"""

from __future__ import annotations

import base64
import fcntl
import itertools
import json
import os
import select
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from harness.toolset import load_toolset
from training.examples import Example, parse_example
from training.review import content_hash, read_decisions
from training.review.decisions import DecisionLog
from training.review.server import REASONS, Review, make_server, make_token, open_socket

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no chromium or google-chrome on the PATH to open the review page in"),
]
PATIENCE = 30  # seconds; a busy machine is no failure
EVIL = '<script>window.pwned = 1</script><img src=x onerror="window.pwned = 2"> \u202eabc " \' & </textarea><b>bold</b>'
KEYS = {"Enter": (13, "\r"), "Escape": (27, ""), "Tab": (9, "")}


def make_line(number: int, user: str, *turns: tuple[str, str], kind: str, tools: list[str]) -> Example:
    messages = [{"role": role, "content": content} for role, content in (("user", user), *turns)]
    line = {
        "id": f"syn-{number}",
        "kind": kind,
        "now": "2026-03-02T09:00:00+00:00",
        "messages": messages,
        "tools": tools,
    }
    return parse_example(json.dumps(line | {"source": "synthetic", "licence": "MIT", "author": "m"}), load_toolset())


def make_call(tool: str, **params: Any) -> str:
    return "```json\n" + json.dumps({"tool": tool, "params": params}, ensure_ascii=False) + "\n```"


def make_examples() -> list[Example]:
    task = make_call("createTask", title=EVIL, priority="medium", dueDate="2026-03-06")
    done = make_call("completeTask", taskId="t-204")
    party = make_call(
        "createCalendarEvent", summary="party", startTime="2026-03-07T19:00:00+00:00", attendees=["a@example.org"]
    )
    return [
        make_line(1, EVIL, ("assistant", task), kind="single", tools=["createTask"]),
        make_line(2, EVIL, ("assistant", f"I cannot do that: {EVIL}"), kind="negative", tools=[]),
        make_line(
            3,
            "what is open, and plan a party",
            ("assistant", make_call("listTasks", status="open") + "\n" + party),
            ("tool", json.dumps({"tasks": [{"id": "t-204", "title": EVIL, "status": "open"}]})),
            ("tool", '{"id": "e1"}'),
            ("assistant", "One task is open, and the party is in your calendar."),
            ("user", "done with the first"),
            ("assistant", done),
            kind="crud",
            tools=["listTasks", "createCalendarEvent", "completeTask"],
        ),
        make_line(4, "hello there", ("assistant", "Hello! What can I do?"), kind="general", tools=[]),
    ]


class Browser:
    """Headless Chromium with one page, spoken to over --remote-debugging-pipe: JSON messages that end with a NUL."""

    def __init__(self, profile: Path) -> None:
        assert CHROMIUM is not None
        theirs_in, self._out = os.pipe()
        self._in, theirs_out = os.pipe()
        # Above 4, so that one does not overwrite the other when they become 3 and 4.
        high = [fcntl.fcntl(handle, fcntl.F_DUPFD_CLOEXEC, 10) for handle in (theirs_in, theirs_out)]
        flags = ["--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run"]
        flags += ["--disable-background-networking", "--remote-debugging-pipe", f"--user-data-dir={profile}"]
        actions = [
            (os.POSIX_SPAWN_DUP2, high[0], 3),
            (os.POSIX_SPAWN_DUP2, high[1], 4),
            (os.POSIX_SPAWN_OPEN, 2, str(profile.with_suffix(".log")), os.O_WRONLY | os.O_CREAT, 0o600),
        ]
        self.pid = os.posix_spawn(
            CHROMIUM, [CHROMIUM, *flags, "about:blank"], dict(os.environ), file_actions=actions, setpgroup=0
        )
        for handle in (theirs_in, theirs_out, *high):
            os.close(handle)
        self._ids, self._buffer, self.events = itertools.count(1), b"", list[dict[str, Any]]()
        self._session: str | None = None
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.send(f"{domain}.enable")

    def send(self, method: str, **params: Any) -> dict[str, Any]:
        """Call a method of the protocol and wait for its result; events that come meanwhile are kept."""
        number = next(self._ids)
        message = {"id": number, "method": method, "params": params}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + PATIENCE
        while True:
            while b"\0" not in self._buffer:
                ready, _, _ = select.select([self._in], [], [], max(0, deadline - time.monotonic()))
                assert ready, f"Chromium does not answer {method}"
                chunk = os.read(self._in, 2**16)
                assert chunk, f"Chromium ended at {method}"
                self._buffer += chunk
            text, _, self._buffer = self._buffer.partition(b"\0")
            answer = json.loads(text)
            if answer.get("id") != number:
                self.events.append(answer)
                continue
            assert "error" not in answer, f"{method}: {answer['error']}"
            return dict(answer["result"])

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        result = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in result, result
        return result["result"].get("value")

    def wait(self, script: str) -> Any:
        """The first true value of an expression."""
        deadline = time.monotonic() + PATIENCE
        while not (value := self.run(script)):
            assert time.monotonic() < deadline, f"never true: {script}; the page: {self.run('document.body.innerText')}"
            time.sleep(0.02)
        return value

    def press(self, key: str, **more: Any) -> None:
        """A key goes down and up, as from a keyboard."""
        code, text = KEYS.get(key) or (ord(key.upper()), key)
        event = {"key": key, "windowsVirtualKeyCode": code} | more
        self.send("Input.dispatchKeyEvent", type="keyDown", **event | ({} if "modifiers" in more else {"text": text}))
        self.send("Input.dispatchKeyEvent", type="keyUp", **event)

    def type(self, text: str) -> None:
        """Text as from an input method, into what has the focus."""
        self.send("Input.insertText", text=text)

    def click(self, selector: str) -> None:
        """The left button, in the middle of an element that is in view and not covered."""
        name = json.dumps(selector)
        x, y = self.run(
            f"(() => {{ const e = document.querySelector({name}); e.scrollIntoView({{block: 'nearest'}});"
            "const b = e.getBoundingClientRect(), p = [b.x + b.width / 2, b.y + b.height / 2];"
            "const hit = document.elementFromPoint(...p); return e.contains(hit) || hit.contains(e) ? p : null; })()"
        )
        for kind in ("mousePressed", "mouseReleased"):
            self.send("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def shoot(self, name: str) -> bytes:
        """A picture of what is in view, PNG; kept when somebody wants to look at it."""
        data = base64.b64decode(self.send("Page.captureScreenshot", format="png")["data"])
        if folder := os.environ.get("TOOLGATE_SCREENSHOTS"):
            (Path(folder) / f"{name}.png").write_bytes(data)
        return data

    def close(self) -> None:
        os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self._in)
        os.close(self._out)


@pytest.fixture(scope="module")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    chromium = Browser(tmp_path_factory.mktemp("chromium") / "profile")
    yield chromium
    chromium.close()


Open = Callable[..., Review]


@pytest.fixture
def open_page(browser: Browser, tmp_path: Path) -> Iterator[Open]:
    """Serve examples in full and open the page on them, at a given size and in a given colour scheme."""
    ends: list[Callable[[], object]] = []

    def start(examples: list[Example], *, width: int = 1200, height: int = 800, scheme: str = "light") -> Review:
        log = DecisionLog(tmp_path / "a.decisions")
        review, token, listener = Review(examples, log, reviewer="ann", share=1), make_token(), open_socket(0)
        server = make_server(review, token)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        ends.extend([lambda: setattr(server, "should_exit", True), thread.join, listener.close, log.close])
        browser.events.clear()
        mobile = width < 600
        browser.send(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=mobile
        )
        browser.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])
        browser.send("Page.navigate", url=f"http://127.0.0.1:{listener.getsockname()[1]}/{token}/")
        browser.wait("document.readyState === 'complete' && !!state")
        return review

    yield start
    browser.send("Page.navigate", url="about:blank")
    for end in ends:
        end()


def shown(browser: Browser) -> str:
    return str(browser.run("state.example?.id ?? ''"))


def wait_read(browser: Browser, read: int) -> None:
    browser.wait(
        f"state.read === {read} && !busy && document.getElementById('counts').textContent.startsWith('{read} of')"
    )


def last_line(review: Review) -> tuple[str, str]:
    decision = read_decisions(review.log.path)[-1]
    return decision.action, decision.id


def test_the_keyboard_alone_accepts_rejects_edits_skips_and_undoes(browser: Browser, open_page: Open):
    """A whole review without the mouse; every step is in the file."""
    review = open_page(make_examples())
    order = [review.examples[key].id for key in review.sample]
    assert shown(browser) == order[0]

    browser.press("s")  # later
    browser.wait(f"state.example.id === '{order[1]}'")
    assert last_line(review) == ("skip", order[0])

    browser.press("a", autoRepeat=True)  # a key that is held down decides nothing
    browser.press("a", modifiers=2)  # nor does Ctrl+A
    browser.press("a")
    wait_read(browser, 1)
    assert last_line(review) == ("accept", order[1])

    browser.press("r")
    browser.wait("document.getElementById('reject-dialog').open")
    browser.press("Enter")  # without a reason
    browser.wait("document.querySelector('#reject-form .problem').textContent.includes('say why')")
    for key in "131":  # 1 twice: ticked and not ticked again
        browser.press(key)
    browser.press("n")
    browser.type("ears")
    browser.shoot("reject")
    browser.press("Enter")
    wait_read(browser, 2)
    browser.wait("!document.getElementById('reject-dialog').open")
    decision = read_decisions(review.log.path)[-1]
    assert (decision.action, decision.id, decision.reasons, decision.note) == (
        "reject",
        order[2],
        (REASONS[2],),
        "ears",
    )

    browser.press("u")
    wait_read(browser, 1)
    assert shown(browser) == order[2]
    assert last_line(review) == ("undo", order[2])

    browser.press("e")
    browser.wait("document.activeElement.id === 'turn-0'")
    browser.type("Please: ")
    browser.press("a")  # a letter, not a decision
    browser.shoot("edit")
    browser.press("Enter", modifiers=2)
    wait_read(browser, 2)
    decision = read_decisions(review.log.path)[-1]
    assert (decision.action, decision.id) == ("edit", order[2])
    assert decision.example is not None
    typed = decision.example.messages[0]["content"]
    old = next(e for e in make_examples() if e.id == order[2]).messages[0]["content"]
    assert typed.replace("Please: a", "") == old
    assert decision.becomes == content_hash(decision.example)

    browser.press("r")
    browser.wait("document.getElementById('reject-dialog').open")
    browser.press("Escape")
    browser.wait("!document.getElementById('reject-dialog').open")
    for read in (3, 4):
        browser.press("a")
        wait_read(browser, read)
    assert last_line(review) == ("accept", order[0])
    browser.wait("document.body.innerText.includes('A build will take these examples')")
    browser.press("a")  # nothing is left
    browser.shoot("end")
    browser.press("u")
    wait_read(browser, 3)


def test_clicks_do_what_the_keys_do(browser: Browser, open_page: Open):
    """The buttons, the boxes and the fields of both dialogs, by mouse."""
    review = open_page(make_examples()[3:])
    browser.click("#reject")
    browser.wait("document.getElementById('reject-dialog').open")
    browser.click("#reasons label:nth-child(5)")
    browser.click("#reject-form [type=submit]")
    wait_read(browser, 1)
    assert read_decisions(review.log.path)[-1].reasons == (REASONS[4],)
    assert "1 of 1 read examples were rejected" in browser.run("document.querySelector('main').innerText")

    browser.click("#undo")
    wait_read(browser, 0)
    browser.click("#edit")
    browser.wait("document.getElementById('edit-dialog').open")
    browser.run("document.getElementById('turn-1').select()")
    browser.type('```json\n{"tool": "createTask", "params": {"title": 7}}\n```')
    browser.click("#edit-form [type=submit]")
    browser.wait(
        "document.querySelector('#edit-form .problem').textContent.includes('breaks the schema of createTask')"
    )
    browser.shoot("refused-edit")
    browser.click("#edit-form .cancel")
    browser.wait("!document.getElementById('edit-dialog').open")
    browser.click("#skip")
    browser.wait("!busy && state.undo")
    browser.click("#accept")
    wait_read(browser, 1)
    assert last_line(review) == ("accept", "syn-4")


@pytest.mark.parametrize("place", range(3))
def test_markup_in_an_example_is_text(browser: Browser, open_page: Open, place: int):
    """<script> and onerror in a prompt, a value, a tool result and a reply: shown letter by letter, never run."""
    open_page(make_examples()[place : place + 1])
    text = browser.run("document.querySelector('main').innerText")
    assert "<script>window.pwned = 1</script><img src=x onerror=" in text
    assert "U+202E" in text  # what would turn the line round is named
    browser.press("e")
    browser.wait("document.getElementById('edit-dialog').open")
    assert browser.run("document.querySelectorAll('main script, main img, main b, dialog img, dialog b').length") == (
        browser.run("document.querySelectorAll('.facts b').length")
    )
    browser.press("Escape")
    time.sleep(0.3)  # an image that fails to load takes a moment
    assert browser.run("window.pwned") is None


def test_scripts_that_get_in_all_the_same_are_stopped_by_the_policy(browser: Browser, open_page: Open):
    """The second line of defence: inline scripts and handlers do not run, and nothing leaves for other hosts."""
    open_page(make_examples()[3:])
    tried = browser.run(
        "(async () => { const s = document.createElement('script'); let kept = '';"
        "try { s.text = 'window.pwned = 3'; } catch (e) { kept += 'T'; }"
        "try { document.body.innerHTML += '<img src=x onerror=\"window.pwned=4\">'; } catch (e) { kept += 'H'; }"
        "document.body.append(s);"
        "try { await fetch('http://127.0.0.1:9/'); } catch (e) { kept += 'F'; } return kept; })()"
    )
    assert (tried, browser.run("window.pwned")) == ("THF", None)


def test_the_call_stands_beside_its_prompt(browser: Browser, open_page: Open):
    """On a wide screen: a table of parameters to the right of what was asked, dates explained, the raw reply below."""
    open_page(make_examples()[2:3])
    rows = browser.run("[...document.querySelectorAll('table')].map(t => [t.caption.textContent, t.innerText])")
    assert [name for name, _ in rows] == ["listTasks", "createCalendarEvent", "completeTask"]
    assert "Saturday, in 5 days" in rows[1][1]
    assert '["a@example.org"]' in rows[1][1]
    assert browser.run("document.querySelector('[aria-label=\"raw reply\"]').textContent").startswith("```json\n")
    left, right = browser.run(
        "[...document.querySelectorAll('.exchange:first-of-type .column')].map(c => c.getBoundingClientRect().toJSON())"
    )
    assert left["right"] <= right["left"]
    assert abs(left["top"] - right["top"]) < 1
    browser.shoot("wide")


@pytest.mark.parametrize("place", range(3))
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_phone(browser: Browser, open_page: Open, scheme: str, place: int):
    """360 CSS pixels: nothing runs over the side, the buttons are large enough for a thumb and always in view."""
    review = open_page(make_examples()[place : place + 1], width=360, height=740, scheme=scheme)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    assert browser.run("scrollY === 0 && document.getElementById('counts').getBoundingClientRect().top >= 0")
    boxes = browser.run(
        "[...document.querySelectorAll('#actions button')].map(b => b.getBoundingClientRect().toJSON())"
    )
    assert len(boxes) == 5
    for box in boxes:
        assert box["height"] >= 44
        assert box["width"] >= 44
        assert min(box["left"], 360 - box["right"], 740 - box["bottom"]) >= 0
    browser.shoot(f"phone-{scheme}-{place}")
    for name in ("edit", "reject"):
        browser.click(f"#{name}")
        browser.wait(f"document.getElementById('{name}-dialog').open")
        assert browser.run(f"document.getElementById('{name}-dialog').getBoundingClientRect().right") <= 360
        assert browser.run(f"document.getElementById('{name}-dialog').scrollWidth") <= 360
        browser.shoot(f"phone-{scheme}-{place}-{name}")
        browser.click(f"#{name}-form .cancel")
        browser.wait(f"!document.getElementById('{name}-dialog').open")
    browser.click("#accept")
    wait_read(browser, 1)
    assert browser.run("document.documentElement.scrollWidth") <= 360
    browser.shoot(f"phone-{scheme}-{place}-end")
    assert last_line(review)[0] == "accept"


CONTRAST = """(() => {
  const canvas = new OffscreenCanvas(1, 1).getContext("2d", {willReadFrequently: true});
  const rgb = (c) => { canvas.clearRect(0, 0, 1, 1); canvas.fillStyle = c; canvas.fillRect(0, 0, 1, 1);
    return [...canvas.getImageData(0, 0, 1, 1).data]; };
  const light = (c) => c.slice(0, 3).map(v => v / 255).map(v => v <= .04045 ? v / 12.92 : ((v + .055) / 1.055) ** 2.4)
    .reduce((sum, v, i) => sum + v * [.2126, .7152, .0722][i], 0);
  const ground = (e) => { for (; e; e = e.parentElement) { const c = rgb(getComputedStyle(e).backgroundColor);
    if (c[3] === 255) return c; } return [255, 255, 255, 255]; };
  const all = [...document.querySelectorAll("header *, main *, #actions button")];
  return all.filter(e => e.innerText && !e.disabled).map(e => {
    const [a, b] = [light(rgb(getComputedStyle(e).color)), light(ground(e))].sort((x, y) => y - x);
    return [(a + .05) / (b + .05), e.tagName + " " + e.innerText.slice(0, 20)]; }).sort((x, y) => x[0] - y[0])[0];
})()"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_both_colour_schemes_can_be_read(browser: Browser, open_page: Open, scheme: str):
    """The page follows the system; every text has a contrast of at least 4.5 (WCAG AA)."""
    open_page(make_examples()[2:3], scheme=scheme)
    red, green, blue = browser.run("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert (red + green + blue < 200) is (scheme == "dark")
    ratio, where = browser.run(CONTRAST)
    assert ratio >= 4.5, where
    browser.shoot(f"wide-{scheme}")


def test_everything_can_be_reached_and_has_a_name(browser: Browser, open_page: Open):
    """Tab reaches the five buttons in order, with a visible focus; every control has an accessible name."""
    open_page(make_examples()[:1])
    reached = []
    for _ in range(8):
        browser.press("Tab")
        reached.append(browser.run("document.activeElement.id"))
        if reached[-1] == "skip":
            assert browser.run("getComputedStyle(document.activeElement).outlineStyle") == "solid"
    wanted = [name for name in reached if name in {"accept", "reject", "edit", "skip"}]
    assert wanted[:4] == ["accept", "reject", "edit", "skip"]
    browser.press("e")
    browser.wait("document.getElementById('edit-dialog').open")
    unnamed = browser.run(
        "[...document.querySelectorAll('input, textarea, select, button')].filter(e => !e.labels?.length &&"
        " !e.textContent.trim()).map(e => e.outerHTML)"
    )
    assert unnamed == []


def test_a_server_that_is_gone_is_said(browser: Browser, open_page: Open, tmp_path: Path):
    """The example stays in view, and the page says what to do."""
    review = open_page(make_examples()[3:])
    browser.run("window.fetch = async () => { throw new TypeError('gone'); }")
    browser.press("a")
    browser.wait("document.getElementById('error').innerText.includes('Start `python -m training review` again')")
    assert shown(browser) == "syn-4"
    assert [d.action for d in read_decisions(review.log.path)] == ["draw"]


def test_the_page_logs_no_errors(browser: Browser, open_page: Open):
    """Nothing is blocked by the policy that the page needs, and no script fails."""
    open_page(make_examples()[:1])
    browser.press("a")
    wait_read(browser, 1)
    bad = [e for e in browser.events if e.get("method") in {"Runtime.exceptionThrown", "Log.entryAdded"}]
    assert bad == []
