"use strict";
// The chat page: one WebSocket, connected again after a loss with a wait that doubles up to 10 s. Messages are JSON
// objects { name, text }; whatever else arrives is shown as it is. Nothing that arrives is ever used as HTML.
(() => {
  const $ = (id) => document.getElementById(id);
  const log = $("log"), text = $("text"), send = $("send"), name = $("name"), status = $("status"), where = $("where");
  const LINES_MAX = 500;
  const WAIT_MIN = 250, WAIT_MAX = 10000;
  let socket = null, timer = 0, wait = WAIT_MIN;

  const say = (state, words) => {
    status.dataset.state = state;
    status.textContent = words;
    send.disabled = state !== "open";
  };

  const add = (who, words, kind) => {
    const below = log.scrollHeight - log.scrollTop - log.clientHeight < 40;
    const line = document.createElement("li");
    line.className = kind;
    if (who) {
      const bold = document.createElement("b");
      bold.textContent = who;
      line.append(bold, ": ");
    }
    line.append(words);
    log.append(line);
    while (log.children.length > LINES_MAX) log.firstChild.remove();
    if (below) log.scrollTop = log.scrollHeight;
  };

  const show = (data) => {
    if (typeof data !== "string") return add("", `(${data.size} bytes)`, "theirs");
    try {
      const said = JSON.parse(data);
      if (said && typeof said.text === "string") return add(String(said.name || "somebody"), said.text, "theirs");
    } catch { /* not ours: shown as it is */ }
    add("", data, "theirs");
  };

  const connect = () => {
    clearTimeout(timer);
    if (socket) {
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
    }
    say("connecting", "connecting");
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const mine = new WebSocket(`${scheme}//${location.host}${where.value}`);
    socket = mine;
    mine.onopen = () => {
      wait = WAIT_MIN;
      say("open", "connected");
    };
    mine.onmessage = (event) => show(event.data);
    mine.onclose = (event) => {
      const again = wait * (0.75 + Math.random() / 2);
      wait = Math.min(wait * 2, WAIT_MAX);
      say("closed", `lost (${event.code}), trying again`);
      timer = setTimeout(connect, again);
    };
  };

  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    const words = text.value.trim();
    if (!words || !socket || socket.readyState !== WebSocket.OPEN) return;
    const who = name.value.trim() || "guest";
    socket.send(JSON.stringify({ name: who, text: words }));
    if (where.value !== "/echo") add(who, words, "mine");
    text.value = "";
    text.focus();
  });
  where.addEventListener("change", () => {
    wait = WAIT_MIN;
    add("", `now in ${where.value}`, "note");
    connect();
  });
  window.addEventListener("online", () => { if (!socket || socket.readyState === WebSocket.CLOSED) connect(); });
  window.addEventListener("pageshow", (event) => { if (event.persisted) connect(); });
  connect();
})();
