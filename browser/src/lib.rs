//! A browser without a screen for the tests of pages, driven through its DevTools protocol over a pair of pipes.
//!
//! The protocol is JSON, a zero after each message, so nothing more than a shell is needed to hand the pipes over. Whatever a
//! page's script throws, and whatever its policy keeps out, is kept as a complaint. A browser has a profile of its own
//! and ends with its [`Browser`]. Everything here panics where a test should fail.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

const NAMES: [&str; 3] = ["chromium", "chromium-browser", "google-chrome"];

/// Longer than anything takes that a browser is asked for.
const PATIENCE: Duration = Duration::from_secs(60);

/// A browser with one page.
#[derive(Debug)]
pub struct Browser {
    child: Child,
    requests: ChildStdin,
    messages: mpsc::Receiver<Value>,
    session: Option<String>,
    asked: u64,
    complaints: Vec<String>,
    _profile: tempfile::TempDir,
}

impl Browser {
    /// A browser with an empty page; nothing where there is none, which it says.
    pub fn start(what: &str) -> Option<Self> {
        let Some(name) = NAMES.into_iter().find(|name| runs(name)) else {
            // Written past the harness, which swallows what a passing test prints, and in one piece.
            let skipped = format!("SKIPPED: there is no Chromium, so nothing was seen of {what}\n");
            let _ = std::io::stderr().write_all(skipped.as_bytes());
            return None;
        };
        let profile = tempfile::tempdir().expect("a temporary folder");
        // It reads requests from descriptor 3 and writes to 4.
        let mut child = Command::new("sh")
            .args(["-c", "exec \"$0\" \"$@\" 3<&0 4>&1 </dev/null >/dev/null 2>&1", name])
            .args(["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"])
            .args(["--disable-background-networking", "--disable-component-update", "--disable-sync"])
            .args(["--disable-dev-shm-usage", "--no-proxy-server", "--remote-debugging-pipe"])
            .arg(format!("--user-data-dir={}", profile.path().display()))
            .arg("about:blank")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("a shell");
        let requests = child.stdin.take().expect("piped");
        let mut answers = BufReader::new(child.stdout.take().expect("piped"));
        let (sender, messages) = mpsc::channel();
        thread::spawn(move || {
            let mut bytes = Vec::new();
            // Ends with the browser, or when nobody listens any more.
            while answers.read_until(0, &mut bytes).is_ok_and(|length| length > 0) {
                let Ok(message) = serde_json::from_slice(&bytes[..bytes.len() - 1]) else { break };
                if sender.send(message).is_err() {
                    break;
                }
                bytes.clear();
            }
        });
        let mut browser = Self {
            child,
            requests,
            messages,
            session: None,
            asked: 0,
            complaints: vec![],
            _profile: profile,
        };
        browser.attach();
        Some(browser)
    }

    fn attach(&mut self) {
        let targets = self.ask("Target.getTargets", json!({}))["targetInfos"].take();
        let page =
            targets.as_array().and_then(|targets| targets.iter().find(|target| target["type"] == "page"));
        let id = page.unwrap_or_else(|| panic!("no page in {targets}"))["targetId"].clone();
        let session = self.ask("Target.attachToTarget", json!({ "targetId": id, "flatten": true }));
        self.session = session["sessionId"].as_str().map(str::to_owned);
        for domain in ["Page", "Runtime", "Log"] {
            self.ask(&format!("{domain}.enable"), json!({}));
        }
    }

    /// One request of the protocol, and what it gives.
    fn ask(&mut self, method: &str, parameters: Value) -> Value {
        self.asked += 1;
        let mut request = json!({ "id": self.asked, "method": method, "params": parameters });
        if let Some(session) = &self.session {
            request["sessionId"] = session.as_str().into();
        }
        self.requests.write_all(format!("{request}\0").as_bytes()).expect("the browser listens");
        loop {
            let mut message = self
                .messages
                .recv_timeout(PATIENCE)
                .unwrap_or_else(|error| panic!("{method}: no answer: {error}"));
            if message["id"] == self.asked {
                assert!(message.get("error").is_none(), "{method}: {message}");
                return message["result"].take();
            }
            self.note(&message);
        }
    }

    fn note(&mut self, event: &Value) {
        let entry = &event["params"]["entry"];
        match event["method"].as_str() {
            Some("Runtime.exceptionThrown") => self.complaints.push(event["params"].to_string()),
            // That the network fails is what some tests are about.
            Some("Log.entryAdded") if entry["level"] == "error" && entry["source"] != "network" => {
                self.complaints.push(entry.to_string());
            }
            _ => {}
        }
    }

    /// Makes the window so large, in pixels.
    pub fn resize(&mut self, width: u32, height: u32) {
        let size = json!({ "width": width, "height": height, "deviceScaleFactor": 1, "mobile": false });
        self.ask("Emulation.setDeviceMetricsOverride", size);
    }

    /// Runs a script in each page that is opened from now on, before the page's own.
    pub fn run_first(&mut self, script: &str) {
        self.ask("Page.addScriptToEvaluateOnNewDocument", json!({ "source": script }));
    }

    /// Opens a page, and waits until it is loaded.
    pub fn open(&mut self, url: &str) {
        let answer = self.ask("Page.navigate", json!({ "url": url }));
        assert!(answer.get("errorText").is_none(), "{url}: {answer}");
        self.wait_until("document.readyState === 'complete'");
    }

    /// What an expression comes to in the page, as JSON.
    pub fn evaluate(&mut self, expression: &str) -> Value {
        let parameters = json!({ "expression": expression, "awaitPromise": true, "returnByValue": true });
        let mut answer = self.ask("Runtime.evaluate", parameters);
        assert!(answer.get("exceptionDetails").is_none(), "{expression}: {answer}");
        answer["result"]["value"].take()
    }

    /// The text that is seen at the one element of this selector.
    pub fn text(&mut self, selector: &str) -> String {
        let found = self.evaluate(&format!("document.querySelector({selector:?}).innerText"));
        found.as_str().unwrap_or_else(|| panic!("no text at {selector}: {found}")).to_owned()
    }

    /// Waits until an expression holds in the page.
    pub fn wait_until(&mut self, expression: &str) {
        let started = Instant::now();
        while self.evaluate(&format!("!!({expression})")) != true {
            assert!(started.elapsed() < PATIENCE, "{expression}: not within {PATIENCE:?}");
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Waits until elements of this selector are there, so many of them.
    pub fn wait_for(&mut self, selector: &str, count: usize) {
        self.wait_until(&format!("document.querySelectorAll({selector:?}).length === {count}"));
    }

    /// Clicks the one element of this selector.
    pub fn click(&mut self, selector: &str) {
        self.evaluate(&format!("document.querySelector({selector:?}).click()"));
    }

    /// Types a text over what an input has, and presses a key.
    pub fn type_into(&mut self, selector: &str, text: &str, key: &str) {
        self.evaluate(&format!(
            "{{ const input = document.querySelector({selector:?}); input.focus(); input.select(); }}"
        ));
        self.ask("Input.insertText", json!({ "text": text }));
        self.press(key);
    }

    /// Presses Enter or Tab.
    pub fn press(&mut self, key: &str) {
        let (code, text) = match key {
            "Enter" => (13, "\r"),
            "Tab" => (9, ""),
            other => panic!("no such key: {other}"),
        };
        for kind in ["keyDown", "keyUp"] {
            let text = if kind == "keyDown" { text } else { "" };
            let press =
                json!({ "type": kind, "key": key, "code": key, "windowsVirtualKeyCode": code, "text": text });
            self.ask("Input.dispatchKeyEvent", press);
        }
    }

    /// Chooses an option by its value.
    pub fn choose(&mut self, selector: &str, value: &str) {
        self.evaluate(&format!(
            "{{ const list = document.querySelector({selector:?}); list.value = {value:?}; \
             list.dispatchEvent(new Event('change')); }}"
        ));
    }

    /// Fails if the page's script has thrown anything or its policy has kept anything out.
    pub fn check(&mut self) {
        // An answer comes behind all that happened before.
        self.evaluate("0");
        assert!(self.complaints.is_empty(), "{:#?}", self.complaints);
    }
}

impl Drop for Browser {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn runs(browser: &str) -> bool {
    let mut command = Command::new(browser);
    command.arg("--version").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}
