(function (w, d) {
  "use strict";
  var s = d.currentScript, set = s.dataset, url = new URL("browser", s.src).href;
  var queue = (w.pgtally || {}).q || [], last;

  function random() {
    return Array.from(crypto.getRandomValues(new Uint32Array(4)), function (n) {
      return n.toString(36);
    }).join("");
  }
  function kept(area) {
    try {
      return (w[area].pgtally = w[area].pgtally || random());
    } catch (e) {}
  }
  var keep = "store" in set, session = (keep && kept("sessionStorage")) || random();

  function send(type, data, more) {
    var event = {type: type, data: data, actorId: send.actorId, sessionId: session};
    var body = JSON.stringify({key: set.key, events: [Object.assign(event, more)]});
    if ("keepalive" in Request.prototype)
      fetch(url, {method: "POST", body: body, keepalive: true, credentials: "omit"}).catch(function () {});
    else navigator.sendBeacon(url, body);
  }
  function view() {
    var l = w.location, path = l.pathname + ("hash" in set ? l.hash : "");
    if (path === last) return;
    var data = {path: path, host: l.host, title: d.title, language: navigator.language, width: w.innerWidth};
    data.referrer = last || d.referrer.split(/[?#]/)[0];
    new URLSearchParams(l.search).forEach(function (value, name) {
      if (/^utm_\w+$/.test(name)) data[name] = value;
    });
    last = path;
    send("pageview", data);
  }
  function later() {
    setTimeout(view);
  }

  send.actorId = set.actor || (keep ? kept("localStorage") : undefined);
  w.pgtally = send;
  ["pushState", "replaceState"].forEach(function (name) {
    var was = history[name];
    history[name] = function () {
      was.apply(history, arguments);
      later();
    };
  });
  w.addEventListener("popstate", later);
  w.addEventListener("pageshow", function (e) {
    if (e.persisted) last = 0, view();
  });
  if (d.prerendering) d.addEventListener("prerenderingchange", view);
  else view();
  queue.forEach(function (a) {
    send.apply(0, a);
  });
})(window, document);
