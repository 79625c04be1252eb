// Makes the genuine sa-sdk-javascript report to argv[2] by the means argv[3]:
// image or ajax. There is no browser: what follows is a stand-in for the parts
// of one that the SDK looks at, so it shows the SDK's own encoding of its
// reports and says nothing of how a browser would send them.
'use strict';
const fs = require('fs');
const http = require('http');
const vm = require('vm');

const [address, means] = process.argv.slice(2);
const page = new URL('https://page.example/p?q=1');

function request(url, method, headers, body, done) {
  const sent = http.request(new URL(url, page), { method, headers }, (reply) => {
    reply.resume();
    reply.on('end', () => done && done(reply.statusCode));
  });
  sent.on('error', (err) => { console.error(err); process.exit(1); });
  sent.end(body);
}

class Picture {
  set src(url) { request(url, 'GET', {}); }
}

class XMLHttpRequest {
  constructor() { this.headers = {}; this.withCredentials = false; }
  open(method, url) { this.method = method; this.url = url; }
  setRequestHeader(name, value) { this.headers[name] = value; }
  abort() {}
  send(body) {
    request(this.url, this.method, { 'Content-Type': 'text/plain;charset=UTF-8', ...this.headers }, body, (status) => {
      Object.assign(this, { status, readyState: 4, responseText: '' });
      if (this.onreadystatechange) this.onreadystatechange();
      if (this.onload) this.onload();
    });
  }
}

function element(tag) {
  if (tag === 'img') return new Picture();
  const e = {
    style: {}, setAttribute() {}, appendChild() {}, addEventListener() {}, getAttribute() { return null; },
    getElementsByTagName() { return []; }, parentNode: { insertBefore() {} },
  };
  if (tag === 'a') {
    Object.defineProperty(e, 'href', {
      get() { return this.url.href; },
      set(v) {
        this.url = new URL(v, page);
        for (const k of ['protocol', 'host', 'hostname', 'port', 'pathname', 'search', 'hash']) this[k] = this.url[k];
      },
    });
  }
  return e;
}

const cookies = {};
const document = {
  createElement: element, getElementsByTagName: () => [element()], querySelector: () => null, querySelectorAll: () => [],
  addEventListener() {}, referrer: '', title: 'Page', URL: page.href, domain: page.hostname, readyState: 'complete',
  documentElement: { clientWidth: 1080, clientHeight: 2000, style: {} }, body: element(), head: element(), visibilityState: 'visible',
  get cookie() { return Object.entries(cookies).map((pair) => pair.join('=')).join('; '); },
  set cookie(s) {
    const pair = s.split(';')[0];
    cookies[pair.slice(0, pair.indexOf('='))] = pair.slice(pair.indexOf('=') + 1);
  },
};

function storage() {
  const held = new Map();
  return { getItem: (k) => held.get(k) ?? null, setItem: (k, v) => held.set(k, String(v)), removeItem: (k) => held.delete(k), length: 0 };
}

const { protocol, host, hostname, pathname, search, href } = page;
const window = {
  document, location: { protocol, host, hostname, pathname, search, href, hash: '' }, history: {}, Image: Picture, XMLHttpRequest,
  navigator: { userAgent: 'Mozilla/5.0 (Linux; Android 9; Redmi Note 8) Chrome/71.0.3578.141 Mobile Safari/537.36', language: 'en', appVersion: '5.0' },
  screen: { width: 1080, height: 2340, orientation: { type: 'portrait-primary' } }, localStorage: storage(), sessionStorage: storage(),
  addEventListener() {}, removeEventListener() {}, setTimeout, clearTimeout, setInterval, clearInterval, console, URL,
  btoa: (s) => Buffer.from(s, 'latin1').toString('base64'), atob: (s) => Buffer.from(s, 'base64').toString('latin1'),
  performance: { now: () => 1, timing: {}, getEntriesByType: () => [] },
};
window.window = window.self = window.top = window.parent = window;
const module_ = { exports: {} };
window.module = module_;
window.exports = module_.exports;
vm.createContext(window);
const file = require.resolve('sa-sdk-javascript/sensorsdata.min.js');
vm.runInContext(fs.readFileSync(file, 'utf8'), window, { filename: file });

const sensors = module_.exports;
sensors.init({ server_url: address, send_type: means, show_log: false, is_track_single_page: false });
sensors.track('search', { search_word: 'korvandel brisamo' }, () => process.exit(0));
